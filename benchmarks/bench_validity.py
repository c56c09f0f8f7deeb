"""Coverage and regret of every stage in every world of known truth; keeps ``results/validity/coverage.csv``.

    python benchmarks/bench_validity.py [--seeds 12] [--workers 2]

Rows that the table has already are not computed again: delete the file to begin anew.  Seeds from 1000 on are used
here and nowhere else, and no prior or setting was chosen on them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core

import numpy as np
import pandas as pd

from causalmix.core.tables import write_table
from causalmix.effects.worlds import WORLDS, World
from causalmix.methods.validity import MEASURES, measure

TABLE = Path(__file__).parents[1] / "results" / "validity" / "coverage.csv"
FIRST = 1000
SETTINGS = {"forest": {"n_repeats": 2}, "linear": {"n_repeats": 2}, "bayesian": {}}
LARGE, SMALL = 512, 128  # runs of a history; of the small ones only the plain randomized worlds are drawn
HALF = ("linear", "forest")  # stages with half of the seeds, in plain worlds: their misses are easy to see


def cells() -> Iterator[tuple[World, int, str]]:
    """Every world, number of runs and stage."""
    plain = [w for w in WORLDS if w == World(w.kind, w.confounded)]
    for stage in ("bayesian", *HALF):
        yield from ((world, LARGE, stage) for world in (plain if stage in HALF else WORLDS))
        yield from ((world, SMALL, stage) for world in plain if not world.confounded)


def cell(world: World, n: int, stage: str, seeds: int) -> dict[str, object]:
    """One row: means over seeds and their standard errors."""
    seeds = seeds // 2 if stage in HALF else seeds
    found = pd.DataFrame([measure(world, n, stage, FIRST + s, **SETTINGS[stage]) for s in range(seeds)])
    row: dict[str, object] = {"world": world.name, "n": n, "stage": stage}
    for name in (*MEASURES, "regret_kept"):
        row |= {name: found[name].mean(), f"{name}_error": found[name].std() / np.sqrt(seeds)}
    return row | {"seeds": seeds}


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    table = pd.read_csv(options.out) if options.out.is_file() else pd.DataFrame(columns=["world", "n", "stage"])
    known = set(zip(table["world"], table["n"], table["stage"]))
    left = [c for c in cells() if (c[0].name, c[1], c[2]) not in known]
    with ProcessPoolExecutor(options.workers) as pool:
        for row in pool.map(cell, *zip(*left), [options.seeds] * len(left)) if left else ():
            table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
            write_table(options.out, table)
            print("{world}, {n} runs, {stage}: theta {cover_theta:.3f}, gain {cover_gain:.3f}, "
                  "regret {regret:.2f}".format(**row), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
