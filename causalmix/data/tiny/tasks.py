"""Tasks of the embedded world: six axes, each with a Dev and an Unseen task.

Dev tasks ask in the pool's own forms, Unseen tasks in forms that are rare or absent there (another operation, more
terms, an unknown phrase, two demands at once).  Every prompt is a reserved one, so none occurs in a pool.
"""

import zlib
from collections.abc import Iterable
from functools import cache
from itertools import islice
from typing import Any

import numpy as np

from causalmix.data.tiny.items import generated, obeys, reserved
from causalmix.data.tiny.longcot import CLOSE, DOMAINS, thoughts
from causalmix.data.tiny.pool import OPENERS
from causalmix.data.tiny.shapes import AXES
from causalmix.lm.tasks import Task

SEED = 7
ITEMS = {"dev": 200, "unseen": 80}
LONGCOT_ITEMS = 150
PATIENCE = 60  # draws per wanted item before a form counts as exhausted


def opened(prompt: str) -> str:
    """Every other question opens in the neutral register; a prompt always in the same way."""
    code = zlib.crc32(f"opened {prompt}".encode())
    neutral = OPENERS["neutral"]
    return f"{neutral[code // 2 % len(neutral)]} {prompt}" if code % 2 else prompt


@cache
def tiny_tasks() -> tuple[Task, ...]:
    """All tasks: 200 Dev and 80 Unseen prompts an axis, fewer where a form holds fewer prompts."""
    return tuple(_task(axis, split) for split in ITEMS for axis in AXES)


def _task(axis: str, split: str) -> Task:
    rng = np.random.default_rng([SEED, AXES.index(axis), split == "dev"])
    drawn = islice(generated(axis, rng, split), PATIENCE * ITEMS[split])
    found = _reserved(((item.prompt, item) for item in drawn), ITEMS[split])
    items = tuple(found.values())
    prompts = tuple(map(opened, found))
    if items[0].rule:
        return Task(f"{axis}_{split}", axis, split, prompts, check=lambda i, text: obeys(items[i].rule, text))
    return Task(f"{axis}_{split}", axis, split, prompts, tuple(item.answer for item in items))


def _reserved(drawn: Iterable[tuple[str, Any]], wanted: int) -> dict[str, Any]:
    """The first so many different reserved prompts, each with what came with it."""
    found: dict[str, Any] = {}
    for prompt, rest in drawn:
        if reserved(prompt):
            found.setdefault(prompt, rest)
        if len(found) == wanted:
            break
    return found


@cache
def longcot_tasks() -> tuple[Task, ...]:
    """Four tasks, judged by the final answer alone: Dev in the pool's lengths, Unseen one step longer."""
    return tuple(_longcot_task(domain, split) for split in ITEMS for domain in DOMAINS)


def _longcot_task(domain: str, split: str) -> Task:
    rng = np.random.default_rng([SEED, 90 + DOMAINS.index(domain), split == "dev"])
    drawn = ((prompt, answer) for prompt, _, answer in thoughts(domain, rng, longer=int(split == "unseen")))
    found = _reserved(drawn, LONGCOT_ITEMS)
    golds = tuple(found.values())
    return Task(f"{domain}_{split}", domain, split, tuple(found), check=lambda i, text: ends_with(golds[i], text))


def ends_with(gold: str, text: str) -> bool:
    """Whether a text says the right answer after its reasoning; one without closed reasoning is wrong."""
    _, closed, answer = text.rpartition(CLOSE)
    return bool(closed) and answer.split() == gold.split()
