"""The append-only record."""

import errno
import json
import os
import resource

import pytest

from causalmix.core.errors import InputError
from causalmix.train.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    """A ledger that does not exist yet, in a folder that does not either."""
    return Ledger(tmp_path / "study" / "runs.jsonl")


def record(run_id, status="finished", **more):
    """A small record."""
    return {"run_id": run_id, "status": status, **more}


def test_append_and_read(ledger):
    """Records come back in the order of writing, one line each; a missing file has none."""
    assert ledger.records() == [] and ledger.finished() == {}
    for run_id in "abc":
        ledger.append(record(run_id, scores={"math": 0.1}))
    assert ledger.records() == [record(run_id, scores={"math": 0.1}) for run_id in "abc"]
    assert ledger.path.read_text().count("\n") == 3


def test_later_record_supersedes_a_failed_one(ledger):
    """The last failure counts until the run ends well; after that it stays finished."""
    ledger.append(record("a", "failed", error="one"))
    ledger.append(record("a", "failed", error="two"))
    assert ledger.latest()["a"]["error"] == "two" and ledger.finished() == {}
    ledger.append(record("a", scores={"math": 0.1}))
    ledger.append(record("a", "failed", error="three"))
    assert ledger.latest() == ledger.finished() and ledger.finished()["a"]["scores"] == {"math": 0.1}


@pytest.mark.parametrize("code, settled", [(errno.ENOSPC, False), (errno.EDQUOT, False), (errno.EIO, True)])
def test_a_run_that_met_a_full_disk_is_trained_again_unasked(ledger, code, settled):
    """Other failures wait until someone asks."""
    ledger.append(record("a", "failed", error=f"OSError: {OSError(code, os.strerror(code))}"))
    assert ("a" in ledger.settled()) == settled and ledger.settled(retry_failed=True) == {}
    ledger.append(record("a"))
    assert ledger.settled() == ledger.settled(retry_failed=True) == ledger.finished()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_torn_last_line_is_dropped(ledger, cut):
    """A line without its end is ignored by readers and gone after the next append."""
    ledger.append(record("a"))
    line = json.dumps(record("b")).encode()
    with open(ledger.path, "ab") as file:
        file.write(line[:cut])
    assert [r["run_id"] for r in ledger.records()] == ["a"]
    ledger.append(record("c"))
    assert [r["run_id"] for r in ledger.records()] == ["a", "c"]
    assert ledger.path.read_bytes().endswith(b"\n")


def test_last_line_that_only_lacks_its_newline_is_kept(ledger):
    """A complete record is not lost for want of a newline."""
    ledger.path.parent.mkdir()
    ledger.path.write_text(json.dumps(record("a")))
    assert "a" in ledger.finished()
    ledger.append(record("b"))
    assert list(ledger.finished()) == ["a", "b"]


@pytest.mark.parametrize(
    "bad", [b"{torn", b"", b"\x00\xff", b"[1]", b'{"run_id": "x"}', b'{"run_id": 1, "status": "failed"}']
)
def test_unreadable_line_in_the_middle(ledger, bad):
    """A bad line that is not the torn last one is an error that names the line."""
    good = json.dumps(record("a")).encode()
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(good + b"\n" + bad + b"\n" + good + b"\n")
    with pytest.raises(InputError, match=r"Expected a JSON record in line 2 of .*runs.jsonl, found .*; restore"):
        ledger.records()


def test_bad_records_are_refused(ledger):
    """What could not be read back is not written."""
    with pytest.raises(InputError, match="run_id and status"):
        ledger.append({"run_id": "a"})
    with pytest.raises(ValueError, match="JSON"):
        ledger.append(record("a", scores={"math": float("nan")}))
    assert not ledger.path.exists()


def test_one_writer_at_a_time(ledger):
    """A second writer is turned away until the first has ended; readers are not."""
    other = Ledger(ledger.path)
    with ledger.writer():
        ledger.append(record("a"))
        assert list(other.finished()) == ["a"]
        with pytest.raises(InputError, match="only writer"):
            other.append(record("b"))
    other.append(record("b"))
    assert list(ledger.finished()) == ["a", "b"]


def test_no_file_beside_the_ledger_decides_who_writes(ledger):
    """Whatever is removed around it, a second writer is turned away, for the lock is the ledger's own."""
    with ledger.writer():
        for path in ledger.path.parent.iterdir():
            if path != ledger.path:
                path.unlink()
        with pytest.raises(InputError, match="only writer"), Ledger(ledger.path).writer():
            pass


def test_a_full_disk_is_named_and_leaves_a_whole_ledger(ledger):
    """A file that may grow no further ends within a record; where is told, and the next writer goes on."""
    ledger.append(record("a"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ledger.path.stat().st_size + 100, limits[1]))
    try:
        with pytest.raises(OSError) as error:
            ledger.append(record("b", scores="x" * 1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.filename == str(ledger.path) and list(ledger.finished()) == ["a"]
    ledger.append(record("c"))
    assert list(ledger.finished()) == ["a", "c"]
