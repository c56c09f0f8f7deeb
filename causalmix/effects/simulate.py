"""A simulated history whose returns are known, to test estimators against the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causalmix.core.history import History, check_history
from causalmix.core.simplex import log_treatment

DOMAINS = ("coding", "instruction", "math", "knowledge", "safety")
COVARIATES = ("hes", "normalized_loss", "writing_style")


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
    about = {"run_id": [f"run{i:05d}" for i in range(n)], "seed": range(n), "n_samples": 1000, "model": "simulated"}
    weights, state = zip((f"w_{name}" for name in domains), T.T), zip((f"x_{name}" for name in covariates), X.T)
    y = level + returns + noise * rng.normal(size=n)
    frame = pd.DataFrame(about | dict(weights) | dict(state) | {"y_dev": y})
    return Simulation(check_history(frame, "the simulated history"), intercept, slopes)
