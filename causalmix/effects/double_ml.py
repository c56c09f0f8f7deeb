"""Double machine learning by EconML: cross-fitted residuals, then a causal forest or returns linear in the state.

LightGBM learns m0(X) = E[Y|X] and e0(X) = E[Z|X] out of fold; the final stage relates the residuals Y - m0(X) to
Z - e0(X) (Chernozhukov et al. 2018, doi:10.1111/ectj.12097).  Runs of one mixture stay together in the folds, and are
one cluster in the errors of the linear stage; EconML's forest draws single runs, so its errors are then too small.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from econml.dml import CausalForestDML, LinearDML
from econml.inference import StatsModelsInference
from econml.sklearn_extensions.linear_model import StatsModelsLinearRegression
from lightgbm import LGBMRegressor
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import KFold
from sklearn.multioutput import MultiOutputRegressor
from statsmodels.regression.linear_model import OLS, RegressionResults

from causalmix.core.errors import TooFewRuns
from causalmix.core.history import History
from causalmix.effects.interface import Effects, Problem

#: Sizes of the nuisance models, all ours. LightGBM's defaults (31 leaves, learning rate 0.1) are
#: made for tens of thousands of rows; on a few hundred with three covariates they fit noise, and
#: the out-of-fold R2 of e0 on randomised mixtures then falls from about -0.05 to -0.25.
NUISANCE = {"n_estimators": 100, "learning_rate": 0.05, "num_leaves": 5, "min_child_samples": 10}


@dataclass(frozen=True)
class DoubleML(Effects):
    """Returns of several cross-fitted estimates: one fitted EconML estimator for each repeat, in the directions
    ``basis``, shape (p, K), of the log treatment."""

    fits: tuple = ()
    basis: np.ndarray | None = None

    @property
    def residuals(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Out of fold."""
        return tuple((y, z @ self.basis) for y, z, *_ in (fit.residuals_ for fit in self.fits))

    def posterior(self, X: np.ndarray) -> "Repeats":
        return Repeats(self, X)

    def nuisances(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """m0(X) and e0(X): the means of the cross-fitted models."""
        # Without covariates EconML gives the models a column of ones.
        features = self.states(X) if self.varying else np.ones((len(X), 1))
        models_y = [model for fit in self.fits for model in fit.models_y[0]]
        models_t = [model for fit in self.fits for model in fit.models_t[0]]
        level, usual = (np.mean([m.predict(features) for m in models], axis=0) for models in (models_y, models_t))
        return np.reshape(level, len(features)), usual @ self.basis

    def states(self, X: np.ndarray) -> np.ndarray | None:
        """What EconML's final stage takes for X."""
        return X[:, list(self.varying)] if self.varying else None


class Repeats:
    """The posterior of several EconML estimators.

    A forest's variance is made positive in each direction (Athey, Tibshirani and Wager 2019, doi:10.1214/18-AOS1709).
    """

    def __init__(self, effects: DoubleML, X: np.ndarray) -> None:
        self.effects, self.n, self.states = effects, len(X), effects.states(X)
        found = [fit.const_marginal_effect(self.states) for fit in effects.fits]
        # Without covariates EconML gives one estimate for all states.
        shape = (len(found), self.n, len(effects.history.domains))
        self.mean = np.broadcast_to(np.reshape(found, (len(found), -1, len(effects.basis))) @ effects.basis, shape)

    def variance(self, D: np.ndarray | None = None) -> np.ndarray:
        """See :class:`causalmix.effects.interface.Posterior`."""
        return np.stack([self._of_returns(f) if D is None else self._along(f, D) for f in self.effects.fits])

    def _along(self, fit: CausalForestDML | LinearDML, D: np.ndarray) -> np.ndarray:
        step = D @ self.effects.basis.T
        return np.ravel(fit.effect_inference(self.states, T0=0 * step, T1=step).stderr) ** 2

    def _of_returns(self, fit: CausalForestDML | LinearDML) -> np.ndarray:
        k = len(self.effects.history.domains)
        if np.array_equal(self.effects.basis, np.eye(k)):
            errors = np.reshape(fit.const_marginal_effect_inference(self.states).stderr, (-1, k))
            return np.broadcast_to(errors**2, (self.n, k))
        # A return is a contrast of coordinates; its error needs their covariance, as that of a gain does.
        return np.column_stack([self._along(fit, np.tile(row, (self.n, 1))) for row in np.eye(k)])


def fit(
    problem: Problem, stage: str, n_trees: int = 500, cv_folds: int = 5, n_repeats: int = 5, orthogonalise: bool = True
) -> DoubleML:
    """The stage "forest", or "linear", which also stands in for a forest that has no covariate to split on."""
    note = ""
    if stage == "forest" and not problem.varying:
        stage, note = "linear", "No covariate varies between runs, so the linear stage stands in for the forest."
    check_size(problem.history, stage, len(problem.varying))
    basis, clusters, fits = problem.directions(), problem.history.clusters, []
    X = problem.history.X[:, list(problem.varying)] if problem.varying else None
    for seed in seeds(problem.seed, n_repeats):
        one = learner(seed) if orthogonalise else DummyRegressor()
        several = MultiOutputRegressor(one) if orthogonalise else one
        shared = {"model_y": one, "model_t": several, "cv": folds(clusters, cv_folds, seed), "random_state": seed}
        model = ClusteredDML(clusters, **shared) if stage == "linear" else CausalForestDML(
            **shared, n_jobs=1,
            n_estimators=-(-n_trees // 4) * 4,  # variances come from groups of four trees
            criterion="het",  # splits where returns differ rather than where the fit improves; both are EconML's
        )  # fmt: skip
        # HC1 scales the robust covariance of the linear stage to the few runs per coefficient.
        inference = "auto" if stage == "forest" else StatsModelsInference(cov_type="HC1")
        fits.append(model.fit(problem.y, problem.Z @ basis.T, X=X, cache_values=True, inference=inference))
    return DoubleML(**vars(problem), stage=stage, note=note, fits=tuple(fits), basis=basis)


def seeds(seed: int, n: int) -> list[int]:
    """Seeds of the repeats; the first ones stay the same when there are more repeats."""
    return np.random.default_rng(seed).integers(2**31 - 1, size=n).tolist()


def learner(seed: int) -> LGBMRegressor:
    """The nuisance model of one variable."""
    return LGBMRegressor(**NUISANCE, deterministic=True, force_row_wise=True, n_jobs=1, random_state=seed, verbose=-1)


def folds(clusters: np.ndarray, n: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit and rows to predict in each of n folds of the mixtures; ``History.clusters`` tells the rows' ones."""
    if (found := clusters.max() + 1) < n:
        raise TooFewRuns(f"Expected at least {n} different mixtures for {n} folds, found {found}; add some.")
    parts = KFold(n, shuffle=True, random_state=seed).split(np.arange(found))
    return [tuple(np.flatnonzero(np.isin(clusters, part)) for part in both) for both in parts]


class ClusteredDML(LinearDML):
    """EconML's linear stage with errors by cluster, which EconML does not have; one cluster a run gives HC1."""

    def __init__(self, clusters: np.ndarray, **settings) -> None:
        self.clusters = clusters
        super().__init__(**settings)

    def _gen_model_final(self) -> StatsModelsLinearRegression:
        return ClusteredRegression(self.clusters)


class ClusteredRegression(StatsModelsLinearRegression):
    """Least squares whose covariance sums scores within clusters (Liang and Zeger 1986, doi:10.1093/biomet/73.1.13)."""

    def __init__(self, clusters: np.ndarray, fit_intercept: bool = False, cov_type: str = "HC1") -> None:
        self.clusters = clusters
        super().__init__(fit_intercept=fit_intercept, cov_type=cov_type)

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        super().fit(X, np.ravel(y))
        self._param_var = clustered(np.ravel(y), X, self.clusters).cov_params()
        return self


def clustered(y: np.ndarray, X: np.ndarray, clusters: np.ndarray) -> RegressionResults:
    """Least squares with errors robust within clusters, with Stata's factor for few of them."""
    return OLS(y, X).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)


def fewest(stage: str, history: History, d: int) -> int:
    """Runs that a stage needs more than: two for each coefficient of the linear one, for each domain of the forest."""
    return 2 * len(history.domains) * (1 + d * (stage == "linear"))


def check_size(history: History, stage: str, d: int) -> None:
    """Raise TooFewRuns where runs are too few for d covariates."""
    n, all_runs, many = len(history), len(history.whole), fewest(stage, history, d)
    if n <= many:
        part = f" in the part of {all_runs} that is fitted" if n < all_runs else ""
        raise TooFewRuns(
            f"Expected more than {many} runs for the {stage} stage with {len(history.domains)} domains, "
            f"found {n}{part}; add runs{', hold out fewer' if part else ''} or leave out covariates or domains."
        )
