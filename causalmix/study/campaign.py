"""A study's trials: tables of mixtures, and the runs that try them, cheap ones first (``causalmix sweep --trials``)."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core import direction
from causalmix.core.errors import InputError
from causalmix.core.history import DESIGN, SCALE, History, read_history
from causalmix.core.parameters import LongCoTParameters, TargetParameters
from causalmix.core.paths import results_dir
from causalmix.core.study_file import read_study
from causalmix.core.tables import read_table, write_table
from causalmix.data import states
from causalmix.data.fingerprints import SCORERS
from causalmix.data.scored_pools import World
from causalmix.methods import ask as asking, variants
from causalmix.methods.baselines import dmo
from causalmix.methods.question import ProxyRun, Question, Train
from causalmix.methods.target import Target, find_target
from causalmix.study import longcot, parts
from causalmix.study.parts import Part, Pool, Trial
from causalmix.study.trials import recorded_or_trained, trial_table
from causalmix.train.design import Design, spec_of, world_for
from causalmix.train.ledger import Ledger
from causalmix.train.one_run import train
from causalmix.train.spec import RunSpec
from causalmix.train.sweep import run_sweep

#: What a table's question names of a design; pools, models and settings are in the run ids of the history, by content.
ASKED = ("pool_rows", "pool_seed", "candidates", "n_runs", "n_samples", "epochs", "learning_rate", "batch_size",
         "concentration", "tilt", "assignment", "noise_specs", "noise_seeds", "scale_runs", "seed")  # fmt: skip


@dataclass(frozen=True)
class Campaign:
    """Trials of one study: its tables in ``out``, its pool, and the pool that mixtures are for, ``goal``.

    Trials and the proxies of methods are recorded in ``ledger``; the static methods ``names`` maximise ``outcome``,
    turned in both histories if ``lower`` values are better.  ``scaled`` is the history with runs over sizes, if any.
    """

    out: Path
    design: Design
    world: World
    history: History
    goal: Target
    ledger: Ledger
    outcome: str = "y_dev"
    n_trees: int = 500
    seed: int = 0
    names: tuple[str, ...] = tuple(asking.STATIC)
    sizes: TargetParameters = TargetParameters()
    longcot_sizes: LongCoTParameters = LongCoTParameters()
    scaled: History | None = None
    lower: bool = False

    @classmethod
    def of_study(
        cls, study: str, out: Path | None = None, lower_is_better: bool | None = None, **settings
    ) -> "Campaign":
        """The campaign of a study whose history is at hand; settings that are not given are the study's."""
        out, found = Path(out or results_dir(study)), read_study(study)
        design = Design.of_study(study, out)
        sizes = found.of("target")
        usual = {name: getattr(sizes, name) for name in ("outcome", "n_trees", "seed")}
        usual |= {"names": asking.names_of(sizes.methods), "sizes": sizes, "longcot_sizes": found.of("longcot")}
        outcome = settings.get("outcome", sizes.outcome)
        if lower_is_better is None and outcome == sizes.outcome:
            lower_is_better = sizes.lower_is_better
        whole, world = read_history(out / "history.csv"), world_for(design)
        lower = direction.is_lower_better(whole.parts((DESIGN,)), outcome, {outcome: lower_is_better})
        whole = direction.turned(whole, [outcome], {outcome: lower})
        history, usual["lower"] = whole.parts((DESIGN,)), lower
        usual["scaled"] = whole.parts((DESIGN, SCALE)) if (whole.part == SCALE).any() else None
        _check_record(history, Ledger(out / "runs.jsonl"), design, world)
        goal = find_target(history, out)
        return cls(out, design, world, history, goal, Ledger(out / "trials.jsonl"), **usual | settings)

    @property
    def pool(self) -> Pool:
        """What its specifications say of the pool."""
        return Pool.of(self.world)

    @cached_property
    def long_base(self) -> World:
        """The study's pool of long chains."""
        return longcot.load(self.design.longcot_pool, self.longcot_sizes.longcot_rows)

    def mixtures(self, **options) -> pd.DataFrame:
        """Every method's mixture for the whole pool; those that need proxies get them from :func:`trainer`."""
        question = replace(self._question, train=trainer(self.design, self.pool, self.ledger, **options))
        ask = lambda: asking.ask(question, self.goal.pool, self.names)  # noqa: E731
        return fixed(self.out / "methods.csv", self._asked(**self._aim), ask)

    def shifted_states(self) -> dict[str, np.ndarray]:
        """Covariates of the shifted pools, shape (d,), by name: those of one draw of their candidates."""
        scored, found = self.world.scored, {}
        for name, tilt in parts.SHIFTS.items():
            drawn = states.draw_candidates(scored, np.array(tilt), self.design.candidates, parts.TRIAL_SEEDS)
            found[name] = np.array(list(states.candidate_covariates(scored, drawn).values()))
        return found

    def shifted(self, mixtures: pd.DataFrame) -> pd.DataFrame:
        """Every method's mixture in the shifted pools."""
        make = lambda: asking.in_pools(mixtures, self._free, self.shifted_states())  # noqa: E731
        return fixed(self.out / "shifted.csv", self._asked(mixtures=_mixed(mixtures)), make)

    def sized(self, largest: int = 0) -> pd.DataFrame | None:
        """The mixtures of Cautious with scale, for each pool, model and size that is tried; None without such runs."""
        if self.scaled is None:
            return None
        largest = largest or self.sizes.largest_scale
        parameters = self.scaled.frame.groupby("model")["model_size"].first()

        def sizes(scales: list[int], role: str = "proxy") -> list[tuple[str, int, float | None]]:
            model = parameters.get(self.design.model_of(role))
            return [(role, scale * self.design.n_samples, model) for scale in scales]

        def make() -> pd.DataFrame:
            whole, shifted = (replace(q, history=self.scaled) for q in (self._question, self._free))
            each = [*sizes(parts.whole_scales(largest)), *sizes([largest], "target")]
            tables = (asking.at_sizes(whole, {self.goal.pool: self.goal.x}, each),
                      asking.at_sizes(shifted, self.shifted_states(), sizes(parts.shift_scales(largest))))  # fmt: skip
            return pd.concat(tables, ignore_index=True)

        asked = self._asked(**self._aim, scaled=_runs(self.scaled), largest=largest)
        return fixed(self.out / "sized.csv", asked, make)

    def tried(self, mixtures: pd.DataFrame, largest: int = 0) -> pd.DataFrame:
        """A table of mixtures with those of :meth:`sized` for the same pools below, as both are tried."""
        sized = self.sized(largest)
        parts = [mixtures] if sized is None else [mixtures, sized[sized["pool"].isin(mixtures["pool"])]]
        return pd.concat(parts, ignore_index=True)

    def longcot(self, mixtures: pd.DataFrame, pool: World) -> pd.DataFrame:
        """Every method's mixture for the long-CoT pool, from the same records with another outcome."""
        x, domains = longcot.state_of(pool), pool.scored.domains
        upward = direction.turned(self.history, [f"y_{axis}" for axis in longcot.AXES if axis in self.history.axes])
        question = Question(longcot.with_outcome(upward), self.design.n_samples,
                            np.bincount(pool.scored.codes, minlength=len(domains)), longcot.OUTCOME, self.seed, x=x,
                            domains=domains, repeats_allowed=True, settings={"n_trees": self.n_trees})  # fmt: skip
        make = lambda: asking.in_part(mixtures, question, "long-CoT")  # noqa: E731
        return fixed(self.out / "longcot_mixtures.csv", self._asked(x=x, mixtures=_mixed(mixtures)), make)

    def learning(self) -> pd.DataFrame:
        """Mixtures of some methods from random and from designed parts of the history."""
        make = lambda: variants.learning_mixtures(self._free)  # noqa: E731
        return fixed(self.out / "learning_mixtures.csv", self._asked(x=self.goal.x, learners=variants.LEARNERS), make)

    def refits(self) -> pd.DataFrame:
        """Mixtures of some methods from halves of the history."""
        make = lambda: variants.refitted_mixtures(self._free)  # noqa: E731
        return fixed(self.out / "refits.csv", self._asked(x=self.goal.x, refitted=variants.REFITTED), make)

    def variants(self) -> pd.DataFrame:
        """Mixtures of two variants that the ablations try beside the methods."""
        recorded = Ledger(self.out / "runs.jsonl").finished()

        def make() -> pd.DataFrame:
            losses = dmo.validation_losses([recorded[r] for r in self.history.frame["run_id"]], self.history.domains)
            return variants.variant_mixtures(self._question, losses)

        return fixed(self.out / "variants.csv", self._asked(**self._aim, variants=True), make)

    def size_trials(
        self, mixtures: pd.DataFrame, largest: int = 0, seeds: int = 0, target_seeds: int = 0
    ) -> list[Trial]:
        """The whole pool at three sizes, and the target model at the largest; what is not given is the study's."""
        given = {"largest_scale": largest, "seeds": seeds, "target_seeds": target_seeds}
        numbers = [value or getattr(self.sizes, name) for name, value in given.items()]
        return parts.size_trials(self.design, self.pool, mixtures, *numbers)

    def everything(self, **options) -> Iterator[Part]:
        """All that is compared, cheap parts first; a table of mixtures is made when its part is reached."""
        chosen, later = self.mixtures(**options), []
        long = set(longcot.AXES) <= set(self.history.axes)  # a study may leave out benchmarks that execute code
        pools = {"pool": lambda: self.pool, "longcot": lambda: Pool.of(self.long_base) if long else None}
        tables = {"methods": lambda: self.tried(chosen), "shifted": lambda: self.tried(self.shifted(chosen)),
                  "longcot": lambda: self.longcot(chosen, self.long_base), "learning": self.learning,
                  "refits": self.refits, "variants": self.variants}  # fmt: skip
        asked = (lambda name: pools[name](), lambda name: tables[name]())
        for part in parts.study_parts(self.design, self.sizes, self.longcot_sizes, *asked):
            if part.role == "target" or any(spec.n_samples > self.design.n_samples for spec in part.specs):
                later.append(part)
            else:
                yield part
        yield from sorted(later, key=lambda part: (part.role == "target", part.specs[0].n_samples))

    def train(self, **options) -> Iterator[tuple[str, list[dict]]]:
        """Train what the ledger lacks, part by part; options are those of :func:`causalmix.train.sweep.run_sweep`."""
        for part in self.everything(**options):
            # Seed by seed: a sweep that is stopped has then tried every method, and not some of them thrice.
            ordered = sorted(part.specs, key=lambda spec: spec.seed)
            yield part.name, run_sweep(ordered, self.ledger, train, **options)
        self.write_tables()

    def write_tables(self) -> None:
        """Tables of the learning curve and of halves of the history where all is on record, and of variants there."""
        on_record = lambda planned: recorded_or_trained(planned, self.ledger, False, needed=False)  # noqa: E731
        for name, mixtures in (("learning", self.learning()), ("refits", self.refits())):
            planned = parts.numbered_trials(self.design, self.pool, mixtures, name)
            trials, found = on_record(planned)
            if len(trials) == len(planned):
                table = trial_table(trials, found)
                method, of = table["method"].str.split("/", expand=True).to_numpy().T
                told = {"method": method, parts.NUMBERED[name][0]: of.astype(int)}
                write_table(self.out / f"{name}_trained.csv", table.assign(**told))
        # Sizes at which nobody trained variants yet do not keep the others from being told.
        trials, found = on_record(self.size_trials(self.variants()))
        if trials:
            write_table(self.out / "variants_trained.csv", trial_table(trials, found))

    @property
    def _question(self) -> Question:
        """What methods are asked for the whole pool, without a way to train."""
        return Question(self.history, self.goal.n_samples, self.goal.rows, self.outcome, self.seed, x=self.goal.x,
                        settings={"n_trees": self.n_trees})  # fmt: skip

    @property
    def _free(self) -> Question:
        """The same for as many rows as a recorded run has, which no domain is short of."""
        return replace(self._question, n_samples=self.design.n_samples, rows=None)

    @property
    def _aim(self) -> dict:
        """What mixtures for the whole pool depend on besides the records: its state, and the caps of its rows."""
        rows = None if self.goal.rows is None else np.asarray(self.goal.rows).astype(int).tolist()
        return {"x": self.goal.x, "n_samples": self.goal.n_samples, "rows": rows}

    @property
    def files(self) -> list[Path]:
        """What chapters read of it: the history, the target's state, the fixed mixtures and the ledger."""
        names = ("history.csv", "methods.csv", "shifted.csv", *(["sized.csv"] if self.scaled else []))
        return [*(self.out / name for name in names), self.ledger.path, *self.goal.files]

    def _asked(self, x: np.ndarray | None = None, **further: object) -> dict:
        """What determines a table of mixtures, in plain values; a state in the digits in which machines agree."""
        design = {name: getattr(self.design, name) for name in ASKED}
        return further | {
            "x": None if x is None else x.round(2).tolist(), "history": _runs(self.history),
            "outcome": self.outcome, "n_trees": self.n_trees, "seed": self.seed, "methods": list(self.names),
            "design": design,
        }  # fmt: skip


