"""Slides of the argument, ten pages in one file: figures, questions and boxed answers of the executed chapters."""

import base64
import re
from pathlib import Path

from jinja2 import Template

from causalmix.book.gates import chapters
from causalmix.book.stamps import read_notebook
from causalmix.core.errors import InputError
from causalmix.core.paths import ASSETS, ROOT, write_whole

#: Figures of the slides after the first two, in their order; a chapter's answer stands on its first one.
#: None is much higher than wide, for nobody could read it from a seat.
SHOWN = (
    ("01_featurize", "fig-states"),
    ("03_outcomes", "fig-outcomes"),
    ("04_effects", "fig-returns"),
    ("05_mixture", "fig-policy-mixtures"),
    ("06_target", "fig-trials"),
    ("06_target", "fig-shift"),
    ("09_paper_and_ours", "fig-critics"),
    ("11_known_truth", "fig-against-truth"),
)
ANSWER = re.compile(r'takeaway">.*?</p>\s*<p>(.*?)</p>', re.S)
ROLE = re.compile(r"\{[a-z:]+\}`([^`<]+?)(?: <[^>`]*>)?`")


def write(root: Path = ROOT) -> Path:
    """Write ``book/_build/slides.html``: arrow keys or a wheel move through it, and a printer makes a page of each."""
    pages = {path.stem: read_notebook(path)["cells"] for path in chapters(root) if path.is_file()}
    pipeline = base64.b64encode((root / "book" / "_assets" / "pipeline.svg").read_bytes()).decode()
    about = {"question": "The whole way in one picture", "caption": "From a pool to a mixture"}
    slides = [about | {"kind": "svg+xml", "image": pipeline, "alt": ""}]
    for place, (chapter, name) in enumerate(SHOWN):
        cells = pages.get(chapter, [])
        figure = next((_figure(cell) for cell in cells if _of_figure(cell).get("name") == name), None)
        if not figure:
            raise InputError(
                f"Expected the figure {name} on the page {chapter}, found none; run `causalmix run {chapter}`."
            )
        if chapter not in [told for told, _ in SHOWN[:place]]:
            figure["question"] = _question("".join(cells[0]["source"]))
            figure["answer"] = next(filter(None, map(_answer, cells)), "")
        slides.append(figure)
    out = root / "book" / "_build" / "slides.html"
    template = Template((ASSETS / "slides.html.jinja").read_text(encoding="utf-8"), autoescape=True, trim_blocks=True)
    write_whole(out, template.render(slides=slides))
    return out


def _question(text: str) -> str:
    """What a chapter asks: the first paragraph below its heading, without the book's roles."""
    return ROLE.sub(r"\1", re.search(r"^# [^\n]*\n+(.+?)(?:\n\n|\Z)", text, re.M | re.S)[1].replace("\n", " "))


def _answer(cell: dict) -> str:
    """The chapter's boxed answer, as HTML, if this cell has placed it."""
    shown = ["".join(o.get("data", {}).get("text/html", "")) for o in cell.get("outputs", [])]
    return next((found[1] for found in map(ANSWER.search, shown) if found), "")


def _of_figure(cell: dict) -> dict:
    return cell["metadata"].get("mystnb", {}).get("figure", {})


def _figure(cell: dict) -> dict[str, object]:
    """The figure that a cell has drawn, with its caption; empty where it has drawn none."""
    pictures = [o["data"]["image/png"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    alt, caption = cell["metadata"]["mystnb"].get("image", {}).get("alt", ""), _of_figure(cell)["caption"]
    if not pictures:
        return {}
    image = "".join(pictures[0]).replace("\n", "")
    width, height = (int.from_bytes(base64.b64decode(image)[i : i + 4]) for i in (16, 20))  # as a PNG begins
    return {"kind": "png", "image": image, "alt": alt, "caption": caption, "high": width < 1.9 * height}
