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
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import EPS, Effects
from causalmix.effects.simulate import KINDS, Known, World, draw
from causalmix.methods.cautious import cautious
from causalmix.methods.limits import limits
from causalmix.methods.policy import causalmix_a
from causalmix.methods.validity import MEASURES

TABLE = Path(__file__).parents[1] / "results" / "validity" / "coverage.csv"
FIRST = 1000
SETTINGS = {"forest": {"n_repeats": 2}, "linear": {"n_repeats": 2}, "bayesian": {}}
LARGE, SMALL = 512, 128  # runs of a history; of the small ones only the plain randomized worlds are drawn
TRIED = 40  # of a world's states in which a policy is asked
FEW = 3  # times as many seeds for the Bayesian stage where returns are constant: a draw has only K of them
HALF = ("linear", "forest")  # stages with half of the seeds, in plain worlds: their misses are easy to see

ONE_POOL = World("constant", d=0, noise=0.03)  # runs of one pool, whose state tells nothing
#: Every kind, randomized and confounded, and the plain ones among them with other noise, domains and covariates.
WORLDS = (
    *(World(kind, confounded) for kind in KINDS for confounded in (False, True)),
    *(
        World(kind, **other)
        for kind in ("linear", "steps")
        for other in ({"noise": 0.03}, {"uneven": True}, {"k": 3}, {"k": 12}, {"d": 1}, {"d": 6})
    ),
    ONE_POOL,
)


def best_mixtures(theta: np.ndarray, eps: float = EPS) -> np.ndarray:
    """Mixtures that maximise theta' log(T + eps) exactly, shape (n, K).

    On its support the best mixture is proportional to the returns there, less eps; the support is the largest returns,
    as many as give the best value, or one domain alone where none is positive.
    """
    found = np.empty_like(theta)
    for i, t in enumerate(theta):
        k, order = len(t), np.argsort(-t)
        candidates = [np.eye(k)[order[0]]]
        for m in range(2, int((t > 0).sum()) + 1):
            w = np.zeros(k)
            w[order[:m]] = t[order[:m]] * (1 + m * eps) / t[order[:m]].sum() - eps
            candidates += [w] if w.min() >= 0 else []
        found[i] = max(candidates, key=lambda w: t @ np.log(w + eps))
    return found


def measure(world: World, n: int, stage: str, seed: int, **settings) -> dict[str, float]:
    """Coverage of one stage's 95% intervals in one draw of a world, and the value that its policy loses, in 1e-3.

    Gains are those of random mixtures over Equal.  The policy is CausalMix-A for the paper's stages, and for the
    Bayesian one the best move of the cautious policy, ``regret_kept`` with Equal kept where there is no evidence.
    """
    known = draw(world, n, seed)
    return judge(fit_effects(known.history, stage=stage, seed=seed, **settings), known)


def judge(effects: Effects, known: Known) -> dict[str, float]:
    """The same of an estimate that there is."""
    X, k = known.states, len(known.history.domains)
    even = np.full(k, 1 / k)
    truth, gain = known.returns(X), known.gain(X, even, known.mixtures)
    (low, high), (_, least, most) = effects.interval(X), effects.gain(X, even, known.mixtures)
    lost = [_lost(effects, known, x, even) for x in X[:TRIED]]
    regret, kept = 1e3 * np.mean(lost, axis=0)
    return {
        "cover_theta": float(((low <= truth) & (truth <= high)).mean()),
        "cover_gain": float(((least <= gain) & (gain <= most)).mean()),
        "regret": float(regret),
        "regret_kept": float(kept),
    }


def _lost(effects: Effects, known: Known, x: np.ndarray, even: np.ndarray) -> tuple[float, float]:
    """What the proposed mixture loses against the best one in a state, and what the one that is kept to loses."""
    best, x = best_mixtures(known.returns(x[None]))[0], x[None]
    if effects.stage == "bayesian":
        choice = cautious(effects, x[0], limits(even))
        tried = choice.best, choice.weights
    else:
        tried = (causalmix_a(effects.theta(x)[0]).weights,) * 2
    return tuple(float(known.gain(x, w[None], best[None])[0]) for w in tried)


def cells() -> Iterator[tuple[World, int, str]]:
    """Every world, number of runs and stage."""
    plain = [w for w in WORLDS if w == World(w.kind, w.confounded)]
    for stage in ("bayesian", *HALF):
        yield from ((world, LARGE, stage) for world in (plain if stage in HALF else WORLDS))
        small = [world for world in plain if not world.confounded]
        yield from ((world, SMALL, stage) for world in (small if stage in HALF else (*small, ONE_POOL)))


def cell(world: World, n: int, stage: str, seeds: int) -> dict[str, object]:
    """One row: means over seeds and their standard errors."""
    if stage in HALF:
        seeds = seeds // 2
    elif world.kind == "constant":
        seeds *= FEW
    found = pd.DataFrame([measure(world, n, stage, FIRST + s, **SETTINGS[stage]) for s in range(seeds)])
    row: dict[str, object] = {"world": world.name, "n": n, "stage": stage}
    for name in (*MEASURES, "regret_kept"):
        row |= {name: found[name].mean(), f"{name}_error": found[name].std() / np.sqrt(seeds)}
    return row | {"seeds": seeds}


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12, help="of the Bayesian stage; half of them for the others")
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
