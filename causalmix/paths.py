"""Where a study's files are; the only place that knows the layout of the repository."""

from __future__ import annotations

import os
from pathlib import Path

from causalmix.errors import InputError

_PACKAGE = Path(__file__).resolve().parent

#: Root of the repository; the environment variable CAUSALMIX_ROOT overrides it.
ROOT = Path(os.environ.get("CAUSALMIX_ROOT", _PACKAGE.parent))
NOTEBOOKS = ROOT / "notebooks"
STUDIES = NOTEBOOKS / "studies"
BOOK = ROOT / "book"
CHAPTERS = BOOK / "chapters"
RESULTS = ROOT / "results"
ASSETS = _PACKAGE / "assets"


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
    """Where a notebook writes: the folder it was given, else that of its study."""
    return Path(results) if results else results_dir(study)


def cache_dir() -> Path:
    """Folder for what can be computed again: CAUSALMIX_CACHE, or ``.cache`` below the root.

    Returns
    -------
    Path
        The folder; it need not exist yet.
    """
    return Path(os.environ.get("CAUSALMIX_CACHE", ROOT / ".cache"))
