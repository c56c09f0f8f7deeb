"""Figures of trials: methods against each other, and where on the simplex they land."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalmix.book.plots.style import COLOURS, name_rows, nought
from causalmix.study.trials import GROUP, MEAN, in_group, name_of


def means(compared: pd.DataFrame, ax: Axes, columns: tuple[str, str, str] = MEAN) -> Axes:
    """A dot and its 95% interval for each method of a :func:`causalmix.study.trials.compare`, a colour for each group.

    ``columns`` are centre and ends; :data:`causalmix.study.trials.DIFFERENCE` draws differences.
    """
    centre, low, high = columns
    table = compared.dropna(subset=[centre])
    methods = list(dict.fromkeys(compared["method"]))  # the reference too, so that panels share their rows
    places = dict(zip(methods, name_rows(methods, ax)))
    groups = list(table.groupby(GROUP, sort=False))
    offsets = (np.arange(len(groups)) - (len(groups) - 1) / 2) * min(0.2, 0.8 / len(groups))
    for ((pool, model, n_samples), part), offset, colour in zip(groups, offsets, COLOURS):
        label = f"{model}, {n_samples:,} rows" + ("" if pool == "whole" else f", {pool}")
        at = part["method"].map(places) - offset
        ax.hlines(at, 100 * part[low], 100 * part[high], color=colour, linewidth=1.5)
        ax.plot(100 * part[centre], at, "o", color=colour, markersize=3.5, label=label)
    if len(groups) > 1:
        ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2, fontsize=8)
    ax.set_xlabel("points of accuracy" if centre == "mean" else "difference to Equal, points of accuracy")
    if centre != "mean":
        nought(ax)
    return ax


def rank_scatter(table: pd.DataFrame, outcome: str, one: dict, other: dict, ax: Axes) -> Axes:
    """Mean outcome of each method in one group of trials (across) and in another (up), one dot a method.

    Groups are values of ``pool, model, n_samples`` in a :func:`causalmix.study.trials.trial_table`.
    """
    sides = []
    for choice in (one, other):
        sides.append(in_group(table, choice).groupby("method", sort=False)[outcome].agg(["mean", "sem"]) * 100)
    both = sides[0].join(sides[1], lsuffix="_one", rsuffix="_other", how="inner")
    ax.errorbar(both["mean_one"], both["mean_other"], xerr=both["sem_one"], yerr=both["sem_other"],
                fmt="o", color=COLOURS[0], markersize=4, linewidth=1)  # fmt: skip
    for name, row in both.iterrows():
        ax.annotate(name, (row["mean_one"], row["mean_other"]), xytext=(4, 3), textcoords="offset points", fontsize=7)
    ax.set_xlabel(f"{name_of(one)}; points")
    ax.set_ylabel(f"{name_of(other)}; points")
    return ax


def ternary(mixtures: pd.DataFrame, corners: Sequence[Sequence[str]], ax: Axes, runs: np.ndarray | None = None) -> Axes:
    """Mixtures (``method, w_<domain>…``) in a triangle whose three corners are groups of domains.

    ``runs``, the history's mixtures, shape (n, K), are drawn as a cloud.
    """
    names = [c.removeprefix("w_") for c in mixtures if c.startswith("w_")]
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    gather = np.array([[name in corner for name in names] for corner in corners], float)
    place = lambda weights: (np.asarray(weights, float) @ gather.T) @ points  # noqa: E731
    ax.plot(*points[[0, 1, 2, 0]].T, color="0.5", linewidth=1)
    if runs is not None:
        ax.plot(*place(runs).T, ".", color="0.8", markersize=2.5, zorder=0)
    for i, (_, row) in enumerate(mixtures.iterrows()):
        x, y = place(row[[f"w_{n}" for n in names]].to_numpy(float)[None])[0]
        ax.plot(
            x, y, "os^Dv"[i // len(COLOURS) % 5], color=COLOURS[i % len(COLOURS)], markersize=6, label=row["method"]
        )
    for corner, (x, y), align in zip(corners, points, ("right", "left", "center")):
        ax.text(x, y + (0.03 if y else -0.05), " + ".join(corner), ha=align, va="bottom" if y else "top", fontsize=8)
    ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
    ax.set_aspect("equal")
    ax.set_xlim(-0.25, 1.25)
    ax.axis("off")
    return ax


def claims(table: pd.DataFrame) -> Figure:
    """Reported and own differences of :func:`causalmix.study.claims.paper_claims`; a dot's colour is the verdict.

    Claims in points of accuracy stand above those in measures of prediction.
    """
    points = table["unit"] == "points"
    heights = [max(int(points.sum()), 1), max(int((~points).sum()), 1)]
    fig, axes = plt.subplots(2, 1, figsize=(9, 0.42 * len(table)), height_ratios=heights)
    _claims(table[points], axes[0], "difference, points of accuracy")
    _claims(table[~points], axes[1], "difference in Spearman's correlation or R-score")
    axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=8)
    return fig


def _claims(table: pd.DataFrame, ax: Axes, label: str) -> None:
    places = name_rows([textwrap.fill(claim, 56) for claim in table["claim"]], ax)
    ax.tick_params(axis="y", labelsize=7)
    ax.plot(table["reported"], places, "x", color="black", markersize=5, label="reported")
    for word, colour in {"holds": COLOURS[2], "does not hold": COLOURS[1], "cannot tell": "0.5"}.items():
        told = (table["verdict"] == word).to_numpy()
        mine, at = table[told], places[told]
        ax.hlines(at, mine["ci_low"], mine["ci_high"], color=colour, linewidth=1.6)
        ax.plot(mine["ours"], at, "o", color=colour, markersize=4, label=word)
    ax.set_xlabel(label)
    nought(ax)
