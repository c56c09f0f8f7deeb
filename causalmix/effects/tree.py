"""A small tree over the states, which says where returns differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeRegressor

from causalmix.effects.interface import Effects


def cate_tree(
    effects: Effects, max_depth: int = 2, min_share: float = 0.1, seed: int = 0
) -> DecisionTreeRegressor | None:
    """EconML's ``SingleTreeCateInterpreter`` tree of the first repeat's returns by state; None without covariates.

    ``min_share`` is the fewest runs in a leaf, as a share of all.
    """
    if not effects.varying:
        return None
    leaf = max(2, int(min_share * len(effects.history)))
    tree = DecisionTreeRegressor(max_depth=max_depth, min_samples_leaf=leaf, random_state=seed)
    return tree.fit(_states(effects), effects.repeats(effects.history.X)[0])


def _states(effects: Effects) -> np.ndarray:
    return effects.history.X[:, list(effects.varying)]


def tree_leaves(effects: Effects, tree: DecisionTreeRegressor | None) -> pd.DataFrame:
    """Each leaf in words: its conditions, its runs and the mean return of every domain there."""
    theta = effects.theta(effects.history.X)
    leaf_of = np.zeros(len(theta), int) if tree is None else tree.apply(_states(effects))
    rows = []
    for leaf, conditions in [(0, ())] if tree is None else _paths(tree, _names(effects)):
        members = leaf_of == leaf
        means = {f"theta_{d}": mean for d, mean in zip(effects.history.domains, theta[members].mean(axis=0))}
        rows.append({"state": " and ".join(conditions) or "all", "runs": int(members.sum())} | means)
    return pd.DataFrame(rows)


def tree_splits(effects: Effects, tree: DecisionTreeRegressor | None) -> dict | str:
    """A tree as nested dictionaries ``question, yes, no``; a leaf is the text that :func:`tree_leaves` has for it."""
    if tree is None:
        return "all"
    names, inner, leaves = _names(effects), tree.tree_, iter(tree_leaves(effects, tree)["state"])

    def nested(node: int) -> dict | str:
        left, right = inner.children_left[node], inner.children_right[node]
        if left == right:
            return next(leaves)
        question = f"{names[inner.feature[node]]} ≤ {inner.threshold[node]:.3g}"
        return {"question": question, "yes": nested(left), "no": nested(right)}

    return nested(0)


def _names(effects: Effects) -> list[str]:
    return [effects.history.covariates[j] for j in effects.varying]


def _paths(
    tree: DecisionTreeRegressor, names: list[str], node: int = 0, conditions: tuple[str, ...] = ()
) -> list[tuple[int, tuple[str, ...]]]:
    """Leaves of a tree with the conditions that lead there, left to right."""
    left, right = tree.tree_.children_left[node], tree.tree_.children_right[node]
    if left == right:
        return [(node, conditions)]
    name, cut = names[tree.tree_.feature[node]], f"{tree.tree_.threshold[node]:.3g}"
    below, above = (*conditions, f"{name} ≤ {cut}"), (*conditions, f"{name} > {cut}")
    return _paths(tree, names, left, below) + _paths(tree, names, right, above)
