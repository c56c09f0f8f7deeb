"""The strict runner: notebooks of a study into pages, or nothing at all.

A notebook is executed from its source into a copy in memory.  Only a good copy, without noise and with its stamp, takes
the place of the page.  Values other than the study's go to a folder of their own, which begins as a copy of the
study's: they can read its record, and cannot change it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import chdir
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from causalmix.book import stamps
from causalmix.book.progress import Display
from causalmix.core import paths
from causalmix.core.errors import InputError
from causalmix.core.parameters import Subject, check_name, read, subject_of
from causalmix.core.paths import write_whole
from causalmix.core.study_file import CHANGES, PLACES, read_study

if TYPE_CHECKING:
    from nbformat import NotebookNode


AT_ONCE = 2  # notebooks; each has a kernel of one thread and about 2 GB, and a third would seldom have work

QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}


class ChapterError(RuntimeError):
    """A notebook could not be executed to its end, or its result is no page; the old page is still there."""


@dataclass(frozen=True)
class Job:
    """One execution: a source notebook, the page to make, and what to inject."""

    source: Path
    page: Path
    study: str
    parameters: dict  # values that differ from the notebook's defaults
    folder: Path  # where the tables go
    changes: dict = field(default_factory=dict)  # values beside the study's; a later notebook reads them there


def jobs_of(
    study_name: str, chapters: Sequence[str] = (), given: Mapping[str, object] = {}, root: Path = paths.ROOT
) -> list[Job]:
    """What has to be executed; every name and value is checked here, before anything starts."""
    study, sources = read_study(study_name), wanted_sources(chapters, root)
    usual = {chapter: study.of(subject_of(chapter)) for chapter in sources}
    for name in given:
        check_name(name, dict.fromkeys(n for one in usual.values() for n, _ in one if n not in PLACES))
    new = {chapter: _new(values, given) for chapter, values in usual.items()}
    changes = {n: v for values in new.values() for n, v in values.items()}
    folder, shelf = _places(study_name, changes, root)
    here = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder)
    where = {"study": study_name} | ({"results_dir": here} if changes else {})
    jobs = []
    for chapter, source in sources.items():
        values, fields = dict(usual[chapter]) | new[chapter] | where, type(usual[chapter]).model_fields
        injected = {name: value for name, value in values.items() if value != fields[name].default}
        jobs.append(Job(source, shelf / source.name, study_name, injected, folder, new[chapter]))
    return jobs


def _new(usual: Subject, given: Mapping[str, object]) -> dict[str, object]:
    """Values that are given for a subject and are not its study's."""
    own = {name: value for name, value in given.items() if name in type(usual).model_fields}
    return {name: value for name, value in read(type(usual), own) if name in own and value != getattr(usual, name)}


def wanted_sources(chapters: Sequence[str], root: Path = paths.ROOT) -> dict[str, Path]:
    """Notebooks of the chapters that are named, in full or by their subject; all where none is."""
    sources = stamps.sources(root)
    subjects = {subject_of(chapter): chapter for chapter in sources}
    for name in chapters:
        check_name(name, sources if name not in subjects else subjects, "chapter")
    return {name: sources[name] for name in (subjects.get(n, n) for n in chapters or sources)}


def _places(study: str, changes: Mapping[str, object], root: Path) -> tuple[Path, Path]:
    """Folders of the tables and of the pages; a run with changes has its own, named by what it starts from."""
    results = paths.results_dir(study)
    if changes:
        tables = [part for path in paths.record(results) for part in (path.name, path.read_bytes())]
        digest = stamps.digest(study, json.dumps(changes, sort_keys=True), *tables)
        return results.parent / "runs" / digest, results.parent / "runs" / digest / "pages"
    return results, root / "book" / "chapters" if study == stamps.COMMITTED else results / "pages"


