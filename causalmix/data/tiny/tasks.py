"""Tasks of the embedded world: six axes, each with a Dev and an Unseen task.

Dev tasks ask in the pool's own forms, Unseen tasks in forms that are rare or absent there (another
operation, more terms, an unknown phrase, two demands at once).  Every prompt is a reserved one, so none
occurs in a pool.
"""

from __future__ import annotations

import zlib
from functools import cache, partial

import numpy as np

from causalmix.data.tiny.items import AXES, GENERATORS, obeys, reserved
from causalmix.data.tiny.longcot import CLOSE, DOMAINS, thoughts
from causalmix.data.tiny.pool import OPENERS
from causalmix.lm.tasks import Task

#: What changes in the Unseen form of each axis (arguments of its generator).
UNSEEN = {
    "coding": {"lengths": (6,)},
    "instruction": {"verbs": ("mention",)},
    "math": {"verb": "find"},
    "knowledge": {"phrases": (4,), "known": True},
    "safety": {"phrases": (3,)},
    "reasoning": {"kinds": ("fall",)},
}

#: Likewise, of the Dev form where it is not the generator's own.
DEV = {
    "coding": {"rare": 0.5, "operations": ("sorted", "reversed", "max", "range", "next")},
    "instruction": {"kinds": ("list", "repeat", "capitals", "capitals")},
    "math": {"hard": 0.8},
    "knowledge": {"known": True},
    "reasoning": {"kinds": ("rise", "larger")},
}

ITEMS = {"dev": 200, "unseen": 80}
PATIENCE = 60  # draws per wanted item before a form counts as exhausted


def opened(prompt: str) -> str:
    """Every other question opens in the neutral register; a prompt always in the same way."""
    code = zlib.crc32(f"opened {prompt}".encode())
    neutral = OPENERS["neutral"]
    return f"{neutral[code // 2 % len(neutral)]} {prompt}" if code % 2 else prompt


@cache
def tiny_tasks(seed: int = 7) -> tuple[Task, ...]:
    """All tasks: 200 Dev and 80 Unseen prompts an axis, fewer where a form holds fewer prompts."""
    return tuple(_task(axis, split, seed) for split in ITEMS for axis in AXES)


def _task(axis: str, split: str, seed: int) -> Task:
    settings = DEV.get(axis, {}) if split == "dev" else UNSEEN[axis]
    rng = np.random.default_rng([seed, AXES.index(axis), split == "dev"])
    wanted, found = ITEMS[split], {}
    for _, item in zip(range(PATIENCE * wanted), GENERATORS[axis](rng, **settings)):
        if reserved(item.prompt):
            found.setdefault(opened(item.prompt), item)
        if len(found) == wanted:
            break
    items = tuple(found.values())
    if items[0].rule:
        check = partial(_obeys_item, tuple(item.rule for item in items))
        return Task(f"{axis}_{split}", axis, split, tuple(found), None, check)
    return Task(f"{axis}_{split}", axis, split, tuple(found), tuple(item.answer for item in items), None)


def _obeys_item(rules: tuple[tuple[str, ...], ...], index: int, text: str) -> bool:
    return obeys(rules[index], text)


LONGCOT_ITEMS = 150


@cache
def longcot_tasks(seed: int = 7) -> tuple[Task, ...]:
    """Four tasks, judged by the final answer alone: Dev in the pool's lengths, Unseen one step longer."""
    return tuple(_longcot_task(domain, split, seed) for split in ("dev", "unseen") for domain in DOMAINS)


def _longcot_task(domain: str, split: str, seed: int) -> Task:
    rng, found = np.random.default_rng([seed, 90 + DOMAINS.index(domain), split == "dev"]), {}
    for prompt, _, answer in thoughts(domain, rng, longer=int(split == "unseen")):
        if reserved(prompt):
            found.setdefault(prompt, answer)
        if len(found) == LONGCOT_ITEMS:
            break
    return Task(f"{domain}_{split}", domain, split, tuple(found), None, FinalAnswer(tuple(found.values())))


class FinalAnswer:
    """Judges what a text says after its reasoning; an answer without closed reasoning is wrong."""

    def __init__(self, golds: tuple[str, ...]) -> None:
        self.golds = golds

    def __call__(self, index: int, text: str) -> bool:
        _, closed, answer = text.rpartition(CLOSE)
        return bool(closed) and answer.split() == self.golds[index].split()
