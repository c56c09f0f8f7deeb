"""Losses of a causal language model on the tokens that are scored, without the logits of a whole batch at once."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from causalmix.lm.conversations import IGNORED, labelled

LOGIT_BUDGET = 2**26  # logits held at once (256 MB in fp32), whatever the vocabulary
SCALES = ("logit_scale", "output_multiplier", "lm_head_multiplier")  # names of what some models multiply logits by


def logits_of(model: PreTrainedModel, states: torch.Tensor) -> torch.Tensor:
    """Logits at last hidden states as the model itself makes them: some families scale or cap what the head gives."""
    logits, config = model.get_output_embeddings()(states), model.config.get_text_config()
    for name in SCALES:
        if (scale := getattr(config, name, None)) is not None:
            logits = logits * scale
    if (scale := getattr(config, "logits_scaling", None)) is not None:
        logits = logits * scale if config.model_type == "hyperclovax" else logits / scale
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits


def validation_loss(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dataset: Dataset) -> float:
    """Mean loss over all scored tokens of tokenised rows, in nats."""
    return float(np.concatenate(row_losses(model, tokenizer, dataset)).mean())


def completion_loss(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor], n_scored: int | None) -> torch.Tensor:
    """Mean negative log-likelihood of the scored tokens in nats, or their sum divided by ``n_scored``.

    ``input_ids`` and ``labels`` are (batch, length), padded on the right; ``position_ids`` are those of packed rows.
    """
    states, targets, _ = scored(model, inputs)
    total = cross_entropy(logits_of(model, states).float(), targets, reduction="sum")
    return total / (len(targets) if n_scored is None else n_scored)


def scored(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """The hidden state before each scored token, (n_scored, width); that token; and its row, of unpacked rows."""
    # Padding on the right needs no mask: causal attention never looks there.  Without a cache nothing else is kept.
    given = {name: inputs[name] for name in ("input_ids", "position_ids") if name in inputs}
    hidden, labels = model.base_model(**given, use_cache=False).last_hidden_state, inputs["labels"][:, 1:]
    places = labels.flatten().ne(IGNORED).nonzero().squeeze(1)
    states = hidden[:, :-1].flatten(0, 1).index_select(0, places)
    return states, labels.flatten()[places], places // labels.shape[1]


def token_losses(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of each scored token of unpacked rows in nats and the row that it belongs to, both of shape (n_scored,)."""
    states, targets, owner = scored(model, inputs)
    size = max(1, LOGIT_BUDGET // model.get_output_embeddings().weight.shape[0])
    if len(targets) <= size:
        return _losses(model, states, targets), owner
    # With a real vocabulary the logits of a batch take more memory than the model; each piece is made again backwards.
    pieces = zip(states.split(size), targets.split(size))
    return torch.cat([checkpoint(_losses, model, *piece, use_reentrant=False) for piece in pieces]), owner


def _losses(model: PreTrainedModel, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits_of(model, states).float(), targets, reduction="none")


@torch.inference_mode()
def row_losses(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dataset: Dataset, max_length: int | None = None,
    max_rows: int = 64, max_tokens: int = 16_384,
) -> list[np.ndarray]:  # fmt: skip
    """For each row of :func:`tokenize`, the loss on its scored tokens in nats; rows without one are left out.

    Rows are cut at the model's context by default; ``max_rows`` and ``max_tokens`` (padding included) bound a pass.
    """
    rows = labelled(dataset, max_length or model.config.max_position_embeddings)
    losses = [np.empty(0)] * len(rows)
    model.eval()
    for chosen in batches(rows["length"][:], max_tokens, max_rows):
        values, owner = token_losses(model, padded(rows[chosen], tokenizer.pad_token_id, model.device))
        for i, row in enumerate(chosen):
            losses[row] = values[owner == i].double().cpu().numpy()
    return losses


def batches(lengths: Sequence[int], tokens: float, rows: float = np.inf) -> Iterator[list[int]]:
    """Places of rows, shortest first, in batches of so many tokens after padding (at least one row), and rows."""
    batch: list[int] = []
    for place in np.argsort(lengths, kind="stable").tolist():
        if batch and (len(batch) >= rows or (len(batch) + 1) * lengths[place] > tokens):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def padded(batch: Mapping[str, list], pad_id: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Rows (``input_ids``, ``labels``) as tensors, padded on the right."""
    width = max(map(len, batch["input_ids"]))
    fill = {"input_ids": pad_id, "labels": IGNORED}
    full = {name: [row + [value] * (width - len(row)) for row in batch[name]] for name, value in fill.items()}
    return {name: torch.from_numpy(np.array(rows, np.int64)).to(device) for name, rows in full.items()}