def run(jobs: Sequence[Job], minutes: Mapping[str, float] = {}, root: Path = paths.ROOT) -> list[Path]:
    """Execute notebooks, each after those that it needs, and show on the terminal how far they are."""
    order = TopologicalSorter(_needed(jobs))
    order.prepare()
    usual = [minutes.get(subject_of(job.source.stem), 0) for job in jobs]
    # The folder is the process's: papermill sets it for each notebook, which must find it as it is.
    with (tempfile.TemporaryDirectory() as scratch, chdir(root), Display(Path(scratch), usual) as display,
          ThreadPoolExecutor(AT_ONCE) as pool):  # fmt: skip
        running: dict[Future, int] = {}
        try:
            while order.is_active():
                running |= {pool.submit(_execute_job, n, jobs[n], display, root): n for n in order.get_ready()}
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    job = jobs[running[done]]
                    # One file for all, outside the pages, so that it is written here and not where they run.
                    _note(job.folder / "run.json", job.source.stem, done.result())
                    order.done(running.pop(done))
        except KeyboardInterrupt:
            from causalmix.book import kernel  # imported where there is one already

            kernel.kill_all()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    return [job.page for job in jobs]


def _needed(jobs: Sequence[Job]) -> dict[int, set[int]]:
    """By their numbers, the notebooks that come before each: those that wrote what it read when its page was made.

    All earlier ones where that is not known, or where notebooks may train: runs of one ledger are not trained twice
    at once.
    """
    stamped = [stamps.stamp_of(job.page) for job in jobs]
    now = [stamps.source_hash(stamps.read_notebook(job.source)) for job in jobs]
    stamped = [stamp if stamp.get("source") == source else {} for stamp, source in zip(stamped, now)]
    read, wrote = ([set(stamp.get(kind, {})) for stamp in stamped] for kind in ("inputs", "outputs"))
    known = [bool(stamp) and job.folder == paths.results_dir(stamps.COMMITTED) for job, stamp in zip(jobs, stamped)]
    return {n: {m for m in range(n) if not (known[m] and known[n]) or wrote[m] & read[n]} for n in range(len(jobs))}


def _execute_job(number: int, job: Job, display: Display, root: Path) -> dict[str, object]:
    """Make the page of one job; when that began, and how many seconds it took."""
    started, since = time.strftime("%Y-%m-%d %H:%M:%S"), time.monotonic()
    if job.folder != (study := paths.results_dir(job.study)):
        paths.copied(study, job.folder)
    if job.changes:  # what trains later must follow the same design
        _note(job.folder / CHANGES, subject_of(job.source.stem), job.changes)
    cells = len(stamps.read_notebook(job.source)["cells"]) + bool(job.parameters)  # papermill adds one for these
    with display.chapter(number, job.source.stem, cells) as chapter:
        _make_page(job, chapter.at_cell, {paths.RUNNER: str(chapter.channel), "CAUSALMIX_ROOT": str(root)}, root)
    return {"started": started, "seconds": round(time.monotonic() - since, 1)}


def _note(path: Path, name: str, value: Mapping[str, object]) -> None:
    """Keep what is told of one notebook in a file beside its tables, which has a word of each."""
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_whole(path, json.dumps(told | {name: value}, indent=1, sort_keys=True) + "\n")


def _make_page(job: Job, at_cell: Callable[[int], None], env: dict[str, str], root: Path) -> None:
    """Execute one notebook and put the page in its place, by one rename."""
    import nbformat

    source = stamps.read_notebook(job.source)
    page = _execute(job, at_cell, env, root)
    clean(page)
    if found := faults(page):
        raise ChapterError(f"{job.source.stem} is no page: {'; '.join(found)}. The old page is left in place.")
    changed = {name: value for name, value in job.parameters.items() if name not in PLACES}
    outputs = _outputs(job, page, root)
    page.metadata[stamps.KEY] = stamps.make_stamp(source, page, job.study, changed, _told(page, "inputs"), outputs)
    write_whole(job.page, nbformat.writes(page) + "\n")


