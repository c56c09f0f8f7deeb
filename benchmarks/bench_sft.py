"""Tokens per second of a fine-tuning run against bare PyTorch loops on the same batches.

``python benchmarks/bench_sft.py`` prints one line for each loop.  The contestants take turns in
one process on one thread; each figure is the median over rounds of CPU seconds, so that a busy
machine disturbs it little.  The bare loops get their batches collated beforehand, the run with
TRL pays for set-up, sampling and collation as well.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from datasets import Dataset
from torch.nn.utils import clip_grad_norm_
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from causalmix.lm.losses import completion_loss
from causalmix.train.sft import SFTSettings, finetune

VOCABULARY = 640
LENGTHS = (20, 50)  # tokens in a row, shortest and longest


def main() -> None:
    """Time the run and both bare loops in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, settings = make_rows(options.rows), SFTSettings(epochs=1)
    tokens = sum(map(len, rows["input_ids"]))
    batches = collate(rows, settings.batch_size)
    contestants: dict[str, Callable[[Qwen2ForCausalLM], object]] = {
        "TRL run (causalmix.train.sft.finetune)": lambda model: finetune(model, make_tokenizer(), rows, settings, 0),
        "bare loop, model(**batch).loss": lambda model: bare_loop(model, batches, plain_loss),
        "bare loop, scored positions only": lambda model: bare_loop(model, batches, scored_loss),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(options.rounds + 1):
        for name, contestant in contestants.items():
            elapsed = cpu_seconds(contestant)
            if round_:  # the first round warms up
                seconds[name].append(elapsed)
    speeds = {name: tokens / statistics.median(values) for name, values in seconds.items()}
    run = next(iter(speeds.values()))
    for name, speed in speeds.items():
        print(f"{name:34s} {speed:9.0f} tokens/s   run / this = {run / speed:.2f}")


def cpu_seconds(contestant: Callable[[Qwen2ForCausalLM], object]) -> float:
    """CPU time of one training of a fresh model."""
    model = make_model()
    start = time.process_time()
    contestant(model)
    return time.process_time() - start


def make_rows(n_rows: int) -> Dataset:
    """Random rows: a prompt, then a completion of a third of the row."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(LENGTHS[0], LENGTHS[1] + 1, n_rows)
    ids = [rng.integers(3, VOCABULARY, length).tolist() for length in lengths]
    return Dataset.from_dict(
        {"input_ids": ids, "completion_mask": [[int(t >= 2 * len(i) // 3) for t in range(len(i))] for i in ids]}
    )


def collate(rows: Dataset, batch_size: int) -> list[dict[str, torch.Tensor]]:
    """Batches of neighbours in length, in random order, padded on the right: the padding the run meets."""
    order = np.argsort([len(ids) for ids in rows["input_ids"]], kind="stable")
    starts = np.random.default_rng(0).permutation(np.arange(0, len(order), batch_size))
    return [_pad([rows[int(i)] for i in order[start : start + batch_size]]) for start in starts]


def _pad(rows: list[dict]) -> dict[str, torch.Tensor]:
    width = max(len(row["input_ids"]) for row in rows)
    ids, labels, mask = (torch.full((len(rows), width), fill) for fill in (0, -100, 0))
    for r, row in enumerate(rows):
        length, scored = len(row["input_ids"]), torch.tensor(row["completion_mask"], dtype=torch.bool)
        ids[r, :length] = torch.tensor(row["input_ids"])
        labels[r, :length] = ids[r, :length].where(scored, -100)
        mask[r, :length] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def plain_loss(model: Qwen2ForCausalLM, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss as transformers computes it, from logits at every position."""
    return model(**batch, use_cache=False).loss


def scored_loss(model: Qwen2ForCausalLM, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss as the run computes it."""
    return completion_loss(model, batch, None)


def bare_loop(model: Qwen2ForCausalLM, batches: list[dict], loss_of: Callable) -> None:
    """One epoch with AdamW, gradient clipping and a cosine schedule; nothing else."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    for batch in batches:
        loss_of(model, batch).backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def make_model(vocabulary: int = VOCABULARY) -> Qwen2ForCausalLM:
    """An untrained proxy: Qwen2 with about 0.9M parameters."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    return Qwen2ForCausalLM(config)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that knows its special tokens, which is all that training needs of it."""
    from tokenizers import Tokenizer, models

    vocabulary = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")


if __name__ == "__main__":
    main()
