"""How fast returns are fitted and mixtures searched, beside anchors: each line is a ratio of medians in one run.

python benchmarks/bench_policy.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from econml.dml import CausalForestDML
from lightgbm import LGBMRegressor
from sklearn.multioutput import MultiOutputRegressor

from causalmix.core.simplex import log_treatment, sample_dirichlet
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import EPS
from causalmix.effects.simulate import simulate_history
from causalmix.methods.cautious import AT_ONCE, KAPPA, cautious
from causalmix.methods.limits import limits

CANDIDATES, DOMAINS, ROUNDS = 100_000, 5, 5


def seconds(score: Callable[[], object]) -> float:
    """CPU seconds that one call takes, which other work on the machine hardly changes."""
    start = time.process_time()
    score()
    return time.process_time() - start


def medians(*ways: Callable[[], object]) -> list[float]:
    """Median seconds of each; they alternate, so that a drifting machine treats them alike."""
    rounds = [[seconds(way) for way in ways] for _ in range(ROUNDS)]
    return [statistics.median(times) for times in zip(*rounds)]


def fits() -> None:
    """The Bayesian stage of 512 runs beside EconML's own causal forest, with 500 trees and LightGBM's nuisances."""
    history = simulate_history(n=512, seed=0).history
    y, Z = history.y(), log_treatment(history.T, EPS)
    learner = LGBMRegressor(n_estimators=100, verbose=-1, n_jobs=1)
    made = {"model_y": learner, "model_t": MultiOutputRegressor(learner), "n_estimators": 500, "n_jobs": 1}
    forest = lambda: CausalForestDML(**made, random_state=0).fit(y, Z, X=history.X)  # noqa: E731
    bayesian = lambda: fit_effects(history, stage="bayesian")  # noqa: E731
    ours, theirs = medians(bayesian, forest)
    print(f"bayesian stage     {ours * 1e3:8.1f} ms\nEconML's forest    {theirs * 1e3:8.1f} ms")
    print(f"forest / bayesian = {theirs / ours:.2f}")


def products() -> None:
    """The score of CausalMix-S, in one matrix product and one by one."""
    theta = np.random.default_rng(0).normal(size=DOMAINS)
    candidates = sample_dirichlet(CANDIDATES, 1.0, DOMAINS, 0)
    product = lambda: log_treatment(candidates, EPS) @ theta  # noqa: E731
    loop = lambda: [theta @ np.log(row + EPS) for row in candidates]  # noqa: E731
    assert np.allclose(product(), loop())
    fast, slow = medians(product, loop)
    print(f"one matrix product {fast * 1e3:8.1f} ms\nloop               {slow * 1e3:8.1f} ms")
    print(f"loop / product = {slow / fast:.0f}")


def searches() -> None:
    """The solver of the cautious policy beside the lower bounds of 100,000 random mixtures by the same estimate."""
    effects = fit_effects(simulate_history(n=512, seed=0).history, stage="bayesian")
    x, equal = effects.history.X.mean(axis=0, keepdims=True), np.full((1, DOMAINS), 1 / DOMAINS)
    candidates = sample_dirichlet(CANDIDATES, 1.0, DOMAINS, 0)

    def bound(W: np.ndarray) -> np.ndarray:
        gain, sd = effects.moments(x, equal, W)
        return gain - KAPPA * sd

    scored = lambda: max(bound(candidates[i : i + AT_ONCE]).max() for i in range(0, CANDIDATES, AT_ONCE))  # noqa: E731
    solved = lambda: bound(cautious(effects, x[0], limits(equal[0])).best[None])[0]  # noqa: E731
    assert solved() >= scored()
    fast, slow = medians(solved, scored)
    print(f"solver             {fast * 1e3:8.1f} ms, bound {solved():.6f}")
    print(f"candidates scored  {slow * 1e3:8.1f} ms, bound {scored():.6f}")
    print(f"candidates / solver = {slow / fast:.1f}")


def main() -> None:
    """Print all ratios of medians."""
    fits()
    products()
    searches()


if __name__ == "__main__":
    main()
