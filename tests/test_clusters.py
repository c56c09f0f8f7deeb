"""Clusters that lose workers or their scheduler, or have none yet."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import dask
import psutil
import pytest
from test_sweep import result, specs_in, traces, train, wait_for

from causalmix.core.errors import InputError
from causalmix.core.progress import listening
from causalmix.train import clusters
from causalmix.train.clusters import connect
from causalmix.train.ledger import Ledger
from causalmix.train.sweep import run_sweep

HERE = Path(__file__).parent


def beside(spec, name):
    """A file in the folder that the spec's ``world`` names."""
    return Path(spec["world"]) / name


def with_pid(spec):
    """Leave a trace, and report the process of the worker."""
    return train(spec) | {"training": {"pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")}}


def with_gpus(spec):
    return result(spec, gpus=os.environ["CUDA_VISIBLE_DEVICES"])


def train_until_told(spec):
    """Seed 0 holds its worker until that is killed the first time; the others are quick."""
    begun = beside(spec, "pid")
    if spec["seed"] == 0 and not begun.exists():
        begun.with_suffix(".tmp").write_text(str(os.getpid()))
        begun.with_suffix(".tmp").rename(begun)
        time.sleep(300)
    return with_pid(spec)


def train_some(spec):
    """Seeds below 2 end at once, the others when there is a file ``go``."""
    while spec["seed"] >= 2 and not beside(spec, "go").exists():
        time.sleep(0.05)
    return with_pid(spec)


class AcceleratorError(RuntimeError):
    """Named as torch names what a GPU does."""


ERRORS = {"disk": OSError("no space"), "gpu": AcceleratorError("launch failure"), "run": ValueError("12")}


def train_or_fail(spec):
    """Fail in the way that a file in the folder names, as often as it has letters."""
    with_pid(spec)
    for kind, error in ERRORS.items():
        mark = beside(spec, kind)
        if spec["seed"] == 0 and mark.exists() and (left := mark.read_text()):
            mark.write_text(left[1:])
            beside(spec, "pid").write_text(str(os.getpid()))
            raise error
    return with_pid(spec)


def environment(**more):
    """What a worker needs to import these functions."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])} | more


@contextmanager
def process(*command, **more):
    """A process of Dask's command line; ends with all of its children."""
    it = subprocess.Popen([sys.executable, "-m", *map(str, command)], env=environment(**more), stdout=-3, stderr=-3)
    try:
        yield it
    finally:
        kill_all(it.pid)
        it.wait()


def kill_all(pid):
    """SIGKILL to a process and its children."""
    try:
        family = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            pass


def scheduler(port):
    """A scheduler that gives a worker one run at a time."""
    more = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0"}
    command = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port)
    return process(*command, "--dashboard-address", "127.0.0.1:0", **more)


def worker(port, folder, **more):
    """A worker with a nanny, which starts it anew when it is killed."""
    command = ("distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", "--nthreads", 1, "--memory-limit", 0,
               "--host", "127.0.0.1", "--no-dashboard", "--local-directory", folder)  # fmt: skip
    return process(*command, **more)


@pytest.fixture
def port():
    """A free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def ledger(tmp_path):
    """A ledger that does not exist yet."""
    return Ledger(tmp_path / "runs.jsonl")


def in_thread(function):
    """Do something beside a sweep."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def once_each(ledger, n):
    """Whether each of n runs is on record as finished, and once."""
    return len(ledger.records()) == len(ledger.finished()) == n


