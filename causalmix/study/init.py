"""From a stranger's rows to a study's file: every number in it is measured here, or follows from the rows."""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from jinja2 import Environment, StrictUndefined

from causalmix.core.errors import InputError
from causalmix.core.history import MIN_ROWS
from causalmix.core.paths import ASSETS
from causalmix.core.study_file import read_study
from causalmix.core.wording import check_apart, counted, some_of
from causalmix.core.yaml_file import read_yaml
from causalmix.data.fingerprints import unmarked
from causalmix.data.named_models import is_own, load_tokenizer, require_model
from causalmix.data.pools import forms, local
from causalmix.methods.refusals import check_outside

POOL_SEED = 0  # of a study that names none
SAMPLE = 2_000  # rows whose tokens are counted
FEWEST = 20  # different rows of a domain: a tenth is held out, half of it Dev, and a state draws half of the rest
ROWS_PER_RUN = 1_500  # at most: as the proxy runs of the embedded world
LARGEST = 1_000_000  # rows of a pool that a study may have
TOLD = 40  # domains that are named on the terminal; the study's file has all
COLUMNS = ("domain", "source", "category", "subset", "task", "topic")  # that may tell the domain, in this order


@dataclass(frozen=True)
class Asked:
    """What is asked of ``causalmix init``."""

    rows: Path
    out: Path = Path("study.yaml")
    model: str = "proxy"  # a base of the embedded world, a folder, or a name on a hub
    tasks: Path | None = None  # a folder of lm-evaluation-harness's task files
    read_as: Mapping[str, str] = field(default_factory=dict)  # options of causalmix.data.pools.local.load_pool
    runs: int = 0  # proxy runs; 0 for as many as the domains suggest
    force: bool = False  # write over a file that is there


def init(asked: Asked, tell: Callable[[str], None] = lambda _: None) -> Path:
    """Write a study's file for one's own rows; ``tell`` is called with sentences on what was found."""
    _check_out(asked)
    require_model(asked.model)
    own = _own_tasks(asked.tasks) if asked.tasks else []
    path = str(asked.rows.resolve())
    options, pool, counts, different = _told_apart(path, asked.read_as, tell)
    told = _some([f"{domain} {count:,}" for domain, count in counts.items()], TOLD)
    tell(f"Found {len(pool):,} rows of {counted(len(counts), 'domain')}, by {_by(options)}: {told}.")
    tell(pool.info.description)
    check_apart(counts.index, ", or map them (--source-map, and --source-column for a column)")
    if few := [f"{domain} ({n} of {counts[domain]})" for domain, n in different.items() if n < FEWEST]:
        raise InputError(
            f"Expected at least {FEWEST} rows of every domain that are no copies of others, found fewer in "
            f"{_some(few, TOLD // 4)}; add rows, leave these domains out, or say what tells domains "
            "(--domain-column, --domain file)."
        )
    from causalmix.data.scored_pools import held_out  # takes seconds to load, as do others below
    from causalmix.lm.conversations import scorable, tokenize

    kept = pd.Series(held_out(pool, POOL_SEED)[0]["domain"][:]).value_counts().reindex(counts.index)
    if (size := _sizes(kept)[1]) < min(ROWS_PER_RUN, kept.sum() / 10):
        few = kept.idxmin()
        tell(
            f"Runs will have {size} rows, for the smallest domain, {few}, has {counts[few]:,}: runs are larger where "
            "it is left out, or joined to another domain (--source-map)."
        )
    chosen = np.random.default_rng(0).permutation(len(pool))[:SAMPLE]
    rows = tokenize(pool.select(np.sort(chosen)), load_tokenizer(asked.model))
    lengths = np.array(list(map(len, rows["input_ids"])))
    if lost := int((~scorable(rows, within := _max_length(asked.model, lengths))).sum()):
        told = some_of(lost, len(rows), "rows that were looked at", "has", "have")
        tell(f"{told} no part of an answer within {within} tokens: runs leave such rows out.")
    text = _text(asked, options, counts, kept, lengths, own)
    draft = asked.out.with_name(f".{asked.out.stem}.draft.yaml")
    try:
        draft.write_text(text, encoding="utf-8")
        read_study(str(draft))  # what is written has to be what is read
        draft.replace(asked.out)
    finally:
        draft.unlink(missing_ok=True)
    return asked.out


