"""Commands in this process: a chapter's cells as the runner's kernel executes them, without its start."""

import io
import os
import sys
import warnings
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import matplotlib.pyplot as plt
import nbformat
import pytest
from distributed import Client, LocalCluster
from nbformat.v4 import new_code_cell, new_output

from causalmix import cli
from causalmix.book import report, run, takeaway
from causalmix.core import paths, tables
from causalmix.train import sweep

#: Of what Python warns of, what a kernel does not show.
UNSEEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


def execute(job, at_cell, env, root):
    """The executed copy of a notebook, in place of :func:`causalmix.book.run._execute`."""
    page = nbformat.read(job.source, as_version=4)
    if job.parameters:
        given = "\n".join(f"{name} = {value!r}" for name, value in job.parameters.items())
        first = next(i for i, cell in enumerate(page.cells) if "parameters" in cell.metadata.get("tags", []))
        page.cells.insert(first + 1, new_code_cell(given, metadata={"tags": ["injected-parameters"]}))
    names, code = {"__name__": "__main__", "In": []}, [cell for cell in page.cells if cell.cell_type == "code"]
    plt.switch_backend("agg")
    shown = patch.object(plt, "show", draw), patch.object(tables, "WRITTEN", set())
    with chdir(root), patch.dict(os.environ, env), plt.rc_context(), shown[0], shown[1]:
        plt.rcdefaults()  # as a kernel begins, whatever this process has drawn
        for count, cell in enumerate(code, 1):
            at_cell(count)
            names["In"].append(cell.source)
            cell.execution_count = count
            with shown_by(cell.outputs):
                exec(compile(cell.source, f"{job.source.stem}, cell {count}", "exec"), names)
    return page


@contextmanager
def shown_by(outputs):
    """Collect what a cell displays, and what it warns of as the noise that it would make."""

    def display(thing, metadata=None, display_id=False):
        kind = "text/html" if isinstance(thing, report.HTML) else "text/markdown"
        outputs.append(new_output("display_data", {kind: thing.data}, metadata=metadata or {}))
        return SimpleNamespace(update=lambda later, data=outputs[-1].data: data.update({kind: later.data}))

    said = io.StringIO()
    with (
        patch.object(report, "display", display),
        patch.object(takeaway, "display", display),
        redirect_stdout(said),
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("default")
        for kind in UNSEEN:
            warnings.simplefilter("ignore", kind)
        yield
    outputs += [new_output("stream", text=said.getvalue())] * bool(said.getvalue())
    outputs += [new_output("stream", name="stderr", text=str(warning.message)) for warning in told]


def draw():
    """Draw every open figure as for a page, so that one that cannot be drawn is an error."""
    for number in plt.get_fignums():
        plt.figure(number).savefig(io.BytesIO(), bbox_inches="tight")
    plt.close("all")


def command(root, *arguments):
    """Do what ``causalmix`` does with these arguments, its results and its cache below ``root``.

    The runner plans, checks and writes its pages as ever; only the kernel is this process, and a
    sweep's workers are threads of it.
    """
    out, noise = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(noise):
        patched.setenv("CAUSALMIX_CACHE", str(root / ".cache"))
        patched.setattr(paths, "ROOT", root)
        patched.setattr(paths, "RESULTS", root / "results")
        patched.setattr(run, "_execute", execute)
        patched.setattr(run, "AT_ONCE", 1)
        patched.setattr(sweep, "run_sweep", partial(sweep_here, sweep.run_sweep))
        code = cli.main(list(map(str, arguments)))
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=noise.getvalue())


def sweep_here(run_sweep, *arguments, **options):
    """A sweep whose one worker is a thread of this process."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1",
                     dashboard_address=None, scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                     silence_logs="CRITICAL") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        return run_sweep(*arguments, client=client, **options)


def page_text(path) -> str:
    """Everything that a page shows."""
    cells = nbformat.read(path, 4).cells
    assert not [o for c in cells for o in c.get("outputs", []) if o.output_type == "error"]
    shown = [o["data"] for c in cells for o in c.get("outputs", []) if "data" in o]
    return "\n".join(str(data.get("text/markdown", data.get("text/html", ""))) for data in shown)


def pages_told(done):
    """The pages that a command says it has made."""
    return [line.strip() for line in done.stdout.splitlines() if line.strip().endswith(".ipynb")]


if __name__ == "__main__":  # in a process of its own, for a package that is not this one
    done = command(Path(sys.argv[1]), *sys.argv[2:])
    print(done.stdout)
    print(done.stderr, file=sys.stderr)
    sys.exit(done.returncode)
