"""Histories whose returns are known in every state, to test estimators: a plain one, and worlds of several kinds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from causalmix.core.history import History, check_history
from causalmix.core.simplex import log_treatment
from causalmix.effects.interface import EPS

DOMAINS = ("coding", "instruction", "math", "knowledge", "safety")
COVARIATES = ("hes", "normalized_loss", "writing_style")
Returns = Callable[[np.ndarray], np.ndarray]  # of states X, shape (n, d), to shape (n, K)
KINDS = ("constant", "linear", "steps", "quadratic", "interactions", "wavy")  # how returns follow the state


@dataclass(frozen=True)
class Simulation:
    """A simulated history of the single outcome ``y_dev``, together with the truth behind it."""

    history: History
    intercept: np.ndarray  # returns at x = 0, accuracy per unit of log share, shape (K,)
    slopes: np.ndarray  # their change per unit of each covariate, shape (K, d)

    def theta(self, X: np.ndarray) -> np.ndarray:
        """True returns in the states X, shape (n, d); the result has shape (n, K)."""
        return self.intercept + np.asarray(X, dtype=float) @ self.slopes.T


def simulate_history(
    n: int = 512, domains: Sequence[str] = DOMAINS, covariates: Sequence[str] = COVARIATES,
    heterogeneity: float = 0.008, confounding: float = 0.0, noise: float = 0.02, eps: float = 0.01, seed: int = 0,
) -> Simulation:  # fmt: skip
    """Draw a history from a partially linear model with known returns.

    With standard normal draws X_i in R^d, coefficients a in R^K and B in R^(K x d),

        theta(x) = a + B x,             a_k ~ N(0.015, 0.015^2),   B_kj ~ N(0, heterogeneity^2)
        g(x)     = 0.6 + 0.05 tanh(x_1) + 0.03 x_1 x_d             (0.6 without covariates)
        T_i      ~ Dirichlet(exp(confounding * C x_i)),            C_kj ~ N(0, 1)
        Z_i      = log(T_i + eps)
        Y_i      = g(X_i) + theta(X_i)' Z_i + noise * N(0, 1)

    so that g bends, and mixtures are drawn independently of the state unless ``confounding`` is positive.  The form is
    that of Robinson (1988, doi:10.2307/1912705) with several treatments, the magnitudes are ours.
    """
    k, d = len(domains), len(covariates)
    truth = np.random.default_rng([2607, 1104, k, d])
    intercept = truth.normal(0.015, 0.015, k)
    slopes, choice = truth.normal(0, heterogeneity, (k, d)), truth.normal(size=(k, d))
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    # A Dirichlet draw is a normalised Gamma draw, and Gamma takes one shape for each run and domain.
    gammas = rng.gamma(np.exp(confounding * X @ choice.T)) + 1e-12
    T = gammas / gammas.sum(axis=1, keepdims=True)
    level = 0.6 + (0.05 * np.tanh(X[:, 0]) + 0.03 * X[:, 0] * X[:, -1] if d else 0)
    returns = ((intercept + X @ slopes.T) * log_treatment(T, eps)).sum(axis=1)
    y = level + returns + noise * rng.normal(size=n)
    about = {"seed": range(n), "n_samples": 1000, "model": "simulated"}
    return Simulation(_history(T, X, y, domains, covariates, **about), intercept, slopes)


def _history(
    T: np.ndarray, X: np.ndarray, y: np.ndarray, domains: Sequence, covariates: Sequence, **about: object
) -> History:
    frame = pd.DataFrame({"run_id": [f"run{i:05d}" for i in range(len(y))]} | about)
    weights, state = zip((f"w_{name}" for name in domains), T.T), zip((f"x_{name}" for name in covariates), X.T)
    return check_history(frame.assign(**dict(weights), **dict(state), y_dev=y), "the simulated history")


def _varying(kind: str, rng: np.random.Generator, k: int, d: int) -> Returns:
    """What a kind of world adds to the mean returns."""
    if kind == "linear":
        slopes = rng.normal(0, 0.006, (d, k))
        return lambda X: X @ slopes
    if kind == "steps":  # each return jumps where one covariate passes a threshold
        which, at, height = rng.integers(d, size=k), rng.normal(0, 0.3, k), rng.uniform(0.005, 0.010, k)
        height = height * rng.choice([-1, 1], k)
        return lambda X: height * np.sign(X[:, which] - at)
    if kind == "quadratic":
        bends = rng.normal(0, 0.006, (d, k))
        return lambda X: (X**2 - 1) @ bends
    if kind == "interactions":
        pairs = list(combinations(range(d), 2)) or [(0, 0)]
        sizes = rng.normal(0, 0.008, (len(pairs), k))
        return lambda X: np.column_stack([X[:, i] * X[:, j] for i, j in pairs]) @ sizes
    if kind == "wavy":
        phase, heights = rng.uniform(0, 2 * np.pi, d), rng.normal(0, 0.008, (d, k))
        return lambda X: np.sin(2 * X + phase) @ heights
    return lambda X: np.zeros((len(X), k))


@dataclass(frozen=True)
class World:
    """How histories of a kind come about."""

    kind: str  # a name in KINDS
    confounded: bool = False  # whether mixtures follow the state, also by a bent function of it
    k: int = 5  # domains
    d: int = 3  # covariates
    noise: float = 0.015  # standard deviation, of the outcome
    uneven: bool = False  # whether the noise grows with the first covariate

    @property
    def name(self) -> str:
        """Kind and assignment, and what is unlike the plain world."""
        plain, told = World(self.kind), [f"{self.kind} {'confounded' if self.confounded else 'randomized'}"]
        named = {"k": f"K {self.k}", "d": f"d {self.d}", "noise": f"noise {self.noise}", "uneven": "uneven noise"}
        return ", ".join(told + [what for f, what in named.items() if getattr(self, f) != getattr(plain, f)])


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
        g(x) = .03 x_1 + .02 sin(2 x_d) + .015 x_1^2 (0 without covariates),   x ~ N(0, 1),   T ~ Dirichlet(1),

    or, where it is confounded, a Dirichlet whose mean follows the state.
    """
    k, d, rng = world.k, world.d, np.random.default_rng([seed, 41, world.k, world.d, KINDS.index(world.kind)])
    mean, varying = rng.normal(0.012, 0.012, k), _varying(world.kind, rng, k, d)
    X, lean = rng.normal(size=(n + n_states, d)), rng.normal(size=(d + 1, k))
    T = rng.dirichlet(np.ones(k), len(X))
    if world.confounded:
        means = np.exp(0.5 * np.column_stack([X, np.tanh(X[:, 0] ** 2 - 1)]) @ lean)
        gammas = rng.gamma(k * means / means.sum(axis=1, keepdims=True) + 0.05) + 1e-12
        T = gammas / gammas.sum(axis=1, keepdims=True)
    if runs is not None:
        T[:n], X[:n] = runs
    returns = lambda X: mean + varying(X)  # noqa: E731
    level = 0.5 + (0.03 * X[:, 0] + 0.02 * np.sin(2 * X[:, -1]) + 0.015 * X[:, 0] ** 2 if d else 0)
    noise = world.noise * (np.exp(0.5 * X[:, 0]) if world.uneven else 1) * rng.normal(size=len(X))
    y = level + (returns(X) * log_treatment(T, EPS)).sum(axis=1) + noise
    history = _history(T[:n], X[:n], y[:n], [f"domain{j}" for j in range(k)], range(d))
    return Known(history, returns, X[n:], T[n:])
