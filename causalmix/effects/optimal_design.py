"""Optimal designs: which of many candidate runs tell most about the returns, by a linear model of mixture and state.

    y = [1, phi(T)] x [1, psi(s)] w + v'(s x s) + e,        phi(T) = [T, sqrt T],        psi(s) = [s, s^2],

with states s of covariates and logs of sizes, and a normal prior of w.  What a run tells depends on where it lies, not
on its outcome: D-optimal runs take the most volume from the posterior of w, I-optimal ones most variance from given
contrasts of it (Atkinson, Donev and Tobias 2007, chapters 10 and 11).  They are chosen one after the other, each given
those before (Wynn 1970, doi:10.1214/aoms/1177696809).
"""

from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Self

import numpy as np
from sklearn.linear_model import BayesianRidge

from causalmix.core.simplex import nearest
from causalmix.effects.interface import normal_quantile

#: Prior standard deviation of a coefficient, in those of the noise, before any outcome is seen: wide enough to leave
#: the answer to the runs, and so narrow that directions in which mixtures hardly differ come last.
PRIOR = 3.0
BEND = 0.5  # prior size of a bend in a state, beside a slope's
FREE = 1e3  # the same of the level, of which nothing is known
TIE = 1e-7  # candidates whose worth differs by less, relatively, are worth the same

CANDIDATES = 3000  # runs of which a design chooses
DIFFERENT = 1000  # mixtures that they have, about
DENSE, SPARSE = 1.0, 0.2  # concentrations of the random mixtures
MOST_CORNERS = 64  # of the box of states


@dataclass(frozen=True)
class Features:
    """The columns of the model, in the units of the points that they were made from."""

    states: tuple[np.ndarray, np.ndarray, np.ndarray]  # which of s differ, their means and spreads
    centre: tuple[np.ndarray, np.ndarray]  # means of phi and of psi
    spread: float  # of phi

    @classmethod
    def of(cls, T: np.ndarray, S: np.ndarray) -> Self:
        """From mixtures, shape (m, K), and their states, shape (m, d)."""
        phi, S = _phi(T), np.atleast_2d(np.asarray(S, float))
        differ = np.flatnonzero(np.ptp(S, axis=0) > 0)  # of the others nothing can be learnt
        states = differ, S[:, differ].mean(axis=0), S[:, differ].std(axis=0)
        centre = phi.mean(axis=0), _psi(S, *states).mean(axis=0)
        # A share is a share: a domain that is rare among the points is not blown up to the size of the others.
        return cls(states, centre, float(np.sqrt(phi.var(axis=0).mean())))

    def __call__(self, T: np.ndarray, S: np.ndarray) -> np.ndarray:
        """Rows of the model, shape (m, p); one row of T or S stands for all rows of the other."""
        phi = (_phi(T) - self.centre[0]) / self.spread
        psi = _psi(np.atleast_2d(np.asarray(S, float)), *self.states) - self.centre[1]
        n = max(len(phi), len(psi))
        with_one = [np.hstack([np.ones((n, 1)), np.broadcast_to(part, (n, part.shape[1]))]) for part in (phi, psi)]
        s = with_one[1][:, 1 : 1 + len(self.states[0])]
        first, second = np.triu_indices(s.shape[1], k=1)  # of two different states the level may bend as well
        both = np.einsum("ma,mb->mab", *with_one).reshape(n, -1)
        return np.hstack([both, BEND * s[:, first] * s[:, second]])


def _phi(T: np.ndarray) -> np.ndarray:
    T = np.atleast_2d(np.asarray(T, float))
    return np.hstack([T, np.sqrt(T)])


