"""The strict runner: what it refuses, what a page is, and what it leaves alone."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from chapters import execute
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from causalmix import cli
from causalmix.book import kernel, progress, run, stamps
from causalmix.core import parameters, paths, study_file
from causalmix.core.errors import InputError

NAMES = ("study", "n_trees", "radius", "stage", "repeats_allowed", "results_dir")
PARAMETERS = "\n".join(parameters.declaration(parameters.MixtureParameters, name) for name in NAMES)

BODY = [
    "from pathlib import Path\nfrom IPython.display import display",
    'import pandas as pd\nfrom causalmix.core import tables\nout = Path(results_dir or f"results/{study}")',
    'tables.write_table(out / "table.csv", pd.DataFrame({"n_trees": [n_trees], "radius": [radius]}))\n'
    "print(n_trees, flush=True)\nprint(radius)",
    "print(stage, repeats_allowed)",
    'from causalmix.book import report\nreport.provenance(globals(), inputs=[out / "history.csv"])',
]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small repository with one notebook, two studies, and a record of the default study."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(tmp_path / "cache"))
    for name, under in {"ROOT": "", "RESULTS": "results", "STUDIES": "studies"}.items():
        monkeypatch.setattr(paths, name, tmp_path / under)
    monkeypatch.setattr(cli, "jobs_of", lambda *given: run.jobs_of(*given, root=tmp_path))
    monkeypatch.setattr(cli, "run", lambda *given: run.run(*given, root=tmp_path))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "studies").mkdir()
    (tmp_path / "results" / "laptop").mkdir(parents=True)
    (tmp_path / "results" / "laptop" / "history.csv").write_text("run_id\na\n")
    (tmp_path / "studies" / "laptop.yaml").write_text("parameters: {n_trees: 500}\nminutes: {05_mixture: 2}\n")
    (tmp_path / "studies" / "quick.yaml").write_text("chapters: {05_mixture: {n_trees: 8}}\n")
    write_notebook(tmp_path)
    return tmp_path


@pytest.fixture
def no_kernel(monkeypatch):
    """Cells are executed in this process: for what the runner does around them."""
    monkeypatch.setattr(run, "_execute", execute)
    monkeypatch.setattr(run, "AT_ONCE", 1)


def write_notebook(root, body=BODY):
    """Write the one source notebook."""
    cells = [new_markdown_cell("# Small"), new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(source) for source in body]
    notebook = new_notebook(
        cells=cells, metadata={"kernelspec": {"display_name": "x", "language": "python", "name": "nobody"}}
    )
    nbformat.write(notebook, root / "notebooks" / "05_mixture.ipynb")


def page_of(root):
    """The default study's page."""
    return root / "book" / "chapters" / "05_mixture.ipynb"


