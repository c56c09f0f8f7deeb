"""Sweeps that others published, as histories: that of RegMix, 512 mixtures of 17 domains and larger models beside.

Source: github.com/sail-sg/regmix, folder ``data`` at a pinned commit, MIT, (c) 2024 Sea AI Lab
(Liu et al. 2024, arXiv:2407.01492).  Nothing of it is part of this package: files are fetched on
first use, and a file is used only if its SHA-256 is the published one's.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core import paths
from causalmix.core.errors import InputError
from causalmix.core.tables import write_table

COMMIT = "b004d3a3f39846dcec6b3740da22bcd1ba95a5d0"
SOURCE = f"https://raw.githubusercontent.com/sail-sg/regmix/{COMMIT}/data/"
PREFIX = "regmix_"  # of a file's name here; what follows is its name there
FOLDER = "CAUSALMIX_PUBLIC_SWEEPS"  # environment variable: a folder that is looked into first
TIMEOUT = 20  # seconds

SHA256 = {
    "regmix_train_mixture_1m.csv": "04a32ef4ab594376bf90e11404c033668f887c351d6a03ad3744824c7296a2d8",
    "regmix_train_pile_loss_1m.csv": "49a959aa07ce5c20831d5abe3a7896ff0cd90a398bd407c8913fd5588be0465a",
    "regmix_test_mixture_1m.csv": "197267b7d6f15367e2f46c881e564c35b0d34e51b1754bb09d07e650cf8e1ce8",
    "regmix_test_pile_loss_1m.csv": "e027b1674f60140a65a87b5e4a59ab5f09dc33e8fd02c080682678074b160f53",
    "regmix_test_mixture_60m.csv": "197267b7d6f15367e2f46c881e564c35b0d34e51b1754bb09d07e650cf8e1ce8",
    "regmix_test_pile_loss_60m.csv": "8fe69d59ab7dd4fae4736459f4265ec93c7ed1ad1eca407346052560edc72b5b",
    "regmix_test_mixture_1B.csv": "dd38052949c0a5f84165bdcb3ae3a331c7f07efd9bb83848bd579dfc4ce75a2c",
    "regmix_test_pile_loss_1B.csv": "b2451e2b7fa15400688edc39e4d32f21ccbe0fb356e07d62a0e9ccddf247114f",
}

PARAMETERS = {"1m": 1e6, "60m": 6e7, "1B": 1e9}  # of the models, by the name of their scale
PARTS = {"train": ("1m",), "test": ("1m", "60m", "1B")}


def find(name: str) -> Path:
    """A file of the sweep, by a key of :data:`SHA256`: from the user's folder, else the cache, else the publisher."""
    if name not in SHA256:
        raise InputError(f"Expected a file among {', '.join(SHA256)}, found {name!r}; choose one of these.")
    cache = paths.cache_dir() / "public_sweeps"
    folders = [Path(os.environ[FOLDER])] if os.environ.get(FOLDER) else []
    for path in [folder / name for folder in (*folders, cache)]:
        if path.is_file():
            _check(path.read_bytes(), name, str(path))
            return path
    content, path = _download(name, cache), cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as scratch:  # a reader sees all of it or none
        draft = Path(scratch) / name
        draft.write_bytes(content)
        os.replace(draft, path)
    return path


def _check(content: bytes, name: str, where: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise InputError(
            f"Expected SHA-256 {SHA256[name][:12]}… in {where}, found {found[:12]}…; "
            "delete the file and fetch it again."
        )


def _download(name: str, cache: Path) -> bytes:
    url = SOURCE + name.removeprefix(PREFIX)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            content = answer.read()
    except (OSError, HTTPException) as error:  # offline, refused, or cut off half-way
        raise InputError(
            f"Expected {name} in {cache} or at {url}, found neither ({str(error) or type(error).__name__}); "
            "go online or save it there under this name."
        ) from error
    _check(content, name, url)
    return content


def regmix_history(scale: str = "1m", part: str = "train") -> pd.DataFrame:
    """One table of the sweep as a history without covariates; mixtures to train on exist at 1m only.

    Columns ``run_id, model, w_<domain>…`` (17, summing to 1), ``y_dev, y_<domain>…`` (13): minus the validation loss
    in nats per token, so that higher is better; ``y_dev`` is their plain mean.
    """
    if scale not in PARTS.get(part, ()):
        known = ", ".join(f"{p} at {s}" for p, scales in PARTS.items() for s in scales)
        raise InputError(f"Expected one of {known}, found {part} at {scale}; choose one of these.")
    mixtures = _read(f"{PREFIX}{part}_mixture_{scale}.csv", "train_the_pile_", "")
    losses = _read(f"{PREFIX}{part}_pile_loss_{scale}.csv", "metric/the_pile_", "_val_loss")
    if not mixtures.index.equals(losses.index):
        raise InputError(f"Expected the same runs in both files of {part} at {scale}, found others; fetch them again.")
    # Published with three decimals: rows sum to between .996 and 1.003.
    shares = mixtures.div(mixtures.sum(axis=1), axis=0).add_prefix("w_")
    outcomes = (-losses).add_prefix("y_")
    outcomes.insert(0, "y_dev", outcomes.mean(axis=1))
    names = pd.DataFrame({"run_id": [f"{part}-{scale}-{i}" for i in mixtures.index], "model": scale}, mixtures.index)
    return pd.concat([names, shares, outcomes], axis=1).reset_index(drop=True)


def _read(name: str, prefix: str, suffix: str) -> pd.DataFrame:
    """The columns of one file by domain, indexed by run."""
    frame = pd.read_csv(find(name))
    columns = [c for c in frame.columns if c.startswith(prefix) and c.endswith(suffix)]
    if "index" not in frame or not columns:
        found = ", ".join(map(str, frame.columns[:3]))
        raise InputError(f"Expected columns index and {prefix}…{suffix} in {name}, found {found}…; fetch it again.")
    table = frame.set_index("index")[columns]
    return table.rename(columns=lambda c: c.removeprefix(prefix).removesuffix(suffix))


def regmix_scales() -> pd.DataFrame:
    """The test mixtures at all three sizes, one below the other, with ``x_log10_parameters`` (6, 7.8 or 9).

    Mixtures at 1m and 60m are the same; those at 1B are others.
    """
    tables = []
    for scale in PARTS["test"]:
        table = regmix_history(scale, "test")
        table.insert(table.columns.get_loc("y_dev"), "x_log10_parameters", float(np.log10(PARAMETERS[scale])))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def export(folder: str | Path) -> list[Path]:
    """Write ``regmix_1m.csv`` and ``regmix_scales.csv`` for the chapters' parameter ``history``."""
    if any(path.is_file() for path in (Path(folder), *Path(folder).parents)):
        raise InputError(f"Expected a folder to write to, found {folder}, a file or inside one; name another.")
    tables = {"regmix_1m.csv": regmix_history(), "regmix_scales.csv": regmix_scales()}
    for name, table in tables.items():
        write_table(Path(folder) / name, table)
    return [Path(folder) / name for name in tables]
