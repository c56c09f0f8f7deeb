"""One supervised fine-tuning run with TRL.

Rows are conversations; the loss is the mean negative log-likelihood of the assistant's tokens,
end-of-turn token included.  The paper does not publish its training settings, so each default
below says where it comes from.
"""

from __future__ import annotations

import gc
import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, List, Value
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from transformers.trainer_pt_utils import get_length_grouped_indices
from trl import SFTConfig, SFTTrainer

from causalmix.errors import InputError
from causalmix.online import Mixer

IGNORED = -100  # label of a token that is not scored
LOGIT_BUDGET = 2**26  # logits held at once (256 MB in fp32), whatever the vocabulary


#: Rows as the trainer takes them.  Named, for a batch of which no row is left has no types of its own.
LABELLED = Features({"input_ids": List(Value("int64")), "labels": List(Value("int64")), "length": Value("int64")})


@dataclass(frozen=True)
class SFTSettings:
    """Hyper-parameters of one run; the paper's own are unknown.

    "OpenDataArena prior" means the fine-tuning recipe of OpenDataArena (arXiv 2512.14051), which
    shares an author with the paper.  "Ours" means chosen for proxies of about 1M parameters.
    """

    learning_rate: float = 1e-3  # ours: 5e-6 (OpenDataArena prior, for 7B) hardly moves a 1M model
    epochs: float = 3.0  # OpenDataArena prior; agrees with the proxy cost as reported (secondary source)
    batch_size: int = 32  # ours, sequences per step: small steps keep one core busy
    gradient_accumulation: int = 1  # ours: raise it where a batch does not fit in memory
    schedule: str = "cosine"  # OpenDataArena prior
    warmup: float = 0.1  # OpenDataArena prior, share of all steps
    weight_decay: float = 0.0  # Tulu 3 (arXiv 2411.15124); the OpenDataArena recipe names none
    max_grad_norm: float = 1.0  # default of the trainer; the paper: unknown
    max_length: int = 4096  # OpenDataArena prior, short recipe; longer rows lose their end
    packing: bool = False  # ours: tiny rows are grouped by length instead; worth it on a GPU
    bf16: bool = False  # ours: fp32 is faster on a CPU; OpenDataArena prior: True, on a GPU
    activation_checkpointing: bool = False  # ours: costs time and saves memory nobody lacks here

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epochs", "batch_size", "gradient_accumulation", "max_length"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"Expected {name} above zero, found {value}; set it to a positive number.")

    def as_pairs(self) -> tuple[tuple[str, Any], ...]:
        """Every setting as (name, value), in a fixed order: what a run specification records."""
        return tuple(asdict(self).items())

    @classmethod
    def from_pairs(cls, pairs: Iterable[Sequence[Any]]) -> SFTSettings:
        """The settings that a run specification recorded.

        Raises
        ------
        InputError
            If a name is not a setting.
        """
        given, known = dict(pairs), {field.name for field in fields(cls)}
        if unknown := sorted(given.keys() - known):
            raise InputError(f"Expected training settings among {sorted(known)}, found {unknown}; correct the names.")
        return cls(**given)


