"""Which way an outcome is better: stated, told by the history, or by its name and values; else it has to be asked.

Every method takes higher for better, so the values of an outcome that is better when lower are turned around first.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError, brief
from causalmix.core.history import History

#: Words in the name of an outcome that is better when it is lower, unless it is written with its sign turned.
LOSSES = ("loss", "nll", "perplexity", "ppl", "bpb", "byte", "error")
RATES = ("wer", "cer", "rmse", "mse", "mae", "mape", "entropy", "xent", "brier", "ece", "regret")  # as whole words

#: Words in the names of what some count and others score by its absence: these have to be asked about.
OF_EITHER = re.compile(
    r"(?<![a-z])(toxi|halluc|refus|overrefus|harm(?!less|on)|violat|bias|leak|cost|latency|fail|attack|jailbreak|"
    r"unsafe|sycophan|incorrect|wrong|mistake|forget|degrad|divergen|distance|perplex|memori[sz]|contamin|repetit|"
    r"(?:err|asr|fpr|fnr|eer|gap|kl|rank|risk|runtime)(?![a-z]))"
)

#: Words in the name of one that is better when it is higher.
SCORES = ("acc", "accuracy", "f1", "em", "match", "bleu", "rouge", "pass")

MEANS = ("y_dev", "y_unseen")  # of a history's other outcomes

#: Column of a history that names its outcomes that are better when lower, by spaces, the same in every row.
LOWER = "lower_is_better"


def is_lower_better(history: History, outcome: str, stated: Mapping[str, bool | None] = {}) -> bool:
    """Whether lower values of an outcome, a ``y_`` column, are better.

    What is ``stated`` of it wins (None says nothing), then what the history's column ``lower_is_better`` says.
    InputError when it is not there, or cannot be known: its name hints at a loss, not in a word of its own or with
    values below zero, or speaks of harm, or says nothing and all values are above 1.  A mean is as all its parts are.
    """
    y = history.y(outcome)
    if (lower := stated.get(outcome)) is not None:
        return lower
    if outcome in told(history):
        return True
    parts = _parts(history, outcome)
    words = kind(outcome) or (LOSSES[0] if parts and all(kind(name) in (*LOSSES, *RATES) for name in parts) else "")
    if words in (*LOSSES, *RATES) and y.min() >= 0:
        return True
    text = outcome.removeprefix("y_").lower()
    named = next((word for word in LOSSES if word in text), words if words in (*LOSSES, *RATES) else None)
    if not words and (either := OF_EITHER.search(text)):
        named = either[0]
    odd = [] if words else [name for name in parts if kind(name) in (*LOSSES, *RATES) or OF_EITHER.search(name.lower())]
    if named or odd or (not words and y.min() > 1):
        found = f"a name that has {named!r} in it" if named else f"values that are all above 1, from {y.min():.4g}"
        found = f"it to be the mean of {brief(', '.join(parts))}" if odd else found
        raise InputError(
            f"Expected to know whether {outcome} is better when it is lower, found {found}; state it as "
            f"--lower-is-better {outcome} or --higher-is-better {outcome} (in a chapter as lower_is_better)."
        )
    return False


def kind(outcome: str) -> str:
    """The first word of an outcome's name that is the name of a loss or of a score; empty where there is none."""
    words = re.split(r"[^a-z0-9]+", outcome.removeprefix("y_").lower())
    return next((word for word in words if word in (*LOSSES, *RATES, *SCORES)), "")


def _parts(history: History, outcome: str) -> list[str]:
    """The outcomes that one of :data:`MEANS` is the mean of; none where it is no such mean."""
    end = outcome == "y_unseen"
    parts = [name for name in history.outcomes if name not in MEANS and name.endswith("_unseen") == end]
    if outcome not in MEANS or not parts:
        return []
    return parts if np.allclose(history.frame[parts].mean(axis=1), history.y(outcome), rtol=1e-3) else []


def differing(history: History, outcome: str) -> np.ndarray:
    """The values of an outcome, shape (n,); InputError where they are the same in all runs."""
    if np.ptp(y := history.y(outcome)) == 0:
        raise InputError(
            f"Expected an outcome that differs between runs, found {outcome} at {y[0]:g} in all; choose one."
        )
    return y


def turned(history: History, outcomes: Sequence[str], stated: Mapping[str, bool | None] = {}) -> History:
    """The history with minus the values of those of the outcomes that are better when lower; names stay."""
    for name in stated:
        history.check_outcome(name)  # a name that is misspelt would be stated in vain
    down = [name for name in dict.fromkeys(outcomes) if is_lower_better(history, name, stated)]
    parts = {part: _minus(getattr(history, part), down) for part in ("frame", "whole")}
    return replace(history, **parts) if down else history


def upward(table: pd.DataFrame, outcome: str, lower: bool) -> pd.DataFrame:
    """A table of trials, or of anything else with outcomes, in which higher is better, as :func:`turned` makes it.

    ``lower`` says whether lower values of the outcome are better; a table that lacks it stays as it is.
    """
    return _minus(table, [outcome]) if lower and outcome in table else table


def told(history: History) -> tuple[str, ...]:
    """Outcomes that the history itself says are better when they are lower."""
    if LOWER not in history.frame:
        return ()
    found = history.frame[LOWER].astype(object).where(history.frame[LOWER].notna(), "").unique()
    names = tuple(str(found[0]).split())
    if len(found) > 1 or not set(names) <= set(history.outcomes):
        raise InputError(
            f"Expected outcomes of the history, the same in every row, in its column {LOWER}, found "
            f"{' and '.join(map(repr, found[:2]))}; correct it."
        )
    return names


def says_lower(table: pd.DataFrame, outcome: str) -> bool:
    """Whether the first row of a table, not yet a history, says that lower values of an outcome are better."""
    return LOWER in table and outcome in str(table[LOWER].iloc[0]).split()


def way(lower: bool) -> str:
    """What an axis says of an outcome that was not turned around."""
    return f"{'lower' if lower else 'higher'} is better"


def called(outcome: str, lower: bool) -> str:
    """What sentences call an outcome: of one that was turned around, what a gain in it means."""
    return f"{outcome} (lower is better, so a gain is a fall)" if lower else outcome


def drawn(outcome: str, lower: bool) -> str:
    """What an axis calls an outcome of which more is better: with its sign, where it was turned around."""
    return f"minus {outcome}" if lower else outcome


def in_points(outcome: str, lower: bool) -> str:
    """The same with the unit of its hundredths, in trials: their losses are in nats, all else is an accuracy."""
    loss = lower and (kind(outcome) or outcome in MEANS)
    return f"{drawn(outcome, lower)}, {'hundredths of a nat' if loss else 'points of accuracy'}"


def _minus(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    minus = {name: -frame[name] for name in names}
    if LOWER in frame and isinstance(said := frame[LOWER].iloc[0], str):  # higher is better now
        minus[LOWER] = " ".join(name for name in said.split() if name not in names)
    return frame.assign(**minus)
