"""The benchmark of costs: both sides do the same work, and its table is the one that is kept."""

import re

import bench_costs
import pandas as pd
import pytest
import torch

from causalmix.core import paths

TABLE = paths.RESULTS / "benchmarks.csv"


def test_the_loop_without_trl_ends_at_the_same_weights(monkeypatch):
    """It is refused where it does not."""
    with_trl, bare = bench_costs.training(20)
    assert with_trl() > 0 and bare() > 0
    monkeypatch.setattr(bench_costs, "clip_grad_norm_", lambda weights, most: None)
    with pytest.raises(SystemExit, match="Expected the same weights from both loops"):
        bare()


def test_forward_passes_read_what_scoring_reads(monkeypatch):
    """The same batches, in the same order, on both sides."""
    sides = {bench_costs: [], bench_costs.reading: []}
    for module, seen in sides.items():
        monkeypatch.setattr(module, "padded", noting(seen, module.padded))
    score, _ = bench_costs.scoring(60)
    score()
    bare, scored = sides.values()
    assert len(bare) == len(scored) > 2 and all(map(torch.equal, bare, scored))


def noting(seen, padded):
    """A function that pads rows, and notes what it made of them."""

    def noted(*given):
        batch = padded(*given)
        seen.append(batch["input_ids"])
        return batch

    return noted


def test_the_kept_table_is_the_benchmarks():
    """Its columns, its measures with their goals; a machine's kind, and neither a host nor a path."""
    kept = pd.read_csv(TABLE)
    assert list(kept) == bench_costs.COLUMNS and len(kept) == 5
    assert (kept["low"] <= kept["value"]).all() and (kept["value"] <= kept["high"]).all()
    assert not kept["machine"].str.contains(r"[/\\]|localhost", regex=True).any()
    source = bench_costs.measured.__code__.co_consts
    goals = {goal for goal in kept["goal"] if goal in source}
    assert goals == set(kept["goal"]) and all(re.match(r"[<>]=[\d.]+$", goal) for goal in goals)
