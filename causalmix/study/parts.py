"""What the study of methods trains: which mixtures, in which pools, of which size, with which seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from causalmix.data import states
from causalmix.data.scored_pools import World
from causalmix.data.tiny.items import DOMAINS
from causalmix.study.trials import FIRST_SEED, Trial, trials_of
from causalmix.train.design import Design, specs_of
from causalmix.train.spec import RunSpec

AS_IT_IS = states.tilt()

#: Tilts λ of pools whose state has shifted: two within the range of states that runs were drawn
#: from (each component in [-1, 1]), one beyond it.
SHIFTS = {
    "clean": states.tilt(hes=0.6, normalized_loss=-0.6, writing_style=0.8),
    "sloppy": states.tilt(hes=-0.6, normalized_loss=0.6, writing_style=-0.8),
    "sloppier than seen": states.tilt(hes=-1.0, normalized_loss=1.0, writing_style=-2.0),
}
CONFOUNDED_RUNS = 256


def confounded(design: Design, n_runs: int = CONFOUNDED_RUNS) -> Design:
    """The same design with mixtures that follow the state, and other seeds."""
    return replace(
        design, assignment="confounded", n_runs=min(n_runs, design.n_runs), noise_specs=2, seed=design.seed + 1
    )


def confounded_specs(
    design: Design, world: str, domains: tuple[str, ...] = DOMAINS, n_runs: int = CONFOUNDED_RUNS
) -> list[RunSpec]:
    """Runs of the second history, in which practice looked at the data before it chose a mixture."""
    return specs_of(confounded(design, n_runs), world, domains)


def scales_up_to(largest: int) -> list[int]:
    """The sizes that are tried, in rows per row of a proxy run: one, half of the largest, the largest."""
    return sorted({1, max(1, largest // 2), largest})


def size_trials(
    design: Design, base: World, mixtures: pd.DataFrame, scales: Sequence[int], seeds: int, target_seeds: int
) -> list[Trial]:
    """Every mixture in the whole pool: the proxy at each scale, the target model at the largest.

    Parameters
    ----------
    design : Design
    base : World
    mixtures : DataFrame
        ``method, w_<domain>…``.
    scales : sequence of int
        Rows of a training sample per row of a proxy run.
    seeds, target_seeds : int
        Runs of each mixture with the proxy (at each scale) and with the target model.
    """
    shared = {"pool": "whole", "state": AS_IT_IS, "candidates": len(base.scored.codes)}
    trials = []
    for scale in scales:
        trials += trials_of(design, base.name, mixtures, **shared, n_samples=design.n_samples * scale, seeds=seeds)
    largest = design.n_samples * max(scales)
    return trials + trials_of(
        design, base.name, mixtures, **shared, n_samples=largest, seeds=target_seeds, role="target"
    )


def shifted_state(base: World, tilt: Sequence[float], candidates: int, seed: int = FIRST_SEED) -> np.ndarray:
    """Covariates of a shifted pool, shape (d,): those of one draw of its candidates."""
    drawn = states.draw_candidates(base.scored, np.array(tilt), candidates, seed)
    return np.array(list(states.candidate_covariates(base.scored, drawn).values()))


def shift_trials(design: Design, base: World, mixtures: pd.DataFrame, seeds: int) -> list[Trial]:
    """Every method's mixture in every shifted pool, at the size of a proxy run.

    Parameters
    ----------
    mixtures : DataFrame
        ``method, pool, w_<domain>…``; pools are keys of :data:`SHIFTS`.
    """
    trials = []
    for pool, table in mixtures.groupby("pool", sort=False):
        trials += trials_of(design, base.name, table, pool=pool, state=SHIFTS[pool], candidates=design.candidates,
                            n_samples=design.n_samples, seeds=seeds)  # fmt: skip
    return trials


def learning_trials(design: Design, base: World, mixtures: pd.DataFrame, seeds: int) -> list[Trial]:
    """The mixtures of :func:`learning_mixtures` in the whole pool, at the size of a proxy run."""
    named = mixtures.assign(method=mixtures["method"] + "/" + mixtures["n_runs"].astype(str)).drop(columns="n_runs")
    return trials_of(design, base.name, named, pool="whole", state=AS_IT_IS, candidates=len(base.scored.codes),
                     n_samples=design.n_samples, seeds=seeds)  # fmt: skip
