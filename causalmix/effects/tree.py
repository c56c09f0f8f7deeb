"""A small tree over the states, which says where returns differ."""

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeRegressor

from causalmix.effects.interface import Effects

DEEPEST, LEAST = 2, 0.1  # questions one after the other; share of all runs in a leaf


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
