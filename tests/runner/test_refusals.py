"""What is refused before a kernel starts, and how values are read."""

import subprocess
import sys

import pytest

from causalmix import cli
from causalmix.book import kernel, run
from causalmix.core import parameters, paths
from causalmix.core.errors import InputError


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
run --study {study} 04_effects
sweep --study paper --trials
sweep --cluster nowhere
plan --study nope.yaml
recommend --history none.csv --pool tiny
recommend --history results/laptop/history.csv --pool none.jsonl
recommend --history results/laptop/history.csv --pool tiny --outcome y_x
recommend --history results/laptop/history.csv --pool tiny --n-samples 0""".splitlines()

#: Of studies and rows that only loaders of rows can judge.
OF_ROWS = """plan --study {outcome}
plan --study {setting}
sweep --study {outcome}
run --study {outcome}
sweep --study {model}
run --study {model}
sweep --study {study} --trials
init nowhere
init {folder} --model /nowhere
recommend --history results/laptop/history.csv --pool {loader}
check-answer effects 99 1
design --study laptop --runs 4 --floor c=0.1
recommend --study {outcome}""".splitlines()
STUDIES = {
    "outcome": "outcome: y_maths",
    "model": "models: {proxy: /nowhere}",
    "study": "seed: 1",
    "setting": "training: {schedule: x}",
}


@pytest.mark.parametrize("lines, heavy", [(REFUSED, HEAVY), (OF_ROWS, HEAVY - {"datasets", "sklearn"})])
def test_a_refusal_waits_for_no_heavy_library(tmp_path, lines, heavy):
    """It comes before anything is loaded that takes seconds; help needs not even numpy."""
    made = {"folder": tmp_path, "loader": tmp_path / "loader.yaml"} | {
        name: tmp_path / f"{name}.yaml" for name in STUDIES
    }
    made["loader"].write_text("loader: nope")
    for name, said in STUDIES.items():
        made[name].write_text(f"parameters: {{{said}}}")
    lines = [line.format(**made) for line in lines]
    code = "import sys; from causalmix import cli; print({'numpy', 'pandas'} & set(sys.modules))\n"
    code += f"for line in {lines}: print(line, cli.main(line.split()), *sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["set()", *(f"{line} 2" for line in lines)], done.stderr


def test_no_runs_are_asked_for_that_will_not_have_the_outcome(tmp_path, capsys):
    """A recommendation by a study that has no history yet refuses what no history of it can have."""
    (tmp_path / "mine.yaml").write_text("parameters: {seed: 1}")
    for more, told in (
        ("y_maths", "did you mean y_math?"),
        ("math_unseen", "train it first"),
        ("dev", "train it first"),
    ):
        assert cli.main(["recommend", "--study", str(tmp_path / "mine.yaml"), "--outcome", more]) == 2
        assert told in capsys.readouterr().err


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


def test_options_that_do_not_go_together_are_refused(root, capsys):
    """The trials have no order that a limit could cut."""
    assert cli.main(["sweep", "--trials", "--limit", "3"]) == 2
    assert "leave out one" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["sweep", "--retries", "-1"])
