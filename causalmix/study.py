"""A study's runs, and the history that they make."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from datasets import Dataset

from causalmix import outcomes, states
from causalmix.design import Design, noise_panel, specs_of
from causalmix.errors import InputError
from causalmix.kinds import Kind, kind_of, load_model
from causalmix.ledger import Ledger
from causalmix.paths import results_dir
from causalmix.runs import RunSpec
from causalmix.scores import flatten
from causalmix.sweep import run_sweep
from causalmix.tasks import benchmarks
from causalmix.training import train
from causalmix.worlds import World, one_thread, world_for


@one_thread()
def base_outcomes(names: Mapping[str, str], kind: Kind) -> pd.DataFrame:
    """What models score before any fine-tuning: the level that a training run starts from.

    Parameters
    ----------
    names : mapping of str to str
        Base checkpoints by what they are called in the table.
    kind : Kind
        Whose tasks.

    Returns
    -------
    DataFrame
        ``model, parameters, y_…``.
    """
    rows = []
    for called, name in names.items():
        model, tokenizer = load_model(name)
        found = outcomes.axis_scores(kind.evaluate(model, tokenizer), kind.tasks())
        rows.append({"model": called, "parameters": model.num_parameters()} | found)
    return pd.DataFrame(rows)


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


def sweep(study: str, *, limit: int | None = None, **options) -> list[dict]:
    """Train what a study's ledger lacks: its runs, then its noise panel.

    Parameters
    ----------
    study : str
        Name of a study; its YAML gives the design.
    limit : int, optional
        Only so many of the study's runs, in their order.
    **options
        Of :func:`causalmix.sweep.run_sweep`.
    """
    design = Design.of_study(study)
    base = world_for(design)
    specs = specs_of(design, base.name, base.scored.domains)
    wanted = [*specs, *noise_panel(design, specs)][:limit]
    return run_sweep(wanted, ledger_of(study), train, **options)


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
    rows = np.bincount(base.scored.codes, minlength=len(base.scored.domains))
    return pd.DataFrame(
        [
            {"pool": "whole", "n_samples": n_samples}
            | states.candidate_covariates(base.scored, everything)
            | {f"rows_{d}": int(n) for d, n in zip(base.scored.domains, rows)}
        ]
    )


def task_table(base: World) -> pd.DataFrame:
    """What models that were trained on a pool are asked."""
    tasks = base.kind.tasks()
    return (
        benchmarks.benchmark_table(tasks) if isinstance(tasks[0], benchmarks.Benchmark) else outcomes.task_table(tasks)
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
        raise InputError(
            "Expected a noise panel with all its seeds, found fewer than 2 complete specifications; run 02_proxy_sft."
        )
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
    turns = pd.DataFrame([flatten(messages) for messages in rows["messages"]], columns=["prompt", "completion"])
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
        f"The history holds {len(frame)} of {len(specs)} runs of the design, with mixtures over {weights.shape[1]} "
        "domains; "
        f"mean `y_dev` is {frame['y_dev'].mean():.3f} (standard deviation {frame['y_dev'].std():.3f})."
    )
