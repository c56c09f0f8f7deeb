"""Rows of real data sets: whether they are there, opening them, and taking some of them.

A data set is a file or folder on this machine or a name on the Hugging Face hub.  It is read as data:
no code of a repository runs and no pickle is read.  Rows are opened as a whole, not streamed, since
a sample that keeps the domains' shares has to know all of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset, Features, List, Value, config, load_dataset, load_dataset_builder
from datasets.exceptions import DatasetsError
from datasets.naming import camelcase_to_snakecase

from causalmix.core.errors import InputError
from causalmix.core.simplex import to_counts
from causalmix.lm.pretrained import HUB_SECONDS, LAPTOP, hub_refusal

#: What every pool has; the content of a turn is plain text.
FEATURES = Features(
    {
        "row_id": Value("string"),
        "domain": Value("string"),
        "source": Value("string"),
        "messages": List({"role": Value("string"), "content": Value("string")}),
    }
)

#: Reader of a file by its ending.
READERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet", ".arrow": "arrow"}


def open_rows(
    path: str | Path,
    name: str | None = None,
    split: str = "train",
    data_files: str | Sequence[str] | Mapping[str, str] | None = None,
    revision: str | None = None,
) -> Dataset:
    """Open a data set; its rows stay on disk.

    Parameters
    ----------
    path : str or Path
        A file (JSONL, JSON, CSV, Parquet, Arrow), a folder of such files, a folder that
        ``save_to_disk`` wrote, or a name on the Hugging Face hub.  Nothing is written beside local files.
    name : str, optional
        Configuration on the hub, or the folder of that name below a local one.
    split : str
        Which part; a single file has one only, whatever it is called.
    data_files : str, sequence or mapping, optional
        Files of a folder or repository, where not all of them are meant.
    revision : str, optional
        Branch, tag or commit on the hub.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        When nothing is there (:func:`require`), or it does not load as one table.
    """
    require(path)
    path = Path(path)
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


def require(path: str | Path) -> None:
    """Check within seconds that a data set can be had; no row is downloaded.

    Parameters
    ----------
    path : str or Path
        As for :func:`open_rows`.  What is not on this machine is looked for in the hub's caches, then
        on the hub unless ``HF_HUB_OFFLINE`` is set.

    Raises
    ------
    InputError
        When nothing by that name is there, or a file is empty or of no known kind.
    """
    found = Path(path)
    if found.is_file() and found.suffix not in READERS:
        raise InputError(
            f"Expected a data set as {', '.join(READERS)} or a folder, found {found}; convert it to one of these."
        )
    if found.is_file() and not found.stat().st_size:
        raise InputError(f"Expected rows in {found}, found an empty file; write it again.")
    if not found.exists() and not _is_cached(str(path)):
        with quiet():
            _require_on_hub(str(path))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' remarks off the page; what fails is raised."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _is_cached(name: str) -> bool:
    """Whether this machine holds files or a prepared table of that name."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        snapshot_download(name, repo_type="dataset", local_files_only=True)
        return True
    except LocalEntryNotFoundError:
        *owner, last = name.split("/")
        prepared = "___".join([*owner, camelcase_to_snakecase(last)])
        return any(Path(config.HF_DATASETS_CACHE).glob(f"{prepared}/*/*/*/dataset_info.json"))
    except HFValidationError:
        raise InputError(
            f"Expected a file, a folder or a name on the Hugging Face hub, found {name!r}; correct it ({LAPTOP})."
        ) from None


def _require_on_hub(name: str) -> None:
    from huggingface_hub import HfApi

    if found := hub_refusal(lambda: HfApi().dataset_info(name, timeout=HUB_SECONDS)):
        raise InputError(
            f"Expected the data set {name} in a file or folder, in the Hugging Face cache or on the hub, found none "
            f"({found}); download it where there is a network and give its folder ({LAPTOP})."
        )


def stratified(groups: Sequence[str], max_rows: int, seed: int) -> np.ndarray:
    """Places of a random part in which every group keeps its share.

    Parameters
    ----------
    groups : sequence of str, length n
        The group of each row.
    max_rows : int
        Most rows; 0 for all.
    seed : int
        Which rows.

    Returns
    -------
    ndarray of int
        In rising order; shares are met to within one row.

    Raises
    ------
    InputError
        When ``max_rows`` is negative, or so few that a group would be left without rows.
    """
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
