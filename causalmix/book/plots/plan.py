"""Figures of what a study costs."""

from __future__ import annotations

import seaborn as sns
from matplotlib.axes import Axes

from causalmix.book.plots.style import looks
from causalmix.study.plan.cost import Plan


def cost(found: Plan, ax: Axes) -> Axes:
    """A bar for each part of a plan, the costliest on top: hours where the hardware is known, else operations."""
    unit = found.hardware.unit if found.hardware else "GPU"
    column, label = ("hours", f"{unit}-hours") if found.hardware else ("flops", "floating-point operations")
    known = found.parts[found.parts[column] > 0].sort_values(column, ascending=False)
    look = looks(list(found.parts["role"].unique()))["palette"]
    sns.barplot(known, x=column, y="part", hue="role", palette=look, ax=ax)
    ax.set(xscale="log", xlabel=f"{label}, less is better; a step is ten times as much", ylabel="")
    ax.legend(loc="lower right")
    return ax
