"""Public benchmarks of six axes, after Tulu 3 (arXiv 2411.15124, Table 3) and OpenDataArena (arXiv 2512.14051)."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import pandas as pd
from pydantic import ConfigDict, TypeAdapter

from causalmix.core.errors import InputError
from causalmix.core.parameters import check_name
from causalmix.core.paths import ASSETS
from causalmix.core.yaml_file import parse_yaml
from causalmix.lm.tasks import SPLITS

AXES = ("knowledge", "reasoning", "math", "coding", "instruction", "safety")

NOTE = (
    "The paper's own list of Dev and Unseen benchmarks is unknown; this one is inferred from "
    "Tulu 3 and OpenDataArena, so that scores compare in pattern, not in level."
)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark and where the two evaluators have it; a study's own ones may be on axes of their own."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # as a study's file gives it

    name: str  # unique in a study
    axis: str
    split: str = "dev"  # dev may guide a mixture; unseen only judges it
    task: str | None = None  # task or group of lm-evaluation-harness; None where it has none
    metric: str = "acc,none"  # key of the score there, ``metric,filter``; the score is in [0, 1]
    opencompass: str | None = None  # a module below ``opencompass.configs.datasets``; None where it has none
    runs_code: bool = False  # whether generated code is executed on this machine to judge it
    shots: int | None = None  # worked examples in the harness's prompt; None leaves the task's own number
    note: str = ""  # source of the choice and what to know of it
    sets: tuple[str, ...] = ()  # names of the data sets that count in OpenCompass; all of the module by default

    def __post_init__(self) -> None:
        check_name(self.split, SPLITS, f"split of {self.name}")
        if self.task is None and self.opencompass is None:
            raise InputError(f"Expected an evaluator's task for the benchmark {self.name}, found none; name one.")
        if self.opencompass is not None and not re.fullmatch(r"\w+(\.\w+)*", self.opencompass):  # it becomes Python
            raise InputError(
                f"Expected a module below opencompass.configs.datasets for the benchmark {self.name}, "
                f"found {self.opencompass!r}; give its name with dots."
            )


BENCHMARKS = TypeAdapter(tuple[Benchmark, ...]).validate_python(
    parse_yaml((ASSETS / "benchmarks.yaml").read_text(encoding="utf-8"))
)


def select(
    names: Sequence[str] | None = None, *, allow_code: bool = False, evaluator: str = "harness"
) -> tuple[Benchmark, ...]:
    """Benchmarks by their names, or all that an evaluator has (unless ``allow_code``, without those that run code)."""
    for name in names or ():
        check_name(name, [b.name for b in BENCHMARKS], "benchmark")
    if names is not None:
        found = [b for b in BENCHMARKS if b.name in names]
    else:
        field = "opencompass" if evaluator == "opencompass" else "task"
        found = [b for b in BENCHMARKS if getattr(b, field) and (allow_code or not b.runs_code)]
    if not found:
        raise InputError(f"Expected a benchmark for the names {names}, found none; name others or set allow_code.")
    return tuple(found)


def benchmark_table(benchmarks: Sequence[Benchmark] = BENCHMARKS) -> pd.DataFrame:
    """The benchmarks as a table, an empty text where an evaluator lacks one; :data:`NOTE` is in ``attrs["note"]``."""
    columns = ["axis", "split", "name", "task", "metric", "shots", "runs_code", "opencompass", "note"]
    table = pd.DataFrame([asdict(b) for b in benchmarks], columns=columns).fillna({"task": "", "opencompass": ""})
    table["shots"] = ["the task's own" if b.shots is None else str(b.shots) for b in benchmarks]
    table.attrs["note"] = NOTE
    return table.rename(columns={"name": "benchmark", "task": "harness_task"})
