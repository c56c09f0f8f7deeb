"""The long chain-of-thought transfer: its pool, and the outcome that the history is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.data import states
from causalmix.data.recipes import Recipe

if TYPE_CHECKING:
    from causalmix.data.scored_pools import World

AXES = ("math", "coding")
OUTCOME = "y_math_coding"


def load(recipe: Mapping, pool_rows: int = 12_000) -> World:
    """The long-CoT pool, scored by the same reference models as the history's pool."""
    from causalmix.data.scored_pools import load_real, load_world

    if recipe:
        return load_real(Recipe.of(recipe), pool_rows, 0)
    return load_world(pool_rows, 0, "longcot")


def with_outcome(history: History) -> History:
    """The same records with the mean of :data:`AXES`, which they need, as a further outcome, :data:`OUTCOME`."""
    if missing := [axis for axis in AXES if axis not in history.axes]:
        raise InputError(f"Expected the axes {', '.join(AXES)} in the history, found no {missing[0]}; add it.")
    mean = history.frame[[f"y_{axis}" for axis in AXES]].mean(axis=1)
    return replace(history, frame=history.frame.assign(**{OUTCOME: mean}))


def state_of(pool: World) -> np.ndarray:
    """Covariates of the whole pool, shape (d,)."""
    everything = np.arange(len(pool.scored.codes))
    return np.array(list(states.candidate_covariates(pool.scored, everything).values()))


def where_table(x: np.ndarray, history: History) -> pd.DataFrame:
    """The pool's state beside the history's: how far a transfer has to reach."""
    low, high = history.X.min(axis=0), history.X.max(axis=0)
    inside = np.where((low <= x) & (x <= high), "yes", "no")
    table = {"covariate": history.covariates, "long_cot_pool": x, "history_low": low, "history_high": high}
    return pd.DataFrame(table | {"inside_the_range": inside})


def examples_table(pool: World) -> pd.DataFrame:
    """The first row of each domain, for reading: ``domain, prompt, completion``."""
    rows = [next(row for row in pool.pool if row["domain"] == domain) for domain in pool.scored.domains]
    told = [(row["domain"], *(message["content"] for message in row["messages"][:2])) for row in rows]
    return pd.DataFrame(told, columns=["domain", "prompt", "completion"])
