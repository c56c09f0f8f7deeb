"""Tasks of lm-evaluation-harness: finding them by name, what they declare, and loading them with their data."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from causalmix.core.errors import InputError, refused
from causalmix.lm.available import HUB_SECONDS, ask_hub, hub_refusal, quiet as quietly
from causalmix.lm.benchmarks import Benchmark

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

INSTALL = "pip install 'causalmix[paper]'"
quiet = functools.partial(quietly, "lm_eval", level=logging.ERROR)  # remarks on how it was called
FETCH = ("fetch its data into the Hugging Face cache where there is a network, leave the benchmark out, or name a task "
         "of your own with data on disk (evaluation: own)")  # fmt: skip
ON_DISK = ("json", "csv", "parquet", "text", "arrow")  # readers of files, not names on the hub


@functools.cache
def _manager(include_path: str | None, with_defaults: bool) -> TaskManager:
    from lm_eval.tasks import TaskManager

    with quiet():
        return TaskManager(include_path=include_path, include_defaults=with_defaults)


def find(benchmarks: Sequence[Benchmark], include_path: str | None) -> TaskManager:
    """The tasks of a folder if it has all that is asked, else also the thousands that ship (many seconds, once)."""
    if include_path is not None:
        own = _manager(include_path, False)
        if all(b.task in own.task_index for b in benchmarks):
            return own
    return _manager(include_path, True)


def check_tasks(manager: TaskManager, benchmarks: Sequence[Benchmark], allow_code: bool) -> None:
    """Raise InputError for a task that does not exist, executes code without leave, or lacks the metric."""
    for benchmark in benchmarks:
        entry = manager.task_index.get(benchmark.task)
        if entry is None or benchmark.task in manager.all_tags:
            found = "no such task" if entry is None else "a tag, which has no score of its own"
            raise InputError(
                f"Expected a task or group {benchmark.task} of lm-evaluation-harness for the benchmark "
                f"{benchmark.name}, found {found}; correct its name or include_path."
            )
        if not allow_code and any(leaf.get("unsafe_code") for _, leaf in leaves(manager, benchmark.task)):
            raise InputError(
                f"Expected allow_code=True for the benchmark {benchmark.name}, whose task {benchmark.task} executes "
                "generated code, found it unset; leave it out, or allow it in a sandbox."
            )
        keys = metric_keys(manager, benchmark.task)
        if keys is not None and benchmark.metric not in keys:
            raise no_metric(benchmark, sorted(keys))


def leaves(manager: TaskManager, name: str) -> Iterator[tuple[Path | None, Mapping[str, Any]]]:
    """The file and the contents of a task, or of all tasks of a group; functions in it are told by their path."""
    entry = manager.task_index[name]
    children = entry.cfg.get("task") if entry.cfg else sorted(entry.tags)
    if not isinstance(children, list):
        yield entry.yaml_path, entry.cfg
        return
    for child in children:
        inline = child if isinstance(child, dict) else {}
        child = (inline.get("group") or inline.get("task")) if inline else child
        if isinstance(child, str) and child in manager.task_index:
            for path, leaf in leaves(manager, child):
                yield path, {**leaf, **inline}
        elif inline:
            yield None, inline


def metric_keys(manager: TaskManager, name: str) -> set[str] | None:
    """Keys ``metric,filter`` of the results that a task or group declares; None where its own functions name them."""
    from lm_eval.api.registry import DEFAULT_METRIC_REGISTRY

    names, filters = set(), set()
    for _, leaf in leaves(manager, name):
        listed = leaf.get("metric_list")
        default = DEFAULT_METRIC_REGISTRY.get(leaf.get("output_type"), ())
        names |= {str(m["metric"]) for m in listed} if listed else set(default)
        filters |= {f["name"] for f in leaf.get("filter_list") or ({"name": "none"},)}
    if not names or any("/" in metric for metric in names):  # a function is told by its file
        return None
    total = (manager.task_index[name].cfg or {}).get("aggregate_metric_list")
    if total is None:
        return {f"{metric},{kept}" for metric in names for kept in filters}
    keys = set()
    for one in [total] if isinstance(total, dict) else total:
        chosen = one.get("filter_list") or filters
        keys |= {f"{one['metric']},{kept}" for kept in ([chosen] if isinstance(chosen, str) else chosen)}
    return keys


def no_metric(benchmark: Benchmark, keys: Sequence[str]) -> InputError:
    """The error of a metric that a task does not have."""
    return InputError(
        f"Expected the metric {benchmark.metric} of the benchmark {benchmark.name}, "
        f"found {'; '.join(keys) or 'none'}; name one that the task {benchmark.task} has."
    )


def load_all(
    manager: TaskManager, benchmarks: Sequence[Benchmark], max_new_tokens: int, seed: int
) -> dict[tuple[str, int | None], dict[str, Any]]:
    """Tasks with their data, by task and number of worked examples; all of them before a model is asked anything."""
    paths = {leaf.get("dataset_path") for b in benchmarks for _, leaf in leaves(manager, b.task)}
    loaded = {}
    with _cache_without_hub(paths):
        for benchmark in benchmarks:
            key = benchmark.task, benchmark.shots
            if key not in loaded:
                loaded[key] = _load(manager, benchmark, max_new_tokens, seed)
    return loaded


def _load(manager: TaskManager, benchmark: Benchmark, max_new_tokens: int, seed: int) -> dict[str, Any]:
    with _loading(benchmark):
        tasks = manager.load([benchmark.task])
    greedy = {"do_sample": False, "temperature": 0.0, "max_gen_toks": max_new_tokens}
    for task in tasks["tasks"].values():
        if task.get_config("output_type") == "generate_until":
            task.set_config(key="generation_kwargs", value=greedy, update=True)
        if benchmark.shots is not None or task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=benchmark.shots or 0)
        task.set_fewshot_seed(seed=seed)
    return tasks


@contextmanager
def _loading(benchmark: Benchmark) -> Iterator[None]:
    """Tell in one sentence whatever a task's file, functions and data raise, most often for want of one of them."""
    expected = f"the benchmark {benchmark.name} (task {benchmark.task}) to load"
    lacking = refused(expected, f"install what it needs with `{INSTALL}`", ImportError, AssertionError)
    with refused(expected, FETCH), lacking:
        yield