def test_sweep_waits_for_workers_and_outlives_one(ledger, port, tmp_path):
    """A sweep begins without workers; one that is killed in mid-run costs no run and doubles none."""
    seen, before = [], []
    with ExitStack() as stack:
        stack.enter_context(scheduler(port))

        def come_and_kill():
            wait_for(lambda: seen)
            time.sleep(0.5)
            before.extend(seen)
            for _ in range(2):
                stack.enter_context(worker(port, tmp_path))
            wait_for((tmp_path / "pid").exists)
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

        beside_it = in_thread(come_and_kill)
        stack.enter_context(listening(lambda *step: seen.append(step[:2])))
        records = run_sweep(specs_in(tmp_path, range(6)), ledger, train_until_told, client=f"tcp://127.0.0.1:{port}")
        beside_it.join()
    assert once_each(ledger, 6) and [r["spec"]["seed"] for r in records] == list(range(6))
    assert records[0]["training"]["pid"] != int((tmp_path / "pid").read_text())
    assert before == [(0, 6)] and seen == [(done, 6) for done in range(7)]
    assert [traces(tmp_path, seed) for seed in range(6)] == [1] * 6


def test_scheduler_that_is_killed_and_started_again(ledger, port, tmp_path):
    """A dead scheduler is told in a sentence; the sweep resumed on a new one trains only what is left."""
    specs, address = specs_in(tmp_path, range(5)), f"tcp://127.0.0.1:{port}"
    with scheduler(port) as first, worker(port, tmp_path):

        def kill_after_two(done, *_):
            if done == 2:
                kill_all(first.pid)

        with pytest.raises(ConnectionError, match="start the sweep again"), listening(kill_after_two):
            run_sweep(specs, ledger, train_some, client=address)
    assert once_each(ledger, 2)
    (tmp_path / "go").touch()
    with scheduler(port), worker(port, tmp_path):
        run_sweep(specs, ledger, train_some, client=address)
    assert once_each(ledger, 5)
    assert [traces(tmp_path, seed) for seed in range(5)] == [1] * 5


def test_worker_of_other_versions(ledger, port, tmp_path):
    """Nothing is sent where a worker's versions differ; the worker and the difference are named."""
    info = tmp_path / "other" / "causalmix-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: causalmix\nVersion: 9.9\n")
    path = os.pathsep.join([str(info.parent), str(HERE), str(HERE.parent)])
    with scheduler(port), worker(port, tmp_path, PYTHONPATH=path):
        with pytest.raises(InputError, match=r"worker tcp://127.0.0.1:\d+, found causalmix 9.9 instead of .*; match"):
            run_sweep(specs_in(tmp_path, [1]), ledger, train, client=f"tcp://127.0.0.1:{port}")
    assert ledger.records() == [] and traces(tmp_path, 1) == 0


def test_worker_of_other_versions_that_comes_later(ledger, port, tmp_path, monkeypatch):
    """A worker that the driver did not see at the start spoils no run either: the sweep stops, nothing is recorded."""
    monkeypatch.setattr("causalmix.train.sweep._wait_for_workers", lambda client: None)
    monkeypatch.setattr("causalmix.train.sweep._versions", lambda: {"torch": "0.1", "python": "3.0"})
    with scheduler(port), worker(port, tmp_path):
        with pytest.raises(InputError, match="found torch .* instead of 0.1, python 3"):
            run_sweep(specs_in(tmp_path, [1]), ledger, train, client=f"tcp://127.0.0.1:{port}")
    assert ledger.records() == [] and traces(tmp_path, 1) == 0


@pytest.mark.parametrize(
    ("kind", "times", "retries", "tries", "status"),
    [
        ("disk", 2, 2, 3, "finished"),
        ("disk", 2, 1, 2, "failed"),
        ("gpu", 1, 1, 2, "finished"),
        ("run", 1, 3, 1, "failed"),
    ],
)
def test_retries(ledger, tmp_path, kind, times, retries, tries, status):
    """What a machine does is tried again so many times, after the others; what a run does wrong is not."""
    (tmp_path / kind).write_text("x" * times)
    specs, seen = specs_in(tmp_path, range(3)), []
    with listening(lambda *step: seen.append(step[:2])):
        records = run_sweep(specs, ledger, train_or_fail, retries=retries, n_workers=1)
    assert [r["status"] for r in records] == [status, "finished", "finished"]
    assert len(ledger.records()) == 3 and seen == [(done, 3) for done in range(4)]
    assert traces(tmp_path, 0) == tries + (status == "finished")
    if kind == "disk":
        assert ledger.records()[-1]["spec"]["seed"] == 0
    if kind == "gpu":  # the process that saw the error trained nothing after it
        assert {r["training"]["pid"] for r in records}.isdisjoint({int((tmp_path / "pid").read_text())})


