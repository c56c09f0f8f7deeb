"""The append-only record of training runs: one JSON object a line, nothing ever trained twice or lost."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from causalmix.core.errors import InputError

#: How those say it who raise errors of their own, or are a process that ended: room on the disk, or a quota of it.
FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))


def is_full(error: object) -> bool:
    """Whether an error tells of a disk without room, which says nothing of the run that met it."""
    return any(words in str(error) for words in FULL)


class Ledger:
    """A file of run records, which need not exist yet and survives the sudden death of whoever writes it.

    A last line without its end is ignored by readers and removed before the next record is appended.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._writing = False

    def records(self) -> list[dict]:
        """Every record in the order of writing; InputError for a line, other than a torn last one, that is none."""
        if not self.path.exists():
            return []
        *lines, tail = self.path.read_bytes().split(b"\n")
        records = []
        for number, line in enumerate(lines, start=1):
            if (record := _record(line)) is None:
                raise InputError(
                    f"Expected a JSON record in line {number} of {self.path}, found {line[:40]!r}; "
                    "restore that line or delete it."
                )
            records.append(record)
        last = _record(tail)
        return records if last is None else [*records, last]

    def latest(self) -> dict[str, dict]:
        """The record that counts of every run, by run_id: the first finished one if there is any, else the last."""
        latest: dict[str, dict] = {}
        for record in self.records():
            if latest.get(record["run_id"], {}).get("status") != "finished":
                latest[record["run_id"]] = record
        return latest

    def finished(self) -> dict[str, dict]:
        """The first finished record of each run that ended well."""
        return {run_id: record for run_id, record in self.latest().items() if record["status"] == "finished"}

    def settled(self, retry_failed: bool = False) -> dict[str, dict]:
        """The records of runs that need not be trained: finished ones and, unless asked, what failed by itself."""
        return {
            run_id: record
            for run_id, record in self.latest().items()
            if record["status"] == "finished" or not retry_failed and not is_full(record.get("error"))
        }

    def append(self, record: dict) -> None:
        """Add a record; it is on the disk when this returns."""
        line = json.dumps(record, sort_keys=True, allow_nan=False).encode() + b"\n"
        if _record(line) is None:
            raise InputError(f"Expected a record with run_id and status, found {record!r}; supply both.")
        try:
            with nullcontext() if self._writing else self.writer(), open(self.path, "a+b") as file:
                _mend(file)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:  # of a full disk it does not say where
            error.filename = error.filename or str(self.path)
            raise

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Be the only writer for a while; the lock, the file's own, ends with the process, however it ends."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"Expected to be the only writer of {self.path}, found another; wait for its end."
                ) from error
            self._writing = True
            try:
                yield
            finally:
                self._writing = False


def _mend(file: BinaryIO) -> None:
    """Remove a torn last line; end one that only lacks its newline."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - 1, 0))
    if file.read() in (b"", b"\n"):
        return
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if _record(content[start:]) is None:
        file.truncate(start)
    else:
        file.write(b"\n")


def _record(line: bytes) -> dict | None:
    """The record of a line, or None where it holds none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    known = isinstance(value, dict) and value.get("status") in ("finished", "failed")
    return value if known and isinstance(value.get("run_id"), str) else None
