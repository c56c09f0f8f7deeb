"""The strict runner: what a page is, what a bad run leaves, and what kernels are."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from one_notebook import BODY, contents, page_of, write_notebook

from causalmix import cli
from causalmix.book import run, stamps
from causalmix.core import paths, study_file


def test_a_good_run_makes_a_clean_stamped_page(root):
    """No injected cell, no noise, a stamp of facts; a second run changes not a byte."""
    assert cli.main(["run"]) == 0
    first = contents(root)
    page = nbformat.read(page_of(root), as_version=4)
    assert not any("injected-parameters" in c.metadata.get("tags", []) for c in page.cells)
    assert page.metadata.kernelspec.name == "python3" and set(page.metadata) == {
        "kernelspec",
        "language_info",
        "causalmix",
    }
    assert all(set(c.metadata) <= {"tags"} and c.metadata.get("tags") != [] for c in page.cells)
    assert [o.text for o in page.cells[4].outputs] == ["500\n1.0\n"]
    stamp = page.metadata.causalmix
    assert stamp.study == "laptop" and stamp.parameters == {} and list(stamp.inputs) == ["results/laptop/history.csv"]
    assert cli.main(["run"]) == 0
    assert contents(root) == first
    assert json.loads((root / "results" / "laptop" / "run.json").read_text())["05_mixture"]["seconds"] >= 0


def test_other_parameters_leave_the_committed_study_alone(root, no_kernel):
    """Pages and tables go to a folder of their own, which began as a copy of the study's."""
    assert cli.main(["run"]) == 0
    before = contents(root / "results" / "laptop"), contents(root / "book")
    assert cli.main(["run", "-p", "n_trees=400"]) == 0
    assert (contents(root / "results" / "laptop"), contents(root / "book")) == before
    (folder,) = (root / "results" / "runs").iterdir()
    assert (folder / "table.csv").read_text() == "n_trees,radius\n400,1\n"
    assert (folder / "history.csv").read_text() == "run_id\na\n"
    assert study_file.read_changes(folder, "mixture") == {"n_trees": 400}
    assert study_file.read_changes(root / "results" / "laptop", "mixture") == {}
    injected = nbformat.read(folder / "pages" / "05_mixture.ipynb", as_version=4).cells[2]
    assert injected.metadata.tags == ["injected-parameters"] and "n_trees = 400" in injected.source


def test_another_study_leaves_the_committed_study_alone(root, no_kernel):
    """Its tables and pages lie in its own folder; a value that is the study's own is no change."""
    before = contents(root / "results" / "laptop")
    shutil.copytree(root / "results" / "laptop", root / "results" / "quick")  # its own history
    assert cli.main(["run", "--study", "quick", "-p", "n_trees=8"]) == 0
    assert contents(root / "results" / "laptop") == before and not page_of(root).exists()
    assert (root / "results" / "quick" / "table.csv").read_text() == "n_trees,radius\n8,1\n"
    page = root / "results" / "quick" / "pages" / "05_mixture.ipynb"
    page_of(root).parent.mkdir(parents=True)
    page.rename(page_of(root))
    assert stamps.state(page_of(root), root) == ("reduced", ["study quick"])


@pytest.mark.parametrize(
    ("cell", "code", "told"),
    [
        ("1 / 0", 1, ["05_mixture failed in cell 8", "    1 / 0\n", "ZeroDivisionError: division by zero"]),
        (
            "from causalmix.core.errors import InputError\nraise InputError('Expected a, found b; do c.')",
            2,
            ["causalmix: Expected a, found b; do c.\n"],
        ),
        ("import sys; print('careful', file=sys.stderr)", 1, ["cell 8 wrote to stderr: careful", "old page"]),
        ("object()", 1, ["cell 8 shows a memory address"]),
        ("import os; os._exit(3)", 1, ["05_mixture failed: Kernel died", "log is"]),
    ],
)
def test_a_bad_run_leaves_the_old_page(root, capsys, cell, code, told):
    """Whatever goes wrong, the page is the one from before, and the cell is told."""
    page_of(root).parent.mkdir(parents=True)
    page_of(root).write_text("the old page")
    write_notebook(root, [*BODY, cell])
    assert cli.main(["run"]) == code
    said = capsys.readouterr().err
    assert all(part in said for part in told) and "Traceback" not in said, said
    assert contents(root / "book") == {page_of(root).relative_to(root / "book"): b"the old page"}


def test_what_stands_in_for_a_kernel_hides_nothing(root, no_kernel, capsys):
    """A warning, a figure that cannot be drawn and a refusal end as they do in a kernel."""
    write_notebook(root, [*BODY, "import warnings; warnings.warn('careful')"])
    assert cli.main(["run"]) == 1 and "cell 8 wrote to stderr: careful" in capsys.readouterr().err
    write_notebook(root, [*BODY, "import matplotlib.pyplot as plt\nplt.title(r'$\\nonsense{$'); plt.show()"])
    with pytest.raises(ValueError, match="nonsense"):
        cli.main(["run"])
    write_notebook(root, [*BODY, "from causalmix.core.errors import InputError\nraise InputError('Expected a.')"])
    assert cli.main(["run"]) == 2 and capsys.readouterr().err == "causalmix: Expected a.\n"


def test_an_interrupt_ends_the_kernels_at_once(root, monkeypatch):
    """And with them what they had started; the old page stays."""
    write_notebook(root, ["import subprocess\nsleeper = subprocess.Popen(['sleep', '600'])",
                          "open('pid', 'w').write(str(sleeper.pid))", "sleeper.wait()"])  # fmt: skip
    pid = root / "pid"

    def interrupted(running, return_when):
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run(run.jobs_of("laptop", root=root), root=root)
    assert not page_of(root).exists()
    while (
        Path(f"/proc/{pid.read_text()}/stat").exists()
        and " Z " not in Path(f"/proc/{pid.read_text()}/stat").read_text()
    ):
        time.sleep(0.05)  # killed, and not yet gone


def test_the_kernel_is_this_python_on_one_thread(root, monkeypatch):
    """Not what a user has installed under the name python3; no page depends on cores, whatever the terminal says."""
    users = root / "jupyter" / "kernels" / "python3"
    users.mkdir(parents=True)
    users.joinpath("kernel.json").write_text(
        json.dumps({"argv": ["false"], "display_name": "Other", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(root / "jupyter"))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    shown = "import os, sys\nprint(sys.executable, os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'])"
    write_notebook(root, [shown, "print(n_trees, radius, stage, repeats_allowed, study, results_dir)"])
    run.run(run.jobs_of("laptop", root=root), root=root)
    assert nbformat.read(page_of(root), as_version=4).cells[2].outputs[0].text == f"{sys.executable} 1 1\n"


def test_plain_papermill_works_too(root):
    """The same notebook runs without the runner; its footer still tells the chapter and what was changed."""
    command = [
        sys.executable,
        "-m",
        "papermill",
        "notebooks/05_mixture.ipynb",
        "out.ipynb",
        "-p",
        "n_trees",
        "400",
        "--no-progress-bar",
    ]
    env = os.environ | {"CAUSALMIX_ROOT": str(root), "PYTHONPATH": str(paths.PACKAGE.parent)}
    # A kernel of this Python, for the sources' own kernel name is nobody's.
    done = subprocess.run([*command, "-k", "python3"], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (root / "out.ipynb").read_text()
    assert "n_trees = 400" in page and "05_mixture, source" in page
