"""The embedded world's pool: rows of five domains whose difficulty, complexity and quality vary.

A share of each domain's rows is *spoiled*: the completion carries filler words and often a wrong
answer.  Style and correctness go together, as in scraped data, so a rater that only sees style
can tell which rows would teach the wrong thing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from datasets import Dataset
from sklearn.metrics import roc_auc_score

from causalmix.core.errors import InputError
from causalmix.core.simplex import to_counts
from causalmix.data.tiny.items import DOMAINS, GENERATORS, Item, reserved

#: Share of each domain in the pool: uneven, as collected data is.
POOL_SHARE = {"coding": 0.2, "instruction": 0.2, "math": 0.25, "knowledge": 0.2, "safety": 0.15}

#: Share of spoiled rows in each domain of the pool, and how often a spoiled row's answer is wrong.
#: They differ between domains so that a state changes what one domain teaches more than what another does.
SPOILED_SHARE = {"coding": 0.25, "instruction": 0.35, "math": 0.5, "knowledge": 0.35, "safety": 0.6}
WRONG_SHARE = {"coding": 0.4, "instruction": 0.2, "math": 0.95, "knowledge": 0.95, "safety": 0.95}
FILLERS = ("lol", "umm", "idk", "well", "pff", "hmm", "yo", "meh")


def spoil(item: Item, rng: np.random.Generator, wrong_share: float) -> str:
    """A sloppy completion for an item: fillers around an answer that is often wrong."""
    answer = item.wrong if rng.random() < wrong_share else item.answer
    filler = lambda: " ".join(rng.choice(FILLERS, int(rng.integers(1, 3))))  # noqa: E731
    where = rng.random()
    if where < 0.4:
        return f"{filler()} {answer}"
    return f"{answer} {filler()}" if where < 0.8 else f"{filler()} {answer} {filler()}"


def make_pool(n_rows: int = 40_000, seed: int = 0) -> Dataset:
    """A pool of at least 100 rows, divided over the domains by :data:`POOL_SHARE`; the seed determines every row.

    Columns ``row_id, domain, source, messages`` and, for those who check the scores, ``level`` (difficulty in
    [0, 1]) and ``spoiled``; no method reads these two.
    """
    if n_rows < 100:
        raise InputError(f"Expected a pool of at least 100 rows, found {n_rows}; raise n_rows.")
    rows, counts = [], to_counts([POOL_SHARE[d] for d in DOMAINS], n_rows)
    for index, domain in enumerate(DOMAINS):
        rng = np.random.default_rng([seed, index])
        rows.extend(_row(domain, i, item, rng) for i, item in zip(range(counts[index]), unreserved(domain, rng)))
    return Dataset.from_list(rows)


def validation_rows(per_domain: int = 60, seed: int = 0) -> Dataset:
    """Clean rows (``domain, messages``) of every domain with reserved prompts, which no pool holds.

    Methods that mix by loss measure it there.
    """
    rows = []
    for index, domain in enumerate(DOMAINS):
        items = (i for i in GENERATORS[domain](np.random.default_rng([seed, 50 + index])) if reserved(i.prompt))
        rows += [
            {"domain": domain, "messages": _messages(i.prompt, i.answer)} for _, i in zip(range(per_domain), items)
        ]
    return Dataset.from_list(rows)


def unreserved(axis: str, rng: np.random.Generator, **settings) -> Iterator[Item]:
    """Items of an axis whose prompts the tasks do not claim."""
    return (item for item in GENERATORS[axis](rng, **settings) if not reserved(item.prompt))


def _row(domain: str, index: int, item: Item, rng: np.random.Generator) -> dict:
    spoiled = bool(rng.random() < SPOILED_SHARE[domain])
    completion = spoil(item, rng, WRONG_SHARE[domain]) if spoiled else item.answer
    return {
        "row_id": f"{domain}-{index:06d}",
        "domain": domain,
        "source": item.kind,
        "messages": _messages(item.prompt, completion),
        "level": float(item.level),
        "spoiled": spoiled,
    }


def _messages(prompt: str, completion: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]


def what_scores_see(table: pd.DataFrame) -> pd.DataFrame:
    """Hold the scores of a tiny pool against how its rows were made.

    Parameters
    ----------
    table : DataFrame
        A scored tiny pool with ``domain, source, level, spoiled`` and the three scores.

    Returns
    -------
    DataFrame
        Per domain: the share of spoiled rows, the probability that a clean row outranks a spoiled
        one in Writing_Style (area under the ROC curve; 0.5 is blind), and the rank correlation of
        Normalized_Loss and of HES with the rows' difficulty.
    """
    rows = []
    for domain, part in table.groupby("domain", sort=False):
        rows.append(
            {
                "domain": domain,
                "spoiled_share": part["spoiled"].mean(),
                "style_auc": roc_auc_score(~part["spoiled"], part["writing_style"]),
                "loss_level_rank_correlation": part["normalized_loss"].corr(part["level"], method="spearman"),
                "hes_level_rank_correlation": part["hes"].corr(part["level"], method="spearman"),
            }
        )
    return pd.DataFrame(rows)
