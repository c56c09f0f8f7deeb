"""Figures of the pool, the states and the record of runs; each takes data and an axis and returns the axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from causalmix.data.scores import SCORES
from causalmix.train.spec import RunSpec


def label(score: str) -> str:
    """What a score is called on an axis, with its unit."""
    return SCORES[score].label if score in SCORES else score


def _horizontal_boxes(values: Sequence[np.ndarray], names: Sequence[str], ax: Axes) -> Axes:
    """Box plots from top to bottom, whiskers from the 5th to the 95th percentile."""
    ax.boxplot(
        list(values)[::-1], orientation="horizontal", tick_labels=list(names)[::-1], whis=(5, 95), showfliers=False,
        medianprops={"color": "black"},
    )  # fmt: skip
    return ax


def score_distributions(table: pd.DataFrame, score: str, ax: Axes) -> Axes:
    """One score's distribution in each domain of a scored pool (``domain`` and a column for each score)."""
    domains = list(table["domain"].unique())
    _horizontal_boxes([table.loc[table["domain"] == d, score].to_numpy() for d in domains], domains, ax)
    ax.set_xlabel(label(score))
    return ax


def covariate_against_tilt(tilt: np.ndarray, covariate: np.ndarray, score: str, ax: Axes) -> Axes:
    """A covariate over states against its own component of the tilt, both shape (n_states,)."""
    ax.scatter(tilt, covariate, s=8, alpha=0.6)
    ax.set_xlabel(f"tilt on {score}")
    ax.set_ylabel(label(score))
    return ax


def mixture_spread(specs: Sequence[RunSpec], ax: Axes) -> Axes:
    """Shares of each domain over the runs of a design."""
    weights = np.array([s.weights for s in specs])
    _horizontal_boxes(weights.T, specs[0].domains, ax)
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of the training sample")
    return ax


def training_losses(records: Sequence[dict], ax: Axes) -> Axes:
    """Mean training loss of finished runs."""
    losses = [r["training"]["loss"] for r in records if r["status"] == "finished"]
    ax.hist(losses, bins=min(40, max(5, len(losses) // 8)))
    ax.set_xlabel("mean training loss (nats per scored token)")
    ax.set_ylabel("runs")
    return ax


def outcome_spread(history: pd.DataFrame, ax: Axes) -> Axes:
    """Accuracy over runs for every outcome of a history, Dev and Unseen of an axis side by side; losses without any."""
    losses = [c for c in history if c.startswith("y_loss")]
    accuracies = history.drop(columns=losses)
    measured = [c for c in accuracies if c.startswith("y_") and c != "y_dev"]
    history = accuracies if measured or not losses else history
    axes = [c.removeprefix("y_") for c in history if c.startswith("y_") and not c.endswith("unseen") and c != "y_dev"]
    pairs = [("dev", "unseen"), *((a, f"{a}_unseen") for a in axes)]
    names = [name for pair in pairs for name in pair if f"y_{name}" in history]
    _horizontal_boxes([history[f"y_{n}"].to_numpy() for n in names], [n.replace("_", ", ") for n in names], ax)
    ax.figure.set_figheight(0.28 * len(names) + 0.8)
    ax.set_xlabel("accuracy" if history is accuracies else "loss on held-out rows (nats per scored token)")
    return ax
