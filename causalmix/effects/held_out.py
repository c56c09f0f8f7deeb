"""Does the causal model predict runs that it has never seen, and how can theta(x) be read?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from causalmix.core.errors import InputError
from causalmix.core.history import MIN_ROWS, History
from causalmix.core.intervals import middle_interval, told_apart
from causalmix.core.simplex import log_treatment
from causalmix.effects.estimator import Effects, fit_effects

PREDICTORS = ("theta(x)", "constant theta", "state alone")
ALIKE = 1e-4  # two ways to the same prediction differ in the last digits: below, neither is ahead


def split_history(history: History, n_test: int, seed: int) -> tuple[History, History]:
    """Runs to fit and runs held out, at random.

    Raises
    ------
    InputError
        When too few runs would be left to fit.
    """
    n = len(history.frame)
    if n - n_test < MIN_ROWS // 2:
        raise InputError(
            f"Expected at least {MIN_ROWS // 2} runs besides the {n_test} held out, found {n - n_test}; lower n_test."
        )
    order = np.random.default_rng([seed, 40]).permutation(n)
    parts = (np.sort(order[n_test:]), np.sort(order[:n_test]))
    return tuple(replace(history, frame=history.frame.iloc[rows].reset_index(drop=True)) for rows in parts)


def predictions(effects: Effects, held_out: History) -> dict[str, np.ndarray]:
    """Three predictions of each held-out run, shape (n,): with theta(x), with one theta for all, from the state alone.

    All three share the level m0(x) and differ in what the mixture adds.
    """
    level, usual = effects.nuisances(held_out.X)
    treatment = log_treatment(held_out.T, effects.eps) - usual
    return {
        "theta(x)": level + np.einsum("nk,nk->n", effects.theta(held_out.X), treatment),
        "constant theta": level + treatment @ effects.constant,
        "state alone": level,
    }


def held_out_check(
    history: History, outcome: str = "y_dev", n_test: int = 64, n_splits: int = 5, seed: int = 0, **settings
) -> pd.DataFrame:
    """Fit on part of the runs, predict the rest, over several splits.

    Parameters
    ----------
    history : History
    outcome : str
    n_test : int
        Runs held out in each split (64 as reported for the choice of covariates, secondary source);
        at most a quarter of all.
    n_splits : int
        Random splits; their spread gives the error bars.
    seed : int
    **settings
        Of :func:`causalmix.effects.estimator.fit_effects`.

    Returns
    -------
    DataFrame
        ``split, predictor, spearman, r2``.
    """
    rows, n_test = [], min(n_test, len(history) // 4)
    for split in range(n_splits):
        fitted, held_out = split_history(history, n_test, seed + split)
        effects = fit_effects(fitted, outcome, seed=seed + split, **settings)
        observed = held_out.y(outcome)
        for name, predicted in predictions(effects, held_out).items():
            r2 = 1 - np.mean((observed - predicted) ** 2) / observed.var()
            # One prediction for all runs orders nothing: without covariates the level is such a one.
            rho = spearmanr(predicted, observed)[0] if np.ptp(predicted) > 0 else np.nan
            rows.append({"split": split, "predictor": name, "spearman": rho, "r2": r2})
    return pd.DataFrame(rows)


def check_summary(check: pd.DataFrame) -> pd.DataFrame:
    """Mean over splits and standard deviation between splits, and the paired difference of theta(x) to each rival.

    Splits share runs, so the deviation describes how much the choice of split matters; it is no
    standard error.  Differences below 0.0001 count for neither.
    """
    wide = check.pivot(index="split", columns="predictor", values=["spearman", "r2"])
    rows = []
    for name in PREDICTORS:
        row: dict[str, object] = {"predictor": name}
        for measure in ("spearman", "r2"):
            values = wide[measure][name]
            row |= {measure: values.mean(), f"{measure}_sd": values.std()}
            row[f"theta(x)_ahead_in_{measure}"] = (
                f"{int((_ahead(check, measure, name) > 0).sum())} of {len(values)}" if name != "theta(x)" else "–"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _ahead(check: pd.DataFrame, measure: str, rival: str) -> pd.Series:
    """How far theta(x) is ahead of a rival in every split."""
    wide = check.pivot(index="split", columns="predictor", values=measure)
    ahead = wide["theta(x)"] - wide[rival]
    return ahead.where(ahead.abs() > ALIKE, 0.0)


def check_sentence(check: pd.DataFrame) -> str:
    """What the held-out check says of the state, in size (R²) and in order (Spearman).

    Better or worse is where the middle 95% of the differences over splits, in brackets, lies on one side of zero.
    """
    told = []
    for measure, name in (("r2", "R²"), ("spearman", "Spearman's correlation")):
        ahead = _ahead(check, measure, "constant theta")
        wins, n = int((ahead > 0).sum()), len(ahead)
        mean, low, high = middle_interval(ahead.to_numpy())
        verdict = {1: "better", -1: "worse", 0: "neither better nor worse"}[told_apart(ahead)]
        told.append(f"**{verdict}** by {name} ({mean:+.3f} [{low:+.3f}, {high:+.3f}], higher in {wins} of {n} splits)")
    return (
        f"Returns that depend on the state predict held-out runs {told[0]} than returns that do not, and {told[1]}; "
        "in brackets the middle 95% of the differences over splits."
    )


def history_sentence(history: History, outcome: str) -> str:
    """What a history holds, in one sentence."""
    y = history.y(outcome)
    known = ", ".join(history.covariates) or "none"
    return (
        f"The history holds {len(history)} runs over {len(history.domains)} domains ({', '.join(history.domains)}); "
        f"covariates: {known}. "
        f"The outcome `{outcome}` has mean {y.mean():.3f} and standard deviation {y.std():.3f}."
    )


def split_rows(history: History, n_test: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the runs to fit and of those held out; the split of :func:`split_history`."""
    numbered = replace(history, frame=history.frame.assign(position=np.arange(len(history))))
    fitted, tested = split_history(numbered, _n_test(history, n_test), seed)
    return fitted.frame["position"].to_numpy(), tested.frame["position"].to_numpy()


def _n_test(history: History, n_test: int) -> int:
    """Runs to hold out: as many as asked for, at most a quarter of all."""
    return min(n_test, len(history) // 4)


def rows_of(history: History, rows: np.ndarray) -> History:
    """Some runs of a history."""
    return replace(history, frame=history.frame.iloc[rows].reset_index(drop=True))
