"""Clusters that lose workers or their scheduler, or have none yet; Slurm by its scripts and stubs of its commands."""

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
import yaml
from distributed import Client, Security
from test_sweep import result, specs_in, traces, train, wait_for

from causalmix.core.errors import InputError
from causalmix.train import clusters
from causalmix.train.clusters import connect, slurm_script
from causalmix.train.ledger import Ledger
from causalmix.train.sweep import run_sweep

HERE = Path(__file__).parent
OPTIONS = {"walltime": "1:00:00", "memory": "1GB", "interface": "lo", "gpus": 0}


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
        records = run_sweep(specs_in(tmp_path, range(6)), ledger, train_until_told, client=f"tcp://127.0.0.1:{port}",
                            progress=lambda *step: seen.append(step[:2]))  # fmt: skip
        beside_it.join()
    assert once_each(ledger, 6) and [r["spec"]["seed"] for r in records] == list(range(6))
    assert records[0]["training"]["pid"] != int((tmp_path / "pid").read_text())
    assert before == [(0, 6)] and seen == [(done, 6) for done in range(7)]
    assert [traces(tmp_path, seed) for seed in range(6)] == [1] * 6


def test_scheduler_that_is_killed_and_started_again(ledger, port, tmp_path):
    """A dead scheduler is told in a sentence; the sweep resumed on a new one trains only what is left."""
    specs, address = specs_in(tmp_path, range(5)), f"tcp://127.0.0.1:{port}"
    with scheduler(port) as first, worker(port, tmp_path):

        def kill_after_two(done, total, seconds_left):
            if done == 2:
                kill_all(first.pid)

        with pytest.raises(ConnectionError, match="start the sweep again"):
            run_sweep(specs, ledger, train_some, client=address, progress=kill_after_two)
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
    records = run_sweep(specs, ledger, train_or_fail, retries=retries, n_workers=1,
                        progress=lambda *step: seen.append(step[:2]))  # fmt: skip
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


def test_bad_retries(ledger, tmp_path):
    """Retries are a whole number from 0, before anything starts."""
    with pytest.raises(InputError, match="whole number of retries from 0, found -1"):
        run_sweep(specs_in(tmp_path), ledger, train, retries=-1)


def test_script_of_a_slurm_job(tmp_path):
    """The script asks for what the options say, and starts one process of one thread."""
    options = {
        "walltime": "2-00:30:00", "memory": "32GiB", "queue": "gpu", "account": "a42", "cores": 6,
        "directives": ["--constraint=a100"], "prologue": ["module load cuda"],
        "python": "/opt/my env/python", "env": {"HF_HOME": "/data/hub cache"},
    }  # fmt: skip
    (tmp_path / "slurm.yaml").write_text(yaml.safe_dump(options))
    script = slurm_script(tmp_path / "slurm.yaml")
    assert script == slurm_script(options)
    lines = script.splitlines()
    asked = ["-p gpu", "-A a42", "-n 1", "--cpus-per-task=6", "--mem=32G", "-t 2-00:30:00", "--gres=gpu:1"]
    for directive in [*asked, "--constraint=a100"]:
        assert f"#SBATCH {directive}" in lines
    command = lines[-1]
    assert command.startswith("'/opt/my env/python' -m distributed.cli.dask_worker tls://SCHEDULER:8786")
    assert "--nthreads 1" in command and "--nanny" in command and command.endswith("--memory-limit 0")
    before = lines[: lines.index(command)]
    assert {"export OMP_NUM_THREADS=1", "export HF_HOME='/data/hub cache'", "module load cuda"} <= set(before)
    assert "--gres" not in slurm_script(options | {"gpus": 0}) and "--gres=gpu:2" in slurm_script(options | {"gpus": 2})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wall_time": "1:00:00"}, "setting of the Slurm options among walltime, .*'wall_time'; did you mean walltime"),
        ({"walltime": 43200}, r"walltime of the Slurm options to be 'H:MM:SS' or .* in quotes, found 43200"),
        ({"walltime": "12 hours"}, "walltime of the Slurm options .* found '12 hours'"),
        ({"memory": "much"}, "memory of the Slurm options to be text such as 16GB, found 'much'"),
        ({"gpus": -1}, "gpus of the Slurm options to be a whole number from 0, found -1"),
        ({"jobs": 0}, "jobs of the Slurm options to be a whole number from 1, found 0"),
        ({"jobs": True}, "jobs of the Slurm options to be a whole number from 1, found True"),
        ({"queue": "a\n#SBATCH -A b"}, "queue of the Slurm options to be the name of a partition, found"),
        ({"queue": "gpu\n"}, "queue of the Slurm options to be the name of a partition, found"),
        ({"directives": "--constraint=a100"}, "directives of the Slurm options to be a list of texts such as"),
        ({"prologue": ["module load a\nrm b"]}, "prologue of the Slurm options to be a list of shell commands, found"),
        ({"env": {"A": 1}}, "env of the Slurm options to be variables with a text each, found 1"),
    ],
)
def test_bad_slurm_options(change, message):
    """A bad option is refused by name, before anything is submitted."""
    with pytest.raises(InputError, match=message):
        slurm_script(OPTIONS | change)


