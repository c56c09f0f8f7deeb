"""What a causal language model makes of every token of rows, with few logits held at once."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from causalmix.lm.conversations import IGNORED
from causalmix.lm.losses import batches, logits_of, padded, scored

#: Logits held at once, whatever the vocabulary: 4 MB in fp32 for a CPU's cache, 1 GB on a GPU.
SCORING_LOGITS = {"cpu": 2**20, "cuda": 2**28}
BATCH_TOKENS = {"cpu": 1024, "cuda": 2**15}  # in one forward pass, padding included


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Tokens of texts, none of them special, as the tokenizer's own call has them, which works out places as well."""
    own = getattr(type(tokenizer), "_encode_plus", None)
    if own is not PreTrainedTokenizerFast._encode_plus:  # it does more than its library
        return tokenizer(texts, add_special_tokens=False)["input_ids"]
    tokenizer([""], add_special_tokens=False)  # undoes what other calls have set in the library, such as a length
    return [one.ids for one in tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def entropies(
    model: PreTrainedModel, ids: Sequence[list[int]], first: Sequence[int], seen: Callable[[int], None]
) -> list[np.ndarray]:
    """Entropy in bits of the distribution of each token of a row from position ``first`` on, never of its very first.

    ``seen`` is called with the tokens that were read, as of :func:`losses`.
    """
    return _per_token(model, ids, first, _entropy_bits, seen)


def losses(model: PreTrainedModel, ids: Sequence[list[int]], seen: Callable[[int], None]) -> list[np.ndarray]:
    """Negative log-likelihood in nats of each token of a row after its first."""
    return _per_token(model, ids, [1] * len(ids), partial(cross_entropy, reduction="none"), seen)


def _entropy_bits(logits: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    p = logits.softmax(-1)
    return p.add(1e-9).log2_().mul_(p).sum(-1).neg_()  # 1e-9 as in the HES scorer; in place, for it is made often


@torch.inference_mode()
def _per_token(
    model: PreTrainedModel, ids: Sequence[list[int]], first: Sequence[int],
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], seen: Callable[[int], None],
) -> list[np.ndarray]:  # fmt: skip
    """Measure (logits, target) at every token from position ``first`` of each row on (never the very first)."""
    values = [np.empty(0)] * len(ids)
    device = model.device.type if model.device.type in BATCH_TOKENS else "cuda"
    size = max(1, SCORING_LOGITS[device] // model.get_output_embeddings().weight.shape[0])
    model.eval()
    for chosen in batches([len(row) for row in ids], BATCH_TOKENS[device]):
        rows = [ids[i] for i in chosen]
        labels = [([IGNORED] * first[i] + row[first[i] :])[: len(row)] for i, row in zip(chosen, rows)]
        states, targets, owner = scored(model, padded({"input_ids": rows, "labels": labels}, 0, model.device))
        pieces = zip(states.split(size), targets.split(size))  # a bounded number of logits at a time
        measured = torch.cat([measure(logits_of(model, at).float(), tokens).cpu() for at, tokens in pieces]).numpy()
        counts = owner.bincount(minlength=len(rows)).tolist()
        for i, part in zip(chosen, np.split(measured, np.cumsum(counts)[:-1])):
            values[i] = part
        seen(sum(map(len, rows)))
    return values