def tokenize(rows: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Turn conversations into token ids and a mask of the tokens that are scored.

    Parameters
    ----------
    rows : sequence of mapping
        Each with ``messages``, a list of ``{"role", "content"}``.
    tokenizer : PreTrainedTokenizerBase
        Its chat template must carry generation markers around the assistant's turns.

    Returns
    -------
    Dataset
        Columns ``input_ids`` and ``completion_mask`` (1 where the assistant speaks, end-of-turn
        token included).  What follows the last scored token teaches nothing and is left out.

    Raises
    ------
    InputError
        If there is no row, or a row has no assistant turn.
    """
    if not len(rows):
        raise InputError("Expected at least one row to tokenise, found none; check how the rows were chosen.")
    return Dataset.from_dict(_encode([row["messages"] for row in rows], tokenizer))


def tokenize_all(rows: Dataset, tokenizer: PreTrainedTokenizerBase, file: str | Path) -> Dataset:
    """:func:`tokenize` for a pool that does not fit in memory as lists; its tokens go to a file (Arrow)."""
    encode = lambda batch: _encode(batch["messages"], tokenizer)  # noqa: E731
    return rows.select_columns("messages").map(encode, batched=True, remove_columns="messages", cache_file_name=str(file))


def _encode(conversations: Sequence[Sequence[Mapping[str, str]]], tokenizer: PreTrainedTokenizerBase) -> dict[str, list]:
    """Columns ``input_ids`` and ``completion_mask`` of conversations."""
    encoded = tokenizer.apply_chat_template(list(conversations), return_dict=True, return_assistant_tokens_mask=True)
    ids, masks = [], []
    for index, (row_ids, mask) in enumerate(zip(encoded["input_ids"], encoded["assistant_masks"])):
        if 1 not in mask:
            raise InputError(f"Expected an assistant turn in every row, row {index} has none; leave such rows out.")
        end = len(mask) - mask[::-1].index(1)
        ids.append(row_ids[:end])
        masks.append(mask[:end])
    return {"input_ids": ids, "completion_mask": masks}


def finetune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    settings: SFTSettings,
    seed: int,
    mixer: Mixer | None = None,
) -> dict[str, float]:
    """Fine-tune ``model`` in place.

    Parameters
    ----------
    model : PreTrainedModel
        Any causal language model.
    tokenizer : PreTrainedTokenizerBase
        Gives the padding token.
    dataset : Dataset
        Tokenised rows, as :func:`tokenize` returns them.
    settings : SFTSettings
        Hyper-parameters.
    seed : int
        Fixes the order of the rows; equal seeds give bit-identical weights on one machine.
    mixer : Mixer, optional
        Chooses the rows of every batch in place of a random order (see :mod:`causalmix.online`);
        it hands out each row that it wants, so ``settings.epochs`` should be 1.

    Returns
    -------
    dict
        ``loss`` (mean over steps, nats per scored token), ``tokens`` (seen over all epochs,
        prompts included, padding not), ``rows`` (kept after truncation), ``steps``, ``seconds``.

    Raises
    ------
    InputError
        If no row keeps a scored token within ``max_length``.
    FloatingPointError
        If the loss or a weight stops being finite.
    """
    rows = _labelled(dataset, settings.max_length)
    if mixer is not None and len(rows) != len(dataset):
        raise InputError(f"Expected rows that all fit max_length={settings.max_length}, found {len(dataset) - len(rows)} too long; raise max_length.")
    with tempfile.TemporaryDirectory(prefix="causalmix-sft-") as scratch:
        trainer = _Trainer(
            model=model,
            args=_config(settings, seed, scratch),
            train_dataset=rows,
            processing_class=tokenizer,
        )
        trainer.mixer = mixer
        trainer.remove_callback(PrinterCallback)
        with _quick_collection():
            start = time.perf_counter()
            result = trainer.train()
            seconds = time.perf_counter() - start
    if not all(bool(weight.isfinite().all()) for weight in model.parameters()):
        raise FloatingPointError(_DIVERGED.format(step=result.global_step))
    model.eval()
    return {
        "loss": float(result.training_loss),
        "tokens": int(sum(rows["length"][:]) * settings.epochs) if mixer is None else trainer.tokens_seen,
        "rows": len(rows) if mixer is None else len(mixer),
        "steps": result.global_step,
        "seconds": seconds,
    }


_DIVERGED = "Training diverged at step {step}: the loss or a weight is no longer finite; lower learning_rate."


class _Trainer(SFTTrainer):
    """TRL's trainer, minus what would dominate a run of a few seconds on one core.

    On a GPU the loss is TRL's own.  On a CPU TRL projects every position onto the vocabulary,
    twice; here only scored positions are projected, and since padding is on the right, causal
    attention needs no mask.  Both give the same loss (a test compares them).
    """

    mixer: Mixer | None = None
    tokens_seen = 0

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.mixer is not None:
            self.tokens_seen += int(inputs["attention_mask"].sum())
            with self.accelerator.autocast():  # which otherwise covers a call of the whole model only
                loss = self.mixer.loss(*token_losses(model, inputs))
            loss = loss / self.args.gradient_accumulation_steps  # the trainer adds up what it accumulates
        elif self.args.use_cpu:
            loss = completion_loss(model, inputs, num_items_in_batch)
        else:
            loss = super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        if not loss.isfinite():
            raise FloatingPointError(_DIVERGED.format(step=self.state.global_step))
        return loss

    def _get_train_sampler(self, train_dataset=None) -> Sampler | None:
        if self.mixer is not None:
            return self.mixer
        if self.args.packing:
            return super()._get_train_sampler(train_dataset)
        return GroupedSampler(self.train_dataset["length"][:], self.args.train_batch_size, self.args.seed)

    def floating_point_ops(self, inputs) -> int:
        """Not counted: counting walks over all parameters at every step."""
        return 0

    def _send_telemetry(self) -> None:
        """Nothing leaves the machine: a sweep would send one report a run."""


class GroupedSampler(Sampler[int]):
    """Rows in random order, neighbours of similar length, so that little of a batch is padding.

    Unlike the sampler of transformers it also shuffles the batches: otherwise the rows seen last,
    at the lowest learning rate, would always be the short ones.

    Parameters
    ----------
    lengths : sequence of int
        Tokens in each row.
    batch_size : int
        Rows in a batch.
    seed : int
        Fixes the order in every epoch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size = lengths, batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=self.generator)
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        full = len(order) // self.batch_size  # an incomplete batch stays last
        shuffled = torch.randperm(full, generator=self.generator).tolist()
        return iter([row for batch in (*shuffled, *range(full, len(batches))) for row in batches[batch]])


