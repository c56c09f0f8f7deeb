"""Recipes: a real pool by names, as the file of a study has it."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from datasets import Dataset

from causalmix.core.errors import InputError
from causalmix.core.paths import cache_dir
from causalmix.data import fingerprints
from causalmix.data.pools import am_thinking, local, published_scores, tulu
from causalmix.data.tiny import models
from causalmix.lm import benchmarks, opencompass

#: Loaders of real pools, by the name that a recipe gives.
LOADERS: dict[str, Callable[..., Dataset]] = {
    "tulu": tulu.load_pool,
    "am_thinking": am_thinking.load_pool,
    "local": local.load_pool,
}

REAL = "real"

#: Settings of an evaluation that change its speed or its place, and no score.
NO_MATTER = ("batch_size", "command", "gpus", "timeout", "work")

#: What the entries of a recipe are.
KIND_OF = {"options": dict, "scorer": str, "rater": str, "scores": dict, "evaluation": dict, "domains": list}
WORD_OF = {dict: "names with values", str: "a text", list: "a list of names"}


def _check_options(loader: str, options: Mapping) -> None:
    """Options that the loader takes: a mistyped one must not come up after other work."""
    try:
        inspect.signature(LOADERS[loader]).bind(**options, max_rows=0, seed=0)
    except TypeError as error:
        raise InputError(
            f"Expected options of the loader {loader}, found {dict(options)!r} ({error}); correct them."
        ) from error
    if not isinstance(options.get("path", ""), str):
        raise InputError(f"Expected a path as text in the options of a pool, found {options['path']!r}; correct it.")


@dataclass(frozen=True)
class Recipe:
    """A real pool by names: the entry ``pool`` of a study's file.

    Attributes
    ----------
    loader : str
        A key of :data:`LOADERS`.
    options : dict
        Of that loader, for instance ``path``.
    scorer : str
        Causal language model of HES and Normalized_Loss: an id, a path, or a base of the embedded world.
    rater : str
        Sequence classifier of Writing_Style; empty means the rater that ships.
    scores : dict
        Arguments of :func:`causalmix.data.pools.hub.open_rows` for published scores; what is not found
        there is computed.
    evaluation : dict
        ``benchmarks`` (names; all by default), ``own`` (further tasks, each with the fields of a
        :class:`causalmix.lm.benchmarks.Benchmark`), ``evaluator`` (harness, the default, or opencompass), and
        settings of :func:`causalmix.lm.harness.evaluate` or :func:`causalmix.lm.opencompass.evaluate`.
    domains : tuple of str
        Their order in every mixture; by default in the order of the rows.
    """

    loader: str
    options: dict = field(default_factory=dict)
    scorer: str = "proxy"
    rater: str = ""
    scores: dict = field(default_factory=dict)
    evaluation: dict = field(default_factory=dict)
    domains: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping) -> Recipe:
        """The recipe of a mapping.

        Raises
        ------
        InputError
            When a name or the loader is unknown.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise InputError(
                f"Expected a pool described by {', '.join(sorted(known))}, found {', '.join(unknown)}; "
                "correct the names."
            )
        if given.get("loader") not in LOADERS:
            raise InputError(
                f"Expected a pool's loader among {', '.join(LOADERS)}, found {given.get('loader')!r}; "
                "name one of these."
            )
        for name, kind in KIND_OF.items():
            if not isinstance(given.get(name, kind()), kind):
                raise InputError(f"Expected {name} of a pool as {WORD_OF[kind]}, found {given[name]!r}; correct it.")
        _check_options(given["loader"], given.get("options", {}))
        recipe = cls(**dict(given) | {"domains": tuple(given.get("domains", []))})
        if recipe.scores:
            published_scores.check_scorers(recipe.scorer, recipe.rater)
        return recipe

    @property
    def rows_digest(self) -> str:
        """Identity of what makes and scores the rows: names, and the content of files and of local models."""
        named = {name: value for name, value in asdict(self).items() if name != "evaluation"}
        models_ = [fingerprints.of_model("scorer", self.scorer), fingerprints.of_model("rater", self.rater)]
        places = (self.options.get("path"), self.options.get("source_to_domain"), self.scores.get("path"))
        files = fingerprints.of_files(Path(name) for name in places if isinstance(name, str) and name)
        return _digest(named, models_, files)

    @property
    def questions_digest(self) -> str:
        """Identity of what models are asked: the benchmarks as they are defined, and settings that change a score."""
        settings = {name: value for name, value in self.settings.items() if name not in NO_MATTER}
        own = fingerprints.of_files([Path(folder)]) if (folder := settings.get("include_path")) else ""
        return _digest([asdict(b) for b in self.benchmarks()], settings, own)

    @property
    def settings(self) -> dict[str, object]:
        """What ``evaluation`` says besides the benchmarks."""
        return {name: value for name, value in self.evaluation.items() if name not in ("benchmarks", "own")}

    def benchmarks(self) -> tuple[benchmarks.Benchmark, ...]:
        """What models are asked."""
        chosen, allowed = self.evaluation.get("benchmarks"), bool(self.settings.get("allow_code"))
        try:
            own = tuple(benchmarks.Benchmark(**task) for task in self.evaluation.get("own", ()))
        except TypeError as error:
            raise InputError(
                f"Expected own benchmarks with name, axis, split and task, found another field ({error}); correct it."
            ) from error
        evaluator = str(self.settings.get("evaluator", opencompass.EVALUATORS[0]))
        listed = () if own and chosen is None else benchmarks.select(chosen, allow_code=allowed, evaluator=evaluator)
        return (*listed, *own)

    def check_evaluation(self) -> None:
        """Raise InputError unless the benchmarks can be asked here with these settings."""
        module, settings = opencompass.evaluator(self.settings)
        asked = self.benchmarks()
        names = [b.name for b in asked]
        if twice := sorted({name for name in names if names.count(name) > 1}) or [b.name for b in asked if not b.axis]:
            raise InputError(
                f"Expected benchmarks with names of their own and an axis, found {', '.join(twice)}; rename them."
            )
        module.check(asked, settings)

    def models(self) -> tuple[str, ...]:
        """Models that score the rows and are not of the embedded world."""
        return tuple(name for name in (self.scorer, self.rater) if name and name not in models.SHAPES)


def _digest(*parts: object) -> str:
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
