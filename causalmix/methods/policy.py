"""From returns theta(x) to a mixture: CausalMix-A, CausalMix-S, trust region, caps and support.

The paper's trust region is of unknown form.  Here it bounds the share of rows that change domain, if it is asked for.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from causalmix.core.errors import InputError, brief
from causalmix.core.history import History
from causalmix.core.simplex import clr, log_treatment, sample_dirichlet, to_counts
from causalmix.core.wording import counted
from causalmix.effects.interface import EPS, Effects
from causalmix.methods.limits import check_room, check_trust_region

PROMISE = ("predicted_gain", "gain_ci_low", "gain_ci_high")  # over Equal, with its 95% interval


@dataclass(frozen=True)
class Proposal:
    """A mixture and what had to be done to it."""

    weights: np.ndarray  # shape (K,)
    note: str = ""  # why it is not the plain solution; empty when it is


def causalmix_a(theta: np.ndarray, radius: float | None = None, caps: np.ndarray | None = None) -> Proposal:
    """CausalMix-A: shares proportional to the positive part of the returns theta, shape (K,).

    Where all returns are positive this maximises ``theta' log T`` on the simplex exactly; Equal is kept when none is.
    ``radius`` is the largest total variation distance to Equal, ``caps``, shape (K,), are largest shares.
    """
    theta, equal, caps = _checked(theta, radius, caps)
    gains = np.maximum(theta, 0.0)
    if gains.sum() == 0:
        return Proposal(equal, "no return is positive, so the reference mixture is kept")
    plain = gains / gains.sum()
    weights = _inside(capped(plain[None], caps), equal, radius)[0]
    return Proposal(weights, "" if np.allclose(plain, weights) else f"held within {_bounds(radius, caps)}")


def causalmix_s(
    theta: np.ndarray, n_candidates: int = 100_000, top: int = 100, eps: float = EPS, seed: int = 0,
    radius: float | None = None, caps: np.ndarray | None = None,
) -> Proposal:  # fmt: skip
    """CausalMix-S: the mean of the ``top`` of many random mixtures by ``theta' log(T + eps)``.

    Candidates are uniform (ours; the paper's way is unknown), as many as reported (secondary source); those outside of
    caps and trust region, as for :func:`causalmix_a`, are moved to the border.
    """
    theta, equal, caps = _checked(theta, radius, caps)
    if not 1 <= top <= n_candidates:
        raise InputError(f"Expected top between 1 and n_candidates={n_candidates}, found {top}; average fewer.")
    drawn = sample_dirichlet(n_candidates, 1.0, len(theta), seed)
    candidates = _inside(capped(drawn, caps), equal, radius)
    best = np.argsort(-(log_treatment(candidates, eps) @ theta), kind="stable")[:top]
    note = "" if np.array_equal(candidates, drawn) else f"candidates were held within {_bounds(radius, caps)}"
    return Proposal(candidates[best].mean(axis=0), note)


def _bounds(radius: float | None, caps: np.ndarray | None) -> str:
    """What may have moved a mixture, in words."""
    bounds = {"the caps": caps is not None and (caps < 1).any(), "the trust region": radius is not None}
    return " and ".join(name for name, binds in bounds.items() if binds)


def domain_caps(rows: np.ndarray, n_samples: int, max_repeats: float = 0) -> np.ndarray:
    """Largest share of each domain that repeats no row more than so often, shape (K,), by the rows that exist."""
    rows = np.asarray(rows, float) * (1 + max_repeats)
    if rows.sum() < n_samples:
        again = f" with at most {counted(max_repeats, 'repeat', form='{:g} {}')} of each" if max_repeats else ""
        raise InputError(
            f"Expected at least {counted(n_samples, 'row')} in the pool for as many in the training set, found "
            f"{rows.sum():,.0f}{again}; take fewer (--n-samples), or allow repeats (--repeats-allowed, or a larger "
            "--max-repeats)."
        )
    return np.minimum(rows / n_samples, 1.0)


class Support(NamedTuple):
    """How far a point lies from the runs of a history."""

    inside: bool  # no farther from its nearest run than all but 5% of the runs are from theirs
    quantile: float  # share of distinct runs that are closer to their nearest other one than the point is to its


def support(weights: np.ndarray, x: np.ndarray, history: History) -> Support:
    """Whether a mixture in a state lies where the history has runs.

    Distances are Euclidean in the centred log-ratios of T + eps (Aitchison 1982,
    doi:10.1111/j.2517-6161.1982.tb01195.x) and X, each standardised over the runs.
    """
    if not (np.isfinite(weights).all() and np.isfinite(x).all()):
        raise InputError(f"Expected a finite mixture and state, found {brief(weights)} in {brief(x)}; correct them.")
    point = _coordinates(np.atleast_2d(weights), np.atleast_2d(x))
    quantile = float(neighbours(_coordinates(history.T, history.X), point)[0])
    return Support(quantile <= 0.95, quantile)


def neighbours(runs: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Share of distinct runs that are closer to their nearest other one than each point to its nearest, (n,)."""
    if not runs.shape[1]:
        return np.zeros(len(points))
    runs, points = _standardised(runs, points)
    runs = np.unique(runs, axis=0)
    tree = cKDTree(runs)
    among = tree.query(runs, k=2)[0][:, 1]  # the nearest of all is the run itself
    return (among < tree.query(points)[0][:, None]).mean(axis=1)


def nearest_runs(weights: np.ndarray, X: np.ndarray, history: History, count: int) -> np.ndarray:
    """Positions of the runs nearest to mixtures in states, by the distance of :func:`support`, shape (n, count)."""
    runs, points = _standardised(_coordinates(history.T, history.X), _coordinates(weights, X))
    return cKDTree(runs).query(points, k=np.arange(1, count + 1))[1]


def mixtures_table(
    effects: Effects, x: np.ndarray, pool: str, proposals: dict[str, Proposal], reference: np.ndarray, n_samples: int
) -> pd.DataFrame:
    """The table ``mixtures.csv``: each method's mixture for a pool in state x, and its gain over a reference."""
    domains, W = effects.history.domains, np.stack([proposal.weights for proposal in proposals.values()])
    near = [support(weights, x, effects.history) for weights in W]
    gains = dict(zip(PROMISE, effects.gain(x, reference, W)))
    counts = np.stack([to_counts(weights, n_samples) for weights in W])
    columns = {"method": list(proposals), "pool": pool} | dict(zip((f"w_{d}" for d in domains), W.T)) | gains
    columns |= {"in_support": [n.inside for n in near], "support_quantile": [n.quantile for n in near]}
    columns |= {"proxy_runs_used": len(effects.history)} | dict(zip((f"n_{d}" for d in domains), counts.T))
    return pd.DataFrame(columns | {"note": [proposal.note for proposal in proposals.values()]})


def _standardised(runs: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre, spread = runs.mean(axis=0), runs.std(axis=0)
    scale = np.where(spread > 1e-9 * np.abs(centre), spread, 1.0)  # equal values may spread by a last digit
    return (runs - centre) / scale, (points - centre) / scale


def _coordinates(T: np.ndarray, X: np.ndarray) -> np.ndarray:
    shares = (np.asarray(T, float) + EPS) / (1 + EPS * np.shape(T)[1])
    return np.column_stack([clr(shares), np.asarray(X, float).reshape(len(shares), -1)])


def _checked(theta: np.ndarray, radius: float | None, caps: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Returns, Equal held within the caps, and the caps."""
    theta = np.asarray(theta, float)
    if theta.ndim != 1 or not np.isfinite(theta).all():
        raise InputError(f"Expected one finite return for each domain, found {theta.tolist()}; estimate them again.")
    if radius is not None:
        check_trust_region("tv", radius)
    caps = check_caps(caps, len(theta))
    return theta, capped(np.full((1, len(theta)), 1 / len(theta)), caps)[0], caps


def check_caps(caps: np.ndarray | None, k: int) -> np.ndarray:
    """Largest shares of k domains, 1 where none are given, shape (k,); refuses those that leave no mixture."""
    caps = np.ones(k) if caps is None else np.asarray(caps, float)
    check_room(np.zeros(k), caps)
    return caps


def capped(mixtures: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Mixtures within the caps, what is cut shared out among the other domains in proportion; shape (n, K)."""
    mixtures = mixtures.copy()
    for _ in caps:  # every round fills at least one domain for good
        full = mixtures >= caps
        excess = np.where(full, mixtures - caps, 0.0).sum(axis=1, keepdims=True)
        if not (excess > 0).any():
            break
        room = np.where(full, 0.0, mixtures)
        # A domain without a share cannot grow in proportion; where only such are left, room counts.
        room = np.where(room.sum(axis=1, keepdims=True) > 0, room, np.where(full, 0.0, caps - mixtures))
        total = room.sum(axis=1, keepdims=True)
        grown = np.divide(room, total, out=np.zeros_like(room), where=total > 0)
        mixtures = np.where(full, caps, mixtures) + excess * grown
    return mixtures


def _inside(mixtures: np.ndarray, reference: np.ndarray, radius: float | None) -> np.ndarray:
    """Mixtures moved straight towards the reference until they are in the trust region; shape (n, K)."""
    if radius is None:
        return mixtures
    steps = mixtures - reference
    distance = np.abs(steps).sum(axis=1, keepdims=True) / 2
    shrink = np.divide(radius, distance, out=np.ones_like(distance), where=distance > radius)
    return reference + steps * shrink
