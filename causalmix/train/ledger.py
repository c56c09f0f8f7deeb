"""The append-only record of training runs: one JSON object a line, nothing ever trained twice or lost."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from causalmix.core.errors import InputError

STATUSES = ("finished", "failed")


class Ledger:
    """A file of run records that survives the sudden death of whoever writes it.

    A record is a dictionary ``run_id, spec, status, scores, covariates, training, error``.
    A line that was being written when its writer died lacks its end; it is ignored by
    readers and removed before the next record is appended.

    Parameters
    ----------
    path : str or Path
        The file; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._writing = False

    def records(self) -> list[dict]:
        """Every record, in the order of writing.

        Returns
        -------
        list of dict

        Raises
        ------
        InputError
            When a line other than a torn last one is not a record.
        """
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")
        tail = lines.pop()
        records = [self._parse(line, number) for number, line in enumerate(lines, start=1)]
        return records + [last] if _is_record(last := _loads(tail)) else records

    def finished(self) -> dict[str, dict]:
        """Runs that ended well.

        Returns
        -------
        dict
            First finished record of each run_id.
        """
        return {run_id: record for run_id, record in self.latest().items() if record["status"] == "finished"}

    def failed(self) -> dict[str, dict]:
        """Runs that failed and have not ended well since.

        Returns
        -------
        dict
            Last failed record of each run_id.
        """
        return {run_id: record for run_id, record in self.latest().items() if record["status"] == "failed"}

    def latest(self) -> dict[str, dict]:
        """The record that counts of every run: the first finished one if there is any, else the last.

        Returns
        -------
        dict
            One record of each run_id.
        """
        latest: dict[str, dict] = {}
        for record in self.records():
            if latest.get(record["run_id"], {}).get("status") != "finished":
                latest[record["run_id"]] = record
        return latest

    def append(self, record: dict) -> None:
        """Add a record; it is on the disk when this returns.

        Parameters
        ----------
        record : dict
            With ``run_id`` and ``status``, finite numbers only.

        Raises
        ------
        InputError
            When the record has no run_id or status, or another process is writing.
        ValueError
            When a number in the record is not finite.
        """
        if not _is_record(record):
            raise InputError(f"Expected a record with run_id and status, found {record!r}; supply both.")
        line = json.dumps(record, sort_keys=True, allow_nan=False).encode() + b"\n"
        with nullcontext() if self._writing else self.writer():
            with open(self.path, "a+b") as file:
                self._mend(file)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Be the only writer for a while; the lock ends with the process, however it ends.

        Raises
        ------
        InputError
            When another process (or another Ledger of this one) is writing.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_name(self.path.name + ".lock"), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"Expected to be the only writer of {self.path}, found another one at work; wait for its end."
                ) from error
            self._writing = True
            try:
                yield
            finally:
                self._writing = False

    def _parse(self, line: bytes, number: int) -> dict:
        record = _loads(line)
        if not _is_record(record):
            raise InputError(
                f"Expected a JSON record in line {number} of {self.path}, found {line[:40]!r}; "
                "restore that line or delete it."
            )
        return record

    def _mend(self, file: BinaryIO) -> None:
        """Remove a torn last line; end one that only lacks its newline."""
        content_end = file.seek(0, os.SEEK_END)
        if content_end == 0:
            return
        file.seek(content_end - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        content = file.read()
        start = content.rfind(b"\n") + 1
        if _is_record(_loads(content[start:])):
            file.write(b"\n")
        else:
            file.truncate(start)


def _loads(line: bytes) -> object:
    """The JSON value of a line, or None where it holds none."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _is_record(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("run_id"), str) and value.get("status") in STATUSES
