"""Returns as Gaussian processes of the state, which vary with it as much as the runs say; a joint posterior.

    y = g(x) + sum_k z_k theta_k(x) + e,        z = log(T + eps) less its mean,

where g and every theta_k are a constant, a line, a rough and a smooth function of each covariate, a quadratic form
and a rough function of all together, each with a variance of its own: a varying-coefficient model (Hastie and
Tibshirani 1993, doi:10.1111/j.2517-6161.1993.tb01939.x).  Variances maximise the marginal likelihood (Rasmussen and
Williams 2006, chapter 5) with a prior that keeps them small and off zero, where the intervals would be too narrow
(Chung et al. 2013, doi:10.1007/s11336-013-9328-2).  Given them, everything is Gaussian and exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, lapack
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from causalmix.effects.interface import Effects, Normal, Problem

MOST_RUNS = 800  # that the variances are learnt from, drawn by the seed; all runs count after that
OWN_VARIANCES = 12  # directions up to which each return has variances of its own; more share theirs
#: Prior of a part's standard deviation s, in units of the outcome's: s^(2 SHAPE) exp(-RATE s).  Constants have none.
SHAPE, RATE = 0.1, 5.0
START = 0.02  # of a part's variance
BOUNDS = (1e-7, 30.0)  # of a part's variance
NOISE = (1e-3, 5.0)  # bounds of the variance of e
JITTER = 1e-6


def _kernels(A: np.ndarray, B: np.ndarray) -> dict[str, np.ndarray]:
    """Covariance of each part between standardised states A and B, shape (len(A), len(B)), at variance 1."""
    d, found = A.shape[1], {"constant": np.ones((len(A), len(B)))}
    for j in range(d):
        gap = np.abs(A[:, j, None] - B[:, j])
        found[f"line {j}"] = np.outer(A[:, j], B[:, j])
        found |= {f"rough {j}": np.exp(-gap), f"smooth {j}": np.exp(-2 * gap**2)}
    if d:
        found["quadratic"] = (A @ B.T) ** 2
    if d > 1:
        r = np.sqrt(3 / d) * cdist(A, B)
        found["joint"] = (1 + r) * np.exp(-r)
    return found


def _variances_at(A: np.ndarray) -> dict[str, np.ndarray]:
    """The same of each state with itself, shape (len(A),)."""
    found = {name: np.ones(len(A)) for name in _kernels(A[:1], A[:1])}
    found |= {f"line {j}": column**2 for j, column in enumerate(A.T)}
    return found | ({"quadratic": (A**2).sum(axis=1) ** 2} if A.shape[1] else {})


def _total(parts: dict[str, np.ndarray], variances: dict[str, float]) -> np.ndarray:
    return sum(variance * parts[name] for name, variance in variances.items())


@dataclass(frozen=True)
class GaussianProcess(Effects):
    """A fitted model, in standardised units; made by :func:`fit`."""

    basis: np.ndarray | None = None  # directions of the log treatment in which runs differ, shape (p, K)
    scales: tuple = ()  # mean and spread of X, spread of z, mean and spread of y
    level: dict | None = None  # variances of the parts of g
    returns: tuple = ()  # the same of theta, by direction
    factor: tuple = ()  # Cholesky factor of the covariance of y
    weights: np.ndarray | None = None  # its inverse times y, shape (n,)

    def posterior(self, X: np.ndarray) -> Normal:
        """See :class:`causalmix.effects.interface.Effects`."""
        *_, spread_z, _, spread_y = self.scales
        X, where = np.unique(X, axis=0, return_inverse=True)  # many mixtures in one state are asked for at a time
        here, there = (self._states(x) for x in (X, self.history.X))
        parts, own, z = _kernels(here, there), _variances_at(here), self._treatment()
        cross = np.stack([_total(parts, v) * z[:, k] for k, v in enumerate(self.returns)])
        solved = cho_solve(self.factor, cross.reshape(-1, len(z)).T).T.reshape(cross.shape)
        covariance = -np.einsum("kin,lin->ikl", cross, solved)
        for k, variances in enumerate(self.returns):
            covariance[:, k, k] += _total(own, variances)
        unit = self.basis * spread_y / spread_z
        mean = np.einsum("kin,n->ik", cross, self.weights) @ unit
        whole = np.einsum("ka,ikl,lb->iab", unit, covariance, unit, optimize=True)
        return Normal(mean[None, where.ravel()], whole[None, where.ravel()])

    def nuisances(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """g(X), and the mean log treatment of the runs in every state."""
        *_, mean_y, spread_y = self.scales
        parts = _kernels(self._states(X), self._states(self.history.X))
        level = mean_y + spread_y * (_total(parts, self.level) @ self.weights)
        return level, np.broadcast_to(self.Z.mean(axis=0), (len(X), self.Z.shape[1]))

    def _states(self, X: np.ndarray) -> np.ndarray:
        return (X[:, list(self.varying)] - self.scales[0]) / self.scales[1]

    def _treatment(self) -> np.ndarray:
        return (self.Z - self.Z.mean(axis=0)) @ self.basis.T / self.scales[2]


def fit(problem: Problem, n_trees: int = 0, cv_folds: int = 0, n_repeats: int = 0) -> GaussianProcess:
    """Fit the model; there are no trees, folds or repeats here, so what other stages are told of them is not used."""
    X, y, basis = problem.history.X[:, list(problem.varying)], problem.y, problem.directions()
    spread_z = ((problem.Z - problem.Z.mean(axis=0)) @ basis.T).std(axis=0).mean()
    scales = (X.mean(axis=0), X.std(axis=0), spread_z, y.mean(), y.std())
    empty = GaussianProcess(**vars(problem), stage="gaussian_process", basis=basis, scales=scales)
    A, z, y = empty._states(problem.history.X), empty._treatment(), (y - y.mean()) / y.std()
    few = np.sort(np.random.default_rng([problem.seed, 17]).permutation(len(y))[:MOST_RUNS])
    level, returns, noise = _learn(A[few], z[few], y[few])
    parts = _kernels(A, A)
    K = _total(parts, level) + sum(np.outer(c, c) * _total(parts, v) for c, v in zip(z.T, returns))
    factor = cho_factor(K + (noise + JITTER) * np.eye(len(y)), lower=True)
    fitted = {"level": level, "returns": returns, "factor": factor, "weights": cho_solve(factor, y)}
    return GaussianProcess(**vars(empty) | fitted)


def _learn(A: np.ndarray, z: np.ndarray, y: np.ndarray) -> tuple[dict, tuple[dict, ...], float]:
    """Variances of the parts of g and of theta by direction, and of the noise."""
    (n, p), parts = z.shape, _kernels(A, A)
    varying = [name for name in parts if name != "constant"]
    groups = [[k] for k in range(p)] if p <= OWN_VARIANCES else [list(range(p))]
    # Constant returns share one variance, so that they are drawn towards zero together.
    owners = [("constant", list(range(p))), *((name, group) for group in groups for name in varying)]
    products = [parts[name] * (z[:, group] @ z[:, group].T) for name, group in owners]
    below = np.tril_indices(n)
    stack = np.stack([m[below].astype(np.float32) for m in (*parts.values(), *products, np.eye(n))])
    twice = np.where(below[0] == below[1], 1, 2).astype(np.float32)
    kept = np.array([name == "constant" for name in (*parts, *(name for name, _ in owners))] + [True])
    rate, shape = np.where(kept, 0, RATE), np.where(kept, 0, SHAPE)

    def objective(logs: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the log posterior of the logarithms of the variances, and its gradient."""
        v, K = np.exp(logs), np.zeros((n, n))
        K[below] = v.astype(np.float32) @ stack
        K[np.diag_indices(n)] += JITTER
        L, _ = lapack.dpotrf(K, lower=1)
        a, (inverse, _) = cho_solve((L, True), y), lapack.dpotri(L, lower=1)
        value = 0.5 * y @ a + np.log(np.diag(L)).sum() + (rate * np.sqrt(v) - shape * logs).sum()
        slope = twice * (inverse[below] - a[below[0]] * a[below[1]]).astype(np.float32)
        return value, 0.5 * v * (stack @ slope) + 0.5 * rate * np.sqrt(v) - shape

    bounds = [tuple(np.log(BOUNDS))] * (len(kept) - 1) + [tuple(np.log(NOISE))]
    start = np.log(np.where(kept, 0.5, START))
    v = np.exp(minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 100}).x)
    level, returns = dict(zip(parts, v)), tuple({} for _ in range(p))
    for (name, group), variance in zip(owners, v[len(parts) :]):
        for k in group:
            returns[k][name] = variance
    return level, returns, float(v[-1])
