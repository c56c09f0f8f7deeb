"""Functions of the state that a level or a return is a sum of: lines, forms, bumps, steps, corners and curves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, combinations_with_replacement

import numpy as np

KINDS = ("constant", "line", "quadratic", "smooth", "step", "corner", "curve")
MOST_BUMPS, MOST_STEPS, COARSE = 5, 19, 3  # of each covariate; steps of each of the two that a corner is made of
GRID, LENGTH, LEAST = 20, 1.0, 0.05  # of a curve: points, spreads of the covariate, spread of a column that counts
SAME = 1e-8  # spread below which a column is the same in all runs


@dataclass(frozen=True)
class Block:
    """Columns of one kind."""

    kind: str
    columns: Callable[[np.ndarray], np.ndarray]  # from standardised states, shape (n, d), to shape (n, q)
    together: bool = False  # whether its columns have one scale


@dataclass(frozen=True)
class StateBasis:
    """Columns for any states; made by :func:`state_basis`."""

    mean: np.ndarray
    spread: np.ndarray
    blocks: tuple[Block, ...]

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Columns for the states X, shape (n, q)."""
        A = (X - self.mean) / self.spread
        return np.hstack([block.columns(A) for block in self.blocks])

    def labels(self) -> tuple[list[str], np.ndarray]:
        """Kind and group of each column; those of a group have one scale."""
        one = np.zeros((1, len(self.mean)))
        sizes = [block.columns(one).shape[1] for block in self.blocks]
        kinds = [block.kind for block, size in zip(self.blocks, sizes) for _ in range(size)]
        new = np.concatenate([np.arange(q) == 0 if b.together else np.ones(q) for b, q in zip(self.blocks, sizes)])
        return kinds, np.cumsum(new).astype(int) - 1


def state_basis(X: np.ndarray, kinds: Sequence[str], room: int) -> StateBasis:
    """Columns of some kinds for the states of the runs, at most so many where lines alone are not more already."""
    d, mean, spread = X.shape[1], X.mean(axis=0), X.std(axis=0)
    A, blocks = (X - mean) / spread, [Block("constant", lambda A: np.ones((len(A), 1)))]
    if d and "line" in kinds:
        blocks.append(Block("line", lambda A: A))
    left = room - 1 - d
    pairs = [p for p in combinations_with_replacement(range(d), 2) if _quadratic(A, [p]).std() > SAME]
    if "quadratic" in kinds and pairs and len(pairs) <= left:
        blocks.append(Block("quadratic", partial(_quadratic, pairs=pairs)))
        left -= len(pairs)
    each = left // d if d else 0  # covariates share what is left alike
    bumps = min(MOST_BUMPS, each // 3) if "smooth" in kinds else 0
    smooth = [_bumps(A[:, j], j, bumps) for j in range(d) if bumps > 0]
    blocks += [Block("smooth", bump, together=True) for bump in smooth if bump(A[:1]).shape[1]]
    steps = min(MOST_STEPS, each - bumps) if "step" in kinds else 0
    if steps > 0:
        blocks.append(Block("step", partial(_steps, cuts=[_cuts(a, steps) for a in A.T])))
    if "corner" in kinds and d * (bumps + steps) + d * (d - 1) // 2 * COARSE**2 <= left and d > 1:
        blocks.append(Block("corner", partial(_corners, cuts=[_cuts(a, COARSE) for a in A.T])))
    curves = [_curve(A[:, j], j) for j in range(d)] if "curve" in kinds else []
    if 1 + sum(curve(A[:1]).shape[1] for curve in curves) <= room:  # they are never beside the others in one model
        blocks += [Block("curve", curve, together=True) for curve in curves]
    return StateBasis(mean, spread, tuple(blocks))


def _quadratic(A: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    return np.column_stack([A[:, i] * A[:, j] if i != j else (A[:, i] ** 2 - 1) / np.sqrt(2) for i, j in pairs])


def _cuts(a: np.ndarray, count: int) -> np.ndarray:
    """Midpoints between neighbouring values at up to so many quantiles."""
    values = np.unique(a)
    at = np.unique(np.searchsorted(values, np.quantile(a, np.arange(1, count + 1) / (count + 1))))
    at = at[(at > 0) & (at < len(values))]
    return (values[at - 1] + values[at]) / 2


def _steps(A: np.ndarray, cuts: Sequence[np.ndarray]) -> np.ndarray:
    return np.hstack([np.where(a[:, None] > c, 1.0, -1.0) for a, c in zip(A.T, cuts)])


def _corners(A: np.ndarray, cuts: Sequence[np.ndarray]) -> np.ndarray:
    """Products of two covariates' steps."""
    steps = [_steps(A[:, [j]], [c]) for j, c in enumerate(cuts)]
    both = [(a[:, :, None] * b[:, None, :]).reshape(len(A), -1) for a, b in combinations(steps, 2)]
    return np.hstack(both)


def _curve(a: np.ndarray, j: int) -> Callable[[np.ndarray], np.ndarray]:
    """Columns whose sum under one scale is a Gaussian process of one covariate, constant beyond the runs."""
    grid = np.linspace(a.min(), a.max(), GRID)
    near = lambda v: np.exp(-0.5 * ((v[:, None] - grid) / LENGTH) ** 2)  # noqa: E731
    size, directions = np.linalg.eigh(near(grid))
    root = directions / np.sqrt(np.maximum(size, SAME))
    root = root[:, (near(a) @ root).std(axis=0) > LEAST]
    return lambda A: near(np.clip(A[:, j], grid[0], grid[-1])) @ root


def _bumps(a: np.ndarray, j: int, count: int) -> Callable[[np.ndarray], np.ndarray]:
    """Gaussian bumps of one covariate less what 1, x and x^2 explain of them, constant beyond the runs."""
    knots = np.unique(np.quantile(a, (np.arange(count + 3) + 0.5) / (count + 3)))
    width, low, high = 1.2 * np.ptp(knots) / max(len(knots) - 1, 1) + SAME, a.min(), a.max()
    raw = lambda v: np.exp(-0.5 * ((v[:, None] - knots) / width) ** 2)  # noqa: E731
    powers = lambda v: np.column_stack([np.ones(len(v)), v, v**2])  # noqa: E731
    explained = np.linalg.lstsq(powers(a), raw(a), rcond=None)[0]
    _, size, directions = np.linalg.svd(raw(a) - powers(a) @ explained, full_matrices=False)
    strong = np.flatnonzero(size > 1e-3 * np.sqrt(len(a)))[:count]
    combine = directions[strong].T * np.sqrt(len(a)) / max(size[0], SAME)

    def columns(A: np.ndarray) -> np.ndarray:
        v = np.clip(A[:, j], low, high)
        return (raw(v) - powers(v) @ explained) @ combine

    return columns
