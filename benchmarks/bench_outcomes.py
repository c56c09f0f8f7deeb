"""Teacher-forced exact match against greedy generation of the same answers.

``python benchmarks/bench_outcomes.py`` prints prompts per CPU second of both, and their ratio
(medians over rounds in turns, one thread).  Generation stops after as many tokens as the longest
answer has, which is the least it could do.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from bench_sft import make_model

from causalmix.data.tiny.models import world_tokenizer
from causalmix.lm.outcomes import exact_match, generate
from causalmix.lm.tasks import Task


def make_task(n_prompts: int) -> Task:
    """Sums of three numbers, worked out as the answer."""
    triples = [(7 * i % 90, 11 * i % 80, 13 * i % 70) for i in range(n_prompts)]
    prompts = tuple(f"what is the sum of {a} and {b} and {c} ?" for a, b, c in triples)
    golds = tuple(f"{a} + {b} = {a + b} , {a + b} + {c} = {a + b + c}" for a, b, c in triples)
    return Task("sums", "math", "dev", prompts, golds)


def main() -> None:
    """Time both ways in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task, tokenizer = make_task(options.prompts), world_tokenizer()
    model = make_model(len(tokenizer))
    longest = 1 + max(len(tokenizer(gold)["input_ids"]) for gold in task.golds)
    ways = {
        "exact match": lambda: exact_match(model, tokenizer, task),
        "generation": lambda: generate(model, tokenizer, task.prompts, longest),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, run in ways.items():
            start = time.process_time()
            run()
            seconds[way].append(time.process_time() - start)
    speeds = {way: options.prompts / statistics.median(values) for way, values in seconds.items()}
    for way, speed in speeds.items():
        print(f"{way:12s} {speed:8.0f} prompts/s")
    print(f"exact match / generation = {speeds['exact match'] / speeds['generation']:.1f}")


if __name__ == "__main__":
    main()
