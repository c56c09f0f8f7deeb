"""Returns in regions of the states: where the paper's tree of effects says that domains help and hurt."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import norm

from causalmix.effects.interface import Effects, normal_quantile
from causalmix.effects.tree import cate_tree, leaf_of, tree_leaves

THIRDS = (1 / 3, 2 / 3)  # of the runs: what low, middle and high are here, for what they are in the paper is unknown


def third(values: np.ndarray, which: str) -> np.ndarray:
    """Which runs lie in the low, the middle or the high third of a covariate, shape (n,)."""
    low, high = np.quantile(values, THIRDS)
    return {"low": values <= low, "middle": (values > low) & (values < high), "high": values >= high}[which]


def members(effects: Effects, where: Mapping[str, str]) -> np.ndarray:
    """Which runs lie in the named third of each covariate, shape (n,)."""
    X, names = effects.history.X, effects.history.covariates
    return np.logical_and.reduce([third(X[:, names.index(name)], which) for name, which in where.items()])


def region_returns(effects: Effects, regions: Mapping[str, Mapping[str, str]], seed: int = 0) -> pd.DataFrame:
    """The returns at the mean state of every leaf of the tree, and of every region whose covariates are known.

    ``region, runs, domain, theta, ci_low, ci_high, p``: outcome per unit of log share, with a 95% interval and the
    two-sided p-value that belongs to it.  ``regions`` say by name in which third of which covariates they lie; one
    that no run is in has no row.
    """
    tree = cate_tree(effects, seed=seed)
    told, leaf = tree_leaves(effects, tree)["state"], leaf_of(effects, tree)
    found = {f"leaf: {name}": leaf == place for name, place in zip(told, np.unique(leaf))}
    known = {n: where for n, where in regions.items() if set(where) <= set(effects.history.covariates)}
    found |= {name: members(effects, where) for name, where in known.items()}
    rows = []
    for name, inside in found.items():
        if not inside.any():
            continue
        state = effects.history.X[inside].mean(axis=0)
        theta, (low, high) = effects.theta(state)[0], effects.interval(state)
        error = (high[0] - low[0]) / 2 / normal_quantile(0.95)
        p = 2 * norm.sf(np.abs(theta) / error)
        for k, domain in enumerate(effects.history.domains):
            rows.append((name, int(inside.sum()), domain, theta[k], low[0, k], high[0, k], p[k]))
    return pd.DataFrame(rows, columns=["region", "runs", "domain", "theta", "ci_low", "ci_high", "p"])
