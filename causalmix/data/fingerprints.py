"""What rows, files and models are, by hashes of their content: names and paths may stay while these change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from causalmix.core.errors import InputError
from causalmix.data.tiny.shapes import CHECKPOINTS, SHAPES
from causalmix.lm import pretrained

if TYPE_CHECKING:
    from datasets import Dataset

ROW = ("row_id", "domain", "messages")  # what identifies a pool
MARK = "@"  # between a model's path and the hash of its files
SCORERS = ("scorer", "rater")  # roles of the models that measure the state of rows


def of_rows(pool: Dataset) -> str:
    """SHA-256 of a pool's rows, in their order: identifier, domain and conversation."""
    total = hashlib.sha256()
    for batch in pool.select_columns(list(ROW)).iter(1000):
        for row in zip(*(batch[name] for name in ROW)):
            total.update(json.dumps(row, sort_keys=True).encode())
    return total.hexdigest()


def of_files(paths: Iterable[Path]) -> str:
    """SHA-256 of files one after the other, folders with all that is in them; what is not there does not count."""
    total = hashlib.sha256()
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in filter(Path.is_file, inside):
            with open(file, "rb") as stream:
                while block := stream.read(2**20):
                    total.update(block)
    return total.hexdigest()


def of_place(name: object) -> object:
    """What a name stands for, if it is that of files here: their content, and their names in a folder; else itself."""
    if not (isinstance(name, str) and name and (place := Path(name)).exists()):
        return name
    inside = sorted(place.rglob("*")) if place.is_dir() else ()
    return [of_files([place]), *(file.relative_to(place).as_posix() for file in inside)]


def of_model(role: str, name: str) -> dict[str, str]:
    """Name and SHA-256 of the files (empty on a hub) of a scorer or rater; an empty name is the one that ships."""
    shipped = (name.partition(MARK)[0] or role) if not name or name.partition(MARK)[0] in SHAPES else ""
    where = CHECKPOINTS / shipped if shipped else pretrained.smollm2_path() if name == "smollm2" else Path(name)
    called = f"the embedded world's {shipped}" if shipped else where.name if where.exists() else name
    return {"name": called, "sha256": of_files([where]) if where.exists() else ""}


def label(model: Mapping[str, str]) -> str:
    """What :func:`of_model` tells as a history writes it: the name, with the hash of its files where there is one."""
    return f"{model['name']}{MARK}{model['sha256'][:8]}" if model["sha256"] else model["name"]


def _place(name: str) -> Path:
    """Where the files of a model lie: of a base of the embedded world, or a path."""
    return CHECKPOINTS / name if name in SHAPES else Path(name)


@lru_cache(maxsize=16)
def marked(name: str) -> str:
    """The name of a base that ships, or of a path, with the hash of its files: new weights there are another model.

    The proxy has none, for its files are part of the embedded world's own identity already.
    """
    path = _place(name)
    return f"{name}{MARK}{of_files([path])[:8]}" if path.exists() and name != "proxy" else name


def by_content(name: str) -> str:
    """What a model is, wherever :func:`marked` found its files: in a folder that was moved it is no other."""
    before, found, after = name.rpartition(MARK)
    return MARK + after if found and len(after) == 8 and before not in SHAPES else name


def unmarked(name: str) -> str:
    """The path, or the name, that :func:`marked` was given; InputError when its files are no longer those."""
    before, found, after = name.rpartition(MARK)
    if not (found and len(after) == 8 and _place(before).exists()):
        return name
    if marked(before) != name:
        raise InputError(f"Expected the model {name}, found {marked(before)}; put its files back, or make new runs.")
    return before
