"""Figures of outcomes and cost; each takes data and an axis and returns the axis."""

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from causalmix.book.plots import style
from causalmix.study.plan.cost import Plan


def outcome_spread(history: pd.DataFrame, ax: Axes, base: Mapping[str, float] = {}) -> Axes:
    """Accuracy over runs for every outcome of a history, Dev and Unseen of an axis side by side; losses without any.

    A cross is what the base model has before it is trained, where ``base`` tells it by outcome.
    """
    losses = [c for c in history if c.startswith("y_loss")]
    accuracies = history.drop(columns=losses)
    measured = [c for c in accuracies if c.startswith("y_") and c != "y_dev"]
    history = accuracies if measured or not losses else history
    axes = [c.removeprefix("y_") for c in history if c.startswith("y_") and not c.endswith("unseen") and c != "y_dev"]
    pairs = [("dev", "unseen"), *((a, f"{a}_unseen") for a in axes)]
    names = [name for pair in pairs for name in pair if f"y_{name}" in history]
    style.spread(pd.DataFrame({n.replace("_", ", "): history[f"y_{n}"] for n in names}), ax)
    level = {n.replace("_", ", "): base[f"y_{n}"] for n in names if f"y_{n}" in base}
    if level:
        look = {"color": "black", "marker": "X", "s": 45, "zorder": 3}
        sns.scatterplot(x=level.values(), y=level.keys(), label="base", ax=ax, **look)
    ax.figure.set_figheight(0.3 * len(names) + 0.8)
    of_losses = "loss on held-out rows (nats per scored token; lower is better)"
    ax.set_xlabel("accuracy (higher is better)" if history is accuracies else of_losses)
    return ax


def cost(found: Plan, ax: Axes) -> Axes:
    """A bar for each part of a plan, the costliest on top: hours where the hardware is known, else operations."""
    unit = found.hardware.unit if found.hardware else "GPU"
    column, label = ("hours", f"{unit}-hours") if found.hardware else ("flops", "floating-point operations")
    known = found.parts[found.parts[column] > 0].sort_values(column, ascending=False)
    look = style.looks(list(found.parts["role"].unique()))["palette"]
    sns.barplot(known, x=column, y="part", hue="role", palette=look, ax=ax)
    ax.set(xscale="log", xlabel=f"{label}, less is better; a step is ten times as much", ylabel="")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")  # matplotlib's own is mathematics, which is not read
    ax.legend(loc="lower right")
    return ax
