"""From a stranger's rows to a study's file: ``causalmix init`` looks, measures, and writes down what it found.

Every number in the file is measured here or follows from the rows; the comments beside them say which.  The file is
that of any study, and is accepted by ``plan``, ``sweep`` and ``recommend`` as it stands.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset

from causalmix.core.errors import InputError
from causalmix.core.history import MIN_ROWS
from causalmix.core.study_file import read_study
from causalmix.core.yaml_file import read_yaml
from causalmix.data.fingerprints import unmarked
from causalmix.data.named_models import is_own, load_tokenizer, require_model
from causalmix.data.pools import local
from causalmix.data.scored_pools import VALIDATION_ROWS
from causalmix.lm.conversations import tokenize
from causalmix.study.plan.memory import config_of, shape_of

SAMPLE = 2_000  # rows whose tokens are counted
FEWEST = 20  # rows of a domain: a tenth is held out, and a state draws half of the rest
ROWS_PER_RUN = 1_500  # at most: as the proxy runs of the embedded world
LARGEST = 1_000_000  # rows of a pool that a study may have
COLUMNS = ("domain", "source", "category", "subset", "task", "topic")  # that may tell the domain, in this order


@dataclass(frozen=True)
class Asked:
    """What is asked of ``causalmix init``."""

    rows: Path
    out: Path = Path("study.yaml")
    model: str = "proxy"  # a base of the embedded world, a folder, or a name on a hub
    tasks: Path | None = None  # a folder of lm-evaluation-harness's task files
    domain_column: str = ""
    runs: int = 0  # proxy runs; 0 for as many as the domains suggest
    force: bool = False  # write over a file that is there


def init(asked: Asked, tell: Callable[[str], None] = lambda _: None) -> Path:
    """Write a study's file for one's own rows and return its path; ``tell`` is called with sentences on what was found.

    InputError when the file is there and may not be written over, or rows, domains, tasks or the model are of no use.
    """
    _check_out(asked)
    require_model(asked.model)
    own = _own_tasks(asked.tasks) if asked.tasks else []
    path = str(asked.rows.resolve())
    options = {"path": path} | _way(path, asked.domain_column)
    pool = local.load_pool(**options)
    counts = pd.Series(pool["domain"][:]).value_counts(sort=False)
    told = ", ".join(f"{domain} {count:,}" for domain, count in counts.items())
    by = "file" if "domain" in options else f"the column {options.get('domain_column', 'domain')}"
    tell(f"Found {len(pool):,} rows of {len(counts)} domains, by {by}: {told}.")
    tell(pool.info.description)
    if few := [f"{domain} ({count})" for domain, count in counts.items() if count < FEWEST]:
        raise InputError(
            f"Expected at least {FEWEST} rows in every domain, found fewer in {', '.join(few)}; "
            "add rows, or leave these domains out of the files."
        )
    text = _text(asked, options, counts, _lengths(pool, asked.model), own)
    draft = asked.out.with_name(f".{asked.out.stem}.draft.yaml")
    try:
        draft.write_text(text, encoding="utf-8")
        read_study(str(draft))  # what is written has to be what is read
        draft.replace(asked.out)
    finally:
        draft.unlink(missing_ok=True)
    return asked.out


def _check_out(asked: Asked) -> None:
    out = asked.out
    if out.suffix not in (".yaml", ".yml"):
        raise InputError(f"Expected a study's file that ends in .yaml, found {out.name}; name it so.")
    if not asked.rows.exists():
        raise InputError(f"Expected a file or a folder of rows, found nothing at {asked.rows}; correct the path.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"Expected a folder for {out.name}, found none at {out.absolute().parent}; make it first.")
    if out.exists() and not asked.force:
        raise InputError(
            f"Expected no file at {out}, found one, which is not written over; name another, or give --force."
        )


def _way(path: str, column: str) -> dict[str, str]:
    """What tells the domain: the column that is named, the first that all files have, else the file itself."""
    columns = local.columns_of(path)
    found = column or next((name for name in COLUMNS if all(name in there for there in columns.values())), "")
    if not found and len(columns) > 1:
        return {"domain": "file"}
    return {"domain_column": found} if found and found != "domain" else {}


def _lengths(pool: Dataset, model: str) -> np.ndarray:
    """Tokens of each row of a sample, as the proxy's tokenizer writes it."""
    chosen = np.random.default_rng(0).permutation(len(pool))[:SAMPLE]
    rows = tokenize(pool.select(np.sort(chosen)), load_tokenizer(model))
    return np.array([len(ids) for ids in rows["input_ids"]])


def _own_tasks(folder: Path) -> list[dict]:
    """Every task file of a folder as a benchmark on an axis of its own."""
    found = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            task = read_yaml(path, "a task")
        except InputError:
            continue  # the harness's own tags, as of functions: no plain file of a task
        if isinstance(name := task.get("task"), str):
            metric = next(iter(task.get("metric_list") or [{}])).get("metric", "acc")
            found.append({"name": name, "axis": name, "split": "dev", "task": name, "metric": f"{metric},none"})
    if not found:
        raise InputError(
            f"Expected YAML files with a task in {folder}, found none; write them as lm-evaluation-harness has them."
        )
    return found


