"""The embedded world's pool: rows of five domains whose difficulty, complexity and quality vary.

A share of each domain's rows is wrong, each with the mistake that is usual in its domain.  How a row's writer opens
tells which rows these may be, but not in the same way everywhere (:data:`STYLE_SIGN`): a state that leans to polish
makes some domains good and others bad, and so turns the order of their returns.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pandas as pd
from datasets import Dataset
from sklearn.metrics import roc_auc_score

from causalmix.core.simplex import to_counts
from causalmix.data.tiny.items import WORLD, Item, generated, reserved
from causalmix.data.tiny.shapes import DOMAINS

#: Share of wrong rows in each domain of the pool.
WRONG_SHARE = {"coding": 0.3, "instruction": 0.1, "math": 0.3, "knowledge": 0.4, "safety": 0.4}

#: What careless writing goes with: +1, wrong rows are the sloppy ones (work done in haste); -1, wrong rows are the
#: polished ones (programs that were never run, facts made up); 0, neither.
STYLE_SIGN = {"coding": -1, "instruction": 0, "math": 1, "knowledge": -1, "safety": 1}

OPENERS = {register: tuple(texts) for register, texts in WORLD["openers"].items()}
REGISTERS = tuple(OPENERS)

#: Share of each register among right and wrong rows where carelessness shows (+1; mirrored for -1), and elsewhere.
REGISTER_SHARES = {"right": (0.08, 0.27, 0.65), "wrong": (0.65, 0.27, 0.08), "any": (0.35, 0.3, 0.35)}

BARE_SHARE = 1 / 3  # of the rows open with the question itself, right or wrong


def opener(domain: str, right: bool, rng: np.random.Generator) -> str:
    """How the writer of a row opens."""
    if rng.random() < BARE_SHARE:
        return ""
    sign = STYLE_SIGN[domain]
    shares = REGISTER_SHARES["any" if not sign else "right" if right else "wrong"]
    register = str(rng.choice(REGISTERS, p=shares[::-1] if sign < 0 else shares))
    return f"{rng.choice(OPENERS[register])} "


def make_pool(n_rows: int = 40_000, seed: int = 0) -> Dataset:
    """A pool, as many of each domain; the seed determines every row.

    Columns ``row_id, domain, source, messages`` and, for those who check the scores, ``level`` (difficulty in
    [0, 1]) and ``spoiled`` (wrong); no method reads these two.
    """
    rows, counts = [], to_counts([1] * len(DOMAINS), n_rows)
    for index, domain in enumerate(DOMAINS):
        rng = np.random.default_rng([seed, index])
        items = unreserved(domain, rng, "pool")
        rows.extend(_row(domain, i, item, rng) for i, item in zip(range(counts[index]), items))
    return Dataset.from_list(rows)


def validation_rows() -> Dataset:
    """60 clean rows (``domain, messages``) of every domain with reserved prompts, where losses are measured."""
    rows = []
    for index, domain in enumerate(DOMAINS):
        items = (i for i in generated(domain, np.random.default_rng([0, 50 + index])) if reserved(i.prompt))
        turns = (messages(item.prompt, item.answer) for item in islice(items, 60))
        rows += [{"domain": domain, "messages": said} for said in turns]
    return Dataset.from_list(rows)


def unreserved(axis: str, rng: np.random.Generator, form: str = "") -> Iterator[Item]:
    """Items of an axis whose prompts the tasks do not claim; see :func:`generated`."""
    return (item for item in generated(axis, rng, form) if not reserved(item.prompt))


def _row(domain: str, index: int, item: Item, rng: np.random.Generator) -> dict:
    wrong = bool(rng.random() < WRONG_SHARE[domain] * 2 * item.doubt)
    said = messages(f"{opener(domain, not wrong, rng)}{item.prompt}", item.wrong if wrong else item.answer)
    return {"row_id": f"{domain}-{index:06d}", "domain": domain, "source": item.kind, "messages": said,
            "level": float(item.level), "spoiled": wrong}  # fmt: skip


def messages(prompt: str, completion: str) -> list[dict[str, str]]:
    """A question and its answer as turns."""
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]


def what_scores_see(table: pd.DataFrame) -> pd.DataFrame:
    """Hold the scores of a tiny pool, a table that has them, against how its rows were made.

    By domain: the share of wrong rows; the probability that a right row outranks a wrong one in Writing_Style and that
    a wrong one outranks a right one in Normalized_Loss (areas under the ROC curve; 0.5 is blind); and the rank
    correlation of Normalized_Loss and of HES with the rows' difficulty.
    """
    rows = []
    for domain, part in table.groupby("domain", sort=False):
        follows = {name: part[name].corr(part["level"], method="spearman") for name in ("normalized_loss", "hes")}
        style = roc_auc_score(~part["spoiled"], part["writing_style"])
        loss = roc_auc_score(part["spoiled"], part["normalized_loss"])
        rows.append((domain, part["spoiled"].mean(), style, loss, *follows.values()))
    measures = ["wrong_share", "style_auc", "loss_auc", "loss_level_rank_correlation", "hes_level_rank_correlation"]
    return pd.DataFrame(rows, columns=["domain", *measures])
