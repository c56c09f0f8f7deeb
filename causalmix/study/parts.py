"""What the study of methods trains, listed once: trained by :mod:`causalmix.study.campaign`, counted by a plan.

A trial is one method's mixture in one pool, trained with a fresh seed; all methods share their seeds, so that a
difference between two of them is a paired one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from causalmix.data.scored_pools import World
from causalmix.methods.question import ProxyRun
from causalmix.train.design import Design, spec_of, specs_of
from causalmix.train.spec import RunSpec

AS_IT_IS = (0.0, 0.0, 0.0)

#: Tilts λ of pools whose state has shifted: two within the range of states that runs were drawn
#: from (each component in [-1, 1]), one beyond it. Order: HES, Normalized_Loss, Writing_Style.
SHIFTS = {"clean": (0.6, -0.6, 0.8), "sloppy": (-0.6, 0.6, -0.8), "sloppier than seen": (-1.0, 1.0, -2.0)}
CONFOUNDED_RUNS = 256
LEARNING_SEEDS = 3  # runs of each mixture of the learning curve

# First seeds, of a design's hundred thousand, of proxies that methods ask for and of trials; its own runs count from 0.
PROXY_SEEDS, TRIAL_SEEDS = 80_000, 90_000


@dataclass(frozen=True)
class Pool:
    """What a run's specification says of its pool.

    Attributes
    ----------
    name : str
        Identity of its world.
    domains : tuple of str
    rows : int
        Of all domains; as candidates of each they leave the pool as it is.
    """

    name: str
    domains: tuple[str, ...]
    rows: int

    @classmethod
    def of(cls, world: World) -> Pool:
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


def study_parts(
    design: Design, target, longcot, pool_of: Callable[[str], Pool | None], mixtures: Callable[[str], pd.DataFrame]
) -> Iterator[Part]:
    """All trials of a study, and its second history.

    Parameters
    ----------
    design : Design
    target, longcot
        The study's settings of these two subjects: how many seeds, which sizes.
    pool_of : callable
        The pool of proxies, ``pool``, and that of long chains, ``longcot``; None leaves the latter out.
    mixtures : callable
        A table by its name, asked for when its part is reached.
    """
    pool = pool_of("pool")
    sizes = scales_up_to(target.largest_scale), target.seeds, target.target_seeds
    yield from _by_size("", "target", design, pool, mixtures("methods"), *sizes)
    trials = shift_trials(design, pool, mixtures("shifted"), target.shift_seeds)
    yield Part("shifted pools", "target", "proxy", specs_in(trials))
    if long := pool_of("longcot"):
        trials = longcot_trials(design, long, mixtures("longcot"), longcot.seeds)
        yield Part("long chains of thought", "longcot", "longcot", specs_in(trials))
    trials = learning_trials(design, pool, mixtures("learning"))
    yield Part("learning curve", "sweep --trials", "proxy", specs_in(trials))
    yield from _by_size("variants, ", "sweep --trials", design, pool, mixtures("variants"), *sizes)
    yield Part("confounded history", "sweep --trials", "proxy", confounded_specs(design, pool))


def _by_size(prefix: str, chapter: str, design: Design, *asked) -> Iterator[Part]:
    """:func:`size_trials` as one part for each size, and one for the target model."""
    found: dict[tuple[str, str], list[RunSpec]] = {}
    for trial in size_trials(design, *asked):
        name = "target model" if trial.role == "target" else f"whole pool, {trial.spec.n_samples:,} rows"
        found.setdefault((prefix + name, trial.role), []).append(trial.spec)
    for (name, role), runs in found.items():
        yield Part(name, chapter, role, runs)


def specs_in(trials: Iterable[Trial]) -> list[RunSpec]:
    """The runs of trials."""
    return [trial.spec for trial in trials]


def trials_of(
    design: Design, world: str, mixtures: pd.DataFrame, *, pool: str, state: Sequence[float], candidates: int,
    n_samples: int, seeds: int, role: str = "proxy",
) -> list[Trial]:  # fmt: skip
    """Runs that try mixtures (``method, w_<domain>…``) in one pool, whose tilt λ is ``state``."""
    weights = [c for c in mixtures if c.startswith("w_")]
    domains = tuple(c.removeprefix("w_") for c in weights)
    return [
        Trial(
            row["method"],
            pool,
            spec_of(design, world, row[weights].astype(float), state, design.seed * 100_000 + TRIAL_SEEDS + j,
                    role=role, n_samples=n_samples, candidates=candidates, domains=domains),
            role,
        )
        for _, row in mixtures.iterrows()
        for j in range(seeds)
    ]  # fmt: skip


def scales_up_to(largest: int) -> list[int]:
    """The sizes that are tried, in rows per row of a proxy run: one, half of the largest, the largest."""
    return sorted({1, max(1, largest // 2), largest})


def size_trials(
    design: Design, pool: Pool, mixtures: pd.DataFrame, scales: Sequence[int], seeds: int, target_seeds: int
) -> list[Trial]:
    """Every mixture in the whole pool: the proxy at each scale, the target model at the largest."""
    shared = {"pool": "whole", "state": AS_IT_IS, "candidates": pool.rows}
    trials = []
    for scale in scales:
        trials += trials_of(design, pool.name, mixtures, **shared, n_samples=design.n_samples * scale, seeds=seeds)
    largest = design.n_samples * max(scales)
    return trials + trials_of(
        design, pool.name, mixtures, **shared, n_samples=largest, seeds=target_seeds, role="target"
    )


def shift_trials(design: Design, pool: Pool, mixtures: pd.DataFrame, seeds: int) -> list[Trial]:
    """Every method's mixture in every shifted pool (its column ``pool``), at the size of a proxy run."""
    trials = []
    for name, table in mixtures.groupby("pool", sort=False):
        trials += trials_of(design, pool.name, table, pool=name, state=SHIFTS[name], candidates=design.candidates,
                            n_samples=design.n_samples, seeds=seeds)  # fmt: skip
    return trials