def _outputs(job: Job, page: NotebookNode, root: Path) -> dict[str, str]:
    """Tables that a page wrote: now, or earlier, for some are not written again while nothing about them changes."""
    old = stamps.stamp_of(job.page).get("outputs", {})
    written = [root / name for name in sorted({*old, *_told(page, "outputs")})]
    return stamps.input_hashes([path for path in written if path.is_relative_to(job.folder) and path.is_file()], root)


def _execute(job: Job, at_cell: Callable[[int], None], env: dict[str, str], root: Path) -> NotebookNode:
    """The executed copy of a notebook; what its kernel says besides goes into a log."""
    import nbformat  # imported here, for a refusal must not wait for it
    import papermill

    from causalmix.book.kernel import kernel_manager
    from causalmix.train.clusters import ONE_THREAD  # or pages would differ in last digits by the machine's cores

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # it tells of an error that is told below
    log = paths.cache_dir() / "logs" / f"{job.source.stem}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(p for p in (str(paths.PACKAGE.parent), os.environ.get("PYTHONPATH")) if p)
    try:
        return papermill.execute_notebook(
            nbformat.read(job.source, as_version=4), None, job.parameters, kernel_name="python3", cwd=root,
            progress_bar=False, start_timeout=300, request_save_on_cell_execute=False,
            coalesce_streams=True,  # where a stream is cut depends on the moment
            on_cell_start=lambda cell, cell_index: at_cell(cell_index + 1),
            kernel_manager_class=kernel_manager({**os.environ, **QUIET, **ONE_THREAD, **env, "PYTHONPATH": path}, log),
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        if error.ename == "InputError":
            raise InputError(error.evalue) from None
        cell = "\n".join(f"    {line}" for line in error.source.splitlines())
        raise ChapterError(
            f"{job.source.stem} failed in cell {error.cell_index + 1}:\n{cell}\n{error.ename}: {error.evalue}"
        ) from None
    except RuntimeError as error:  # nbclient's, for a kernel that died or never answered
        raise ChapterError(
            f"{job.source.stem} failed: {error} (perhaps for lack of memory); its kernel's log is {log}."
        ) from error


ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
KEPT = ("tags", "mystnb")  # of a cell's metadata; the rest is when and by what it was executed


def clean(page: NotebookNode) -> None:
    """Take out of an executed notebook, in place, all that says when and by what it was executed."""
    page.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in page.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"  # papermill gives it a new one each time
        cell.metadata = {name: cell.metadata[name] for name in KEPT if cell.metadata.get(name)}


def faults(page: NotebookNode) -> list[str]:
    """What keeps an executed notebook from being a page: errors, order, noise, what differs each time."""
    from causalmix.book.takeaway import OPEN

    found = []
    code = [(n, cell) for n, cell in enumerate(page.cells, 1) if cell.cell_type == "code" and cell.source.strip()]
    if [cell.execution_count for _, cell in code] != list(range(1, len(code) + 1)):
        found.append("its cells were not executed once each, in order")
    for number, cell in code:
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"cell {number} ended in {output.ename}")
            elif output.get("name") == "stderr":
                found.append(f"cell {number} wrote to stderr: {output.text.strip().splitlines()[-1]}")
            elif ADDRESS.search(json.dumps(output)):
                found.append(f"cell {number} shows a memory address; end it with plt.show() or show a table")
            elif OPEN in json.dumps(output):
                found.append(f"cell {number} places a takeaway that no later cell answers")
    return found


def _told(page: NotebookNode, kind: str) -> dict[str, str]:
    """Files with their hashes, as the provenance footer tells them: ``inputs``, or ``outputs``, once.

    The latter leave the page for its stamp, which also has those that were not written again.
    """
    outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
    found = [output.get("metadata", {}).get(stamps.KEY, {}) for output in outputs]
    return {n: h for told in found for n, h in (told.pop if kind == "outputs" else told.get)(kind, {}).items()}
