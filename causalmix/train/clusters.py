"""Clusters: from a word, an address or Slurm options to a Dask client with workers of one run each."""

import logging
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import dask
from dask.system import CPU_COUNT
from dask.utils import tmpfile
from distributed import Client, LocalCluster, Nanny, Security, Status
from pydantic import Field

from causalmix.core.errors import InputError, refused
from causalmix.core.paths import cache_dir
from causalmix.core.scratch import scratch_folder
from causalmix.core.settings import Settings, validated
from causalmix.core.wording import counted
from causalmix.core.yaml_file import read_yaml

#: One thread for each worker's arithmetic: as many single-threaded runs as cores finish soonest,
#: and a run's result does not depend on how many cores there are.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LOST = "distributed.deploy.lost-worker-timeout"
LOCAL_SETTINGS = {
    # A worker holds the run it trains and no other: should it be killed, no other run is blamed.
    "distributed.scheduler.worker-saturation": 1.0,
    # A worker that was killed starts anew, which takes long on a busy machine.  Dask would give it
    # up after 15 seconds, and a sweep without workers waits for ever.
    LOST: "1 hour",
}
#: A worker that does not come back has lost its job, and another job is submitted in its place.
SLURM_SETTINGS = LOCAL_SETTINGS | {LOST: "2 minutes"}
ADDRESS = re.compile(r"([a-z]+://)?(\S+):\d+")
HERE = re.compile(r"localhost|127(\.\d+){3}|\[::1\]")  # hosts that nobody else reaches
STARTS = 4  # of a worker that is killed before it has started
Line = Annotated[str, Field(pattern=r"^.*\S.*$")]  # a second one would be a directive, or a command, nobody meant


class SlurmOptions(Settings):
    """What a Slurm file may hold; see :func:`slurm_script`."""

    walltime: str = Field(
        pattern=r"^(\d+-)?\d{1,3}:[0-5]\d:[0-5]\d$", description="'H:MM:SS' or 'D-HH:MM:SS' in quotes"
    )
    memory: str = Field(pattern=r"^\d+(\.\d+)? ?[kMGT]i?B$", description="text such as 16GB")
    queue: Line | None = Field(None, description="the name of a partition")
    account: Line | None = Field(None, description="the name of an account")
    gpus: int = Field(1, ge=0, description="a whole number from 0")
    cores: int = Field(1, ge=1, description="a whole number from 1")
    jobs: int = Field(1, ge=1, description="a whole number from 1")
    directives: list[Line] = Field([], description="a list of texts such as --constraint=a100")
    prologue: list[Line] = Field([], description="a list of shell commands")
    python: Line = Field(sys.executable, description="the path of an interpreter")
    env: dict[Line, Line] = Field({}, description="variables with a text each")
    interface: Line | None = Field(None, description="the name of a network interface")


@contextmanager
def connect(
    spec: str | Mapping | Client | None = "local", *, n_workers: int | None = None, runs: int | None = None,
    gpus: int = 1,
) -> Iterator[Client]:  # fmt: skip
    """A client of a cluster, perhaps without any worker yet; what is made here is closed here.

    ``spec`` is ``local`` (or None), a scheduler's address, ``slurm:FILE.yaml`` or its options, or a client; there are
    ``n_workers`` processes of this machine (by default one for the ``gpus`` of a run, or per core) or jobs of Slurm.
    """
    if isinstance(spec, Client):
        yield spec
        return
    if isinstance(spec, str):
        check(spec)
    most = math.inf if runs is None else max(runs, 1)
    if spec is None or spec == "local":
        cluster = _local(n_workers, most, gpus)
    elif isinstance(spec, Mapping) or spec.startswith("slurm:"):
        cluster = _slurm(spec, n_workers, most, gpus)
    else:
        try:
            cluster = Client(spec)
        except (OSError, ValueError) as error:  # TimeoutError is one; another protocol
            told = f"Expected a Dask scheduler at {spec}, found none; start one, or leave the address out."
            raise InputError(told) from error
    with cluster as client:
        yield client


