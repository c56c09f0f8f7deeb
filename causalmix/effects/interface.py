"""What an estimator is: the posterior of the returns in given states, from which all else follows, once for all.

The response is partially linear in the log treatment, mu(x, Z) = g(x) + theta(x)'Z with Z = log(T + eps).  An
estimator is a subclass of :class:`Effects` with two methods, ``posterior`` for theta and ``nuisances`` for the rest.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from scipy.linalg import helmert
from scipy.stats import norm

from causalmix.core.errors import InputError, brief
from causalmix.core.history import History
from causalmix.core.simplex import log_treatment
from causalmix.core.wording import counted

#: Offset of the log treatment, in shares. The paper's value is unknown; ours is a share of one
#: in a hundred, below which the rows of a domain are too few to matter.
EPS = 0.01

#: Least spread of runs in a direction of the treatment, as a share of the largest; LightGBM rounds to 32 bits.
DIFFERENT = 1e-6
TREATMENTS = ("log", "ilr")


class Posterior(Protocol):
    """What is known of the returns in n states, by each of R repeats of one estimate; R is 1 where none is repeated."""

    mean: np.ndarray  # shape (R, n, K)

    def variance(self, D: np.ndarray | None = None) -> np.ndarray:
        """Of theta(x_i)'D_i for directions D of shape (n, K), shape (R, n); without D of every return, (R, n, K)."""


@dataclass(frozen=True)
class Normal:
    """A posterior that is told by its means and covariances."""

    mean: np.ndarray  # shape (R, n, K)
    covariance: np.ndarray  # shape (R, n, K, K)

    @classmethod
    def of_draws(cls, draws: np.ndarray) -> Self:
        """From joint draws of the returns, shape (m, n, K), of one Bayesian model."""
        centred = draws - draws.mean(axis=0)
        return cls(draws.mean(axis=0)[None], np.einsum("mnk,mnl->nkl", centred, centred)[None] / (len(draws) - 1))

    def variance(self, D: np.ndarray | None = None) -> np.ndarray:
        """See :class:`Posterior`."""
        if D is None:
            return np.diagonal(self.covariance, axis1=-2, axis2=-1)
        return np.einsum("nk,rnkl,nl->rn", D, self.covariance, D)


@dataclass(frozen=True)
class Problem:
    """What every estimator is asked; all of it is checked."""

    history: History  # the runs to fit
    outcome: str = "y_dev"  # name of its column
    eps: float = EPS
    treatment: str = "log"  # with "ilr" all log treatments are centred, and returns sum to 0
    seed: int = 0

    @property
    def varying(self) -> tuple[int, ...]:
        """Positions of the covariates that differ between runs; the others cannot modify anything."""
        return tuple(int(j) for j in np.flatnonzero(np.ptp(self.history.X, axis=0) > 0))

    @property
    def y(self) -> np.ndarray:
        """The outcome, shape (n,)."""
        return self.history.y(self.outcome)

    @property
    def Z(self) -> np.ndarray:
        """The log treatment, shape (n, K)."""
        return log_treatment(self.history.T, self.eps)

    def directions(self) -> np.ndarray:
        """Orthonormal directions of the log treatment in which runs differ, shape (p, K); the whole history has all."""
        basis = np.eye(len(self.history.domains)) if self.treatment == "log" else helmert(len(self.history.domains))
        whole = replace(self.history, frame=self.history.whole)
        moved = _moved(log_treatment(whole.T, self.eps), basis)
        if len(moved) < len(basis):
            still = (basis**2).sum(axis=0) - (moved**2).sum(axis=0)  # of each domain, in directions of no difference
            tied = ", ".join(d for d, part in zip(self.history.domains, still) if part > DIFFERENT)
            raise InputError(
                f"Expected mixtures that differ in {counted(len(basis), 'direction')}, found {len(moved)}, for in all "
                f"runs shares of {brief(tied)} follow from each other; add runs of other mixtures, or give some one "
                "name by --map."
            )
        return _moved(self.Z, basis)