def learning_trials(design: Design, pool: Pool, mixtures: pd.DataFrame) -> list[Trial]:
    """The mixtures of a learning curve in the whole pool, at the size of a proxy run; ``method/n_runs`` names them."""
    named = mixtures.assign(method=mixtures["method"] + "/" + mixtures["n_runs"].astype(str)).drop(columns="n_runs")
    return trials_of(design, pool.name, named, pool="whole", state=AS_IT_IS, candidates=pool.rows,
                     n_samples=design.n_samples, seeds=LEARNING_SEEDS)  # fmt: skip


def longcot_trials(design: Design, pool: Pool, mixtures: pd.DataFrame, seeds: int) -> list[Trial]:
    """Every method's mixture of the domains of long chains, with the model of that role, at a proxy run's size."""
    mixtures = mixtures[["method", *(f"w_{d}" for d in pool.domains)]]
    return trials_of(design, pool.name, mixtures, pool="long-CoT", state=AS_IT_IS, role="longcot",
                     candidates=pool.rows, n_samples=design.n_samples, seeds=seeds)  # fmt: skip


def confounded_specs(design: Design, pool: Pool, n_runs: int = CONFOUNDED_RUNS) -> list[RunSpec]:
    """Runs of the second history, in which practice looked at the data before it chose a mixture; other seeds."""
    n_runs = min(n_runs, design.n_runs)
    second = replace(design, assignment="confounded", n_runs=n_runs, noise_specs=2, seed=design.seed + 1)
    return specs_of(second, pool.name, pool.domains)


def proxy_specs(design: Design, pool: Pool, runs: Iterable[ProxyRun]) -> list[RunSpec]:
    """Runs that methods ask for, on the pool as it is."""
    return [
        spec_of(design, pool.name, run.weights, AS_IT_IS, design.seed * 100_000 + PROXY_SEEDS + run.seed,
                n_samples=run.n_samples, domains=pool.domains, mixing=dict(run.mixing))
        for run in runs
    ]  # fmt: skip
