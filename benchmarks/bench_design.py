"""How many random runs the designed ones are worth, on the published sweep of RegMix and in simulated worlds.

``python benchmarks/bench_design.py`` prints the table and keeps it as ``results/validity/design.csv``: the regret of
the mixture that is chosen from designed runs, beside that from as many random ones and from 512, each with the standard
error of its mean over the seeds, and the largest of them.  Seeds from 100 on had no part in making the designs.

RegMix: runs are chosen among the mixtures at 1M (a tenth of the 512 left out at random, by seed), a predictor learns
from them, and the mixture that it likes best of the 256 test mixtures is judged at 60M, on Pile-CC, in nats.  Worlds:
K = 5 domains and d = 3 covariates, theta(x)'log(T + .01) with constant or linear returns, noise .015; the
Bayesian stage learns theta, and the value of its optimum is judged by the truth in 300 random states, in 1e-3 of the
outcome.  Designed runs choose the state in a box of two standard deviations, or only the mixture, for the random state
that each run comes with.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalmix.core import paths
from causalmix.core.history import History, check_history
from causalmix.core.simplex import log_treatment
from causalmix.core.tables import write_table
from causalmix.effects import candidates
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import EPS
from causalmix.effects.optimal_design import Belief, Features, choose
from causalmix.effects.public_sweeps import published

RANDOM = 512
K, D, NOISE, STATES = 5, 3, 0.015, 300
#: Spread of the returns' constant parts and of their slopes; Equal loses about .043 of the outcome.
WORLDS = {"constant": (0.0145, 0.0), "linear": (0.012, 0.005)}


def regmix(n: int, seed: int, chosen: str, learn: Callable) -> float:
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
    some = rows[chosen]()
    return truth.max() - truth[np.argmax(learn(T[some], y[some])(judge.T))]


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


def ridge(T: np.ndarray, y: np.ndarray) -> Callable:
    """Ridge regression on [w, sqrt w]."""
    phi = lambda mixtures: np.hstack([mixtures, np.sqrt(mixtures)])  # noqa: E731
    fitted = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-4, 3, 30))).fit(phi(T), y)
    return lambda mixtures: fitted.predict(phi(mixtures))


def process(T: np.ndarray, y: np.ndarray) -> Callable:
    """A Gaussian process, linear and smooth, on [w, log w]."""
    phi = lambda mixtures: np.hstack([mixtures, log_treatment(mixtures, EPS)])  # noqa: E731
    kernel = ConstantKernel(1, (1e-3, 1e3)) * DotProduct(1, (1e-3, 1e3)) + WhiteKernel(0.01, (1e-5, 1))
    kernel += ConstantKernel(1, (1e-3, 1e3)) * RBF(1, (0.1, 100))
    regressor = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    fitted = make_pipeline(StandardScaler(), regressor).fit(phi(T), y)
    return lambda mixtures: fitted.predict(phi(mixtures))


@dataclass(frozen=True)
class World:
    """True returns: intercept (K,) and slopes (K, D)."""

    intercept: np.ndarray
    slopes: np.ndarray

    @classmethod
    def draw(cls, kind: str, seed: int) -> World:
        """Another one for every seed."""
        rng = np.random.default_rng([seed, 11])
        constant, slope = WORLDS[kind]
        return cls(rng.normal(0.015, constant, K), rng.normal(0, slope, (K, D)))

    def theta(self, X: np.ndarray) -> np.ndarray:
        """Returns in states, shape (n, K)."""
        return self.intercept + X @ self.slopes.T

    def runs(self, T: np.ndarray, X: np.ndarray, seed: int) -> History:
        """A history of these runs; the level bends."""
        level = 0.6 + 0.05 * np.tanh(X[:, 0]) + 0.03 * X[:, 0] * X[:, -1]
        y = level + (self.theta(X) * log_treatment(T, EPS)).sum(axis=1)
        y += NOISE * np.random.default_rng([seed, 13]).normal(size=len(y))
        columns = dict(zip([f"w_{k}" for k in range(K)], T.T)) | dict(zip([f"x_{j}" for j in range(D)], X.T))
        return check_history(pd.DataFrame({"run_id": [str(i) for i in range(len(y))]} | columns | {"y_dev": y}))


def optimum(theta: np.ndarray) -> np.ndarray:
    """Mixtures that maximise theta'log(T + eps) on the simplex, exactly, shape (n, K).

    Domains with a positive return share by water-filling, T = max(theta / mu - eps, 0); with none, a corner is best.
    """
    high = np.maximum(theta, 0)
    low_mu, high_mu = np.full((len(theta), 1), 1e-9), high.sum(axis=1, keepdims=True) / EPS + 1e-9
    for _ in range(100):
        mu = np.sqrt(low_mu * high_mu)
        above = np.maximum(high / mu - EPS, 0).sum(axis=1, keepdims=True) > 1
        low_mu, high_mu = np.where(above, mu, low_mu), np.where(above, high_mu, mu)
    T = np.maximum(high / high_mu - EPS, 0)
    T /= np.maximum(T.sum(axis=1, keepdims=True), 1e-12)
    corners = np.eye(theta.shape[1])[np.argmax(theta, axis=1)]
    return np.where((high > 0).any(axis=1, keepdims=True), T, corners)


def world(kind: str, n: int, seed: int, chosen: str) -> float:
    """Regret, in 1e-3, of the optima by the returns that n runs of a kind tell."""
    truth, rng = World.draw(kind, seed), np.random.default_rng([seed, 17])
    T, X = points(chosen, n, seed, rng)
    at = np.random.default_rng([seed, 19]).normal(size=(STATES, D))
    theta = truth.theta(at)
    if chosen == "Equal":
        mixture = np.full((STATES, K), 1 / K)
    else:
        mixture = optimum(fit_effects(truth.runs(T, X, seed), stage="bayesian").theta(at))
    lost = (theta * (log_treatment(optimum(theta), EPS) - log_treatment(mixture, EPS))).sum(axis=1)
    return 1e3 * float(lost.mean())


def points(chosen: str, n: int, seed: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mixtures and states of n runs: random, designed, or with designed mixtures in random states."""
    X = rng.normal(size=(n, D))
    if chosen in ("random", "Equal"):
        return rng.dirichlet(np.ones(K), n), X
    pool = candidates.mixtures(np.zeros(K), np.ones(K), 1000, seed)
    if chosen == "mixtures":
        pool = pool[rng.permutation(len(pool))[:200]]
        T, S, group = np.tile(pool, (n, 1)), np.repeat(X, len(pool), axis=0), np.repeat(np.arange(n), len(pool))
    else:
        T, group = np.tile(pool, (4, 1)), None
        S = candidates.states(np.full(D, -2.0), np.full(D, 2.0), len(T), seed)
    F = Features.of(T, S)(T, S)
    rows = choose(F, n, Belief.prior(F.shape[1]), group=group)
    return T[rows], S[rows]


def table(seeds: range) -> pd.DataFrame:
    """One row for each case, number of runs and way to choose them."""
    lines = []
    for name, learn in {"ridge": ridge, "gp": process}.items():
        regret = lambda n, chosen, learn=learn: [regmix(n, seed, chosen, learn) for seed in seeds]  # noqa: E731
        lines += _lines(f"RegMix, {name}", (24, 32, 48, 128), ("D", "sequential"), regret)
    for kind in WORLDS:
        regret = lambda n, chosen, kind=kind: [world(kind, n, seed, chosen) for seed in seeds]  # noqa: E731
        print(f"{kind}: Equal loses {np.mean(regret(0, 'Equal')):.1f}", flush=True)
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
    found = table(range(options.first, options.first + options.seeds))
    print(found.round(4).to_string(index=False))
    write_table(paths.RESULTS / "validity" / "design.csv", found)


if __name__ == "__main__":
    main()
