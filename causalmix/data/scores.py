"""Scores of a training row: HES, Normalized_Loss and Writing_Style, as OpenDataArena's scorers (arXiv 2512.14051).

No chat template is applied: ``output`` is the last assistant turn (that is learnt, where turns have weights), and
``instruction`` all turns before it, joined by newlines (ours; how the scorers' authors do it is not published).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from causalmix.core import progress
from causalmix.core.errors import InputError

if TYPE_CHECKING:  # what computes scores takes seconds to load, and their names are asked for more often
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from causalmix.lm.raters import Rater

HES_QUANTILE = 99.5  # percentile_cutoff 0.005 of the HES scorer
HES_MAX_TOKENS = 4096
LOSS_MAX_TOKENS = 2048
SLAB = 2**26  # characters of rows that are scored at once: a large pool does not fit in memory as lists of tokens


def hes(entropies_bits: np.ndarray) -> float:
    """High-entropy sum of the entropies of next-token distributions at n completion tokens, shape (n,); all in bits.

    The sum of those at or above their 99.5th percentile: without ties ``floor(0.005 (n - 1)) + 1`` of them; 0 of none.
    Source: arXiv 2605.22389 as implemented in OpenDataArena.
    """
    values = np.asarray(entropies_bits, dtype=np.float64)
    if values.size == 0:
        return 0.0
    place = math.ceil((values.size - 1) * (HES_QUANTILE / 100))  # of the least that counts; np.percentile takes longer
    return float(values[values >= np.partition(values, place)[place]].sum())


def normalized_loss(nll_nats: np.ndarray) -> float:
    """Mean negative log-likelihood of every token after the first, shape (n,) in nats, as bits per token; 0 of none."""
    values = np.asarray(nll_nats, dtype=np.float64)
    return float(values.mean() / math.log(2)) if values.size else 0.0


class Reading(NamedTuple):
    """What the reference model and the rater make of some rows, before anything is trained."""

    pairs: Sequence[tuple[str, str]]  # instruction and output of each row
    entropies: Sequence[np.ndarray]  # in bits, at each token of the output
    losses: Sequence[np.ndarray]  # in nats, of every token after the first
    styles: np.ndarray  # logits


class Score(NamedTuple):
    """A score of rows: how it is computed, how a figure calls it, and its name among published scores."""

    of: Callable[[Reading], Sequence[float]]  # one value for each row
    label: str
    published: str | None = None


#: The covariates, in the order of every state's components.  A further one changes the identity of pools.
SCORES = {
    "hes": Score(lambda read: list(map(hes, read.entropies)), "HES (bits)", "HES"),
    "normalized_loss": Score(
        lambda read: list(map(normalized_loss, read.losses)), "Normalized_Loss (bits per token)", "Normalized_Loss"
    ),
    "writing_style": Score(lambda read: read.styles, "Writing_Style (log-odds)", "Writing_Style"),
}
PAPERS = tuple(SCORES)


def further() -> list[str]:
    """Names of scores beyond the paper's three: what a pool's identity has to name."""
    return [name for name in SCORES if name not in PAPERS]


def score_rows(
    rows: Sequence[Mapping[str, Any]], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rater: Rater,
    tell: Callable[[int], None] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Every score of each row (``messages``) by the reference model and the rater, one line a row, in order.

    ``tell`` is called with the rows that are done; by default whoever listens is told.
    """
    from causalmix.lm import reading

    tell = tell or (lambda done: progress.tell(done, len(rows)))
    pairs = [flatten(row["messages"]) for row in rows]
    encode = partial(reading.token_ids, tokenizer)
    joined = [ids[:HES_MAX_TOKENS] for ids in encode([instruction + output for instruction, output in pairs])]
    prompt_lengths = [len(ids) for ids in encode([instruction for instruction, _ in pairs])]
    lines = [f"{instruction}\n{output}" for instruction, output in pairs]
    whole = [ids[:LOSS_MAX_TOKENS] for ids in encode(lines)]
    done, total = 0, sum(map(len, joined)) + sum(map(len, whole))

    def seen(tokens: int) -> None:
        nonlocal done
        done += tokens
        tell(int(done / total * len(pairs)))

    read = Reading(
        pairs,
        reading.entropies(model, joined, prompt_lengths, seen),
        reading.losses(model, whole, seen),
        rater.score(lines),
    )
    return pd.DataFrame({name: score.of(read) for name, score in SCORES.items()})


def slabs(rows: Iterable[Mapping[str, Any]]) -> Iterator[range]:
    """Places of rows in parts of about :data:`SLAB` characters."""
    start = size = place = 0
    for place, row in enumerate(rows, 1):
        size += sum(len(turn["content"]) for turn in row["messages"])
        if size >= SLAB:
            yield range(start, place)
            start, size = place, 0
    if place > start:
        yield range(start, place)


def flatten(messages: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    """A conversation as (instruction, output); see the head of this module."""
    learnt = (i for i, turn in enumerate(messages) if turn["role"] == "assistant" and turn.get("weight") != 0)
    last = max(learnt, default=None)
    if last is None:
        raise InputError("Expected an assistant turn in every row, found a row without one; leave such rows out.")
    return "\n".join(turn["content"] for turn in messages[:last]), messages[last]["content"]