def test_missing_slurm_options(tmp_path):
    """So are options that must be given, and files that hold none."""
    with pytest.raises(InputError, match="memory among the settings of the Slurm options, found none"):
        slurm_script({"walltime": "1:00:00"})
    with pytest.raises(InputError, match="YAML file .*none.yaml, found no such file"):
        slurm_script(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- walltime")
    with pytest.raises(InputError, match=r"YAML file .*list.yaml, found \['walltime'\]"):
        slurm_script(tmp_path / "list.yaml")


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


def test_slurm_s_scheduler_is_encrypted(slurm, tmp_path, monkeypatch):
    """It speaks TLS with keys of its own, a stranger is turned away, and the keys are gone with the sweep."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(tmp_path / "cache"))
    with connect(OPTIONS) as client:
        client.wait_for_workers(1)
        address = client.scheduler.address
        assert address.startswith("tls://") and client.submit(abs, -1).result() == 1
        keys = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert keys and not any(path.stat().st_mode & 0o077 for path in keys)
        stranger = Security.temporary()
        with dask.config.set({"distributed.comm.timeouts.connect": "2s"}), pytest.raises(OSError):
            Client(address, security=stranger)
    assert list((tmp_path / "cache").iterdir()) == []


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
    records = run_sweep(runs, ledger, with_gpus, progress=lambda *told: seen.append(told[:2]))
    assert [record["training"]["gpus"] for record in records][1] == "0,1"
    assert {records[0]["training"]["gpus"], records[2]["training"]["gpus"]} <= {"0", "1"}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and seen[-1] == (3, 3)


def test_slurm_jobs_have_the_gpus_of_a_run(slurm):
    """Two GPUs for a run of one process would stay idle, one for a run of two would not do; none stays none."""
    for asked, wanted in ((1, "--gres=gpu:2"), (8, "--gres=gpu:2"), (0, None)):
        with connect(OPTIONS | {"gpus": asked}, gpus=2):
            scripts = "".join(path.read_text() for path in slurm.parent.rglob("*.sh*")) + (slurm / "asked").read_text()
        assert (wanted in scripts) if wanted else ("--gres" not in (slurm / "asked").read_text())
        (slurm / "asked").unlink()


SBATCH = """#!/bin/bash
here=$(dirname "$0")
if [ "$1" = --test-only ]; then
    cat "$2" >> "$here/asked"
    [ -e "$here/refuse" ] && { echo "sbatch: error: invalid partition" >&2; exit 1; }
    exit 0
fi
cp "$1" "$1.job" && (setsid bash "$1.job" >/dev/null 2>&1 & echo $! >> "$here/jobs"; echo "Submitted batch job $!")
"""
SCANCEL = """#!/bin/bash
echo "$1" >> "$(dirname "$0")/cancelled"
kill -9 -- "-$1"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder on the PATH with commands that run jobs on this machine."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    yield folder
    for pid in jobs(folder):
        kill_all(pid)


def jobs(folder, name="jobs"):
    """Ids of the jobs that a stub has seen."""
    return [int(line) for line in (folder / name).read_text().split()] if (folder / name).exists() else []


def test_sweep_on_slurm(ledger, slurm, tmp_path):
    """Jobs are submitted, train, and are cancelled at the end, no more of them than there are runs."""
    (tmp_path / "slurm.yaml").write_text(yaml.safe_dump(OPTIONS | {"jobs": 5}))
    records = run_sweep(specs_in(tmp_path, range(2)), ledger, with_pid, client=f"slurm:{tmp_path / 'slurm.yaml'}")
    assert once_each(ledger, 2) and {r["training"]["threads"] for r in records} == {"1"}
    assert len(jobs(slurm)) == 2 and sorted(jobs(slurm, "cancelled")) == sorted(jobs(slurm))
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in jobs(slurm)))


def test_job_that_ends_is_submitted_again(ledger, slurm, tmp_path, monkeypatch):
    """A job that its cluster ends takes no run along: another one is submitted and does it."""
    monkeypatch.setitem(clusters.SLURM_SETTINGS, clusters.LOST, "100ms")

    def end_the_job():
        wait_for((tmp_path / "pid").exists)
        os.killpg(jobs(slurm)[0], signal.SIGKILL)

    beside_it = in_thread(end_the_job)
    run_sweep(specs_in(tmp_path, range(3)), ledger, train_until_told, client=OPTIONS)
    beside_it.join()
    assert once_each(ledger, 3) and len(jobs(slurm)) == 2
    assert [traces(tmp_path, seed) for seed in range(3)] == [1] * 3


def test_worker_of_a_job_leaves_memory_to_slurm(slurm):
    """The last memory limit in the script is the one that counts, and it is none."""
    with connect(OPTIONS) as client:
        client.wait_for_workers(1)
        (facts,) = client.scheduler_info()["workers"].values()
    assert facts["memory_limit"] in (0, None) and facts["nthreads"] == 1


def test_job_that_slurm_refuses(ledger, slurm, tmp_path):
    """What sbatch has against a job is told at once."""
    (slurm / "refuse").touch()
    with pytest.raises(InputError, match="accept the job, found 'sbatch: error: invalid partition'"):
        run_sweep(specs_in(tmp_path), ledger, train, client=OPTIONS)
    assert jobs(slurm) == []


def test_no_slurm(ledger, tmp_path, monkeypatch):
    """Where there is no sbatch, that is said."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="sbatch on the PATH, found none"):
        run_sweep(specs_in(tmp_path), ledger, train, client=OPTIONS)
