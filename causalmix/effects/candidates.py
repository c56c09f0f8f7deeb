"""Runs that could be made: mixtures of every kind within floors and caps, and states of a box."""

from itertools import combinations, product

import numpy as np

from causalmix.core.simplex import nearest

RUNS = 3000  # of which a design chooses
MIXTURES = 1000  # that they have, about
DENSE, SPARSE = 1.0, 0.2  # concentrations of the random mixtures
MOST_CORNERS = 64  # of the box of states


def runs(
    floor: np.ndarray, cap: np.ndarray, low: np.ndarray, high: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mixtures within floors and caps, shape (m, K), each with a state of the box, shape (m, d)."""
    T = mixtures(floor, cap, MIXTURES, seed)
    return T[np.arange(RUNS) % len(T)], states(low, high, RUNS, seed)


def mixtures(floor: np.ndarray, cap: np.ndarray, n: int = 1000, seed: int = 0) -> np.ndarray:
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


def states(low: np.ndarray, high: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """So many states of a box, shape (n, d): half of them its corners, the others anywhere within."""
    d, rng = len(low), np.random.default_rng([seed, 43])
    corners = np.array(list(product((0, 1), repeat=d))) if 2**d <= MOST_CORNERS else rng.integers(0, 2, (n, d))
    at = rng.uniform(size=(n, d))
    some = rng.permutation(n)[: n // 2]
    at[some] = corners[rng.integers(0, len(corners), len(some))]
    return low + at * (high - low)