def contents(folder):
    """Every file below a folder but times and logs, with its bytes."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != "run.json" and p.suffix != ".log"]
    return {p.relative_to(folder): p.read_bytes() for p in files}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("n_tree=400", ["n_trees", "n_tree'", "did you mean n_trees?", "stage"]),
        ("n_trees=many", ["n_trees", "int in [8, 5000]", "'many'"]),
        ("n_trees=4.5", ["int in", "'4.5'"]),
        ("n_trees=3", ["[8, 5000]", "'3'"]),
        ("radius=-1", ["[0, 1]", "'-1'"]),
        ("radius=nan", ["[0, 1]", "'nan'"]),
        ("stage=frost", ["{forest, linear, bayesian}", "'frost'"]),
        ("repeats_allowed=perhaps", ["bool", "'perhaps'"]),
        ("results_dir=results/laptop", ["Expected a parameter among", "results_dir"]),
        ("n_trees", ["name=value", "'n_trees'"]),
    ],
)
def test_bad_parameters_are_refused_before_any_kernel_starts(root, monkeypatch, capsys, given, told):
    """An unknown, ill-typed or out-of-range parameter ends in one sentence and exit code 2."""
    monkeypatch.setattr(kernel, "kernel_manager", lambda *_: pytest.fail("a kernel was started"))
    assert cli.main(["run", "-p", given]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(part in said for part in told), said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--study", "lap"], "did you mean laptop?"),
        (["--notebook", "05_mixtur"], "did you mean 05_mixture?"),
    ],
)
def test_unknown_study_or_notebook_is_refused(root, capsys, arguments, told):
    """The nearest name is told."""
    assert cli.main(["run", *arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "parameters: {n_tree: 5}",
        "chapters: {05_mixtur: {}}",
        "chapters: {05_mixture: {n_tree: 5}}",
        "params: {}",
        "a: [",
    ],
)
def test_a_study_with_a_mistake_is_refused(root, text):
    """A name in a study that nothing declares would leave a default in place without a word."""
    (root / "studies" / "laptop.yaml").write_text(text)
    with pytest.raises(InputError, match="Expected"):
        run.jobs_of("laptop", root=root)


@pytest.mark.parametrize(
    "name, told", [("methods: Nonesuch", "among Equal, Proportional"), ("outcome: y_none", "an outcome among y_dev,")]
)
@pytest.mark.parametrize("by_file", [False, True])
def test_a_method_or_an_outcome_that_there_is_none_of_starts_no_kernel(
    tmp_path, capsys, monkeypatch, name, told, by_file
):
    """A mistyped one is refused with those that there are, before a results folder is made."""
    monkeypatch.setattr(cli, "run", lambda *_: pytest.fail("a kernel would have started"))
    table = "run_id,w_a,w_b,y_dev\n" + "".join(f"r{i},{i / 20},{1 - i / 20},{i / 30}\n" for i in range(20))
    (tmp_path / "results/mine").mkdir(parents=True)
    (tmp_path / "results/mine/history.csv").write_text(table)
    (tmp_path / "mine.yaml").write_text(f"parameters: {{{name if by_file else ''}}}\n")
    given = [] if by_file else ["-p", name.replace(": ", "=")]
    assert cli.main(["run", "06_target", "--study", str(tmp_path / "mine.yaml"), *given]) == 2
    assert told in capsys.readouterr().err


HEAVY = {"torch", "transformers", "datasets", "econml", "sklearn", "lightgbm", "papermill"}


REFUSED = """run -p n_tree=4
run --study nope
run --study gpu
run 04_effects -p history=none.csv
run 06_target -p outcome=y_none
sweep --study paper --trials
sweep --cluster nowhere
plan --study nope.yaml
recommend --history none.csv --pool tiny
recommend --history results/laptop/history.csv --pool none.jsonl
recommend --history results/laptop/history.csv --pool tiny --outcome y_x
recommend --history results/laptop/history.csv --pool tiny --n-samples 0""".splitlines()


def test_a_refusal_waits_for_no_heavy_library():
    """It comes before anything is loaded that takes seconds; help needs not even numpy."""
    code = "import sys; from causalmix import cli; print({'numpy', 'pandas'} & set(sys.modules))\n"
    code += f"for line in {REFUSED}: print(line, cli.main(line.split()), *sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["set()", *(f"{line} 2" for line in REFUSED)], done.stderr


def test_values_are_read_as_declared():
    """Text becomes the declared type; of a list, every element is held to its range."""
    given = {"n_trees": "400", "radius": "1e-3", "repeats_allowed": "true", "stage": "linear"}
    found = parameters.read(parameters.MixtureParameters, given)
    assert {name: getattr(found, name) for name in given} == {
        "n_trees": 400, "radius": 0.001, "repeats_allowed": True, "stage": "linear",
    }  # fmt: skip
    assert parameters.read(parameters.MixtureParameters, {"radius": 1}).radius == 1.0
    assert parameters.read(parameters.AtScaleParameters, {"sizes": "[5, 6]"}).sizes == [5, 6]
    with pytest.raises(InputError, match=r"sizes to be list in \[1, 100000000\], found \[5, 0\]"):
        parameters.read(parameters.AtScaleParameters, {"sizes": [5, 0]})


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


def test_the_footer_tells_what_the_page_was_made_from(root):
    """Chapter, hashes, study and changed parameters are on the page."""
    assert cli.main(["run", "-p", "n_trees=400"]) == 0
    (made,) = (root / "results" / "runs").glob("*/pages/05_mixture.ipynb")
    footer = made.read_text()
    source = stamps.read_notebook(root / "notebooks" / "05_mixture.ipynb")
    for part in (
        "05_mixture, source " + stamps.source_hash(source),
        "n_trees = 400",
        "laptop",
        "history.csv",
        "python 3.",
    ):
        assert part in footer, part
    assert str(root) not in footer


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


def test_status_tells_what_is_stale_and_why(root, capsys, monkeypatch):
    """Missing, fresh, then stale for each thing that a page is made from."""
    page = page_of(root)
    assert stamps.state(page, root) == ("missing", ["not executed yet"])
    run.run(run.jobs_of("laptop", root=root), root=root)
    assert stamps.state(page, root) == ("fresh", [])
    changes = {
        "source": lambda: write_notebook(root, [*BODY, "print('more')"]),
        "parameters": lambda: (root / "studies" / "laptop.yaml").write_text("parameters: {n_trees: 9}"),
        "results/laptop/table.csv": lambda: (root / "results" / "laptop" / "table.csv").unlink(),
        "results/laptop/history.csv": lambda: (root / "results" / "laptop" / "history.csv").write_text("run_id\nb\n"),
        "page": lambda: page.write_text(page.read_text().replace("forest", "thicket")),
        "code": lambda: monkeypatch.setattr(paths, "PACKAGE", root / "no_package"),
    }
    expected = []
    for name, change in changes.items():
        change()
        state, why = stamps.state(page, root)
        expected.append(f"{name} changed")
        assert state == "stale" and sorted(why) == sorted(expected), why
    capsys.readouterr()
    assert cli.main(["status"]) == 1
    assert capsys.readouterr().out.startswith("05_mixture: stale (")


def test_one_broken_page_or_notebook_hides_no_other(root, no_kernel, capsys):
    """Whatever lies where a notebook should is told in a sentence, and the next run mends a page."""
    cli.main(["run"])
    good, source = page_of(root), root / "notebooks" / "05_mixture.ipynb"
    (root / "notebooks" / "04_effects.ipynb").write_text(source.read_text())
    broken = root / "book" / "chapters" / "04_effects.ipynb"
    for content in (source.read_text().encode("utf-16"), b"[]", b"{}", b"[" * 9999, b'{"metadata": {}, "cells": [1]}'):
        broken.write_bytes(content)
        capsys.readouterr()
        assert cli.main(["status"]) == 1
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("04_effects: broken (Expected a notebook") and second.startswith("05_mixture: ")
        with pytest.raises(InputError, match="Expected a notebook"):
            stamps.read_notebook(broken)
    with pytest.raises(InputError, match="Expected a notebook"):
        stamps.read_notebook(root / "notebooks")
    broken.unlink()
    (root / "notebooks" / "04_effects.ipynb").unlink()
    good.write_text("{}")
    assert cli.main(["run"]) == 0 and stamps.KEY in stamps.read_notebook(good)["metadata"]


def test_the_stamp_holds_what_was_not_written_again(root, no_kernel):
    """A table that a chapter keeps while nothing about it changes stays in the stamp, and the page as it was."""
    kept = 'p = out / "kept.csv"\np.exists() or tables.write_table(p, pd.DataFrame({"a": []}))'
    kept += '\ntables.write_table("cache/x.csv", pd.DataFrame({"a": []}))'
    write_notebook(root, [*BODY[:2], kept + "\nNone", *BODY[2:]])
    cli.main(["run"])
    before = page_of(root).read_bytes()
    assert cli.main(["run"]) == 0 and page_of(root).read_bytes() == before
    outputs = stamps.read_notebook(page_of(root))["metadata"][stamps.KEY]["outputs"]
    assert list(outputs) == ["results/laptop/kept.csv", "results/laptop/table.csv"]
    (root / "results" / "laptop" / "kept.csv").write_text("edited\n")
    assert "results/laptop/kept.csv changed" in stamps.state(page_of(root), root)[1]


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


def test_results_lie_in_the_study_s_own_place(root):
    """A study's file cannot say where its results go, nor take the name of a folder that is not a study's."""
    for text in ("parameters: {results_dir: /tmp}", "chapters: {05_mixture: {results_dir: /tmp}}"):
        (root / "studies" / "laptop.yaml").write_text(text)
        with pytest.raises(InputError, match="Expected no results_dir in laptop.yaml"):
            run.jobs_of("laptop", root=root)
    for name in ("published", "runs"):
        (root / f"{name}.yaml").write_text("parameters: {}")
        with pytest.raises(InputError, match=f"own name, found '{name}'"):
            run.jobs_of(str(root / f"{name}.yaml"), root=root)


def test_code_hash_follows_imports_and_nothing_else(tmp_path, monkeypatch):
    """A module counts when the notebook imports it, even through another one."""
    monkeypatch.setattr(paths, "PACKAGE", tmp_path)
    sources = {
        "__init__": "",
        "a": "def f():\n    from causalmix.pools import b\n",
        "c": "",
        "pools/__init__": "",
        "pools/b": "",
    }
    (tmp_path / "pools").mkdir()
    for name, text in sources.items():
        (tmp_path / f"{name}.py").write_text(text)
    notebook = new_notebook(cells=[new_code_cell("from causalmix import a")])
    before = stamps.code_hash(notebook)
    (tmp_path / "c.py").write_text("x = 1")
    assert stamps.code_hash(notebook) == before
    (tmp_path / "pools" / "b.py").write_text("x = 1")
    assert stamps.code_hash(notebook) != before


def test_the_kernel_is_this_python(root, monkeypatch):
    """Not whatever a user has installed under the name python3."""
    users = root / "jupyter" / "kernels" / "python3"
    users.mkdir(parents=True)
    users.joinpath("kernel.json").write_text(
        json.dumps({"argv": ["false"], "display_name": "Other", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(root / "jupyter"))
    write_notebook(
        root,
        ["import sys\nprint(sys.executable)", "print(n_trees, radius, stage, repeats_allowed, study, results_dir)"],
    )
    run.run(run.jobs_of("laptop", root=root), root=root)
    assert nbformat.read(page_of(root), as_version=4).cells[2].outputs[0].text == sys.executable + "\n"


def test_a_kernel_computes_on_one_thread(root, monkeypatch):
    """A page does not depend on how many cores there are, whatever the terminal says."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    shown = "import os\nprint(os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'])"
    write_notebook(root, [shown, "print(n_trees, radius, stage, repeats_allowed, study, results_dir)"])
    run.run(run.jobs_of("laptop", root=root), root=root)
    assert nbformat.read(page_of(root), as_version=4).cells[2].outputs[0].text == "1 1\n"


def test_the_terminal_shows_chapter_cell_runs_and_time_left(tmp_path, monkeypatch):
    """A kernel's news reach the line through the side channel, and end with their cell."""
    display = progress.Display(tmp_path, [1, 10, 2], stream=io.StringIO())
    with display.chapter(0, "01_featurize", 3):
        pass
    with display.chapter(1, "02_proxy_sft", 9) as chapter:
        monkeypatch.setenv(progress.CHANNEL, str(chapter.channel))
        chapter.at_cell(4)
        assert display.line() == "[2/3] 02_proxy_sft, cell 4 of 9, 12 min left"
        progress.progress(130, 512, 1440.0)
        assert display.line() == "[2/3] 02_proxy_sft, cell 4 of 9, 130 of 512 runs done, 26 min left"
        chapter.at_cell(5)
        assert "runs" not in display.line()
        with display.chapter(2, "03_outcomes", 7):
            assert display.line() == "[2+3/3] 02_proxy_sft, cell 5 of 9; 03_outcomes, cell 0 of 7, 10 min left"


def test_no_progress_reaches_a_page(monkeypatch, capsys):
    """Without runner and terminal, as under plain papermill, progress is silent."""
    monkeypatch.delenv(progress.CHANNEL, raising=False)
    progress.progress(1, 2, None)
    assert capsys.readouterr() == ("", "")


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


def test_a_hand_made_copy_follows_the_record(root, monkeypatch):
    """A record that has changed since gets a copy of its own; what was made from the old one stays."""
    monkeypatch.setattr(paths, "RESULTS", root / "results")
    monkeypatch.delenv(paths.RUNNER, raising=False)
    first = paths.out_dir("laptop")
    (first / "made.csv").write_text("mine")
    assert paths.out_dir("laptop") == first and (first / "history.csv").read_text() == "run_id\na\n"
    (root / "results" / "laptop" / "history.csv").write_text("run_id\nb\n")
    second = paths.out_dir("laptop")
    assert (second / "history.csv").read_text() == "run_id\nb\n" and (first / "made.csv").exists()


def test_options_that_do_not_go_together_are_refused(root, capsys):
    """The trials have no order that a limit could cut."""
    assert cli.main(["sweep", "--trials", "--limit", "3"]) == 2
    assert "leave out one" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["sweep", "--retries", "-1"])
