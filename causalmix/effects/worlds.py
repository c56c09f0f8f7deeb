"""Worlds whose returns are known in every state, to see how often intervals cover and how much a policy loses.

Magnitudes are those of the paper's setting as far as it is known: returns of about .01 per unit of log share, noise of
.015 of the outcome, so that Equal loses some four points against the best mixture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from causalmix.core.history import History, check_history
from causalmix.core.parameters import check_name
from causalmix.core.simplex import log_treatment
from causalmix.effects.interface import EPS

Returns = Callable[[np.ndarray], np.ndarray]  # what is added to the mean returns in states X, shape (n, d) to (n, K)


def _constant(rng: np.random.Generator, k: int, d: int) -> Returns:
    return lambda X: np.zeros((len(X), k))


def _linear(rng: np.random.Generator, k: int, d: int) -> Returns:
    slopes = rng.normal(0, 0.006, (d, k))
    return lambda X: X @ slopes


def _steps(rng: np.random.Generator, k: int, d: int) -> Returns:
    """Each domain's return jumps where one covariate passes a threshold."""
    which, at, height = rng.integers(d, size=k), rng.normal(0, 0.3, k), rng.uniform(0.005, 0.010, k)
    height = height * rng.choice([-1, 1], k)
    return lambda X: height * np.sign(X[:, which] - at)


def _quadratic(rng: np.random.Generator, k: int, d: int) -> Returns:
    bends = rng.normal(0, 0.006, (d, k))
    return lambda X: (X**2 - 1) @ bends


def _interactions(rng: np.random.Generator, k: int, d: int) -> Returns:
    pairs = list(combinations(range(d), 2)) or [(0, 0)]
    sizes = rng.normal(0, 0.008, (len(pairs), k))
    return lambda X: np.column_stack([X[:, i] * X[:, j] for i, j in pairs]) @ sizes


def _wavy(rng: np.random.Generator, k: int, d: int) -> Returns:
    phase, sizes = rng.uniform(0, 2 * np.pi, d), rng.normal(0, 0.008, (d, k))
    return lambda X: np.sin(2 * X + phase) @ sizes


KINDS: dict[str, Callable[[np.random.Generator, int, int], Returns]] = {
    "constant": _constant,
    "linear": _linear,
    "steps": _steps,
    "quadratic": _quadratic,
    "interactions": _interactions,
    "wavy": _wavy,
}


@dataclass(frozen=True)
class World:
    """How histories of a kind come about."""

    kind: str  # a name in KINDS: how returns follow the state
    confounded: bool = False  # whether mixtures follow the state, also by a bent function of it
    k: int = 5  # domains
    d: int = 3  # covariates
    noise: float = 0.015  # standard deviation, of the outcome
    uneven: bool = False  # whether the noise grows with the first covariate

    @property
    def name(self) -> str:
        """Kind and assignment, and what is unlike the plain world."""
        plain = World(self.kind)
        odd = [f"{what} {getattr(self, f)}" for f, what in (("k", "K"), ("d", "d"), ("noise", "noise"))
               if getattr(self, f) != getattr(plain, f)]  # fmt: skip
        told = [f"{self.kind} {'confounded' if self.confounded else 'randomized'}", *odd]
        return ", ".join([*told, "uneven noise"] if self.uneven else told)


#: Every kind, randomized and confounded, and the plain ones among them with other noise, domains and covariates.
WORLDS = tuple(World(kind, confounded) for kind in KINDS for confounded in (False, True)) + tuple(
    World(kind, **other)
    for kind in ("linear", "steps")
    for other in ({"noise": 0.03}, {"uneven": True}, {"k": 3}, {"k": 12}, {"d": 1}, {"d": 6})
)


@dataclass(frozen=True)
class Known:
    """A history and the truth behind it."""

    history: History
    returns: Returns  # true returns in states X, accuracy per unit of log share, shape (n, K)
    states: np.ndarray  # further states, shape (m, d)
    mixtures: np.ndarray  # further mixtures, one for each, shape (m, K)

    def gain(self, X: np.ndarray, T_from: np.ndarray, T_to: np.ndarray) -> np.ndarray:
        """True gain of a move in each state, shape (n,)."""
        return (self.returns(X) * (log_treatment(T_to, EPS) - log_treatment(T_from, EPS))).sum(axis=1)


def draw(
    world: World, n: int, seed: int, n_states: int = 300, runs: tuple[np.ndarray, np.ndarray] | None = None
) -> Known:  # fmt: skip
    """Draw a world of the kind, n runs in it, and further states and mixtures that no run has.

    ``runs`` are mixtures, shape (n, K), and states, shape (n, d), that somebody has chosen; else they are random.

        theta(x) = a + f(x),   a_k ~ N(.012, .012^2),   y = .5 + g(x) + theta(x)' log(T + .01) + e,
        g(x) = .03 x_1 + .02 sin(2 x_d) + .015 x_1^2,   x ~ N(0, 1),   T ~ Dirichlet(1),

    or, where it is confounded, a Dirichlet whose mean follows the state.
    """
    check_name(world.kind, KINDS, "kind of world")
    k, d, rng = world.k, world.d, np.random.default_rng([seed, 41, world.k, world.d, list(KINDS).index(world.kind)])
    mean, varying = rng.normal(0.012, 0.012, k), KINDS[world.kind](rng, k, d)
    X, lean = rng.normal(size=(n + n_states, d)), rng.normal(size=(d + 1, k))
    T = rng.dirichlet(np.ones(k), len(X))
    if world.confounded:
        means = np.exp(0.5 * np.column_stack([X, np.tanh(X[:, 0] ** 2 - 1)]) @ lean)
        gammas = rng.gamma(k * means / means.sum(axis=1, keepdims=True) + 0.05) + 1e-12
        T = gammas / gammas.sum(axis=1, keepdims=True)
    if runs is not None:
        T[:n], X[:n] = runs
    returns = lambda X: mean + varying(X)  # noqa: E731
    level = 0.5 + 0.03 * X[:, 0] + 0.02 * np.sin(2 * X[:, -1]) + 0.015 * X[:, 0] ** 2
    noise = world.noise * (np.exp(0.5 * X[:, 0]) if world.uneven else 1) * rng.normal(size=len(X))
    y = level + (returns(X) * log_treatment(T, EPS)).sum(axis=1) + noise
    shares, state = zip((f"w_domain{j}" for j in range(k)), T[:n].T), zip((f"x_{j}" for j in range(d)), X[:n].T)
    frame = pd.DataFrame({"run_id": [f"run{i:05d}" for i in range(n)]} | dict(shares) | dict(state) | {"y_dev": y[:n]})
    return Known(check_history(frame, "the simulated history"), returns, X[n:], T[n:])


def best_mixtures(theta: np.ndarray, eps: float = EPS) -> np.ndarray:
    """Mixtures that maximise theta' log(T + eps) exactly, shape (n, K).

    On its support the best mixture is proportional to the returns there, less eps; the support is the largest returns,
    as many as give the best value, or one domain alone where none is positive.
    """
    found = np.empty_like(theta)
    for i, t in enumerate(theta):
        k, order = len(t), np.argsort(-t)
        candidates = [np.eye(k)[order[0]]]
        for m in range(2, int((t > 0).sum()) + 1):
            w = np.zeros(k)
            w[order[:m]] = t[order[:m]] * (1 + m * eps) / t[order[:m]].sum() - eps
            candidates += [w] if w.min() >= 0 else []
        found[i] = max(candidates, key=lambda w: t @ np.log(w + eps))
    return found
