"""Where a study's files are; the only place that knows the layout of the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from causalmix.core.errors import InputError

_PACKAGE = Path(__file__).resolve().parents[1]

#: Root of the repository; the environment variable CAUSALMIX_ROOT overrides it.
ROOT = Path(os.environ.get("CAUSALMIX_ROOT", _PACKAGE.parent))
NOTEBOOKS = ROOT / "notebooks"
STUDIES = NOTEBOOKS / "studies"
BOOK = ROOT / "book"
CHAPTERS = BOOK / "chapters"
RESULTS = ROOT / "results"
ASSETS = _PACKAGE / "assets"

#: Environment variable that is set where the runner executes a notebook; it names a file for progress.
RUNNER = "CAUSALMIX_PROGRESS"


def results_dir(study: str) -> Path:
    """Folder of a study's tables and ledger.

    Parameters
    ----------
    study : str
        Name of the study, for instance ``laptop``.

    Returns
    -------
    Path
        ``results/<study>``; it need not exist yet.

    Raises
    ------
    InputError
        When the name is not that of a folder directly below ``results``.
    """
    if not study or study in (".", "..") or Path(study).name != study:
        raise InputError(f"Expected a study's plain name such as laptop, found {study!r}; leave out folders.")
    return RESULTS / study


def out_dir(study: str, results: str = "") -> Path:
    """Where a notebook reads and writes.

    Parameters
    ----------
    study : str
    results : str
        A folder; where empty, the runner's pages use the study's own, and a notebook that is
        executed by hand (by papermill or in an editor) a copy, so that it cannot change the record.

    Returns
    -------
    Path
    """
    if results:
        return Path(results)
    if RUNNER in os.environ:
        return results_dir(study)
    record = sorted([*results_dir(study).glob("*.csv"), *results_dir(study).glob("*.jsonl")])
    # Named by its contents: a record that has changed since is copied anew, and what was made from the old one stays.
    content = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in record))
    copy = RESULTS / "runs" / f"by_hand_{study}_{content.hexdigest()[:8]}"
    copy.mkdir(parents=True, exist_ok=True)
    for path in record:
        if not (copy / path.name).exists():
            shutil.copyfile(path, copy / path.name)
    return copy


def cache_dir() -> Path:
    """Folder for what can be computed again: CAUSALMIX_CACHE, or ``.cache`` below the root.

    Returns
    -------
    Path
        The folder; it need not exist yet.
    """
    return Path(os.environ.get("CAUSALMIX_CACHE", ROOT / ".cache"))
