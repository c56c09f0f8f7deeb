"""One claim, that a difference is positive, held against our numbers; its verdict follows by rule.

It *holds* where our difference is above zero and its p-value, adjusted for the claims of its family, below 0.05; it
*does not hold* where it is below zero likewise; else we *cannot tell*; and what no run was made for is *not tried*.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from causalmix.core.intervals import held_out_ratio, mean_interval, mean_p, split_interval, split_p
from causalmix.study.questions import NOT_TRIED, paired

WORDS = {"better": "holds", "worse": "does not hold", "open": "cannot tell", NOT_TRIED: NOT_TRIED}
PAPER, CRITICS = "the paper", "its critics"  # who says so
IN_WORDS, ASKED = "claimed in words", "asked by its critics"


class Claim(NamedTuple):
    """What is said, the question that it belongs to, the subject that measures it, and what was reported where."""

    text: str
    family: str
    where: str
    who: str = PAPER
    source: str = IN_WORDS
    reported: float = np.nan
    unit: str = "points"


class Part(NamedTuple):
    """One part of a claim: its name, our difference with its own 95% interval, and its p-value."""

    name: str
    ours: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan


def hardest(parts: Sequence[Part]) -> Part:
    """The part by which a claim of several stands or falls, with the p-value of the whole claim.

    Where one is below zero, the lowest refutes the claim, at its p-value times their number (Bonferroni).
    """
    if any(part.ours < 0 for part in parts):
        lowest = min(parts, key=lambda part: part.ours)
        return lowest._replace(p=min(1.0, len(parts) * lowest.p))
    return max(parts, key=lambda part: (np.isnan(part.p), part.p))


def row_of(claim: Claim, parts: Sequence[Part], lacking: Sequence[str]) -> dict[str, object]:
    """A row of the table of claims but for its verdict; with parts ``lacking`` a claim can fail, and cannot hold."""
    found, where = hardest(parts) if parts else Part(""), claim.where
    if lacking:
        where = f"{where} ({', '.join(lacking)} not tried)"
        found = found._replace(p=found.p if found.ours < 0 else np.nan)
    return {
        "claim": claim.text, "asked by": claim.who, "family": claim.family, "reported": claim.reported,
        "ours": found.ours, "ci_low": found.low, "ci_high": found.high, "p": found.p, "p_holm": np.nan, "verdict": "",
        "unit": claim.unit, "hardest part": found.name if len(parts) + len(lacking) > 1 else "", "measured in": where,
        "reported where": claim.source,
    }  # fmt: skip


def beats(claim: Claim, trials: pd.DataFrame, one: str, others: Sequence[str], measure: str = "y_dev") -> dict:
    """That a method beats others in trials of one group, paired by seed, in points."""
    gaps = {name: paired(trials, one, name, measure) * 100 if measure in trials else () for name in others}
    parts = [Part(name, *mean_interval(gap), mean_p(gap)) for name, gap in gaps.items() if len(gap)]
    lacking = [name for name, gap in gaps.items() if not len(gap)]
    return row_of(claim, parts, lacking if len(trials) and one in set(trials["method"]) else [one])


def predicts(claim: Claim, table: pd.DataFrame, one: str, other: str) -> dict:
    """That one way to estimate predicts held-out runs better than another by the claim's unit, paired by splits."""
    wide = pd.DataFrame()
    if claim.unit in table:
        wide = table.pivot_table(index="split", columns="variant", values=claim.unit)
    if lacking := [name for name in (one, other) if name not in wide]:
        return row_of(claim, [], lacking)
    gaps, ratio = (wide[one] - wide[other]).dropna(), held_out_ratio(table)
    return row_of(claim, [Part("", *split_interval(gaps, ratio), split_p(gaps, ratio))], [])
