"""The Gaussian-process stage: returns that bend and jump, intervals that cover, and exact algebra."""

import numpy as np
import pandas as pd
import pytest

from causalmix.core.history import check_history
from causalmix.effects import gaussian_process
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import Problem

WORLDS = {
    "constant": lambda X: np.zeros(len(X)),
    "steps": lambda X: 0.02 * np.sign(X[:, 0] - 0.3),
    "quadratic": lambda X: 0.012 * (X[:, 0] ** 2 - 1),
    "interaction": lambda X: 0.02 * X[:, 0] * X[:, -1],
}


def world(kind, seed, n=256, k=4, d=2):
    """A history whose first return follows the state as named and whose second goes against it; states, truth."""
    rng = np.random.default_rng([seed, 5])
    X, T = rng.normal(size=(n + 100, d)), rng.dirichlet(np.ones(k), n + 100)
    theta = np.tile(np.linspace(0.02, -0.01, k), (n + 100, 1))
    theta[:, 0] += WORLDS[kind](X)
    theta[:, 1] -= WORLDS[kind](X)
    y = 0.4 + 0.03 * np.tanh(X[:, 0]) + (np.log(T + 0.01) * theta).sum(axis=1) + rng.normal(0, 0.015, n + 100)
    columns = {f"w_{j}": T[:n, j] for j in range(k)} | {f"x_{j}": X[:n, j] for j in range(d)}
    frame = pd.DataFrame({"run_id": [f"r{i}" for i in range(n)], "y_dev": y[:n]} | columns)
    return check_history(frame), X[n:], theta[n:]


@pytest.mark.parametrize("kind", WORLDS)
def test_intervals_cover_in_every_kind_of_world(kind):
    """Pointwise, over states and domains, for seeds that played no part in choosing the prior."""
    covered = []
    for seed in range(40, 44):
        history, states, truth = world(kind, seed)
        low, high = fit_effects(history, stage="gaussian_process").interval(states)
        covered.append(((low <= truth) & (truth <= high)).mean())
    assert np.mean(covered) > 0.88, covered


@pytest.mark.parametrize("kind", ["steps", "quadratic", "interaction"])
def test_what_is_not_linear_is_found(kind):
    """Its error is less than half of the linear stage's."""
    history, states, truth = world(kind, 50)
    errors = [np.sqrt(((fit_effects(history, stage=stage, n_repeats=1).theta(states) - truth) ** 2).mean())
              for stage in ("gaussian_process", "linear")]  # fmt: skip
    assert errors[0] < 0.5 * errors[1], errors


def test_the_posterior_is_that_of_the_joint_normal():
    """Mean and covariance of theta given y, against the textbook's formula on explicit matrices."""
    history, states, _ = world("steps", 3, n=40)
    fitted = gaussian_process.fit(Problem(history))
    A, S = fitted._states(history.X), fitted._states(states[:1])
    z, spread = fitted._treatment(), fitted.scales
    L = np.tril(fitted.factor[0])
    K = L @ L.T
    parts, own = gaussian_process._kernels(S, A), gaussian_process._variances_at(S)
    cross = np.array([sum(v * parts[name][0] for name, v in returns.items()) * z[:, j]
                      for j, returns in enumerate(fitted.returns)])  # fmt: skip
    prior = np.diag([sum(v * own[name][0] for name, v in returns.items()) for returns in fitted.returns])
    y = (history.y() - spread[3]) / spread[4]
    unit = spread[4] / spread[2]
    found = fitted.posterior(states[:1])
    assert found.mean[0, 0] == pytest.approx(unit * cross @ np.linalg.solve(K, y), rel=1e-6)
    covariance = unit**2 * (prior - cross @ np.linalg.solve(K, cross.T))
    assert found.covariance[0, 0] == pytest.approx(covariance, rel=1e-6, abs=1e-12)


def test_the_gradient_is_that_of_the_objective(monkeypatch):
    """What the optimiser is told agrees with finite differences."""
    seen = {}

    def check(objective, start, **_):
        value, slope = objective(start)
        step = 1e-3
        for j in range(0, len(start), 7):
            moved = [objective(start + sign * step * np.eye(len(start))[j])[0] for sign in (1, -1)]
            seen[j] = ((moved[0] - moved[1]) / (2 * step), slope[j])
        raise StopIteration

    monkeypatch.setattr(gaussian_process, "minimize", check)
    with pytest.raises(StopIteration):
        gaussian_process.fit(Problem(world("steps", 1, n=60)[0]))
    for numeric, told in seen.values():
        assert told == pytest.approx(numeric, rel=2e-2, abs=2e-2)


def test_without_covariates_and_with_many_domains():
    """Returns are then constant; beyond twelve domains they share their variances, and all are still told apart."""
    history, *_ = world("constant", 2)
    bare = check_history(history.frame.drop(columns=["x_0", "x_1"]))
    fitted = fit_effects(bare, stage="gaussian_process")
    assert fitted.theta(np.zeros((2, 0)))[0] == pytest.approx(fitted.theta(np.zeros((2, 0)))[1])
    many, states, truth = world("quadratic", 2, n=400, k=16)
    theta = fit_effects(many, stage="gaussian_process").theta(states)
    assert theta.shape == (100, 16) and np.corrcoef(theta.ravel(), truth.ravel())[0, 1] > 0.8


def test_the_same_runs_give_the_same_returns(monkeypatch):
    """Bit for bit; where only some runs learn the variances, the seed draws them."""
    history, states, _ = world("steps", 6, n=120)
    once, again = (fit_effects(history, stage="gaussian_process", seed=3).theta(states) for _ in range(2))
    assert np.array_equal(once, again)
    monkeypatch.setattr(gaussian_process, "MOST_RUNS", 60)
    few, other = (fit_effects(history, stage="gaussian_process", seed=seed).theta(states) for seed in (3, 4))
    assert not np.array_equal(few, other) and np.corrcoef(few.ravel(), once.ravel())[0, 1] > 0.6
