"""What each part of the method is worth, from recorded runs alone: nothing here trains a model of language.

Everything is held against runs that were left out of the fit, by three measures: Spearman's correlation
and R2 of the predicted outcome, and the R-score, which looks at the returns alone.  With residuals Y~, Z~
that do not depend on what is compared, it is 1 - sum((Y~ - theta(X)'Z~)^2) / sum(Y~^2), the loss of Nie and
Wager (2021, doi:10.1093/biomet/asaa076) against that of no returns at all.  Without it an ablation of the
nuisance models would mostly show that the level m0(X) is missing from the prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from causalmix.core.errors import InputError
from causalmix.core.history import MIN_ROWS, History, read_history
from causalmix.core.intervals import FEWEST_SPLITS, middle_interval, told_apart
from causalmix.core.simplex import log_treatment, sample_dirichlet
from causalmix.effects.estimator import Effects, fit_effects
from causalmix.effects.held_out import _n_test, rows_of, split_rows

MEASURES = ("spearman", "r2", "r_score")
LABELS = {"spearman": "order", "r2": "size", "r_score": "returns"}  # what each measure is of, in sentences
VERBS = {1: "better", -1: "worse", 0: "not told apart"}
FULL = "full"

#: Most covariates of which all subsets are fitted; of more only singles, leave-one-out and all.
ALL_SUBSETS = 4

#: What stands for all tables below when the history is not the study's own.
OTHER_HISTORY = "Another history was given, so all that this chapter reads from the study's other tables is left out."

#: The command that makes each table that a study may lack.
MADE_BY = {
    "confounded.csv": "causalmix sweep --trials",
    "history_mixed.csv": "causalmix run outcomes",
    "learning_trained.csv": "causalmix sweep --trials",
    "targets.csv": "causalmix run target",
    "variants_trained.csv": "causalmix sweep --trials",
}


@dataclass(frozen=True)
class Variant:
    """One way to estimate.

    Attributes
    ----------
    ablation : str
        The part of the method that it touches.
    name : str
    covariates : tuple of str
        What it knows of the state.
    options : dict
        Settings of :func:`causalmix.effects.estimator.fit_effects` that differ from the full method's.
    """

    ablation: str
    name: str
    covariates: tuple[str, ...]
    options: Mapping[str, object] = field(default_factory=dict)


def method_variants(history: History, n_test: int) -> list[Variant]:
    """The full method and the same with one part left out or replaced.

    The linear final stage is left out where the runs are too few for it, and a history without
    covariates has no variant without them.
    """
    known, n = history.covariates, len(history) - _n_test(history, n_test)
    found = [Variant("full method", FULL, known)]
    if known:
        found.append(Variant("covariates", "without X", ()))
        found.append(Variant("orthogonalisation", "without orthogonalisation", known, {"orthogonalise": False}))
    if known and n > _fewest("linear", history):
        found.append(Variant("final stage", "linear", known, {"stage": "linear"}))
    return [*found, Variant("treatment", "log-ratios (ILR)", known, {"treatment": "ilr"})]


def subset_variants(history: History) -> list[Variant]:
    """The full method with each subset of the covariates, none included; of many only singles, all but one, and all."""
    known = history.covariates
    sizes = range(len(known) + 1) if len(known) <= ALL_SUBSETS else (0, 1, len(known) - 1, len(known))
    subsets = [chosen for size in sizes for chosen in combinations(known, size)]
    return [Variant("subset", " + ".join(chosen) or "none", chosen) for chosen in subsets]


def held_out_scores(
    history: History,
    variants: Sequence[Variant],
    outcome: str = "y_dev",
    n_test: int = 64,
    n_splits: int = 8,
    seed: int = 0,
    progress: Callable | None = None,
    **settings,
) -> pd.DataFrame:
    """Fit every variant to part of the runs and predict the rest; all variants share their splits.

    Parameters
    ----------
    history : History
    variants : sequence of Variant
        Those that are the same but for their names are fitted once.
    outcome : str
    n_test : int
        Runs held out in each split; at most a quarter of all.
    n_splits : int
    seed : int
    progress : callable, optional
        Called with splits done, splits in all and None.
    **settings
        Of :func:`causalmix.effects.estimator.fit_effects`, for all variants.

    Returns
    -------
    DataFrame
        ``ablation, variant, split, spearman, r2, r_score``.
    """
    left, rows = residuals_of(history, outcome, seed), []
    for split in range(_at_least(n_splits, 2, "n_splits")):
        fitted, tested = split_rows(history, n_test, seed + split)
        known: dict[tuple, dict] = {}
        for variant in variants:
            key = (variant.covariates, tuple(sorted(variant.options.items())))
            if key not in known:
                parts = [replace(rows_of(history, rows_), covariates=variant.covariates) for rows_ in (fitted, tested)]
                effects = fit_effects(parts[0], outcome, seed=seed + split, **(settings | dict(variant.options)))
                known[key] = score(effects, parts[1], left.take(tested))
            rows.append({"ablation": variant.ablation, "variant": variant.name, "split": split} | known[key])
        if progress:
            progress(split + 1, n_splits, None)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Residuals:
    """Out-of-fold residuals of outcome, shape (n,), and log treatment, shape (n, K): what returns have to explain."""

    y: np.ndarray
    z: np.ndarray

    def take(self, rows: np.ndarray) -> Residuals:
        """Those of some runs."""
        return Residuals(self.y[rows], self.z[rows])


def residuals_of(history: History, outcome: str, seed: int = 0, n_repeats: int = 3) -> Residuals:
    """Residuals of every run of a history by the full method's nuisance models, means over repeats."""
    effects = fit_effects(history, outcome, n_trees=8, n_repeats=n_repeats, seed=seed)  # the forest is not used
    return Residuals(*(np.mean([pair[part] for pair in effects.residuals], axis=0) for part in (0, 1)))


