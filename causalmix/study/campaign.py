"""A study's trials from start to end: its tables of mixtures, and the runs that try them, in the order of their cost.

Chapters 06 to 08 read from here what they compare; ``causalmix sweep --trials`` trains it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History, read_history
from causalmix.core.paths import results_dir
from causalmix.core.study_file import read_study
from causalmix.core.tables import read_table, write_table
from causalmix.data.scored_pools import World
from causalmix.methods import ask as asking, variants
from causalmix.methods.ask import PROXY_SEED
from causalmix.methods.baselines import dmo
from causalmix.methods.question import ProxyRun, Question, Train
from causalmix.methods.target import Target, find_target
from causalmix.study import longcot, parts
from causalmix.study.trials import Trial, trial_table
from causalmix.train.design import Design, spec_of, world_for
from causalmix.train.ledger import Ledger
from causalmix.train.one_run import train
from causalmix.train.records import history
from causalmix.train.spec import RunSpec
from causalmix.train.sweep import run_sweep

LEARNING_SEEDS = 3  # runs of each mixture of the learning curve

#: What a table's question names of a design; pools, models and settings are in the run ids of the history, by content.
ASKED = ("pool_rows", "pool_seed", "candidates", "n_runs", "n_samples", "epochs", "learning_rate", "batch_size",
         "concentration", "tilt", "assignment", "noise_specs", "noise_seeds", "seed")  # fmt: skip


@dataclass(frozen=True)
class Campaign:
    """Trials of one study.

    Attributes
    ----------
    out : Path
        Folder of its tables.
    design : Design
    base : World
        Its pool.
    runs : History
    goal : Target
        The pool that mixtures are for.
    ledger : Ledger
        Where trials and the proxies of methods are recorded.
    outcome : str
        What methods maximise.
    n_trees, seed : int
        Of forests, and of everything random in methods.
    names : tuple of str
        The static methods that are asked.
    sizes, longcot_sizes : dict
        Parameters of chapters 06 and 07 in the study: how many seeds, which sizes.
    progress : callable or None
    """

    out: Path
    design: Design
    base: World
    runs: History
    goal: Target
    ledger: Ledger
    outcome: str = "y_dev"
    n_trees: int = 500
    seed: int = 0
    names: tuple[str, ...] = tuple(asking.STATIC)
    sizes: dict = field(default_factory=dict)
    longcot_sizes: dict = field(default_factory=dict)
    progress: Callable | None = None

    @classmethod
    def of_study(cls, study: str, out: Path | None = None, **settings) -> Campaign:
        """The campaign of a study whose history is at hand (chapter 03 writes it).

        Settings that are not given are those of chapters 06 and 07 in the study, so that what a sweep
        trains is what the chapters compare.
        """
        out = Path(out or results_dir(study))
        design = Design.of_study(study, out)
        sizes, longcot_sizes = (dict(read_study(study).of(subject)) for subject in ("target", "longcot"))
        usual = {name: sizes[name] for name in ("outcome", "n_trees", "seed")} | {
            "names": asking.names_of(sizes["methods"])
        }
        runs, base = read_history(out / "history.csv"), world_for(design)
        _check_record(runs, Ledger(out / "runs.jsonl"), design, base)
        return cls(out, design, base, runs, find_target(runs, out), Ledger(out / "trials.jsonl"),
                   **usual | {"sizes": sizes, "longcot_sizes": longcot_sizes} | settings)  # fmt: skip

    def mixtures(self, **options) -> pd.DataFrame:
        """Every method's mixture for the whole pool; methods that need proxies get them as ``options`` say.

        These are those of :func:`causalmix.study.campaign.trainer`.
        """
        train_proxies = trainer(self.design, self.base, self.ledger, self.progress, **options)
        question = replace(self._question, train=train_proxies)
        ask = lambda: asking.ask(question, self.goal.pool, self.names)  # noqa: E731
        return fixed(self.out / "methods.csv", self._asked(**self._aim), ask)

    def shifted_states(self) -> dict[str, np.ndarray]:
        """Covariates of the shifted pools, by name."""
        tilts = parts.SHIFTS.items()
        return {pool: parts.shifted_state(self.base, tilt, self.design.candidates) for pool, tilt in tilts}

    def shifted(self, mixtures: pd.DataFrame) -> pd.DataFrame:
        """Every method's mixture in the shifted pools."""
        question = replace(self._question, n_samples=self.design.n_samples, rows=None)
        make = lambda: asking.in_pools(mixtures, question, self.shifted_states())  # noqa: E731
        return fixed(self.out / "shifted.csv", self._asked(mixtures=mixtures.to_csv()), make)

    def longcot(self, mixtures: pd.DataFrame, pool: World) -> pd.DataFrame:
        """Every method's mixture for the long-CoT pool, from the same records with another outcome."""
        x, domains = longcot.state_of(pool), pool.scored.domains
        question = Question(longcot.with_outcome(self.runs), self.design.n_samples,
                            np.bincount(pool.scored.codes, minlength=len(domains)), longcot.OUTCOME, self.seed, x=x,
                            domains=domains, repeats_allowed=True, settings={"n_trees": self.n_trees})  # fmt: skip
        make = lambda: asking.in_part(mixtures, question, "long-CoT")  # noqa: E731
        return fixed(self.out / "longcot_mixtures.csv", self._asked(x=x, mixtures=mixtures.to_csv()), make)

    def learning(self) -> pd.DataFrame:
        """Mixtures of four methods from parts of the history."""
        question = replace(self._question, n_samples=self.design.n_samples, rows=None)
        make = lambda: variants.learning_mixtures(question)  # noqa: E731
        return fixed(self.out / "learning_mixtures.csv", self._asked(x=self.goal.x), make)

    def variants(self) -> pd.DataFrame:
        """Mixtures of two variants that chapter 08 tries beside the methods."""
        recorded = Ledger(self.out / "runs.jsonl").finished()

        def make() -> pd.DataFrame:
            losses = dmo.validation_losses([recorded[r] for r in self.runs.frame["run_id"]], self.runs.domains)
            return variants.variant_mixtures(self._question, losses)

        return fixed(self.out / "variants.csv", self._asked(**self._aim, variants=True), make)

    def size_trials(
        self,
        mixtures: pd.DataFrame,
        seeds: int | None = None,
        target_seeds: int | None = None,
        largest: int | None = None,
    ) -> list[Trial]:
        """The whole pool at three sizes, and the target model at the largest; what is not given is the study's."""
        scales = parts.scales_up_to(largest or self.sizes["largest_scale"])
        numbers = (seeds or self.sizes["seeds"], target_seeds or self.sizes["target_seeds"])
        return parts.size_trials(self.design, self.base, mixtures, scales, *numbers)

    def everything(self, **options) -> Iterator[tuple[str, list[RunSpec]]]:
        """All that the chapters compare, with a name for each part; cheap parts first."""
        chosen, design, base = self.mixtures(**options), self.design, self.base
        sizes = [t.spec for t in self.size_trials(chosen)]
        small = [s for s in sizes if s.n_samples == design.n_samples and s.model == design.model_of("proxy")]
        yield "the whole pool, smallest size", small
        yield (
            "shifted pools",
            [t.spec for t in parts.shift_trials(design, base, self.shifted(chosen), self.sizes["shift_seeds"])],
        )
        if set(longcot.AXES) <= set(self.runs.axes):  # a study may leave out benchmarks that execute code
            pool = longcot.load(design.longcot_pool, self.longcot_sizes["longcot_rows"])
            trials = longcot.longcot_trials(design, pool, self.longcot(chosen, pool), self.longcot_sizes["seeds"])
            yield "long chains of thought", [t.spec for t in trials]
        yield (
            "learning curve",
            [t.spec for t in parts.learning_trials(design, base, self.learning(), LEARNING_SEEDS)],
        )
        yield "variants", [t.spec for t in self.size_trials(self.variants())]
        yield "confounded history", parts.confounded_specs(design, base.name, base.scored.domains)
        yield (
            "the whole pool, larger sizes",
            [s for s in sizes if s not in small and s.model == design.model_of("proxy")],
        )
        yield "the target model", [s for s in sizes if s.model != design.model_of("proxy")]

    def train(self, **options) -> Iterator[tuple[str, list[dict]]]:
        """Train what the ledger lacks, part by part; options are those of :func:`causalmix.train.sweep.run_sweep`."""
        for part, specs in self.everything(**options):
            # Seed by seed: a sweep that is stopped has then tried every method, and not some of them thrice.
            ordered = sorted(specs, key=lambda spec: spec.seed)
            yield part, run_sweep(ordered, self.ledger, train, progress=self.progress, **options)
        self.write_tables()

    def write_tables(self) -> None:
        """Tables of the confounded history, the learning curve and the variants, from what is on record."""
        finished = self.ledger.finished()
        specs = parts.confounded_specs(self.design, self.base.name, self.base.scored.domains)
        if all(spec.run_id in finished for spec in specs):
            write_table(self.out / "confounded.csv", history([finished[spec.run_id] for spec in specs]))
        trials = parts.learning_trials(self.design, self.base, self.learning(), LEARNING_SEEDS)
        if all(t.spec.run_id in finished for t in trials):
            table = trial_table(trials, [finished[t.spec.run_id] for t in trials])
            named = table["method"].str.split("/", expand=True)
            write_table(self.out / "learning_trained.csv", table.assign(method=named[0], n_runs=named[1].astype(int)))
        trials = self.size_trials(self.variants())
        if all(t.spec.run_id in finished for t in trials):
            write_table(
                self.out / "variants_trained.csv", trial_table(trials, [finished[t.spec.run_id] for t in trials])
            )

    @property
    def _question(self) -> Question:
        """What methods are asked for the whole pool, without a way to train."""
        return Question(self.runs, self.goal.n_samples, self.goal.rows, self.outcome, self.seed, x=self.goal.x,
                        settings={"n_trees": self.n_trees})  # fmt: skip

    @property
    def _aim(self) -> dict:
        """What mixtures for the whole pool depend on besides the records: its state, and the caps of its rows."""
        rows = None if self.goal.rows is None else np.asarray(self.goal.rows).astype(int).tolist()
        return {"x": self.goal.x, "n_samples": self.goal.n_samples, "rows": rows}

    @property
    def files(self) -> list[Path]:
        """What chapters read of it: the history, the target's state, the fixed mixtures and the ledger."""
        names = ("history.csv", "methods.csv", "shifted.csv")
        return [*(self.out / name for name in names), self.ledger.path, *self.goal.files]

    def _asked(self, x: np.ndarray | None = None, **further: object) -> dict:
        """What determines a table of mixtures, in plain values; covariates in the digits that tables keep."""
        return further | {
            "x": None if x is None else x.round(4).tolist(),
            "history": self.runs.frame.to_csv(index=False),
            "outcome": self.outcome,
            "n_trees": self.n_trees,
            "seed": self.seed,
            "methods": list(self.names),
            "design": {name: getattr(self.design, name) for name in ASKED},
        }


