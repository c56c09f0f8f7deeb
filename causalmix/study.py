"""The embedded world's runs: how one is trained, and the history that many make."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset, load_from_disk

from causalmix import outcomes, scores, sft, states, world
from causalmix.design import Design, noise_panel, specs_of
from causalmix.errors import InputError
from causalmix.ledger import Ledger
from causalmix.online import make_mixer
from causalmix.paths import cache_dir, results_dir
from causalmix.pools import tiny, tiny_longcot
from causalmix.pools.tiny_items import DOMAINS
from causalmix.runs import RunSpec
from causalmix.sweep import run_sweep
from causalmix.tasks import Task
from causalmix.tasks.tiny import tiny_tasks
from causalmix.tasks.tiny_longcot import longcot_tasks


SCORE_DIGITS = 4  # decimals of a score, bits or log-odds


@dataclass(frozen=True)
class Kind:
    """A family of pools: how one is made, its domains, its tasks, and the longest answer in tokens."""

    make_pool: Callable[[int, int], Dataset]
    domains: tuple[str, ...]
    tasks: Callable[[], tuple[Task, ...]]
    max_new_tokens: int


KINDS = {
    "tiny": Kind(tiny.make_pool, DOMAINS, tiny_tasks, 24),
    "longcot": Kind(tiny_longcot.make_pool, tiny_longcot.DOMAINS, longcot_tasks, 96),
}


@contextmanager
def one_thread() -> Iterator[None]:
    """Arithmetic on one thread: sums come out the same on every number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class World:
    """A scored, tokenised pool with its models and tasks; ``name`` identifies all of its content."""

    name: str
    pool: Dataset
    tokens: Dataset
    scored: states.ScoredPool


@cache
def load_world(pool_rows: int, pool_seed: int, kind: str = "tiny") -> World:
    """Generate the pool, and score and tokenise it unless the cache holds that already."""
    pool = KINDS[kind].make_pool(pool_rows, pool_seed)
    digest = _content_digest(pool, KINDS[kind].tasks())
    folder = cache_dir() / f"{kind}-{digest}"
    if not folder.exists():
        _score_into(folder, pool)
    pool, tokens = load_from_disk(str(folder / "pool")), load_from_disk(str(folder / "tokens"))
    table = pool.select_columns(["domain", *states.SCORES]).to_pandas()
    scored = states.ScoredPool.from_table(table, KINDS[kind].domains)
    return World(f"{kind}/{pool_rows}/{pool_seed}/{digest}", pool, tokens, scored)


def _content_digest(pool: Dataset, tasks: tuple[Task, ...]) -> str:
    """Hash of everything that a run's outcome depends on besides its own spec."""
    digest = hashlib.sha256()
    for part in ("tokenizer", "proxy", "rater"):
        for path in sorted((world.TINY / part).iterdir()):
            digest.update(path.read_bytes())
    for column in ("domain", "messages"):
        digest.update(json.dumps(pool[column][:]).encode())
    for task in tasks:
        digest.update(json.dumps([task.name, task.prompts, task.golds]).encode())
    return digest.hexdigest()[:12]


@one_thread()
def _score_into(folder: Path, pool: Dataset) -> None:
    """Score and tokenise a pool; the folder appears only when it is complete."""
    model, tokenizer = world.load_base("proxy"), world.load_tokenizer()
    table = scores.score_rows(pool, model, tokenizer, world.load_rater())
    tokens = sft.tokenize(pool, tokenizer)
    for name in states.SCORES:
        # Rounded, for the last digits of a float differ between machines and would change who is drawn.
        pool = pool.add_column(name, table[name].round(SCORE_DIGITS).tolist())
    pool = pool.add_column("n_tokens", [len(ids) for ids in tokens["input_ids"]])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pool.save_to_disk(os.path.join(scratch, "new", "pool"))
        tokens.save_to_disk(os.path.join(scratch, "new", "tokens"))
        if not folder.exists():
            os.rename(os.path.join(scratch, "new"), folder)


@one_thread()
def train(spec: dict) -> dict:
    """Train and score one run; what the sweep sends to its workers.

    Parameters
    ----------
    spec : dict
        A :class:`RunSpec` as a dictionary.

    Returns
    -------
    dict
        ``scores`` (accuracy per task), ``covariates`` (X before and after mixing), ``training``.
    """
    spec = RunSpec.from_dict(spec)
    base, candidates_per_domain = world_of(spec)
    candidates = states.draw_candidates(base.scored, spec.state, candidates_per_domain, spec.seed)
    sample, repeats = states.draw_sample(base.scored, candidates, spec.weights, spec.n_samples, spec.seed)
    model, tokenizer = world.load_base(spec.model), world.load_tokenizer()
    settings, mixing = _settings_of(spec)
    if mixing:
        training = _train_mixing(base, candidates, spec, settings, mixing, model, tokenizer)
    else:
        training = sft.finetune(model, tokenizer, base.tokens.select(sample), settings, spec.seed)
    mixed = {f"{name}_mixed": v for name, v in states.mixed_covariates(base.scored, sample).items()}
    kind = kind_of(spec.world)
    return {
        "scores": outcomes.score_tasks(model, tokenizer, kind.tasks(), kind.max_new_tokens),
        "covariates": states.candidate_covariates(base.scored, candidates) | mixed,
        "training": training | {"repeats": repeats, "validation_loss": _validation_losses(model, tokenizer, kind)},
    }