def check(spec: str) -> None:
    """Raise InputError, asking nobody, unless :func:`connect` can take it: its form, and a Slurm file's options."""
    if spec.startswith("slurm:"):
        _read(spec)
    elif spec != "local" and not (found := ADDRESS.fullmatch(spec)):
        raise InputError(f"Expected local, slurm:FILE.yaml or a scheduler's tls://HOST:PORT, found {spec!r}; name one.")
    elif spec != "local" and found[1] != "tls://" and not HERE.fullmatch(found[2]):
        raise InputError(
            f"Expected a scheduler beyond this machine to be encrypted (tls://HOST:PORT), found {spec!r}, where who "
            "reaches it runs code as its user; start it with certificates, or reach it through a tunnel as localhost."
        )


def slurm_script(options: str | Path | Mapping) -> str:
    """The script of one job, to be read before anything is submitted; Slurm need not be there."""
    from dask_jobqueue.slurm import SLURMJob

    return SLURMJob("tls://SCHEDULER:8786", name="worker", **_job(_read(options))).job_script()


def _read(options: str | Path | Mapping) -> SlurmOptions:
    """Options, or what a YAML file holds of them, each of its form."""
    given = options
    if not isinstance(options, Mapping):
        given = read_yaml(str(options).removeprefix("slurm:"), "Slurm options such as memory: 16GB")
    return validated(SlurmOptions, given, "the Slurm options")


def _job(options: SlurmOptions) -> dict:
    """Options in dask-jobqueue's terms: one process of one thread, which trains one run at a time."""
    gpus = [f"--gres=gpu:{options.gpus}"] * bool(options.gpus)
    exports = [f"export {name}={shlex.quote(value)}" for name, value in (ONE_THREAD | options.env).items()]
    return {
        "cores": 1,
        "processes": 1,
        "job_cpu": options.cores,
        # The last limit counts.  Memory is left to Slurm: Dask would pause a worker, which frees none.
        "worker_extra_args": ["--memory-limit", "0"],
        "job_extra_directives": [*gpus, *options.directives],
        "job_script_prologue": [*exports, *options.prologue],
        "python": shlex.quote(options.python),
    } | options.model_dump(include={"queue", "account", "walltime", "memory", "interface"})


@contextmanager
def _slurm(options: str | Mapping, n_workers: int | None, most: float, gpus: int) -> Iterator[Client]:
    """A scheduler in this process whose workers are jobs of Slurm."""
    options = _read(options)
    if options.gpus:  # with fewer than a run trains on it fails, with more they stay idle
        options = options.model_copy(update={"gpus": gpus})
    _ask_slurm(slurm_script(options.model_dump()))
    from dask_jobqueue import SLURMCluster

    jobs = min(n_workers or options.jobs, most)
    settings = {"scheduler_options": {"dashboard_address": "127.0.0.1:0"}, "silence_logs": logging.WARNING}
    with (
        scratch_folder(cache_dir()) as shared,  # where jobs read their keys: they read scored pools there, too
        dask.config.set(SLURM_SETTINGS),
        SLURMCluster(**_job(options), **settings, security=_certificates(Path(shared))) as cluster,
    ):
        # Unlike ``scale``, this submits another job where one has ended: at its walltime, or pre-empted.
        cluster.adapt(minimum=jobs, maximum=jobs)
        with Client(cluster) as client:
            yield client


def _certificates(folder: Path) -> Security:
    """A key and a certificate of this sweep alone, in a folder that its jobs see and nobody else."""
    why = "cryptography, for a scheduler that other machines reach is encrypted"
    with refused(why, 'install causalmix with its extra "cluster"', ImportError):
        made = Security.temporary()
    for part, text in (("cert", made.tls_ca_file), ("key", made.tls_worker_key)):
        (folder / part).touch(0o600)
        (folder / part).write_text(text)
    roles = [(role, part) for role in ("client", "scheduler", "worker") for part in ("cert", "key")]
    files = {f"tls_{role}_{part}": str(folder / part) for role, part in roles}
    return Security(require_encryption=True, tls_ca_file=str(folder / "cert"), **files)


