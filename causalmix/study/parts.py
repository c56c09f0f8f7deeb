"""What the study of methods trains, listed once: trained by :mod:`causalmix.study.campaign`, counted by a plan.

All methods share the seeds of their trials, so that a difference between two of them is a paired one.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from causalmix.core.parameters import LongCoTParameters, TargetParameters
from causalmix.data.scored_pools import World
from causalmix.data.states import tilt
from causalmix.methods.question import ProxyRun
from causalmix.train.design import Design, confounded_specs, spec_of
from causalmix.train.spec import RunSpec

AS_IT_IS = tilt()

#: Tilts λ of pools whose state has shifted: two within the range of states that runs were drawn from, one beyond it.
SHIFTS = {
    "polished": tilt(hes=0.25, normalized_loss=-0.12, writing_style=1.6),
    "careless": tilt(hes=-0.25, normalized_loss=0.12, writing_style=-1.6),
    "more careless than seen": tilt(hes=-0.5, normalized_loss=0.25, writing_style=-3.0),
}
#: Tables with several mixtures of a method: the column that numbers these, and the runs that try each.
NUMBERED = {"learning": ("n_runs", 5), "refits": ("refit", 3)}

# First seeds, of a design's hundred thousand, of proxies that methods ask for and of trials; its own runs count from 0.
PROXY_SEEDS, TRIAL_SEEDS = 80_000, 90_000


@dataclass(frozen=True)
class Pool:
    """What a run's specification says of its pool: the identity of its world, its domains, and all of its rows."""

    name: str
    domains: tuple[str, ...]
    rows: int

    @classmethod
    def of(cls, world: World) -> "Pool":
        """That of a pool at hand."""
        return cls(world.name, world.scored.domains, len(world.scored.codes))


@dataclass(frozen=True)
class Trial:
    """One method's mixture in one pool, the run that tries it, and the role of its model."""

    method: str
    pool: str
    spec: RunSpec
    role: str = "proxy"


@dataclass(frozen=True)
class Part:
    """Runs of one kind: their name, the subject (or the command) that trains them, the role of their model."""

    name: str
    chapter: str
    role: str
    specs: list[RunSpec]

    @classmethod
    def of(cls, name: str, chapter: str, trials: list[Trial]) -> "Part":
        """The runs of some trials, whose models have one role."""
        return cls(name, chapter, trials[0].role if trials else "proxy", [trial.spec for trial in trials])


def study_parts(
    design: Design, target: TargetParameters, long: LongCoTParameters,
    pool_of: Callable[[str], Pool | None], mixtures: Callable[[str], pd.DataFrame],
) -> Iterator[Part]:  # fmt: skip
    """All trials of a study, and its second history; pools (None: left out) and tables are asked for when needed."""
    pool = pool_of("pool")
    sizes = target.largest_scale, target.seeds, target.target_seeds
    yield from _by_size("whole pool", "target", size_trials(design, pool, mixtures("methods"), *sizes))
    moved = shift_trials(design, pool, mixtures("shifted"), target.largest_scale, target.shift_seeds)
    yield from _by_size("shifted pools", "target", moved)
    if chains := pool_of("longcot"):
        trials = longcot_trials(design, chains, mixtures("longcot"), long.seeds)
        yield Part.of("long chains of thought", "longcot", trials)
    for called, name in (("learning curve", "learning"), ("halves of the history", "refits")):
        yield Part.of(called, "sweep --trials", numbered_trials(design, pool, mixtures(name), name))
    yield from _by_size("variants", "sweep --trials", size_trials(design, pool, mixtures("variants"), *sizes))
    confounded = confounded_specs(design, pool.name, pool.domains)
    yield Part("confounded history", "sweep --trials", "proxy", confounded)


