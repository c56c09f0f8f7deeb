"""Figures of effects and mixtures; each takes data and an axis and returns the axis."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from causalmix.book.plots.style import colour, dots, hatch, legend_above, level, name_rows  # fmt: skip
from causalmix.core.direction import drawn
from causalmix.effects.estimator import effects_table
from causalmix.effects.interface import Effects
from causalmix.methods.policy import Proposal

MOST_NAMED = 12  # domains that a leaf lists


def returns(effects: Effects, states: Mapping[str, np.ndarray], ax: Axes, lower: bool = False) -> Axes:
    """Returns of every domain, with 95% intervals, in states given as covariates by name.

    ``lower`` says that the outcome was turned around, for lower values of it are better.
    """
    dots(effects_table(effects, states), ax, "domain", ("theta", "ci_low", "ci_high"), "state")
    if len(states) > 1:
        legend_above(ax, len(states), 1 if len(states) > 3 else len(states))
    ax.set_xlabel(f"return ({drawn(effects.outcome, lower)} per unit of log share; right is better)")
    level(ax, 0)
    return ax


def splits(scores: pd.DataFrame, by: str, measure: str, label: str, ax: Axes) -> Axes:
    """A measure of held-out runs: a dot a split and a bar at their mean, a row for each ``by``, the best on top."""
    means = scores.groupby(by)[measure].mean().sort_values(ascending=False)
    rows = dict(zip(means.index, name_rows(list(means.index), ax)))
    # Dots of one row apart, in the order of the splits, so that equal values stay visible.
    at = scores[by].map(rows) + 0.4 * (scores["split"].rank(method="dense", pct=True) - 0.5)
    sns.scatterplot(x=scores[measure], y=at, s=18, alpha=0.6, ax=ax)
    ax.vlines(means, means.index.map(rows) - 0.34, means.index.map(rows) + 0.34, color="black", linewidth=2)
    ax.set(xlabel=textwrap.fill(label, 45), ylabel="")
    return ax


def tree(splits: Mapping | str, leaves: pd.DataFrame, ax: Axes) -> Axes:
    """A CATE tree (``tree_splits``, ``tree_leaves``): questions with their answers, runs and mean returns at leaves."""
    rows, place = leaves.set_index("state"), iter(range(len(leaves)))
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.6"}

    def draw(node: Mapping | str, depth: int) -> float:
        if isinstance(node, str):
            x, row = float(next(place)), rows.loc[node]
            told = [f"{int(row['runs'])} runs", *_largest(row.drop("runs"))]
            ax.text(x, -depth, "\n".join(told), ha="center", va="top", bbox=box)
            return x
        below = {answer: draw(node[answer], depth + 1) for answer in ("yes", "no")}
        x = float(np.mean(list(below.values())))
        for answer, to in below.items():
            ax.plot([x, to], [-depth, -depth - 1], color="0.6", zorder=0)
            ax.text((x + to) / 2, -depth - 0.5, answer, ha="center", va="center", backgroundcolor="white")
        ax.text(x, -depth, node["question"], ha="center", va="center", bbox=box)
        return x

    draw(splits, 0)
    ax.set_xlim(-0.6, len(leaves) - 0.4)
    ax.set_ylim(min(text.get_position()[1] for text in ax.texts) - 1.1, 0.3)
    ax.axis("off")
    return ax


def _largest(row: pd.Series) -> list[str]:
    """Returns of the domains in their order, a line each; of many only the largest in size."""
    kept = row.abs().nlargest(MOST_NAMED).index
    more = [f"({len(row) - len(kept)} smaller ones)"] * (len(row) > len(kept))
    return [f"{c.removeprefix('theta_')} {value:+.3f}" for c, value in row.items() if c in kept] + more


def mixtures(proposals: Mapping[str, Proposal], domains: Sequence[str], ax: Axes) -> Axes:
    """Mixtures as stacked bars, shares in percent."""
    weights = np.array([proposal.weights for proposal in proposals.values()])
    places, left = name_rows(list(proposals), ax), np.zeros(len(weights))
    for k, domain in enumerate(domains):
        look = {"color": colour(k), "hatch": hatch(k), "edgecolor": "white"}
        ax.barh(places, weights[:, k], left=left, height=0.86, label=domain, **look)
        for place, start, share in zip(places, left, weights[:, k]):
            if share >= 0.05:  # below, the number would not fit
                ink = "white" if colour(k) in ("#332288", "#117733", "#882255") else "black"
                ax.text(start + share / 2, place, f"{100 * share:.0f}", ha="center", va="center", color=ink, size=8)
        left = left + weights[:, k]
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of the training sample (numbers in percent)")
    legend_above(ax, len(domains), 5)
    return ax
