"""The design of a study: which mixtures, states and seeds its runs have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from causalmix.core.errors import InputError
from causalmix.core.parameters import LongCoTParameters, RunsParameters, Subject, check_name
from causalmix.core.simplex import check_mixture, sample_dirichlet
from causalmix.core.study_file import Study, read_changes, read_study
from causalmix.data.fingerprints import marked
from causalmix.data.recipes import Recipe
from causalmix.data.scores import SCORES
from causalmix.data.tiny.shapes import DOMAINS, FINETUNING
from causalmix.train.sft_settings import SFTSettings
from causalmix.train.spec import RunSpec, training_of

if TYPE_CHECKING:
    from causalmix.data.scored_pools import World

ROLES = ("proxy", "target", "longcot")

# Are added to a design's seed for its further histories.
CONFOUNDED_SEED, SCALE_SEED = 1, 40
CONFOUNDED_RUNS = 256
AIMS = 300  # gains that a design is to tell

SUBJECTS = ("proxy_sft", "longcot")  # those that have the fields of a design; the first comes first


#: What a design says, with its defaults: what is declared of runs, and of the pool of long chains.
FIELDS = {name: given for name, given in RunsParameters.model_fields.items() if name not in Subject.model_fields}
FIELDS |= {"longcot_pool": LongCoTParameters.model_fields["longcot_pool"]}


@dataclass(frozen=True)
class Design(
    make_dataclass("Declared", [(n, g.annotation, field(default_factory=g.get_default)) for n, g in FIELDS.items()],
                   frozen=True)
):  # fmt: skip
    """What a study trains; the fields are those of its YAML and of the chapters (:mod:`causalmix.core.parameters`).

    ``models`` has, by role, a name, or a dictionary of ``name``, of settings that differ from ``training``, and of
    ``launch`` (:func:`causalmix.train.launch.finetune_distributed`).  What is absent is the embedded world's.
    """

    def __post_init__(self) -> None:
        for score in self.tilt:
            check_name(score, SCORES, "score")
        for role, given in self.models.items():
            check_name(role, ROLES, "role of a model")
            if not isinstance(given, str) and not (isinstance(given, dict) and isinstance(given.get("name"), str)):
                raise InputError(f"Expected the model of the {role} as its name, or with one, found {given!r}; add it.")

    @property
    def has_target(self) -> bool:
        """Whether there is a target: the embedded world brings one, a real pool has to name it."""
        return not self.pool or "target" in self.models

    @property
    def widths(self) -> np.ndarray:
        """Half-widths of the components of a state, in the order of the scores."""
        return np.array([self.tilt.get(score, 1.0) for score in SCORES])

    def settings_of(self, role: str) -> SFTSettings:
        """Hyper-parameters of a role's runs."""
        shared = {"learning_rate": self.learning_rate, "epochs": self.epochs, "batch_size": self.batch_size}
        own = {name: value for name, value in self._entry(role).items() if name not in ("name", "launch")}
        return SFTSettings.of(shared | self.training | own)

    def model_of(self, role: str) -> str:
        """What a run's specification names as the model of a role."""
        return marked(self._entry(role)["name"])

    def launch_of(self, role: str) -> dict[str, object]:
        """How the runs of a role are launched on several devices, ``processes`` included; empty where one does."""
        given = dict(self._entry(role).get("launch") or {})
        for name in given:
            check_name(name, ("config", "processes"), f"setting to launch the {role}")
        if given:
            from causalmix.train.launch import launcher_of

        return given | {"processes": launcher_of(given)["processes"]} if given else {}

    def first_mixture(self, domains: tuple[str, ...]) -> np.ndarray:
        """The reference, shape (K,); empty where none is named."""
        for name in self.reference:
            check_name(name, domains, "domain of the reference")
        return check_mixture([self.reference.get(d, 0) for d in domains], domains) if self.reference else np.empty(0)

    def _entry(self, role: str) -> dict:
        given = self.models.get(role, role)
        return {"name": given} | FINETUNING.get(given, {}) if isinstance(given, str) else dict(given)

    @classmethod
    def from_parameters(cls, parameters: dict) -> Design:
        """Take the fields of a design out of a larger set of parameters."""
        return cls(**{name: value for name, value in parameters.items() if name in FIELDS})

    @classmethod
    def of_study(cls, study: str | Study, out: Path | None = None) -> Design:
        """The design of a study's runs."""
        study = read_study(study) if isinstance(study, str) else study
        values: dict = {}
        for subject in SUBJECTS:
            values = dict(study.of(subject)) | read_changes(out, subject) | values
        return cls.from_parameters(values)


def specs_of(design: Design, world: str, domains: tuple[str, ...] = DOMAINS) -> list[RunSpec]:
    """The study's proxy runs on a world, by its name, in order; the same design always gives the same runs."""
    first = design.first_mixture(domains)
    if design.assignment == "designed":
        mixtures, units = _designed(design, first, len(domains))
    else:
        rng = np.random.default_rng([design.seed, 10])
        units = rng.uniform(-1, 1, (design.n_runs, len(SCORES)))
        mixtures = _assign(design, units, len(domains))
    if len(first):
        mixtures[0], units[0] = first, 0.0
    return [
        spec_of(design, world, weights, tilt, seed=design.seed * 100_000 + i, domains=domains)
        for i, (weights, tilt) in enumerate(zip(mixtures, units * design.widths))
    ]


