"""Search over 100,000 mixtures: one matrix product against a loop over the same candidates.

``python benchmarks/bench_policy.py`` prints the seconds of both ways of scoring, and the ratio;
it also checks that they find the same mixture.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from causalmix.simplex import log_treatment, sample_dirichlet

EPS = 0.01


def main() -> None:
    """Time both ways in turns and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--domains", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    theta = np.random.default_rng(0).normal(0.02, 0.02, options.domains)
    candidates = sample_dirichlet(options.candidates, 1.0, options.domains, seed=0)
    ways = {"matrix product": by_product, "loop": by_loop}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, score in ways.items():
            seconds[way].append(timed(score, candidates, theta))
    assert np.allclose(by_product(candidates, theta), by_loop(candidates, theta))
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    for way, median in medians.items():
        print(f"{way:15s} {median:8.4f} s for {options.candidates} candidates")
    print(f"loop / matrix product = {medians['loop'] / medians['matrix product']:.1f}")


def timed(score: Callable, candidates: np.ndarray, theta: np.ndarray) -> float:
    """CPU seconds of one way of scoring."""
    start = time.process_time()
    score(candidates, theta)
    return time.process_time() - start


def by_product(candidates: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """All scores at once, as in the package."""
    return log_treatment(candidates, EPS) @ theta


def by_loop(candidates: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """One candidate after the other."""
    return np.array([log_treatment(candidate, EPS) @ theta for candidate in candidates])


if __name__ == "__main__":
    main()