def validation_loss(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dataset: Dataset) -> float:
    """Mean loss over all scored tokens of tokenised rows, in nats."""
    return float(np.concatenate(row_losses(model, tokenizer, dataset)).mean())


def completion_loss(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor], n_scored: int | None) -> torch.Tensor:
    """Mean negative log-likelihood of the scored tokens, in nats.

    Parameters
    ----------
    model : PreTrainedModel
        Causal language model.
    inputs : mapping
        ``input_ids`` and ``labels``, both (batch, length), padded on the right, and optionally
        the ``position_ids`` of packed rows.
    n_scored : int or None
        What the summed loss is divided by; the number of scored tokens where None.
    """
    hidden = model.base_model(
        input_ids=inputs["input_ids"], position_ids=inputs.get("position_ids"), use_cache=False
    ).last_hidden_state
    targets = inputs["labels"][:, 1:].reshape(-1)
    scored = targets.ne(IGNORED).nonzero().squeeze(1)
    states = hidden[:, :-1].flatten(0, 1).index_select(0, scored)
    total = cross_entropy(model.get_output_embeddings()(states).float(), targets[scored], reduction="sum")
    return total / (len(scored) if n_scored is None else n_scored)


def token_losses(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of each scored token in nats and the row that it belongs to, both of shape (n_scored,).

    Parameters
    ----------
    model : PreTrainedModel
    inputs : mapping
        As for :func:`completion_loss`, rows not packed.
    """
    hidden = model.base_model(input_ids=inputs["input_ids"], use_cache=False).last_hidden_state
    owner, position = inputs["labels"][:, 1:].ne(IGNORED).nonzero(as_tuple=True)
    states, targets = hidden[owner, position], inputs["labels"][owner, position + 1]
    head = model.get_output_embeddings()
    size = max(1, LOGIT_BUDGET // head.weight.shape[0])
    if len(targets) <= size:
        return _losses(head, states, targets), owner
    # With a real vocabulary the logits of a batch take more memory than the model; each piece is made again backwards.
    pieces = zip(states.split(size), targets.split(size))
    return torch.cat([checkpoint(_losses, head, *piece, use_reentrant=False) for piece in pieces]), owner


def _losses(head: torch.nn.Module, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(head(states).float(), targets, reduction="none")


@torch.inference_mode()
def row_losses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    max_length: int | None = None,
    max_rows: int = 64,
    max_tokens: int = 16_384,
) -> list[np.ndarray]:
    """For each tokenised row, the loss on its scored tokens in nats.

    Parameters
    ----------
    model, tokenizer, dataset
        As for :func:`finetune`; rows without a scored token are left out.
    max_length : int, optional
        Where rows are cut; by default at the model's context.
    max_rows, max_tokens : int
        Rows, and tokens with their padding, in one forward pass.
    """
    rows = _labelled(dataset, max_length or model.config.max_position_embeddings)
    lengths = np.array(rows["length"][:])
    order, losses, start = np.argsort(lengths, kind="stable"), [np.empty(0)] * len(rows), 0
    model.eval()
    while start < len(order):
        ahead = lengths[order[start : start + max_rows]]  # rising, so that the last one is the width
        fits = int((ahead * np.arange(1, len(ahead) + 1) <= max_tokens).sum())
        chosen = order[start : start + max(1, fits)]
        values, owner = token_losses(model, _padded(rows[chosen], tokenizer.pad_token_id, model.device))
        for i, row in enumerate(chosen):
            losses[row] = values[owner == i].double().cpu().numpy()
        start += len(chosen)
    return losses


def _padded(batch: Mapping[str, list], pad_id: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Labelled rows as tensors, padded on the right."""
    width = max(batch["length"])
    fill = {"input_ids": pad_id, "labels": IGNORED}
    padded = {name: [row + [value] * (width - len(row)) for row in batch[name]] for name, value in fill.items()}
    return {name: torch.tensor(rows, device=device) for name, rows in padded.items()}


def _labelled(dataset: Dataset, max_length: int) -> Dataset:
    """Rows cut to ``max_length``, with labels and lengths; rows without a scored token are dropped."""
    label = partial(label_batch, max_length=max_length)
    columns = {"remove_columns": dataset.column_names, "features": LABELLED}
    rows = dataset.map(label, batched=True, keep_in_memory=True, **columns)
    if not len(rows):
        raise InputError(f"Expected rows with a completion within max_length={max_length}, found none; raise max_length.")
    return rows


def scorable(dataset: Dataset, max_length: int) -> np.ndarray:
    """Whether each row keeps a scored token within ``max_length``, shape (n,)."""
    return np.array([any(mask[1:max_length]) for mask in dataset["completion_mask"]], dtype=bool)


def label_batch(batch: Mapping[str, list], max_length: int) -> dict[str, list]:
    """Some rows of what :func:`tokenize` returns, as the trainer takes them: ``input_ids``, ``labels``, ``length``."""
    columns: dict[str, list] = {"input_ids": [], "labels": [], "length": []}
    for ids, mask in zip(batch["input_ids"], batch["completion_mask"]):
        ids, mask = ids[:max_length], mask[:max_length]
        if any(mask[1:]):
            columns["input_ids"].append(ids)
            columns["labels"].append([token if scored else IGNORED for token, scored in zip(ids, mask)])
            columns["length"].append(len(ids))
    return columns


@contextmanager
def _quick_collection() -> Iterator[None]:
    """Training begins with a garbage collection; spare it the walk over everything imported so far."""
    if torch.cuda.is_available():
        gc.collect()  # a trained model is part of a cycle; frozen, it would hold its memory for ever
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _config(settings: SFTSettings, seed: int, scratch: str) -> SFTConfig:
    config = SFTConfig(
        output_dir=scratch,
        seed=seed,
        data_seed=seed,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,  # below 1 it is a share of all steps
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        max_length=settings.max_length,
        packing=settings.packing,
        bf16=settings.bf16,
        activation_checkpointing=settings.activation_checkpointing,
        use_cpu=not torch.cuda.is_available(),
        dataset_kwargs={"skip_prepare_dataset": not settings.packing},  # packing is a preparation
        dataloader_pin_memory=torch.cuda.is_available(),
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    if config.n_gpu > 1:  # the trainer would split each batch among all GPUs in this process, which TRL refuses
        config._n_gpu = 1  # as the trainer itself sets it for a model that is spread out by hand
    return config
