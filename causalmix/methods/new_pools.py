"""A pool that is new to a sweep: found by what a user calls it, loaded, and scored once."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from datasets import Dataset

from causalmix.core.errors import InputError
from causalmix.core.parameters import check_name
from causalmix.core.paths import cache_dir
from causalmix.core.tables import read_table, write_table
from causalmix.core.yaml_file import read_yaml
from causalmix.data import fingerprints
from causalmix.data.named_models import require_model
from causalmix.data.pools import local, published_scores
from causalmix.data.recipes import Recipe
from causalmix.data.scores import SCORES
from causalmix.lm.available import available
from causalmix.methods.refusals import renames
from causalmix.methods.request import OF_ROWS, Request, read_as
from causalmix.train.design import Design, world_for

POOL_SEED = 0  # which rows max_rows takes: another seed must draw another sample, not score another pool


@dataclass(frozen=True)
class Source:
    """A pool that is not loaded yet."""

    name: str
    recipe: Recipe | None = None  # None is the embedded world
    design: Design | None = None  # of a study's pool, which has a place of its own in the cache; None for a user's
    max_rows: int = 0  # of a user's pool
    renamed: Mapping[str, str] = field(default_factory=dict)  # new names of domains

    def load(self, covariates: tuple[str, ...] = ()) -> Dataset:
        """The rows, not scored; a user's file that has all the covariates as columns gives these as well."""
        rows, seed = (self.design.pool_rows, self.design.pool_seed) if self.design else (self.max_rows, POOL_SEED)
        if self.recipe is not None and self.recipe.loader == "local":
            return self._named(local.load_pool(**self.recipe.options, max_rows=rows, seed=seed, covariates=covariates))
        from causalmix.data.families import KINDS, real_kind

        return self._named((real_kind(self.recipe) if self.recipe else KINDS["tiny"]).make_pool(rows, seed))

    def _named(self, pool: Dataset) -> Dataset:
        """The rows, their domains under new names; InputError for a domain that there is none of."""
        names = list(map(str, pool["domain"][:])) if self.renamed else []
        for old in self.renamed:
            check_name(old, sorted(set(names)), "domain of the pool")
        new = [self.renamed.get(name, name) for name in names]
        return pool.remove_columns("domain").add_column("domain", new) if new else pool

    @property
    def place(self) -> Path | None:
        """Where its rows lie, if they are a user's own."""
        return Path(self.recipe.options["path"]) if self.recipe and self.recipe.loader == "local" else None

    @property
    def models(self) -> dict[str, str]:
        """Names of the models that score it; an empty name is the rater that ships."""
        recipe = self.recipe or Recipe("local")  # the embedded world is scored by a recipe's defaults
        return {"scorer": recipe.scorer, "rater": recipe.rater}

    @property
    def identities(self) -> dict[str, dict[str, str]]:
        """Name and SHA-256 of each model that scores it, by its role."""
        return {role: fingerprints.of_model(role, name) for role, name in self.models.items()}

    def require(self) -> None:
        """Raise InputError unless what scores it can be had."""
        require_model(self.models["scorer"])
        if rater := self.models["rater"]:
            available(rater, "model")
        if self.recipe and self.recipe.scores:
            published_scores.check_scorers(self.recipe.scorer, self.recipe.rater)
            available(self.recipe.scores["path"], "dataset")

    def scored(self, pool: Dataset) -> Dataset:
        """The rows with scores, by content from the cache; a study's pool lacks the rows that it holds out."""
        if self.design:
            return self._named(world_for(self.design).pool)
        known = json.dumps([fingerprints.of_rows(pool), self.recipe.scored_by, self.recipe.scores], sort_keys=True)
        path = cache_dir() / f"scores-{hashlib.sha256(known.encode()).hexdigest()[:16]}.csv"
        if not path.exists():
            from causalmix.data import scored_pools
            from causalmix.data.families import real_kind

            with scored_pools.one_thread():
                write_table(path, real_kind(self.recipe).score(pool)[list(SCORES)].round(scored_pools.SCORE_DIGITS))
        pool = pool.remove_columns([name for name in SCORES if name in pool.column_names])
        for name, values in read_table(path, list(SCORES))[list(SCORES)].items():
            pool = pool.add_column(name, values.tolist())
        return pool


def find_source(request: Request) -> Source:
    """The pool that is meant: a path of rows, a recipe or a study as a YAML file, the name of a study, or ``tiny``."""
    return replace(_found(request), renamed=renames(request.pool_map or (), "--pool-map"))


def _found(request: Request) -> Source:
    path = Path(request.pool)
    models = {name: value for name in ("scorer", "rater") if (value := getattr(request, name))}
    given = read_as(request)
    if path.exists() and path.suffix not in (".yaml", ".yml"):
        return Source(path.name, Recipe("local", {"path": str(path)} | given, **models), max_rows=request.max_rows)
    own = models | {name: given[called] for name, called in OF_ROWS.items() if called in given}
    described = read_yaml(path, "a pool's recipe or a study") if path.exists() else {}
    if not path.exists() or isinstance(described.get("parameters"), dict):
        design = Design() if request.pool == "tiny" else Design.of_study(request.pool)
        source = Source(path.stem, Recipe.of(design.pool) if design.pool else None, design)
    elif "loader" in described:
        source = Source(path.stem, Recipe.of(described), max_rows=request.max_rows)
    else:
        raise InputError(
            f"Expected a recipe's loader or a study's parameters in {path.name}, found neither; correct it."
        )
    if source.design and request.max_rows:
        own["max_rows"] = str(request.max_rows)
    if own:
        given = f"Expected {', '.join(own)} only with a path of rows, found it with {request.pool}"
        raise InputError(f"{given}; say it where that pool is described.")
    return source
