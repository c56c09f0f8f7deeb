"""Sweeps: given specs, return their records, training on a Dask cluster what the ledger lacks; the driver writes."""

import json
import logging
import os
import time
import traceback
from asyncio import CancelledError
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from distributed import Client, Future, KilledWorker, Status, Worker, as_completed, get_worker
from distributed.versions import get_package_info

from causalmix.core import progress
from causalmix.core.errors import InputError
from causalmix.train.clusters import connect
from causalmix.train.ledger import Ledger, is_full
from causalmix.train.spec import RunSpec

log = logging.getLogger(__name__)
RESULT_KEYS = ("scores", "covariates", "training")
#: What a run's numbers, or its way to a worker and back, depend on.
VERSIONED = tuple("causalmix cloudpickle dask datasets distributed numpy tokenizers torch transformers trl".split())
#: What a machine does to a run: its worker died, its disk is full, its network is down, a library is missing.
MACHINE_ERRORS = (KilledWorker, OSError, MemoryError, ImportError)
#: The same from an accelerator, by name, so that nothing here imports torch.
ACCELERATOR_ERRORS = {"AcceleratorError", "OutOfMemoryError"}
Train = Callable[[dict], dict]


def run_sweep(
    specs: Sequence[RunSpec], ledger: Ledger, train: Train, *, client: Client | str | Mapping | None = None,
    n_workers: int | None = None, retry_failed: bool = False, retries: int = 0,
) -> list[dict]:  # fmt: skip
    """Train every run that the ledger does not have yet; its record of each spec, in the order of ``specs``.

    ``train`` is a picklable function from a spec's dictionary to one of ``scores``, ``covariates`` and ``training``;
    what it raises is recorded.  ``client`` and ``n_workers`` are of :func:`causalmix.train.clusters.connect`.
    ``retry_failed``: failed runs are trained again, as those that met a full disk always are; ``retries``: how often
    for what a run's machine did.  ConnectionError when the scheduler goes away: what had ended by then is recorded.
    """
    wanted = {spec.run_id: spec for spec in specs}
    if _missing(wanted, ledger, retry_failed):
        # Looked up again under the lock: another sweep may have ended in the meantime.
        with ledger.writer():
            missing = _missing(wanted, ledger, retry_failed)
            meter = _Meter(len(wanted), len(missing))
            # Apart by their GPUs: a worker sees as many as its run trains on, one for each of its processes.
            groups: dict[int, list[RunSpec]] = {}
            for spec in missing:
                groups.setdefault(int(spec.launch.get("processes", 1)), []).append(spec)
            for gpus, group in sorted(groups.items()):
                with connect(client, n_workers=n_workers, runs=len(group), gpus=gpus) as connected:
                    _train_all(group, ledger, train, connected, meter, retries)
    records = ledger.latest()
    return [spec.recorded(records) for spec in specs]


def _missing(wanted: dict[str, RunSpec], ledger: Ledger, retry_failed: bool) -> list[RunSpec]:
    done = ledger.settled(retry_failed)
    return [spec for run_id, spec in wanted.items() if run_id not in done]


class _Meter:
    """Tells how many runs have ended, and by them the seconds left."""

    def __init__(self, total: int, missing: int) -> None:
        self.total, self.missing = total, missing
        self.started, self.ended = time.monotonic(), 0

    def show(self, ended: int = 0) -> None:
        self.ended += ended
        left = self.missing - self.ended
        per_run = (time.monotonic() - self.started) / self.ended if self.ended else None
        progress.tell(self.total - left, self.total, "runs", per_run and left * per_run)


def _train_all(specs: list[RunSpec], ledger: Ledger, train: Train, client: Client, meter: _Meter, retries: int) -> None:
    """Append a record for each spec, in the order in which the runs end."""
    meter.show()
    _wait_for_workers(client)
    if not meter.ended:
        meter.started = time.monotonic()  # a queue's time is not the runs'
    shared = {"train": train, "versions": _versions(), "pure": False}
    futures = client.map(_checked, [spec.as_dict() for spec in specs], **shared)
    spec_of = {future.key: spec for future, spec in zip(futures, specs)}
    tried: Counter[str] = Counter()
    ended = as_completed(futures, loop=client.loop)
    try:
        for future in ended:
            spec = spec_of[future.key]
            record, error = _record(spec, future)
            future.release()
            # Not Dask's own retries: these also repeat what the run does wrong, and count no lost worker.
            if _is_of_machine(error) and tried[spec.run_id] < retries:
                tried[spec.run_id] += 1
                again = client.submit(_checked, spec.as_dict(), **shared, priority=-1)  # last: it may pass
                futures.append(again)
                spec_of[again.key] = spec
                ended.add(again)
                continue
            ledger.append(record)
            meter.show(ended=1)
    finally:
        for future in futures:  # a sweep that stops early must not leave its runs on a shared scheduler
            future.release()


