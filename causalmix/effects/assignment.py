"""How the mixtures of a history were assigned, and what that does to the estimates: randomised against confounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.core.intervals import explained_by_mixture
from causalmix.core.simplex import log_treatment
from causalmix.effects.ablations import Variant, held_out_scores, residuals_of, score, versus
from causalmix.effects.estimator import EPS, fit_effects
from causalmix.effects.held_out import rows_of, split_rows

READINGS = ("before mixing", "after mixing")
NAMES, WITHOUT = ("randomised", "confounded"), ", without orthogonalisation"
FITTED = 0.8  # of the smaller history, so that every split fits to other runs


def assignment_scores(
    randomized: History,
    confounded: History,
    outcome: str = "y_dev",
    n_test: int = 64,
    n_splits: int = 8,
    seed: int = 0,
    progress: Callable | None = None,
    **settings,
) -> pd.DataFrame:
    """Fit as many runs of either history, with and without orthogonalisation, and predict randomised runs left out.

    Parameters
    ----------
    randomized, confounded : History
        Of one world; held-out runs are randomised, for only their outcomes are free of the state's choice.
    outcome : str
    n_test, n_splits, seed : int
        As for :func:`causalmix.effects.ablations.held_out_scores`.
    progress : callable, optional
        Called with splits done, splits in all and None.
    **settings
        Of :func:`causalmix.effects.estimator.fit_effects`.

    Returns
    -------
    DataFrame
        ``ablation, variant, split, spearman, r2, r_score``; the first variant is the full method on randomised runs.
    """
    left, rows = residuals_of(randomized, outcome, seed), []
    for split in range(n_splits):
        rest, tested = split_rows(randomized, n_test, seed + split)
        n, rng = int(FITTED * min(len(rest), len(confounded))), np.random.default_rng([seed + split, 12])
        fitted = (
            rows_of(randomized, rng.choice(rest, n, replace=False)),
            rows_of(confounded, rng.choice(len(confounded), n, replace=False)),
        )
        held_out = rows_of(randomized, tested)
        for name, part in zip(NAMES, fitted):
            for orthogonalise, added in ((True, ""), (False, WITHOUT)):
                effects = fit_effects(part, outcome, seed=seed + split, orthogonalise=orthogonalise, **settings)
                found = score(effects, held_out, left.take(tested))
                rows.append({"ablation": "assignment", "variant": name + added, "split": split} | found)
        if progress:
            progress(split + 1, n_splits, None)
    return pd.DataFrame(rows)


def assignment_sentence(scores: pd.DataFrame) -> str:
    """What orthogonalisation gains in either history, in order and in returns, worded from the numbers."""
    told = [f"with {name} mixtures {versus(scores, name, name + WITHOUT)}" for name in NAMES]
    between = versus(scores, *NAMES)
    return (
        f"The full method against itself without orthogonalisation: {'; '.join(told)}. "
        f"Randomised against confounded runs, both in full: {between}."
    )


def explained_by_state(history: History, eps: float = EPS) -> pd.DataFrame:
    """Share of each log share's variance that the state explains linearly, adjusted for its terms; randomised, near 0.

    Returns
    -------
    DataFrame
        ``domain, share``; the last row, "all", is of all log shares together.
    """
    Z, n, d = log_treatment(history.T, eps), len(history), len(history.covariates)
    design = np.column_stack([np.ones(n), history.X])
    left = Z - design @ np.linalg.lstsq(design, Z, rcond=None)[0]
    shares = 1 - (n - 1) / (n - 1 - d) * left.var(axis=0) / Z.var(axis=0)
    total = 1 - (n - 1) / (n - 1 - d) * left.var(axis=0).sum() / Z.var(axis=0).sum()
    return pd.DataFrame({"domain": [*history.domains, "all"], "share": [*shares, total]})


def overlap_by_assignment(randomized: History, confounded: History, eps: float = EPS) -> pd.DataFrame:
    """:func:`explained_by_state` of two histories, side by side."""
    found = {"randomized": explained_by_state(randomized, eps), "confounded": explained_by_state(confounded, eps)}
    return pd.DataFrame(
        {"domain": found["randomized"]["domain"]} | {name: table["share"] for name, table in found.items()}
    )


def overlap_by_measurement(before: History, after: History) -> pd.DataFrame:
    """Share of each covariate's variance that the mixture explains, for X before and after mixing."""
    shares = {name: explained_by_mixture(h.X, h.T) for name, h in (("before_mixing", before), ("after_mixing", after))}
    return pd.DataFrame({"covariate": before.covariates} | shares)


def reading_scores(before: History, after: History, **settings) -> pd.DataFrame:
    """Fit the full method with X before and after mixing, and predict the same runs left out.

    Parameters
    ----------
    before, after : History
        The same runs in the same order; only their covariates differ.
    **settings
        Of :func:`causalmix.effects.ablations.held_out_scores`.

    Returns
    -------
    DataFrame
        ``ablation, variant, split, spearman, r2``; without R-scores, for the residuals of each reading are its own.

    Raises
    ------
    InputError
        When the runs are not the same.
    """
    if before.frame["run_id"].tolist() != after.frame["run_id"].tolist():
        raise InputError(
            "Expected the same runs in the same order for X before and after mixing, found others; "
            "write both histories again with chapter 03."
        )
    parts = [
        held_out_scores(history, [Variant("reading", name, history.covariates)], **settings)
        for name, history in zip(READINGS, (before, after))
    ]
    return pd.concat(parts, ignore_index=True).drop(columns="r_score")


def reading_sentence(scores: pd.DataFrame) -> str:
    """How X after mixing predicts held-out outcomes against X before, in order and in size, worded from the numbers."""
    told = versus(scores, *reversed(READINGS), measures=("spearman", "r2"))
    return (
        f"X after mixing against X before, on the same held-out runs: {told}. Order is Spearman's correlation, size is "
        "R²; R-scores of the two readings do not compare, for each has its own residuals."
    )
