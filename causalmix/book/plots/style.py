"""The look of all figures, and what several of them draw."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc_params_from_file
from matplotlib.axes import Axes

from causalmix.core.paths import ASSETS
from causalmix.core.yaml_file import read_yaml

#: Colours that remain distinct for colour-blind readers (Paul Tol's muted scheme).
COLOURS = ("#332288", "#cc6677", "#117733", "#ddaa33", "#88ccee", "#aa4499", "#44aa99", "#999933", "#882255")
MARKS = "os^DvPX*"
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "oo", "++", "**")  # of the domains beyond the colours
GREY = "#777777"
LEGEND_ROW = 0.19  # inches
FAR = 3  # times as far from the data as these are apart: a line there would press them flat

#: Colour and mark of each method and stage in every figure.
LOOKS = {name: tuple(look) for name, look in read_yaml(ASSETS / "looks.yaml", "colours and marks by method").items()}


def use() -> None:
    """Set the look of all figures, in a font that ships with matplotlib."""
    ours = rc_params_from_file(ASSETS / "figures.mplstyle", use_default_template=False)
    sns.set_theme("paper", "ticks", COLOURS, "DejaVu Sans", rc=ours)


def colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def mark(place: int) -> str:
    return MARKS[place % len(MARKS)]


def hatch(place: int) -> str:
    return HATCHES[place // len(COLOURS) % len(HATCHES)]


def of_method(name: str) -> tuple[str, str]:
    """Colour and mark of a method, the same in every figure, also of one that nobody foresaw."""
    place = zlib.crc32(name.encode())
    return LOOKS.get(name.removesuffix(" stage")) or (colour(place), mark(place // len(COLOURS)))


def looks(names: Sequence[str], methods: bool = False) -> dict[str, dict[str, str]]:
    """What seaborn takes as ``palette`` and ``markers``: by name for methods, by place for all else."""
    found = [of_method(name) if methods else (colour(i), mark(i)) for i, name in enumerate(names)]
    return {"palette": {n: c for n, (c, _) in zip(names, found)}, "markers": {n: m for n, (_, m) in zip(names, found)}}


def dots(
    table: pd.DataFrame, ax: Axes, row: str, columns: Sequence[str], by: str, look: Mapping | None = None,
    rows: Sequence[str] = (), apart: float = 0.22,
) -> Axes:  # fmt: skip
    """A dot and its interval for each line of a table, in rows named by the column ``row``, from top to bottom.

    ``columns`` are value, lower and upper end.  Groups of the column ``by`` have a look each, and lie ``apart``.
    """
    value, low, high = columns
    groups, rows = list(dict.fromkeys(table[by])), list(rows or dict.fromkeys(table[row]))
    look = look or looks(groups)
    aside = (np.arange(len(groups)) - (len(groups) - 1) / 2) * min(apart, 0.8 / max(len(groups), 1))
    at = table[row].map(dict(zip(rows, name_rows(rows, ax)))) - table[by].map(dict(zip(groups, aside)))
    ax.hlines(at, table[low], table[high], colors=table[by].map(look["palette"]), linewidth=1.6)
    sns.scatterplot(x=table[value], y=at, hue=table[by], style=table[by], s=28, zorder=3, ax=ax, **look)
    if legend := ax.get_legend():
        legend.remove()  # its entries stay, for one that is asked for
    ax.set_ylabel("")
    return ax


def spread(frame: pd.DataFrame, ax: Axes, **how: object) -> Axes:
    """Distributions below each other with their quartiles: of each column, or as ``how`` tells seaborn."""
    sns.violinplot(
        frame, orient="h", cut=0, inner="quart", density_norm="width", color="#88ccee", linewidth=1, ax=ax, **how
    )
    ax.set_ylabel("")
    return ax


def legend_above(ax: Axes, n: int, most: int) -> None:
    """A legend of n entries above an axis, in as many columns as fit; the figure grows by its rows beyond one."""
    for columns in range(min(n, most), 0, -1):
        legend = ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=columns)
        if legend.get_window_extent().width <= ax.figure.bbox.width:
            break
    ax.figure.set_figheight(ax.figure.get_figheight() + LEGEND_ROW * (-(-n // columns) - 1))


def name_rows(names: Sequence[str], ax: Axes) -> np.ndarray:
    """Name the rows of an axis from top to bottom and return their places."""
    places = np.arange(len(names))[::-1]
    ax.set_yticks(places, names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    return places


def level(ax: Axes, value: float, name: str = "", line: str = "-") -> None:
    """A line at a level to compare with: nought, or what a model can do before it is trained."""
    ax.axvline(value, color=GREY, linewidth=1, linestyle=line, zorder=0, label=name or None)


def base_level(ax: Axes, value: float, name: str = "base", line: str = ":", along: str = "x") -> None:
    """What a model can do before it is trained: a line, or, far from all that is drawn, its number in the legend."""
    low, high = ax.dataLim.intervalx if along == "x" else ax.dataLim.intervaly
    if max(low - value, value - high) > FAR * (high - low):
        ax.plot([], [], " ", label=f"{name}: {value:.3g}, off the axis")
    elif along == "x":
        level(ax, value, name, line)
    else:
        ax.axhline(value, color=GREY, linewidth=1, linestyle=line, zorder=0, label=name)
