"""Tasks of long chains of thought: reason freely, and be judged by the final answer."""

from __future__ import annotations

from functools import cache

import numpy as np

from causalmix.pools.tiny_items import reserved
from causalmix.pools.tiny_longcot import CLOSE, DOMAINS, thoughts
from causalmix.tasks import Task

ITEMS = 150


@cache
def longcot_tasks(seed: int = 7) -> tuple[Task, ...]:
    """Four tasks, judged by the final answer alone: Dev in the pool's lengths, Unseen one step longer."""
    return tuple(_task(domain, split, seed) for split in ("dev", "unseen") for domain in DOMAINS)


def _task(domain: str, split: str, seed: int) -> Task:
    rng, found = np.random.default_rng([seed, 90 + DOMAINS.index(domain), split == "dev"]), {}
    for prompt, _, answer in thoughts(domain, rng, longer=int(split == "unseen")):
        if reserved(prompt):
            found.setdefault(prompt, answer)
        if len(found) == ITEMS:
            break
    return Task(f"{domain}_{split}", domain, split, tuple(found), None, FinalAnswer(tuple(found.values())))


class FinalAnswer:
    """Judges what a text says after its reasoning; an answer without closed reasoning is wrong."""

    def __init__(self, golds: tuple[str, ...]) -> None:
        self.golds = golds

    def __call__(self, index: int, text: str) -> bool:
        _, closed, answer = text.rpartition(CLOSE)
        return bool(closed) and answer.split() == self.golds[index].split()