def _check_record(runs: History, ledger: Ledger, design: Design, base: World) -> None:
    """Raise InputError where the history is not of this design: its trials would answer another question."""
    if runs.domains != base.scored.domains:
        raise InputError(
            f"Expected the domains {', '.join(base.scored.domains)} in this order in the history, found "
            f"{', '.join(runs.domains)}; write it again with chapter 03."
        )
    finished = ledger.finished()
    recorded = next((finished[r]["spec"] for r in runs.frame["run_id"] if r in finished), None)
    if recorded is None:
        return
    spec = RunSpec.from_dict(recorded)
    again = spec_of(design, base.name, spec.weights, spec.state, spec.seed, domains=spec.domains)
    if differing := [
        name for name, value in json.loads(json.dumps(again.as_dict())).items() if recorded[name] != value
    ]:
        raise InputError(
            f"Expected a history of the study's design, found runs with another {', '.join(differing)}; "
            "run the chapters from 02 with the same parameters."
        )


def trainer(design: Design, base: World, ledger: Ledger, progress=None, train_missing: bool = True, **options) -> Train:
    """How methods that need proxies of their own get them: from the ledger, or trained on the pool as it is.

    Where ``train_missing`` is false they are refused if the ledger lacks them.  Further options are
    those of :func:`causalmix.train.sweep.run_sweep`.
    """

    def trained(runs: Sequence[ProxyRun]) -> list[dict]:
        specs = [
            spec_of(design, base.name, run.weights, parts.AS_IT_IS, design.seed * 100_000 + PROXY_SEED + run.seed,
                    n_samples=run.n_samples, domains=base.scored.domains, mixing=dict(run.mixing))
            for run in runs
        ]  # fmt: skip
        finished = {} if train_missing else ledger.finished()
        if not train_missing and (lacking := sum(spec.run_id not in finished for spec in specs)):
            raise InputError(
                f"Expected recorded proxies of the methods in {ledger.path.name}, found {lacking} of {len(specs)} "
                "missing; set train_missing to train them, or name methods that need none."
            )
        return run_sweep(specs, ledger, train, progress=progress, **options)

    return trained


def fixed(path: Path, question: dict, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A table of mixtures that was fixed for a question, or a new one.

    Runs are identified by their mixtures to the last digit, and estimates differ in theirs between
    machines; so the mixtures that were trained are read where the question is still the same.

    Parameters
    ----------
    path : Path
        Where the table is kept.
    question : dict
        Whatever determines the table, in plain values; its digest is kept in the column ``question``.
    make : callable
        Works the table out.
    """
    digest = digest_of(question)
    if not (path.exists() and set(read_table(path).get("question", [])) == {digest}):
        write_table(path, make().assign(question=digest))
    return read_table(path).drop(columns="question")


def digest_of(question: dict) -> str:
    """Twelve digits that stand for a question: of its canonical JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(question, sort_keys=True, allow_nan=False).encode()).hexdigest()[:12]
