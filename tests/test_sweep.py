"""Sweeps on real clusters, with training functions that cost nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client, LocalCluster

from causalmix.core.errors import InputError
from causalmix.core.progress import listening
from causalmix.core.scratch import SCRATCH
from causalmix.train import sweep
from causalmix.train.ledger import Ledger
from causalmix.train.spec import RunSpec
from causalmix.train.sweep import run_sweep

N = 12


def result(spec, **training):
    """What a training function returns."""
    return {"scores": {"math": spec["seed"] / 100}, "covariates": {"x_hes": 1.0}, "training": training}


def failed(ledger):
    """Runs whose record is a failure."""
    return [run_id for run_id, record in ledger.latest().items() if record["status"] == "failed"]


def train(spec):
    """Leave a trace in the folder that the spec's ``world`` names."""
    (Path(spec["world"]) / f"{spec['seed']}-{time.time_ns()}").touch()
    return result(spec)


def train_slowly(spec):
    """Take a while."""
    time.sleep(0.2)
    return train(spec)


def train_first_only(spec):
    """Seed 0 ends at once, the others when there is a file ``go``."""
    while spec["seed"] and not (Path(spec["world"]) / "go").exists():
        time.sleep(0.05)
    return train(spec)


def train_or_raise(spec):
    """Fail as long as there is a file ``broken``."""
    if spec["seed"] == 1 and (Path(spec["world"]) / "broken").exists():
        raise RuntimeError("loss is 12 apples")
    return train(spec)


def train_to_nan(spec):
    """Give what no ledger can hold."""
    return result(spec, loss=float("nan"))


