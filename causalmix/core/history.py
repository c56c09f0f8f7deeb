"""The history: one row (X, T, Y) per run, the one contract between a sweep and every method."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.tables import SCHEMAS, _check_columns, _finite, _starting, read_table

#: Mixtures are often written rounded: a sum this close to 1 is divided out, any other is an error.
ROUNDING = 0.005

#: Fewest runs that a history needs; cross-fitting in five folds leaves too little from fewer.
MIN_ROWS = 20


@dataclass(frozen=True)
class History:
    """A validated sweep: one row (X, T, Y) per run; made by :func:`check_history`.

    Attributes
    ----------
    frame : DataFrame, n rows
        The table, its weights summing to 1 exactly.
    domains : tuple of str, length K
        Names of the ``w_`` columns, without the prefix.
    covariates : tuple of str, length d
        Names of the ``x_`` columns, without the prefix; may be empty.
    axes : tuple of str
        Names of the capability axes: ``y_`` columns other than means and unseen tasks.
    whole : DataFrame
        The table that ``frame`` is a part of, the same where nothing was left out; ``replace`` keeps it.
    """

    frame: pd.DataFrame
    domains: tuple[str, ...]
    covariates: tuple[str, ...]
    axes: tuple[str, ...]
    whole: pd.DataFrame | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.whole is None:
            object.__setattr__(self, "whole", self.frame)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def T(self) -> np.ndarray:
        """Mixtures, shape (n, K)."""
        return self.frame[[f"w_{name}" for name in self.domains]].to_numpy(float)

    @property
    def X(self) -> np.ndarray:
        """Covariates, shape (n, d)."""
        return self.frame[[f"x_{name}" for name in self.covariates]].to_numpy(float)

    def take(self, rows: np.ndarray) -> History:
        """Some of the runs, by their positions; ``whole`` stays."""
        return replace(self, frame=self.frame.iloc[rows].reset_index(drop=True))

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of all ``y_`` columns, with the prefix."""
        return _starting(self.frame, "y_")

    def y(self, outcome: str = "y_dev") -> np.ndarray:
        """One outcome of every run.

        Parameters
        ----------
        outcome : str
            Name of a ``y_`` column.

        Returns
        -------
        ndarray, shape (n,)

        Raises
        ------
        InputError
            When there is no such column.
        """
        if outcome not in self.outcomes:
            raise InputError(
                f"Expected an outcome among {', '.join(self.outcomes)}, found {outcome!r}; choose one of these."
            )
        return self.frame[outcome].to_numpy(float)


def check_history(frame: pd.DataFrame, source: str = "the history") -> History:
    """Validate a sweep of any domains and covariates.

    Parameters
    ----------
    frame : DataFrame
        Columns ``run_id``, ``w_<domain>`` (two or more), ``x_<covariate>`` (any number),
        ``y_<outcome>`` (one or more); others are kept.  Rows of the training set, where they
        are told, are ``n_samples``.
    source : str
        What the sentences call the table.

    Returns
    -------
    History
        The same rows, their weights divided by their sum.

    Raises
    ------
    InputError
        When a column is missing, a value is missing or not a finite number, a run has less than
        one row, a mixture is off the simplex, a run_id occurs twice, or there are fewer than 20 rows.
    """
    _check_columns(frame, SCHEMAS["history.csv"], source)
    weights = list(_starting(frame, "w_"))
    if len(weights) < 2:
        raise InputError(f"Expected two or more w_ columns in {source}, found only {weights[0]}; add the others.")
    if len(frame) < MIN_ROWS:
        raise InputError(f"Expected at least {MIN_ROWS} runs in {source}, found {len(frame)}; add runs.")
    _check_run_ids(frame["run_id"], source)
    numbers = [*weights, *_starting(frame, "x_"), *_starting(frame, "y_")]
    frame = frame.reset_index(drop=True)
    frame[numbers] = _finite(frame, numbers, source)
    frame[weights] = _on_simplex(frame, weights, source)
    if "n_samples" in frame:
        frame["n_samples"] = _sizes(frame, source)
    named = {prefix: tuple(name[2:] for name in _starting(frame, prefix)) for prefix in ("w_", "x_", "y_")}
    axes = tuple(name for name in named["y_"] if name not in ("dev", "unseen") and not name.endswith("_unseen"))
    return History(frame, named["w_"], named["x_"], axes)


def read_history(path: str | Path) -> History:
    """Read and validate a history.

    Parameters
    ----------
    path : str or Path
        A CSV file of the contract of :func:`check_history`.

    Raises
    ------
    InputError
        When the file is missing or unreadable, or the table is not valid.
    """
    return check_history(read_table(path, SCHEMAS["history.csv"]), source=Path(path).name)


def _check_run_ids(run_ids: pd.Series, source: str) -> None:
    if run_ids.isna().any():
        row = int(np.argmax(run_ids.isna())) + 1
        raise InputError(f"Expected a run_id in every row of {source}, found none in row {row}; name each run.")
    twice = run_ids[run_ids.duplicated()]
    if len(twice):
        times = int((run_ids == twice.iloc[0]).sum())
        raise InputError(
            f"Expected each run_id once in {source}, found {twice.iloc[0]} {times} times; keep one row per run."
        )


def _sizes(frame: pd.DataFrame, source: str) -> pd.Series:
    """The column ``n_samples`` as numbers, whole ones where it holds such; the first below one row is an error."""
    small = (_finite(frame, ["n_samples"], source)["n_samples"] < 1).to_numpy()
    if small.any():
        row = int(np.argmax(small))
        raise InputError(
            f"Expected n_samples of at least 1 in {source}, found {frame['n_samples'].iloc[row]} "
            f"in run {frame['run_id'].iloc[row]}; give the rows that the run was trained on."
        )
    return pd.to_numeric(frame["n_samples"])


def _on_simplex(frame: pd.DataFrame, weights: list[str], source: str) -> pd.DataFrame:
    """The weight columns divided by their sum; the first row off the simplex is an error."""
    T = frame[weights].to_numpy(float)
    sums = T.sum(axis=1)
    off = (T < 0).any(axis=1) | (np.abs(sums - 1) > ROUNDING)
    if off.any():
        row = int(np.argmax(off))
        found = f"the sum {sums[row]:.6g}" if (T[row] >= 0).all() else f"the weight {T[row].min():g}"
        raise InputError(
            f"Expected weights of at least 0 that sum to 1 in every run of {source}, found {found} "
            f"in run {frame['run_id'].iloc[row]}; give shares, not percentages or counts."
        )
    return frame[weights] / sums[:, None]
