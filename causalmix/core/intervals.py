"""Intervals over seeds and over random splits, their p-values, and the adjustment of a family of them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t as t_distribution

MOST_RATIO = 1 / 3  # of runs held out to runs fitted: at most a quarter of all are held out
FEWEST_SPLITS = 5  # of fewer the spread, on which all rests, is hardly known


def mean_interval(values: np.ndarray, level: float = 0.95, ratio: float = 0.0) -> tuple[float, float, float]:
    """Mean and its t-interval over J seeds, unknown (NaN) of one; ``ratio`` is that of :func:`split_interval`."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()), np.nan, np.nan
    half = t_distribution.ppf(0.5 + level / 2, len(values) - 1) * _error(values, ratio)
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def mean_p(values: np.ndarray, ratio: float = 0.0) -> float:
    """Two-sided p-value of a mean of nought, below 0.05 exactly where :func:`mean_interval` leaves nought out."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return np.nan
    mean, error = abs(values.mean()), _error(values, ratio)
    return float(2 * t_distribution.sf(mean / error, len(values) - 1)) if error > 0 else float(mean == 0)


def _error(values: np.ndarray, ratio: float) -> float:
    return values.std(ddof=1) * np.sqrt(1 / len(values) + ratio)


def split_interval(gaps: Sequence[float], ratio: float) -> tuple[float, float, float]:
    """Mean of differences over random splits, one each, and its corrected resampled t-interval.

    Splits share runs, so the variance of the mean of J differences is taken to be (1/J + ratio) s^2 with ratio
    n_test/n_train (Nadeau and Bengio 2003, doi:10.1023/A:1024068626366): approximate, rather too wide than too narrow.
    Differences that are not known (NaN) are left out, and the bounds of fewer than 5 are not known.
    """
    gaps = _known(gaps)
    if len(gaps) < FEWEST_SPLITS:
        return float(gaps.mean()) if len(gaps) else np.nan, np.nan, np.nan
    return mean_interval(gaps, ratio=ratio)


def held_out_ratio(scores: pd.DataFrame) -> float:
    """Runs held out for each that is fitted, by a table of scores; the most there can be where it does not say."""
    return float((scores["held_out"] / scores["fitted"]).mean()) if "fitted" in scores else MOST_RATIO


def split_p(gaps: Sequence[float], ratio: float) -> float:
    """Two-sided p-value that belongs to :func:`split_interval`."""
    gaps = _known(gaps)
    return mean_p(gaps, ratio) if len(gaps) >= FEWEST_SPLITS else np.nan


def _known(gaps: Sequence[float]) -> np.ndarray:
    gaps = np.asarray(gaps, float)
    return gaps[np.isfinite(gaps)]


def holm(p: Sequence[float]) -> np.ndarray:
    """P-values adjusted for being one family (Holm 1979, doi:10.2307/4615733): reject where they are below the level.

    They may depend on each other in any way.  Members without a p-value (NaN) keep none and do not count.
    """
    p = np.asarray(p, float)
    adjusted, order = np.full(len(p), np.nan), np.argsort(p)[: np.isfinite(p).sum()]
    stepped = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def verdict(low: float, high: float) -> str:
    """What the interval of a difference says: ``better`` above zero, ``worse`` below it, else ``open``.

    The book's one judge.  Where there is no interval (NaN), for instance with a single seed, it is open.
    """
    return "better" if low > 0 else "worse" if high < 0 else "open"


def adjusted_verdict(mean: float, p: float, level: float = 0.05) -> str:
    """The same of a difference whose p-value was adjusted for its family by :func:`holm`; open where it has none."""
    return verdict(mean, mean) if p < level else "open"


def split_verdict(gaps: Sequence[float], ratio: float) -> str:
    """The verdict on paired differences over splits."""
    return verdict(*split_interval(gaps, ratio)[1:])


def explained(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Share of each column's variance that the columns of ``by`` explain linearly, adjusted for their number."""
    design = np.column_stack([np.ones(len(by)), by])
    residuals = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    dof = (len(by) - 1) / (len(by) - design.shape[1])
    return 1 - dof * residuals.var(axis=0) / values.var(axis=0)