def _wait_for_workers(client: Client) -> None:
    """Return when there is a worker, and all that there are have the driver's versions."""
    try:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            log.warning("No worker yet: the sweep begins with the first one.")
        client.wait_for_workers(1)
        answers = client.get_versions(packages=VERSIONED)["workers"]
    except OSError as error:
        raise ConnectionError("The scheduler went away before any run; start the sweep again.") from error
    for address, answer in answers.items():
        _compare(_versions(), _versions(answer["packages"]), address)


class OtherVersions(InputError):
    """A worker whose versions are not the driver's: the runs that it would spoil are not recorded."""


def _versions(packages: Mapping[str, str | None] | None = None) -> dict[str, str | None]:
    """Versions, of this process' packages by default, without what may differ: a build, Python's last digit."""
    packages = packages or get_package_info(VERSIONED)
    plain = {name: packages[name] and packages[name].partition("+")[0] for name in VERSIONED}
    return plain | {"python": ".".join(packages["python"].split(".")[:2])}


def _compare(mine: dict, theirs: dict, address: str) -> None:
    off = [f"{name} {theirs[name] or 'missing'} instead of {mine[name]}" for name in mine if theirs[name] != mine[name]]
    if off:
        raise OtherVersions(f"Expected the driver's versions on worker {address}, found {', '.join(off)}; match them.")


def _checked(spec: dict, train: Train, versions: dict) -> dict:
    """On a worker: train, and make sure that what comes back can be recorded."""
    _compare(versions, _versions(), get_worker().address)  # it may have come after the driver looked
    try:
        result = train(spec)
    except Exception as error:
        if _is_of_accelerator(error):
            _start_anew(get_worker())
        raise
    if not isinstance(result, dict) or set(result) != set(RESULT_KEYS):
        raise TypeError(f"Expected {', '.join(RESULT_KEYS)} from the training function, found {result!r}.")
    json.dumps(result, allow_nan=False)
    return result


def _start_anew(worker: Worker) -> None:
    """Replace the worker's process: an accelerator may refuse all that follows in one that saw an error."""

    def replace() -> Awaitable[None]:
        worker.status = Status.paused  # told before the run's end is, hence no other run is sent here
        return worker.close_gracefully(restart=True)

    if worker.nanny:
        worker.loop.add_callback(replace)


def _is_of_machine(error: BaseException | None) -> bool:
    return isinstance(error, MACHINE_ERRORS) or _is_of_accelerator(error) or is_full(error)


def _is_of_accelerator(error: BaseException | None) -> bool:
    return any(kind.__name__ in ACCELERATOR_ERRORS for kind in type(error).__mro__)


def _record(spec: RunSpec, future: Future) -> tuple[dict, BaseException | None]:
    """The ledger's record of a run that has ended, well or not, and what it raised."""
    record = {"run_id": spec.run_id, "spec": spec.as_dict()}
    try:
        # Where the result was lost with its worker, this waits until the run has been done again.
        return record | {"status": "finished", "error": None} | future.result(), None
    except OtherVersions:
        raise
    except (Exception, CancelledError) as error:
        if future.status != "error":
            # Not the run's fault, so not its record either: the next sweep does it again.
            raise ConnectionError(
                f"The scheduler dropped run {spec.run_id}; start the sweep again to do what is left."
            ) from error
        described = f"{type(error).__name__}: {error}"
        if frames := traceback.extract_tb(future.traceback()):  # none where the worker died
            where = frames[-1]  # told without the folders of the machine
            described += f" ({os.path.basename(where.filename)}, line {where.lineno}, in {where.name})"
        return record | {"status": "failed", "error": described} | dict.fromkeys(RESULT_KEYS, {}), error
