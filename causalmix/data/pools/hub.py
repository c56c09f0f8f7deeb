"""Rows of real data sets, files here or a name on the Hugging Face hub: no code of theirs runs, no pickle is read."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from datasets import Dataset, Features, List, Value, load_dataset

from causalmix.core.errors import InputError, refused
from causalmix.core.simplex import to_counts
from causalmix.data.pools import files
from causalmix.lm.available import available, quiet

#: What every pool has; the content of a turn is plain text.
FEATURES = Features(
    {name: Value("string") for name in ("row_id", "domain", "source")}
    | {"messages": List({"role": Value("string"), "content": Value("string")})}
)

CAPTIONS = READ, LEFT_OUT = "What was read:", "What was left out:"


def open_rows(
    path: str | Path, name: str | None = None, split: str = "train",
    data_files: str | Sequence[str] | Mapping[str, str] | None = None, revision: str | None = None,
) -> Dataset:  # fmt: skip
    """Open a data set as one table; those of local files are held in memory.

    ``path`` is a file (JSONL, JSON, CSV, Parquet, Arrow; text also compressed), a folder of such files, a folder that
    ``save_to_disk`` wrote, or a name on the Hugging Face hub.  ``name`` is a configuration there, or the folder of that
    name below a local one; ``split`` which part (a single file has one only, whatever it is called); ``data_files``
    some files of a folder or repository; ``revision`` a branch, tag or commit.
    """
    path = Path(path)
    available(path.as_posix(), "dataset")
    with quiet(), refused(f"the split {split} of {path} to load as one table", "check its files, or name some of them"):
        if not path.exists():
            return load_dataset(path.as_posix(), name, split=split, data_files=data_files, revision=revision)
        tables = [table for file in files.find(path, name, split, data_files)[0] for table in _tables(file)]
        return Dataset(pa.concat_tables(tables, promote_options="permissive"))


def _tables(file: Path) -> Iterator[pa.Table]:
    """The rows of a file, so many at a time."""
    rows, any_rows = files.lines(file), False
    while batch := list(islice(rows, files.BATCH)):
        if bad := next((line for line in batch if line.problem), None):
            raise InputError(f"Expected rows in {file}, found {bad.problem} in row {bad.number}; correct it.")
        any_rows = True
        yield pa.Table.from_pylist([line.row for line in batch])
    if not any_rows:
        raise InputError(f"Expected rows in {file}, found none; write it again.")


def stratified(groups: Sequence[str], max_rows: int, seed: int) -> np.ndarray:
    """Places, in rising order, of ``max_rows`` rows (0 for all) drawn so that every group keeps its share."""
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


def as_table(caption: str, records: Sequence[Mapping[str, object]]) -> str:
    """Records as a Markdown table below one of the :data:`CAPTIONS`; empty where there are none."""
    cells = [list(records[0]), ["---"] * len(records[0]), *(one.values() for one in records)] if records else []
    lines = ["| " + " | ".join(map(plain, line)) + " |" for line in cells]
    return "\n".join([f"\n{caption}\n", *lines, ""]) if lines else ""


def plain(value: object) -> str:
    """A value in one line that neither a terminal nor a page takes for more than text."""
    line = " ".join(str(value).split()).replace("|", r"\|").replace("<", "‹")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def told(rows: Dataset) -> tuple[list[str], dict[str, list[dict[str, str]]]]:
    """What :func:`note` was told of rows: the sentences, and the records of each table by its caption."""
    sentences: list[str] = []
    tables: dict[str, list[list[str]]] = {}
    for line in filter(None, rows.info.description.splitlines()):
        if line in CAPTIONS:
            cells = tables.setdefault(line, [])
        elif line.startswith("| "):
            cells.append(line.removeprefix("| ").removesuffix(" |").split(" | "))
        else:
            sentences.append(line)
    return sentences, {name: [dict(zip(head, row)) for row in lines] for name, (head, _, *lines) in tables.items()}
