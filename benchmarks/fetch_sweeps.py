"""Sweeps that others published, as histories: RegMix, 512 mixtures and larger models, and olmix, 24 topics of DCLM.

Sources, at pinned commits: github.com/sail-sg/regmix, folder ``data``, MIT, (c) 2024 Sea AI Lab (Liu et al. 2024,
arXiv:2407.01492), and github.com/allenai/olmix, Apache-2.0.  Files are fetched on first use, and a file is used only if
its SHA-256 is the published one's.  ``python benchmarks/fetch_sweeps.py`` writes the histories anew into
``results/published/sweeps``, where :func:`causalmix.effects.public_sweeps.published` reads them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

import pandas as pd

from causalmix.core import paths
from causalmix.core.errors import InputError
from causalmix.core.tables import write_table
from causalmix.effects.public_sweeps import FOLDER

COMMITS = {
    "regmix": "b004d3a3f39846dcec6b3740da22bcd1ba95a5d0",
    "olmix": "d6f852def112182441c43a5861528e29653ac675",
}
#: Where the files of a sweep lie; a file's name here is the sweep's name, ``_`` and its name there.
SOURCES = {
    "regmix": f"https://raw.githubusercontent.com/sail-sg/regmix/{COMMITS['regmix']}/data/",
    "olmix": f"https://raw.githubusercontent.com/allenai/olmix/{COMMITS['olmix']}/",
}
LOCAL = "CAUSALMIX_PUBLIC_SWEEPS"  # environment variable: a folder that is looked into first
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
    "olmix_dclm_ratios.csv": "adb28a62cb39da22fa0d9ce36a5631044b3f3ea13c57f23c1f08240ca5347c81",
    "olmix_dclm_metrics.csv": "4c891a1eeb556e1e91abe60695011b51971aef6db40ce33796a73af612a70bdc",
}

PARAMETERS = {"1m": 1e6, "60m": 6e7, "1B": 1e9}  # of the models, by the name of their scale
PARTS = {"train": ("1m",), "test": ("1m", "60m", "1B")}

#: Families of olmix's tasks, by how the names of their columns begin.
FAMILIES = {
    "mmlu": ("mmlu_",),
    "math": ("minerva_math_",),
    "code": ("codex_", "mbpp:", "mt_mbpp_"),
    "basic_skills": ("basic_skills",),
    "reading": ("coqa:", "drop:", "lambada", "qasper_", "sciriff_", "squad:"),
    "commonsense": ("arc_", "csqa:", "hellaswag:", "piqa:", "socialiqa:", "winogrande:"),
    "knowledge": ("jeopardy:", "lab_bench_", "medmcqa:", "medqa_", "naturalqs:", "sciq:"),
}


def find(name: str) -> Path:
    """A file of a sweep, by a key of :data:`SHA256`: from the user's folder, else the cache, else the publisher."""
    if name not in SHA256:
        raise InputError(f"Expected a file among {', '.join(SHA256)}, found {name!r}; choose one of these.")
    cache = paths.cache_dir() / "public_sweeps"
    folders = [Path(os.environ[LOCAL])] if os.environ.get(LOCAL) else []
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
    sweep, _, there = name.partition("_")
    url = SOURCES[sweep] + there
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
    mixtures = _read(f"regmix_{part}_mixture_{scale}.csv", "train_the_pile_", "")
    losses = _read(f"regmix_{part}_pile_loss_{scale}.csv", "metric/the_pile_", "_val_loss")
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
    """The test mixtures at all three sizes, one below the other, with ``model_size`` in parameters.

    Mixtures at 1m and 60m are the same; those at 1B are others.
    """
    tables = []
    for scale in PARTS["test"]:
        table = regmix_history(scale, "test")
        table.insert(table.columns.get_loc("model") + 1, "model_size", PARAMETERS[scale])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def olmix_dclm() -> pd.DataFrame:
    """The sweep of olmix over DCLM as a history without covariates: 127 models of 30M parameters.

    Columns ``run_id, model, w_<topic>…`` (24), ``y_dev, y_<family>…``: minus the bits per byte of the right answers, so
    that higher is better, meaned over all 110 tasks and over those of each of :data:`FAMILIES`.
    """
    tables = [pd.read_csv(find(f"olmix_dclm_{kind}.csv")) for kind in ("ratios", "metrics")]
    for table, kind in zip(tables, ("ratios", "metrics")):
        if list(table.columns[1:4]) != ["run", "name", "index"]:
            found = ", ".join(map(str, table.columns[:4]))
            raise InputError(f"Expected run, name and index in olmix_dclm_{kind}.csv, found {found}; fetch it again.")
    ratios, metrics = (table.set_index("run").iloc[:, 3:] for table in tables)
    if not ratios.index.equals(metrics.index):
        raise InputError("Expected the same runs in both files of olmix, found others; fetch them again.")
    outcomes = {"y_dev": -metrics.mean(axis=1)}
    for family, begin in FAMILIES.items():
        outcomes[f"y_{family}"] = -metrics[[name for name in metrics if name.startswith(begin)]].mean(axis=1)
    shares = ratios.div(ratios.sum(axis=1), axis=0).add_prefix("w_")
    names = pd.DataFrame({"run_id": ratios.index, "model": "30m"}, ratios.index)
    return pd.concat([names, shares, pd.DataFrame(outcomes)], axis=1).reset_index(drop=True)


#: Every history, by the name of its file.
HISTORIES = {"regmix_1m": regmix_history, "regmix_scales": regmix_scales, "olmix_dclm": olmix_dclm}


def main() -> None:
    """Write all of :data:`HISTORIES`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to; default: %(default)s")
    options = parser.parse_args()
    for name, make in HISTORIES.items():
        write_table(options.out / f"{name}.csv", make())


if __name__ == "__main__":
    main()
