"""Figures of ablations."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from causalmix.book.plots.style import COLOURS, name_rows
from causalmix.core.intervals import mean_interval
from causalmix.methods.variants import DESIGNED


def dots(table: pd.DataFrame, by: str, measure: str, label: str, ax: Axes) -> Axes:
    """Mean over splits and its standard deviation, one row for each variant (column ``by``), the best on top."""
    found = table.groupby(by, sort=False)[measure].agg(["mean", "std"]).sort_values("mean", ascending=False)
    places = name_rows(list(found.index), ax)
    ax.hlines(places, found["mean"] - found["std"], found["mean"] + found["std"], color=COLOURS[0], linewidth=1.6)
    ax.plot(found["mean"], places, "o", color=COLOURS[0], markersize=4)
    ax.set_xlabel(label)
    return ax


def learning_curve(table: pd.DataFrame, outcome: str, ax: Axes, base: float | None = None) -> Axes:
    """Outcome of each method's mixture against the number of runs behind it: mean and 95% interval over seeds.

    A method from designed runs is dashed, in the colour that it has from random ones; ``table`` has
    ``method, n_runs, seed, <outcome>``.  ``base`` is the outcome of the model before training, drawn as a line.
    """
    if base is not None:
        ax.axhline(100 * base, color="0.35", linewidth=1, linestyle=":", label="base")
    counts, groups = sorted(table["n_runs"].unique()), table.groupby("method", sort=False)
    plain = list(dict.fromkeys(method.removesuffix(DESIGNED) for method in table["method"]))
    for i, (method, part) in enumerate(groups):
        told = part.groupby("n_runs")[outcome].apply(lambda values: mean_interval(values.to_numpy()))
        mean, low, high = (100 * np.array(told.tolist())).T
        at = np.searchsorted(counts, told.index) + (i - (len(groups) - 1) / 2) * min(0.06, 0.6 / len(groups))
        ax.errorbar(at, mean, yerr=(mean - low, high - mean), marker="o", markersize=4, linewidth=1.2,
                    linestyle="--" if method.endswith(DESIGNED) else "-", label=method,
                    color=COLOURS[plain.index(method.removesuffix(DESIGNED)) % len(COLOURS)])  # fmt: skip
    ax.set_xticks(range(len(counts)), counts)
    ax.set_xlabel("recorded runs that the mixture was made from")
    ax.set_ylabel("points of accuracy")
    ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
    return ax
