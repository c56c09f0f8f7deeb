"""Figures of ablations."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from causalmix.book.plots import style
from causalmix.core.intervals import mean_interval
from causalmix.methods.variants import DESIGNED


def learning_curve(table: pd.DataFrame, outcome: str, ax: Axes, base: float | None = None) -> Axes:
    """Outcome of each method's mixture against the number of runs behind it: mean and 95% interval over seeds.

    A method from designed runs is dashed, in the colour that it has from random ones; ``table`` has
    ``method, n_runs, seed, <outcome>``.  ``base`` is the outcome of the model before training, drawn as a line.
    """
    methods = list(dict.fromkeys(table["method"]))
    looks = [style.of_method(method.removesuffix(DESIGNED)) for method in methods]
    sns.pointplot(
        table.assign(points=100 * table[outcome]), x="n_runs", y="points", hue="method", hue_order=methods, dodge=0.3,
        palette=[colour for colour, _ in looks], markers=[mark for _, mark in looks], markersize=5, linewidth=1.2,
        linestyles=["--" if method.endswith(DESIGNED) else "-" for method in methods],
        errorbar=lambda values: mean_interval(values)[1:], ax=ax,
    )  # fmt: skip
    ax.set(xlabel="recorded runs that the mixture was made from", ylabel="points of accuracy (higher is better)")
    if base is not None:
        ax.axhline(100 * base, color=style.GREY, linewidth=1, linestyle=":", label="base")
    style.legend_aside(ax)
    return ax