def _text(asked: Asked, options: dict, counts: pd.Series, lengths: np.ndarray, own: list[dict]) -> str:
    """The file."""
    kept = counts - np.minimum(VALIDATION_ROWS, counts // 10)
    candidates = max(10, int(kept.min()) // 2)
    n_samples = _round(min(ROWS_PER_RUN, max(50, len(counts) * candidates // 2)))
    n_runs = asked.runs or min(512, max(32, 16 * len(counts)))
    context = int(getattr(config_of(asked.model), "max_position_embeddings", 4096))
    longest = int(np.ceil(1.25 * lengths.max() / 64)) * 64  # of a sample
    max_length = min(context, longest)
    cut = float((lengths > max_length).mean())
    small, gpu = is_own(asked.model), torch.cuda.is_available()
    rate = 7e-4 if small else 1e-4 if shape_of(asked.model).parameters < 1e9 else 1e-5
    model = asked.model if small or not Path(asked.model).exists() else str(Path(unmarked(asked.model)).resolve())
    evaluation = {"own": own, "include_path": str(asked.tasks.resolve()), "max_new_tokens": 64} if own else {}
    what = "accuracies on your tasks (higher is better)" if own else "the mean loss on held-out rows (lower is better)"
    shares = dict(zip(map(str, counts.index), (kept / kept.sum()).round(6)))
    each = ", ".join(f"{domain} {count:,}" for domain, count in counts.items())
    source = f"measured: {len(lengths):,} rows in the tokens of {Path(model).name}"
    tokens = {"value": round(float(lengths.mean()), 1), "source": source}
    flow = lambda value: json.dumps(value, ensure_ascii=False)  # noqa: E731  # JSON is YAML on one line
    return f"""\
# The study of {asked.rows.name}: {counts.sum():,} rows ({each}).
# causalmix plan, sweep and recommend take this file as --study; its results lie in results/{asked.out.stem} beside it.
parameters:
  pool:
    loader: local  # conversations in any of the usual forms
    options: {flow(options)}  # where the rows are, and what tells their domain
    domains: {flow(list(map(str, counts.index)))}  # their order in every mixture
    scorer: {flow(model)}  # measures the state of the rows: HES and Normalized_Loss
    # What a run is judged by. A tenth of each domain, {VALIDATION_ROWS} rows at most, is never trained on. The losses on
    # one half of them are the outcomes y_loss_<domain>; those on the other half, y_loss_<domain>_unseen, choose
    # nothing and check what was chosen. y_dev is {what}.
    evaluation: {flow(evaluation or {"benchmarks": []})}
  models:
    proxy: {flow(model)}  # {"1M parameters, ships with the package" if small else "trained once for every run"}
    # target: NAME OR FOLDER  # the model that the mixture is for; plan then counts the trials that compare methods
  pool_rows: {min(LARGEST, max(500, int(counts.sum())))}  # at most; all of them
  candidates: {candidates}  # rows of each domain in one state: half of the smallest, so that states differ
  n_runs: {n_runs}  # mixtures that are tried; a history needs {MIN_ROWS}; more, also later, narrow the intervals
  assignment: designed  # mixtures and states that tell most beside those before them; randomized is the paper's way
  reference: {flow(shares)}  # the first mixture: the proportions of these rows
  n_samples: {n_samples}  # rows of one run
  epochs: 1
  learning_rate: {rate:f}  # ours, by the size of the proxy
  batch_size: 8
  training: {{max_length: {max_length}{", bf16: true" if gpu and not small else ""}}}  # tokens; {cut:.0%} of rows are longer and lose their end
  noise_specs: {min(4, n_runs)}  # runs that are trained again with another seed, to know the noise
  noise_seeds: 2
  scale_runs: 0  # further runs on half to four times as many rows, a third of them of the target

hardware:  # this machine; only plan reads it
{_hardware(asked.out)}
  assumptions:
    tokens_per_row: {flow(tokens)}
    longest_row: {flow({"value": max_length, "source": "measured: the longest of these rows, a quarter more for those not read"})}
    rows: {flow({"value": int(kept.sum()), "source": "counted: without the rows that are held out"})}
"""  # noqa: E501


def _round(count: int) -> int:
    """Two digits of a whole number, never more than it."""
    step = 10 ** max(0, len(str(count)) - 2)
    return count // step * step


def _hardware(out: Path) -> str:
    """The lines of the section ``hardware``: what this machine has, its speed measured by a product of matrices."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    disk = shutil.disk_usage(out.absolute().parent).free / 2**30
    if torch.cuda.is_available():
        one = torch.cuda.get_device_properties(0)
        peak = _tflops(8192, "cuda", torch.bfloat16)
        lines = [
            f"name: {json.dumps(one.name)}", f"gpus: {torch.cuda.device_count()}",
            f"gpu_memory_gib: {one.total_memory / 2**30:.1f}",
            f"peak_tflops: {peak:.3g}  # of one GPU in bfloat16: measured",
            "utilisation: 0.05  # a guess of ours: a small proxy keeps a GPU waiting",
        ]  # fmt: skip
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        lines = [
            f"name: {cores} cores", f"cores: {cores}", f"memory_gib: {memory:.1f}",
            f"peak_tflops: {_tflops(1024, 'cpu', torch.float32):.3g}  # of one core in float32: measured",
            "utilisation: 0.5  # as the record of the embedded world's proxies",
        ]  # fmt: skip
    return "\n".join(f"  {line}" for line in [*lines, f"disk_gib: {disk:.0f}  # free where this file lies"])


def _tflops(n: int, device: str, dtype: torch.dtype, repeats: int = 8) -> float:
    """10^12 operations a second of products of n x n matrices, on one thread of a CPU or one GPU: the fastest."""
    a, threads, best = torch.ones(n, n, device=device, dtype=dtype), torch.get_num_threads(), float("inf")
    torch.set_num_threads(1)
    try:
        for _ in range(repeats):
            start = time.perf_counter()
            float((a @ a)[0, 0])  # waits for the device
            best = min(best, time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return 2 * n**3 / best / 1e12