def train_on_a_worker_that_is_killed(spec):
    """Kill the own worker, once for each seed in the file ``victims``, always for seed 99."""
    mark = Path(spec["world"]) / f"killed-{spec['seed']}"
    if spec["seed"] == 99 or (spec["seed"] in (2, 5) and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return train(spec)


def train_and_tell_pid(spec):
    """Report the process of the worker."""
    return train(spec) | {"training": {"pid": os.getpid()}}


def train_and_tell_threads(spec):
    """Report the threads that arithmetic may use on a worker."""
    import torch

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return result(spec, torch=torch.get_num_threads(), **{name: os.environ.get(name) for name in names})


DRIVER = """
import sys, time
from pathlib import Path
from causalmix.train.ledger import Ledger
from causalmix.train.spec import RunSpec
from causalmix.train.sweep import run_sweep
from test_sweep import N, result, specs_in

def slow_train(spec):
    trace = Path(spec["world"]) / f"{spec['seed']}-{time.time_ns()}"
    trace.touch()
    time.sleep(0.3)
    if spec["seed"] == N - 1:
        raise RuntimeError("a failure makes no noise either")
    return result(spec)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    try:
        records = run_sweep(specs_in(folder / "traces"), Ledger(folder / "runs.jsonl"), slow_train, n_workers=2)
    except KeyboardInterrupt:
        sys.exit(130)
    print(len(records))
"""


def specs_in(folder, seeds=range(N)):
    """Specs that differ in their seed and leave their traces in ``folder``."""
    common = {"model": "m", "domains": ("math",), "weights": (1.0,), "state": (), "n_samples": 1, "epochs": 1}
    return [RunSpec(world=str(folder), seed=seed, **common) for seed in seeds]


def traces(folder, seed):
    """How often training of a seed began."""
    return len(list(Path(folder).glob(f"{seed}-*")))


@pytest.fixture(scope="module")
def client():
    """A cluster of two workers, as somebody else would have started it."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
                     scheduler_kwargs={"dashboard_address": "127.0.0.1:0"}, silence_logs="CRITICAL") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


@pytest.fixture
def ledger(tmp_path):
    """A ledger that does not exist yet."""
    return Ledger(tmp_path / "runs.jsonl")


def test_records_in_order_and_duplicates_once(client, ledger, tmp_path):
    """Equal specs are trained once, records follow the specs, and progress counts distinct runs."""
    seen = []
    specs = specs_in(tmp_path, [3, 1, 3, 2, 1])
    with listening(lambda *step: seen.append(step)):
        records = run_sweep(specs, ledger, train, client=client)
    assert [r["run_id"] for r in records] == [s.run_id for s in specs]
    assert [r["spec"]["seed"] for r in records] == [3, 1, 3, 2, 1]
    assert records[0] == {"run_id": specs[0].run_id, "spec": specs[0].as_dict(), "status": "finished", "error": None,
                          "scores": {"math": 0.03}, "covariates": {"x_hes": 1.0}, "training": {}}  # fmt: skip
    assert [traces(tmp_path, seed) for seed in (1, 2, 3)] == [1, 1, 1]
    assert [step[:2] for step in seen] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert seen[0][2:] == ("runs", None) and seen[1][3] > 0 and seen[3][3] == 0


def test_second_sweep_trains_only_what_is_new(client, ledger, tmp_path):
    """A sweep by scheduler address takes what is recorded from the ledger; a complete one needs no cluster."""
    run_sweep(specs_in(tmp_path, range(3)), ledger, train, client=client)
    records = run_sweep(specs_in(tmp_path, range(5)), ledger, train, client=client.scheduler.address)
    assert [r["spec"]["seed"] for r in records] == [0, 1, 2, 3, 4]
    assert [traces(tmp_path, seed) for seed in range(5)] == [1] * 5
    assert run_sweep(specs_in(tmp_path, range(5)), ledger, train, client="tcp://127.0.0.1:1") == records


def test_failed_run_is_recorded_and_retried_on_request(client, ledger, tmp_path):
    """A run that raises keeps its error, stays failed, and is done again with retry_failed only."""
    (tmp_path / "broken").touch()
    specs = specs_in(tmp_path, range(3))
    records = run_sweep(specs, ledger, train_or_raise, client=client)
    assert [r["status"] for r in records] == ["finished", "failed", "finished"]
    assert records[1]["error"].startswith("RuntimeError: loss is 12 apples (test_sweep.py, line ")
    assert records[1]["error"].endswith("in train_or_raise)") and records[1]["scores"] == {}
    (tmp_path / "broken").unlink()
    assert run_sweep(specs, ledger, train_or_raise, client=client) == records
    again = run_sweep(specs, ledger, train_or_raise, client=client, retry_failed=True)
    assert [r["status"] for r in again] == ["finished"] * 3 and not failed(ledger)
    assert [traces(tmp_path, seed) for seed in range(3)] == [1, 1, 1]


def test_a_run_that_met_a_full_disk_is_done_again_unasked(client, ledger, tmp_path):
    """It says nothing of the run: the same sweep, later, needs no option."""
    (spec,) = specs_in(tmp_path, [1])
    ledger.append(
        {
            "run_id": spec.run_id,
            "spec": spec.as_dict(),
            "status": "failed",
            "error": "OSError: [Errno 28] No space left on device",
        }
    )
    assert [r["status"] for r in run_sweep([spec], ledger, train, client=client)] == ["finished"]


def test_a_full_disk_is_the_machines_whoever_tells_of_it():
    """What saves models raises errors of its own, and a launched process that failed is a RuntimeError."""
    told = "SafetensorError: Error while serializing: I/O error: No space left on device (os error 28)"
    assert sweep._is_of_machine(RuntimeError(f"Training ended with exit code 1 ([rank0]: {told})"))
    assert sweep._is_of_machine(OSError(28, "x")) and not sweep._is_of_machine(RuntimeError("loss is 12 apples"))


def test_result_that_cannot_be_recorded_is_a_failure(client, ledger, tmp_path):
    """A run whose numbers are not finite, or whose result lacks a part, is recorded as failed."""
    (nan,) = run_sweep(specs_in(tmp_path, [1]), ledger, train_to_nan, client=client)
    (part,) = run_sweep(specs_in(tmp_path, [2]), ledger, lambda spec: {"scores": {}}, client=client)
    assert nan["status"] == part["status"] == "failed"
    assert "not JSON compliant" in nan["error"] and "Expected scores, covariates, training" in part["error"]


def test_no_scheduler_at_the_address(ledger, tmp_path):
    """A wrong address is an error of the input."""
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(InputError, match="found none"):
        run_sweep(specs_in(tmp_path), ledger, train, client="tcp://127.0.0.1:1")


def test_sweep_that_stops_leaves_nothing_on_the_scheduler(client, ledger, tmp_path):
    """When the driver is interrupted, what it had sent out is withdrawn from a scheduler that lives on."""

    def interrupt(done, *_):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(interrupt):
        run_sweep(specs_in(tmp_path, range(40)), ledger, train_first_only, client=client)
    wait_for(lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0)
    (tmp_path / "go").touch()
    assert len(ledger.finished()) == 1


def test_scheduler_that_goes_away(ledger, tmp_path):
    """Runs that a dead scheduler took along are not recorded as failed; those that had ended are kept."""
    specs = specs_in(tmp_path, range(50))
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1",
                      dashboard_address=None, scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                      silence_logs="CRITICAL") as cluster:  # fmt: skip

        def stop_after_two(done, *_):
            if done == 2:
                cluster.close()

        with pytest.raises(ConnectionError, match="start the sweep again"), listening(stop_after_two):
            run_sweep(specs, ledger, train_slowly, client=cluster.scheduler_address)
    assert len(ledger.finished()) >= 2 and not failed(ledger)


def test_killed_worker(ledger, tmp_path):
    """Runs of a killed worker are done again; one that kills every worker is recorded as failed."""
    specs = specs_in(tmp_path, [*range(8), 99])
    with dask.config.set({"distributed.scheduler.allowed-failures": 2}):
        records = run_sweep(specs, ledger, train_on_a_worker_that_is_killed, n_workers=2)
    assert (tmp_path / "killed-2").exists() and (tmp_path / "killed-5").exists()
    assert [r["error"] for r in records[:-1]] == [None] * 8
    assert records[-1]["error"].startswith("KilledWorker: ")
    assert len(ledger.records()) == 9


def test_worker_killed_with_a_result_that_was_not_fetched(ledger, tmp_path):
    """A result that dies with its worker before the driver has it is computed again, not recorded as failed."""

    def kill_after_first(done, *_):
        if done == 1:
            wait_for(lambda: all(traces(tmp_path, seed) for seed in range(4)))
            time.sleep(0.3)  # so that the driver has heard that they ended
            os.kill(ledger.records()[0]["training"]["pid"], signal.SIGKILL)
            time.sleep(0.3)  # and that the worker is gone

    specs = specs_in(tmp_path, range(4))
    at_once = dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"})  # a worker never starts that fast
    with at_once, listening(kill_after_first):
        records = run_sweep(specs, ledger, train_and_tell_pid, n_workers=1)
    assert [r["error"] for r in records] == [None] * 4
    first, *others = [r["training"]["pid"] for r in ledger.records()]
    assert first not in others and max(traces(tmp_path, seed) for seed in range(4)) == 2


def test_local_cluster_is_private_and_single_threaded(ledger, tmp_path, monkeypatch):
    """Workers compute with one thread whatever the driver does, and nothing listens beyond loopback."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    listens = []

    def look(*_):
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listens.extend(c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == "LISTEN")

    with listening(look):
        (record,) = run_sweep(specs_in(tmp_path, [1]), ledger, train_and_tell_threads)
    assert record["training"] == {
        "torch": 1, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    assert set(listens) == {"127.0.0.1"}
    assert os.environ["OMP_NUM_THREADS"] == "2"


def start(folder):
    """A driver process that sweeps N slow runs."""
    (folder / "traces").mkdir(exist_ok=True)
    (folder / "driver.py").write_text(DRIVER)
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    command = [sys.executable, "driver.py", str(folder)]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background may not hear it
    more = {"stdout": -1, "stderr": -1, "text": True, "start_new_session": True, "preexec_fn": heard}
    return subprocess.Popen(command, cwd=folder, env=environment | {"TMPDIR": str(folder)}, **more)


def wait_for(condition, seconds=300):
    """Wait until a condition holds; it must within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_killed_driver(ledger, tmp_path):
    """After kill -9 in mid-sweep no process lingers, and a restart does only what had not ended."""
    driver = start(tmp_path)
    wait_for(lambda: len(ledger.records()) >= 4)
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.communicate()
    assert len(children) >= 2 and not psutil.wait_procs(children, timeout=300)[1]
    before = ledger.path.read_text()
    ended = [json.loads(line)["spec"]["seed"] for line in before.splitlines()]
    assert 4 <= len(ended) < N

    # What a death in the middle of a write would have left behind.
    ledger.path.write_text(before + '{"run_id": "torn')
    assert list(tmp_path.glob(f"{SCRATCH}*"))  # its scratch, which the next sweep removes with its own
    again = start(tmp_path)
    out, noise = again.communicate(timeout=600)
    assert (again.returncode, out, noise) == (0, f"{N}\n", "")
    assert not [path for path in tmp_path.rglob("*") if "causalmix-" in path.name]
    assert ledger.path.read_text().startswith(before)
    assert len(ledger.records()) == N and failed(ledger) == [specs_in(tmp_path / "traces")[-1].run_id]
    assert [traces(tmp_path / "traces", seed) for seed in ended] == [1] * len(ended)
    assert all(traces(tmp_path / "traces", seed) >= 1 for seed in range(N))


def test_interrupted_driver(ledger, tmp_path):
    """Ctrl-C reaches all processes of a terminal: only the driver minds, ends all in silence, and leaves nothing."""
    driver = start(tmp_path)
    wait_for(lambda: len(ledger.records()) >= 2)
    children = psutil.Process(driver.pid).children(recursive=True)
    os.killpg(driver.pid, signal.SIGINT)
    out, noise = driver.communicate(timeout=300)
    assert (driver.returncode, out, noise) == (130, "", "")
    assert not psutil.wait_procs(children, timeout=300)[1]
    assert not [path for path in tmp_path.iterdir() if path.name not in ("driver.py", "runs.jsonl", "traces")]
    assert 2 <= len(ledger.finished()) < N and not failed(ledger)


def test_worker_that_is_killed_while_it_starts(ledger, tmp_path):
    """The first worker process dies before it is one, another takes its place, and the sweep never notices."""
    killed = []

    def kill_the_first():
        def starting():
            return [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]

        wait_for(starting)
        killed.extend(starting()[:1])
        killed[0].kill()

    beside = threading.Thread(target=kill_the_first)
    beside.start()
    records = run_sweep(specs_in(tmp_path, range(2)), ledger, train_and_tell_pid, n_workers=1)
    beside.join()
    assert [r["error"] for r in records] == [None] * 2
    assert killed[0].pid not in {r["training"]["pid"] for r in records}


def test_a_driver_loads_nothing_that_trains():
    """Drivers and schedulers start within a second: what trains is loaded where it does."""
    code = "import sys, causalmix.train.sweep; print(*sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "\n", done.stderr