def _settings_of(spec: RunSpec) -> tuple[sft.SFTSettings, dict]:
    """Hyper-parameters of a run, and how its mixture changes while it trains (empty where it does not)."""
    given = dict(spec.training)
    mixing = {name.removeprefix("mixing_"): given.pop(name) for name in list(given) if name.startswith("mixing_")}
    return sft.SFTSettings.from_pairs(given.items()), mixing


def _train_mixing(base: World, candidates: np.ndarray, spec: RunSpec, settings: sft.SFTSettings, mixing: dict, model, tokenizer) -> dict:
    """Train with a mixer on all candidates; DoReMi trains its reference model on the same weights first."""
    rows, codes, known = base.tokens.select(candidates), base.scored.codes[candidates], {}
    if mixing["method"] == "doremi":
        sample, _ = states.draw_sample(base.scored, candidates, spec.weights, spec.n_samples, spec.seed)
        reference = world.load_base(spec.model)
        sft.finetune(reference, tokenizer, base.tokens.select(sample), settings, spec.seed)
        known = {"reference": sft.row_losses(reference, tokenizer, rows), "vocabulary": len(tokenizer)}
    mixer = make_mixer(mixing, codes, np.array(spec.weights), spec.n_samples * spec.epochs, settings.batch_size, spec.seed, **known)
    training = sft.finetune(model, tokenizer, rows, replace(settings, epochs=1), spec.seed, mixer)
    return training | {"mixing": mixer.found()}


def _validation_losses(model, tokenizer, kind: Kind) -> dict[str, float]:
    """Loss on clean unseen rows of each domain, nats per scored token; the long-CoT pool has none."""
    known = _validation_tokens() if kind is KINDS["tiny"] else {}
    return {domain: sft.validation_loss(model, tokenizer, rows) for domain, rows in known.items()}


@cache
def _validation_tokens() -> dict[str, Dataset]:
    rows, tokenizer = tiny.validation_rows(), world.load_tokenizer()
    by_domain = {d: [m for name, m in zip(rows["domain"][:], rows["messages"][:]) if name == d] for d in DOMAINS}
    return {d: sft.tokenize([{"messages": m} for m in messages], tokenizer) for d, messages in by_domain.items()}


def kind_of(world_name: str) -> Kind:
    """The family of pools that a world's name begins with."""
    return KINDS[world_name.split("/")[0]]


def world_of(spec: RunSpec) -> tuple[World, int]:
    """The world that a spec was written for, and its candidates per domain.

    Raises
    ------
    InputError
        When the package's world is no longer the one that the spec names.
    """
    kind, rows, seed, digest, candidates = spec.world.split("/")
    found = load_world(int(rows), int(seed), kind)
    if not found.name.endswith(digest):
        raise InputError(f"Expected the world {digest}, found {found.name}; check out the version that recorded this run.")
    return found, int(candidates)


def history(records: list[dict], covariates_on: str = "candidate") -> pd.DataFrame:
    """One row (X, T, Y) per finished run, by the contract of ``history.csv``."""
    suffix = {"candidate": "", "mixed": "_mixed"}[covariates_on]
    rows = []
    for record in (r for r in records if r["status"] == "finished"):
        spec = record["spec"]
        rows.append(
            {"run_id": record["run_id"], "seed": spec["seed"], "n_samples": spec["n_samples"], "model": spec["model"]}
            | {f"w_{d}": w for d, w in zip(spec["domains"], spec["weights"])}
            | {f"x_{s}": record["covariates"][f"x_{s}{suffix}"] for s in states.SCORES}
            | outcomes.axis_scores(record["scores"], kind_of(spec["world"]).tasks())
        )
    return pd.DataFrame(rows)


def sweep(study: str, *, limit: int | None = None, client: str | None = None, n_workers: int | None = None,
          retry_failed: bool = False, progress=None) -> list[dict]:  # fmt: skip
    """Train what a study's ledger lacks: its runs, then its noise panel.

    Parameters
    ----------
    study : str
        Name of a study; its YAML gives the design.
    limit : int, optional
        Only so many of the study's runs, in their order.
    client : str, optional
        Address of a Dask scheduler; a local cluster by default.
    n_workers, retry_failed, progress
        See :func:`causalmix.sweep.run_sweep`.
    """
    design = Design.of_study(study)
    specs = specs_of(design, load_world(design.pool_rows, design.pool_seed).name)
    wanted = [*specs, *noise_panel(design, specs)][:limit]
    return run_sweep(wanted, ledger_of(study), train, client=client, n_workers=n_workers,
                     retry_failed=retry_failed, progress=progress)  # fmt: skip


