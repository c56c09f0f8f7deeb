"""Files of rows on this machine: which of a folder are meant, and their rows, read anew each time; nothing is run."""

import bz2
import codecs
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pandas as pd
import pyarrow as pa
from datasets.data_files import sanitize_patterns
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard
from pyarrow import parquet

from causalmix.core.encodings import decoded
from causalmix.core.errors import DEEP, InputError, one_line, refused
from causalmix.core.json_text import parse_json
from causalmix.lm.available import READERS, quiet, reader_of

BATCH = 1000  # rows of a binary file that are held at once
OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
OPENERS |= {".zst": lambda file: pa.input_stream(file, compression="zstd")}
ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")  # files about a data set
ZEROS = "characters that are zero, as of UTF-16 without a mark (write it as UTF-8)"

UNNAMED = "not named as this split by data_files or the head of README.md"
BESIDE = "no part of the saved data set: a cache, or an older file"

#: What names of files and folders say about the part of a data set that they hold.
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test"}
SPLITS |= dict.fromkeys(("validation", "valid", "val", "dev"), "validation")


class Line(NamedTuple):
    """A row of a file, or why there is none."""

    number: int  # from 1; of the line where rows are lines of JSON
    row: dict[str, Any]
    problem: str = ""
    how: str = "UTF-8"  # the encoding and the separator that were assumed


def find(
    path: Path, name: str | None = None, split: str = "train", data_files: Any = None
) -> tuple[list[Path], dict[Path, str]]:
    """The files of rows that are meant, and those of a folder that are not, each with the reason.

    The arguments are those of :func:`causalmix.data.pools.hub.open_rows`.
    """
    if path.is_file():
        return [path], {}
    if name and (path / name).is_dir():
        path, name = path / name, None
    if (path / "dataset_dict.json").is_file() and (path / split).is_dir():
        path = path / split
    if saved := _saved(path):
        return saved, {file: BESIDE for file in sorted(path.glob("*.arrow")) if file not in saved}
    seen = [f for f in sorted(path.rglob("*")) if (f.is_file() or f.is_symlink()) and f.suffix != ".lock"]
    seen = [f for f in seen if not any(part.startswith((".", "__")) for part in f.relative_to(path).parts)]
    asked = sanitize_patterns(data_files) if data_files else _of_card(path, name)
    if asked is not None:
        plain = {pattern: path / pattern for pattern in asked.get(split, ())}  # a name may hold a pattern's signs
        each = ([file] if file.is_file() else sorted(path.glob(pattern)) for pattern, file in plain.items())
        if chosen := [file for found in each for file in found if file.is_file()]:
            return chosen, {file: UNNAMED for file in seen if reader_of(file) and file not in chosen}
        raise InputError(
            f"Expected the split {split} of {path} as files {asked.get(split) or 'of ' + ', '.join(asked)}, "
            "found none; correct data_files, the split or the name."
        )
    saved = {folder: files for folder in {file.parent for file in seen} if (files := _saved(folder))}
    beside = [file for file in seen if file.suffix == ".arrow" and file not in saved.get(file.parent, [file])]
    rows = [f for f in seen if f.is_file() and reader_of(f) and f.name not in ABOUT and f not in beside]
    parts = {file: _split_of(file.relative_to(path).as_posix().lower()) for file in rows}
    chosen = [file for file, part in parts.items() if part == SPLITS.get(split, split)]
    if not chosen:
        splits = f" of the split {', '.join(sorted(set(parts.values())))}" if parts else ""
        other = ", ".join(str(f.relative_to(path)) for f in (parts or seen))[:200] or "no file"
        raise InputError(
            f"Expected the split {split} of {path} in files of {', '.join(READERS)}, found {other}{splits}; "
            "write rows to such a file, or name the split."
        )
    said = {file: "no file of rows" if file.is_file() else "a link to a folder, or to nothing" for file in seen}
    said |= dict.fromkeys(beside, BESIDE) | {file: f"of the split {part}" for file, part in parts.items()}
    return chosen, {file: why for file, why in said.items() if file not in chosen}


def _saved(folder: Path) -> list[Path]:
    """The files of rows of a folder that ``save_to_disk`` wrote, as it names them; none of any other folder."""
    try:
        named = json.loads((folder / "state.json").read_text(encoding="utf-8"))["_data_files"]
        return [folder / Path(file["filename"]).name for file in named]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []


def _split_of(place: str) -> str:
    """Which part of a data set a file is, by a name on its way that says only that, or else by a word of one."""
    named = [re.findall("[a-z]+", name.partition(".")[0]) for name in place.split("/")]
    alone = [first for first, *more in filter(None, named) if set(more) <= {"of"}]
    return next((SPLITS[word] for word in (*alone, *re.split("[^a-z]+", place)) if word in SPLITS), "train")


def _of_card(folder: Path, name: str | None) -> dict[str, list[str]] | None:
    """Patterns of files by split, as the card of a data set (the head of its README.md) has them."""
    card = folder / "README.md"
    with quiet(), refused(f"a card of YAML at the head of {card}", "correct it"):
        configs = MetadataConfigs.from_dataset_card_data(DatasetCard.load(card).data) if card.is_file() else {}
        chosen = name or (configs and configs.get_default_config_name())
    if name and name not in configs:
        raise InputError(f"Expected {name} as a folder of {folder} or in its card, found neither; correct the name.")
    if configs and not chosen:
        raise InputError(f"Expected one of {', '.join(configs)} of {folder}, found no name; give its name.")
    files = configs[chosen].get("data_files") if configs else None
    return sanitize_patterns(files) if files else None