def score(effects: Effects, held_out: History, left: Residuals, X: np.ndarray | None = None) -> dict[str, float]:
    """How well effects predict held-out runs: ``spearman, r2`` of the outcome and ``r_score`` of the returns.

    Parameters
    ----------
    effects : Effects
    held_out : History
        With the covariates of the effects.
    left : Residuals
        Of the held-out runs.
    X : ndarray, shape (n, d), optional
        States in which the returns are taken; by default those of the held-out runs.
    """
    states = held_out.X if X is None else X
    returned = np.einsum("nk,nk->n", effects.theta(states), left.z)
    r_score = 1 - np.mean((left.y - returned) ** 2) / np.mean(left.y**2)
    return _outcome_scores(effects.predict(held_out.X, held_out.T), held_out.y(effects.outcome)) | {"r_score": r_score}


def _outcome_scores(predicted: np.ndarray, observed: np.ndarray) -> dict[str, float]:
    rho = spearmanr(predicted, observed)[0] if np.ptp(predicted) > 0 else np.nan
    return {"spearman": float(rho), "r2": float(1 - np.mean((observed - predicted) ** 2) / observed.var())}


def covariates_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of the subsets as ``covariates, split, spearman, r2, r_score``."""
    part = scores[scores["ablation"] == "subset"].rename(columns={"variant": "covariates"})
    return part[["covariates", "split", *MEASURES]].reset_index(drop=True)


def summary(
    scores: pd.DataFrame, by: str = "variant", reference: str | None = None, measures: Sequence[str] = MEASURES
) -> pd.DataFrame:
    """Mean and standard deviation over splits, and the paired difference of a reference to each variant.

    Splits share runs, so the spread says how much the choice of split matters; it is no standard error.

    Parameters
    ----------
    scores : DataFrame
        ``split``, the column ``by`` and the measures.
    by : str
    reference : str, optional
        Its difference to each other one is told; by default the one with the first row.
    measures : sequence of str

    Returns
    -------
    DataFrame
        ``<by>``, and for each measure ``<m>, <m>_sd, <m>_behind, <m>_behind_low, <m>_behind_high``: how
        far the variant lies behind the reference, and the middle 95% of that over splits.
    """
    reference = scores[by].iloc[0] if reference is None else reference
    rows = []
    for name in scores[by].unique():
        row: dict[str, object] = {by: name}
        for measure in measures:
            values = scores.loc[scores[by] == name, measure]
            told = (np.nan,) * 3 if name == reference else middle_interval(_gap(scores, reference, name, measure, by))
            row |= {measure: values.mean(), f"{measure}_sd": values.std()}
            row |= dict(zip((f"{measure}_behind", f"{measure}_behind_low", f"{measure}_behind_high"), told))
        rows.append(row)
    return pd.DataFrame(rows)


def _gap(scores: pd.DataFrame, one: str, other: str, measure: str, by: str = "variant") -> np.ndarray:
    wide = scores.pivot_table(index="split", columns=by, values=measure, aggfunc="first", dropna=False)
    return (wide[one] - wide[other]).to_numpy()


def _signed(gaps: np.ndarray) -> str:
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*middle_interval(gaps))


def versus(scores: pd.DataFrame, one: str, other: str, measures: Sequence[str] = ("spearman", "r_score")) -> str:
    """How one variant predicts held-out runs against another by some measures, in words."""
    gaps = {LABELS[measure]: _gap(scores, one, other, measure) for measure in measures}
    return " and ".join(f"{VERBS[told_apart(gap)]} in {label} ({_signed(gap)})" for label, gap in gaps.items())


def ablation_sentence(scores: pd.DataFrame) -> str:
    """What the full method gains over each variant, in the prediction and in the returns, worded from the numbers."""
    told = [f"against *{name}*: {versus(scores, FULL, name)}" for name in scores["variant"].unique() if name != FULL]
    n = scores["split"].nunique()
    few = f"; fewer than {FEWEST_SPLITS} splits tell nothing apart" if n < FEWEST_SPLITS else ""
    return (
        f"The full method {'; '.join(told)}. Order is Spearman's correlation, returns are the R-score; "
        f"a difference is told apart where the middle 95% (in brackets) of its values over {n} splits lies on one "
        f"side of zero{few}."
    )


def covariates_sentence(table: pd.DataFrame, triple: str, measure: str = "spearman") -> str:
    """Which subset is best, and whether it is told apart from all covariates, or from the next if it is all of them."""
    means = table.groupby("covariates", sort=False)[measure].mean().dropna()
    if len(means) < 2:
        return "There are fewer than two subsets of the covariates to compare, so none is called the best."
    best = means.idxmax()
    rival = means.drop(best).idxmax() if best == triple else triple
    named = f"the next, *{rival}*" if best == triple else "all covariates together"
    gap = _gap(table, best, rival, measure, "covariates")
    return (
        f"The best subset of {len(means)} is **{best}** (mean Spearman {means[best]:.3f}); "
        f"against {named} ({means[rival]:.3f}) it is {VERBS[told_apart(gap)]} ({_signed(gap)})."
    )


def clr_gap(history: History, outcome: str, n: int = 200, seed: int = 0) -> tuple[float, float]:
    """How far gains by centred log-ratios (CLR) are from those by isometric ones (ILR), from the same residuals.

    The coefficients of centred log-ratios, which sum to 0, are those of least norm; the final stage is linear in x.

    Parameters
    ----------
    history : History
    outcome : str
    n : int
        Moves from one random mixture to another, each in the state of a random run.
    seed : int

    Returns
    -------
    gap, largest : float
        The largest difference of two gains, and the largest gain by ILR.
    """
    effects = fit_effects(history, outcome, stage="linear", treatment="ilr", n_repeats=1, seed=seed)
    with_one = lambda X: np.column_stack([np.ones(len(X)), X])  # noqa: E731
    (y, z), K = effects.residuals[0], len(history.domains)
    design = np.einsum("np,nk->npk", with_one(history.X), z).reshape(len(y), -1)
    theta = np.linalg.lstsq(design, y, rcond=None)[0].reshape(-1, K)
    X = history.X[np.random.default_rng([seed, 13]).integers(len(history), size=n)]
    T_from, T_to = np.split(sample_dirichlet(2 * n, 1.0, K, seed), 2)
    step = log_treatment(T_to, effects.eps) - log_treatment(T_from, effects.eps)
    by_clr = np.einsum("np,pk,nk->n", with_one(X), theta, step - step.mean(axis=1, keepdims=True))
    by_ilr = effects.gain(X, T_from, T_to)[0]
    return float(np.abs(by_clr - by_ilr).max()), float(np.abs(by_ilr).max())


def clr_sentence(history: History, outcome: str, n: int = 200, seed: int = 0) -> str:
    """Whether centred log-ratios predict the gains that isometric ones do, worded from :func:`clr_gap`."""
    start = "Centred log-ratios (CLR) sum to zero, so their coefficients are not identified"
    if len(history) <= _fewest("linear", history):
        return f"{start}; the runs are too few for a linear final stage, by which they could be held against ILR."
    gap, largest = clr_gap(history, outcome, n, seed)
    verdict = "the same gains as" if gap < 1e-6 * largest else "other gains than"
    return (
        f"{start}; those of least norm, from the same residuals and with a linear final stage, predict **{verdict}** "
        f"ILR: over {n} moves between random mixtures the largest difference is {gap:.1g}, the largest gain "
        f"{largest:.2g}."
    )


def read_second(path: Path, like: History) -> History | None:
    """A second history of the same world, or None where there is no such file.

    Raises
    ------
    InputError
        When it has other domains or covariates, in another order included.
    """
    if not Path(path).is_file():
        return None
    found = read_history(path)
    for what in ("domains", "covariates"):
        have, want = getattr(found, what), getattr(like, what)
        if have != want:
            raise InputError(
                f"Expected the {what} {', '.join(want) or 'none'} in {Path(path).name}, found "
                f"{', '.join(have) or 'none'}; "
                "give a history of the same world."
            )
    return found


def missing_sentence(folder: Path, names: Sequence[str], method: str = "") -> str:
    """Which tables of a study are not there, and what makes each; where all are, that a method is not in them."""
    lost = [f"no `{name}` (`{MADE_BY[name]}` makes it)" for name in names if not (Path(folder) / name).is_file()]
    lost = lost or [f"no {method} in {' or '.join(f'`{name}`' for name in names)}"]
    return f"There is {' and '.join(lost)} in this study, so nothing is said here."


def _fewest(stage: str, history: History) -> int:
    """Runs that a final stage needs more than (see :func:`causalmix.effects.estimator.fit_effects`)."""
    return 2 * len(history.domains) * (1 + len(history.covariates)) if stage == "linear" else MIN_ROWS // 2


def _at_least(value: int, lowest: int, name: str) -> int:
    if value < lowest:
        raise InputError(f"Expected {name} of at least {lowest}, found {value}; give a larger number.")
    return value
