"""Where returns differ: a small tree over the states, and regions where the paper's tree says that domains help."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.tree import DecisionTreeRegressor

from causalmix.effects.estimator import effects_table
from causalmix.effects.interface import Effects, normal_quantile

DEEPEST, LEAST = 2, 0.1  # questions one after the other; share of all runs in a leaf
THIRDS = (1 / 3, 2 / 3)  # of the runs: what low, middle and high are here, for what they are in the paper is unknown


def cate_tree(effects: Effects, seed: int = 0) -> DecisionTreeRegressor | None:
    """EconML's ``SingleTreeCateInterpreter`` tree of the first repeat's returns by state; None without covariates."""
    if not effects.varying:
        return None
    least = max(2, int(LEAST * len(effects.history)))
    tree = DecisionTreeRegressor(max_depth=DEEPEST, min_samples_leaf=least, random_state=seed)
    return tree.fit(effects.history.X[:, list(effects.varying)], effects.repeats(effects.history.X)[0])


def leaf_of(effects: Effects, tree: DecisionTreeRegressor | None) -> np.ndarray:
    """Number of the leaf that each run is in, shape (n,)."""
    X = effects.history.X
    return np.zeros(len(X), int) if tree is None else tree.apply(X[:, list(effects.varying)])


def tree_leaves(effects: Effects, tree: DecisionTreeRegressor | None) -> pd.DataFrame:
    """Each leaf in words: its conditions, its runs and the mean return of every domain there."""
    theta = effects.theta(effects.history.X)
    leaves, rows, splits = leaf_of(effects, tree), [], tree_splits(effects, tree)
    for leaf, told in zip(np.unique(leaves), _told(splits)):  # both from left to right
        members = leaves == leaf
        means = {f"theta_{d}": mean for d, mean in zip(effects.history.domains, theta[members].mean(axis=0))}
        rows.append({"state": told, "runs": int(members.sum())} | means)
    return pd.DataFrame(rows)


def tree_splits(effects: Effects, tree: DecisionTreeRegressor | None) -> dict | str:
    """A tree as nested dictionaries ``question, yes, no``; a leaf is the text that :func:`tree_leaves` has for it."""
    names = [effects.history.covariates[j] for j in effects.varying]

    def nested(node: int, known: tuple[str, ...]) -> dict | str:
        left, right = tree.tree_.children_left[node], tree.tree_.children_right[node]
        if left == right:
            return " and ".join(known) or "all"
        name, cut = names[tree.tree_.feature[node]], f"{tree.tree_.threshold[node]:.3g}"
        below, above = (nested(child, (*known, f"{name} {sign} {cut}")) for child, sign in ((left, "≤"), (right, ">")))
        return {"question": f"{name} ≤ {cut}", "yes": below, "no": above}

    return "all" if tree is None else nested(0, ())


def _told(splits: dict | str) -> list[str]:
    """The leaves of a tree, left to right."""
    return [splits] if isinstance(splits, str) else [*_told(splits["yes"]), *_told(splits["no"])]


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
    states = {name: effects.history.X[inside].mean(axis=0) for name, inside in found.items() if inside.any()}
    table = effects_table(effects, states).drop(columns="theta_constant").rename(columns={"state": "region"})
    table.insert(1, "runs", [found[name].sum() for name in table["region"]])
    error = (table["ci_high"] - table["ci_low"]) / 2 / normal_quantile(0.95)
    return table.assign(p=2 * norm.sf(table["theta"].abs() / error))
