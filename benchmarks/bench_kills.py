"""Kill drivers and workers of real sweeps at random moments, and count what was lost, doubled, left or not finished.

    python benchmarks/bench_kills.py [--kills 100] [--seed 0]

A sweep of tiny runs of the embedded world is started by the command, one of its processes is killed within the time
that a sweep takes unharmed, and what is left goes on or is started again; a finished one is followed by another.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

from causalmix.core.paths import cache_dir, results_dir
from causalmix.data.scored_pools import load_world
from causalmix.train.ledger import Ledger

RUNS, WORKERS = 8, 2
STUDY = "parameters: {{pool_rows: 1500, candidates: 150, n_samples: 64, n_runs: {n}, noise_specs: 2, seed: {seed}}}\n"
PATIENCE = 120  # seconds within which the processes of a killed driver are gone


class Sweep:
    """One study in a folder of its own, and the command that trains it."""

    def __init__(self, folder: Path, seed: int, runs: int = RUNS) -> None:
        self.study, self.runs, self.folder = folder / f"study{seed}.yaml", runs, folder
        self.study.write_text(STUDY.format(n=runs, seed=seed))
        self.ledger = Ledger(results_dir(str(self.study)) / "runs.jsonl")
        self.seen: set[str] = set()  # runs that were once on record
        self.driver: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "causalmix", "sweep", "--study", str(self.study)]
        command += ["--workers", str(WORKERS), "--limit", str(self.runs)]
        here = {"TMPDIR": str(self.folder), "CAUSALMIX_CACHE": str(cache_dir())}
        here["PYTHONPATH"] = str(Path(__file__).parents[1])
        self.driver = subprocess.Popen(command, env=os.environ | here, stdout=-3, stderr=-3, start_new_session=True)

    def kill(self, driver: bool, rng: np.random.Generator) -> int:
        """Kill the driver, or one of its processes; returns how many of a dead driver's outlived it."""
        family = psutil.Process(self.driver.pid).children(recursive=True)
        self.seen |= self.ledger.finished().keys()
        if not driver and family:
            try:
                rng.choice(family).kill()
            except psutil.NoSuchProcess:
                pass
            return 0
        self.driver.kill()
        self.driver.wait()
        return len(psutil.wait_procs(family, timeout=PATIENCE)[1])

    def counts(self) -> Counter[str]:
        """What should all be 0 after the end."""
        ended = Counter(record["run_id"] for record in self.ledger.records() if record["status"] == "finished")
        return Counter(
            lost=len(self.seen - ended.keys()),
            doubled=sum(n - 1 for n in ended.values()),
            unfinished=self.runs - len(ended),
            failed=len(self.ledger.latest()) - len(self.ledger.finished()),
        )


def measure(kills: int, seed: int, runs: int = RUNS) -> Counter[str]:
    """Kill so many times; half of the victims are drivers."""
    rng, found, done = np.random.default_rng(seed), Counter(kills=0), 1
    load_world(1500, 0)  # scored beforehand: what is killed is to be training
    with tempfile.TemporaryDirectory() as scratch:
        unharmed, begun = Sweep(Path(scratch), seed * 1000, runs), time.monotonic()
        unharmed.start()
        if unharmed.driver.wait():
            raise SystemExit("A sweep ended badly that nobody had harmed.")
        longest = time.monotonic() - begun
        while found["kills"] < kills:
            sweep, done = Sweep(Path(scratch), seed * 1000 + done, runs), done + 1
            sweep.start()
            while sweep.driver.poll() is None:
                time.sleep(rng.uniform(0, longest))
                if found["kills"] < kills and sweep.driver.poll() is None:
                    found["orphans"] += sweep.kill(driver=rng.random() < 0.5, rng=rng)
                    found["kills"] += 1
                if sweep.driver.poll() == -9:
                    sweep.start()
            found += sweep.counts()
            found["ended_badly"] += sweep.driver.returncode != 0
            found["scratch"] += len(list(Path(scratch).glob("*causalmix-*")))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = measure(options.kills, options.seed)
    names = ("kills", "lost", "doubled", "orphans", "unfinished", "failed", "ended_badly", "scratch")
    print(", ".join(f"{name} {found[name]}" for name in names))


if __name__ == "__main__":
    main()
