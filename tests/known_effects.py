"""Effects that a test makes up: what a mixture gains, and how well that is known, need no fit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causalmix.core.history import check_history
from causalmix.effects.interface import Effects

NO_STATE = np.empty(0)


@dataclass(frozen=True)
class Known(Effects):
    """A posterior that a test makes up: any response to shares, and any error of a move."""

    response: Callable | None = None  # mixtures (n, K) to outcomes (n,)
    error: Callable | None = None  # of moves from (1, K) to (n, K), standard deviations (n,)

    def posterior(self, X):
        raise AssertionError("the policy looked at returns, which not every response has")

    nuisances = posterior

    def moments(self, X, T_from, T_to):
        T_from, T_to = np.atleast_2d(T_from), np.atleast_2d(T_to)
        assert (T_to >= 0).all() and np.allclose(T_to.sum(axis=1), 1), "asked about what is no mixture"
        return self.response(T_to) - self.response(T_from), self.error(T_from, T_to)


def runs(k, n=200, seed=0, **columns):
    """A history of random mixtures of k domains; what its outcomes are does not matter."""
    rng = np.random.default_rng(seed)
    T = pd.DataFrame(rng.dirichlet(np.ones(k), n), columns=[f"w_d{i}" for i in range(k)])
    ids = pd.DataFrame({"run_id": [f"r{i}" for i in range(n)]})
    return check_history(pd.concat([ids, T], axis=1).assign(y_dev=rng.normal(size=n)).assign(**columns))


def known(response, error=lambda a, b: np.zeros(len(b)), k=3, **columns):
    return Known(runs(k, **columns), response=response, error=error)


def logs(theta, eps=0.01):
    return lambda T: np.log(T + eps) @ np.asarray(theta)


def spread(covariance, eps=0.01):
    """Errors of a move in the log treatment."""

    def of(a, b):
        step = np.log(b + eps) - np.log(a + eps)
        return np.sqrt(np.einsum("nk,kl,nl->n", step, covariance, step))

    return of


def away(per_share):
    """Errors that grow with the distance moved."""
    return lambda a, b: per_share * np.abs(b - a).sum(axis=1)


EVEN = np.full(3, 1 / 3)


THETA = np.array([0.05, 0.03, 0.0, -0.02, -0.01])


EVEN5 = np.full(5, 0.2)
