"""Intervals over seeds and over random splits: one rule of each for the whole book."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as t_distribution

FEWEST_SPLITS = 5  # fewer agree too easily: two differences share their sign by chance half of the time


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Mean and its t-interval over seeds; without a second value the interval is unknown (NaN)."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()), np.nan, np.nan
    half = t_distribution.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def middle_interval(gaps: np.ndarray) -> tuple[float, float, float]:
    """Mean of differences over splits and the bounds of their middle 95%.

    Splits share runs, so a standard error over them would be too small; their own spread is used.
    """
    return float(np.nanmean(gaps)), *np.nanquantile(gaps, [0.025, 0.975]).tolist()


def split_interval(gaps: Sequence[float]) -> tuple[float, float, float]:
    """:func:`middle_interval` of the differences that are known; of fewer than 5 splits without bounds (NaN)."""
    gaps = np.asarray(gaps, float)
    gaps = gaps[np.isfinite(gaps)]
    if len(gaps) < FEWEST_SPLITS:
        return float(gaps.mean()) if len(gaps) else np.nan, np.nan, np.nan
    return middle_interval(gaps)


def verdict(low: float, high: float) -> str:
    """What the interval of a difference says: ``better`` above zero, ``worse`` below it, else ``open``.

    The book's one judge.  Where there is no interval (NaN), for instance with a single seed, it is open.
    """
    return "better" if low > 0 else "worse" if high < 0 else "open"


def split_verdict(gaps: Sequence[float]) -> str:
    """The verdict on paired differences over splits."""
    return verdict(*split_interval(gaps)[1:])


def explained_by_mixture(covariates: np.ndarray, mixtures: np.ndarray) -> np.ndarray:
    """Share of each covariate's variance that the mixture explains linearly, shape (n_covariates,).

    Near zero for covariates that were measured before mixing; near one where X is a function of T,
    and no run then shows the same state under another mixture (no overlap).
    """
    design = np.column_stack([np.ones(len(mixtures)), np.asarray(mixtures)[:, :-1]])
    residuals = covariates - design @ np.linalg.lstsq(design, covariates, rcond=None)[0]
    dof = (len(mixtures) - 1) / (len(mixtures) - design.shape[1])
    return 1 - dof * residuals.var(axis=0) / covariates.var(axis=0)