def _moved(Z: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The directions themselves where runs differ in all of them, else as many in which they do."""
    _, spread, directions = np.linalg.svd((Z - Z.mean(axis=0)) @ basis.T, full_matrices=False)
    known = spread > DIFFERENT * spread.max()
    return basis if known.sum() == len(basis) else directions[known] @ basis


@dataclass(frozen=True)
class Effects(Problem, ABC):
    """Estimated returns; made by :func:`causalmix.effects.estimator.fit_effects`.

    States X have shape (n, d) with the history's covariates, mixtures T shape (n, K), and returns shape (n, K), in
    accuracy per unit of log share; one row of X or T, shape (d,) or (K,), stands for all rows of the other.
    Intervals are pairs of bounds, and ``level`` is their nominal coverage, in (0, 1).
    """

    stage: str = ""  # the estimator that was used
    note: str = ""  # why it is not the one that was asked for; empty when it is

    @abstractmethod
    def posterior(self, X: np.ndarray) -> Posterior:
        """Of the returns in the states X, shape (n, d), accuracy per unit of log share."""

    @abstractmethod
    def nuisances(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Level, shape (n,), and usual log treatment, shape (n, K): the outcome is level + theta'(Z - usual)."""

    @property
    def residuals(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """What is left of outcome, shape (n,), and log treatment, shape (n, K), after the nuisances, by repeat."""
        level, usual = self.nuisances(self.history.X)
        return ((self.y - level, self.Z - usual),)

    @property
    def left(self) -> tuple[np.ndarray, np.ndarray]:
        """The same, means over repeats."""
        return tuple(np.mean(part, axis=0) for part in zip(*self.residuals))

    @property
    def constant(self) -> np.ndarray:
        """Returns that do not depend on the state, shape (K,): least squares on residuals, the median of repeats."""
        return np.median([np.linalg.lstsq(z, y, rcond=None)[0] for y, z in self.residuals], axis=0)

    def theta(self, X: np.ndarray) -> np.ndarray:
        """Returns in the states X: the median over repeats."""
        return np.median(self.repeats(X), axis=0)

    def repeats(self, X: np.ndarray) -> np.ndarray:
        """Returns of every repeat, shape (R, n, K); their spread is that of the sample splits."""
        return self.posterior(self._rows(X)[0]).mean

    def interval(self, X: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Pointwise confidence interval of the returns.

        The variance is the median over repeats of var_r + (theta_r - median)^2, so that the arbitrary split into folds
        counts as a source of error (Chernozhukov et al. 2018, section 3.4, doi:10.1111/ectj.12097).
        """
        known = self.posterior(self._rows(X)[0])
        centre = np.median(known.mean, axis=0)
        half = normal_quantile(level) * _spread(centre, known.mean, known.variance())
        return centre - half, centre + half

    def gain(self, X: np.ndarray, T_from: np.ndarray, T_to: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predicted gain theta(x)'(Z_to - Z_from) of moving from one mixture to another and its 95% interval, (n,).

        Its variance uses the covariance of all returns, which are far from independent because shares sum to one.
        """
        mean, sd = self.moments(X, T_from, T_to)
        half = normal_quantile(0.95) * sd
        return mean, mean - half, mean + half

    def moments(self, X: np.ndarray, T_from: np.ndarray, T_to: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same gain and its standard error, shapes (n,); an estimator with another response to T overrides it."""
        X, Z0, Z1 = self._rows(X, log_treatment(T_from, self.eps), log_treatment(T_to, self.eps))
        known, step = self.posterior(X), Z1 - Z0
        each = np.einsum("rnk,nk->rn", known.mean, step)
        gain = np.einsum("nk,nk->n", np.median(known.mean, axis=0), step)
        return gain, _spread(gain, each, known.variance(step))

    def predict(self, X: np.ndarray, T: np.ndarray) -> np.ndarray:
        """Expected outcome m0(X) + theta(X)'(Z - e0(X))."""
        X, Z = self._rows(X, log_treatment(T, self.eps))
        level, usual = self.nuisances(X)
        return level + np.einsum("nk,nk->n", self.theta(X), Z - usual)

    def _rows(self, X: np.ndarray, *Z: np.ndarray) -> tuple[np.ndarray, ...]:
        """All arguments with one row for each state and mixture; refuses what is no state of the history's."""
        arrays = [np.atleast_2d(np.asarray(a, dtype=float)) for a in (X, *Z)]
        if arrays[0].shape[1] != len(self.history.covariates) or not np.isfinite(arrays[0]).all():
            raise InputError(
                f"Expected finite values of {', '.join(self.history.covariates) or 'no covariate'} for each state, "
                f"found {counted(arrays[0].shape[1], 'column')}; give the covariates of the history, in its order."
            )
        n = max(len(a) for a in arrays)
        return tuple(np.ascontiguousarray(np.broadcast_to(a, (n, a.shape[1]))) for a in arrays)


def normal_quantile(level: float) -> float:
    """Standard errors on either side of a normal interval."""
    if not 0 < level < 1:
        raise InputError(f"Expected a level between 0 and 1, found {level}; choose for instance 0.95.")
    return float(norm.ppf(0.5 + level / 2))


def _spread(centre: np.ndarray, points: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Standard error that adds the spread between repeats (first axis) to each one's own."""
    return np.sqrt(np.median(variances + (points - centre) ** 2, axis=0))
