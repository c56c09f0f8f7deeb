"""What a study does from its first row to its last trial, counted from the specifications that it will train.

Equal mixtures stand for those that are not known yet.  Mixtures that turn out alike share runs, so counts are at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from causalmix.core import paths
from causalmix.core.errors import InputError
from causalmix.core.settings import validated
from causalmix.core.study_file import Study
from causalmix.core.wording import counted
from causalmix.data.families import KINDS
from causalmix.data.fingerprints import by_content
from causalmix.data.named_models import is_own
from causalmix.data.recipes import Recipe
from causalmix.data.scores import HES_MAX_TOKENS, LOSS_MAX_TOKENS
from causalmix.data.tiny import longcot as tiny_longcot, models as tiny_models, shapes
from causalmix.lm.conversations import tokenize
from causalmix.methods import ask, variants
from causalmix.methods.baselines import dmo
from causalmix.study import longcot
from causalmix.study.parts import SHIFTS, Part, Pool, proxy_specs, study_parts
from causalmix.study.plan.hardware import Assumption, Hardware
from causalmix.train.design import ROLES, Design, noise_panel, scale_specs, specs_of
from causalmix.train.ledger import Ledger
from causalmix.train.spec import RunSpec

RECORDED = "laptop"  # the study whose record tells the length of the embedded world's rows
SAMPLE = 500  # rows of the embedded world that are tokenised where no record tells
TRAIN, READ = "training", "reading"  # forward and backward, or forward alone
TO_MIXTURE = ("featurize", "proxy_sft")  # the subjects that cost something on the way to a mixture
START_SECONDS = 30  # measured: a model of 135M parameters, from a new process to its first step


class Line(NamedTuple):
    """One line of a plan."""

    part: str
    chapter: str
    role: str  # whose pool's rows are read and whose model trains
    model: str
    kind: str
    runs: int  # models trained, or judged; 0 where rows are only scored
    rows: int  # rows seen, every pass over them counted
    limits: tuple[int, ...] = ()  # where rows are read several times, the tokens that each reading is cut to


@dataclass(frozen=True)
class Work:
    """A study with its design, its hardware, and its two pools (``pool, longcot``) as they are known unread."""

    study: Study
    design: Design
    hardware: Hardware | None
    pools: dict[str, Pool]

    @classmethod
    def of(cls, study: Study) -> "Work":
        """What a study says; InputError when a value is not allowed, or the domains of a real pool are not named."""
        hardware = validated(Hardware, study.hardware, "the hardware") if study.hardware else None
        work = cls(study, Design.of_study(study), hardware, {})
        own = {"pool": shapes.DOMAINS, "longcot": tiny_longcot.DOMAINS}
        asked = {"pool": work.design.pool_rows, "longcot": study.of("longcot").longcot_rows}
        for family in asked:
            recipe = work.recipe(family)
            if not (domains := recipe.domains if recipe else own[family]):
                raise InputError(
                    f"Expected the domains of {_named(family, 'pool')} in the study's file, for a plan reads no rows, "
                    "found none; add domains."
                )
            if family == "longcot" and "longcot" not in work.roles:
                continue
            rows = min(asked[family], int(work.assumed("rows", family) or asked[family]))
            work.pools[family] = Pool("unread/0/0/0", tuple(domains), rows)
        return work

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """Roles that are trained: with rows of one's own only those whose model or benchmarks are named."""
        recipe = self.recipe("pool")
        if recipe is None:
            return ROLES
        axes = {b.axis for b in recipe.benchmarks() if b.split == "dev"}
        trials = bool(axes) and "target" in self.design.models
        chains = trials and (bool(self.design.longcot_pool) or set(longcot.AXES) <= axes)
        return ("proxy", *["target"] * trials, *["longcot"] * chains)

    @property
    def note(self) -> str:
        """What a plan leaves out and why, in a sentence; empty where that is nothing."""
        if "target" in self.roles:
            return ""
        lacks, where = "target model", "models: {target: NAME} to parameters"
        if "target" in self.design.models:
            lacks, where = "Dev benchmark", "benchmarks to pool.evaluation"
        return f"The study names no {lacks}, so trials that compare methods are not counted; add {where} to see them."

    @property
    def given(self) -> dict[str, Assumption]:
        """What the study's hardware assumes."""
        return self.hardware.assumptions if self.hardware else {}

    def assumed(self, what: str, family: str = "pool") -> float | None:
        """A number that is given of one of the pools; None where it is not."""
        found = self.given.get(_named(family, what))
        return found and found.value

    @cached_property
    def assumptions(self) -> dict[str, Assumption]:
        """All that the plan rests on."""
        found = dict(self.given)
        recipe, used = self.recipe("pool"), self.hardware and self.hardware.utilisation
        if recipe and recipe.benchmarks() and used and "evaluation_utilisation" not in found:
            said = "ours: a tenth of training's, for answers are written token by token"
            found["evaluation_utilisation"] = Assumption(value=used / 10, source=said)
        if not all(is_own(self.design.model_of(role)) for role in self.roles) and "start_seconds" not in found:
            said = "measured with 135M parameters: loading the model and its rows"
            found["start_seconds"] = Assumption(value=START_SECONDS, source=said)
        return found | {_named(family, "tokens_per_row"): self._tokens_per_row(family) for family in self.pools}

    @property
    def lengths(self) -> dict[str, float]:
        """Mean tokens of a row, by family."""
        return {family: self.assumptions[_named(family, "tokens_per_row")].value for family in self.pools}

    def _tokens_per_row(self, family: str) -> Assumption:
        """From the study's record, its assumption, or the embedded world's record or rows."""
        role, kind = ("longcot", "longcot") if family == "longcot" else ("proxy", "tiny")
        recipe, model, name = self.recipe(family), self.design.model_of(role), _named(family, "tokens_per_row")
        prefix = "real/" if recipe else f"{kind}/"
        if found := _recorded(self.study.name, model, prefix):
            return found
        if name in self.given:
            return self.given[name]
        if recipe or not is_own(model):
            raise InputError(
                f"Expected {name} among the assumptions of the study {self.study.name}, for it reads no rows yet, "
                f"found none; add assumptions: {{{name}: {{value: …, source: …}}}} to its section hardware."
            )
        if found := _recorded(RECORDED, model, prefix):
            return found
        tokens = tokenize(KINDS[kind].make_pool(SAMPLE, 0), tiny_models.world_tokenizer())["input_ids"]
        said = f"measured: {SAMPLE} rows of the embedded world, made for it"
        return Assumption(value=float(np.mean(list(map(len, tokens)))), source=said)

    @property
    def methods(self) -> tuple[str, ...]:
        """Static methods that are asked."""
        return ask.names_of(self.study.of("target").methods)

    def proxies(self) -> list[RunSpec]:
        """Runs that methods train besides the record."""
        pool, n = self.pools["pool"], self.design.n_samples
        named = [ask.PROXIES[name] for name in self.methods if name in ask.PROXIES]
        return proxy_specs(self.design, pool, [run for asks in named for run in asks(len(pool.domains), n, 0)])

    def trained(self) -> list[Part]:
        """All that is trained, in the order of the study."""
        design, pool, target, long = self.design, self.pools["pool"], self.study.of("target"), self.study.of("longcot")
        own = specs_of(design, pool.name, pool.domains)
        again = own[: self.study.of("proxy_sft").n_audit]
        roles, sizes = {design.model_of(role): role for role in ("target", "proxy")}, {"proxy": [], "target": []}
        for spec in scale_specs(design, pool.name, pool.domains):
            sizes[roles[spec.model]].append(spec)
        found = [
            Part("proxy runs", "proxy_sft", "proxy", own),
            Part("noise panel", "proxy_sft", "proxy", noise_panel(design, own)),
            *(Part(f"runs over sizes, {role}", "proxy_sft", role, specs) for role, specs in sizes.items()),
            Part("recorded runs trained again", "proxy_sft", "proxy", again),
        ]
        if "target" not in self.roles:
            return [part for part in found if part.specs]
        found += [Part("proxies that methods ask for", "target", "proxy", self.proxies())]
        cheap: list[RunSpec] = []
        for part in study_parts(design, target, long, self.pools.get, self._stand_in):
            found.append(part)
            if part.name.startswith("whole pool"):
                cheap += [spec for spec in part.specs if spec.n_samples == design.n_samples]
            if part.name == f"shifted pools, {design.n_samples:,} rows":
                found.append(Part("recorded trials trained again", "target", "proxy", cheap[: target.n_audit]))
            if part.role == "longcot":
                again = part.specs[: long.n_audit]
                found.append(Part("recorded long chains trained again", part.chapter, part.role, again))
        return [part for part in found if part.specs]

    def lines(self) -> Iterator[Line]:
        """All that is done, in the order of the study."""
        trained, model_of = self.trained(), self.design.model_of
        first = sum(len(part.specs) for part in trained if part.chapter == "proxy_sft")
        yield from self._scoring("featurize", "proxy")
        for part in trained:
            if part.name == "long chains of thought":
                yield from self._scoring(part.chapter, part.role)
            # DoReMi trains its reference on as many rows first.
            seen = sum(spec.n_samples * spec.epochs * (1 + _is_doremi(spec)) for spec in part.specs)
            yield Line(part.name, part.chapter, part.role, model_of(part.role), TRAIN, len(part.specs), seen)
            if part.name == "recorded runs trained again":
                yield Line("starting and judging these runs", "proxy_sft", "proxy", model_of("proxy"), READ, first, 0)
        if "target" not in self.roles:
            return
        if references := sum(map(_is_doremi, self.proxies())):
            seen = references * self.design.candidates * len(self.pools["pool"].domains)
            yield Line("losses of DoReMi's references", "target", "proxy", model_of("proxy"), READ, 0, seen)
        for role in self.roles:
            judged = sum(len(part.specs) for part in trained if part.role == role) + (role != "longcot")  # and the base
            judged -= first if role == "proxy" else 0
            yield Line(f"starting and judging, {role}", "all", role, model_of(role), READ, judged, 0)

    def recipe(self, family: str) -> Recipe | None:
        """The recipe of a pool, ``pool`` or ``longcot``; None for the embedded world's."""
        given = self.design.longcot_pool if family == "longcot" else self.design.pool
        return Recipe.of(given) if given else None

    def _scoring(self, chapter: str, role: str) -> Iterator[Line]:
        """Reading a pool twice with the reference model, cut as its scores are, and once with a real rater."""
        family, limits = family_of(role), (HES_MAX_TOKENS, LOSS_MAX_TOKENS)
        recipe, rows = self.recipe(family), self.pools[family].rows
        what = "rows of the long-CoT pool" if role == "longcot" else "rows of the pool"
        scorer = recipe.scorer if recipe else "proxy"
        yield Line(f"HES and Normalized_Loss, {what}", chapter, role, scorer, READ, 0, rows, limits)
        if recipe and recipe.rater:
            yield Line(f"Writing_Style, {what}", chapter, role, recipe.rater, READ, 0, rows)

    def _stand_in(self, table: str) -> pd.DataFrame:
        """Equal mixtures in the place of a table that methods will fill."""
        with_scale = [ask.WITH_SCALE] * (self.design.scale_runs > 0 and table in ("methods", "shifted"))
        both = (*variants.LEARNERS, *(f"{name}{variants.DESIGNED}" for name in variants.LEARNERS))
        own = {"learning": both, "refits": variants.REFITTED,
               "variants": (variants.WITHOUT_ORTHOGONALISATION, dmo.TABLE_FIT)}  # fmt: skip
        names = own.get(table, (*self.methods, *ask.ALWAYS, *with_scale))
        domains = self.pools["longcot" if table == "longcot" else "pool"].domains
        even = pd.DataFrame([{"method": name} | {f"w_{d}": 1 / len(domains) for d in domains} for name in names])
        if table == "shifted":
            return pd.concat([even.assign(pool=pool) for pool in SHIFTS], ignore_index=True)
        counts = [count for count in variants.RUN_COUNTS if count <= self.design.n_runs]
        numbers = {"learning": pd.Series(counts, dtype=int, name="n_runs"),
                   "refits": pd.Series(range(variants.REFITS), name="refit")}  # fmt: skip
        return pd.merge(numbers[table], even, how="cross") if table in numbers else even


def family_of(role: str) -> str:
    """Which of a study's two pools a role's runs read: ``pool`` or ``longcot``."""
    return "longcot" if role == "longcot" else "pool"


def _named(family: str, what: str) -> str:
    """An assumption about a pool, by the name that the section ``hardware`` has for it."""
    return f"longcot_{what}" if family == "longcot" else what


def _recorded(study: str, model: str, prefix: str) -> Assumption | None:
    """Tokens of a row as finished runs of a study have counted them; None without such a run."""
    found, wanted = [], by_content(model)
    for name in ("runs.jsonl", "trials.jsonl"):
        for record in Ledger(paths.results_dir(study) / name).finished().values():
            spec, training = record["spec"], record["training"]
            if by_content(spec["model"]) == wanted and spec["world"].startswith(prefix) and training.get("rows"):
                # A run that mixes while it trains counts every row that it was handed, in all epochs.
                passes = 1 if "mixing" in training else spec["epochs"]
                found.append(training["tokens"] / (training["rows"] * passes))
    source = f"measured: {counted(len(found), 'recorded run')} of the study {study}"
    return Assumption(value=float(np.mean(found)), source=source) if found else None


def _is_doremi(spec: RunSpec) -> bool:
    return spec.mixing.get("method") == "doremi"
