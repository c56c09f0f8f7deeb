"""Scored pools: made or loaded once, kept in the cache, and named by their content."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset, load_from_disk
from transformers import PreTrainedTokenizerBase

from causalmix.core.errors import InputError
from causalmix.core.paths import cache_dir, write_whole
from causalmix.core.scratch import scratch_folder
from causalmix.core.sweep_files import one_word
from causalmix.core.wording import check_apart, counted
from causalmix.data import fingerprints, states
from causalmix.data.families import KINDS, Kind, kind_of, real_kind
from causalmix.data.named_models import is_own
from causalmix.data.pools import hub
from causalmix.data.recipes import REAL, Recipe, read_recipe, recipe_file
from causalmix.data.scores import SCORES, further
from causalmix.data.tiny import pool as tiny_pool
from causalmix.data.tiny.shapes import CHECKPOINTS
from causalmix.data.world_name import WorldName
from causalmix.lm import conversations
from causalmix.lm.tasks import SPLITS, Task

SCORE_DIGITS = 4  # decimals of a score, bits or log-odds
TOKENS = "tokens"
CONTENT = "content.sha256"
VALIDATION = "validation"  # rows of a real pool that are kept for losses by domain
VALIDATION_ROWS = 400  # of each domain, a tenth of it at most; half of them are Dev, the others Unseen


@contextmanager
def one_thread() -> Iterator[None]:
    """Arithmetic on one thread: sums come out the same on every number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class World:
    """A scored pool with its models and tasks; ``name`` identifies all of its content."""

    name: str
    pool: Dataset
    scored: states.ScoredPool
    folder: Path

    @property
    def kind(self) -> Kind:
        """How models that are trained on it are judged."""
        return kind_of(self.name)

    def tokens(self, model: str, tokenizer: PreTrainedTokenizerBase) -> Dataset:
        """The rows as a model's tokenizer writes them; kept in the cache."""
        whose = "" if is_own(model) else f"-{_short(fingerprints.by_content(model))}"
        folder = self.folder / f"{TOKENS}{whose}"
        if not folder.exists():
            _keep(folder, lambda scratch: _tokenize(self.pool, tokenizer, scratch))
        return load_from_disk(str(folder))

    def validation(self) -> Dataset | None:
        """Rows that no pool holds, for losses by domain, of a ``split`` each; None where the family has none."""
        if WorldName.read(self.name).family == "tiny":
            rows = tiny_pool.validation_rows()
            return rows.add_column("split", [SPLITS[0]] * len(rows))
        folder = self.folder / VALIDATION
        return load_from_disk(str(folder)) if folder.exists() else None


@cache
def load_world(pool_rows: int, pool_seed: int, kind: str = "tiny") -> World:
    """A pool of the embedded world: generated, and scored unless the cache holds that already."""
    family = KINDS[kind]
    pool = family.make_pool(pool_rows, pool_seed)
    digest = _content_digest(pool, family.tasks())
    folder = cache_dir() / f"{kind}-{digest}"
    if not folder.exists():
        _keep(folder, lambda scratch: _write(scratch, pool, family))
    return _load(WorldName(kind, pool_rows, pool_seed, digest), folder, family.domains)


def load_real(recipe: Recipe, pool_rows: int, pool_seed: int) -> World:
    """A real pool of so many rows at most (0 for all): loaded and scored once, then read from the cache."""
    folder = rows_folder(recipe, pool_rows, pool_seed)
    if not folder.exists():
        family = real_kind(recipe)
        pool = family.make_pool(pool_rows, pool_seed)
        if recipe.domains and set(recipe.domains) != set(pool.unique("domain")):
            raise InputError(
                f"Expected the domains {', '.join(recipe.domains)} in the rows, found "
                f"{', '.join(pool.unique('domain'))}; correct domains in the recipe, or map sources to them."
            )
        check_apart(pool.unique("domain"), ", or map sources to them")
        pool, validation = held_out(pool, pool_seed)

        def write(scratch: str) -> None:
            _write(scratch, pool, family)
            validation.save_to_disk(os.path.join(scratch, VALIDATION))
            Path(scratch, CONTENT).write_text(fingerprints.of_rows(pool))

        _keep(folder, write)
    # What a hub gives under one name may change, hence the rows themselves count too.
    identity = _short(f"{folder.name} {(folder / CONTENT).read_text()} {recipe.questions_digest}")
    # Anew each time: settings that are no part of the identity may have changed.
    write_whole(recipe_file(identity), json.dumps({"rows": folder.name, "recipe": asdict(recipe)}, indent=1))
    return _load(WorldName(REAL, pool_rows, pool_seed, identity), folder, recipe.domains or None)


