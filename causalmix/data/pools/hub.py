"""Rows of real data sets: whether they are there, opening them, and taking some of them.

A data set is a file or folder on this machine or a name on the Hugging Face hub.  It is read as data:
no code of a repository runs and no pickle is read.  Rows are opened as a whole, not streamed, since
a sample that keeps the domains' shares has to know all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset, Features, List, Value, load_dataset, load_dataset_builder
from datasets.exceptions import DatasetsError

from causalmix.core.errors import InputError
from causalmix.core.simplex import to_counts
from causalmix.lm.available import READERS, available, quiet

#: What every pool has; the content of a turn is plain text.
FEATURES = Features(
    {name: Value("string") for name in ("row_id", "domain", "source")}
    | {"messages": List({"role": Value("string"), "content": Value("string")})}
)


def open_rows(
    path: str | Path,
    name: str | None = None,
    split: str = "train",
    data_files: str | Sequence[str] | Mapping[str, str] | None = None,
    revision: str | None = None,
) -> Dataset:
    """Open a data set as one table; its rows stay on disk, and nothing is written beside local files.

    ``path`` is a file (JSONL, JSON, CSV, Parquet, Arrow), a folder of such files, a folder that ``save_to_disk`` wrote,
    or a name on the Hugging Face hub.  ``name`` is a configuration there, or the folder of that name below a local one;
    ``split`` which part (a single file has one only, whatever it is called); ``data_files`` some files of a folder or
    repository; ``revision`` a branch, tag or commit.
    """
    path = Path(path)
    available(path.as_posix(), "dataset")
    try:
        with quiet():
            if path.is_file():
                return _from_files(READERS[path.suffix], [path], split)
            if path.is_dir():
                return _from_folder(path, name, split, data_files)
            return load_dataset(path.as_posix(), name, split=split, data_files=data_files, revision=revision)
    except (DatasetsError, OSError, ValueError, TypeError, KeyError) as error:
        found = _broken_line(path) if path.suffix == ".jsonl" and path.is_file() else ""
        raise InputError(
            f"Expected the split {split} of {path} to load as one table, found: {found or _one_line(error)}; "
            "check its files, or name some of them."
        ) from error


def _from_files(reader: str, files: Sequence[Path], split: str) -> Dataset:
    if reader == "csv":
        return _from_csv(files)
    # Some columns would make the JSON reader take rows for logs of another program.
    plain = {"parse_agent_traces": False} if reader == "json" else {}
    return load_dataset(reader, data_files={split: [str(file.resolve()) for file in files]}, split=split, **plain)


def _from_csv(files: Sequence[str | Path], separator: str = ",") -> Dataset:
    """Rows as they are written: an answer may be 007, or None."""
    tables = [pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False) for file in files]
    return Dataset.from_pandas(pd.concat(tables, ignore_index=True), preserve_index=False)


def _from_folder(folder: Path, name: str | None, split: str, data_files) -> Dataset:
    if name and (folder / name).is_dir():
        folder, name = folder / name, None
    if (folder / "dataset_dict.json").is_file():
        folder = folder / split
    if (folder / "state.json").is_file():
        # Its files, not load_from_disk: what is derived from those rows would be written into the folder.
        return _from_files("arrow", sorted(folder.glob("data-*.arrow")), split)
    builder = load_dataset_builder(str(folder.resolve()), name, data_files=data_files)  # it knows the files of a split
    if builder.name == "csv":
        return _from_csv(builder.config.data_files[split], builder.config.sep)
    return load_dataset(str(folder.resolve()), name, split=split, data_files=data_files)


def stratified(groups: Sequence[str], max_rows: int, seed: int) -> np.ndarray:
    """Places, in rising order, of ``max_rows`` rows (0 for all) drawn so that every group keeps its share."""
    if max_rows < 0:
        raise InputError(f"Expected max_rows of at least 0, found {max_rows}; 0 takes all rows.")
    if not 0 < max_rows < len(groups):
        return np.arange(len(groups))
    codes, names = pd.factorize(pd.Series(groups))
    wanted = to_counts(np.bincount(codes), max_rows)
    if (wanted == 0).any():
        missing = ", ".join(names[wanted == 0])
        raise InputError(f"Expected rows of every domain, found none of {missing} among {max_rows}; take more rows.")
    rng = np.random.default_rng([seed, 17])
    taken = [rng.choice(np.flatnonzero(codes == code), count, replace=False) for code, count in enumerate(wanted)]
    return np.sort(np.concatenate(taken))


def note(rows: Dataset, *sentences: str) -> Dataset:
    """Rows that tell how they came about: sentences at the end of ``info.description``, which is kept with them."""
    rows.info.description = "\n".join(filter(None, [rows.info.description, *sentences]))
    return rows


def _broken_line(file: Path) -> str:
    """The first line that is not JSON; the reader counts from the start of some block."""
    with open(file, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                json.loads(line.strip() or b"null")
            except ValueError as error:
                return f"no JSON in line {number}, {_one_line(error)}"
    return ""


def _one_line(error: BaseException) -> str:
    cause = error.__cause__ or error  # the library wraps what it could not read
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:300].rstrip(".")
