"""Whether two groups of trials order the methods alike: two sizes, two models, or both at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, spearmanr

from causalmix.trials import name_of, verdict


def groups_of(table: pd.DataFrame) -> list[dict]:
    """The groups of trials that are compared among themselves, in order: values of pool, model and size."""
    keys = ["pool", "model", "n_samples"]
    return [dict(zip(keys, row)) for row in table[keys].drop_duplicates().itertuples(index=False)]


def rank_agreement(
    table: pd.DataFrame, one: dict, other: dict, outcome: str = "y_dev", draws: int = 2000, seed: int = 0
) -> dict[str, float]:
    """How far two groups of trials order the methods alike.

    Parameters
    ----------
    table : DataFrame
        From :func:`trial_table`.
    one, other : dict
        Values of ``pool, model, n_samples`` that pick each group.
    outcome : str
    draws, seed : int
        Of a bootstrap over the seeds of each method.

    Returns
    -------
    dict
        ``methods, spearman, spearman_low, spearman_high, kendall``; the interval holds the middle
        95% of the bootstrap, in which seeds are drawn anew within each method and group.  NaN where
        fewer than 3 methods are in both groups, the interval also where a method has one seed alone.
    """
    groups = []
    for choice in (one, other):
        mask = np.logical_and.reduce([table[name] == value for name, value in choice.items()])
        groups.append({m: part[outcome].to_numpy() for m, part in table[mask].groupby("method", sort=False)})
    methods = [m for m in groups[0] if m in groups[1]]
    if len(methods) < 3:
        return {"methods": len(methods)} | dict.fromkeys(
            ("spearman", "spearman_low", "spearman_high", "kendall"), np.nan
        )
    means = [np.array([g[m].mean() for m in methods]) for g in groups]
    rng, drawn = np.random.default_rng([seed, 70]), []
    for _ in range(draws):
        again = [[rng.choice(g[m], len(g[m])).mean() for m in methods] for g in groups]
        drawn.append(spearmanr(*again)[0])
    single = any(len(values) < 2 for group in groups for values in group.values())
    low, high = (np.nan, np.nan) if single else np.nanquantile(drawn, [0.025, 0.975])
    return {
        "methods": len(methods),
        "spearman": float(spearmanr(*means)[0]),
        "spearman_low": float(low),
        "spearman_high": float(high),
        "kendall": float(kendalltau(*means)[0]),
    }


def agreement_table(table: pd.DataFrame, groups: Sequence[dict], outcome: str = "y_dev") -> pd.DataFrame:
    """Rank agreement of the first group with each other one, and of two models at one size."""
    pairs = [(groups[0], other) for other in groups[1:]]
    same_size = [(a, b) for a in groups for b in groups if a["model"] < b["model"] and a["n_samples"] == b["n_samples"]]
    pairs += [pair for pair in same_size if pair not in pairs]
    rows = [{"one": name_of(a), "other": name_of(b)} | rank_agreement(table, a, b, outcome) for a, b in pairs]
    columns = ["one", "other", "methods", "spearman", "spearman_low", "spearman_high", "kendall"]
    return pd.DataFrame(rows, columns=columns)


def agreement_sentence(table: pd.DataFrame) -> str:
    """Whether the order of methods carries over, pair by pair of :func:`agreement_table`, by the intervals."""
    words = {"above zero": "much the same order", "below zero": "an order that is turned around"}
    told = []
    for row in table.dropna(subset=["spearman"]).itertuples():
        said = words.get(verdict(row.spearman_low, row.spearman_high), "no order that can be told from chance")
        told.append(f"{row.one} and {row.other}: {said} (Spearman {row.spearman:+.2f})")
    return "; ".join(told) + "." if told else "Too few methods were tried in two groups to compare their order."
