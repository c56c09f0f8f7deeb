"""Recipes: a real pool by names, as the file of a study has it."""

import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Self

from datasets import Dataset
from pydantic import ConfigDict

from causalmix.core.errors import InputError, refused
from causalmix.core.parameters import check_name
from causalmix.core.paths import cache_dir
from causalmix.core.settings import validated
from causalmix.data import fingerprints
from causalmix.data.pools import am_thinking, local, published_scores, reading, tulu
from causalmix.data.scores import further
from causalmix.data.tiny.shapes import SHAPES
from causalmix.lm.benchmarks import Benchmark, select

#: Loaders of real pools, by the name that a recipe gives.
LOADERS: dict[str, Callable[..., Dataset]] = {
    "tulu": tulu.load_pool,
    "am_thinking": am_thinking.load_pool,
    "local": local.load_pool,
}

REAL = "real"

#: Settings of an evaluation that change its speed or its place, and no score.
NO_MATTER = ("batch_size", "command", "gpus", "timeout", "work")

#: Options that name files or folders of one's own.
PLACES = ("path", "source_to_domain", "include_path")

#: What judges models, modules of :mod:`causalmix.lm`, by the name that ``evaluation`` gives as ``evaluator``; the first
#: by default.  Each has ``evaluate(model, tokenizer, benchmarks, **settings)`` and ``check(benchmarks, settings)``.
EVALUATORS = ("harness", "opencompass")


@dataclass(frozen=True)
class Recipe:
    """A real pool by names: the entry ``pool`` of a study's file."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    loader: str
    options: dict = field(default_factory=dict)  # of that loader, for instance ``path``
    # Causal language model of HES and Normalized_Loss: an id, a path, or a base of the embedded world.
    scorer: str = "proxy"
    rater: str = ""  # sequence classifier of Writing_Style; empty means the rater that ships
    # Arguments of hub.open_rows for published scores; what is not found there is computed.
    scores: dict = field(default_factory=dict)
    # ``benchmarks`` (names; all by default), ``own`` (further ones, each with the fields of a Benchmark), ``evaluator``
    # and what HarnessEvaluation or OpenCompassEvaluation has.
    evaluation: dict = field(default_factory=dict)
    domains: tuple[str, ...] = ()  # their order in every mixture; by default in the order of the rows

    def __post_init__(self) -> None:
        check_name(self.loader, LOADERS, "pool's loader")

    @classmethod
    def of(cls, given: Mapping) -> Self:
        """The recipe of a mapping; InputError for a name, a value or an option of the loader that cannot be."""
        recipe = validated(cls, given, "a pool")
        # A mistyped option must not come up after other work.
        with refused(f"options of the loader {recipe.loader}", f"correct {recipe.options!r}", TypeError):
            inspect.signature(LOADERS[recipe.loader]).bind(**recipe.options, max_rows=0, seed=0)
        if not isinstance(path := recipe.options.get("path", ""), str):
            raise InputError(f"Expected a path as text in the options of a pool, found {path!r}; correct it.")
        if recipe.scores:
            published_scores.check_scorers(recipe.scorer, recipe.rater)
        return recipe

    @property
    def rows_digest(self) -> str:
        """Identity of what makes and scores the rows: names, and the content of files and models, wherever they lie."""
        named = [self.loader, _by_content(self.options), _by_content(self.scores), self.domains]
        return digest_of(*named, self.scored_by, reading.VERSION, *further())

    @property
    def scored_by(self) -> list[str]:
        """What the models that score the rows are: content of files, whatever their folder is called, or a name."""
        models = [fingerprints.of_model(role, getattr(self, role)) for role in fingerprints.SCORERS]
        return [model["sha256"] or model["name"] for model in models]

    @property
    def questions_digest(self) -> str:
        """Identity of what models are asked: the benchmarks as they are defined, and settings that change a score."""
        settings = {name: value for name, value in self.settings.items() if name not in NO_MATTER}
        return digest_of([asdict(b) for b in self.benchmarks()], _by_content(settings))

    @property
    def settings(self) -> dict[str, object]:
        """What ``evaluation`` says besides the benchmarks."""
        return {name: value for name, value in self.evaluation.items() if name not in ("benchmarks", "own")}

    @property
    def evaluator(self) -> tuple[ModuleType, dict[str, object]]:
        """The module that judges models, and the settings that are left for it."""
        rest = self.settings
        check_name(name := rest.pop("evaluator", EVALUATORS[0]), EVALUATORS, "evaluator")
        return importlib.import_module(f"causalmix.lm.{name}"), rest  # takes seconds

    def benchmarks(self) -> tuple[Benchmark, ...]:
        """What models are asked; nothing where ``benchmarks`` is an empty list."""
        chosen, settings = self.evaluation.get("benchmarks"), self.settings
        own = tuple(validated(Benchmark, task, "an own benchmark") for task in self.evaluation.get("own", ()))
        if chosen == [] or own and chosen is None:
            return own  # none at all: held-out losses are the outcome then
        evaluator = str(settings.get("evaluator", EVALUATORS[0]))
        return (*select(chosen, allow_code=bool(settings.get("allow_code")), evaluator=evaluator), *own)

    def check_evaluation(self) -> None:
        """Raise InputError unless the benchmarks can be asked here with these settings."""
        module, settings = self.evaluator
        asked = self.benchmarks()
        names = [b.name for b in asked]
        if twice := sorted({name for name in names if names.count(name) > 1}) or [b.name for b in asked if not b.axis]:
            raise InputError(f"Expected benchmarks with own names and an axis, found {', '.join(twice)}; rename them.")
        module.check(asked, settings)

    def models(self) -> tuple[str, ...]:
        """Models that score the rows and are not of the embedded world."""
        return tuple(name for name in (self.scorer, self.rater) if name and name not in SHAPES)


def _by_content(given: Mapping[str, object]) -> dict[str, object]:
    """Options with what files hold in the place of where they lie, for a moved folder has the same rows."""
    return {name: fingerprints.of_place(value) if name in PLACES else value for name, value in given.items()}


def digest_of(*parts: object) -> str:
    """SHA-256 of values that JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def recipe_file(digest: str) -> Path:
    """Where the cache has the recipe of a real pool, and the folder of its rows, by the pool's identity."""
    return cache_dir() / f"{REAL}-{digest}.json"


def read_recipe(digest: str) -> tuple[Recipe, Path]:
    """The recipe of a real pool that was scored before, and the folder of its rows."""
    path = recipe_file(digest)
    if not path.is_file():
        raise InputError(
            f"Expected the scored pool {digest} in the cache, found none; run the chapter featurize of its study with "
            "the same cache folder (CAUSALMIX_CACHE) first."
        )
    found = json.loads(path.read_text())
    return Recipe.of(found["recipe"]), cache_dir() / found["rows"]
