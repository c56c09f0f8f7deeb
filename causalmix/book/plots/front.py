"""The two figures of page one: what the trials found, and what fine-tuning does to the base model."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from causalmix.book.plots import style
from causalmix.book.words import CLEAR
from causalmix.study.trials import DIFFERENCE


def headline(table: pd.DataFrame) -> Figure:
    """Differences to equal shares with 95% intervals, a row for each ``setting`` and a mark for each ``method``."""
    settings, methods = list(table["setting"].unique()), list(table["method"].unique())
    fig, ax = plt.subplots(figsize=(5.2, 0.4 * len(settings) + 0.9))
    points = table.assign(**{name: 100 * table[name] for name in DIFFERENCE})
    style.dots(points, ax, "setting", DIFFERENCE, "method", style.looks(methods, methods=True), settings)
    style.level(ax, 0)
    ax.set_xlabel("difference to equal shares, points of accuracy (right is better)")
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
