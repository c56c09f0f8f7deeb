"""The machine that a study is meant for, and what its plan assumes: the section ``hardware`` of a study's file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from causalmix.core.errors import InputError
from causalmix.core.parameters import check_name

#: What a plan may have to be told, each with the source of the number.
ASSUMPTIONS = {
    "tokens_per_row": "mean tokens of a row of the pool, as the proxy's tokenizer writes it",
    "longest_row": "tokens of the longest row; max_length where it is not given",
    "rows": "rows that the pool really has, where pool_rows only bounds them",
    "evaluation_tokens": "tokens that judging one trained model reads and writes",
    "longcot_tokens_per_row": "as tokens_per_row, of the pool of long chains of thought",
    "longcot_longest_row": "as longest_row",
    "longcot_rows": "as rows",
    "longcot_evaluation_tokens": "as evaluation_tokens",
    "evaluation_utilisation": "share of the peak that judging reaches; utilisation where it is not given",
}
ADVICE = "write name: {value: …, source: …}."


@dataclass(frozen=True)
class Assumption:
    """A number that a plan rests on, and where it comes from."""

    value: float
    source: str


@dataclass(frozen=True)
class Hardware:
    """A machine, or several of a kind; runs are trained on its GPUs or, where it has none, its cores."""

    name: str
    gpus: int = 0
    cores: int = 0
    gpu_memory_gib: float | None = None  # of each GPU
    memory_gib: float | None = None  # of a machine without GPUs, all of it
    peak_tflops: float = math.nan  # of one GPU, or of one core, in the precision that runs are trained in
    utilisation: float = math.nan  # share of that peak that training reaches, in (0, 1]
    disk_gib: float = math.nan
    price_per_gpu_hour: float | None = None  # in any currency; None where nothing is paid
    assumptions: dict[str, Assumption] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """How many GPUs, or cores, there are."""
        return self.gpus or self.cores

    @property
    def unit(self) -> str:
        """What hours are counted of."""
        return "GPU" if self.gpus else "core"

    def hours(self, flops: float, utilisation: float | None = None) -> float:
        """Hours of one GPU, or of one core, for so many floating-point operations."""
        return flops / (self.peak_tflops * 1e12 * (utilisation or self.utilisation)) / 3600

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Hardware:
        """The hardware of a study's section; InputError where a name or a value is not allowed, or one is missing."""
        for name in given:
            check_name(name, [f.name for f in fields(cls)], "hardware field")
        missing = [name for name in ("name", "peak_tflops", "utilisation", "disk_gib") if name not in given]
        if missing:
            raise InputError(
                f"Expected {', '.join(missing)} in the section hardware, found {', '.join(given) or 'nothing'}; "
                f"add {missing[0]}."
            )
        values = {name: _number(name, value) for name, value in given.items() if name not in ("name", "assumptions")}
        if not isinstance(given["name"], str):
            raise InputError(f"Expected a name of the hardware, found {given['name']!r}; write a text.")
        if ("gpus" in values) == ("cores" in values):
            found = "both" if "gpus" in values else "neither"
            raise InputError(f"Expected either gpus or cores in the section hardware, found {found}; name what trains.")
        if "gpus" in values and "gpu_memory_gib" not in values:
            raise InputError("Expected gpu_memory_gib beside gpus in the section hardware, found none; add it.")
        return cls(name=given["name"], assumptions=_assumptions(given.get("assumptions") or {}), **values)


def _number(name: str, value: object) -> float | int:
    """A positive number, whole where things are counted, at most 1 where it is a share."""
    counted, share = name in ("gpus", "cores"), name.endswith("utilisation")
    number = isinstance(value, int if counted else (int, float)) and not isinstance(value, bool)
    if not (number and 0 < value < math.inf) or share and value > 1:
        what = "a whole number above zero" if counted else "a number in (0, 1]" if share else "a number above zero"
        raise InputError(f"Expected {name} to be {what}, found {value!r}; correct the section hardware.")
    return value


def _assumptions(given: object) -> dict[str, Assumption]:
    """Assumptions by name, each with its source: a plan never rests on a number that nobody accounts for."""
    if not isinstance(given, Mapping):
        raise InputError(f"Expected assumptions by name in the section hardware, found {given!r}; {ADVICE}")
    found = {}
    for name, entry in given.items():
        check_name(name, ASSUMPTIONS, "assumption")
        if not (isinstance(entry, Mapping) and set(entry) == {"value", "source"} and isinstance(entry["source"], str)):
            raise InputError(f"Expected the assumption {name} with its value and source, found {entry!r}; {ADVICE}")
        found[name] = Assumption(_number(name, entry["value"]), entry["source"])
    return found
