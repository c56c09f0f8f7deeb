"""The history: one row (X, T, Y) per run, the one contract between a sweep and every method."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError, brief
from causalmix.core.parameters import check_name
from causalmix.core.tables import SCHEMAS, check_columns, columns_with, finite, read_table
from causalmix.core.wording import check_apart, some_of

#: Mixtures are often written rounded: a sum this close to 1 is divided out, as is one of :func:`rounding`.
ROUNDING = 0.005

#: Fewest runs that a history needs; cross-fitting in five folds leaves too little from fewer.
MIN_ROWS = 20

#: Parts of a study's history, as its column ``part`` has them: runs of the design, over sizes, and those in which
#: mixtures follow the state.
PARTS = DESIGN, SCALE, CONFOUNDED = "design", "scale", "confounded"

#: Columns that say how large a run was; in logs they are covariates where they differ by more than a fifth.
SIZES = ("n_samples", "model_size")
SCALES = tuple(f"log2_{name}" for name in SIZES)
DIFFERENT = 1.2
LARGEST_SIZE = 10**15  # of rows or parameters; larger numbers are slips, and do not fit into whole ones
WHAT_SIZES = {"n_samples": "the rows that the run was trained on", "model_size": "the parameters of its model"}
UNITS = {"k": 1e3, "m": 1e6, "b": 1e9}
#: A number of parameters in the name of a model: thousands at its end alone, for 32k within is a context, and not 8x7B.
SIZED = r"(?<![0-9.x])([0-9]+(?:[.][0-9]+)?)([mbMB](?![A-Za-z0-9])|[kK]$)"


@dataclass(frozen=True)
class History:
    """A validated sweep: one row (X, T, Y) per run; made by :func:`check_history`."""

    frame: pd.DataFrame  # the table, its weights summing to 1 exactly
    domains: tuple[str, ...]  # names of the ``w_`` columns, without the prefix, length K
    covariates: tuple[str, ...]  # names of the ``x_`` columns, without the prefix, length d; may be empty
    axes: tuple[str, ...]  # ``y_`` columns but means, unseen tasks and, if there is anything else, losses (``y_loss…``)
    # The table that ``frame`` is a part of, the same where nothing was left out; ``replace`` keeps it.
    whole: pd.DataFrame | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.whole is None:
            object.__setattr__(self, "whole", self.frame)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def T(self) -> np.ndarray:
        """Mixtures, shape (n, K)."""
        return self.frame[[f"w_{name}" for name in self.domains]].to_numpy(float)

    @cached_property
    def X(self) -> np.ndarray:
        """Covariates, shape (n, d)."""
        return self.frame[[f"x_{name}" for name in self.covariates]].to_numpy(float)

    def take(self, rows: np.ndarray) -> Self:
        """Some of the runs, by their positions; ``whole`` stays."""
        return replace(self, frame=self.frame.iloc[rows].reset_index(drop=True))

    @property
    def clusters(self) -> np.ndarray:
        """Number of each run's mixture, shape (n,): runs of one mixture are one cluster in folds, checks and errors.

        They are numbered in the order of their first runs, so where no mixture occurs twice the numbers are 0 to n - 1.
        """
        _, first, number = np.unique(self.T.round(9), axis=0, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[number.ravel()]

    @cached_property
    def part(self) -> pd.Series:
        """The part of each run; all are of the design where no column ``part`` holds :data:`PARTS` and nothing else."""
        told = self.frame.get("part", pd.Series(DESIGN, self.frame.index))
        return told if told.isin(PARTS).all() else pd.Series(DESIGN, self.frame.index)

    def parts(self, names: Sequence[str]) -> Self:
        """The runs of some of :data:`PARTS`, as a history of their own: sizes are covariates where theirs differ.

        InputError when there are no runs of a part, or fewer than 20 in all.
        """
        there = [name for name in PARTS if (self.part == name).any()]
        if lost := [name for name in names if name not in there] or ["none"] * (not names):
            raise InputError(
                f"Expected parts of the history among {', '.join(there)}, found {', '.join(lost)}; choose of these, or "
                "record the others and write the history again."
            )
        chosen = self.part.isin(names)
        if chosen.all():
            return self
        found = check_history(self.frame[chosen], f"{' and '.join(names)} of the history")
        # Not divided twice: mixtures and questions are known by their last digit, whatever other parts there are.
        weights = {f"w_{name}": self.frame.loc[chosen, f"w_{name}"].to_numpy() for name in self.domains}
        frame = found.frame.assign(**weights)
        return replace(found, frame=frame, whole=frame)

    @property
    def designed(self) -> Self:
        """The runs that were not proposed after looking at others: those where the column ``adaptive`` is not true."""
        return self.take(np.flatnonzero(~self.frame["adaptive"])) if "adaptive" in self.frame else self

    @property
    def measured(self) -> tuple[str, ...]:
        """The covariates that a pool is scored for: all but the sizes in :data:`SCALES`."""
        return tuple(name for name in self.covariates if name not in SCALES)

    def state(self, x: np.ndarray, n_samples: float | None = None, model_size: float | None = None) -> np.ndarray:
        """A whole state, shape (d,): measured covariates, then sizes, the history's largest where none is told."""
        told = {"log2_n_samples": n_samples, "log2_model_size": model_size}
        sizes = [np.log2(told[name]) if told[name] else self.X[:, j].max()
                 for j, name in enumerate(self.covariates) if name in SCALES]  # fmt: skip
        return np.concatenate([np.ravel(x), sizes])

    @property
    def usual_rows(self) -> int:
        """Rows of a training set: the median over runs, 1000 where they do not say."""
        return int(self.frame["n_samples"].median()) if "n_samples" in self.frame else 1000

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of all ``y_`` columns, with the prefix."""
        return columns_with(self.frame, "y_")

    def y(self, outcome: str = "y_dev") -> np.ndarray:
        """An outcome, a ``y_`` column, of every run, shape (n,); InputError where there is none, or a run lacks it."""
        self.check_outcome(outcome)
        values = self.frame[outcome].to_numpy(float)
        if (gaps := np.isnan(values)).any():
            raise InputError(
                f"Expected finite numbers in {outcome}, found none in {gaps.sum()} of {len(self)} runs, the first "
                f"{self.frame['run_id'][int(np.argmax(gaps))]}; fill the gaps, leave those runs out, or choose another "
                "outcome."
            )
        return values

    def check_outcome(self, outcome: str) -> None:
        """Raise InputError unless there is such a column."""
        check_name(outcome, self.outcomes, "outcome")

    def lacking(self, outcomes: Collection[str]) -> list[str]:
        """What has to be said of the runs that :meth:`complete` leaves out; nothing where there are none."""
        n = int(self.frame[list(outcomes)].isna().any(axis=1).sum())
        told = some_of(n, len(self), "runs", "is left out, for it lacks", "are left out, for they lack")
        return [f"{told} {brief(' or '.join(outcomes))}."] * bool(n)

    def complete(self, outcomes: Collection[str]) -> Self:
        """The runs that have all of some outcomes, as if there were no others; InputError of fewer than 20."""
        for name in outcomes:
            self.check_outcome(name)
        known = self.frame[list(outcomes)].notna().all(axis=1)
        if known.all():
            return self
        if known.sum() < MIN_ROWS:
            raise InputError(
                f"Expected {', '.join(outcomes)} in at least {MIN_ROWS} runs, found it in {known.sum()} of "
                f"{len(self)}; add runs, or choose another outcome."
            )
        frame = self.frame[known].reset_index(drop=True)
        return replace(self, frame=frame, whole=frame)


def check_history(frame: pd.DataFrame, source: str = "the history") -> History:
    """Validate a sweep of any domains and covariates, and divide the weights of each run by their sum.

    ``frame`` has columns ``run_id``, ``w_<domain>`` (two or more), ``x_<covariate>`` (any number), ``y_<outcome>`` (one
    or more, gaps allowed); others are kept.  Shares are percentages where they sum to 100 in every row.  Rows of the
    training set, where they are told, are ``n_samples``; ``source`` is what sentences call the table.  InputError when
    a column is missing, a value is no finite number (or missing, but for outcomes), a run has less than one row, a
    mixture is off the simplex, a run_id occurs twice, two domains are hardly told apart, or rows are fewer than 20.
    """
    check_columns(frame, SCHEMAS["history.csv"], source)
    weights = list(columns_with(frame, "w_"))
    if len(weights) < 2:
        raise InputError(f"Expected two or more w_ columns in {source}, found only {weights[0]}; add the others.")
    check_apart([name[2:] for name in weights], f" in {source}, or give both one name (--map OLD=NEW)")
    if len(frame) < MIN_ROWS:
        raise InputError(f"Expected at least {MIN_ROWS} runs in {source}, found {len(frame)}; add runs.")
    _check_run_ids(frame["run_id"], source)
    numbers = [*weights, *columns_with(frame, "x_"), *columns_with(frame, "y_")]
    frame = frame.reset_index(drop=True)
    frame[numbers] = finite(frame, numbers, source, gaps=columns_with(frame, "y_"))
    frame[weights] = _on_simplex(frame, weights, source)
    if "model" in frame and "model_size" not in frame:
        frame = _with_model_sizes(frame)
    for name in SIZES:
        if name in frame:
            frame[name] = _sizes(frame, name, source)
            scale = f"x_log2_{name}"  # after all measured covariates
            frame = frame.drop(columns=scale, errors="ignore")
            if frame[name].max() > DIFFERENT * frame[name].min():
                frame = frame.assign(**{scale: np.log2(frame[name])})
    if "adaptive" in frame:
        frame["adaptive"] = _flags(frame["adaptive"], source)
    named = {prefix: tuple(name[2:] for name in columns_with(frame, prefix)) for prefix in ("w_", "x_", "y_")}
    axes = tuple(name for name in named["y_"] if name not in ("dev", "unseen") and not name.endswith("_unseen"))
    axes = tuple(name for name in axes if not name.startswith("loss")) or axes
    return History(frame, named["w_"], named["x_"], axes)


def read_history(path: str | Path) -> History:
    """The history of a CSV file; InputError where that is not there or breaks the contract of :func:`check_history`."""
    return check_history(read_table(path, SCHEMAS["history.csv"]), source=Path(path).name)


def _check_run_ids(run_ids: pd.Series, source: str) -> None:
    if run_ids.isna().any():
        row = int(np.argmax(run_ids.isna())) + 1
        raise InputError(f"Expected a run_id in every row of {source}, found none in row {row}; name each run.")
    if len(again := run_ids[run_ids.duplicated()]):
        twice = f"{again.iloc[0]} {(run_ids == again.iloc[0]).sum()} times"
        raise InputError(f"Expected each run_id once in {source}, found {twice}; keep one row per run.")


def _sizes(frame: pd.DataFrame, name: str, source: str) -> pd.Series:
    """A column of sizes as numbers, whole ones where it holds such; the first that no run can have is an error."""
    off = ~finite(frame, [name], source)[name].between(1, LARGEST_SIZE).to_numpy()
    if off.any():
        row = int(np.argmax(off))
        bound = f"at most {LARGEST_SIZE:g}" if float(frame[name].iloc[row]) > 1 else "at least 1"
        raise InputError(
            f"Expected {name} of {bound} in {source}, found {frame[name].iloc[row]} "
            f"in run {frame['run_id'].iloc[row]}; give {WHAT_SIZES[name]}."
        )
    return pd.to_numeric(frame[name])


def _with_model_sizes(frame: pd.DataFrame) -> pd.DataFrame:
    """A column of parameters, where several models all have that number in their names, as ``60m``, ``v2-1.5B-it``."""
    found = frame["model"].astype(str).str.extract(SIZED)
    if frame["model"].nunique() < 2 or found.isna().any(axis=None):
        return frame
    return frame.assign(model_size=pd.to_numeric(found[0]) * found[1].str.lower().map(UNITS))


def _flags(column: pd.Series, source: str) -> pd.Series:
    """A column of yes and no, told as true/false or 1/0; what says nothing is no, as in runs of before a design."""
    words = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    found = column.astype(str).str.lower().map(words).where(column.notna(), False)
    if found.isna().any():
        row = int(np.argmax(found.isna()))
        raise InputError(
            f"Expected true or false in the column adaptive of {source}, found {column.iloc[row]!r} in row {row + 1}; "
            "correct it."
        )
    return found.astype(bool)


def rounding(shares: np.ndarray) -> float:
    """How far from 1 rounding may bring the sum of a run's shares, shape (n, K): hundredths further than others.

    Each of these misses half of one at most (three thirds are 0.99), and many of them five deviations of the whole.
    """
    hundredths, k = np.abs(shares - shares.round(2)).max() < 1e-9, shares.shape[1]
    return max(ROUNDING, hundredths * (min(0.005 * k, 0.015 * np.sqrt(k)) + 1e-9))


def sum_to_one(shares: np.ndarray) -> np.ndarray:
    """Whether each run's shares do, shape (n,), but for rounding."""
    return np.abs(shares.sum(axis=1) - 1) <= rounding(shares)


def _on_simplex(frame: pd.DataFrame, weights: list[str], source: str) -> pd.DataFrame:
    """The weight columns divided by their sum, also where that is 100 in every run; one off the simplex is an error."""
    T = frame[weights].to_numpy(float)
    sums = T.sum(axis=1)
    off = (T < 0).any(axis=1) | ~(sum_to_one(T) | sum_to_one(T / 100).all())
    if off.any():
        row = int(np.argmax(off))
        found = f"the sum {sums[row]:.6g}" if (T[row] >= 0).all() else f"the weight {T[row].min():g}"
        raise InputError(
            f"Expected weights of at least 0 that sum to 1 in every run of {source}, found {found} "
            f"in run {frame['run_id'].iloc[row]}; give shares, not percentages or counts."
        )
    return frame[weights] / sums[:, None]
