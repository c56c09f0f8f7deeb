"""What the runs say of a mixture by outcomes that chose nothing: Unseen tasks, and losses on rows held back."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from causalmix.core.direction import is_lower_better, told, turned
from causalmix.core.errors import InputError
from causalmix.core.history import MIN_ROWS, History
from causalmix.methods.question import Question

END = "_unseen"  # of an outcome's name; y_unseen is their mean, as y_dev is that of the others


def checked_by(
    question: Question, read: History, stated: Mapping[str, bool], weights: np.ndarray, reference: np.ndarray,
    chosen_by: Collection[str],
) -> tuple[dict, ...]:  # fmt: skip
    """The gain of a mixture by every Unseen outcome that chose nothing, with its 95% interval.

    ``read`` is the history before outcomes were turned.  What no better way is known of, or few runs have, is left out.
    """
    found = []
    for name in question.history.outcomes:
        if name in chosen_by or not name.endswith(END) or (lower := lower_unseen(read, name, stated)) is None:
            continue
        values = question.history.frame[name].dropna()
        if len(values) < MIN_ROWS or np.ptp(values) == 0:
            continue
        history = turned(question.history.complete([name]), [name], {name: lower})
        effects = replace(question, history=history, fitted=None).posterior(name)
        gain = (float(np.ravel(value)[0]) for value in effects.gain(question.x, reference, weights))
        found.append({"outcome": name, "lower_is_better": lower} | dict(zip(("estimate", "low", "high"), gain)))
    return tuple(found)


def lower_unseen(history: History, name: str, stated: Mapping[str, bool] = {}) -> bool | None:
    """Whether lower values of an Unseen outcome are better, as of the outcome that it belongs to; None: not known."""
    pair = "y_dev" if name == f"y{END}" else name.removesuffix(END)
    said = {*stated, *told(history)}
    try:
        return is_lower_better(history, pair if pair in history.outcomes and name not in said else name, stated)
    except InputError:
        return None


def outcome_lines(history: History, noise: Mapping[str, tuple[float, int]]) -> list[str]:
    """A line for each outcome: its range, the better way, its noise between seeds, and whether it may choose."""
    lines = []
    for name in history.outcomes:
        values, lower = history.frame[name].dropna(), lower_unseen(history, name)
        better = {True: "lower is better", False: "higher is better", None: "the better way is not told"}[lower]
        seeds = "; between seeds ±{:.2g} ({} runs again)".format(*noise[name]) if name in noise else ""
        use = "; it only checks" if name.endswith(END) else ""
        lines.append(f"  {name}: {values.min():.4g} to {values.max():.4g}, {better}{seeds}{use}")
    return lines
