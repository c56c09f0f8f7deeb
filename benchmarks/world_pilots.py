"""Pilot runs of the embedded world, trained before any method is compared on it.

``python benchmarks/world_pilots.py`` trains what ``results/pilots/runs.jsonl`` lacks, set by set, and can be stopped
and started again; ``benchmarks/world_measures.py`` reads the record.  The designs' seeds, 900 and 901, occur nowhere
else, so that no run is used twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from causalmix.core.paths import results_dir
from causalmix.core.progress import listening
from causalmix.data.scored_pools import load_world
from causalmix.data.states import tilt
from causalmix.train.design import Design, noise_panel, spec_of, specs_of, world_for
from causalmix.train.ledger import Ledger
from causalmix.train.one_run import train
from causalmix.train.spec import RunSpec
from causalmix.train.sweep import run_sweep

#: A pilot's design is the record's own, with other seeds.
DESIGN = Design(n_runs=192, seed=900, noise_specs=16, noise_seeds=3)
POLISHED, CARELESS = tilt(writing_style=1.6), tilt(writing_style=-1.6)
FIRST = 90_100_000  # seeds of everything but the random design and its panel
EQUAL = np.full(5, 0.2)
OPPOSED = np.array([[0.42, 0.05, 0.06, 0.42, 0.05], [0.06, 0.05, 0.42, 0.05, 0.42]])  # coding, knowledge; math, safety
SIZES = (1_500, 6_000, 12_000)
LONG_RATES = (1.5e-4, 5e-4, 1.5e-3, 2.5e-3)  # of which the even mixture chose the one of long chains
LONG_SHARES = (0.1, 0.9)  # of math, the rest is coding; at the rate that was chosen


def ledger() -> Ledger:
    """The record of all pilots."""
    return Ledger(results_dir("laptop").parent / "pilots" / "runs.jsonl")


def sets() -> Iterator[tuple[str, list[RunSpec]]]:
    """The pilots by their set, in the order of what a look at a new world needs first."""
    world = world_for(DESIGN).name

    def run(weights, state, seed: int, **options) -> RunSpec:
        return spec_of(DESIGN, world, weights, state, FIRST + seed, **options)

    few = np.random.default_rng(901).dirichlet(np.ones(5), 12)
    neutral = tilt()
    yield "Equal", [run(EQUAL, neutral, s, n_samples=n) for n in SIZES for s in range(3)]
    yield "opposed", [run(w, s, 10 + i) for w in OPPOSED for s in (POLISHED, CARELESS) for i in range(3)]
    design = specs_of(DESIGN, world)
    yield "design", design
    yield "panel", noise_panel(DESIGN, design)
    yield "sizes", [run(w, neutral, 20 + i, n_samples=n) for n in SIZES[::2] for i, w in enumerate(few)]
    yield "target", [run(w, neutral, 20 + i, role="target") for i, w in enumerate(few)]
    yield "long rates", [long_run(0.5, s, learning_rate=rate) for rate in LONG_RATES for s in range(3)]
    yield "long shares", [long_run(share, s) for share in LONG_SHARES for s in range(3)]


def long_run(share: float, seed: int, **settings) -> RunSpec:
    """A run on long chains with a share of math, at the settings of its base where no other is given."""
    pool = load_world(12_000, 0, "longcot")
    design = replace(DESIGN, models={"longcot": {"name": "longcot"} | settings} if settings else {})
    return spec_of(
        design, pool.name, (share, 1 - share), tilt(), FIRST + 40 + seed, role="longcot",
        candidates=len(pool.scored.codes), domains=pool.scored.domains,
    )  # fmt: skip


def chosen(mixtures: dict[str, tuple], seeds: int = 5) -> list[RunSpec]:
    """Runs that try mixtures, by name with the state they are for: ``{name: (weights, state)}``."""
    world = world_for(DESIGN).name
    return [
        spec_of(DESIGN, world, weights, state, FIRST + 50 + seed)
        for weights, state in mixtures.values()
        for seed in range(seeds)
    ]


def trained(specs: list[RunSpec], **options) -> list[dict]:
    """Records of pilot runs; what the ledger lacks is trained."""
    with listening(print):
        return run_sweep(specs, ledger(), train, **options)


def main() -> None:
    """Train the sets that are asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    for name, specs in sets():
        if not options.sets or name in options.sets:
            records = trained(specs, n_workers=options.workers)
            scores = [np.mean([v for k, v in r["scores"].items() if k.endswith("_dev")]) for r in records if r]
            print(f"{name}: {len(specs)} runs, mean Dev {np.mean(scores):.3f}", flush=True)


if __name__ == "__main__":
    main()
