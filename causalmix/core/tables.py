"""The tables of a study: their schemas, validated reading and atomic writing."""

import re
from collections.abc import Collection, Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.encodings import decoded
from causalmix.core.errors import InputError, brief, refused
from causalmix.core.paths import write_whole

#: Columns that each table must have; a name that ends in ``*`` asks for one or more of that prefix.
SCHEMAS = {
    "history.csv": ("run_id", "w_*", "y_*"),
    "mixtures.csv": ("method", "pool", "w_*", "predicted_gain", "gain_ci_low", "gain_ci_high", "in_support",
                     "proxy_runs_used"),
    "targets.csv": ("method", "model", "n_samples", "seed", "y_*"),
    "longcot.csv": ("method", "model", "n_samples", "seed", "y_*"),
    "ablations.csv": ("ablation", "variant", "split", "spearman", "r2"),
}  # fmt: skip


#: Columns of digests, some of which look like numbers: 860298e29779 would be read as infinite.
AS_TEXT = {"run_id", "question"}

#: What may part cells, with its name, and a number with a decimal comma.
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}
DECIMAL_COMMA = r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?"
HUNDREDTHS = r"[+-]?\d+(?:[.]\d+|,\d{1,2})? ?%"  # as spreadsheets write shares
THOUSANDS = r"[+-]?[1-9]\d{0,2},\d{3}|[^,]*"  # may be: 1,500 is 1.5 to some, and 1500 where commas part cells

#: First bytes of files that are no tables as text, and what these are.
BINARY = {b"PK": "a spreadsheet or an archive", b"\xd0\xcf\x11\xe0": "an old spreadsheet", b"PAR1": "Parquet",
          b"\x1f\x8b": "compressed by gzip", b"\x28\xb5\x2f\xfd": "compressed by zstd", b"{": "JSON", b"[": "JSON",
          b"\0\0": "nothing but zeros"}  # fmt: skip

#: Numbers beyond this cannot be squared and summed.
LARGEST = 1e100

#: Tables that this process has written; a page's stamp names them.
WRITTEN: set[Path] = set()


def read_table(
    path: str | Path, required: Sequence[str] | None = (), as_text: Collection[str] = AS_TEXT
) -> pd.DataFrame:  # fmt: skip
    """Read a CSV table, its cells parted by commas, tabs or semicolons, its decimals by a point or a comma.

    Columns ``as_text`` keep their cells as they are written.  What is not plain CSV is told in
    ``frame.attrs["told"]``, a tuple of sentences.  InputError when there is no such table, or a column of
    :data:`SCHEMAS` or ``required`` (None asks for nothing) is missing or there twice.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"Expected a table at {path}, found {found}; name it, or run the step that writes it.")
    raw = path.read_bytes()
    if found := next((what for start, what in BINARY.items() if raw.startswith(start)), ""):
        raise InputError(f"Expected a table as text in {path.name}, found that it is {found}; save it as CSV.")
    with refused(f"a CSV table in {path.name}", "correct the file, or save it as CSV in UTF-8", ValueError):
        whole, encoding = decoded(raw)
        how = _dialect(whole)
        # As text first: pandas renames a column named twice, makes an index of cells beyond the header, and
        # takes a run_id such as 0012 or 12e45678 for a number and NA for none.
        text = pd.read_csv(StringIO(whole), header=None, dtype=str, keep_default_na=False, **how)
        frame = pd.read_csv(StringIO(whole), **how)
    header = text.iloc[0]
    if twice := list(header[header.duplicated() & (header != "")]):
        raise InputError(
            f"Expected each column once in {path.name}, found {brief(twice[0])} again; rename or remove one."
        )
    for name in frame.select_dtypes(["object", "str"]):
        if (cells := frame[name].dropna().astype(str).str.strip()).str.fullmatch(HUNDREDTHS).all() and len(cells):
            bare = cells.str.rstrip("% ").str.replace(",", ".", regex=False)
            frame[name] = (pd.to_numeric(bare) / 100).reindex(frame.index)
    commas = _to_points(frame, how["sep"])
    old = not encoding.startswith("UTF")
    if commas or how["sep"] != "," or old:
        parts = [f"cells parted by {SEPARATORS[how['sep']]}"] + [f"decimal commas in {brief(commas)}"] * bool(commas)
        parts += [f"letters of {encoding}"] * old
        frame.attrs["told"] = (f"{path.name} was read with {' and '.join(parts)}.",)
    for name in set(as_text) & set(frame):
        ids = text.loc[1:, header == name].iloc[:, 0].reset_index(drop=True)
        frame[name] = ids.where(ids != "")
    if required is not None:
        check_columns(frame, [*SCHEMAS.get(path.name, ()), *required], path.name)
    return frame


def _dialect(text: str) -> dict[str, str | int]:
    """What parts cells, by the line of names or a spreadsheet's own word (and blanks)."""
    names = text.partition("\n")[0]
    if (said := re.fullmatch(r"sep=(.)\s*", names)) and said[1] in SEPARATORS:
        return {"sep": said[1], "skiprows": 1, "skipinitialspace": True}
    return {"sep": max(SEPARATORS, key=names.count), "skipinitialspace": True}


def _to_points(frame: pd.DataFrame, separator: str) -> str:
    """Make numbers of texts where a column has decimal commas and is numeric throughout; the names of such columns."""
    commas = []
    for name in frame.select_dtypes(["object", "str"]):
        cells = frame[name].dropna().astype(str).str.strip()
        if separator == "," and cells.str.fullmatch(THOUSANDS).all():
            continue  # as text, which nothing takes for a number
        if cells.str.fullmatch(DECIMAL_COMMA).any():
            numbers = pd.to_numeric(cells.str.replace(",", ".", regex=False), errors="coerce")
            if numbers.notna().all():
                frame[name], commas = numbers.reindex(frame.index), [*commas, str(name)]
    return ", ".join(commas)


def write_table(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a CSV table, without its index, floats in six digits; a reader sees the old file or the new one whole."""
    write_whole(Path(path), frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    WRITTEN.add(Path(path).resolve())


def columns_with(frame: pd.DataFrame, prefix: str) -> tuple[str, ...]:
    return tuple(name for name in frame.columns if str(name).startswith(prefix))


def check_columns(frame: pd.DataFrame, required: Sequence[str], source: str) -> None:
    there = lambda name: columns_with(frame, name[:-1]) if name.endswith("*") else name in frame.columns  # noqa: E731
    if missing := [name for name in required if not there(name)]:
        raise InputError(
            f"Expected the columns {', '.join(missing)} in {source}, "
            f"found only {brief(', '.join(map(str, frame.columns)))}; add what is missing."
        )


def finite(frame: pd.DataFrame, names: list[str], source: str, gaps: Sequence[str] = ()) -> pd.DataFrame:
    """Named columns as floats; the first cell that is no finite number is an error, but an empty one in ``gaps``."""
    numbers = frame[names].apply(pd.to_numeric, errors="coerce").astype(float)
    off = ~(np.abs(numbers.to_numpy()) < LARGEST) & ~(frame[names].isna().to_numpy() & np.isin(names, gaps))
    if off.any():
        row, column = np.argwhere(off)[0]
        raise InputError(
            f"Expected finite numbers in {names[column]} of {source}, found {brief(frame[names[column]].iloc[row])} "
            f"in run {frame['run_id'].iloc[row]}; correct the value or drop the row."
        )
    return numbers
