"""How far an estimate can be believed: coverage and regret in worlds whose truth is known, for every stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core import paths
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import Effects
from causalmix.effects.worlds import Known, World, best_mixtures, draw
from causalmix.methods.cautious import cautious
from causalmix.methods.limits import limits
from causalmix.methods.policy import causalmix_a

TRIED = 40  # of a world's states in which a policy is asked
MEASURES = ("cover_theta", "cover_gain", "regret")


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


def files() -> list[Path]:
    """The benchmark's table of all worlds and stages; none where this copy lacks it."""
    path = paths.RESULTS / "validity" / "coverage.csv"
    return [path] if path.is_file() else []


def table() -> pd.DataFrame:
    """What the benchmark has measured; without rows where nothing is at hand."""
    empty = pd.DataFrame(columns=["world", "n", "stage", *MEASURES])
    return pd.concat([pd.read_csv(path) for path in files()] or [empty])


def told(stage: str, n: int) -> str:
    """How often a stage's intervals have covered, in words, by histories of the size that is nearest to n runs."""
    found = table().query("stage == @stage")
    if found.empty:
        return f"How often 95% intervals of the {stage} stage cover has not been measured in this copy."
    size = min(found["n"].unique(), key=lambda known: abs(np.log(known / n)))
    part = found[found["n"] == size]
    least, most = part.loc[part["cover_theta"].idxmin()], part.loc[part["cover_theta"].idxmax()]
    return (
        f"In worlds of known truth, 95% intervals of the {stage} stage from {size} runs held the return in "
        f"{least['cover_theta']:.0%} (returns {least['world']}) to {most['cover_theta']:.0%} ({most['world']}) of all "
        f"cases, and the gain of a random mixture in {part['cover_gain'].min():.0%} to {part['cover_gain'].max():.0%}."
    )
