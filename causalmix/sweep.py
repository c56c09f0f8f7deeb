"""Sweeps: given specs, return their records, training on a Dask cluster what the ledger lacks.

The driver is the only one that writes: it appends each record as its run ends.  Specs go out
all at once, for they are small and the scheduler hands a worker its next run without a pause;
results are small dictionaries, released as soon as they are written.
"""

from __future__ import annotations

import json
import logging
import os
import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import dask
from dask.system import CPU_COUNT
from distributed import Client, Future, LocalCluster, Nanny, as_completed

from causalmix.errors import InputError
from causalmix.ledger import Ledger
from causalmix.runs import RunSpec

#: One thread for each worker's arithmetic: as many single-threaded runs as cores finish soonest,
#: and a run's result does not depend on how many cores there are.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

LOCAL_SETTINGS = {
    # A worker holds the run it trains and no other: should it be killed, no other run is blamed.
    "distributed.scheduler.worker-saturation": 1.0,
    # A worker that was killed starts anew, which takes long on a busy machine.  Dask would give it
    # up after 15 seconds, and a sweep without workers waits for ever.
    "distributed.deploy.lost-worker-timeout": "1 hour",
}

RESULT_KEYS = ("scores", "covariates", "training")

Train = Callable[[dict], dict]
Progress = Callable[[int, int, float | None], None]


class OneThreadNanny(Nanny):
    """Starts its worker with one arithmetic thread, whatever the driver's own environment says.

    The variables must be there before the worker imports torch, hence before it starts.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.pre_spawn_env = self.pre_spawn_env | ONE_THREAD
        self.env = self.env | ONE_THREAD


def run_sweep(
    specs: Sequence[RunSpec],
    ledger: Ledger,
    train: Train,
    *,
    client: Client | str | None = None,
    n_workers: int | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> list[dict]:
    """Train every run that the ledger does not have yet.

    Parameters
    ----------
    specs : sequence of RunSpec
        The runs; equal specs are trained once.
    ledger : Ledger
        Where each record is appended as its run ends.
    train : callable
        Importable or otherwise picklable function from a spec's dictionary to a dictionary of
        ``scores``, ``covariates`` and ``training``.  What it raises is recorded.
    client : distributed.Client or str, optional
        A client, or a scheduler's address; a local cluster by default.
    n_workers : int, optional
        Processes of the local cluster; one per core by default.
    retry_failed : bool
        Whether runs recorded as failed are trained again.
    progress : callable, optional
        Called with runs done, runs in all and the seconds left (None while unknown),
        at the start and after each run.

    Returns
    -------
    list of dict
        The ledger's record of each spec, in the order of ``specs``.

    Raises
    ------
    InputError
        When there is no scheduler at the address, or another process writes to the ledger.
    ConnectionError
        When the scheduler goes away; what had ended by then is recorded.
    """
    wanted = {spec.run_id: spec for spec in specs}
    if _missing(wanted, ledger, retry_failed):
        # Looked up again under the lock: another sweep may have ended in the meantime.
        with ledger.writer():
            missing = _missing(wanted, ledger, retry_failed)
            with _connect(client, min(n_workers or CPU_COUNT, max(len(missing), 1))) as connected:
                _train_all(missing, ledger, train, connected, _Meter(progress, len(wanted), len(missing)))
    records = ledger.latest()
    return [records[spec.run_id] for spec in specs]


def _missing(wanted: dict[str, RunSpec], ledger: Ledger, retry_failed: bool) -> list[RunSpec]:
    done = ledger.finished() if retry_failed else ledger.latest()
    return [spec for run_id, spec in wanted.items() if run_id not in done]


class _Meter:
    """Turns runs that end into calls of ``progress``."""

    def __init__(self, progress: Progress | None, total: int, missing: int) -> None:
        self.progress, self.total, self.missing = progress, total, missing
        self.started, self.ended = time.monotonic(), -1

    def tick(self) -> None:
        self.ended += 1
        if self.progress is None:
            return
        left = self.missing - self.ended
        per_run = (time.monotonic() - self.started) / self.ended if self.ended else None
        self.progress(self.total - left, self.total, per_run and left * per_run)


def _train_all(specs: list[RunSpec], ledger: Ledger, train: Train, client: Client, meter: _Meter) -> None:
    """Append a record for each spec, in the order in which the runs end."""
    meter.tick()
    futures = client.map(_checked, [spec.as_dict() for spec in specs], train=train, pure=False)
    spec_of = {future.key: spec for future, spec in zip(futures, specs)}
    try:
        for future in as_completed(futures, loop=client.loop):
            ledger.append(_record(spec_of[future.key], future))
            future.release()
            meter.tick()
    finally:
        for future in futures:  # a sweep that stops early must not leave its runs on a shared scheduler
            future.release()


def _checked(spec: dict, train: Train) -> dict:
    """On a worker: train, and make sure that what comes back can be recorded."""
    result = train(spec)
    if not isinstance(result, dict) or set(result) != set(RESULT_KEYS):
        raise TypeError(f"Expected {', '.join(RESULT_KEYS)} from the training function, found {result!r}.")
    json.dumps(result, allow_nan=False)
    return result


def _record(spec: RunSpec, future: Future) -> dict:
    """The ledger's record of a run that has ended, well or not."""
    record = {"run_id": spec.run_id, "spec": spec.as_dict()}
    try:
        # Where the result was lost with its worker, this waits until the run has been done again.
        return record | {"status": "finished", "error": None} | future.result()
    except (Exception, CancelledError) as error:
        if future.status != "error":
            # Not the run's fault, so not its record either: the next sweep does it again.
            raise ConnectionError(
                f"The scheduler dropped run {spec.run_id}; start the sweep again to do what is left."
            ) from error
        described = _describe(error, traceback.extract_tb(future.traceback()))
        return record | {"status": "failed", "error": described} | dict.fromkeys(RESULT_KEYS, {})


def _describe(error: BaseException, frames: traceback.StackSummary) -> str:
    """What a run raised and where, without the folders of the machine."""
    text = f"{type(error).__name__}: {error}"
    if not frames:  # the worker died
        return text
    where = frames[-1]
    return f"{text} ({os.path.basename(where.filename)}, line {where.lineno}, in {where.name})"


@contextmanager
def _connect(client: Client | str | None, n_workers: int) -> Iterator[Client]:
    """A client to work with; what is made here is closed here."""
    if isinstance(client, Client):
        yield client
    elif client is not None:
        try:
            remote = Client(client)
        except (OSError, TimeoutError) as error:
            raise InputError(
                f"Expected a Dask scheduler at {client}, found none; start one, or leave the address out."
            ) from error
        with remote:
            yield remote
    else:
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        try:
            with dask.config.set(LOCAL_SETTINGS), _local_cluster(n_workers) as cluster, Client(cluster) as local:
                yield local
        finally:
            # A nanny sets its worker's variables in this process too; they would slow what follows.
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _local_cluster(n_workers: int) -> LocalCluster:
    """Processes of one thread on this machine, reachable from nowhere else.

    Workers exit with the driver, even when it is killed.  Memory is left to the operating
    system: Dask can neither spill a model nor does pausing a worker ever free one.
    """
    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # no dashboard either, but any free port
        memory_limit=0,
        worker_class=OneThreadNanny,
        silence_logs=logging.CRITICAL,
    )