def lines(file: Path) -> Iterator[Line]:
    """The rows of a file; InputError, which names the file, where it cannot be read."""
    reader = {"json": _json, "csv": _csv, "parquet": _parquet, "arrow": _arrow}[reader_of(file)]
    unreadable = OSError, EOFError, ValueError, RecursionError, zlib.error, lzma.LZMAError, pa.ArrowException
    with refused(f"rows in {file}", "check the file", *unreadable):
        yield from reader(file)


def _open(file: Path) -> BinaryIO:
    if opener := OPENERS.get(file.suffix.lower()):
        return io.BufferedReader(opener(str(file)))
    return open(file, "rb")


def _json(file: Path) -> Iterator[Line]:
    """Lines of JSON, or one document: an array of rows, or a row."""
    with _open(file) as stream:
        first = next((line for line in stream if line.strip()), b"")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or not _by_lines(file, first):
        with _open(file) as stream:
            text, how = decoded(stream.read())
        if _by_lines(file, text.encode("utf-8", "surrogatepass").lstrip().split(b"\n")[0]):
            numbered = enumerate(text.split("\n"), 1)  # a text may hold what else ends lines
            yield from (_parsed(number, line, how) for number, line in numbered if line.strip())
            return
        found = parse_json(text)
        if found is None:
            raise InputError(f"Expected rows in {file}, found only null; write them again.")
        if _by_columns(found):
            raise InputError(
                f"Expected a list of rows in {file}, found lists by column ({', '.join(map(str, found))[:80]}); write "
                "a row a line, as pandas does with orient='records', lines=True."
            )
        for number, row in enumerate(found if isinstance(found, list) else [found], 1):
            yield _object(number, row, how)
        return
    with _open(file) as stream:
        for number, raw in enumerate(stream, 1):
            if raw.strip():
                yield _parsed(number, *decoded(raw))


def _by_columns(found: Any) -> bool:
    """Whether a document has the values of each column, as pandas writes a table by default, in place of rows."""
    values = list(found.values()) if isinstance(found, dict) else []
    if values and all(isinstance(value, dict) for value in values):
        return len(values[0]) > 1 and all(list(value) == list(values[0]) for value in values)
    lists = len(values) > 1 and all(
        isinstance(value, list) and not any(isinstance(v, dict) for v in value) for value in values
    )
    return lists and len({len(value) for value in values}) == 1


def _by_lines(file: Path, first: bytes) -> bool:
    """Whether each line is a row of its own, by the first of them."""
    first = first.removeprefix(codecs.BOM_UTF8).strip()
    if first.startswith(b"[") or ".json" not in map(str.lower, file.suffixes[-2:]):
        return not first.startswith(b"[")
    try:
        return isinstance(json.loads(decoded(first)[0]), dict)
    except (ValueError, RecursionError):
        return False


def _parsed(number: int, text: str, how: str) -> Line:
    try:
        return _object(number, parse_json(text.strip()), how)
    except ValueError as error:  # also of a number of thousands of digits
        at = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else one_line(error)
        return Line(number, {}, DEEP if at == DEEP else ZEROS if "\0" in text else f"no JSON ({at})", how)


def _object(number: int, row: Any, how: str) -> Line:
    is_row = isinstance(row, dict)
    return Line(number, row if is_row else {}, "" if is_row else f"{type(row).__name__} instead of a JSON object", how)


def _csv(file: Path) -> Iterator[Line]:
    """Rows as they are written: an answer may be 007, or None."""
    with _open(file) as stream:
        raw = stream.read()
    text, how = decoded(raw)
    if "\0" in text:
        raise ValueError(ZEROS)
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    how += "" if separator == "," else f", separator {separator!r}"
    table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first cells for names, and shifts the others
        found, names = len(table.columns) + table.index.nlevels, len(table.columns)
        raise ValueError(f"{found} cells in row 1 under {names} names: put quotes around texts that hold {separator!r}")
    for number, values in enumerate(table.itertuples(index=False, name=None), 1):
        yield Line(number, dict(zip(table.columns, values)), _swallowed(values, separator), how)


def _swallowed(values: Sequence[Any], separator: str) -> str:
    """Why cells are no row: a quote that nothing closes in its own row has taken those after it for its text."""
    most = len(values) - 1
    for place, cell in enumerate(values):
        first, *inside, last = str(cell).split("\n") if "\n" in str(cell) else ("", "")
        ends = first.count(separator) == most - place and last.count(separator) == place
        # A table in a text may look so as well, if it has as many columns: commas are common, tabs are not.
        if ends and most and (inside or separator == "\t") and all(line.count(separator) == most for line in inside):
            return f"a quote that takes {len(inside) + 1} further lines for its text (close it, or leave it out)"
    return ""


def _parquet(file: Path) -> Iterator[Line]:
    with parquet.ParquetFile(file) as opened:
        yield from of_batches(opened.iter_batches(BATCH))


def _arrow(file: Path) -> Iterator[Line]:
    with pa.memory_map(str(file)) as source:
        try:
            batches: Sequence | Iterator = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            opened = pa.ipc.open_file(source)
            batches = (opened.get_batch(i) for i in range(opened.num_record_batches))
        yield from of_batches(batches)


def of_batches(batches: Iterator[Any]) -> Iterator[Line]:
    """The rows of Arrow tables or batches."""
    for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
        yield Line(number, {name: full(value) for name, value in row.items()}, how="")


def full(value: Any) -> Any:
    """Without what Arrow adds to make all rows alike; a content may be null."""
    if isinstance(value, dict):
        return {name: full(part) for name, part in value.items() if part is not None or name == "content"}
    return [full(part) for part in value] if isinstance(value, list) else value