def _by_size(prefix: str, chapter: str, trials: Iterable[Trial]) -> Iterator[Part]:
    """Trials, in the order of their sizes, as one part for each, and one for the target model."""
    size = lambda t: "target model" if t.role == "target" else f"{t.spec.n_samples:,} rows"  # noqa: E731
    for called, group in groupby(trials, size):
        yield Part.of(f"{prefix}, {called}", chapter, list(group))


def trials_of(
    design: Design, pool: Pool, mixtures: pd.DataFrame, seeds: int, called: str = "whole", scale: int = 1,
    role: str = "proxy",
) -> list[Trial]:  # fmt: skip
    """Runs that try mixtures (``method, w_<domain>…``), each with so many seeds, on ``scale`` times a proxy's rows."""
    if "model" in mixtures:
        here = (mixtures["model"] == role) & (mixtures["n_samples"] == design.n_samples * scale)
        mixtures = mixtures[here | mixtures["model"].isna()]
    weights = [c for c in mixtures if c.startswith("w_")]
    shared = {"role": role, "n_samples": design.n_samples * scale, "domains": tuple(c[2:] for c in weights)}
    shared["candidates"] = design.candidates if called in SHIFTS else pool.rows
    state, first = SHIFTS.get(called, AS_IT_IS), design.seed * 100_000 + TRIAL_SEEDS
    return [
        Trial(row["method"], called, spec_of(design, pool.name, row[weights].astype(float), state, first + j, **shared),
              role)
        for _, row in mixtures.iterrows()
        for j in range(seeds)
    ]  # fmt: skip


def size_trials(
    design: Design, pool: Pool, mixtures: pd.DataFrame, largest: int, seeds: int, target_seeds: int
) -> list[Trial]:
    """Every mixture in the whole pool: the proxy at one, half of the largest and the largest scale, then the target."""
    trials = [t for scale in whole_scales(largest) for t in trials_of(design, pool, mixtures, seeds, scale=scale)]
    return trials + trials_of(design, pool, mixtures, target_seeds, scale=largest, role="target")


def whole_scales(largest: int) -> list[int]:
    """Rows at which the proxy tries mixtures for the whole pool, by those of a recorded run."""
    return sorted({*shift_scales(largest), largest})


def shift_scales(largest: int) -> list[int]:
    """The same for shifted pools, of which a run draws too few candidates for the largest size."""
    return sorted({1, max(1, largest // 2)})


def shift_trials(design: Design, pool: Pool, mixtures: pd.DataFrame, largest: int, seeds: int) -> list[Trial]:
    """Every method's mixture in every shifted pool, which its column ``pool`` names: at one and half of the largest."""
    tables = mixtures.groupby("pool", sort=False)
    return [trial for scale in shift_scales(largest) for called, table in tables
            for trial in trials_of(design, pool, table, seeds, called, scale)]  # fmt: skip


def numbered_trials(design: Design, pool: Pool, mixtures: pd.DataFrame, name: str) -> list[Trial]:
    """The mixtures of one of the tables :data:`NUMBERED` in the whole pool, as ``method/number``."""
    number, seeds = NUMBERED[name]
    called = mixtures["method"] + "/" + mixtures[number].astype(str)
    return trials_of(design, pool, mixtures.assign(method=called).drop(columns=number), seeds)


def longcot_trials(design: Design, pool: Pool, mixtures: pd.DataFrame, seeds: int) -> list[Trial]:
    """Every method's mixture of the domains of long chains, with the model of that role."""
    mixtures = mixtures[["method", *(f"w_{d}" for d in pool.domains)]]
    return trials_of(design, pool, mixtures, seeds, "long-CoT", role="longcot")


def proxy_specs(design: Design, pool: Pool, runs: Iterable[ProxyRun]) -> list[RunSpec]:
    """Runs that methods ask for, on the pool as it is."""
    return [
        spec_of(design, pool.name, run.weights, AS_IT_IS, design.seed * 100_000 + PROXY_SEEDS + run.seed,
                n_samples=run.n_samples, domains=pool.domains, mixing=dict(run.mixing))
        for run in runs
    ]  # fmt: skip
