"""What training, judging and scoring cost beside the least that the same work takes, as ratios of speeds.

``python benchmarks/bench_costs.py`` prints the table and keeps it as ``results/benchmarks.csv``: medians over rounds,
and 95% intervals of a bootstrap of rounds.  Both sides of a ratio take turns in one process on one thread, and CPU
seconds are counted, so that a busy machine disturbs both alike.  Models are those that ship, rows those of the embedded
world's pool.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch.nn.utils import clip_grad_norm_
from transformers import PreTrainedModel, get_scheduler

from causalmix.core import paths
from causalmix.core.tables import write_table
from causalmix.data import scores
from causalmix.data.tiny import models, pool
from causalmix.data.tiny.tasks import tiny_tasks
from causalmix.lm import reading
from causalmix.lm.conversations import tokenize
from causalmix.lm.losses import batches, completion_loss, padded
from causalmix.lm.outcomes import exact_match, generate
from causalmix.lm.tasks import Task
from causalmix.train import sft
from causalmix.train.audit import allowed
from causalmix.train.design import Design, specs_of, world_for
from causalmix.train.one_run import train

COLUMNS = ["measure", "goal", "value", "low", "high", "machine"]
TOKENIZER = models.world_tokenizer()


class Timed(sft.Trainer):
    """The trainer of a run; keeps the CPU seconds of its loop, and itself, whose batches the bare loop makes again."""

    last: Timed

    def train(self, *args, **kwargs):
        Timed.last, start = self, time.process_time()
        result = super().train(*args, **kwargs)
        self.cpu_seconds = time.process_time() - start
        return result


def training(rows: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """A run of the proxy with TRL, and the same loop without it: order, batches, loss and every weight are the same."""
    settings = Design().settings_of("proxy")
    tokens, trained = tokenize(pool.make_pool(500, 0), TOKENIZER).shuffle(seed=0), {}
    tokens = tokens.select(np.arange(rows) % len(tokens))

    def with_trl() -> float:
        model = trained["run"] = models.load_base("proxy")
        with patch.object(sft, "Trainer", Timed):
            sft.finetune(model, TOKENIZER, tokens, settings, 0)
        return Timed.last.cpu_seconds

    def bare() -> float:
        model, run = models.load_base("proxy"), Timed.last
        start = time.process_time()
        bare_loop(model, run.train_dataset, run.data_collator, settings)
        seconds = time.process_time() - start
        pairs = zip(model.parameters(), trained["run"].parameters())
        if not all(torch.equal(one, other) for one, other in pairs):
            raise SystemExit("Expected the same weights from both loops, found others; make the bare loop the same.")
        return seconds

    return with_trl, bare


def bare_loop(model: PreTrainedModel, rows: Dataset, collate: Callable, settings: sft.SFTSettings) -> None:
    """One epoch on scored positions only; nothing but what the run has to do as well."""
    order, size = list(sft.GroupedSampler(rows["length"][:], settings.batch_size, 0)), settings.batch_size
    order = [order[start : start + size] for start in range(0, len(order), size)]
    weights = list(model.train().parameters())
    optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    schedule = get_scheduler(settings.schedule, optimizer, round(np.ceil(settings.warmup * len(order))), len(order))
    for chosen in order:
        completion_loss(model, collate(rows.__getitems__(chosen)), None).backward()
        clip_grad_norm_(weights, settings.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def judging(model: PreTrainedModel, items: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Exact match by one forward pass, and by writing the answers, as many tokens as the longest has and no more."""
    asked = [
        Task(t.name, t.axis, t.split, t.prompts[:items], t.golds[:items])
        for t in tiny_tasks()
        if t.golds and t.split == "dev"
    ]
    longest = [1 + max(map(len, TOKENIZER(list(task.golds))["input_ids"])) for task in asked]
    return (
        lambda: [exact_match(model, TOKENIZER, task) for task in asked],
        lambda: [generate(model, TOKENIZER, task.prompts, most) for task, most in zip(asked, longest)],
    )


