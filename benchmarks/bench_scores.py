"""Throughput of the model-based scores against a bare forward pass on the same batches.

``python benchmarks/bench_scores.py`` prints tokens per CPU second of both passes (HES and
Normalized_Loss read different texts, so each needs its own) and the ratio: 1 would mean that
batching, entropies, percentiles and the style rater cost nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from bench_outcomes import make_task
from bench_sft import make_model

from causalmix.data import scores
from causalmix.data.tiny.models import world_tokenizer
from causalmix.lm import raters


def main() -> None:
    """Time scoring and the bare forward passes in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task, tokenizer = make_task(options.rows), world_tokenizer()
    model, rater = make_model(len(tokenizer)).eval(), raters.StyleRater()
    turns = [(("user", prompt), ("assistant", gold)) for prompt, gold in zip(task.prompts, task.golds)]
    rows = [{"messages": [{"role": role, "content": text} for role, text in pair]} for pair in turns]
    batches = [b for join in ("", "\n") for b in record_batches(tokenizer, [p[0][1] + join + p[1][1] for p in turns])]
    ways = {
        "score_rows": lambda: scores.score_rows(rows, model, tokenizer, rater),
        "bare forward": lambda: bare_forward(model, batches),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, run in ways.items():
            start = time.process_time()
            run()
            seconds[way].append(time.process_time() - start)
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    tokens = sum(batch.numel() for batch in batches)
    for way, median in medians.items():
        print(f"{way:12s} {tokens / median:9.0f} tokens/s")
    print(f"score_rows / bare forward = {medians['bare forward'] / medians['score_rows']:.2f}")


def record_batches(tokenizer, texts: list[str], batch_tokens: int = 1024) -> list[torch.Tensor]:
    """The padded batches that scoring makes of the same texts."""
    ids = sorted((tokenizer(text)["input_ids"] for text in texts), key=len)
    batches, batch = [], []
    for row in ids:
        if batch and (len(batch) + 1) * len(row) > batch_tokens:
            batches.append(batch)
            batch = []
        batch.append(row)
    return [torch.tensor([row + [0] * (len(b[-1]) - len(row)) for row in b]) for b in [*batches, batch]]


@torch.inference_mode()
def bare_forward(model, batches: list[torch.Tensor]) -> None:
    """Logits at every position and nothing done with them."""
    for batch in batches:
        model(input_ids=batch, use_cache=False)


if __name__ == "__main__":
    main()
