"""The figure of claims: what is reported and what was found here, claim by claim."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalmix.book.plots.style import COLOURS, name_rows

#: A panel's label by the units that it holds.
UNITS = {("points",): "difference, points of accuracy", ("points per doubling",): "points per doubling of a share",
         ("spearman", "r_score"): "difference in Spearman's correlation or R-score"}  # fmt: skip
VERDICTS = {"holds": (COLOURS[2], "o"), "does not hold": (COLOURS[1], "s"), "cannot tell": ("0.5", "D")}


def claims(table: pd.DataFrame) -> Figure:
    """Reported and own differences of :func:`causalmix.study.claims.paper_claims`; colour and mark are the verdict.

    A panel for each unit; what was not tried is left out.
    """
    tried = table[table["ours"].notna()]
    panels = [(part, label) for units, label in UNITS.items() if len(part := tried[tried["unit"].isin(units)])]
    heights = [len(part) + 1 for part, _ in panels] or [1]
    fig, axes = plt.subplots(len(heights), 1, figsize=(7, 0.4 * sum(heights)), height_ratios=heights, squeeze=False)
    for ax, (part, label) in zip(axes[:, 0], panels):
        _claims(part, ax, label)
    if panels:
        axes[0, 0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4)
    return fig


def _claims(table: pd.DataFrame, ax: Axes, label: str) -> None:
    places = name_rows([textwrap.fill(claim, 52) for claim in table["claim"]], ax)
    ax.plot(table["reported"], places, "x", color="black", markersize=5, label="reported")
    for word, (colour, mark) in VERDICTS.items():
        told = (table["verdict"] == word).to_numpy()
        ax.hlines(places[told], table["ci_low"][told], table["ci_high"][told], color=colour, linewidth=1.6)
        ax.plot(table["ours"][told], places[told], mark, color=colour, markersize=4, label=word)
    ax.set_xlabel(label)
    ax.axvline(0, color="0.6", linewidth=0.8, zorder=0)
