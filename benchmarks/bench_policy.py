"""How much faster 100,000 candidates are scored in one matrix product than one by one.

python benchmarks/bench_policy.py
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from causalmix.core.simplex import log_treatment, sample_dirichlet
from causalmix.effects.interface import EPS

CANDIDATES, DOMAINS, ROUNDS = 100_000, 5, 5


def seconds(score) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    score()
    return time.perf_counter() - start


def main() -> None:
    """Alternate the two, so that a drifting machine treats them alike, and print the ratio of medians."""
    theta = np.random.default_rng(0).normal(size=DOMAINS)
    candidates = sample_dirichlet(CANDIDATES, 1.0, DOMAINS, 0)
    product = lambda: log_treatment(candidates, EPS) @ theta  # noqa: E731
    loop = lambda: [theta @ np.log(row + EPS) for row in candidates]  # noqa: E731
    assert np.allclose(product(), loop())
    pairs = [(seconds(product), seconds(loop)) for _ in range(ROUNDS)]
    fast, slow = (statistics.median(times) for times in zip(*pairs))
    print(
        f"one matrix product {fast * 1e3:8.1f} ms\nloop               {slow * 1e3:8.1f} ms\nloop / product = "
        f"{slow / fast:.0f}"
    )


if __name__ == "__main__":
    main()
