"""Returns theta(x) by double machine learning: cross-fitted residuals, a final stage, intervals.

The response is partially linear in the log treatment, mu(x, Z) = g(x) + theta0(x)'Z with
Z = log(T + eps).  LightGBM learns m0(X) = E[Y|X] and e0(X) = E[Z|X] out of fold; the final stage
relates the residuals Y - m0(X) to Z - e0(X) with a coefficient that depends on x, by EconML's
causal forest as in the paper, or linearly in x.  For ablations, the nuisance models can be replaced
by plain means, and Z by its isometric log-ratios.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from econml.dml import CausalForestDML, LinearDML
from econml.inference import StatsModelsInference
from lightgbm import LGBMRegressor
from scipy.linalg import helmert
from scipy.stats import norm
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import KFold
from sklearn.multioutput import MultiOutputRegressor

from causalmix.core.errors import InputError
from causalmix.core.history import MIN_ROWS, ROUNDING, History
from causalmix.core.simplex import log_treatment

#: Offset of the log treatment, in shares. The paper's value is unknown; ours is a share of one
#: in a hundred, below which the rows of a domain are too few to matter.
EPS = 0.01

#: Least spread of runs in a direction of the treatment, as a share of the largest; LightGBM rounds to 32 bits.
DIFFERENT = 1e-6
STAGES = ("forest", "linear")
TREATMENTS = ("log", "ilr")

#: Sizes of the nuisance models, all ours. LightGBM's defaults (31 leaves, learning rate 0.1) are
#: made for tens of thousands of rows; on a few hundred with three covariates they fit noise, and
#: the out-of-fold R2 of e0 on randomised mixtures then falls from about -0.05 to -0.25.
NUISANCE = {"n_estimators": 100, "learning_rate": 0.05, "num_leaves": 5, "min_child_samples": 10}


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
    treatment : {"log", "ilr"}
        Coordinates in which the final stage was fitted; with "ilr" all log treatments, here and in
        what the methods return, are centred, and returns sum to 0.
    basis : ndarray, shape (p, K)
        The coordinates of the final stage as directions of the log treatment.  Returns have no part
        outside of these: a domain whose share is the same in all runs that were fitted has none.
    """

    history: History
    outcome: str
    stage: str
    note: str
    eps: float
    varying: tuple[int, ...]
    fits: tuple
    residuals: tuple[tuple[np.ndarray, np.ndarray], ...]
    treatment: str
    basis: np.ndarray

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
        return np.stack([self._per_state(fit.const_marginal_effect(self._states(X)), X) for fit in self.fits])

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
        points, n = self.repeats(X), len(np.atleast_2d(X))
        errors = np.stack([self._errors(fit, self._states(X), n) for fit in self.fits])
        return _interval(np.median(points, axis=0), points, errors, level)

    def _errors(self, fit: CausalForestDML | LinearDML, states: np.ndarray | None, n: int) -> np.ndarray:
        """Standard errors of the returns in n states by one repeat, shape (n, K)."""
        if np.array_equal(self.basis, np.eye(len(self.history.domains))):
            found = np.reshape(fit.const_marginal_effect_inference(states).stderr, (-1, len(self.basis)))
            return np.broadcast_to(found, (n, found.shape[1]))
        # A return is a contrast of coordinates; its error needs their covariance, as that of a gain does.
        steps = [np.tile(column, (n, 1)) for column in self.basis.T]
        return np.column_stack([np.ravel(fit.effect_inference(states, T0=0 * step, T1=step).stderr) for step in steps])

    def gain(
        self, X: np.ndarray, T_from: np.ndarray, T_to: np.ndarray, level: float = 0.95
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
        T0, T1 = Z0 @ self.basis.T, Z1 @ self.basis.T
        fitted = [fit.effect_inference(states, T0=T0, T1=T1) for fit in self.fits]
        thetas = self.repeats(X)
        points = np.einsum("rnk,nk->rn", thetas, Z1 - Z0)
        gain = np.einsum("nk,nk->n", np.median(thetas, axis=0), Z1 - Z0)
        return gain, *_interval(gain, points, np.stack([np.ravel(one.stderr) for one in fitted]), level)

    def nuisances(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """m0(X), shape (n,), and e0(X), shape (n, K): the means of the cross-fitted models."""
        features = self._features(np.atleast_2d(X))
        models_y = [model for fit in self.fits for model in fit.models_y[0]]
        models_t = [model for fit in self.fits for model in fit.models_t[0]]
        level, usual = (
            np.mean([model.predict(features) for model in models], axis=0) for models in (models_y, models_t)
        )
        return np.reshape(level, len(features)), usual @ self.basis

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

    def _per_state(self, values: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Returns of the domains, one row for each state, also where EconML gives one for all without covariates."""
        shape = (len(np.atleast_2d(X)), len(self.history.domains))
        return np.broadcast_to(np.reshape(values, (-1, len(self.basis))) @ self.basis, shape)

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


def _basis_of(treatment: str, k: int) -> np.ndarray:
    """Orthonormal directions of the log treatment: all k of them, or the k - 1 whose parts sum to 0 (Helmert's)."""
    return np.eye(k) if treatment == "log" else helmert(k)


def _moved(Z: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The directions themselves where runs differ in all of them, else as many in which they do."""
    _, spread, directions = np.linalg.svd((Z - Z.mean(axis=0)) @ basis.T, full_matrices=False)
    known = spread > DIFFERENT * spread.max()
    return basis if known.sum() == len(basis) else directions[known] @ basis


def _interval(
    centre: np.ndarray, points: np.ndarray, errors: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
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
    orthogonalise: bool = True,
    treatment: str = "log",
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
    orthogonalise : bool
        False puts the plain means of the outcome and of the log treatment in the place of m0 and e0.
    treatment : {"log", "ilr"}
        Whether the final stage sees log(T + eps) or its isometric log-ratios, K - 1 coordinates that
        hold all that centred log-ratios do; centred ones themselves sum to 0, so their coefficients
        are not identified.  Returns come back for each domain either way.

    Returns
    -------
    Effects

    Raises
    ------
    InputError
        When an argument is out of range, the outcome is the same in all runs, a domain's share in
        the whole history that they are a part of, or there are too few runs or distinct mixtures.
    """
    y, Z = history.y(outcome), log_treatment(history.T, eps)
    varying = tuple(int(j) for j in np.flatnonzero(np.ptp(history.X, axis=0) > 0))
    _check_variation(y, history, outcome)
    _check_settings(stage, n_trees, cv_folds, n_repeats, min_samples_leaf)
    _check_treatment(treatment)
    note = (
        ""
        if varying or stage == "linear"
        else "No covariate varies between runs, so the linear stage stands in for the forest."
    )
    used = "linear" if note else stage
    _check_size(history, used, len(varying))
    basis = _moved(Z, _checked_basis(history, eps, treatment))
    X = history.X[:, list(varying)] if varying else None
    # HC1 scales the robust covariance of the linear stage to the few runs per coefficient.
    inference = "auto" if used == "forest" else StatsModelsInference(cov_type="HC1")
    models = [_estimator(used, n_trees, cv_folds, min_samples_leaf, s, orthogonalise) for s in _seeds(seed, n_repeats)]
    fits = tuple(model.fit(y, Z @ basis.T, X=X, cache_values=True, inference=inference) for model in models)
    residuals = tuple((y_left, z_left @ basis) for y_left, z_left, *_ in (fit.residuals_ for fit in fits))
    return Effects(history, outcome, used, note, eps, varying, fits, residuals, treatment, basis)


def _seeds(seed: int, n: int) -> list[int]:
    """Seeds of the repeats; the first ones stay the same when there are more repeats."""
    return [int(s) for s in np.random.default_rng(seed).integers(2**31 - 1, size=n)]


def _estimator(
    stage: str, n_trees: int, cv_folds: int, min_samples_leaf: int, seed: int, orthogonalise: bool
) -> CausalForestDML | LinearDML:
    """One EconML estimator, all of whose randomness follows from an integer."""
    learner = LGBMRegressor(
        **NUISANCE, deterministic=True, force_row_wise=True, n_jobs=1, random_state=seed, verbose=-1
    )
    folds = KFold(cv_folds, shuffle=True, random_state=seed)
    nuisances = (learner, MultiOutputRegressor(learner)) if orthogonalise else (DummyRegressor(), DummyRegressor())
    shared = {"model_y": nuisances[0], "model_t": nuisances[1], "cv": folds, "random_state": seed}
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
        raise InputError(
            f"Expected an outcome that differs between runs, found {outcome} at {y[0]:g} in all {len(y)}; "
            "choose another outcome."
        )
    # Of the whole history: in a sparse one a split may leave a domain without any run that has it.
    T = _whole(history).T
    stuck = np.flatnonzero(np.ptp(T, axis=0) <= 2 * ROUNDING * T.max(axis=0))
    if len(stuck):
        raise InputError(
            f"Expected shares that differ between runs, found w_{history.domains[stuck[0]]} the same in all but for "
            "rounding; leave this domain out and divide the others by their sum."
        )


def _whole(history: History) -> History:
    """The history that another one is a part of."""
    return replace(history, frame=history.whole)


def _check_size(history: History, stage: str, d: int) -> None:
    """Two runs for each coefficient of the linear stage, two for each domain of the forest."""
    n, all_runs, many = len(history), len(history.whole), 2 * len(history.domains) * (1 + d * (stage == "linear"))
    if n <= many:
        part = f" in the part of {all_runs} that is fitted" if n < all_runs else ""
        raise InputError(
            f"Expected more than {many} runs for the {stage} stage with {len(history.domains)} domains, "
            f"found {n}{part}; add runs{', hold out fewer' if part else ''} or leave out covariates or domains."
        )


def _checked_basis(history: History, eps: float, treatment: str) -> np.ndarray:
    """All directions of the treatment; refuses where the whole history leaves some open, as few mixtures do."""
    basis = _basis_of(treatment, len(history.domains))
    known = len(_moved(log_treatment(_whole(history).T, eps), basis))
    if known < len(basis):
        raise InputError(
            f"Expected mixtures that differ in {len(basis)} directions, found {known}; "
            "add runs with other mixtures, or leave out domains."
        )
    return basis


def _check_treatment(treatment: str) -> None:
    if treatment == "clr":
        raise InputError(
            "Expected a treatment whose coefficients are identified, found clr, whose coordinates sum to 0; "
            "choose ilr, which holds the same."
        )
    if treatment not in TREATMENTS:
        raise InputError(
            f"Expected a treatment among {', '.join(TREATMENTS)}, found {treatment!r}; choose one of these."
        )


def _check_settings(stage: str, n_trees: int, cv_folds: int, n_repeats: int, min_samples_leaf: int) -> None:
    if stage not in STAGES:
        raise InputError(f"Expected a stage among {', '.join(STAGES)}, found {stage!r}; choose one of these.")
    least = {
        "n_trees": (n_trees, 8),
        "cv_folds": (cv_folds, 2),
        "n_repeats": (n_repeats, 1),
        "min_samples_leaf": (min_samples_leaf, 1),
    }
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise InputError(f"Expected {name} of at least {lowest}, found {value}; give a larger number.")
    if cv_folds > MIN_ROWS // 2:
        raise InputError(f"Expected at most {MIN_ROWS // 2} cv_folds, found {cv_folds}; give a smaller number.")


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
    rows = []
    for name, x in states.items():
        theta = effects.theta(np.atleast_2d(x))[0]
        low, high = (v[0] for v in effects.interval(np.atleast_2d(x)))
        for k, domain in enumerate(effects.history.domains):
            row = {"state": name, "domain": domain, "theta": theta[k], "ci_low": low[k], "ci_high": high[k]}
            rows.append(row | {"theta_constant": effects.constant[k]})
    return pd.DataFrame(rows)
