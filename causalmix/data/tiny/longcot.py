"""The embedded world's pool for long chains of thought: math and coding with worked reasoning in think tags.

Longer sums and lists than the first pool has, each solved step by step before the answer is
given.  As there, some rows are spoiled or careless, so that the three scores vary.
"""

from collections.abc import Iterator

import numpy as np
from datasets import Dataset

from causalmix.data.tiny.items import reserved, spaced, worked_steps
from causalmix.data.tiny.pool import messages

DOMAINS = ("math", "coding")
SPOILED_SHARE, CARELESS_SHARE = 0.2, 0.2
FILLERS = ("lol", "umm", "idk", "well", "pff", "hmm", "yo", "meh")
CLOSE = "</think>"


def thoughts(domain: str, rng: np.random.Generator, longer: int = 0) -> Iterator[tuple[str, str, str]]:
    """Endless prompts, of so many terms more than the pool's, the reasoning that solves each, and the final answer."""
    while True:
        count = int(rng.integers(3, 6)) + longer
        if domain == "math":
            terms = [int(v) for v in rng.integers(1, 10, count) * rng.choice([-1, 1], count)]
            terms[0] = abs(terms[0])
            expression = " ".join([str(terms[0]), *(f"{'-' if t < 0 else '+'} {abs(t)}" for t in terms[1:])])
            yield f"think and compute {expression}", worked_steps(terms), str(sum(terms))
        else:
            numbers = [int(v) for v in rng.integers(0, 10, count)]
            yield f"think and print sorted [ {spaced(numbers)} ]", _selection(numbers), spaced(sorted(numbers))


def _selection(numbers: list[int]) -> str:
    """Selection sort in words: the smallest number and what is left, again and again."""
    left, steps = list(numbers), []
    while len(left) > 1:
        least = min(left)
        left.remove(least)
        steps.append(f"min {least} left {spaced(left)}")
    return " ; ".join(steps)


def make_pool(n_rows: int = 12_000, seed: int = 0) -> Dataset:
    """A pool, half math and half coding; the seed determines every row.

    Columns ``row_id, domain, source, messages, spoiled, careless``.
    """
    rows = []
    for index, domain in enumerate(DOMAINS):
        rng = np.random.default_rng([seed, 80 + index])
        free = (item for item in thoughts(domain, rng) if not reserved(item[0]))
        rows += [_row(domain, i, item, rng) for i, item in zip(range(n_rows // 2), free)]
    return Dataset.from_list(rows)


def _row(domain: str, number: int, item: tuple[str, str, str], rng: np.random.Generator) -> dict:
    prompt, reasoning, answer = item
    spoiled, careless = bool(rng.random() < SPOILED_SHARE), bool(rng.random() < CARELESS_SHARE)
    if careless:  # gives up the chain half-way and answers what stands there
        reasoning = " ; ".join(reasoning.split(" ; ")[:1])
        answer = reasoning.split()[-1]
    if spoiled:
        answer = f"{answer} {rng.choice(FILLERS)}"
    said = messages(prompt, f"<think> {reasoning} {CLOSE} {answer}")
    return {"row_id": f"longcot-{domain}-{number:06d}", "domain": domain, "source": f"{domain}_thoughts",
            "messages": said, "spoiled": spoiled, "careless": careless}  # fmt: skip
