"""One held-out comparison: fit variants of the method on part of the runs, and judge them by the runs left out.

Three measures: Spearman's correlation and R2 of the predicted outcome, and the R-score, which looks at the returns
alone: 1 - sum((Y~ - theta(X)'Z~)^2) / sum(Y~^2), the loss of Nie and Wager (2021, doi:10.1093/biomet/asaa076) against
that of no returns at all, with residuals Y~, Z~ that do not depend on what is compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from causalmix.core import progress
from causalmix.core.errors import InputError
from causalmix.core.history import MIN_ROWS, History
from causalmix.core.intervals import adjusted_verdict, held_out_ratio, holm, split_interval, split_p
from causalmix.core.simplex import log_treatment
from causalmix.core.wording import counted
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import EPS, Effects

MEASURES = ("spearman", "r2", "r_score")
LABELS = {"spearman": "order", "r2": "size", "r_score": "returns"}  # what each measure is of, in sentences
VERBS = {"better": "better", "worse": "worse", "open": "not told apart"}
ALIKE = 1e-4  # two ways to the same prediction differ in the last digits: below, neither is ahead

#: Returns of each run's state by which held-out runs are predicted, beside the level m0(x) that all share.
PREDICTORS: dict[str, Callable[[Effects, np.ndarray], np.ndarray]] = {
    "theta(x)": Effects.theta,
    "constant theta": lambda effects, X: np.tile(effects.constant, (len(X), 1)),
    "state alone": lambda effects, X: np.zeros((len(X), len(effects.history.domains))),
}


@dataclass(frozen=True)
class Variant:
    """One way to estimate."""

    ablation: str  # the part of the method that it touches
    name: str
    covariates: tuple[str, ...]  # what it knows of the state
    options: Mapping[str, object] = field(default_factory=dict)  # of fit_effects, unlike the full method's
    part: str = ""  # which runs it is fitted to, where there are several such parts
    predictor: str = "theta(x)"  # a name in PREDICTORS


def split_rows(n: int, n_test: int, seed: int, clusters: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the runs to fit and of those held out, at random; refuses to leave too few of either.

    Runs of one mixture (``History.clusters``) stay on one side: mixtures are held out in random order, each that still
    fits into ``n_test`` runs.
    """
    if n - n_test < MIN_ROWS // 2:
        raise InputError(
            f"Expected {MIN_ROWS // 2} or more runs besides {n_test} held out, found {n - n_test}; lower n_test."
        )
    clusters = np.arange(n) if clusters is None else clusters
    sizes, held, room = np.bincount(clusters), [], n_test
    for mixture in np.random.default_rng([seed, 40]).permutation(len(sizes)):
        if sizes[mixture] <= room:
            held.append(mixture)
            room -= sizes[mixture]
    if len(held) < min(2, n_test):  # one mixture cannot be put in order
        raise InputError(
            f"Expected 2 or more mixtures in {counted(n_test, 'run')} held out, found {len(held)}; add one."
        )
    tested = np.isin(clusters, held)
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def most_held_out(history: History, n_test: int) -> int:
    """Runs to hold out: as many as asked for, at most a quarter of all."""
    return min(n_test, len(history) // 4)


def held_out_scores(
    history: History, variants: Sequence[Variant], outcome: str = "y_dev", n_test: int = 64, n_splits: int = 8,
    seed: int = 0, measures: Sequence[str] = MEASURES,
    parts: Callable[[np.ndarray, int], Mapping[str, History]] | None = None, **settings,
) -> pd.DataFrame:  # fmt: skip
    """Fit every variant to part of the runs and predict the rest; all variants share their splits.

    Only runs that were designed count, not those proposed after looking at others; runs of one mixture stay together.
    At most ``n_test`` runs are held out in each split (64 as reported, secondary source), and a quarter of all.
    ``parts`` lead from positions of the runs that are not held out and the split's seed to what variants are fitted to,
    by :attr:`Variant.part`; by default to these runs.
    The settings are those of :func:`causalmix.effects.estimator.fit_effects`, for all variants.

    Columns are ``ablation, variant, split``, the runs that were ``fitted`` and ``held_out``, and the ``measures``.
    """
    if n_splits < 2:
        raise InputError(f"Expected n_splits of at least 2, found {n_splits}; give a larger number.")
    history = history.designed
    left = residuals_of(history, outcome, seed) if "r_score" in measures else None
    rows = []
    for split in range(n_splits):
        rest, tested = split_rows(len(history), most_held_out(history, n_test), seed + split, history.clusters)
        fitted = {"": history.take(rest)} if parts is None else parts(rest, seed + split)
        known: dict[tuple, Effects] = {}
        for variant in variants:
            key = (variant.part, variant.covariates, tuple(sorted(variant.options.items())))
            if key not in known:
                part = replace(fitted[variant.part], covariates=variant.covariates)
                known[key] = fit_effects(part, outcome, seed=seed + split, **(settings | dict(variant.options)))
            held_out = replace(history.take(tested), covariates=variant.covariates)
            found = _score(known[key], variant.predictor, held_out, left and [part[tested] for part in left])
            names = {"ablation": variant.ablation, "variant": variant.name, "split": split}
            sizes = {"fitted": len(known[key].history), "held_out": len(tested)}
            rows.append(names | sizes | {measure: found[measure] for measure in measures})
        progress.tell(split + 1, n_splits, "splits")
    return pd.DataFrame(rows)


def residuals_of(history: History, outcome: str, seed: int = 0, eps: float = EPS) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold residuals of outcome, (n,), and log treatment, (n, K), by the full method, means over repeats."""
    return fit_effects(history, outcome, eps=eps, n_trees=8, n_repeats=3, seed=seed).left  # no forest is used


def _score(effects: Effects, predictor: str, held_out: History, left: Sequence[np.ndarray] | None) -> dict[str, float]:
    """How well held-out runs are predicted; the R-score needs their residuals."""
    X, observed = held_out.X, held_out.y(effects.outcome)
    theta, (level, usual) = PREDICTORS[predictor](effects, X), effects.nuisances(X)
    predicted = level + np.einsum("nk,nk->n", theta, log_treatment(held_out.T, effects.eps) - usual)
    if predictor == "theta(x)":  # whatever its response to shares
        predicted = effects.predict(X, held_out.T)
    # One prediction for all runs orders nothing: without covariates the level is such a one.
    rho = spearmanr(predicted, observed)[0] if np.ptp(predicted) > 0 else np.nan
    found = {"spearman": float(rho), "r2": float(1 - np.mean((observed - predicted) ** 2) / observed.var())}
    if left is not None:
        y, z = left
        found["r_score"] = 1 - np.mean((y - np.einsum("nk,nk->n", theta, z)) ** 2) / np.mean(y**2)
    return found


def summary(scores: pd.DataFrame, measures: Sequence[str] = MEASURES) -> pd.DataFrame:
    """Mean and standard deviation over splits, and the paired difference of the first variant to each.

    Splits share runs, so the spread says how much the choice of split matters; it is no standard error.  Of the scores
    come ``variant`` and for each measure ``<m>, <m>_sd, <m>_behind, <m>_behind_low, <m>_behind_high``: how far a
    variant lies behind the first, with its :func:`causalmix.core.intervals.split_interval`.
    """
    reference, ratio = scores["variant"].iloc[0], held_out_ratio(scores)
    rows = []
    for name in scores["variant"].unique():
        row: dict[str, object] = {"variant": name}
        for measure in measures:
            values = scores.loc[scores["variant"] == name, measure]
            ahead = gap(scores, reference, name, measure)
            told = (np.nan,) * 3 if name == reference else split_interval(ahead, ratio)
            row |= {measure: values.mean(), f"{measure}_sd": values.std()}
            row |= dict(zip((f"{measure}_behind", f"{measure}_behind_low", f"{measure}_behind_high"), told))
        rows.append(row)
    return pd.DataFrame(rows)


def gap(scores: pd.DataFrame, one: str, other: str, measure: str, by: str = "variant") -> np.ndarray:
    """How far one variant is ahead of another in every split."""
    wide = scores.pivot_table(index="split", columns=by, values=measure, aggfunc="first", dropna=False)
    return (wide[one] - wide[other]).to_numpy()


def signed(gaps: np.ndarray, ratio: float) -> str:
    """A mean difference with its 95% interval over splits, for a sentence; without one of fewer than 5 splits."""
    return _bounded(*split_interval(gaps, ratio))


def _bounded(mean: float, low: float, high: float) -> str:
    return f"{mean:+.3f}" if np.isnan(low) else f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def comparisons(
    scores: pd.DataFrame, pairs: Sequence[tuple[str, str]], measures: Sequence[str] = ("spearman", "r_score"),
    by: str = "variant",
) -> pd.DataFrame:  # fmt: skip
    """How one variant predicts held-out runs against another, for all pairs and measures as one family.

    ``one, other, measure, ahead, ahead_low, ahead_high, p, p_holm, verdict``: the mean difference with its interval
    over splits (:func:`causalmix.core.intervals.split_interval`) and p-value, that adjusted (Holm), and the verdict by
    it.
    """
    ratio, rows = held_out_ratio(scores), []
    for one, other in pairs:
        for measure in measures:
            ahead = gap(scores, one, other, measure, by)
            rows.append((one, other, measure, *split_interval(ahead, ratio), split_p(ahead, ratio)))
    columns = ["one", "other", "measure", "ahead", "ahead_low", "ahead_high", "p"]
    table = pd.DataFrame(rows, columns=columns)
    table["p_holm"] = holm(table["p"])
    return table.assign(verdict=[adjusted_verdict(*row) for row in zip(table["ahead"], table["p_holm"])])


def in_words(compared: pd.DataFrame) -> str:
    """Rows of :func:`comparisons` as a part of a sentence."""
    told = zip(compared["verdict"], compared["measure"], *(compared[c] for c in ("ahead", "ahead_low", "ahead_high")))
    return " and ".join(f"{VERBS[word]} in {LABELS[measure]} ({_bounded(*ours)})" for word, measure, *ours in told)


def versus(scores: pd.DataFrame, one: str, other: str, *args, **options) -> str:
    """One pair of :func:`comparisons` in words."""
    return in_words(comparisons(scores, [(one, other)], *args, **options))


def held_out_check(history: History, *args, **settings) -> pd.DataFrame:
    """Three predictions of held-out runs that share the level m0(x): with theta(x), with one theta, with none.

    The arguments of :func:`held_out_scores` give ``split, predictor, fitted, held_out, spearman, r2``.
    """
    variants = [Variant("predictor", name, history.covariates, predictor=name) for name in PREDICTORS]
    scores = held_out_scores(history, variants, *args, measures=("spearman", "r2"), **settings)
    scores = scores.rename(columns={"variant": "predictor"})
    return scores[["split", "predictor", "fitted", "held_out", "spearman", "r2"]]


def check_summary(check: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (no standard error) over splits, and in how many theta(x) is ahead of each rival."""
    groups = check.groupby("predictor", sort=False)
    table = groups[["spearman", "r2"]].mean().join(groups[["spearman", "r2"]].std().add_suffix("_sd")).reset_index()
    for measure in ("spearman", "r2"):
        wins = [(lead(check, measure, name) > 0).sum() for name in table["predictor"][1:]]
        table[f"theta(x)_ahead_in_{measure}"] = ["–", *(f"{n} of {check['split'].nunique()}" for n in wins)]
    return table


def lead(check: pd.DataFrame, measure: str, rival: str) -> np.ndarray:
    """How far theta(x) is ahead of a rival in every split; 0 where the two are alike."""
    ahead = gap(check, "theta(x)", rival, measure, "predictor")
    return np.where(np.abs(ahead) > ALIKE, ahead, 0 * ahead)