def _psi(S: np.ndarray, differ: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    s = (S[:, differ] - mean) / spread
    return np.hstack([s, BEND * s**2])


@dataclass(frozen=True)
class Belief:
    """A normal posterior of the coefficients, its covariance in units of the noise variance."""

    covariance: np.ndarray  # shape (p, p)
    mean: np.ndarray  # shape (p,), in units of the outcome
    noise: float  # standard deviation of an outcome that nothing explains; 1 where it is not known

    @classmethod
    def prior(cls, p: int, noise: float = 1.0, sd: float = PRIOR) -> Self:
        """Before any run."""
        return cls(np.diag(np.r_[FREE**2, np.full(p - 1, sd**2)]), np.zeros(p), noise)

    @classmethod
    def learnt(cls, F: np.ndarray, y: np.ndarray, noise: float | None = None) -> Self:
        """From rows of the model and their outcomes; prior and, unless it is given, noise by marginal likelihood."""
        fitted = BayesianRidge(max_iter=1000).fit(F[:, 1:], (y - y.mean()) / y.std())
        learnt = y.std() / np.sqrt(fitted.alpha_)
        # Where no run differs from chance the data still leave effects as large as the noise possible.
        sd = np.clip(np.sqrt(fitted.alpha_ / fitted.lambda_), 1 / np.sqrt(F.shape[1]), PRIOR)
        sd = sd * learnt / (noise or learnt)
        start = cls.prior(F.shape[1], noise or learnt, sd)
        covariance = np.linalg.inv(F.T @ F + np.diag(1 / np.diag(start.covariance)))
        mean = covariance @ (F.T @ (y - y.mean()))
        mean[0] += y.mean()
        return cls(covariance, mean, start.noise)

    def given(self, F: np.ndarray) -> Self:
        """After further runs, of which only the place is known."""
        C = self.covariance
        half = F @ C
        return replace(self, covariance=C - half.T @ np.linalg.solve(half @ F.T + np.eye(len(F)), half))

    def half_width(self, C: np.ndarray) -> float:
        """Of the 95% interval of contrasts, shape (j, p): the root of their mean square."""
        variance = ((C @ self.covariance) * C).sum(axis=1).mean()
        return normal_quantile(0.95) * self.noise * float(np.sqrt(max(variance, 0)))

    def draws(self, n: int, seed: int) -> np.ndarray:
        """Coefficients that may be true, shape (n, p)."""
        values, vectors = np.linalg.eigh(self.covariance)
        normal = np.random.default_rng([seed, 31]).normal(size=(n, len(values)))
        return self.mean + self.noise * (normal * np.sqrt(np.maximum(values, 0))) @ vectors.T


def choose(
    F: np.ndarray, n: int, belief: Belief, contrasts: np.ndarray | None = None, group: np.ndarray | None = None
) -> np.ndarray:
    """Positions of the n candidates, rows F of the model, that tell most beside a belief, in the order of choice.

    They are I-optimal for ``contrasts``, shape (j, p), and D-optimal without.  No two of one ``group``, shape (m,), are
    chosen (fewer than n where groups run out); without groups a candidate may be chosen again and again.
    """
    covariance, chosen, free = belief.covariance.copy(), [], np.ones(len(F), bool)
    variance = ((F @ covariance) * F).sum(axis=1)
    shared = None if contrasts is None else contrasts @ covariance @ F.T
    while len(chosen) < n and free.any():
        worth = variance if shared is None else (shared**2).sum(axis=0) / (1 + variance)
        worth = np.where(free, worth, -np.inf)
        best = int(np.argmax(worth >= worth.max() * (1 - TIE)))  # else a machine's last digit would choose
        chosen.append(best)
        step = covariance @ F[best] / np.sqrt(1 + variance[best])  # the outcome has variance 1 beside that of its mean
        seen = F @ step
        if shared is not None:
            shared -= np.outer(contrasts @ step, seen)
        variance = variance - seen**2
        covariance -= np.outer(step, step)
        if group is not None:
            free &= group != group[best]
    return np.array(chosen, dtype=int)


def candidate_runs(
    floor: np.ndarray, cap: np.ndarray, low: np.ndarray, high: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Runs that could be made: mixtures within floors and caps, shape (m, K), each with a state of a box, (m, d)."""
    T = candidate_mixtures(floor, cap, DIFFERENT, seed)
    return T[np.arange(CANDIDATES) % len(T)], candidate_states(low, high, CANDIDATES, seed)


def candidate_mixtures(floor: np.ndarray, cap: np.ndarray, n: int = 1000, seed: int = 0) -> np.ndarray:
    """About n mixtures within floors and caps, shape (m, K): a third each dense, sparse, and regular.

    Regular ones are Equal, corners, halves of two domains, other points of their edges, and Equal without one domain.
    """
    k, rng = len(floor), np.random.default_rng([seed, 41])
    corners = np.eye(k)
    pairs = np.array(list(combinations(range(k), 2)))
    pairs = pairs[rng.permutation(len(pairs))[: max(n // 6, 1)]]
    first, second, at = corners[pairs[:, 0]], corners[pairs[:, 1]], rng.uniform(size=(len(pairs), 1))
    regular = [np.full((1, k), 1 / k), corners, (first + second) / 2, at * first + (1 - at) * second]
    without = [(1 - corners) / (k - 1)] if k > 2 else []
    drawn = [rng.dirichlet(np.full(k, a), size=n // 3) for a in (DENSE, SPARSE)]
    return np.unique(nearest(np.vstack(regular + without + drawn), floor, cap).round(6), axis=0)


def candidate_states(low: np.ndarray, high: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """So many states of a box, shape (n, d): half of them its corners, the others anywhere within."""
    d, rng = len(low), np.random.default_rng([seed, 43])
    corners = np.array(list(product((0, 1), repeat=d))) if 2**d <= MOST_CORNERS else rng.integers(0, 2, (n, d))
    at = rng.uniform(size=(n, d))
    some = rng.permutation(n)[: n // 2]
    at[some] = corners[rng.integers(0, len(corners), len(some))]
    return low + at * (high - low)
