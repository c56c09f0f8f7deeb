"""What a study does from its first row to its last trial, counted from the specifications that it will train.

Mixtures are not known before the study has run, so stand-ins take their place: what is counted (runs, rows,
models) does not depend on them.  Methods whose mixtures turn out alike share their runs, which makes these
counts upper bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.core.parameters import SUBJECTS
from causalmix.core.study_file import Study
from causalmix.data.recipes import Recipe
from causalmix.data.tiny import longcot as tiny_longcot
from causalmix.data.tiny.items import DOMAINS
from causalmix.methods import ask, variants
from causalmix.methods.question import ProxyRun, Question
from causalmix.study import longcot, parts
from causalmix.study.campaign import LEARNING_SEEDS
from causalmix.train.design import Design, noise_panel, spec_of, specs_of
from causalmix.train.spec import RunSpec

TRAIN, READ = "training", "reading"  # forward and backward, or forward alone

#: Methods of the learning curve, and variants of chapter 08, whose mixtures are worked out from the record.
LEARNERS = (*ask.OURS, "RegMix", "RegMix-ridge")
VARIANTS = (variants.WITHOUT_ORTHOGONALISATION, "DMO (table-fit)")


@dataclass(frozen=True)
class Part:
    """One part of a study's work.

    Attributes
    ----------
    part, chapter : str
        Its name, and the chapter or command that does it.
    role : str
        Whose pool's rows it reads and whose model trains: ``proxy``, ``target`` or ``longcot``.
    model : str
    kind : {"training", "reading"}
    runs : int
        Models trained, or judged; 0 where rows are only scored.
    rows : int
        Rows seen, every pass over them counted.
    limits : tuple of int
        Where rows are read several times over, the tokens that each reading is cut to; empty for one uncut.
    """

    part: str
    chapter: str
    role: str
    model: str
    kind: str
    runs: int
    rows: int
    limits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Work:
    """A study's design with the values of its chapters.

    Attributes
    ----------
    design : Design
    values : dict
        Parameters by chapter.
    domains, longcot_domains : tuple of str
    """

    design: Design
    values: dict[str, dict[str, object]]
    domains: tuple[str, ...]
    longcot_domains: tuple[str, ...]

    @classmethod
    def of(cls, study: Study) -> Work:
        """What a study says; its values are checked.

        Raises
        ------
        InputError
            When a value is not allowed, or the domains of a real pool are not named.
        """
        values = {subject: dict(study.of(subject)) for subject in SUBJECTS}
        design = Design.of_study(study)
        return cls(
            design,
            values,
            _domains("pool", design.pool, DOMAINS),
            _domains("longcot_pool", design.longcot_pool, tiny_longcot.DOMAINS),
        )

    def specs(self) -> dict[tuple[str, str, str], list[RunSpec]]:
        """Every run by (part, chapter, role), in the order of the study."""
        design, domains = self.design, self.domains
        base = SimpleNamespace(name="pool/0/0/0", scored=SimpleNamespace(codes=np.empty(0), domains=domains))
        own = specs_of(design, base.name, domains)
        names = self.methods()
        found = {
            ("proxy runs", "proxy_sft", "proxy"): own,
            ("noise panel", "proxy_sft", "proxy"): noise_panel(design, own),
            ("recorded runs trained again", "proxy_sft", "proxy"): own[: self.values["proxy_sft"]["n_audit"]],
            ("proxies that methods ask for", "target", "proxy"): self.proxies_of_methods(),
        }
        whole = self._sizes(base, names)
        found |= {(name, "target", role): specs for (name, role), specs in whole.items()}
        sizes = self.values["target"]
        moved = pd.concat([_stand_in(names, domains).assign(pool=pool) for pool in parts.SHIFTS], ignore_index=True)
        found["shifted pools", "target", "proxy"] = _specs(
            parts.shift_trials(design, base, moved, sizes["shift_seeds"])
        )
        smallest = [spec for specs in whole.values() for spec in specs if spec.n_samples == design.n_samples]
        found["recorded trials trained again", "target", "proxy"] = smallest[: sizes["n_audit"]]
        long = SimpleNamespace(
            name="longcot/0/0/0", scored=SimpleNamespace(codes=np.empty(0), domains=self.longcot_domains)
        )
        asked = self.values["longcot"]
        trials = _specs(longcot.longcot_trials(design, long, _stand_in(names, self.longcot_domains), asked["seeds"]))
        found["long chains of thought", "longcot", "longcot"] = trials
        found["recorded long chains trained again", "longcot", "longcot"] = trials[: asked["n_audit"]]
        counts = [c for c in variants.RUN_COUNTS if c <= design.n_runs]
        curve = pd.concat(
            [_stand_in(LEARNERS, domains).assign(n_runs=c) for c in counts] or [_stand_in((), domains).assign(n_runs=0)]
        )
        found["learning curve", "sweep --trials", "proxy"] = _specs(
            parts.learning_trials(design, base, curve, LEARNING_SEEDS)
        )
        for (name, role), specs in self._sizes(base, VARIANTS).items():
            found[f"variants, {name}", "sweep --trials", role] = specs
        found["confounded history", "sweep --trials", "proxy"] = parts.confounded_specs(design, base.name, domains)
        return {key: specs for key, specs in found.items() if specs}

    def methods(self) -> tuple[str, ...]:
        """Methods whose mixtures are tried."""
        return (*ask.names_of(self.values["target"]["methods"]), *ask.OURS, ask.WITHOUT_X)

    def proxies_of_methods(self) -> list[RunSpec]:
        """Runs that methods ask for besides the record: each is asked until it wants to train."""
        columns = {f"w_{d}": [1 / len(self.domains)] for d in self.domains} | {
            "y_dev": [0.0],
            "n_samples": [self.design.n_samples],
        }
        runs: list[ProxyRun] = []
        history = History(pd.DataFrame(columns), self.domains, (), ())
        question = Question(history, self.design.n_samples, train=_stop)
        for name in ask.names_of(self.values["target"]["methods"]):
            try:
                ask.STATIC[name](question)
            except _Asked as asked:
                runs += asked.runs
            except InputError:  # it learns from the record, and this one holds a single run
                continue
        return [
            spec_of(
                self.design,
                "pool",
                run.weights,
                parts.AS_IT_IS,
                run.seed,
                n_samples=run.n_samples,
                domains=self.domains,
                mixing=dict(run.mixing),
            )
            for run in runs
        ]

    def parts(self, rows: int, longcot_rows: int) -> list[Part]:
        """All parts, in the order of the study.

        Parameters
        ----------
        rows, longcot_rows : int
            Of the two pools.
        """
        specs = self.specs()
        work = [*self._scoring("featurize", "proxy", self.design.pool, rows)]
        for (name, chapter, role), runs in specs.items():
            if name == "long chains of thought":
                work += self._scoring(chapter, role, self.design.longcot_pool, longcot_rows)
            work.append(
                Part(name, chapter, role, self.design.model_of(role), TRAIN, len(runs), sum(map(_rows_seen, runs)))
            )
        if doremi := sum(map(_is_doremi, specs.get(("proxies that methods ask for", "target", "proxy"), []))):
            seen = doremi * self.design.candidates * len(self.domains)
            work.append(
                Part("losses of DoReMi's references", "target", "proxy", self.design.model_of("proxy"), READ, 0, seen)
            )
        for role in ("proxy", "target", "longcot"):
            judged = sum(len(runs) for (*_, whose), runs in specs.items() if whose == role) + (
                role != "longcot"
            )  # and the base
            work.append(Part(f"judging models, {role}", "all", role, self.design.model_of(role), READ, judged, 0))
        return work

    def _sizes(self, base: SimpleNamespace, names: Sequence[str]) -> dict[tuple[str, str], list[RunSpec]]:
        """Trials in the whole pool by (part, role): one part for each size, and the target model."""
        sizes = self.values["target"]
        scales = parts.scales_up_to(sizes["largest_scale"])
        trials = parts.size_trials(
            self.design, base, _stand_in(names, self.domains), scales, sizes["seeds"], sizes["target_seeds"]
        )
        found: dict[tuple[str, str], list[RunSpec]] = {}
        for trial in trials:
            name = "target model" if trial.role == "target" else f"whole pool, {trial.spec.n_samples:,} rows"
            found.setdefault((name, trial.role), []).append(trial.spec)
        return found

    def _scoring(self, chapter: str, role: str, recipe: dict, rows: int) -> Iterable[Part]:
        """Reading a pool twice with the reference model, cut as its scores are, and once with a real rater."""
        from causalmix.data.scores import HES_MAX_TOKENS, LOSS_MAX_TOKENS

        found = Recipe.of(recipe) if recipe else None
        scorer = found.scorer if found else "proxy"
        what = "rows of the pool" if role == "proxy" else "rows of the long-CoT pool"
        yield Part(
            f"HES and Normalized_Loss, {what}", chapter, role, scorer, READ, 0, rows, (HES_MAX_TOKENS, LOSS_MAX_TOKENS)
        )
        if found and found.rater:
            yield Part(f"Writing_Style, {what}", chapter, role, found.rater, READ, 0, rows)


class _Asked(Exception):
    """What a method would have trained."""

    def __init__(self, runs: Sequence[ProxyRun]) -> None:
        self.runs = list(runs)


def _stop(runs: Sequence[ProxyRun]) -> list[dict]:
    raise _Asked(runs)


def _is_doremi(spec: RunSpec) -> bool:
    return spec.mixing.get("method") == "doremi"


def _rows_seen(spec: RunSpec) -> float:
    """Rows that a run trains on; DoReMi trains its reference on as many first."""
    return spec.n_samples * spec.epochs * (2 if _is_doremi(spec) else 1)


def _specs(trials: Iterable) -> list[RunSpec]:
    return [trial.spec for trial in trials]


def _stand_in(names: Sequence[str], domains: Sequence[str]) -> pd.DataFrame:
    """Equal mixtures in place of those that methods will find."""
    return pd.DataFrame([{"method": name} | {f"w_{d}": 1 / len(domains) for d in domains} for name in names])


def family_of(role: str) -> str:
    """Which of a study's two pools a role's runs read: ``pool`` or ``longcot``."""
    return "longcot" if role == "longcot" else "pool"


def _domains(name: str, recipe: dict, own: tuple[str, ...]) -> tuple[str, ...]:
    """Domains of a pool before it is read."""
    domains = Recipe.of(recipe).domains if recipe else own
    if not domains:
        raise InputError(
            f"Expected the domains of {name} in the study's file, for a plan reads no rows, found none; add domains."
        )
    return domains
