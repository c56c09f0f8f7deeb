"""Tokens per second and model FLOPs utilisation of fine-tuning, beside a bare PyTorch loop of the same shape.

``python benchmarks/throughput.py --model Qwen/Qwen2.5-0.5B --rows 512 --length 4096 --packing`` needs
no network: the weights are random, in the published shape.  Without packing every row has the full
length; with it rows have random lengths.  The bare loop gets as many tokens in full rows, so what it
shows is the least that the same arithmetic takes.  Utilisation is 6 x parameters x tokens / seconds
over a peak (arXiv 2204.02311, attention not counted): the data sheet's where the GPU is known, and
always that of a large matrix product measured here.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from torch.nn.utils import clip_grad_norm_
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from causalmix.lm.conversations import IGNORED
from causalmix.lm.losses import completion_loss
from causalmix.lm.pretrained import SHAPES
from causalmix.train.sft import SFTSettings, finetune

#: Peak of dense bfloat16 products, FLOP/s, by a part of the GPU's name (NVIDIA's data sheets, SXM).
PEAKS = {"H100": 989e12, "H200": 989e12}
TINY = SHAPES["Qwen/Qwen2.5-0.5B"] | {
    "vocab_size": 640, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
SPECIAL = 3  # ids below are special tokens


def main(argv: Sequence[str] | None = None) -> None:
    """Time both in turns and print tokens per second, utilisation and the ratio."""
    options = parse(argv)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # read when CUDA is first used, which is below
    elif not torch.cuda.is_available():
        raise SystemExit("Expected a GPU for --device cuda, found none; give --device cpu.")
    model = make_model(TINY if options.tiny else SHAPES[options.model], options)
    rows, settings = make_rows(options, model.config.vocab_size), make_settings(options)
    tokens = sum(map(len, rows["input_ids"]))
    finetune(model, make_tokenizer(), rows.select(range(min(len(rows), 2 * options.batch))), settings, 0)  # warms up
    seconds: dict[str, list[float]] = {"TRL run": [], "bare loop": []}
    for seed in range(options.rounds):
        gc.collect()  # the trainer of the round before still holds its optimizer
        seconds["TRL run"].append(finetune(model, make_tokenizer(), rows, settings, seed)["seconds"])
        gc.collect()
        seconds["bare loop"].append(bare_loop(model, tokens, options))
    report({way: tokens / statistics.median(values) for way, values in seconds.items()}, model, options.device)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(SHAPES), default="Qwen/Qwen2.5-0.5B")
    parser.add_argument("--tiny", action="store_true", help="a shape of 0.1M parameters instead, for a quick check")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--length", type=int, default=4096, help="tokens in a row, and in a packed bin")
    parser.add_argument("--batch", type=int, default=4, help="rows or bins in a step")
    parser.add_argument("--packing", action="store_true")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations in the backward pass")
    parser.add_argument("--weights", choices=("float32", "bfloat16"), default="float32", help="7B on one GPU: bfloat16")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args(argv)


def make_model(shape: dict, options: argparse.Namespace) -> PreTrainedModel:
    """Random weights in a published shape; special tokens as :func:`make_tokenizer` has them."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(**shape, bos_token_id=None, eos_token_id=2, pad_token_id=0)
    with torch.device(options.device):
        return AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, options.weights), attn_implementation="sdpa"
        )


def make_settings(options: argparse.Namespace) -> SFTSettings:
    """One epoch; the learning rate is too small to make random weights diverge."""
    return SFTSettings(
        learning_rate=1e-6, epochs=1, batch_size=options.batch, max_length=options.length, packing=options.packing,
        bf16=options.device == "cuda", activation_checkpointing=options.checkpointing,
    )  # fmt: skip


def make_rows(options: argparse.Namespace, vocabulary: int) -> Dataset:
    """Random tokens: the first third a prompt, the rest scored; lengths vary where rows are packed."""
    rng = np.random.default_rng(0)
    shortest = max(2, options.length // 8) if options.packing else options.length
    lengths = rng.integers(shortest, options.length + 1, options.rows)
    ids = [rng.integers(SPECIAL, vocabulary, length).tolist() for length in lengths]
    masks = [[int(t >= len(row) // 3) for t in range(len(row))] for row in ids]
    return Dataset.from_dict({"input_ids": ids, "completion_mask": masks})


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that knows its special tokens, which is all that training needs of it."""
    vocabulary = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def bare_loop(model: PreTrainedModel, tokens: int, options: argparse.Namespace) -> float:
    """Seconds for ``tokens`` tokens in full rows: forward, backward, clipping and AdamW; nothing else."""
    n_rows = max(1, round(tokens / options.length))
    ids = torch.randint(SPECIAL, model.config.vocab_size, (n_rows, options.length), device=options.device)
    labels = ids.clone()
    labels[:, : options.length // 3] = IGNORED
    if options.checkpointing:
        model.activation_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.0, fused=True)
    model.train()
    start = now(options.device)
    for chosen in range(0, n_rows, options.batch):
        batch = {"input_ids": ids[chosen : chosen + options.batch], "labels": labels[chosen : chosen + options.batch]}
        with torch.autocast(options.device, torch.bfloat16, enabled=options.device == "cuda"):
            loss = completion_loss(model, batch, None)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    seconds = (now(options.device) - start) * tokens / (n_rows * options.length)
    model.eval()
    return seconds


def now(device: str) -> float:
    """The time when all work queued on the device is done, in seconds."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def measured_peak(device: str) -> float:
    """FLOP/s of a large square matrix product: bfloat16 on a GPU, float32 on a CPU."""
    size, repeats = (8192, 30) if device == "cuda" else (1024, 3)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    a @ b
    start = now(device)
    for _ in range(repeats):
        a @ b
    return 2 * size**3 * repeats / (now(device) - start)


def report(speeds: dict[str, float], model: PreTrainedModel, device: str) -> None:
    """Print the figures."""
    size = sum(weight.numel() for weight in model.parameters())
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    peaks = {"measured peak": measured_peak(device)}
    peaks |= {"data sheet": peak for part, peak in PEAKS.items() if part in name}
    print(f"{name}, {size:,} parameters; " + ", ".join(f"{k} {v / 1e12:.3g} TFLOP/s" for k, v in peaks.items()))
    for way, speed in speeds.items():
        shares = ", ".join(f"{6 * size * speed / peak:.1%} of {of}" for of, peak in peaks.items())
        print(f"{way:10s} {speed:9.0f} tokens/s   {shares}")
    print(f"TRL run / bare loop = {speeds['TRL run'] / speeds['bare loop']:.2f}")


if __name__ == "__main__":
    main()