def load_named(name: WorldName) -> World:
    """The world of that name; InputError when the package's is no longer the one that is named."""
    if name.family == REAL:
        recipe, folder = read_recipe(name.digest)  # by the name, whatever has become of the files that the recipe names
        return _load(name._replace(candidates=None), folder, recipe.domains or None)
    found = load_world(name.rows, name.seed, name.family)
    if WorldName.read(found.name).digest != name.digest:
        raise InputError(f"Expected the world {name.digest}, found {found.name}; check out the version of this run.")
    return found


def rows_folder(recipe: Recipe, pool_rows: int, pool_seed: int) -> Path:
    """Where the cache keeps the scored rows of a recipe."""
    return cache_dir() / f"{REAL}-rows-{_short(f'{recipe.rows_digest} {pool_rows} {pool_seed}')}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def _load(name: WorldName, folder: Path, domains: tuple[str, ...] | None) -> World:
    pool = load_from_disk(str(folder / "pool"))
    table = pool.select_columns(["domain", *SCORES]).to_pandas()
    domains = domains or tuple(dict.fromkeys(table["domain"]))
    return World(str(name), pool, states.ScoredPool.from_table(table, domains), folder)


def held_out(pool: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """A pool without a few rows of each domain, and these rows by split; copies of them leave the pool as well."""
    if taken := [name for name in pool.unique("domain") if f"_{one_word(name)}".endswith("_unseen")]:
        raise InputError(
            f"Expected no domain whose name ends in unseen, as outcomes on Unseen rows do, found {taken[0]!r}; map it "
            "to another name (--source-map)."
        )
    content = pd.Series([hash(json.dumps(messages)) for messages in pool["messages"]])
    domains = pd.Series(pool["domain"][:])[~content.duplicated()]
    rng, split = np.random.default_rng([seed, 13]), {}
    for _, rows in domains.groupby(domains, sort=False):
        taken = rng.choice(rows.index, min(VALIDATION_ROWS, len(rows) // 10), replace=False)
        split |= dict(zip(taken.tolist(), cycle(SPLITS)))
    kept, out = np.flatnonzero(~content.isin(content[list(split)])), sorted(split)
    n = len(pool) - len(kept)
    told = f"{counted(n, 'row is', 'rows are')} held out for losses by domain: no run trains on them." * bool(n)
    return hub.note(pool.select(kept), told), pool.select(out).add_column("split", [split[row] for row in out])


def _content_digest(pool: Dataset, tasks: tuple[Task, ...]) -> str:
    """Hash of everything that a run's outcome depends on besides its own spec."""
    digest = hashlib.sha256()
    for part in ("tokenizer", "proxy", "rater"):
        for path in sorted((CHECKPOINTS / part).iterdir()):
            digest.update(path.read_bytes())
    for column in ("domain", "messages"):
        digest.update(json.dumps(pool[column][:]).encode())
    for task in tasks:
        digest.update(json.dumps([task.name, task.prompts, task.golds]).encode())
    digest.update("".join(further()).encode())
    return digest.hexdigest()[:12]


@one_thread()
def _write(scratch: str, pool: Dataset, family: Kind) -> None:
    """Score a pool, and tokenise it for the family's own tokenizer."""
    table, tokens = family.score(pool), os.path.join(scratch, TOKENS)
    _tokenize(pool, family.tokenizer(), tokens)
    for name in SCORES:
        # Rounded, for the last digits of a float differ between machines and would change who is drawn.
        pool = pool.add_column(name, table[name].round(SCORE_DIGITS).tolist())
    pool = pool.add_column("n_tokens", [len(ids) for ids in load_from_disk(tokens)["input_ids"]])
    pool.save_to_disk(os.path.join(scratch, "pool"))
    if family not in KINDS.values():
        shutil.rmtree(tokens)  # of the scorer, which is not what is trained


def _tokenize(pool: Dataset, tokenizer: PreTrainedTokenizerBase, folder: str) -> None:
    with tempfile.TemporaryDirectory(dir=Path(folder).parent) as scratch:
        conversations.tokenize_all(pool, tokenizer, Path(scratch, "tokens.arrow")).save_to_disk(folder)


def _keep(folder: Path, write: Callable[[str], None]) -> None:
    """Write a folder of the cache, once: it appears when it is complete, and who comes meanwhile waits for it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f"{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return
        with scratch_folder(folder.parent) as scratch:
            made = os.path.join(scratch, "new")
            os.mkdir(made)
            write(made)
            try:
                os.rename(made, folder)
            except OSError:
                if not folder.exists():  # otherwise another machine was first, where locks do not reach
                    raise
