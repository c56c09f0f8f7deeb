"""The boxed answer of a chapter: at the top, from below."""

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from causalmix.book import run, takeaway

ASK = "from causalmix.book import takeaway\n\nin_short = takeaway.place()"


@pytest.fixture
def executed():
    """A function that has a kernel execute cells, and returns the page."""

    def execute(*cells):
        notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
        return papermill.execute_notebook(notebook, None, kernel_name="python3", progress_bar=False)

    return execute


def test_an_answer_from_below_stands_in_the_box_above(executed):
    """The first cell shows what the last one worked out, the last cell nothing; the file keeps no id."""
    page = executed(ASK, "gain = 0.02", "in_short.answer(f'The gain is **{gain:+.1%}**,', '', 'of `y` < 1.')")
    first, *others = [cell.outputs for cell in page.cells]
    (box,) = first
    assert "The gain is <strong>+2.0%</strong>, of <code>y</code> &lt; 1." in box.data["text/html"]
    assert takeaway.OPEN not in nbformat.writes(page) and not any(others)
    assert "transient" not in box


def test_a_chapter_without_its_answer_is_no_page(executed):
    """A box that nothing filled is found before the page is put in place."""
    assert any("takeaway" in found for found in run.faults(executed(ASK, "1 + 1")))
    assert not run.faults(executed(ASK, "in_short.answer('Yes.')"))