def _ask_slurm(script: str) -> None:
    """Let Slurm judge the job: what it refuses later, nobody hears of."""
    if not shutil.which("sbatch"):
        raise InputError("Expected Slurm's sbatch on the PATH, found none; start this on a login node.")
    with tmpfile(extension="sh") as path:
        Path(path).write_text(script, encoding="utf-8")
        answer = subprocess.run(["sbatch", "--test-only", path], capture_output=True, text=True)
    if answer.returncode:
        told = " ".join(answer.stderr.split())
        raise InputError(f"Expected Slurm to accept the job, found {told!r}; correct the Slurm options.")


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name here, one entry a GPU; empty where there is none."""
    import torch

    found = torch.cuda.device_count()
    given = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (given or [str(i) for i in range(found)])[:found]


class OneThreadNanny(Nanny):
    """Starts its worker i with one arithmetic thread, and the i-th of ``shares``, if any, as CUDA_VISIBLE_DEVICES."""

    def __init__(self, *args, shares: Sequence[str] = (), name: object = None, **kwargs) -> None:
        super().__init__(*args, name=name, **kwargs)
        own = ONE_THREAD | ({"CUDA_VISIBLE_DEVICES": shares[int(name) % len(shares)]} if shares else {})
        own |= {"TMPDIR": dask.config.get("temporary-directory")}  # what a killed run leaves goes with the sweep's
        self.pre_spawn_env = self.pre_spawn_env | own
        self.env = self.env | own
        self._starts = STARTS

    async def instantiate(self) -> Status:
        """Start the worker; again, where it was killed meanwhile, for Dask would give up the nanny, or the sweep."""
        for self._starts in reversed(range(STARTS)):
            try:
                if (found := await super().instantiate()) == Status.running or not self._starts:
                    return found
            except Exception:
                if not self._starts or self.status in (Status.closing, Status.closed):
                    raise

    async def close(self, timeout: float = 5, reason: str = "nanny-close") -> str:
        """End, but not for a worker that is started again."""
        again = reason == "nanny-instantiate-failed" and self._starts
        return "OK" if again else await super().close(timeout=timeout, reason=reason)


def start_tracker() -> None:
    """Start Python's tracker of semaphores by itself, for it lifts the mask of signals where it is started.

    What workers leave that were stopped it removes in silence, not with a warning of its own.
    """
    silent = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker")))
    with patch.dict(os.environ, PYTHONWARNINGS=silent):
        resource_tracker.ensure_running()


@contextmanager
def _local(n_workers: int | None, most: float, gpus: int) -> Iterator[Client]:
    """Processes of one thread on this machine, reachable from nowhere else; they exit with the driver."""
    there = visible_gpus()
    if 0 < len(there) < gpus:
        raise InputError(
            f"Expected {counted(gpus, 'GPU')} on this machine for a run, found {len(there)}; name a cluster with more."
        )
    shares = [",".join(there[i : i + gpus]) for i in range(0, len(there) - gpus + 1, gpus)]
    n_workers = min(n_workers or len(shares) or CPU_COUNT, most)
    # No limit of memory: Dask can neither spill a model nor does pausing a worker ever free one.
    options = {"threads_per_worker": 1, "memory_limit": 0, "worker_class": OneThreadNanny, "shares": shares}
    quiet = {"host": "127.0.0.1", "dashboard_address": None, "silence_logs": logging.CRITICAL}
    port = {"dashboard_address": "127.0.0.1:0"}  # the scheduler has no dashboard either, but any free port
    with ExitStack() as stack:
        # A nanny sets its worker's variables in this process too; they would slow what follows.
        stack.enter_context(patch.dict(os.environ))
        scratch = stack.enter_context(scratch_folder(Path(tempfile.gettempdir())))
        stack.enter_context(dask.config.set(LOCAL_SETTINGS | {"temporary-directory": scratch}))
        # Workers, and the thread that starts them anew, inherit the mask: Ctrl-C is the driver's, which ends them.
        start_tracker()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            local = LocalCluster(n_workers=n_workers, scheduler_kwargs=port, **options, **quiet)
            cluster = stack.enter_context(local)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield stack.enter_context(Client(cluster))
