"""A claim of the paper beside ours: its reported number, our interval, and a verdict by rule.

A claim is a difference that the paper reports as positive.  It *holds* here where the interval of
our difference lies above zero, *does not hold* where it lies below, and otherwise we *cannot tell*.
No verdict is typed in anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.intervals import FEWEST_SPLITS, mean_interval, middle_interval
from causalmix.core.paths import RESULTS

WORDS = ("holds", "does not hold", "cannot tell")


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes
    ----------
    text : str
        The claim in words.
    reported : float
        The difference that the paper reports, points; NaN where it reports none.
    source : str
        Where the number stands.
    ours : float
        Our difference, points.
    low, high : float
        Its 95% interval; NaN where there is none.
    chapter : str
        Where ours was measured.
    unit : str
        Of both differences: points of accuracy, or a measure of prediction.
    """

    text: str
    reported: float
    source: str
    ours: float
    low: float
    high: float
    chapter: str
    unit: str = "points"

    @property
    def verdict(self) -> str:
        """In words, by the rule of this module."""
        if not np.isfinite([self.low, self.high]).all():
            return "cannot tell"
        return "holds" if self.low > 0 else "does not hold" if self.high < 0 else "cannot tell"


def published(name: str) -> pd.DataFrame:
    """One of the paper's tables as reported by secondary sources."""
    return pd.read_csv(RESULTS / "published" / f"{name}.csv")


def reported_gap(
    table: pd.DataFrame, one: str, other: str, column: str = "average", label: str = "method", **where
) -> float:
    """Difference of two rows of a published table, points.

    Raises
    ------
    InputError
        When a row is missing.
    """
    for name, value in where.items():
        table = table[table[name] == value]
    values = table.set_index(label)[column]
    if missing := [row for row in (one, other) if row not in values]:
        raise InputError(f"Expected the rows {one} and {other}, found no {missing[0]}; look at results/published.")
    return float(values[one] - values[other])


def trial_claim(
    text: str,
    reported: float,
    source: str,
    trials: pd.DataFrame,
    one: str,
    other: str,
    chapter: str,
    outcome: str = "y_dev",
) -> Claim:
    """A claim that one method beats another, held against trials that share their seeds.

    Parameters
    ----------
    trials : DataFrame
        One group of trials: ``method, seed, <outcome>``.
    one, other : str
        The method that should win, and its rival.
    """
    wide = trials.pivot(index="seed", columns="method", values=outcome) if outcome in trials else pd.DataFrame()
    if missing := [m for m in (one, other) if m not in wide]:
        return Claim(text, reported, source, np.nan, np.nan, np.nan, f"{chapter} ({missing[0]} was not trained)")
    ours, low, high = mean_interval(100 * (wide[one] - wide[other]).dropna())
    return Claim(text, reported, source, ours, low, high, chapter)


def split_claim(
    text: str,
    reported: float,
    source: str,
    table: pd.DataFrame,
    one: str,
    other: str,
    chapter: str,
    measure: str = "spearman",
) -> Claim:
    """A claim that one variant predicts held-out runs better, by the middle 95% of paired differences over splits.

    Parameters
    ----------
    table : DataFrame
        ``variant, split, <measure>``.
    """
    wide = table.pivot_table(index="split", columns="variant", values=measure)
    if missing := [v for v in (one, other) if v not in wide]:
        return Claim(
            text, reported, source, np.nan, np.nan, np.nan, f"{chapter} ({missing[0]} was not fitted)", measure
        )
    gap = (wide[one] - wide[other]).dropna()
    ours, low, high = middle_interval(gap)
    if len(gap) < FEWEST_SPLITS:
        low, high = np.nan, np.nan
    return Claim(text, reported, source, ours, low, high, chapter, measure)


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Claims as a table."""
    return pd.DataFrame(
        [
            {
                "claim": c.text,
                "reported": c.reported,
                "ours": c.ours,
                "ci_low": c.low,
                "ci_high": c.high,
                "unit": c.unit,
                "verdict": c.verdict,
                "measured in": c.chapter,
                "reported where": c.source,
            }
            for c in claims
        ]
    )


def heights(table: pd.DataFrame) -> tuple[int, int]:
    """Claims in points and in other units, at least one of each: heights of the two panels of a figure."""
    points = int((table["unit"] == "points").sum())
    return max(points, 1), max(len(table) - points, 1)


def verdict_sentence(claims: Sequence[Claim]) -> str:
    """How many claims hold, do not hold, stay open here, or were not tried."""
    tried = [c for c in claims if np.isfinite([c.low, c.high]).all()]
    counts = {word: sum(c.verdict == word for c in tried) for word in WORDS}
    untried = len(claims) - len(tried)
    return (
        f"Of {len(claims)} claims, {counts['holds']} hold in this study, {counts['does not hold']} do not, and for "
        f"{counts['cannot tell']} the intervals leave it open"
        + (f"; {untried} were not tried, or with one seed alone." if untried else ".")
    )


def uneven_rows(
    table: pd.DataFrame, parts: Sequence[str], average: str = "average", tolerance: float = 0.06
) -> pd.DataFrame:
    """Rows of a published table whose average is not that of its parts, within rounding."""
    recomputed = table[list(parts)].mean(axis=1)
    off = (recomputed - table[average]).abs() > tolerance
    return table[off].assign(recomputed=recomputed[off].round(2))


def uneven_sentence(rows: pd.DataFrame) -> str:
    """Which published averages are not those of their parts."""
    if rows.empty:
        return "Every reported average is that of its parts."
    told = [
        f"{r.method} ({r.model}, {r.n_samples:,} rows): reported {r.average:.2f}, its axes average {r.recomputed:.2f}"
        for r in rows.itertuples()
    ]
    return "Reported averages that are not those of their axes: " + "; ".join(told) + "."