def require(manager: TaskManager, benchmarks: Sequence[Benchmark]) -> None:
    """Raise InputError unless each task has its packages, and its data are to be had; no data are fetched."""
    from lm_eval.tasks._yaml_loader import load_yaml

    sources: dict[tuple[str, str], tuple[Benchmark, Mapping]] = {}
    for benchmark in benchmarks:
        for file, leaf in leaves(manager, benchmark.task):
            if file is not None and not leaf.get("unsafe_code"):  # which would execute code as it is imported
                with _loading(benchmark):
                    load_yaml(file, resolve_func=True)
            if path := leaf.get("dataset_path"):
                sources.setdefault((path, str(leaf.get("dataset_kwargs"))), (benchmark, leaf))
    with _cache_without_hub({path for path, _ in sources}) as online:
        for benchmark, leaf in sources.values():
            _require_data(benchmark, leaf, online)


def _require_data(benchmark: Benchmark, leaf: Mapping, online: bool) -> None:
    """Ask the hub for leave to read, or look on disk and in the cache."""
    from datasets import load_dataset_builder

    path = leaf["dataset_path"]
    with _loading(benchmark):
        if online and not _is_local(path):
            ask_hub(path, "dataset")
        else:
            given = {k: v for k, v in (leaf.get("dataset_kwargs") or {}).items() if k != "trust_remote_code"}
            load_dataset_builder(path, leaf.get("dataset_name"), **given)


def _is_local(path: str | None) -> bool:
    return path is None or path in ON_DISK or Path(path).exists()


@contextmanager
def _cache_without_hub(paths: set[str | None]) -> Iterator[bool]:
    """Whether the hub answers; else the cache alone is read, for each data set would be tried for half a minute."""
    import datasets.config
    from huggingface_hub import constants, get_session

    answers = lambda: get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)  # noqa: E731
    if all(_is_local(path) for path in paths) or not hub_refusal(answers):
        yield True
        return
    with patch.object(constants, "HF_HUB_OFFLINE", True), patch.object(datasets.config, "HF_HUB_OFFLINE", True):
        yield False
