"""What a sweep will take, told before it starts: runs, rows, tokens, and minutes by a short start that is measured."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from causalmix.core.errors import InputError, one_line
from causalmix.core.history import MIN_ROWS
from causalmix.core.parameters import RunsParameters
from causalmix.core.scratch import own_scratch
from causalmix.core.wording import counted
from causalmix.data.scored_pools import World
from causalmix.lm.tasks import SPLITS
from causalmix.train.clusters import CPU_COUNT, visible_gpus
from causalmix.train.design import times_rows
from causalmix.train.one_run import train
from causalmix.train.sft_settings import SFTSettings
from causalmix.train.spec import RunSpec

SHORT = 2  # batches of the run that is measured


def before_scoring(asked: RunsParameters, limit: int | None) -> str:
    """What is known before a row is read."""
    parts = asked.n_runs, min(asked.noise_specs, asked.n_runs) * (asked.noise_seeds - 1), asked.scale_runs
    left = limit or sum(parts)
    runs, again, sizes = (min(part, max(left - sum(parts[:i]), 0)) for i, part in enumerate(parts))
    rows = (runs + again + sum(map(times_rows, range(sizes)))) * asked.n_samples * asked.epochs
    other = f" and {sizes:,} more of half to four times as many" if sizes else ""
    few = f" A history needs {MIN_ROWS} mixtures: these make none yet, raise n_runs or --limit."
    return (
        f"A sweep of {counted(runs + again + sizes, 'run')}, {counted(runs, 'mixture')} and {again:,} of them again "
        f"with another seed, of {asked.n_samples:,} rows each{other}: {rows:,.0f} rows in all, "
        f"after the pool is scored (unless the cache has it).{few if runs < MIN_ROWS else ''}"
    )


def before_training(missing: Sequence[RunSpec], world: World, n_workers: int | None, measure: bool) -> str:
    """What is left to train, and how long that takes."""
    rows = sum(spec.n_samples * spec.epochs for spec in missing)
    longest = max((spec.settings.get("max_length", SFTSettings.max_length) for spec in missing), default=0)
    tokens = rows * float(world.pool.with_format("numpy")["n_tokens"][:].clip(max=longest).mean())
    told = (
        f"{not_judged(world)}{counted(len(missing), 'run is', 'runs are')} left: {rows:,} rows, about {tokens:,.0f} "
        "tokens of the scorer"
    )
    if not measure:
        return f"{told}."
    try:
        fixed, per_row = measured(missing[0])
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # the run's own, which its record will tell
        return f"{told}; how long it takes is not told, for a short run ended with {one_line(error)}."
    workers = min(n_workers or len(visible_gpus()) or CPU_COUNT, len(missing))
    minutes = (len(missing) * fixed + rows * per_row) / workers / 60
    return (
        f"{told}, about {counted(max(round(minutes), 1), 'minute')} with {workers} at a time (measured: a short run)."
    )


def not_judged(world: World) -> str:
    """A sentence on domains of a real pool that no held-out row tells of; empty where there is none."""
    if (rows := world.validation()) is None:
        return ""
    judged = {domain for domain, split in zip(rows["domain"], rows["split"]) if split == SPLITS[0]}
    lacking = ", ".join(domain for domain in world.scored.domains if domain not in judged)
    few = "fewer than ten of their rows differ, so that none is held out"
    return f"No held-out loss tells of {lacking}, and a mixture by losses ignores them: {few}. " if lacking else ""


def measured(spec: RunSpec, train: Callable[[dict], dict] = train) -> tuple[float, float]:
    """Seconds of a run besides its training (loading, judging), and of training on one row, by a run of few rows."""
    few = min(spec.n_samples, SHORT * int(spec.settings.get("batch_size", 8)))
    start = time.perf_counter()
    with own_scratch():
        facts = train(replace(spec, n_samples=few, epochs=1).as_dict())["training"]
    return time.perf_counter() - start - facts["seconds"], facts["seconds"] / few
