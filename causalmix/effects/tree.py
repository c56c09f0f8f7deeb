"""A small tree over the states, which says where returns differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
from econml.cate_interpreter import SingleTreeCateInterpreter

from causalmix.effects.estimator import Effects


def cate_tree(
    effects: Effects, max_depth: int = 2, min_share: float = 0.1, seed: int = 0
) -> SingleTreeCateInterpreter | None:
    """A shallow tree that sums up how returns vary with the state (EconML's interpreter); None without covariates.

    Parameters
    ----------
    effects : Effects
        Its first repeat is interpreted.
    max_depth : int
    min_share : float
        Fewest runs in a leaf, as a share of all.
    seed : int
    """
    if not effects.varying:
        return None
    states = effects.history.X[:, list(effects.varying)]
    leaf = max(2, int(min_share * len(states)))
    tree = SingleTreeCateInterpreter(max_depth=max_depth, min_samples_leaf=leaf, random_state=seed)
    return tree.interpret(effects.fits[0], states)


def tree_leaves(effects: Effects, tree: SingleTreeCateInterpreter | None) -> pd.DataFrame:
    """Each leaf in words: its conditions, its runs and the mean return of every domain there."""
    theta = effects.theta(effects.history.X)
    columns = [f"theta_{d}" for d in effects.history.domains]
    if tree is None:
        return pd.DataFrame([{"state": "all", "runs": len(theta)} | dict(zip(columns, theta.mean(axis=0)))])
    names = [effects.history.covariates[j] for j in effects.varying]
    inner = tree.tree_model_.tree_
    leaf_of = tree.tree_model_.apply(effects.history.X[:, list(effects.varying)].astype(np.float32))
    rows = []
    for leaf, conditions in _paths(inner, names):
        members = leaf_of == leaf
        rows.append(
            {"state": " and ".join(conditions) or "all", "runs": int(members.sum())}
            | dict(zip(columns, theta[members].mean(axis=0)))
        )
    return pd.DataFrame(rows)


def tree_splits(effects: Effects, tree: SingleTreeCateInterpreter | None) -> dict | str:
    """A tree as nested dictionaries ``question, yes, no``; a leaf is the text that :func:`tree_leaves` has for it."""
    if tree is None:
        return "all"
    names = [effects.history.covariates[j] for j in effects.varying]
    inner, leaves = tree.tree_model_.tree_, iter(tree_leaves(effects, tree)["state"])

    def nested(node: int) -> dict | str:
        left, right = inner.children_left[node], inner.children_right[node]
        if left == right:
            return next(leaves)
        question = f"{names[inner.feature[node]]} ≤ {inner.threshold[node]:.3g}"
        return {"question": question, "yes": nested(left), "no": nested(right)}

    return nested(0)


def _paths(
    tree, names: list[str], node: int = 0, conditions: tuple[str, ...] = ()
) -> list[tuple[int, tuple[str, ...]]]:
    """Leaves of a tree with the conditions that lead there, left to right."""
    left, right = tree.children_left[node], tree.children_right[node]
    if left == right:
        return [(node, conditions)]
    name, cut = names[tree.feature[node]], f"{tree.threshold[node]:.3g}"
    below, above = (*conditions, f"{name} ≤ {cut}"), (*conditions, f"{name} > {cut}")
    return _paths(tree, names, left, below) + _paths(tree, names, right, above)


def tree_sentence(leaves: pd.DataFrame) -> str:
    """Which domains help or hurt in every leaf of a tree, and which change sign, in plain words."""
    signs = np.sign(leaves[[c for c in leaves if c.startswith("theta_")]])
    groups = {
        "helping in every group of states": [],
        "hurting in every group": [],
        "helping in some and hurting in others": [],
    }
    for column in signs:
        name = column.removeprefix("theta_")
        kind = 0 if (signs[column] > 0).all() else 1 if (signs[column] < 0).all() else 2
        list(groups.values())[kind].append(name)
    told = [f"{what}: {', '.join(names)}" for what, names in groups.items() if names]
    return "By point estimates, " + "; ".join(told) + "."
