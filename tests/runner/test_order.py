"""Chapters that wait for each other, that run at once, and how far they are."""

import io
import threading

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from one_notebook import page_of

from causalmix.book import progress, run, stamps
from causalmix.core import parameters, paths
from causalmix.core.progress import tell

CHAPTERS = ("03_outcomes", "04_effects", "05_mixture", "06_target")


@pytest.fixture
def chapters(root):
    """Four chapters: 04 and 06 read what 03 wrote, 05 reads nothing of it; all pages are at hand."""
    (root / "notebooks" / "05_mixture.ipynb").unlink()
    for number, chapter in enumerate(CHAPTERS):
        reads = ["results/laptop/history.csv"] if number in (1, 3) else []
        model = parameters.SUBJECTS[parameters.subject_of(chapter)]
        cell = "\n".join(parameters.declaration(model, name) for name in ("study", "results_dir"))
        source = new_notebook(cells=[new_code_cell(cell, metadata={"tags": ["parameters"]})])
        nbformat.write(source, root / "notebooks" / f"{chapter}.ipynb")
        wrote = {"results/laptop/history.csv": ""} if number == 0 else {}
        stamp = stamps.make_stamp(source, source, "laptop", {}, dict.fromkeys(reads, ""), wrote)
        page_of(root).parent.mkdir(parents=True, exist_ok=True)
        page = page_of(root).with_name(f"{chapter}.ipynb")
        source.metadata[stamps.KEY] = stamp
        nbformat.write(source, page)
    return root


def test_a_chapter_waits_for_those_whose_tables_it_read(chapters):
    """By the stamps of the pages; for all before it where a source has changed since, or values are its own."""
    order = lambda **given: run._needed(run.jobs_of("laptop", given=given, root=chapters))  # noqa: E731
    assert order() == {0: set(), 1: {0}, 2: set(), 3: {0}}
    assert order(n_trees=9)[2] == {0, 1}
    path = chapters / "notebooks" / "04_effects.ipynb"
    path.write_text(path.read_text().replace("study", "study ", 1))
    assert order() == {0: set(), 1: {0}, 2: {1}, 3: {0, 1}}


def test_two_chapters_run_at_once_and_none_before_what_it_needs(chapters, monkeypatch):
    """The first two meet; where a chapter fails, those that need it do not start and the other ends."""
    together, started = threading.Barrier(2, timeout=60), []

    def executed(job, at_cell, env, root):
        started.append(job.source.stem)
        if len(started) <= 2:
            together.wait()
        if job.source.stem == "03_outcomes":
            raise run.ChapterError("no")
        return nbformat.read(job.source, as_version=4)

    monkeypatch.setattr(run, "_execute", executed)
    monkeypatch.setattr(run, "faults", lambda page: [])
    with pytest.raises(run.ChapterError, match="no"):
        run.run(run.jobs_of("laptop", root=chapters), root=chapters)
    assert sorted(started) == ["03_outcomes", "05_mixture"]
    assert stamps.read_notebook(page_of(chapters))["metadata"][stamps.KEY]["outputs"] == {}


def test_the_terminal_shows_chapter_cell_runs_and_time_left(tmp_path, monkeypatch):
    """A kernel's news reach the line through the side channel, and end with their cell."""
    display = progress.Display(tmp_path, [1, 10, 2], stream=io.StringIO())
    with display.chapter(0, "01_featurize", 3):
        pass
    with display.chapter(1, "02_proxy_sft", 9) as chapter:
        monkeypatch.setenv(paths.RUNNER, str(chapter.channel))
        chapter.at_cell(4)
        assert display.line() == "[2/3] 02_proxy_sft, cell 4 of 9, 12 min left"
        tell(130, 512, "runs", 1440.0)
        assert display.line() == "[2/3] 02_proxy_sft, cell 4 of 9, 130 of 512 runs, 26 min left"
        chapter.at_cell(5)
        assert "runs" not in display.line()
        with display.chapter(2, "03_outcomes", 7):
            assert display.line() == "[2+3/3] 02_proxy_sft, cell 5 of 9; 03_outcomes, cell 0 of 7, 10 min left"


def test_no_progress_reaches_a_page(monkeypatch, capsys):
    """Without a runner, as under plain papermill, progress is silent."""
    monkeypatch.delenv(paths.RUNNER, raising=False)
    tell(1, 2, "runs")
    assert capsys.readouterr() == ("", "")
