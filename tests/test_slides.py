"""Slides: figures, questions and boxed answers of executed pages, and nothing that somebody typed."""

import base64
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from causalmix.book import slides, takeaway
from causalmix.core.errors import InputError
from causalmix.core.paths import ROOT


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root with one executed page of two figures, and slides that show them."""
    (tmp_path / "book" / "chapters").mkdir(parents=True)
    (tmp_path / "book" / "_assets").mkdir()
    (tmp_path / "book" / "_assets" / "pipeline.svg").write_text("<svg/>")
    (tmp_path / "book" / "_toc.yml").write_text("parts: [{chapters: [{file: chapters/06_target}]}]")
    monkeypatch.setattr(slides, "SHOWN", (("06_target", "fig-a"), ("06_target", "fig-b")))
    box = new_output("display_data", {"text/html": takeaway._box("It is **42** [40, 44].").data})
    cells = [
        new_markdown_cell("(ch)=\n# The target\n\nDoes a {term}`proxy <proxies>` tell & show?\n\nMore."),
        new_code_cell("box", outputs=[box]),
        *(figure(name) for name in ("a", "b")),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "book" / "chapters" / "06_target.ipynb")
    return tmp_path


def figure(name):
    """A cell that has drawn a figure."""
    about = {"figure": {"name": f"fig-{name}", "caption": f"Figure {name}"}, "image": {"alt": "dots"}}
    picture = new_output("display_data", {"image/png": base64.b64encode(name.encode()).decode()})
    return new_code_cell("plt.show()", metadata={"mystnb": about}, outputs=[picture])


def test_slides_show_what_pages_say(root):
    """Question and answer stand once, figures as they were drawn, and nothing is fetched."""
    text = slides.write(root).read_text()
    assert text.count("<section") == 4 and not re.search(r"(src|href)=\"(?!data:)", text)
    assert text.count("<h2>Does a proxy tell &amp; show?</h2>") == 1
    assert text.count("It is <strong>42</strong> [40, 44].") == 1
    pictures = re.findall(r"data:image/png;base64,([^\"]*)", text)
    assert [base64.b64decode(picture) for picture in pictures] == [b"a", b"b"]
    assert slides.write(root).read_text() == text


def test_a_figure_that_no_page_has_is_named(root, monkeypatch):
    """Nothing is written in its place."""
    monkeypatch.setattr(slides, "SHOWN", (("06_target", "fig-c"),))
    with pytest.raises(InputError, match="fig-c on the page 06_target"):
        slides.write(root)
    assert not (root / "book" / "_build").exists()


@pytest.mark.parametrize("chapter, name", slides.SHOWN)
def test_a_figure_of_a_slide_can_be_read_from_a_seat(chapter, name):
    """A slide is wide: the smaller a high figure becomes on it, the smaller are its letters."""
    cells = nbformat.read(ROOT / "book" / "chapters" / f"{chapter}.ipynb", 4).cells
    (image,) = [slides._figure(cell)["image"] for cell in cells if slides._of_figure(cell).get("name") == name]
    width, height = (int.from_bytes(base64.b64decode(image)[i : i + 4]) for i in (16, 20))
    assert height < 1.2 * width
