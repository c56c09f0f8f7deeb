"""Estimators of the returns theta(x) by name, and what all of them are asked."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from causalmix.core.direction import differing
from causalmix.core.errors import InputError, brief
from causalmix.core.history import ROUNDING, History
from causalmix.core.parameters import check_name
from causalmix.effects import bayesian, double_ml
from causalmix.effects.interface import EPS, TREATMENTS, Effects, Problem

#: Every estimator: what fits it to a problem, with the settings that it takes.
STAGES: dict[str, Callable[..., Effects]] = {
    "forest": partial(double_ml.fit, stage="forest"),
    "linear": partial(double_ml.fit, stage="linear"),
    "bayesian": bayesian.fit,
}


def fit_effects(
    history: History, outcome: str = "y_dev", stage: str = "forest", eps: float = EPS, treatment: str = "log",
    seed: int = 0, **settings,
) -> Effects:  # fmt: skip
    """Estimate returns from a history.

    Parameters
    ----------
    history : History
        n runs over K domains with d covariates; d may be 0, and returns are then constant.
    outcome : str
        Name of a ``y_`` column.
    stage : str
        A name in :data:`STAGES`: "forest", double machine learning with a causal forest; "linear", the same with
        theta(x) linear in x; or "bayesian", one model of all, averaged and shrunk.  A forest needs a covariate to
        split on; where none varies, the linear stage is used and ``Effects.note`` says so.
    eps : float
        Offset of the log treatment, share.
    treatment : {"log", "ilr"}
        Whether the final stage sees log(T + eps) or its K - 1 isometric log-ratios (coefficients of centred ones,
        which sum to 0, are not identified).  Returns come back for each domain either way.
    seed : int
        Everything random follows from it.
    **settings
        Of the first two stages: ``cv_folds`` (5), ``n_repeats`` (with other folds and trees, 5) and ``orthogonalise``
        (True; False puts plain means in the place of m0 and e0); of the forest also ``n_trees`` (of one repeat,
        rounded up to a multiple of 4, 500).  Of the Bayesian one ``responses``, the shapes of the answer to a share
        that it may choose from; ``("log",)`` holds it to the other stages' shape.

    Raises
    ------
    InputError
        When an argument is out of range, an outcome or a share the same in all runs, or runs or mixtures too few.
    """
    problem = Problem(history, outcome, eps, treatment, seed)
    differing(history, outcome)
    # Of the whole history: in a sparse one a split may leave a domain without any run that has it.
    T = replace(history, frame=history.whole).T
    if len(stuck := np.flatnonzero(np.ptp(T, axis=0) <= 2 * ROUNDING * T.max(axis=0))):
        names = brief(", ".join(f"w_{history.domains[k]}" for k in stuck))
        raise InputError(
            f"Expected shares that differ between runs, found {names} the same in all but for rounding; leave "
            f"{'this domain' if len(stuck) == 1 else 'these domains'} out and divide the others by their sum."
        )
    check_name(stage, STAGES, "stage")
    check_name(treatment, TREATMENTS, "treatment")
    return STAGES[stage](problem, **settings)


def typical_states(history: History) -> dict[str, np.ndarray]:
    """States to look at: all covariates at their means, and the last one at its 10th and 90th percentile."""
    mean = history.X.mean(axis=0)
    states = {"mean state": mean}
    if history.covariates:
        for percent in (10, 90):
            x = mean.copy()
            x[-1] = np.quantile(history.X[:, -1], percent / 100)
            states[f"{history.covariates[-1]} at its {percent}th percentile"] = x
    return states


def effects_table(effects: Effects, states: dict[str, np.ndarray]) -> pd.DataFrame:
    """Returns in some states: one row per state and domain with its 95% interval and the one return for all states."""
    parts = []
    for name, x in states.items():
        (theta,), (low,), (high,) = effects.theta(x), *effects.interval(x)
        values = {"theta": theta, "ci_low": low, "ci_high": high, "theta_constant": effects.constant}
        parts.append(pd.DataFrame({"state": name, "domain": effects.history.domains} | values))
    return pd.concat(parts, ignore_index=True)
