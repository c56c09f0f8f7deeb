"""Scores of a training row: HES, Normalized_Loss and Writing_Style, as OpenDataArena's scorers (arXiv 2512.14051).

No chat template is applied: ``output`` is the last assistant turn (that is learnt, where turns have weights), and
``instruction`` all turns before it, joined by newlines (ours; how the scorers' authors do it is not published).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from causalmix.core import progress
from causalmix.core.errors import InputError
from causalmix.lm.losses import batches, logits_of
from causalmix.lm.raters import Rater

HES_QUANTILE = 99.5  # percentile_cutoff 0.005 of the HES scorer
HES_MAX_TOKENS = 4096
LOSS_MAX_TOKENS = 2048

#: Logits held at once, whatever the vocabulary: 4 MB in fp32 for a CPU's cache, 1 GB on a GPU.
SCORING_LOGITS = {"cpu": 2**20, "cuda": 2**28}
BATCH_TOKENS = {"cpu": 1024, "cuda": 2**15}  # in one forward pass, padding included
SLAB = 2**26  # characters that are tokenised at once: a pool of a million rows does not fit in memory as lists


def hes(entropies_bits: np.ndarray) -> float:
    """High-entropy sum of the entropies of next-token distributions at n completion tokens, shape (n,); all in bits.

    The sum of those at or above their 99.5th percentile: without ties ``floor(0.005 (n - 1)) + 1`` of them; 0 of none.
    Source: arXiv 2605.22389 as implemented in OpenDataArena.
    """
    values = np.asarray(entropies_bits, dtype=np.float64)
    if values.size == 0:
        return 0.0
    return float(values[values >= np.percentile(values, HES_QUANTILE)].sum())


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
    batch_tokens: int | None = None, tell: Callable[[int], None] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Every score of each row (``messages``) by the reference model and the rater, one line a row, in order.

    ``batch_tokens`` (padding included) bounds a forward pass; by default what suits a CPU's cache, or a GPU.
    ``tell`` is called with the rows that are done; by default whoever listens is told.
    """
    tell = tell or (lambda done: progress.tell(done, len(rows)))
    batch_tokens = batch_tokens or BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cuda"])
    slabs = _slabs(flatten(row["messages"]) for row in rows)
    parts: list[pd.DataFrame] = []
    for pairs in slabs:
        before = sum(map(len, parts))
        heard = lambda share: tell(before + int(share * len(pairs)))  # noqa: E731
        parts.append(_score_pairs(pairs, model, tokenizer, rater, batch_tokens, heard))
    return pd.concat(parts, ignore_index=True)


def _slabs(pairs: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Pairs in lists of about :data:`SLAB` characters."""
    slab, size = [], 0
    for pair in pairs:
        slab.append(pair)
        size += len(pair[0]) + len(pair[1])
        if size >= SLAB:
            yield slab
            slab, size = [], 0
    if slab:
        yield slab


def _score_pairs(
    pairs: Sequence[tuple[str, str]], model, tokenizer, rater: Rater, batch_tokens: int, heard: Callable[[float], None]
) -> pd.DataFrame:
    """Scores of (instruction, output) pairs; ``heard`` is told the share of the tokens that were read."""
    encode = lambda texts: tokenizer(texts, add_special_tokens=False)["input_ids"]  # noqa: E731
    joined = [ids[:HES_MAX_TOKENS] for ids in encode([instruction + output for instruction, output in pairs])]
    prompt_lengths = [len(ids) for ids in encode([instruction for instruction, _ in pairs])]
    lines = [f"{instruction}\n{output}" for instruction, output in pairs]
    whole = [ids[:LOSS_MAX_TOKENS] for ids in encode(lines)]
    done, total = 0, sum(map(len, joined)) + sum(map(len, whole))

    def seen(tokens: int) -> None:
        nonlocal done
        done += tokens
        heard(done / total)

    read = Reading(
        pairs,
        _per_token(model, joined, prompt_lengths, _entropy_bits, batch_tokens, seen),
        _per_token(model, whole, [1] * len(whole), partial(cross_entropy, reduction="none"), batch_tokens, seen),
        rater.score(lines),
    )
    return pd.DataFrame({name: score.of(read) for name, score in SCORES.items()})


def flatten(messages: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    """A conversation as (instruction, output); see the head of this module."""
    learnt = (i for i, turn in enumerate(messages) if turn["role"] == "assistant" and turn.get("weight") != 0)
    last = max(learnt, default=None)
    if last is None:
        raise InputError("Expected an assistant turn in every row, found a row without one; leave such rows out.")
    return "\n".join(turn["content"] for turn in messages[:last]), messages[last]["content"]


def _entropy_bits(logits: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    p = logits.softmax(-1)
    return -(p * torch.log2(p + 1e-9)).sum(-1)  # 1e-9 as in the HES scorer


@torch.inference_mode()
def _per_token(
    model: PreTrainedModel, ids: Sequence[list[int]], first: Sequence[int],
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], batch_tokens: int, seen: Callable[[int], None],
) -> list[np.ndarray]:  # fmt: skip
    """Measure (logits, target) at every token from position ``first`` of each row on (never the very first)."""
    values = [np.empty(0)] * len(ids)
    starts = [max(1, start) for start in first]
    model.eval()
    for chosen in batches([len(row) for row in ids], batch_tokens):
        width = len(ids[chosen[-1]])
        batch = torch.tensor([ids[i] + [0] * (width - len(ids[i])) for i in chosen], device=model.device)
        # Padding on the right needs no mask; without a cache nothing else is kept.
        hidden = model.base_model(input_ids=batch, use_cache=False).last_hidden_state
        counts = [max(0, len(ids[i]) - starts[i]) for i in chosen]
        at = torch.tensor([r * width + t for r, i in enumerate(chosen) for t in range(starts[i], len(ids[i]))])
        measured = _at_positions(model, hidden.flatten(0, 1), batch.flatten(), at.to(model.device), measure)
        for i, part in zip(chosen, np.split(measured, np.cumsum(counts)[:-1])):
            values[i] = part
        seen(sum(len(ids[i]) for i in chosen))
    return values


def _at_positions(model, hidden, tokens, positions, measure) -> np.ndarray:
    """Measure at flat positions, a bounded number of logits at a time."""
    vocabulary = model.get_output_embeddings().weight.shape[0]
    size = max(1, SCORING_LOGITS.get(hidden.device.type, SCORING_LOGITS["cuda"]) // vocabulary)
    parts = [measure(logits_of(model, hidden[at - 1]).float(), tokens[at]).cpu() for at in positions.long().split(size)]
    return torch.cat(parts).numpy() if parts else np.empty(0)