def train_and_die(spec):
    """Kill the own worker as often as the file ``deaths`` has letters."""
    mark = beside(spec, "deaths")
    if spec["seed"] == 0 and (left := mark.read_text()):
        mark.write_text(left[1:])
        os.kill(os.getpid(), signal.SIGKILL)
    return train(spec)


def test_retries_of_a_run_whose_workers_died(ledger, tmp_path):
    """A run that Dask has given up is sent again, and recorded by how that ends."""
    (tmp_path / "deaths").write_text("xx")
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        records = run_sweep(specs_in(tmp_path, range(2)), ledger, train_and_die, n_workers=1, retries=2)
    assert once_each(ledger, 2) and [r["error"] for r in records] == [None, None]


def test_cluster_of_no_kind():
    """A word that names no cluster is refused."""
    with pytest.raises(InputError, match="Expected local, slurm:FILE.yaml or .*, found 'slrum'"), connect("slrum"):
        pass


@pytest.mark.parametrize("address", ["tcp://10.0.0.7:8786", "node1:8786", "ws://node1:8786", "tcp://127.evil:1"])
def test_a_scheduler_beyond_this_machine_must_be_encrypted(address):
    """Whoever reaches a scheduler runs code, so that a plain one is refused before anything is sent there."""
    with pytest.raises(InputError, match="beyond this machine to be encrypted .*localhost"):
        clusters.check(address)
    for good in ("tls://node1:8786", "tcp://localhost:8786", "127.0.0.1:8786", "tcp://[::1]:8786"):
        clusters.check(good)


def test_client_is_handed_back_open():
    """A client that was given is left open, whoever made the cluster closes it."""
    with connect("local", n_workers=1) as client:
        with connect(client) as same:
            assert same is client
        assert client.submit(abs, -1).result() == 1
        assert len(client.scheduler_info()["workers"]) == 1


def test_local_workers_share_out_the_gpus(monkeypatch):
    """Each worker sees the GPUs of one run and no other, also after it was killed; the driver's own view stays."""
    monkeypatch.setattr(clusters, "visible_gpus", lambda: list("abcde"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c,d,e")
    with connect("local", gpus=2) as client:
        client.wait_for_workers(2)
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
        assert sorted(seen.values()) == ["a,b", "c,d"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "a,b,c,d,e"
    with (
        pytest.raises(InputError, match="Expected 8 GPUs on this machine for a run, found 5"),
        connect("local", gpus=8),
    ):
        pass


def test_runs_are_told_apart_by_their_gpus(ledger, tmp_path, monkeypatch):
    """A run that is launched in two processes gets a worker with two GPUs, the others one each; all are counted."""
    monkeypatch.setattr(clusters, "visible_gpus", lambda: ["0", "1"])
    runs = specs_in(tmp_path, range(3))
    runs[1] = replace(runs[1], training=runs[1].training + (("launch_processes", 2),))
    seen = []
    with listening(lambda *told: seen.append(told[:2])):
        records = run_sweep(runs, ledger, with_gpus)
    assert [record["training"]["gpus"] for record in records][1] == "0,1"
    assert {records[0]["training"]["gpus"], records[2]["training"]["gpus"]} <= {"0", "1"}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and seen[-1] == (3, 3)


def test_what_stopped_workers_leave_is_removed_in_silence():
    """Python's tracker of semaphores would warn after the one sentence of an interrupt."""
    left = "from multiprocessing import resource_tracker; from causalmix.train.clusters import start_tracker; "
    left += "start_tracker(); resource_tracker.register('/none', 'semaphore')"
    told = subprocess.run([sys.executable, "-c", left], capture_output=True, text=True, check=True)
    assert told.stdout + told.stderr == ""