def _check_out(asked: Asked) -> None:
    out, rows, folder = asked.out, asked.rows, asked.out.absolute().parent
    few = f"at least {MIN_ROWS} mixtures, of which a history is made, found {asked.runs}; raise --runs"
    for wrong, told in (
        (0 < asked.runs < MIN_ROWS, few),
        (out.suffix not in (".yaml", ".yml"), f"a study's file that ends in .yaml, found {out.name}; name it so"),
        (not rows.exists(), f"a file or a folder of rows, found nothing at {rows}; correct the path"),
        (not folder.is_dir(), f"a folder for {out.name}, found none at {folder}; make it first"),
        (out.exists() and not asked.force,
         f"no file at {out}, found one, which is not written over; name another, or give --force"),
    ):  # fmt: skip
        if wrong:
            raise InputError(f"Expected {told}.")
    check_outside(folder, rows)  # results will lie beside the file


def _told_apart(
    path: str, given: Mapping[str, str], tell: Callable[[str], None]
) -> tuple[dict[str, str], Dataset, pd.Series, pd.Series]:
    """How rows are read so that their domains are told, the rows, and how many each domain has and how many differ."""
    ways = _ways(path, given)
    for way, *others in (ways[i:] for i in range(len(ways))):
        options = {"path": path} | way
        try:
            pool = local.load_pool(**options)
        except local.OneDomain:
            if not others:
                raise
            tell(f"Not by {_by(options)}, which tells no two domains apart.")
            continue
        counts = pd.Series(pool["domain"][:]).value_counts(sort=False)
        table = pd.DataFrame({"domain": pool["domain"][:], "content": list(map(json.dumps, pool["messages"]))})
        different = table.drop_duplicates("content").groupby("domain").size().reindex(counts.index, fill_value=0)
        if not others or "domain_column" not in way or (different >= FEWEST).mean() > 0.5:
            break
        tell(f"Not by {_by(options)}, for most of its {len(counts):,} values have fewer than {FEWEST} rows.")
    return options, pool, counts, different


def _ways(path: str, given: Mapping[str, str]) -> list[dict[str, str]]:
    """What may tell the domain, if it is not given: the columns that all files of rows have, then the file itself."""
    named = {name: str(Path(to).resolve()) if name == "source_to_domain" else to for name, to in given.items()}
    if named.keys() & {"domain", "domain_column", "source_to_domain"}:
        return [named]
    own = named.get("messages_column", "messages")
    files = [found for found in local.columns_of(path).values() if forms.form_of(dict.fromkeys(found, 1), own)]
    there = [name for name in COLUMNS if all(name in found for found in files)]
    ways = [named | ({"domain_column": name} if name != "domain" else {}) for name in there]
    return [*ways, *[named | {"domain": "file"}] * (len(files) > 1)] or [named]


def _by(options: Mapping[str, str]) -> str:
    by = f"the column {options.get('domain_column', 'domain')}"
    return "file" if options.get("domain") == "file" else "source" if "source_to_domain" in options else by


def _some(names: list[str], most: int) -> str:
    return ", ".join(names[:most]) + f" and {len(names) - most:,} more" * (len(names) > most)


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


