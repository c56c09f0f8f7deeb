"""The table of public benchmarks: complete, honest about the paper, and true of the installed harness."""

from pathlib import Path

import pytest

from causalmix.core.errors import InputError
from causalmix.lm import benchmarks, harness, harness_tasks
from causalmix.lm.benchmarks import AXES, BENCHMARKS, Benchmark

#: Folders of the harness that hold the tasks of the table: all of its thousands take many seconds to read.
FOLDERS = (
    "mmlu/default", "truthfulqa", "mmlu_pro", "gpqa/zeroshot", "bbh/cot_zeroshot", "drop", "agieval", "gsm8k",
    "minerva_math", "benchmarks", "humaneval", "mbpp", "ifeval", "toxigen",
)  # fmt: skip


@pytest.fixture(scope="module")
def manager():
    tasks = pytest.importorskip("lm_eval.tasks")
    folders = [Path(tasks.__file__).parent / name for name in FOLDERS]
    with harness_tasks.quiet():
        return tasks.TaskManager(include_path=folders, include_defaults=False)


def test_every_axis_has_what_the_outcome_needs_and_what_it_may_not_see():
    assert len({b.name for b in BENCHMARKS}) == len(BENCHMARKS)
    splits = {(b.axis, b.split) for b in BENCHMARKS}
    assert {axis for axis, _ in splits} == set(AXES)
    assert {(axis, "dev") for axis in AXES} <= splits
    assert {(axis, "unseen") for axis in AXES if axis != "safety"} <= splits


def test_the_table_says_that_the_papers_list_is_unknown():
    table = benchmarks.benchmark_table()
    assert "The paper's own list of Dev and Unseen benchmarks is unknown" in table.attrs["note"]
    assert len(table) == len(BENCHMARKS) and table["note"].str.len().gt(0).all()


@pytest.mark.parametrize("benchmark", [b for b in BENCHMARKS if b.task], ids=lambda b: b.name)
def test_the_harness_has_each_task_and_its_metric(benchmark, manager):
    assert benchmark.task in manager.task_index and benchmark.task not in manager.all_tags
    files = [leaf for _, leaf in harness_tasks.leaves(manager, benchmark.task)]
    assert files and all(leaf.get("dataset_path") for leaf in files)
    assert benchmark.runs_code == any(leaf.get("unsafe_code") for leaf in files)
    keys = harness_tasks.metric_keys(manager, benchmark.task)
    metric, kept = benchmark.metric.split(",")
    if benchmark.runs_code:  # a function names the key: its own name, or pass@k for pass_at_k
        assert keys is None
        (file,) = files
        (name,) = (m["metric"].rsplit(".", 1)[1] for m in file["metric_list"])
        assert metric == {"pass_at_1": "pass_at_1", "pass_at_k": "pass@1"}[name]
        assert kept in {f["name"] for f in file["filter_list"]}
    else:
        assert benchmark.metric in keys


@pytest.mark.parametrize("benchmark", [b for b in BENCHMARKS if b.task], ids=lambda b: b.name)
def test_the_worked_examples_are_those_of_the_task_where_it_fixes_them(benchmark, manager):
    fixed = {leaf.get("num_fewshot") for _, leaf in harness_tasks.leaves(manager, benchmark.task)} - {None}
    assert fixed <= {benchmark.shots}


def test_by_default_no_generated_code_is_executed():
    assert not [b.name for b in benchmarks.select() if b.runs_code]
    assert {"humaneval", "mbpp"} <= {b.name for b in benchmarks.select(allow_code=True)}
    with pytest.raises(InputError, match="allow_code=True.*humaneval"):
        harness.check_benchmarks(benchmarks.select(["gsm8k", "humaneval"]), "task", "the harness", "another", False)


def test_each_evaluator_is_asked_for_what_it_has():
    assert all(b.task for b in benchmarks.select()) and "toxigen" in {b.name for b in benchmarks.select()}
    there = benchmarks.select(evaluator="opencompass")
    assert all(b.opencompass for b in there) and "ifbench" in {b.name for b in there}


def test_names_that_do_not_exist_are_refused():
    assert [b.name for b in benchmarks.select(["math", "gsm8k"])] == ["gsm8k", "math"]
    with pytest.raises(InputError, match="Expected a benchmark among mmlu.*found 'gsm9k'; did you mean gsm8k"):
        benchmarks.select(["gsm9k"])
    with pytest.raises(InputError, match="Expected a module below opencompass.configs"):
        Benchmark("b", "math", opencompass="a; import os")
    with pytest.raises(InputError, match="Expected a split of b among dev, unseen"):
        Benchmark("b", "math", "test", task="t")
    with pytest.raises(InputError, match="Expected an evaluator's task for the benchmark b"):
        Benchmark("b", "math")
