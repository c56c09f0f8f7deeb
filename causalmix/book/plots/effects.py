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