def _sizes(kept: pd.Series) -> tuple[int, int]:
    """Rows of each domain in one state, and of one run in two digits, by the rows that domains have."""
    candidates = max(10, int(kept.min()) // 2)
    n_samples = min(ROWS_PER_RUN, max(50, len(kept) * candidates // 2))
    return candidates, n_samples - n_samples % 10 ** max(0, len(str(n_samples)) - 2)


def _max_length(model: str, lengths: np.ndarray) -> int:
    """Tokens at which runs cut rows: a quarter more than the longest of a sample, at most the model's context."""
    from causalmix.study.plan.memory import config_of

    context = int(getattr(config_of(model), "max_position_embeddings", 4096))
    return min(context, int(np.ceil(1.25 * lengths.max() / 64)) * 64)


def _text(asked: Asked, options: dict, counts: pd.Series, kept: pd.Series, lengths: np.ndarray, own: list[dict]) -> str:
    from causalmix.data.scored_pools import VALIDATION_ROWS
    from causalmix.study.plan.memory import shape_of

    (candidates, n_samples), small = _sizes(kept), is_own(asked.model)
    max_length = _max_length(asked.model, lengths)
    model = asked.model if small or not Path(asked.model).exists() else str(Path(unmarked(asked.model)).resolve())
    judged = {"benchmarks": []}
    if own:
        judged = {"own": own, "include_path": str(asked.tasks.resolve()), "max_new_tokens": 64}
    counted = {str(domain): int(count) for domain, count in counts.items()}
    template = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    template.filters |= {
        "flow": lambda value: _printable(json.dumps(value, ensure_ascii=False)),  # JSON is YAML on one line
        "line": lambda text: _printable(" ".join(str(text).split())),  # a comment ends where its line does
        "thousands": "{:,}".format,
    }
    return template.from_string((ASSETS / "study.yaml.jinja").read_text(encoding="utf-8")).render(
        rows_name=asked.rows.name, stem=asked.out.stem, counts=counted, options=options, model=model, small=small,
        own=own, evaluation=judged, validation_rows=VALIDATION_ROWS, fewest_runs=MIN_ROWS, candidates=candidates,
        pool_rows=min(LARGEST, max(500, sum(counted.values()))), kept=int(kept.sum()), max_length=max_length,
        n_runs=asked.runs or min(512, max(32, 16 * len(counts))), cut=float((lengths > max_length).mean()),
        n_samples=n_samples, rate=7e-4 if small else 1e-4 if shape_of(asked.model).parameters < 1e9 else 1e-5,
        shares=dict(zip(counted, (kept / kept.sum()).round(6))),
        tokens=round(float(np.minimum(lengths, max_length).mean()), 1),
        tokens_source=f"measured: {len(lengths):,} rows in the tokens of {Path(model).name}",
        disk=shutil.disk_usage(asked.out.absolute().parent).free / 2**30, **_hardware(),
    )  # fmt: skip


def _printable(text: str) -> str:
    """What YAML refuses to read, or takes for the end of a line, as JSON escapes it."""
    odd = r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    return re.sub(odd, lambda found: json.dumps(found[0])[1:-1], text)


def _hardware() -> dict[str, object]:
    """What this machine has, its speed measured by a product of matrices."""
    import torch
    from dask.system import CPU_COUNT

    if torch.cuda.is_available():
        one = torch.cuda.get_device_properties(0)
        gpu = {"name": one.name, "count": torch.cuda.device_count(), "memory": one.total_memory / 2**30}
        return {"gpu": gpu, "peak": _tflops(8192, "cuda", "bfloat16")}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"gpu": None, "cores": CPU_COUNT, "memory": memory, "peak": _tflops(1024, "cpu", "float32")}


def _tflops(n: int, device: str, dtype: str) -> float:
    """10^12 operations a second of products of n x n matrices, on one thread of a CPU or one GPU: the fastest of 8."""
    import torch
    from torch.utils.benchmark import Timer

    product = Timer(
        "a @ a", globals={"a": torch.ones(n, n, device=device, dtype=getattr(torch, dtype))}
    )  # waits for the device
    return 2 * n**3 / min(product.timeit(1).mean for _ in range(8)) / 1e12
