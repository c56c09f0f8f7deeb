"""Families of pools: how a pool is made and scored, and what a model that was trained on it is asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from causalmix.core import progress
from causalmix.core.paths import cache_dir
from causalmix.core.tables import read_table, write_table
from causalmix.data import fingerprints, scores
from causalmix.data.named_models import load_model, load_rater, load_tokenizer
from causalmix.data.pools import hub, published_scores
from causalmix.data.recipes import LOADERS, Recipe, digest_of, read_recipe
from causalmix.data.tiny import longcot as tiny_longcot, models, pool as tiny_pool
from causalmix.data.tiny.shapes import DOMAINS
from causalmix.data.tiny.tasks import longcot_tasks, tiny_tasks
from causalmix.data.world_name import WorldName
from causalmix.lm import outcomes


@dataclass(frozen=True)
class Kind:
    """A family of pools: how one is made and scored, and what a model that was trained on it is asked."""

    make_pool: Callable[[int, int], Dataset]  # of rows and seed: ``row_id, domain, source, messages``
    score: Callable[[Sequence[Mapping]], pd.DataFrame]  # of a pool: its scores, one line a row
    tasks: Callable[[], tuple]  # each with ``name, axis, split``
    evaluate: Callable[[PreTrainedModel, PreTrainedTokenizerBase], dict[str, float]]  # accuracy in [0, 1] by task
    tokenizer: Callable[[], PreTrainedTokenizerBase] = models.world_tokenizer  # that lengths are told in
    domains: tuple[str, ...] | None = None  # in the order of every mixture; None where the rows say


def _embedded(make_pool: Callable, domains: tuple[str, ...], tasks: Callable, max_new_tokens: int) -> Kind:
    def evaluate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
        return outcomes.score_tasks(model, tokenizer, tasks(), max_new_tokens)

    def score(rows: Sequence[Mapping]) -> pd.DataFrame:
        return scores.score_rows(rows, models.load_base("proxy"), models.world_tokenizer(), models.world_rater())

    return Kind(make_pool, score, tasks, evaluate, domains=domains)


KINDS = {
    "tiny": _embedded(tiny_pool.make_pool, DOMAINS, tiny_tasks, 24),
    "longcot": _embedded(tiny_longcot.make_pool, tiny_longcot.DOMAINS, longcot_tasks, 96),
}


def real_kind(recipe: Recipe) -> Kind:
    """The family of one real pool."""
    evaluator, settings = recipe.evaluator

    def make_pool(rows: int, seed: int) -> Dataset:
        return LOADERS[recipe.loader](**recipe.options, max_rows=rows, seed=seed)

    def evaluate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
        asked = recipe.benchmarks()
        return evaluator.evaluate(model, tokenizer, asked, **settings) if asked else {}

    tokenizer = lambda: load_tokenizer(recipe.scorer)  # noqa: E731
    return Kind(make_pool, partial(_score_real, recipe), recipe.benchmarks, evaluate, tokenizer, recipe.domains or None)


def _score_real(recipe: Recipe, pool: Dataset) -> pd.DataFrame:
    """Published scores where rows are found there, computed ones elsewhere."""
    if not recipe.scores:
        return _computed(recipe, pool)
    found = published_scores.attach(pool, hub.open_rows(**recipe.scores))
    found = published_scores.complete(found, partial(_computed, recipe))
    return found.select_columns(list(scores.SCORES)).to_pandas()


def _computed(recipe: Recipe, rows: Dataset) -> pd.DataFrame:
    """Scores slab by slab, from the cache where they are known: hours of scoring are not lost with a machine."""
    loaded, parts, by = [], [], recipe.scored_by
    for slab in scores.slabs(rows.select_columns("messages")):
        part, tell = rows.select(slab), lambda done: progress.tell(slab.start + done, len(rows))
        path = cache_dir() / "scores" / f"{digest_of(fingerprints.of_rows(part), by, *scores.further())[:16]}.csv"
        if not path.exists():
            # Half precision as in the scorers' own configuration; a CPU, which has none to gain, scores in full.
            loaded = loaded or [*load_model(recipe.scorer, bf16=torch.cuda.is_available()), load_rater(recipe.rater)]
            write_table(path, scores.score_rows(part, *loaded, tell=tell))
        parts.append(read_table(path, list(scores.SCORES)))
    return pd.concat(parts, ignore_index=True)


def kind_of(world: str) -> Kind:
    """The family of pools of a world, by its name; InputError when a real pool is not in the cache."""
    name = WorldName.read(world)
    return KINDS[name.family] if name.family in KINDS else real_kind(read_recipe(name.digest)[0])
