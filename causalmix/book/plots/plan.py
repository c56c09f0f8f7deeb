"""Figures of what a study costs."""

from __future__ import annotations

from matplotlib.axes import Axes

from causalmix.book.plots.style import COLOURS, name_rows
from causalmix.study.plan.cost import Plan


def cost(found: Plan, ax: Axes) -> Axes:
    """A bar for each part of a plan, the costliest on top: hours where the hardware is known, else operations."""
    unit = found.hardware.unit if found.hardware else "GPU"
    column, label = ("hours", f"{unit}-hours") if found.hardware else ("flops", "floating-point operations")
    known = found.parts[found.parts[column] > 0].sort_values(column, ascending=False)
    places = name_rows(list(known["part"]), ax)
    ax.tick_params(axis="y", labelsize=7)
    for role, hue in zip(found.parts["role"].unique(), COLOURS):
        mine = (known["role"] == role).to_numpy()
        ax.barh(places[mine], known[column][mine], height=0.7, color=hue, label=role)
    ax.set_xscale("log")
    ax.set_xlabel(label)
    ax.legend(loc="lower right", fontsize=8)
    return ax
