"""Does the causal model predict runs that it has never seen, and how can theta(x) be read?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from econml.cate_interpreter import SingleTreeCateInterpreter
from scipy.stats import spearmanr

from causalmix.effects import Effects, fit_effects
from causalmix.errors import InputError
from causalmix.intervals import middle_interval, told_apart
from causalmix.simplex import log_treatment
from causalmix.tables import MIN_ROWS, History

PREDICTORS = ("theta(x)", "constant theta", "state alone")
ALIKE = 1e-4  # two ways to the same prediction differ in the last digits: below, neither is ahead


def split_history(history: History, n_test: int, seed: int) -> tuple[History, History]:
    """Runs to fit and runs held out, at random.

    Raises
    ------
    InputError
        When too few runs would be left to fit.
    """
    n = len(history.frame)
    if n - n_test < MIN_ROWS // 2:
        raise InputError(
            f"Expected at least {MIN_ROWS // 2} runs besides the {n_test} held out, found {n - n_test}; lower n_test."
        )
    order = np.random.default_rng([seed, 40]).permutation(n)
    parts = (np.sort(order[n_test:]), np.sort(order[:n_test]))
    return tuple(replace(history, frame=history.frame.iloc[rows].reset_index(drop=True)) for rows in parts)


def predictions(effects: Effects, held_out: History) -> dict[str, np.ndarray]:
    """Three predictions of each held-out run, shape (n,): with theta(x), with one theta for all, from the state alone.

    All three share the level m0(x) and differ in what the mixture adds.
    """
    level, usual = effects.nuisances(held_out.X)
    treatment = log_treatment(held_out.T, effects.eps) - usual
    return {
        "theta(x)": level + np.einsum("nk,nk->n", effects.theta(held_out.X), treatment),
        "constant theta": level + treatment @ effects.constant,
        "state alone": level,
    }


def held_out_check(
    history: History, outcome: str = "y_dev", n_test: int = 64, n_splits: int = 5, seed: int = 0, **settings
) -> pd.DataFrame:
    """Fit on part of the runs, predict the rest, over several splits.

    Parameters
    ----------
    history : History
    outcome : str
    n_test : int
        Runs held out in each split (64 as reported for the choice of covariates, secondary source);
        at most a quarter of all.
    n_splits : int
        Random splits; their spread gives the error bars.
    seed : int
    **settings
        Of :func:`causalmix.effects.fit_effects`.

    Returns
    -------
    DataFrame
        ``split, predictor, spearman, r2``.
    """
    rows, n_test = [], min(n_test, len(history) // 4)
    for split in range(n_splits):
        fitted, held_out = split_history(history, n_test, seed + split)
        effects = fit_effects(fitted, outcome, seed=seed + split, **settings)
        observed = held_out.y(outcome)
        for name, predicted in predictions(effects, held_out).items():
            r2 = 1 - np.mean((observed - predicted) ** 2) / observed.var()
            # One prediction for all runs orders nothing: without covariates the level is such a one.
            rho = spearmanr(predicted, observed)[0] if np.ptp(predicted) > 0 else np.nan
            rows.append({"split": split, "predictor": name, "spearman": rho, "r2": r2})
    return pd.DataFrame(rows)


def check_summary(check: pd.DataFrame) -> pd.DataFrame:
    """Mean over splits and standard deviation between splits, and the paired difference of theta(x) to each rival.

    Splits share runs, so the deviation describes how much the choice of split matters; it is no
    standard error.  Differences below 0.0001 count for neither.
    """
    wide = check.pivot(index="split", columns="predictor", values=["spearman", "r2"])
    rows = []
    for name in PREDICTORS:
        row: dict[str, object] = {"predictor": name}
        for measure in ("spearman", "r2"):
            values = wide[measure][name]
            row |= {measure: values.mean(), f"{measure}_sd": values.std()}
            row[f"theta(x)_ahead_in_{measure}"] = (
                f"{int((_ahead(check, measure, name) > 0).sum())} of {len(values)}" if name != "theta(x)" else "–"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _ahead(check: pd.DataFrame, measure: str, rival: str) -> pd.Series:
    """How far theta(x) is ahead of a rival in every split."""
    wide = check.pivot(index="split", columns="predictor", values=measure)
    ahead = wide["theta(x)"] - wide[rival]
    return ahead.where(ahead.abs() > ALIKE, 0.0)


def check_sentence(check: pd.DataFrame) -> str:
    """What the held-out check says of the state, in size (R²) and in order (Spearman).

    Better or worse is where the middle 95% of the differences over splits, in brackets, lies on one side of zero.
    """
    told = []
    for measure, name in (("r2", "R²"), ("spearman", "Spearman's correlation")):
        ahead = _ahead(check, measure, "constant theta")
        wins, n = int((ahead > 0).sum()), len(ahead)
        mean, low, high = middle_interval(ahead.to_numpy())
        verdict = {1: "better", -1: "worse", 0: "neither better nor worse"}[told_apart(ahead)]
        told.append(f"**{verdict}** by {name} ({mean:+.3f} [{low:+.3f}, {high:+.3f}], higher in {wins} of {n} splits)")
    return (
        f"Returns that depend on the state predict held-out runs {told[0]} than returns that do not, and {told[1]}; "
        "in brackets the middle 95% of the differences over splits."
    )


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


def history_sentence(history: History, outcome: str) -> str:
    """What a history holds, in one sentence."""
    y = history.y(outcome)
    known = ", ".join(history.covariates) or "none"
    return (
        f"The history holds {len(history)} runs over {len(history.domains)} domains ({', '.join(history.domains)}); "
        f"covariates: {known}. "
        f"The outcome `{outcome}` has mean {y.mean():.3f} and standard deviation {y.std():.3f}."
    )


def typical_states(history: History) -> dict[str, np.ndarray]:
    """States to look at: all covariates at their means, and the last one at its 10th and 90th percentile."""
    mean = history.X.mean(axis=0)
    states = {"mean state": mean}
    if history.covariates:
        for percent in (10, 90):
            x = mean.copy()
            x[-1] = np.quantile(history.X[:, -1], percent / 100)
            states[f"{history.covariates[-1]} at its {percent}th percentile"] = x
    return states


def effects_table(effects: Effects, states: dict[str, np.ndarray]) -> pd.DataFrame:
    """Returns in some states: one row per state and domain with its 95% interval and the one return for all states."""
    rows = []
    for name, x in states.items():
        theta = effects.theta(np.atleast_2d(x))[0]
        low, high = (v[0] for v in effects.interval(np.atleast_2d(x)))
        for k, domain in enumerate(effects.history.domains):
            row = {"state": name, "domain": domain, "theta": theta[k], "ci_low": low[k], "ci_high": high[k]}
            rows.append(row | {"theta_constant": effects.constant[k]})
    return pd.DataFrame(rows)


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
