"""The tables of a study: their schemas, validated reading and atomic writing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.errors import InputError

#: Mixtures are often written rounded: a sum this close to 1 is divided out, any other is an error.
ROUNDING = 0.005

#: Fewest runs that a history needs; cross-fitting in five folds leaves too little from fewer.
MIN_ROWS = 20

#: Columns that each table must have; a name that ends in ``*`` asks for one or more of that prefix.
SCHEMAS = {
    "history.csv": ("run_id", "w_*", "y_*"),
    "mixtures.csv": (
        "method",
        "pool",
        "w_*",
        "predicted_gain",
        "gain_ci_low",
        "gain_ci_high",
        "in_support",
        "proxy_runs_used",
    ),  # fmt: skip
    "targets.csv": ("method", "model", "n_samples", "seed", "y_*"),
    "longcot.csv": ("method", "model", "n_samples", "seed", "y_*"),
    "ablations.csv": ("ablation", "variant", "split", "spearman", "r2"),
}


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

    Returns
    -------
    History

    Raises
    ------
    InputError
        When the file is missing or unreadable, or the table is not valid.
    """
    return check_history(read_table(path, SCHEMAS["history.csv"]), source=Path(path).name)


def read_table(path: str | Path, required: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV table and check its columns.

    Parameters
    ----------
    path : str or Path
        The file.
    required : sequence of str
        Columns it must have, besides those that :data:`SCHEMAS` lists for a file of its name.

    Returns
    -------
    DataFrame

    Raises
    ------
    InputError
        When the file is missing or not a CSV table, a column is missing or there twice, or rows
        have more cells than there are columns.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Expected a table at {path}, found no such file; run the step that writes it.")
    try:
        # As text first: pandas renames a column named twice, makes an index of cells beyond the header, and
        # takes a run_id such as 0012 or 12e45678 for a number and NA for none.
        text = pd.read_csv(path, header=None, dtype=str, keep_default_na=False)
        frame = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        found = str(error).strip()
        raise InputError(f"Expected a CSV table in {path.name}, found {found}; correct the file.") from error
    header = text.iloc[0]
    if twice := list(header[header.duplicated() & (header != "")]):
        raise InputError(f"Expected each column once in {path.name}, found {twice[0]} again; rename or remove one.")
    if "run_id" in frame:
        ids = text.loc[1:, header == "run_id"].iloc[:, 0].reset_index(drop=True)
        frame["run_id"] = ids.where(ids != "")
    _check_columns(frame, [*SCHEMAS.get(path.name, ()), *required], path.name)
    return frame


def write_table(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a CSV table so that a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path : str or Path
        The file; folders are made as needed.
    frame : DataFrame
        The table; its index is left out and floats get six significant digits.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
        draft = Path(scratch) / path.name
        frame.to_csv(draft, index=False, float_format="%.6g", lineterminator="\n")
        os.replace(draft, path)


def is_number(value: object) -> bool:
    """Whether a value is a finite number, not text that reads as one."""
    return isinstance(value, Real) and bool(np.isfinite(value))


def _starting(frame: pd.DataFrame, prefix: str) -> tuple[str, ...]:
    return tuple(name for name in frame.columns if str(name).startswith(prefix))


def _check_columns(frame: pd.DataFrame, required: Sequence[str], source: str) -> None:
    missing = [
        name for name in required if not (_starting(frame, name[:-1]) if name.endswith("*") else name in frame.columns)
    ]
    if missing:
        raise InputError(
            f"Expected the columns {', '.join(missing)} in {source}, "
            f"found only {', '.join(map(str, frame.columns))}; add what is missing."
        )


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


def _finite(frame: pd.DataFrame, names: list[str], source: str) -> pd.DataFrame:
    """The named columns as floats; the first cell that is not a finite number is an error."""
    numbers = frame[names].apply(pd.to_numeric, errors="coerce").astype(float)
    off = ~np.isfinite(numbers.to_numpy())
    if off.any():
        row, column = np.argwhere(off)[0]
        raise InputError(
            f"Expected finite numbers in {names[column]} of {source}, found {frame[names[column]].iloc[row]} "
            f"in run {frame['run_id'].iloc[row]}; correct the value or drop the row."
        )
    return numbers


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