def scoring(rows: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """All scores of rows, and forward passes over the same batches with nothing done to their logits."""
    model, rater, chosen = (
        models.load_base("proxy").eval(),
        models.world_rater(),
        pool.make_pool(500, 0).to_list()[:rows],
    )
    pairs = [scores.flatten(row["messages"]) for row in chosen]
    ready = [batch for join in ("", "\n") for batch in forward_batches([join.join(pair) for pair in pairs])]

    @torch.inference_mode()
    def forward() -> None:
        for batch in ready:
            model(input_ids=batch, use_cache=False)

    return lambda: scores.score_rows(chosen, model, TOKENIZER, rater), forward


def forward_batches(texts: list[str]) -> Iterator[torch.Tensor]:
    """The padded batches that scoring makes of texts."""
    ids = TOKENIZER(texts, add_special_tokens=False)["input_ids"]
    for places in batches([len(row) for row in ids], reading.BATCH_TOKENS["cpu"]):
        some = [ids[place] for place in places]
        yield padded({"input_ids": some, "labels": some}, 0, torch.device("cpu"))["input_ids"]


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of some work, or those that it tells itself."""
    start = time.process_time()
    told = work()
    return told if isinstance(told, float) else time.process_time() - start


def turns(one: Callable[[], object], other: Callable[[], object], rounds: int) -> np.ndarray:
    """CPU seconds of both, shape (rounds, 2); a first round warms up."""
    return np.array([(cpu_seconds(one), cpu_seconds(other)) for _ in range(rounds + 1)][1:])


def measured(size: float, rounds: int, runs: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """Each measure with its goal and CPU seconds, of both sides of a ratio or of single runs."""
    yield "TRL's loop against the same loop without it", ">=.97", turns(*training(round(800 * size)), rounds)
    for name in ("proxy", "target"):
        sides = judging(models.load_base(name).eval(), round(40 * size))
        yield f"teacher forcing against generation, {name}", ">=3", turns(*sides, rounds)
    yield "scoring against a bare forward pass", ">=.95", turns(*scoring(round(300 * size)), 2 * rounds)
    if runs:
        design = Design()
        specs = specs_of(design, world_for(design).name)[: runs + 1]
        seconds = [cpu_seconds(lambda spec=spec: train(spec.as_dict())) for spec in specs]
        yield "a proxy run, seconds of one core", "<=8", np.array(seconds[1:])  # the first loads the pool


def summary(seconds: np.ndarray) -> tuple[float, float, float]:
    """Speed of the first side beside the second's, or seconds of single runs, and what a bootstrap of rounds says."""
    drawn = np.random.default_rng(0).integers(len(seconds), size=(2000, len(seconds)))
    middle = np.median(seconds, axis=0), np.median(seconds[drawn], axis=1)
    value, again = (m[..., 1] / m[..., 0] if seconds.ndim > 1 else m for m in middle)
    return float(value), *np.quantile(again, [0.025, 0.975])


def machine() -> str:
    """The machine's kind."""
    return f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}, one thread of {os.cpu_count()} cores"


def table(size: float = 1.0, rounds: int = 5, runs: int = 3) -> pd.DataFrame:
    """One row a measure."""
    rows = []
    for measure, goal, seconds in measured(size, rounds, runs):
        value, low, high = summary(seconds)
        rows.append((measure, goal, value, low, high, machine()))
        least, most = allowed(goal)
        met = "met" if least <= value <= most else "missed"
        print(f"{measure}: {value:.3f} [{low:.3f}, {high:.3f}], {goal}, {met}", flush=True)
    return pd.DataFrame(rows, columns=COLUMNS)


def main() -> None:
    """Print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=1.0, help="share of the usual rows and questions")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3, help="proxy runs that are timed; they need the scored pool")
    options = parser.parse_args()
    torch.set_num_threads(1)
    write_table(paths.RESULTS / "benchmarks.csv", table(options.size, options.rounds, options.runs))


if __name__ == "__main__":
    main()
