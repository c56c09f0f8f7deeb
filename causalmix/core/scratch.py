"""Folders for the moment: one that its process leaves behind, killed, is removed by the next that needs one there."""

import errno
import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

SCRATCH = f"causalmix-{platform.node()}+"  # begins their names: locks tell no other machine who lives


@contextmanager
def scratch_folder(base: Path) -> Iterator[str]:
    """A folder that is removed at the end, as are here those of processes that were killed; its lock says who lives."""
    base.mkdir(parents=True, exist_ok=True)
    for left in base.glob(f"{SCRATCH}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".causalmix-", dir=base, ignore_cleanup_errors=True) as empty:
        with _locked(empty):
            folder = Path(empty).rename(base / f"{SCRATCH}{Path(empty).name.rpartition('-')[2]}")
            try:
                yield str(folder)
            except OSError as error:
                if error.errno == errno.ENOSPC:  # of a full disk it does not say where
                    error.filename = error.filename or str(base)
                raise
            finally:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_scratch() -> Iterator[None]:
    """What this process writes for the moment goes with such a folder: the next one there removes it, if killed."""
    with scratch_folder(Path(tempfile.gettempdir())) as folder, patch.object(tempfile, "tempdir", folder):
        yield


@contextmanager
def _locked(folder: str | Path) -> Iterator[None]:
    """Hold a folder's lock, which ends with the process; BlockingIOError where another one holds it."""
    there = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(there, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(there)
