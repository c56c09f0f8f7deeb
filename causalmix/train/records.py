"""A study's runs, and the history that they make."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from causalmix.core.direction import LOWER
from causalmix.core.errors import InputError
from causalmix.core.history import CONFOUNDED, DESIGN, MIN_ROWS, SCALE
from causalmix.core.paths import results_dir
from causalmix.core.study_file import read_study
from causalmix.core.tables import write_table
from causalmix.data import fingerprints
from causalmix.data.families import Kind, kind_of
from causalmix.data.named_models import load_model
from causalmix.data.recipes import REAL, Recipe, read_recipe
from causalmix.data.scored_pools import World, one_thread
from causalmix.data.scores import SCORES
from causalmix.data.tiny.shapes import DOMAINS
from causalmix.data.world_name import WorldName
from causalmix.lm.tasks import axis_scores, with_losses
from causalmix.train.design import Design, confounded_specs, noise_panel, scale_specs, spec_of, specs_of, world_for
from causalmix.train.ledger import Ledger
from causalmix.train.one_run import LOSSES, train
from causalmix.train.spec import RunSpec
from causalmix.train.sweep import run_sweep


@one_thread()
def base_outcomes(names: Mapping[str, str], kind: Kind) -> pd.DataFrame:
    """What models, by what the table calls them, score before any fine-tuning: ``model, parameters, y_…``."""
    rows = []
    for called, name in names.items():
        model, tokenizer = load_model(name)
        found = axis_scores(kind.evaluate(model, tokenizer), kind.tasks())
        rows.append({"model": called, "parameters": model.num_parameters()} | found)
    return pd.DataFrame(rows)


def outcomes_of(record: dict) -> dict[str, float]:
    """Outcomes of a finished run: accuracies by axis and, of a real pool, its losses on held-out rows, in nats."""
    world, trained = record["spec"]["world"], record["training"]
    real = WorldName.read(world).family == REAL
    losses = {split: trained.get(kept) for split, kept in LOSSES.items()} if real else {}
    return with_losses(axis_scores(record["scores"], kind_of(world).tasks()), losses)


def lower_of(outcomes: Iterable[str]) -> dict[str, str]:
    """The column that tells which outcomes of a run, of :func:`outcomes_of`, are better when lower; none, no column."""
    losses = [name for name in outcomes if name.startswith("y_loss")]
    means = [f"y_{split}" for split in LOSSES if f"y_{split}" in outcomes] if "y_loss" not in losses else []
    return {LOWER: " ".join(means + losses)} if losses else {}


@lru_cache(maxsize=8)
def _scored_by(world: str) -> dict[str, str]:
    """The models that measured the state of a world's rows, by the history's columns of them."""
    name = WorldName.read(world)
    recipe = read_recipe(name.digest)[0] if name.family == REAL else Recipe("local")  # scored by a recipe's defaults
    models = {role: fingerprints.of_model(role, getattr(recipe, role)) for role in fingerprints.SCORERS}
    return {role: fingerprints.label(model) for role, model in models.items()}


def history(records: list[dict], covariates_on: str = "candidate") -> pd.DataFrame:
    """One row (X, T, Y) per finished run, by the contract of ``history.csv``."""
    suffix = {"candidate": "", "mixed": "_mixed"}[covariates_on]
    rows = []
    for record in (r for r in records if r["status"] == "finished"):
        spec, outcomes = record["spec"], outcomes_of(record)
        rows.append(
            {"run_id": record["run_id"], "seed": spec["seed"], "n_samples": spec["n_samples"], "model": spec["model"]}
            | {"model_size": size for size in [record["training"].get("parameters")] if size}
            | {f"w_{d}": w for d, w in zip(spec["domains"], spec["weights"])}
            | {f"x_{s}": record["covariates"][f"x_{s}{suffix}"] for s in SCORES}
            | outcomes
            | lower_of(outcomes)
            | _scored_by(spec["world"])
        )
    return pd.DataFrame(rows)


def between_seeds(records: Iterable[dict]) -> dict[str, tuple[float, int]]:
    """Standard deviation of each outcome between finished runs that differ in their seed alone, and its freedom."""
    done = [record for record in records if record["status"] == "finished"]
    specs = [record["spec"] | {"model": fingerprints.by_content(record["spec"]["model"])} for record in done]
    same = [str([spec[name] for name in ("weights", "state", "n_samples", "model")]) for spec in specs]
    groups = pd.DataFrame([outcomes_of(record) for record in done]).groupby(same)
    freedom = groups.count() - 1
    variance = (freedom * groups.var().fillna(0)).sum() / freedom.sum()
    return {name: (float(value**0.5), int(freedom[name].sum())) for name, value in variance.dropna().items()}


def whole_history(
    folder: Path, design: Design, world: str, domains: tuple[str, ...] = DOMAINS, covariates_on: str = "candidate"
) -> pd.DataFrame:
    """All that a study has on record in a folder, its ``part`` told; at least 20 designed runs."""
    pool = world, domains
    runs, trials = (Ledger(folder / f"{name}.jsonl") for name in ("runs", "trials"))
    found = {DESIGN: recorded(runs, specs_of(design, *pool))}
    found[SCALE] = recorded(runs, scale_specs(design, *pool), 0)
    found[CONFOUNDED] = recorded(trials, confounded_specs(design, *pool), 0)
    tables = [history(part, covariates_on).assign(part=name) for name, part in found.items() if part]
    return pd.concat(tables, ignore_index=True)


def sweep(
    study: str, *, limit: int | None = None, before: Callable[[Sequence[RunSpec], World], None] | None = None, **options
) -> list[dict]:
    """Train what a study's ledger lacks: its runs, its noise panel, its runs over sizes, the first ``limit`` of all.

    ``before`` is called with what is missing, and the pool; options are of :func:`causalmix.train.sweep.run_sweep`.
    """
    design, ledger = Design.of_study(study), ledger_of(study)
    world = world_for(design)
    pool = world.name, world.scored.domains
    specs = specs_of(design, *pool)
    wanted = [*specs, *noise_panel(design, specs), *scale_specs(design, *pool)][:limit]
    done = ledger.settled(options.get("retry_failed", False))
    if before and (missing := [spec for spec in wanted if spec.run_id not in done]):
        before(missing, world)
    return run_sweep(wanted, ledger, train, **options)


def write_history(study: str) -> Path:
    """Write all parts of a study's history beside its ledger; InputError when there are fewer than 20 designed runs."""
    design, folder = Design.of_study(study), results_dir(study)
    world, measured = world_for(design), read_study(study).of("outcomes").covariates_on
    path = folder / "history.csv"
    write_table(path, whole_history(folder, design, world.name, world.scored.domains, measured))
    return path


def trained_otherwise(study: str, run_ids: Iterable[str]) -> int:
    """How many of a study's runs its file asks for no more: their rows, model or settings have changed since."""
    design, done = Design.of_study(study), ledger_of(study).finished()
    world = world_for(design).name
    specs = [RunSpec.from_dict(done[run_id]["spec"]) for run_id in run_ids if run_id in done]
    again = [spec_of(design, world, s.weights, s.state, s.seed, domains=s.domains) for s in specs]
    return sum(then.run_id != now.run_id for then, now in zip(specs, again))


def ledger_of(study: str) -> Ledger:
    """The committed ledger of a study."""
    return Ledger(results_dir(study) / "runs.jsonl")


def recorded(ledger: Ledger, specs: list[RunSpec], least: int = MIN_ROWS) -> list[dict]:
    """The ledger's finished records of these specs, in their order; InputError when there are fewer."""
    finished = ledger.finished()
    records = [s.recorded(finished) for s in specs if s.run_id in finished]
    if len(records) < least:
        raise InputError(
            f"Expected at least {least} finished runs of this design in {ledger.path.name}, found {len(records)}; "
            "train the proxy runs with the same parameters first (causalmix sweep)."
        )
    return records
