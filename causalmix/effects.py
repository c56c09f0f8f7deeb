"""Returns theta(x) by double machine learning: cross-fitted residuals, a final stage, intervals.

The response is partially linear in the log treatment, mu(x, Z) = g(x) + theta0(x)'Z with
Z = log(T + eps).  LightGBM learns m0(X) = E[Y|X] and e0(X) = E[Z|X] out of fold; the final stage
relates the residuals Y - m0(X) to Z - e0(X) with a coefficient that depends on x, by EconML's
causal forest as in the paper, or linearly in x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from econml.cate_interpreter import SingleTreeCateInterpreter
from econml.dml import CausalForestDML, LinearDML
from lightgbm import LGBMRegressor
from scipy.stats import norm, spearmanr
from sklearn.model_selection import KFold
from sklearn.multioutput import MultiOutputRegressor

from causalmix.errors import InputError
from causalmix.simplex import log_treatment
from causalmix.tables import MIN_ROWS, History

#: Offset of the log treatment, in shares. The paper's value is unknown; ours is a share of one
#: in a hundred, below which the rows of a domain are too few to matter.
EPS = 0.01

STAGES = ("forest", "linear")

#: Sizes of the nuisance models, all ours. LightGBM's defaults (31 leaves, learning rate 0.1) are
#: made for tens of thousands of rows; on a few hundred with three covariates they fit noise, and
#: the out-of-fold R2 of e0 on randomised mixtures then falls from about -0.05 to -0.25.
NUISANCE = {"n_estimators": 100, "learning_rate": 0.05, "num_leaves": 5, "min_child_samples": 10}

#: Columns of residuals_ in EconML, whose names are those of the estimator's arguments.
Residuals = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Effects:
    """Estimated returns, from several cross-fitted estimates; made by :func:`fit_effects`.

    Arrays X have shape (n, d) with the history's covariates, mixtures T shape (n, K); one row of
    either, shape (d,) or (K,), stands for all rows of the other.

    Attributes
    ----------
    history : History
        The runs that were fitted.
    outcome : str
        Name of the outcome's column.
    stage : {"forest", "linear"}
        The final stage that was used.
    note : str
        Why it is not the one that was asked for; empty when it is.
    eps : float
        Offset of the log treatment, share.
    varying : tuple of int
        Positions of the covariates that differ between runs; the others cannot modify anything.
    fits : tuple
        One fitted EconML estimator for each repeat.
    residuals : tuple of pairs of ndarray, shapes (n,) and (n, K)
        Out-of-fold residuals of outcome and log treatment, one pair for each repeat.
    """

    history: History
    outcome: str
    stage: str
    note: str
    eps: float
    varying: tuple[int, ...]
    fits: tuple
    residuals: tuple[Residuals, ...]

    def theta(self, X: np.ndarray) -> np.ndarray:
        """Returns in the states X: the median over repeats.

        Parameters
        ----------
        X : ndarray, shape (n, d)

        Returns
        -------
        ndarray, shape (n, K)
            Accuracy per unit of log share.
        """
        return np.median(self.repeats(X), axis=0)

    def repeats(self, X: np.ndarray) -> np.ndarray:
        """Returns of every repeat, shape (n_repeats, n, K); their spread is that of the sample splits."""
        n = len(np.atleast_2d(X))
        thetas = [fit.const_marginal_effect(self._states(X)) for fit in self.fits]
        return np.stack([np.broadcast_to(theta.reshape(-1, len(self.history.domains)), (n, len(self.history.domains))) for theta in thetas])

    def interval(self, X: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Pointwise confidence interval of the returns.

        The variance is the median over repeats of var_r + (theta_r - median)^2, so that the
        arbitrary split into folds counts as a source of error (Chernozhukov et al. 2018, section
        3.4, doi:10.1111/ectj.12097).

        Parameters
        ----------
        X : ndarray, shape (n, d)
        level : float
            Nominal coverage, in (0, 1).

        Returns
        -------
        low, high : ndarray, shape (n, K)
        """
        k, n = len(self.history.domains), len(np.atleast_2d(X))
        fitted = [fit.const_marginal_effect_inference(self._states(X)) for fit in self.fits]
        errors = np.stack([np.broadcast_to(one.stderr.reshape(-1, k), (n, k)) for one in fitted])
        return _interval(self.theta(X), self.repeats(X), errors, level)

    def gain(self, X: np.ndarray, T_from: np.ndarray, T_to: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predicted gain theta(x)'(Z_to - Z_from) of moving from one mixture to another.

        Its variance uses the covariance of all returns, which are far from independent because
        shares sum to one: for the forest that of its trees in the direction of the contrast
        (Athey, Tibshirani and Wager 2019, doi:10.1214/18-AOS1709), for the linear stage d'Vd.

        Parameters
        ----------
        X : ndarray, shape (n, d)
        T_from, T_to : ndarray, shape (n, K)
        level : float
            Nominal coverage of the interval.

        Returns
        -------
        gain, low, high : ndarray, shape (n,)
            Accuracy.
        """
        X, Z0, Z1 = self._rows(X, log_treatment(T_from, self.eps), log_treatment(T_to, self.eps))
        states = self._states(X)
        fitted = [fit.effect_inference(states, T0=Z0, T1=Z1) for fit in self.fits]
        points = np.einsum("rnk,nk->rn", self.repeats(X), Z1 - Z0)
        gain = np.einsum("nk,nk->n", self.theta(X), Z1 - Z0)
        return gain, *_interval(gain, points, np.stack([np.ravel(one.stderr) for one in fitted]), level)

    def nuisances(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """m0(X), shape (n,), and e0(X), shape (n, K): the means of the cross-fitted models."""
        features = self._features(np.atleast_2d(X))
        models_y = [model for fit in self.fits for model in fit.models_y[0]]
        models_t = [model for fit in self.fits for model in fit.models_t[0]]
        return tuple(np.mean([model.predict(features) for model in models], axis=0) for models in (models_y, models_t))

    def predict(self, X: np.ndarray, T: np.ndarray) -> np.ndarray:
        """Expected outcome m0(X) + theta(X)'(Z - e0(X)).

        Parameters
        ----------
        X : ndarray, shape (n, d)
        T : ndarray, shape (n, K)

        Returns
        -------
        ndarray, shape (n,)
            Accuracy.
        """
        X, Z = self._rows(X, log_treatment(T, self.eps))
        level, usual = self.nuisances(X)
        return level + np.einsum("nk,nk->n", self.theta(X), Z - usual)

    @property
    def constant(self) -> np.ndarray:
        """Returns that do not depend on the state, shape (K,): least squares on the same residuals."""
        return np.median([np.linalg.lstsq(z, y, rcond=None)[0] for y, z in self.residuals], axis=0)

    def _rows(self, X: np.ndarray, *Z: np.ndarray) -> tuple[np.ndarray, ...]:
        """All arguments with one row for each state and mixture."""
        arrays = [np.atleast_2d(np.asarray(a, dtype=float)) for a in (X, *Z)]
        n = max(len(a) for a in arrays)
        return tuple(np.ascontiguousarray(np.broadcast_to(a, (n, a.shape[1]))) for a in arrays)

    def _states(self, X: np.ndarray) -> np.ndarray | None:
        """What EconML's final stage takes for X."""
        X = np.atleast_2d(np.asarray(X, dtype=float))
        if X.shape[1] != len(self.history.covariates) or not np.isfinite(X).all():
            raise InputError(
                f"Expected finite values of {', '.join(self.history.covariates) or 'no covariate'} for each state, "
                f"found {X.shape[1]} columns; give the covariates of the history, in its order."
            )
        return X[:, list(self.varying)] if self.varying else None

    def _features(self, X: np.ndarray) -> np.ndarray:
        """What the nuisance models take for X; without covariates EconML gives them a column of ones."""
        return X[:, list(self.varying)] if self.varying else np.ones((len(X), 1))


def _interval(centre: np.ndarray, points: np.ndarray, errors: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal interval whose variance adds the spread between repeats (first axis) to each one's own."""
    if not 0 < level < 1:
        raise InputError(f"Expected a level between 0 and 1, found {level}; choose for instance 0.95.")
    variance = np.median(errors**2 + (points - centre) ** 2, axis=0)
    half = norm.ppf(0.5 + level / 2) * np.sqrt(variance)
    return centre - half, centre + half


def fit_effects(
    history: History,
    outcome: str = "y_dev",
    stage: str = "forest",
    eps: float = EPS,
    n_trees: int = 500,
    cv_folds: int = 5,
    n_repeats: int = 5,
    min_samples_leaf: int = 5,
    seed: int = 0,
) -> Effects:
    """Estimate returns from a history by double machine learning (Chernozhukov et al. 2018, doi:10.1111/ectj.12097).

    Parameters
    ----------
    history : History
        n runs over K domains with d covariates; d may be 0, and returns are then constant.
    outcome : str
        Name of a ``y_`` column.
    stage : {"forest", "linear"}
        Final stage: a causal forest, or theta(x) linear in x.  A forest needs a covariate to split
        on; where none varies, the linear stage is used and ``Effects.note`` says so.
    eps : float
        Offset of the log treatment, share.
    n_trees : int
        Trees of one repeat's forest, rounded up to a multiple of 4, for variances come from
        groups of four trees.
    cv_folds : int
        Folds of the cross-fitting.
    n_repeats : int
        How often everything is repeated with other folds and trees.
    min_samples_leaf : int
        Fewest runs in a leaf of the forest.
    seed : int
        Everything random follows from it.

    Returns
    -------
    Effects

    Raises
    ------
    InputError
        When an argument is out of range, the outcome or a domain's share is the same in all runs,
        or there are too few runs for the number of coefficients.
    """
    y, Z = history.y(outcome), log_treatment(history.T, eps)
    varying = tuple(int(j) for j in np.flatnonzero(np.ptp(history.X, axis=0) > 0))
    _check_variation(y, history, outcome)
    _check_settings(stage, n_trees, cv_folds, n_repeats, min_samples_leaf)
    note = "" if varying or stage == "linear" else "No covariate varies between runs, so the linear stage stands in for the forest."
    used = "linear" if note else stage
    if used == "linear" and len(y) <= 2 * Z.shape[1] * (1 + len(varying)):
        raise InputError(
            f"Expected more than {2 * Z.shape[1] * (1 + len(varying))} runs for the linear stage, two for each "
            f"coefficient, found {len(y)}; add runs or leave out covariates."
        )
    X = history.X[:, list(varying)] if varying else None
    fits = tuple(_estimator(used, n_trees, cv_folds, min_samples_leaf, s).fit(y, Z, X=X, cache_values=True) for s in _seeds(seed, n_repeats))
    residuals = tuple(fit.residuals_[:2] for fit in fits)
    return Effects(history, outcome, used, note, eps, varying, fits, residuals)


def _seeds(seed: int, n: int) -> list[int]:
    """Seeds of the repeats; the first ones stay the same when there are more repeats."""
    return [int(s) for s in np.random.default_rng(seed).integers(2**31 - 1, size=n)]


def _estimator(stage: str, n_trees: int, cv_folds: int, min_samples_leaf: int, seed: int) -> CausalForestDML | LinearDML:
    """One EconML estimator, all of whose randomness follows from an integer."""
    learner = LGBMRegressor(**NUISANCE, deterministic=True, force_row_wise=True, n_jobs=1, random_state=seed, verbose=-1)
    folds = KFold(cv_folds, shuffle=True, random_state=seed)
    shared = {"model_y": learner, "model_t": MultiOutputRegressor(learner), "cv": folds, "random_state": seed}
    if stage == "linear":
        return LinearDML(**shared)
    return CausalForestDML(
        **shared,
        discrete_treatment=False,
        n_estimators=-(-n_trees // 4) * 4,
        # Splits where returns differ rather than where the fit improves; both are EconML's.
        criterion="het",
        min_samples_leaf=min_samples_leaf,
        min_samples_split=2 * min_samples_leaf,
        n_jobs=1,
    )


def _check_variation(y: np.ndarray, history: History, outcome: str) -> None:
    if np.ptp(y) == 0:
        raise InputError(f"Expected an outcome that differs between runs, found {outcome} at {y[0]:g} in all {len(y)}; choose another outcome.")
    stuck = np.flatnonzero(np.ptp(history.T, axis=0) == 0)
    if len(stuck):
        raise InputError(f"Expected shares that differ between runs, found w_{history.domains[stuck[0]]} the same in all; leave this domain out.")


def _check_settings(stage: str, n_trees: int, cv_folds: int, n_repeats: int, min_samples_leaf: int) -> None:
    if stage not in STAGES:
        raise InputError(f"Expected a stage among {', '.join(STAGES)}, found {stage!r}; choose one of these.")
    least = {"n_trees": (n_trees, 8), "cv_folds": (cv_folds, 2), "n_repeats": (n_repeats, 1), "min_samples_leaf": (min_samples_leaf, 1)}
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise InputError(f"Expected {name} of at least {lowest}, found {value}; give a larger number.")
    if cv_folds > MIN_ROWS // 2:
        raise InputError(f"Expected at most {MIN_ROWS // 2} cv_folds, found {cv_folds}; give a smaller number.")


def returns_table(effects: Effects, x: np.ndarray, level: float = 0.95) -> pd.DataFrame:
    """Returns of every domain in one state.

    Parameters
    ----------
    effects : Effects
    x : ndarray, shape (d,)
        The state.
    level : float
        Nominal coverage.

    Returns
    -------
    DataFrame
        Columns ``domain, theta, ci_low, ci_high``; accuracy per unit of log share.
    """
    low, high = effects.interval(x, level)
    return pd.DataFrame({"domain": effects.history.domains, "theta": effects.theta(x)[0], "ci_low": low[0], "ci_high": high[0]})


def return_curves(effects: Effects, points: int = 25, level: float = 0.95) -> pd.DataFrame:
    """Returns along each covariate from its 5th to its 95th percentile, the others at their means.

    Parameters
    ----------
    effects : Effects
    points : int
        States for each covariate.
    level : float
        Nominal coverage, pointwise.

    Returns
    -------
    DataFrame
        Columns ``covariate, value, domain, theta, ci_low, ci_high``.  Without covariates there is
        one curve, constant, whose covariate is called ``any state``.
    """
    history = effects.history
    centre, parts = history.X.mean(axis=0), []
    for j, name in enumerate(history.covariates or ("any state",)):
        values = np.linspace(*np.quantile(history.X[:, j], (0.05, 0.95)), points) if history.covariates else np.array([0.0, 1.0])
        X = np.tile(centre, (len(values), 1))
        X[:, j : j + 1] = values[:, None]
        low, high = effects.interval(X, level)
        columns = {"theta": effects.theta(X), "ci_low": low, "ci_high": high}
        for k, domain in enumerate(history.domains):
            parts.append(pd.DataFrame({"covariate": name, "value": values, "domain": domain} | {c: v[:, k] for c, v in columns.items()}))
    return pd.concat(parts, ignore_index=True)


def nuisance_table(effects: Effects) -> pd.DataFrame:
    """How much of the outcome and of each log share the state explains, out of fold.

    Values near 0 for the log shares say that mixtures do not follow the state, as in a randomised
    sweep; near 1, a state was hardly ever seen with another mixture, and overlap fails.

    Returns
    -------
    DataFrame
        Columns ``quantity, r2``, the mean over repeats; 1 + K rows.
    """
    history = effects.history
    observed = np.column_stack([history.y(effects.outcome), log_treatment(history.T, effects.eps)])
    left = [np.column_stack([y, z]) for y, z in effects.residuals]
    r2 = 1 - np.mean([r.var(axis=0) for r in left], axis=0) / observed.var(axis=0)
    return pd.DataFrame({"quantity": [effects.outcome, *(f"log share of {d}" for d in history.domains)], "r2": r2})


def spread_table(effects: Effects) -> pd.DataFrame:
    """How far the repeats disagree, beside the standard errors, on average over the runs' states.

    Returns
    -------
    DataFrame
        Columns ``domain, between_repeats, standard_error``; accuracy per unit of log share.
    """
    X = effects.history.X
    low, high = effects.interval(X)
    errors = (high - low) / (2 * norm.ppf(0.975))
    return pd.DataFrame(
        {
            "domain": effects.history.domains,
            "between_repeats": effects.repeats(X).std(axis=0).mean(axis=0),
            "standard_error": errors.mean(axis=0),
        }
    )


@dataclass(frozen=True)
class HeldOut:
    """Predictions for runs that no part of the fit has seen.

    Attributes
    ----------
    n_test : int
        Runs of each split that were held out.
    runs : DataFrame
        Columns ``split, model, run_id, observed, predicted``.
    scores : DataFrame
        Columns ``split, model, spearman, r2``.
    """

    n_test: int
    runs: pd.DataFrame
    scores: pd.DataFrame

    @property
    def summary(self) -> pd.DataFrame:
        """One row for each model: means over splits and, from two splits on, their standard deviations."""
        grouped = self.scores.groupby("model", sort=False)[["spearman", "r2"]]
        return grouped.mean().join(grouped.std().add_suffix("_sd")).reset_index()


#: What a held-out check compares; all three share m0 and e0.
MODELS = ("theta(x)", "constant theta", "X alone")


def held_out_check(
    history: History, outcome: str = "y_dev", n_test: int = 64, n_splits: int = 5, seed: int = 0, **settings: object
) -> HeldOut:
    """Predict runs that were never seen, with theta(x), with a constant theta and with X alone.

    The difference between the first two says whether the state changes what a mixture is worth;
    that between the last two, whether the mixture matters at all.

    Parameters
    ----------
    history : History
    outcome : str
    n_test : int
        Runs held out in each split (64 in the paper); at most a quarter of the history is.
    n_splits : int
        Splits; their held-out runs are disjoint as long as there are enough.
    seed : int
        Seed of the splits and of the fits.
    **settings
        Further arguments of :func:`fit_effects`.

    Returns
    -------
    HeldOut

    Raises
    ------
    InputError
        When fewer than 5 runs would be held out or fewer than 20 left.
    """
    n = len(history)
    n_test = min(n_test, n // 4)
    if n_test < 5 or n - n_test < MIN_ROWS or n_splits < 1:
        raise InputError(f"Expected at least 5 runs to hold out and {MIN_ROWS} to fit, found {n} runs in all and n_test {n_test}; add runs.")
    order = np.concatenate([np.random.default_rng([seed, s]).permutation(n) for s in range(-(-n_splits * n_test // n) + 1)])
    parts = []
    for split in range(n_splits):
        test = np.unique(order[split * n_test : (split + 1) * n_test])
        train = History(history.frame.drop(index=test).reset_index(drop=True), history.domains, history.covariates, history.axes)
        fitted = fit_effects(train, outcome, seed=seed + split, **settings)
        parts.append(_predictions(fitted, history, test).assign(split=split))
    runs = pd.concat(parts, ignore_index=True)
    return HeldOut(n_test, runs, _scores(runs))


def _predictions(fitted: Effects, history: History, test: np.ndarray) -> pd.DataFrame:
    """Predictions of the three models for the given runs."""
    X, T, y = history.X[test], history.T[test], history.y(fitted.outcome)[test]
    level, usual = fitted.nuisances(X)
    surprise = log_treatment(T, fitted.eps) - usual
    with_state = level + np.einsum("nk,nk->n", fitted.theta(X), surprise)
    predicted = dict(zip(MODELS, (with_state, level + surprise @ fitted.constant, level)))
    ids = history.frame["run_id"].to_numpy()[test]
    return pd.concat([pd.DataFrame({"model": m, "run_id": ids, "observed": y, "predicted": p}) for m, p in predicted.items()])


def _scores(runs: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation and share of variance explained, for each split and model."""
    rows = []
    for (split, model), part in runs.groupby(["split", "model"], sort=False):
        observed, predicted = part["observed"], part["predicted"]
        # A prediction that never varies orders nothing; its rank correlation is undefined.
        rho = spearmanr(observed, predicted).statistic if predicted.nunique() > 1 and observed.nunique() > 1 else 0.0
        r2 = 1 - ((observed - predicted) ** 2).sum() / ((observed - observed.mean()) ** 2).sum()
        rows.append({"split": split, "model": model, "spearman": float(rho), "r2": float(r2)})
    return pd.DataFrame(rows)


def cate_tree(effects: Effects, max_depth: int = 2) -> SingleTreeCateInterpreter:
    """A shallow tree over theta(x) of all runs, to be read and not to predict with.

    Parameters
    ----------
    effects : Effects
        Its median over repeats is what the tree describes.
    max_depth : int
        Levels of questions.

    Returns
    -------
    SingleTreeCateInterpreter
        EconML's interpreter, fitted; ``tree_model_`` and ``node_dict_`` hold the tree.  Without
        covariates it is a single leaf.
    """

    class Median:
        """What the interpreter asks of an estimator, over the median of the repeats."""

        const_marginal_effect: Callable = staticmethod(lambda _: effects.theta(effects.history.X))

    X = effects.history.X if effects.history.covariates else np.zeros((len(effects.history), 1))
    # A leaf of less than a tenth of the runs would be read as a finding and be an accident.
    tree = SingleTreeCateInterpreter(max_depth=max_depth, min_samples_leaf=max(2, len(X) // 10), random_state=0)
    return tree.interpret(Median, X)
