"""Sweeps on Slurm: its scripts, and stubs of its commands that run jobs on this machine."""

import os
import signal

import dask
import psutil
import pytest
import yaml
from distributed import Client, Security
from test_clusters import environment, in_thread, kill_all, once_each, train_until_told, with_pid
from test_sweep import specs_in, traces, train, wait_for

from causalmix.core.errors import InputError
from causalmix.train import clusters
from causalmix.train.clusters import connect, slurm_script
from causalmix.train.ledger import Ledger
from causalmix.train.sweep import run_sweep

OPTIONS = {"walltime": "1:00:00", "memory": "1GB", "interface": "lo", "gpus": 0}

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
def ledger(tmp_path):
    """A ledger that does not exist yet."""
    return Ledger(tmp_path / "runs.jsonl")


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


def test_slurm_jobs_have_the_gpus_of_a_run(slurm):
    """Two GPUs for a run of one process would stay idle, one for a run of two would not do; none stays none."""
    for asked, wanted in ((1, "--gres=gpu:2"), (8, "--gres=gpu:2"), (0, None)):
        with connect(OPTIONS | {"gpus": asked}, gpus=2):
            scripts = "".join(path.read_text() for path in slurm.parent.rglob("*.sh*")) + (slurm / "asked").read_text()
        assert (wanted in scripts) if wanted else ("--gres" not in (slurm / "asked").read_text())
        (slurm / "asked").unlink()


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
