"""Published scores of rows: OpenDataArena/OpenDataArena-scored-data-2603.

Rows are found by their text, flattened by :func:`causalmix.data.scores.flatten`; others are computed, which has to be
by the same models (:func:`check_scorers`).  ``raw_scores`` are read: ``processed_scores`` are on an unknown scale.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
import pandas as pd
from datasets import Dataset, Features, Value, concatenate_datasets

from causalmix.core.errors import InputError
from causalmix.data.pools import hub
from causalmix.data.scores import SCORES, flatten

#: The models behind them, as in the configuration of OpenDataArena's scorers.
SCORER, RATER = "Qwen/Qwen3-8B", "princeton-nlp/QuRater-1.3B"

#: Tags around the parts of a long answer, with or without which the same text may be kept.
_TAGS = re.compile(r"</?(?:think|answer)>")


def check_scorers(scorer: str, rater: str) -> None:
    """Refuse to mix published scores with those of other models, by the last part of their names or folders."""
    for given, theirs in ((scorer, SCORER), (rater, RATER)):
        if given.rstrip("/").rpartition("/")[2] != theirs.rpartition("/")[2]:
            raise InputError(
                f"Expected {theirs} beside published scores, which it made, found {given or 'the rater that ships'}; "
                "name it, or leave out the published scores, for scores of two models do not compare."
            )


def attach(pool: Dataset, scored_rows: Dataset) -> Dataset:
    """The rows of a pool (``messages``) with their published scores, all of them null where the text is not found.

    ``scored_rows`` have ``instruction``, ``output`` and the struct ``raw_scores``; of rows with the same text, compared
    without white space and the tags think and answer, the first with all scores counts.
    """
    _check_schema(scored_rows)
    published = _mapped(scored_rows.select_columns(["instruction", "output", "raw_scores"]), _published, list(SCORES))
    published = published.dropna().drop_duplicates("key").set_index("key")
    key_of = lambda batch: {"key": [_key(*flatten(messages)) for messages in batch["messages"]]}  # noqa: E731
    keys = _mapped(pool.select_columns(["messages"]), key_of)["key"]
    return _with_scores(pool, published.reindex(keys))


def complete(found: Dataset, compute: Callable[[Dataset], pd.DataFrame]) -> Dataset:
    """Compute every score of those rows that lack one; ``info.description`` tells how many."""
    names = list(SCORES)
    table = found.select_columns(names).to_pandas()
    missing = np.flatnonzero(table.isna().any(axis=1))
    if len(missing):
        table.iloc[missing] = compute(found.select(missing))[names].to_numpy(float)
    told = f"Scores of {len(table) - len(missing):,} of {len(table):,} rows are published ones, the others computed."
    return hub.note(_with_scores(found.remove_columns(names), table), told)


def _check_schema(rows: Dataset) -> None:
    columns, found = set(rows.column_names), ", ".join(rows.column_names)
    if missing := {"instruction", "output", "raw_scores"} - columns:
        raise InputError(f"Expected {', '.join(sorted(missing))} in published scores, found {found}; use release 2603.")
    metrics, wanted = rows.features["raw_scores"], {s.published for s in SCORES.values()} - {None}
    if not isinstance(metrics, Mapping) or (wanted := wanted - {*metrics}):
        kind = getattr(metrics, "dtype", metrics)
        found = ", ".join(metrics) if isinstance(metrics, Mapping) else f"values of the type {kind}"
        raise InputError(f"Expected {', '.join(sorted(wanted))} in raw_scores, found {found}; use release 2603.")


def _mapped(rows: Dataset, function: Callable, scores: Sequence[str] = ()) -> pd.DataFrame:
    """The key of each row, and scores where the function gives them."""
    features = Features({"key": Value("int64")} | {name: Value("float64") for name in scores})
    return rows.map(
        function, batched=True, remove_columns=rows.column_names, features=features, desc="Comparing texts",
        load_from_cache_file=False,  # the cache does not notice that this module has changed
    ).to_pandas()  # fmt: skip


def _published(batch: Mapping[str, list]) -> dict[str, list]:
    raw = [scores or {} for scores in batch["raw_scores"]]
    scores = {name: [given.get(score.published) for given in raw] for name, score in SCORES.items()}
    return {"key": [_key(*texts) for texts in zip(batch["instruction"], batch["output"])]} | scores


def _key(instruction: str | None, output: str | None) -> int:
    """64 bits of a row's text: two different texts among a million meet in fewer than one of ten million pools."""
    text = "".join(_TAGS.sub("", f"{instruction or ''}\n{output or ''}").split())
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=8).digest(), signed=True)


def _with_scores(pool: Dataset, table: pd.DataFrame) -> Dataset:
    return concatenate_datasets(
        [pool, Dataset.from_pandas(table[list(SCORES)].astype(float), preserve_index=False)], axis=1
    )
