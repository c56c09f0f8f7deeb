"""Slides of the argument, ten pages in one file: figures, questions and boxed answers of the executed chapters."""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path

from causalmix.book.gates import chapters
from causalmix.book.stamps import read_notebook
from causalmix.core.errors import InputError
from causalmix.core.paths import ROOT

#: Figures of the slides after the first two, in their order; a chapter's answer stands on its first one.
SHOWN = (
    ("01_featurize", "fig-states"),
    ("03_outcomes", "fig-outcomes"),
    ("04_effects", "fig-returns"),
    ("05_mixture", "fig-policy-mixtures"),
    ("06_target", "fig-trials"),
    ("06_target", "fig-shift"),
    ("09_paper_and_ours", "fig-claims"),
    ("11_known_truth", "fig-coverage"),
)
ANSWER = re.compile(r'takeaway">.*?</p>\s*<p>(.*?)</p>', re.S)
ROLE = re.compile(r"\{[a-z:]+\}`([^`<]+?)(?: <[^>`]*>)?`")

HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>CausalMix in ten slides</title>
<style>
@page { size: 297mm 167mm; margin: 0; }
html { scroll-snap-type: y mandatory; font: 1.1rem/1.45 system-ui, sans-serif; color: #222; background: #fff; }
body { margin: 0; }
section { box-sizing: border-box; height: 100vh; padding: 3vh 5vw; scroll-snap-align: start; break-after: page;
  display: flex; flex-direction: column; gap: 1.5vh; counter-increment: slide; position: relative; }
section::after { content: counter(slide); position: absolute; right: 2vw; bottom: 2vh; color: #777; }
section.first { justify-content: center; }
h1, h2, p, figure { margin: 0; }
h2 { font-size: 1.5rem; }
p.answer { padding: 0.6rem 1rem; border-left: 0.3rem solid #332288; background: #f3f3f8; }
figure { flex: 1; min-height: 0; display: flex; flex-direction: column; gap: 0.5rem; }
figure img { flex: 1; min-height: 0; object-fit: contain; max-width: 100%; }
figcaption { font-size: 0.85rem; color: #555; text-align: center; }
</style>
<script>
addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, PageDown: 1, " ": 1, ArrowLeft: -1, PageUp: -1 }[event.key];
  if (step) { event.preventDefault(); scrollBy(0, step * innerHeight); }
});
</script>
<body>
"""


def write(root: Path = ROOT) -> Path:
    """Write ``book/_build/slides.html``: arrow keys or a wheel move through it, and a printer makes a page of each."""
    pages = {path.stem: read_notebook(path) for path in chapters(root) if path.is_file()}
    pipeline = (root / "book" / "_assets" / "pipeline.svg").read_bytes()
    slides = [
        '<section class="first"><h1>CausalMix</h1><p>Which mixture of training data should a model be fine-tuned on, '
        "given the state that the data are in? The method of the paper, tried in a small world.</p></section>",
        _slide("The whole way in one picture", "", _image("svg+xml", pipeline, "", "From a pool to a mixture")),
    ]
    told: set[str] = set()
    for chapter, name in SHOWN:
        cells = pages[chapter]["cells"] if chapter in pages else []
        figure = next((_figure(cell) for cell in cells if _of_figure(cell).get("name") == name), "")
        if not figure:
            raise InputError(
                f"Expected the figure {name} on the page {chapter}, found none; run `causalmix run {chapter}`."
            )
        question = _question("".join(cells[0]["source"]))
        answer = "" if chapter in told else next(filter(None, map(_answer, cells)), "")
        slides.append(_slide(question if chapter not in told else "", answer, figure))
        told.add(chapter)
    out = root / "book" / "_build" / "slides.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(HEAD + "\n".join(slides) + "\n</body></html>\n", encoding="utf-8")
    return out


def _slide(question: str, answer: str, figure: str) -> str:
    heading = f"<h2>{escape(question)}</h2>" if question else ""
    return f"<section>{heading}{f'<p class=answer>{answer}</p>' if answer else ''}{figure}</section>"


def _question(text: str) -> str:
    """What a chapter asks: the first paragraph below its heading, without the book's roles."""
    return ROLE.sub(r"\1", re.search(r"^# [^\n]*\n+(.+?)(?:\n\n|\Z)", text, re.M | re.S)[1].replace("\n", " "))


def _answer(cell: dict) -> str:
    """The chapter's boxed answer, as HTML, if this cell has placed it."""
    shown = ["".join(o.get("data", {}).get("text/html", "")) for o in cell.get("outputs", [])]
    return next((found[1] for found in map(ANSWER.search, shown) if found), "")


def _of_figure(cell: dict) -> dict:
    return cell["metadata"].get("mystnb", {}).get("figure", {})


def _figure(cell: dict) -> str:
    """The figure that a cell has drawn, with its caption."""
    pictures = [o["data"]["image/png"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    if not pictures:
        return ""
    alt = cell["metadata"]["mystnb"].get("image", {}).get("alt", "")
    return _image("png", base64.b64decode("".join(pictures[0])), alt, _of_figure(cell)["caption"])


def _image(kind: str, content: bytes, alt: str, caption: str) -> str:
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return f'<figure><img src="{source}" alt="{escape(alt)}"><figcaption>{escape(caption)}</figcaption></figure>'
