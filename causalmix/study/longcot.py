"""The long chain-of-thought transfer: its pool, the outcome that the history is given, and its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.data import states
from causalmix.data.recipes import Recipe
from causalmix.data.scored_pools import World, load_real, load_world
from causalmix.study.trials import Trial, trials_of
from causalmix.train.design import Design

AXES = ("math", "coding")
OUTCOME = "y_math_coding"


def load(recipe: Mapping, pool_rows: int = 12_000, pool_seed: int = 0) -> World:
    """The long-CoT pool, scored by the same reference models as the history's pool."""
    if recipe:
        return load_real(Recipe.of(recipe), pool_rows, pool_seed)
    return load_world(pool_rows, pool_seed, "longcot")


def with_outcome(history: History, axes: Sequence[str] = AXES) -> History:
    """The same records with the mean of some axes as a further outcome, :data:`OUTCOME`.

    Raises
    ------
    InputError
        When the history lacks an axis.
    """
    missing = [axis for axis in axes if axis not in history.axes]
    if missing:
        raise InputError(
            f"Expected the axes {', '.join(axes)} in the history, found no {missing[0]}; choose axes that it has."
        )
    frame = history.frame.assign(**{OUTCOME: history.frame[[f"y_{axis}" for axis in axes]].mean(axis=1)})
    return replace(history, frame=frame)


def state_of(pool: World) -> np.ndarray:
    """Covariates of the whole pool, shape (d,)."""
    everything = np.arange(len(pool.scored.codes))
    return np.array(list(states.candidate_covariates(pool.scored, everything).values()))


def where_table(x: np.ndarray, history: History) -> pd.DataFrame:
    """The pool's state beside the history's: how far a transfer has to reach."""
    X = history.X
    return pd.DataFrame(
        {
            "covariate": history.covariates,
            "long_cot_pool": x,
            "history_low": X.min(axis=0),
            "history_high": X.max(axis=0),
            "inside_the_range": [
                "yes" if low <= v <= high else "no" for v, low, high in zip(x, X.min(axis=0), X.max(axis=0))
            ],
        }
    )


def mixtures_of_pool(mixtures: pd.DataFrame, domains: Sequence[str]) -> pd.DataFrame:
    """Only the shares of the domains that the pool has."""
    return mixtures[["method", *(f"w_{d}" for d in domains)]]


def longcot_trials(design: Design, pool: World, mixtures: pd.DataFrame, seeds: int) -> list[Trial]:
    """Every method's mixture of long reasoning, with the Qwen3-architecture model, at a proxy run's size."""
    mixtures = mixtures_of_pool(mixtures, pool.scored.domains)
    return trials_of(design, pool.name, mixtures, pool="long-CoT", state=states.tilt(), role="longcot",
                     candidates=len(pool.scored.codes), n_samples=design.n_samples, seeds=seeds)  # fmt: skip


def example(pool: World, domain: str) -> tuple[str, str]:
    """Prompt and completion of the first row of a domain."""
    row = next(r for r in pool.pool if r["domain"] == domain)
    return tuple(message["content"] for message in row["messages"])


def examples_table(pool: World) -> pd.DataFrame:
    """One row of each domain, for reading."""
    return pd.DataFrame(
        [dict(zip(("domain", "prompt", "completion"), (d, *example(pool, d)))) for d in pool.scored.domains]
    )
