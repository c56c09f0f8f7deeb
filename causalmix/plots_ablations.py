"""Figures of ablations."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from causalmix.plots import COLOURS, _rows


def dots(table: pd.DataFrame, by: str, measure: str, label: str, ax: Axes) -> Axes:
    """Mean over splits and its standard deviation, one row for each variant, the best on top.

    Parameters
    ----------
    table : DataFrame
        The column ``by``, ``split`` and the measure.
    by, measure : str
    label : str
        Of the measure's axis.
    ax : Axes
    """
    found = table.groupby(by, sort=False)[measure].agg(["mean", "std"]).sort_values("mean", ascending=False)
    places = _rows(list(found.index), ax)
    ax.hlines(places, found["mean"] - found["std"], found["mean"] + found["std"], color=COLOURS[0], linewidth=1.6)
    ax.plot(found["mean"], places, "o", color=COLOURS[0], markersize=4)
    ax.set_xlabel(label)
    return ax
