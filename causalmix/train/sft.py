"""One supervised fine-tuning run with TRL; the paper's settings are unknown, so each default says where it is from."""

import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from datasets import Dataset
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from transformers.trainer_pt_utils import get_length_grouped_indices
from trl import SFTConfig, SFTTrainer

from causalmix.core.errors import InputError
from causalmix.lm.conversations import labelled
from causalmix.lm.losses import completion_loss, token_losses
from causalmix.train.online import Mixer
from causalmix.train.sft_settings import SFTSettings, check_lora

SAME = ("learning_rate", "weight_decay", "max_grad_norm", "max_length", "packing", "bf16", "activation_checkpointing",
        "report_to")  # fmt: skip
#: What the trainer calls our settings; its warmup steps are a share of all where they are below 1.
THEIRS = {name: name for name in SAME} | {
    "epochs": "num_train_epochs", "batch_size": "per_device_train_batch_size", "schedule": "lr_scheduler_type",
    "gradient_accumulation": "gradient_accumulation_steps", "warmup": "warmup_steps",
}  # fmt: skip
DIVERGED = "Training diverged at step {step}: the loss or a weight is no longer finite; lower learning_rate."


def finetune(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dataset: Dataset, settings: SFTSettings, seed: int,
    mixer: Mixer | None = None,
) -> dict[str, float]:  # fmt: skip
    """Fine-tune a causal language model in place on rows that :func:`causalmix.lm.conversations.tokenize` made.

    The seed fixes the order of the rows: equal seeds give bit-identical weights on one machine.  A ``mixer`` chooses
    the rows of every batch instead (:mod:`causalmix.train.online`), each that it wants, so ``settings.epochs`` is 1.
    InputError if no row keeps a scored token; FloatingPointError if the loss or a weight stops being finite.
    """
    rows = labelled(dataset, settings.max_length)
    if mixer is not None and len(rows) != len(dataset):
        raise InputError(
            f"Expected rows within max_length={settings.max_length}, found {len(dataset) - len(rows)} longer; raise it."
        )
    with tempfile.TemporaryDirectory(prefix="causalmix-sft-") as scratch:
        trainer, facts = fit(model, tokenizer, rows, trainer_config(settings, seed, scratch), mixer, settings.lora_rank)
    model.eval()
    return facts if mixer is None else facts | {"tokens": trainer.tokens_seen, "rows": len(mixer)}


def fit(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Dataset, args: SFTConfig, mixer: Mixer | None,
    lora_rank: int = 0,
) -> tuple["Trainer", dict[str, float]]:  # fmt: skip
    """Train on labelled rows; the trainer, and what :func:`finetune` reports."""
    merge = _add_adapters(model, lora_rank, args.seed) if lora_rank else lambda: None
    trainer = Trainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)
    trainer.mixer = mixer
    trainer.remove_callback(PrinterCallback)
    if torch.cuda.is_available():
        gc.collect()  # a trained model is part of a cycle; frozen, it would hold its memory for ever
    gc.freeze()  # training begins with a collection; spare it the walk over everything imported so far
    try:
        start = time.perf_counter()
        result = trainer.train()
        seconds = time.perf_counter() - start
    finally:
        gc.unfreeze()
    merge()
    # Each process has a shard of a weight that is spread over several.
    shards = (weight.to_local() if isinstance(weight, DTensor) else weight for weight in trainer.model.parameters())
    if not all(bool(shard.isfinite().all()) for shard in shards):
        raise FloatingPointError(DIVERGED.format(step=result.global_step))
    return trainer, {
        "loss": float(result.training_loss), "tokens": int(sum(rows["length"][:]) * args.num_train_epochs),
        "rows": len(rows), "steps": result.global_step, "seconds": seconds,
    }  # fmt: skip


def _add_adapters(model: PreTrainedModel, rank: int, seed: int) -> Callable[[], None]:
    """Freeze a model's weights and put low-rank maps beside its linear ones; what is returned merges them."""
    check_lora(rank)
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)  # one half of each map starts at random
    adapted = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
    model.enable_input_require_grads()  # else checkpointed layers see nothing to train

    def merge() -> None:
        adapted.merge_and_unload()
        model.disable_input_require_grads()

    return merge


class Trainer(SFTTrainer):
    """TRL's trainer, minus what would dominate a run of a few seconds on one core: the loss is the same.

    On a CPU only scored positions are projected onto the vocabulary; several processes need TRL's own loss.
    """

    mixer: Mixer | None = None
    tokens_seen = 0
    weights: list[torch.nn.Parameter] | None = None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.mixer is not None:
            self.tokens_seen += int(inputs["attention_mask"].sum())
            with self.accelerator.autocast():  # which otherwise covers a call of the whole model only
                loss = self.mixer.loss(*token_losses(model, inputs))
            loss = loss / self.args.gradient_accumulation_steps  # the trainer adds up what it accumulates
        elif self.args.use_cpu and model is self.model:  # not wrapped
            with self.accelerator.autocast():
                loss = completion_loss(model, inputs, num_items_in_batch)
        else:
            loss = super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        if not loss.isfinite():
            raise FloatingPointError(DIVERGED.format(step=self.state.global_step))
        return loss

    def _run_epoch(self, model, *args, **kwargs):
        """Spare each step on a CPU its walks over all modules and a search for a library, a tenth of it."""
        if not (self.args.use_cpu and model is self.model):
            return super()._run_epoch(model, *args, **kwargs)
        self.weights = weights = list(model.train().parameters())

        def zero_grad(set_to_none: bool = True) -> None:
            for weight in weights:
                weight.grad = None

        model.train, model.zero_grad = lambda mode=True: model, zero_grad  # of this one, before those of its class
        searched = "lomo_optim" not in sys.modules
        sys.modules.setdefault("lomo_optim", None)  # known to be missing, which accelerate finds out twice a step
        try:
            return super()._run_epoch(model, *args, **kwargs)
        finally:
            del model.train, model.zero_grad
            if searched:
                sys.modules.pop("lomo_optim", None)

    def _clip_grad_norm(self, model):
        if self.weights is None:
            return super()._clip_grad_norm(model)
        return clip_grad_norm_(self.weights, self.args.max_grad_norm)

    def get_decay_parameter_names(self, model) -> list[str]:
        """Where nothing decays, all weights are one group: each group costs a step of its own."""
        if self.args.weight_decay:
            return super().get_decay_parameter_names(model)
        return [name for name, _ in model.named_parameters()]

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
    """Rows in random order, neighbours of similar length; unlike that of transformers it also shuffles the batches."""

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


def trainer_config(settings: SFTSettings, seed: int, scratch: str) -> SFTConfig:
    """Settings in the trainer's terms; nothing is saved or shown, and reported only where that is asked for."""
    config = SFTConfig(
        **{theirs: getattr(settings, ours) for ours, theirs in THEIRS.items()},
        output_dir=scratch, seed=seed, data_seed=seed, use_cpu=not torch.cuda.is_available(),
        dataset_kwargs={"skip_prepare_dataset": not settings.packing},  # packing is a preparation
        dataloader_pin_memory=torch.cuda.is_available(), disable_tqdm=True, save_strategy="no",
        logging_strategy="no" if settings.report_to == "none" else "steps",
    )  # fmt: skip
    if config.n_gpu > 1:  # the trainer would split each batch among all GPUs in this process, which TRL refuses
        config._n_gpu = 1  # as the trainer itself sets it for a model that is spread out by hand
    return config
