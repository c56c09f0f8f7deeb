"""The look of all figures, and what several of them draw."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes

#: Colours that remain distinct for colour-blind readers (Paul Tol's muted scheme).
COLOURS = ("#332288", "#cc6677", "#117733", "#ddaa33", "#88ccee", "#aa4499", "#44aa99", "#999933", "#882255")
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "oo", "++", "**")  # of the domains beyond the colours
LEGEND_ROW = 0.17  # inches


def use() -> None:
    """Set the look of all figures: a font that ships with matplotlib, no frame above and to the right."""
    matplotlib.rcParams.update(
        {
            "figure.figsize": (6.5, 3.5),
            "figure.dpi": 120,
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
            "legend.frameon": False,
            "text.parse_math": False,  # a dollar in the name of a domain or covariate is a dollar
        }
    )


def colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def hatch(place: int) -> str:
    return HATCHES[place // len(COLOURS) % len(HATCHES)]


def legend_above(ax: Axes, n: int, most: int) -> None:
    """A legend of n entries above an axis, in as many columns as fit; the figure grows by its rows beyond one."""
    for columns in range(min(n, most), 0, -1):
        legend = ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=columns, fontsize=8)
        if legend.get_window_extent().width <= ax.figure.bbox.width:
            break
    grow(ax, LEGEND_ROW * (-(-n // columns) - 1))


def grow(ax: Axes, inches: float) -> None:
    """Make an axis's figure higher."""
    ax.figure.set_figheight(ax.figure.get_figheight() + inches)


def name_rows(names: Sequence[str], ax: Axes) -> np.ndarray:
    """Name the rows of an axis from top to bottom and return their places."""
    places = np.arange(len(names))[::-1]
    ax.set_yticks(places, names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    return places


def nought(ax: Axes) -> None:
    """A line where a return or a gain is nought."""
    ax.axvline(0, color="0.6", linewidth=0.8, zorder=0)