def ledger_of(study: str) -> Ledger:
    """The committed ledger of a study."""
    return Ledger(results_dir(study) / "runs.jsonl")


def target_state(base: World, n_samples: int) -> pd.DataFrame:
    """The state of a whole pool as it is, and the rows that each domain has for a target run.

    Returns
    -------
    DataFrame
        One row: ``pool, n_samples, x_<covariate>…, rows_<domain>…``.
    """
    everything = np.arange(len(base.scored.codes))
    rows = np.bincount(base.scored.codes, minlength=len(DOMAINS))
    return pd.DataFrame(
        [
            {"pool": "whole", "n_samples": n_samples}
            | states.candidate_covariates(base.scored, everything)
            | {f"rows_{d}": int(n) for d, n in zip(DOMAINS, rows)}
        ]
    )


def recorded(ledger: Ledger, specs: list[RunSpec]) -> list[dict]:
    """The ledger's finished records of these specs, in their order.

    Raises
    ------
    InputError
        When fewer than 20 of them are finished.
    """
    finished = ledger.finished()
    records = [finished[s.run_id] for s in specs if s.run_id in finished]
    if len(records) < 20:
        raise InputError(
            f"Expected at least 20 finished runs of this design in {ledger.path.name}, found {len(records)}; "
            "run chapter 02_proxy_sft with the same parameters first."
        )
    return records


def panel_history(ledger: Ledger, design: Design, specs: list[RunSpec]) -> pd.DataFrame:
    """The noise panel: one row per run, with ``spec`` numbering the specifications."""
    finished, parts = ledger.finished(), []
    for number, spec in enumerate(specs[: design.noise_specs]):
        group = [spec, *(s for s in noise_panel(design, [spec]))]
        records = [finished[s.run_id] for s in group if s.run_id in finished]
        if len(records) == design.noise_seeds:
            parts.append(history(records).assign(spec=number))
    if len(parts) < 2:
        raise InputError("Expected a noise panel with all its seeds, found fewer than 2 complete specifications; run 02_proxy_sft.")
    return pd.concat(parts, ignore_index=True)


def measure_states(
    base: World, tilts: np.ndarray, mixtures: np.ndarray, candidates: int, n_samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Covariates of many states before and after mixing, nothing trained.

    Returns
    -------
    before, after : ndarray, shape (n_states, n_scores)
        X of the candidates, and of a sample of each state's mixture.
    """
    before, after = [], []
    for i, (tilt, weights) in enumerate(zip(tilts, mixtures)):
        chosen = states.draw_candidates(base.scored, tilt, candidates, seed + i)
        sample, _ = states.draw_sample(base.scored, chosen, weights, n_samples, seed + i)
        before.append(list(states.candidate_covariates(base.scored, chosen).values()))
        after.append(list(states.mixed_covariates(base.scored, sample).values()))
    return np.array(before), np.array(after)


def examples(pool: Dataset, per_domain: int, seed: int) -> pd.DataFrame:
    """A few rows of each domain with their scores, for reading."""
    table = pool.to_pandas()
    rows = table.groupby("domain", sort=False).sample(per_domain, random_state=seed)
    turns = pd.DataFrame([[m["content"] for m in messages] for messages in rows["messages"]], columns=["prompt", "completion"])
    return pd.concat([rows[["domain", *states.SCORES]].reset_index(drop=True), turns], axis=1)


def sweep_table(records: list[dict]) -> pd.DataFrame:
    """How a sweep went: runs by status, tokens, and how many runs had to repeat rows."""
    finished = [r for r in records if r["status"] == "finished"]
    quantities = {
        "runs finished": len(finished),
        "runs failed": len(records) - len(finished),
        "tokens trained on": sum(r["training"]["tokens"] for r in finished),
        "runs that repeat rows of some domain": sum(bool(r["training"]["repeats"]) for r in finished),
    }
    return pd.DataFrame({"quantity": quantities.keys(), "value": quantities.values()})


def history_sentence(frame: pd.DataFrame, specs: list[RunSpec]) -> str:
    """How complete a history is, in one sentence."""
    weights = frame[[c for c in frame if c.startswith("w_")]]
    return (
        f"The history holds {len(frame)} of {len(specs)} runs of the design, with mixtures over {weights.shape[1]} domains; "
        f"mean `y_dev` is {frame['y_dev'].mean():.3f} (standard deviation {frame['y_dev'].std():.3f})."
    )
