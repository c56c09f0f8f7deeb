"""How the mixtures of a history were assigned, and what that does to the estimates: randomised against confounded."""

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.core.intervals import explained
from causalmix.core.simplex import log_treatment
from causalmix.effects.held_out import Variant, held_out_scores
from causalmix.effects.interface import EPS

READINGS = ("before mixing", "after mixing")
NAMES, WITHOUT = ("randomised", "confounded"), ", without orthogonalisation"
FITTED = 0.8  # of the smaller history, so that every split fits to other runs


def assignment_scores(randomized: History, confounded: History, **settings) -> pd.DataFrame:
    """Fit as many runs of either history, with and without orthogonalisation, and predict randomised runs left out.

    Held-out runs are randomised, for only their outcomes are free of the state's choice.  Settings are those of
    :func:`causalmix.effects.held_out.held_out_scores`; the first variant is the full method on randomised runs.
    """
    randomized, confounded = randomized.designed, confounded.designed  # as the splits count them

    def parts(rest: np.ndarray, seed: int) -> dict[str, History]:
        n, rng = int(FITTED * min(len(rest), len(confounded))), np.random.default_rng([seed, 12])
        chosen = (rng.choice(rest, n, replace=False), rng.choice(len(confounded), n, replace=False))
        return dict(zip(NAMES, (randomized.take(chosen[0]), confounded.take(chosen[1]))))

    variants = [
        Variant("assignment", name + added, randomized.covariates, {"orthogonalise": orthogonalise}, part=name)
        for name in NAMES
        for orthogonalise, added in ((True, ""), (False, WITHOUT))
    ]
    return held_out_scores(randomized, variants, parts=parts, **settings)


def overlap_by_assignment(randomized: History, confounded: History) -> pd.DataFrame:
    """Share of each log share's variance that the state explains linearly, adjusted for its terms; randomised, near 0.

    The last row, "all", is of all log shares together.
    """
    table = pd.DataFrame({"domain": [*randomized.domains, "all"]})
    for name, history in (("randomized", randomized), ("confounded", confounded)):
        Z = log_treatment(history.T, EPS)
        shares = explained(Z, history.X)
        table[name] = np.append(shares, np.average(shares, weights=Z.var(axis=0)))
    return table


def reading_scores(before: History, after: History, **settings) -> pd.DataFrame:
    """Fit the full method with X before and after mixing, and predict the same runs left out.

    Both have the same runs in the same order, and only their covariates differ; there are no R-scores, for the
    residuals of each reading are its own.  Settings are those of :func:`causalmix.effects.held_out.held_out_scores`.
    """
    if before.frame["run_id"].tolist() != after.frame["run_id"].tolist():
        raise InputError("Expected the same runs in one order before and after mixing, found others; write both.")
    designed, parts = np.flatnonzero(before.frame["run_id"].isin(before.designed.frame["run_id"])), []
    for name, history in zip(READINGS, (before.take(designed), after.take(designed))):
        variant = Variant("reading", name, history.covariates)
        parts.append(held_out_scores(history, [variant], measures=("spearman", "r2"), **settings))
    return pd.concat(parts, ignore_index=True)
