"""The tables of a study: their schemas, validated reading and atomic writing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from numbers import Real
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError

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


def read_table(path: str | Path, required: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV table.

    InputError when the file is missing or no CSV table, a column of ``required`` or of :data:`SCHEMAS` is missing or
    there twice, or rows have more cells than there are columns.
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
    check_columns(frame, [*SCHEMAS.get(path.name, ()), *required], path.name)
    return frame


def write_table(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a CSV table so that a reader sees the old file or the new one, never a part.

    The index is left out, and floats get six significant digits.
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


def columns_with(frame: pd.DataFrame, prefix: str) -> tuple[str, ...]:
    return tuple(name for name in frame.columns if str(name).startswith(prefix))


def check_columns(frame: pd.DataFrame, required: Sequence[str], source: str) -> None:
    missing = [
        name
        for name in required
        if not (columns_with(frame, name[:-1]) if name.endswith("*") else name in frame.columns)
    ]
    if missing:
        raise InputError(
            f"Expected the columns {', '.join(missing)} in {source}, "
            f"found only {', '.join(map(str, frame.columns))}; add what is missing."
        )


def finite(frame: pd.DataFrame, names: list[str], source: str) -> pd.DataFrame:
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
