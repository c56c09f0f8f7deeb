"""The two figures of page one: what the trials found, and what fine-tuning does to the base model."""

import textwrap

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from causalmix.book.plots import style
from causalmix.book.words import CLEAR
from causalmix.study.trials import DIFFERENCE, name_of


def headline(table: pd.DataFrame) -> Figure:
    """Differences to equal shares with 95% intervals, a mark for each ``method``.

    Model and rows stand above the rows of their pools, and none of these names takes much of the width.
    """
    groups, methods = table.groupby(["model", "n_samples"], sort=False), list(table["method"].unique())
    rows = [row for key, group in groups for row in (key, *dict.fromkeys(zip(group["setting"], group["pool"])))]
    fig, ax = plt.subplots(figsize=(4.8, 0.3 * len(rows) + 0.9))
    drawn = table.assign(row=list(zip(table["setting"], table["pool"])), **{n: 100 * table[n] for n in DIFFERENCE})
    style.dots(drawn, ax, "row", DIFFERENCE, "method", style.looks(methods, methods=True), rows, apart=0.24)
    style.level(ax, 0)
    names = [textwrap.fill(pool, 14) if isinstance(pool, str) else "" for _, pool in rows]
    for place, (model, n_samples) in zip(style.name_rows(names, ax), rows):
        if not isinstance(n_samples, str):
            told = name_of({"model": model, "n_samples": n_samples})
            where = {"transform": ax.get_yaxis_transform(), "va": "center", "size": 9}
            ax.text(0.02, place - 0.15, told, weight="bold", bbox={"color": "white", "pad": 0.5}, **where)
    ax.tick_params("y", length=0)
    ax.set_xlabel("over equal shares, points of accuracy (right is better)")
    style.legend_above(ax, len(methods), 3)
    return fig


def world(runs: pd.DataFrame, base: pd.Series, checks: pd.DataFrame) -> Figure:
    """Above the base and the runs on each axis; below the share of wrong rows by domain, and whose they are.

    ``runs`` and ``base`` have an accuracy for each axis; ``checks`` has ``domain, wrong_share, style_auc``.
    """
    fig, (above, below) = plt.subplots(2, 1, figsize=(4.8, 4.3), height_ratios=[1.3, 1])
    places = style.name_rows(list(runs), above)
    low, high = (100 * runs.quantile(q) for q in (0.05, 0.95))
    above.hlines(places, low, high, color=style.colour(0), linewidth=1.5)
    after = "after: median and 90% of runs"
    above.plot(100 * runs.median(), places, "o", color=style.colour(0), markersize=4.5, label=after)
    above.plot(100 * base[list(runs)], places, "|", color="0.3", markersize=13, label="base, before")
    above.set_xlabel("accuracy, points")
    style.legend_above(above, 2, 2)

    places = style.name_rows(list(checks["domain"]), below)
    below.barh(places, 100 * checks["wrong_share"], color=style.colour(1), height=0.55)
    for place, share, auc in zip(places, checks["wrong_share"], checks["style_auc"]):
        below.text(100 * share + 1.5, place, writers(auc), va="center", fontsize=8)
    below.set_xlabel("wrong rows, percent")
    for ax in (above, below):
        ax.set_xlim(0, 100)
    return fig


def writers(auc: float) -> str:
    """Whose rows are wrong, by the chance that a right row outranks a wrong one in Writing_Style."""
    if not abs(auc - 0.5) >= CLEAR:
        return "style does not tell"
    return "sloppy writers" if auc > 0.5 else "polished writers"
