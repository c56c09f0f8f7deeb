"""Figures of trials: methods against each other, and where on the simplex they land."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from causalmix.book.plots.style import COLOURS, name_rows, nought
from causalmix.study.trials import GROUP, MEAN, in_group, name_of

BASE_LINES = {"proxy": ":", "target": "--"}  # of a model's level before it was trained


def means(
    compared: pd.DataFrame, ax: Axes, columns: tuple[str, str, str] = MEAN, base: Mapping[str, float] | None = None
) -> Axes:
    """A dot and its 95% interval for each method of a :func:`causalmix.study.trials.compare`, a colour for each group.

    ``columns`` are centre and ends; :data:`causalmix.study.trials.DIFFERENCE` draws differences.  ``base`` has the
    level of each model before it was trained, in the unit of the outcome, which is drawn as a line.
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
    for role, level in (base or {}).items():
        if role in set(table["model"]):
            name = "target model" if role == "target" else role
            ax.axvline(
                100 * level, color="0.35", linewidth=1, linestyle=BASE_LINES.get(role, "-."), label=f"base, {name}"
            )
    if len(groups) + len(base or {}) > 1:
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


def shares(mixtures: pd.DataFrame, share: str, ax: Axes) -> Axes:
    """One dot for each method at its share of one domain, a column ``w_<domain>`` of mixtures of two."""
    ordered = mixtures.sort_values(share)
    places = name_rows(list(ordered["method"]), ax)
    ax.hlines(places, 0, ordered[share], color="0.8", linewidth=1)
    ax.plot(ordered[share], places, "o", color=COLOURS[0], markersize=4)
    ax.set_xlim(0, 1)
    ax.set_xlabel(f"share of {share.removeprefix('w_')}")
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
