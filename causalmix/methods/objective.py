"""What a mixture is to raise: one outcome, a weighted or standardised mean of several, or the worst of them.

A mean is one derived outcome, so one fit tells its gain with the right interval; the worst axis needs a fit of each.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from causalmix.core.direction import differing
from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.core.sweep_files import meant

VALUED = re.compile(r"(=\s*[-+.\d][^=,]*),")  # a comma that a value stands before: others are part of a name

WEIGHTED, STANDARDISED = "y_weighted", "y_standardised_mean"  # columns of derived outcomes


@dataclass(frozen=True)
class Objective:
    """Outcomes and how they make one; made by :func:`read_objective`."""

    outcomes: tuple[str, ...]
    weights: tuple[float, ...] = ()  # of a weighted mean, summing to 1
    worst: bool = False  # whether the outcome that gains least counts; their standardised mean else

    @property
    def column(self) -> str:
        """The outcome that methods which know only one are asked for; with the worst axis the standardised mean."""
        return self.outcomes[0] if len(self.outcomes) == 1 else WEIGHTED if self.weights else STANDARDISED

    def derived(self, history: History) -> History:
        """The history with that column, made of outcomes for which higher is better."""
        if len(self.outcomes) == 1:
            return history
        for name in self.outcomes:
            differing(history, name)
        known = history.frame[list(self.outcomes)].to_numpy(float)

        def added(frame: pd.DataFrame) -> pd.DataFrame:
            Y = frame[list(self.outcomes)].to_numpy(float)
            if self.weights:
                return frame.assign(**{WEIGHTED: Y @ np.array(self.weights)})
            return frame.assign(**{STANDARDISED: ((Y - known.mean(axis=0)) / known.std(axis=0)).mean(axis=1)})

        return replace(history, frame=added(history.frame), whole=added(history.whole))

    def told(self, lower: Collection[str] = ()) -> str:
        """A sentence on what is raised where that is more than one outcome, of which ``lower`` are better so."""
        minus = {name: "-" if name in lower else "" for name in self.outcomes}
        names = ", ".join(f"{minus[name]}{name}" for name in self.outcomes)
        if self.weights:
            parts = " + ".join(f"{minus[name]}{weight:.3g} {name}" for name, weight in zip(self.outcomes, self.weights))
            return f"{WEIGHTED} is {parts}.".replace("+ -", "- ")
        if len(self.outcomes) == 1:
            return ""
        mean = f"{STANDARDISED} is the mean of {names}, each in its standard deviations over the runs."
        return f"{mean} Cautious raises the one of these that gains least." if self.worst else mean


def read_objective(text: str, outcome: str, history: History) -> Objective:
    """The objective that a text names: empty for the outcome, ``mean``, ``worst``, or ``y_math=2,y_code=1``."""
    if not text.strip():
        history.check_outcome(outcome)
        return Objective((outcome,))
    if text.strip() in ("mean", "worst"):
        if len(axes := history.axes) < 2:
            raise InputError(f"Expected two or more axes to raise together, found {len(axes)}; name one outcome.")
        return Objective(tuple(f"y_{name}" for name in axes), worst=text.strip() == "worst")
    given = pairs(text, "an objective", "y_math=2,y_code=1, or mean, or worst")
    weights = by_column(given, history)
    for name in weights:
        history.check_outcome(name)
    if any(w <= 0 for w in weights.values()):
        raise InputError(f"Expected positive weights of outcomes, found {text!r}; name losses by --lower-is-better.")
    return Objective(tuple(weights), tuple(w / sum(weights.values()) for w in weights.values()))


def by_column(given: Mapping[str, float], history: History) -> dict[str, float]:
    """What is given of outcomes, by the names of their columns; two names of one column would say two things."""
    found: dict[str, float] = {}
    for name, value in given.items():
        if (column := meant(name, history.outcomes)) in found:
            raise InputError(f"Expected each outcome once, found {column} again as {name!r}; leave one out.")
        found[column] = value
    return found


def pairs(
    texts: str | Iterable[str], what: str, example: str, default: float | None = None, read: Callable = float
) -> dict[str, Any]:  # fmt: skip
    """``name=value`` texts, or one in which commas part them, as a dictionary of what is read, finite numbers.

    A name may have commas and signs of equality within; with a default, the value may be absent.
    """
    found: dict[str, Any] = {}
    for text in filter(str.strip, VALUED.sub("\\1\n", texts).split("\n")) if isinstance(texts, str) else texts:
        name, *value = map(str.strip, text.rsplit("=", 1))
        if name in found:
            raise InputError(f"Expected {what} of each name once, found {name} again in {text!r}; leave one out.")
        try:
            found[name] = read("".join(value)) if value or default is None else default
            fine = bool(name) and bool(np.isfinite(found[name]).all())
        except ValueError:
            fine = False
        if not fine:
            raise InputError(f"Expected {what} such as {example}, found {text!r}; write it like that.")
    return found
