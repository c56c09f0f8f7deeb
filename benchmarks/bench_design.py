"""How many random runs the designed ones are worth, on the published sweep of RegMix and in simulated worlds.

``python benchmarks/bench_design.py`` prints the table and keeps it as ``results/validity/design.csv``: the regret of
the mixture that is chosen from designed runs, beside that from as many random ones and from 512, each with the standard
error of its mean over the seeds, and the largest of them.  Seeds from 100 on had no part in making the designs.

RegMix: runs are chosen among the mixtures at 1M (a tenth of the 512 left out at random, by seed), a predictor learns
from them, and the mixture that it likes best of the 256 test mixtures is judged at 60M, on Pile-CC, in nats.  Worlds:
the plain ones of :mod:`causalmix.effects.simulate` with constant or linear returns; the Bayesian stage learns theta,
and the value of its optimum is judged by the truth in 300 random states, in 1e-3 of the outcome.  Designed runs choose
the state in a box of two standard deviations, or only the mixture, for the random state that each run comes with.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from bench_validity import best_mixtures
from predictors import PREDICTORS, Learner

from causalmix.core import paths
from causalmix.core.tables import write_table
from causalmix.effects.estimator import fit_effects
from causalmix.effects.optimal_design import Belief, Features, candidate_mixtures, candidate_states, choose
from causalmix.effects.public_sweeps import published
from causalmix.effects.simulate import World, draw

RANDOM = 512
WORLDS = ("constant", "linear")
LEARNERS = {"ridge": PREDICTORS["ridge on [w, sqrt w]"], "gp": PREDICTORS["GP on [w, log w]"]}


def regmix(n: int, seed: int, chosen: str, learn: Learner) -> float:
    """Regret of the mixture that n runs of a kind choose."""
    sweep, judge = published("regmix_1m"), published("regmix_scales")
    judge = judge.take(np.flatnonzero(judge.frame["model"] == "60m"))
    kept = np.random.default_rng([seed, 7]).permutation(len(sweep))[: 460 if n < RANDOM else None]
    T, y, truth = sweep.T[kept], sweep.y("y_pile_cc")[kept], judge.y("y_pile_cc")
    rows = {
        "random": lambda: np.arange(n),
        "D": lambda: designed(T, n),
        "sequential": lambda: sequential(T, y, n, seed),
    }
    predict = learn(sweep.take(kept[rows[chosen]()]), "y_pile_cc", 0)
    return truth.max() - truth[np.argmax(predict(judge.T))]


def designed(T: np.ndarray, n: int) -> np.ndarray:
    """D-optimal rows of T."""
    F = Features.of(T, np.zeros((1, 0)))(T, np.zeros((1, 0)))
    return choose(F, n, Belief.prior(F.shape[1]), group=np.arange(len(T)))


def sequential(T: np.ndarray, y: np.ndarray, n: int, seed: int, batch: int = 4) -> np.ndarray:
    """The first three quarters D-optimal, then in batches, aimed at what may be the best by the runs so far."""
    F = Features.of(T, np.zeros((1, 0)))(T, np.zeros((1, 0)))
    rows = list(designed(T, n - n // 4))
    while len(rows) < n:
        belief, rest = Belief.learnt(F[rows], y[rows]), np.setdiff1d(np.arange(len(T)), rows)
        draws = belief.draws(64, seed + len(rows))
        contrasts = F[np.argmax(F @ draws.T, axis=0)] - F[np.argmax(F @ belief.mean)]
        rows += list(rest[choose(F[rest], min(batch, n - len(rows)), belief, contrasts, np.arange(len(rest)))])
    return np.array(rows)


def world(kind: str, n: int, seed: int, chosen: str) -> float:
    """Regret, in 1e-3, of the optima by the returns that n runs of a kind tell, or of Equal."""
    known = draw(World(kind), n, seed, runs=points(World(kind), chosen, n, seed))
    X, k = known.states, World(kind).k
    mixture = np.full((len(X), k), 1 / k)
    if chosen != "Equal":
        mixture = best_mixtures(fit_effects(known.history, stage="bayesian").theta(X))
    return 1e3 * float(known.gain(X, mixture, best_mixtures(known.returns(X))).mean())


def points(kind: World, chosen: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Mixtures and states of n runs: designed, or designed mixtures in random states; None for random ones."""
    rng, pool = np.random.default_rng([seed, 17]), candidate_mixtures(np.zeros(kind.k), np.ones(kind.k), 1000, seed)
    if chosen == "mixtures":
        X, pool = rng.normal(size=(n, kind.d)), pool[rng.permutation(len(pool))[:200]]
        T, S, group = np.tile(pool, (n, 1)), np.repeat(X, len(pool), axis=0), np.repeat(np.arange(n), len(pool))
    elif chosen == "states and mixtures":
        T, group = np.tile(pool, (4, 1)), None
        S = candidate_states(np.full(kind.d, -2.0), np.full(kind.d, 2.0), len(T), seed)
    else:
        return None
    F = Features.of(T, S)(T, S)
    rows = choose(F, n, Belief.prior(F.shape[1]), group=group)
    return T[rows], S[rows]


def table(seeds: range) -> pd.DataFrame:
    """One row for each case, number of runs and way to choose them."""
    lines = []
    for name, learn in LEARNERS.items():
        regret = lambda n, chosen, learn=learn: [regmix(n, seed, chosen, learn) for seed in seeds]  # noqa: E731
        lines += _lines(f"RegMix, {name}", (24, 32, 48, 128), ("D", "sequential"), regret)
    for kind in WORLDS:
        regret = lambda n, chosen, kind=kind: [world(kind, n, seed, chosen) for seed in seeds]  # noqa: E731
        print(f"{kind}: Equal loses {np.mean(regret(100, 'Equal')):.1f}", flush=True)
        lines += _lines(f"{kind} world", (64, 128), ("states and mixtures", "mixtures"), regret)
    return pd.DataFrame(lines)


def _lines(case: str, sizes: tuple, ways: tuple, regret: Callable[[int, str], list[float]]) -> list[dict]:
    """Of one case; random runs are the same for every way."""
    many, lines = regret(RANDOM, "random"), []
    for n in sizes:
        few = regret(n, "random")
        for chosen in ways:
            line = {"case": case, "n": n, "chosen": chosen, "seeds": len(few)}
            for name, values in {"designed": regret(n, chosen), "random": few, f"random_{RANDOM}": many}.items():
                error = np.std(values, ddof=1) / len(values) ** 0.5
                line |= {f"regret_{name}": np.mean(values), f"error_{name}": error, f"worst_{name}": max(values)}
            print(*(round(float(v), 4) if isinstance(v, float) else v for v in line.values()), flush=True)
            lines.append(line)
    return lines


def main() -> None:
    """Compute, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first", type=int, default=100, help="of the seeds; default: %(default)s")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")  # a variance at its bound
    found = table(range(options.first, options.first + options.seeds))
    print(found.round(4).to_string(index=False))
    write_table(paths.RESULTS / "validity" / "design.csv", found)


if __name__ == "__main__":
    main()