def fixed(path: Path, question: dict, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A table of mixtures that was fixed for a question (all that determines it, in plain values), or a new one."""
    # Estimates differ in their last digits between machines, and runs are identified by these.
    digest = digest_of(question)
    if not (path.exists() and set(read_table(path).get("question", [])) == {digest}):
        write_table(path, make().assign(question=digest))
    return read_table(path).drop(columns="question")


def digest_of(question: dict) -> str:
    """Twelve digits that stand for a question: of its canonical JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(question, sort_keys=True, allow_nan=False).encode()).hexdigest()[:12]


def _runs(history: History) -> str:
    """The runs of a history as a question names them: who scored their pool is in the identity of its world."""
    return history.frame.drop(columns=list(SCORERS), errors="ignore").to_csv(index=False)


def _mixed(mixtures: pd.DataFrame) -> str:
    """Mixtures as a question names them: without the words that are said of them, on which no answer depends."""
    return mixtures.drop(columns="note", errors="ignore").to_csv()


def _check_record(history: History, ledger: Ledger, design: Design, world: World) -> None:
    """Raise InputError where the history is not of this design: its trials would answer another question."""
    if history.domains != world.scored.domains:
        raise InputError(
            f"Expected the domains {', '.join(world.scored.domains)} in this order in the history, found "
            f"{', '.join(history.domains)}; make it anew from the runs."
        )
    finished = ledger.finished()
    recorded = next((finished[r]["spec"] for r in history.frame["run_id"] if r in finished), None)
    if recorded is None:
        return
    spec = RunSpec.from_dict(recorded)
    again = spec_of(design, world.name, spec.weights, spec.state, spec.seed, domains=spec.domains)
    then, now = spec.identifying(), again.identifying()
    if differing := [name for name, value in now.items() if then[name] != value]:
        raise InputError(
            f"Expected a history of the study's design, found runs with another {', '.join(differing)}; "
            "train the runs and write the history again with the same parameters."
        )


def trainer(design: Design, pool: Pool, ledger: Ledger, train_missing: bool = True, **options) -> Train:
    """How methods get proxies of their own: from the ledger, else trained with options of ``run_sweep``, or refused."""

    def trained(runs: Sequence[ProxyRun]) -> list[dict]:
        specs = parts.proxy_specs(design, pool, runs)
        finished = {} if train_missing else ledger.finished()
        if not train_missing and (lacking := sum(spec.run_id not in finished for spec in specs)):
            raise InputError(
                f"Expected recorded proxies of the methods in {ledger.path.name}, found {lacking} of {len(specs)} "
                "missing; set train_missing to train them, or name methods that need none."
            )
        return run_sweep(specs, ledger, train, **options)

    return trained