def _designed(design: Design, first: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Mixtures, (n_runs, k), the reference or Equal first, and states in [-1, 1], each telling most beside the others.

    What is to be told are the gains over the first of mixtures and in states as a random design has them.
    """
    from causalmix.effects.optimal_design import Belief, Features, candidate_runs, choose

    reference, wide = first if len(first) else np.full(k, 1 / k), np.ones(len(SCORES))
    T, units = candidate_runs(np.zeros(k), np.ones(k), -wide, wide, design.seed)
    features = Features.of(T, units)
    F, rng = features(T, units), np.random.default_rng([design.seed, 12])
    states = rng.uniform(-1, 1, (AIMS, len(SCORES)))
    gains = features(sample_dirichlet(AIMS, design.concentration, k, design.seed), states) - features(reference, states)
    belief = Belief.prior(F.shape[1]).given(features(reference, np.zeros((1, len(SCORES)))))
    chosen = choose(F, design.n_runs - 1, belief, gains)
    return np.vstack([reference, T[chosen]]), np.vstack([np.zeros(len(SCORES)), units[chosen]])


def _assign(design: Design, units: np.ndarray, k: int) -> np.ndarray:
    """Mixtures of a design that are drawn, shape (n_runs, k); ``units`` are the states, each component in [-1, 1]."""
    if design.assignment == "randomized":
        return sample_dirichlet(design.n_runs, design.concentration, k, design.seed)
    if design.assignment == "confounded":
        # Practice that looks at the data first: the expected share of a domain follows the state.
        rng = np.random.default_rng([design.seed, 11])
        lean = np.exp(0.5 * units @ np.random.default_rng(11).normal(size=(units.shape[1], k)))
        means = lean / lean.sum(axis=1, keepdims=True)
        return np.stack([rng.dirichlet(design.concentration * k * m + 0.05) for m in means])
    raise InputError(
        f"Expected assignment randomized, designed or confounded, found {design.assignment!r}; choose one."
    )


def spec_of(
    design: Design, world: str, weights: Iterable[float], tilt: Iterable[float], seed: int, *, role: str = "proxy",
    n_samples: int | None = None, candidates: int | None = None, domains: tuple[str, ...] = DOMAINS,
    mixing: Mapping[str, object] | None = None,
) -> RunSpec:  # fmt: skip
    """One run of a study's kind, its mixture in six digits, its state in four; what is not given is the design's."""
    launch = design.launch_of(role)
    if mixing and launch:
        raise InputError(
            f"Expected the {role} in one process where a method mixes in training, found it launched; drop one."
        )
    return RunSpec(
        world=f"{world}/{candidates or design.candidates}",
        model=design.model_of(role),
        domains=domains,
        weights=tuple(round(float(w), 6) for w in weights),
        state=tuple(round(float(v), 4) for v in tilt),
        n_samples=n_samples or design.n_samples,
        epochs=design.epochs,
        seed=seed,
        training=training_of(asdict(design.settings_of(role)), mixing or {}, launch),
    )


def noise_panel(design: Design, specs: list[RunSpec]) -> list[RunSpec]:
    """The first ``noise_specs`` runs again with ``noise_seeds - 1`` further seeds each."""
    further = range(1, design.noise_seeds)
    return [replace(spec, seed=spec.seed + 10_000 * j) for spec in specs[: design.noise_specs] for j in further]


def times_rows(i: int) -> float:
    """Rows of the i-th run over sizes, by those of a usual run."""
    return 2.0 ** (i // 3 % 4 - 1)


def scale_specs(design: Design, world: str, domains: tuple[str, ...] = DOMAINS) -> list[RunSpec]:
    """The study's runs over sizes, at half to four times the rows of a run; every third is of the target's model."""
    if not design.scale_runs:
        return []
    second = replace(design, n_runs=design.scale_runs, seed=design.seed + SCALE_SEED)
    return [spec_of(design, world, spec.weights, spec.state, spec.seed, domains=domains,
                    role="target" if i % 3 == 2 and design.has_target else "proxy",
                    n_samples=int(design.n_samples * times_rows(i)))
            for i, spec in enumerate(specs_of(second, world, domains))]  # fmt: skip


def confounded_specs(design: Design, world: str, domains: tuple[str, ...] = DOMAINS) -> list[RunSpec]:
    """Runs of a history in which practice looked at the data before it chose a mixture; at most as many as designed."""
    n_runs, seed = min(CONFOUNDED_RUNS, design.n_runs), design.seed + CONFOUNDED_SEED
    return specs_of(replace(design, assignment="confounded", n_runs=n_runs, seed=seed), world, domains)


def world_for(design: Design) -> World:
    """The pool of a design: of the embedded world, or by its recipe."""
    from causalmix.data.scored_pools import load_real, load_world

    if not design.pool:
        return load_world(design.pool_rows, design.pool_seed)
    return load_real(Recipe.of(design.pool), design.pool_rows, design.pool_seed)
