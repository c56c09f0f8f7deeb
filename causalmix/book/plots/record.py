"""Figures of pool, states, record of runs and cost; each takes data and an axis and returns the axis."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from causalmix.book.plots import style
from causalmix.core.direction import says_lower, way
from causalmix.data.scores import SCORES
from causalmix.study.plan.cost import Plan
from causalmix.train.spec import RunSpec


def label(score: str) -> str:
    """What a score is called on an axis, with its unit."""
    return SCORES[score].label if score in SCORES else score


def score_distributions(table: pd.DataFrame, score: str, ax: Axes) -> Axes:
    """One score's distribution in each domain of a scored pool (``domain`` and a column for each score)."""
    style.spread(table, ax, x=score, y="domain").set_xlabel(label(score).replace(" (", "\n("))
    return ax


def covariate_against_tilt(tilt: np.ndarray, covariate: np.ndarray, score: str, ax: Axes) -> Axes:
    """A covariate over states against its own component of the tilt, both shape (n_states,)."""
    sns.scatterplot(x=tilt, y=covariate, s=12, alpha=0.6, ax=ax)
    ax.set(xlabel=f"tilt on\n{score}", title=label(score).replace(" (", "\n("))
    ax.locator_params(nbins=3)
    return ax


def mixture_spread(specs: Sequence[RunSpec], ax: Axes) -> Axes:
    """Shares of each domain over the runs of a design."""
    style.spread(pd.DataFrame([s.weights for s in specs], columns=specs[0].domains), ax)
    ax.set(xlim=(0, 1), xlabel="share of the training sample")
    return ax


def training_losses(records: Sequence[dict], ax: Axes) -> Axes:
    """Mean training loss of finished runs."""
    losses = [r["training"]["loss"] for r in records if r["status"] == "finished"]
    sns.histplot(x=losses, bins=min(40, max(5, len(losses) // 8)), ax=ax)
    ax.set(xlabel="mean training loss (nats per scored token; lower fits better)", ylabel="runs")
    return ax


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


def seed_spread(panel: pd.DataFrame, outcome: str, ax: Axes, base: float | None = None) -> Axes:
    """An outcome of runs of the noise panel (``spec`` numbers specifications), a column for each, by their means."""
    order = panel.groupby("spec")[outcome].mean().rank(method="first")
    ax.plot(panel["spec"].map(order), panel[outcome], "o", markersize=3.5, alpha=0.7)
    if base is not None:
        style.base_level(ax, base, along="y")
        ax.legend()
    ax.set(xlabel="specification, by its mean", ylabel=f"{outcome} ({way(says_lower(panel, outcome))})")
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
