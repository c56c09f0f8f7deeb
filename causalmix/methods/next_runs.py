"""The next runs of a sweep: mixtures, states and sizes that tell most about the gain, given the runs so far."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causalmix.core.history import SCALES, SIZES, History
from causalmix.effects.optimal_design import Belief, Features, candidate_runs, choose

AIMED = 100  # contrasts that the design aims at
MOST = 1024  # runs that are added until an interval is narrow enough; beyond them its width is extrapolated
FEWEST_AGAIN = 5  # further runs of a mixture and state, from which on they tell the noise


@dataclass(frozen=True)
class Room:
    """Where runs can be made."""

    domains: tuple[str, ...]  # length K
    covariates: dict[str, tuple[float, float]]  # lowest and highest value that a run can be given; may be empty
    sizes: tuple[int, ...]  # rows of a training set, one or more; the gain is that at the largest
    models: tuple[float, ...]  # parameters, likewise, where they differ; empty where there is one model
    floor: np.ndarray  # smallest shares, shape (K,)
    cap: np.ndarray  # largest shares, shape (K,)
    reference: np.ndarray  # the mixture that gains are over, shape (K,)
    note: str = ""  # what was done to the reference; empty where nothing was

    @property
    def scales(self) -> tuple[tuple[float, ...], ...]:
        """Rows and parameters that runs can have, in the order of :data:`causalmix.core.history.SIZES`."""
        return self.sizes, self.models or (1.0,)

    def states(self, X: np.ndarray, *scales: np.ndarray) -> np.ndarray:
        """Whole states: covariates and the logs of sizes; the largest where they are not given, shape (n, d + 2)."""
        given = scales or [np.full(len(X), max(values)) for values in self.scales]
        return np.column_stack([X, *np.log2(given)])

    def draw(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Candidate runs: mixtures, shape (m, K), covariates, shape (m, d), and sizes, shape (m, 2)."""
        low, high = (np.array([bounds[side] for bounds in self.covariates.values()]) for side in (0, 1))
        T, X = candidate_runs(self.floor, self.cap, low, high, seed)
        rng = np.random.default_rng([seed, 47])
        return T, X, np.column_stack([rng.choice(v, len(T)) for v in self.scales])


@dataclass(frozen=True)
class Proposal:
    """Runs that are proposed; half-widths are of the gain of the present optimum, or root mean squares before one."""

    # Columns run_id, w_<domain>…, x_<covariate>…, n_samples, role, adaptive, and model_size where models differ.
    table: pd.DataFrame
    optimum: np.ndarray | None  # best by the runs so far, shape (K,); None before there are any
    noise: float  # standard deviation of an outcome; 1 where it is not known, and half-widths are in units of it
    half_width_now: float  # before the proposed runs
    half_width: float  # after them
    needed: int | None  # runs that the wanted half-width takes beyond those at hand; None where none is wanted


def propose(
    room: Room, runs: int, history: History | None = None, outcome: str = "y_dev", lower_is_better: bool = False,
    criterion: str = "", target: np.ndarray | None = None, anchors: float = 0.1, noise: float | None = None,
    half_width: float | None = None, seed: int = 0,
) -> Proposal:  # fmt: skip
    """The next runs, by a history if there is one; ``target``, (d,), are covariates, by default those of its runs.

    ``criterion`` "D" learns the whole answer (the default without a history), "I" the gains over the reference.  The
    share ``anchors`` of the runs repeats the reference and the present optimum, to measure the noise.
    """
    at, X, scales = room.draw(seed)
    T, S = np.unique(at, axis=0), room.states(X, *scales.T)
    past = None if history is None else (history.T, _past_states(room, history))
    # Where all candidates have one size, past runs' sizes tell its unit: else these would look worlds apart.
    spread = S if past is None else np.where(np.ptp(S, axis=0) > 0, S, np.resize(past[1], S.shape))
    features = Features.of(*(np.vstack(both) for both in zip((at, spread), *[past] * bool(past))))
    F = features(at, S)
    if history is None:
        belief = Belief.prior(F.shape[1], noise or 1.0)
    else:
        belief = Belief.learnt(features(*past), history.y(outcome) * (-1 if lower_is_better else 1), noise)
    aimed_at = _covariates_aimed_at(X, past, target)
    goals, home = room.states(aimed_at), aimed_at.mean(axis=0)
    optimum = None
    if history is not None:  # the highest outcome on average over these states
        optimum = T[np.argmax(np.mean([features(T, s) @ belief.mean for s in goals], axis=0))]
    aims, told = _contrasts(features, T, goals, room.reference, belief, optimum, seed)
    turns = [room.reference] if optimum is None or np.allclose(optimum, room.reference) else [room.reference, optimum]
    fixed = np.resize(turns, (round(anchors * runs), len(room.domains)))
    again = belief.given(features(fixed, room.states(home[None]))) if len(fixed) else belief
    aimed = aims if (criterion or ("D" if history is None else "I")) == "I" else None
    chosen = choose(F, runs - len(fixed), again, aimed)
    after = again.given(F[chosen])
    table = _table(room, fixed, home, (at[chosen], X[chosen], scales[chosen]), history)
    needed = None if half_width is None else _needed(F, belief, aimed, told, runs, half_width)
    return Proposal(table, optimum, belief.noise, belief.half_width(told), after.half_width(told), needed)


def _past_states(room: Room, history: History) -> np.ndarray:
    """States of the runs that are there; a size that they do not tell apart is the room's largest."""
    X = history.X[:, [history.covariates.index(name) for name in room.covariates]]
    logs = [history.X[:, history.covariates.index(scale)] if scale in history.covariates
            else np.full(len(X), np.log2(history.frame[size].iloc[0] if size in history.frame else max(values)))
            for size, scale, values in zip(SIZES, SCALES, room.scales)]  # fmt: skip
    return np.column_stack([X, *logs])


def _covariates_aimed_at(X: np.ndarray, past: tuple | None, target: np.ndarray | None) -> np.ndarray:
    """Covariates of the states that the gain is for: the target's, else some of the runs', else some of the room."""
    if target is not None:
        return np.atleast_2d(np.asarray(target, float))
    if past is None:
        return X[:AIMED]
    found = past[1][:, : X.shape[1]]
    return found[np.linspace(0, len(found) - 1, min(AIMED, len(found))).astype(int)]


def _contrasts(
    features: Features, T: np.ndarray, goals: np.ndarray, reference: np.ndarray, belief: Belief,
    optimum: np.ndarray | None, seed: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """What is to be known, and the gains whose half-width is told; shapes (j, p)."""
    rng = np.random.default_rng([seed, 53])
    states = goals[np.arange(AIMED) % len(goals)]
    base = features(reference, states)
    if optimum is None:
        gains = features(T[rng.integers(0, len(T), AIMED)], states) - base
        return gains, gains
    may_be = [T[np.argmax(features(T, s) @ w)] for s, w in zip(states, belief.draws(AIMED, seed))]
    gain = features(optimum, states) - base
    # Half of the weight is for the gain itself, half for telling the optimum from what else may be the best.
    return np.vstack([gain, features(np.array(may_be), states) - features(optimum, states)]), gain


def _needed(F: np.ndarray, belief: Belief, aims: np.ndarray | None, told: np.ndarray, runs: int, wanted: float) -> int:
    """Further runs until the half-width is the wanted one; beyond the most it falls with the root of their number."""
    reached, n = lambda rows: belief.given(F[rows]).half_width(told), runs
    while reached(rows := choose(F, n, belief, aims)) > wanted and n < MOST:
        n = min(2 * n, MOST)
    if (last := reached(rows)) > wanted:
        return int(np.ceil(n * (last / wanted) ** 2))
    return bisect_left(range(n), True, key=lambda few: reached(rows[:few]) <= wanted)


def _table(room: Room, fixed: np.ndarray, home: np.ndarray, designed: tuple, history: History | None) -> pd.DataFrame:
    """The proposed runs, anchors first, under names that the history does not have."""
    T, X, scales = designed
    largest = np.tile([max(values) for values in room.scales], (len(fixed), 1))
    T, X = np.vstack([fixed, T]), np.vstack([np.tile(home, (len(fixed), 1)), X])
    rows, parameters = np.vstack([largest, scales]).T
    taken = set() if history is None else set(history.frame["run_id"])
    free = (name for i in range(1, len(T) + len(taken) + 1) if (name := f"next{i:04d}") not in taken)
    columns = {"run_id": [next(free) for _ in T]}
    columns |= dict(zip([f"w_{name}" for name in room.domains], T.T))
    columns |= dict(zip([f"x_{name}" for name in room.covariates], X.T)) | {"n_samples": rows.astype(int)}
    columns |= {"model_size": parameters} if room.models else {}
    roles = ["anchor"] * len(fixed) + ["design"] * (len(T) - len(fixed))
    return pd.DataFrame(columns | {"role": roles, "adaptive": history is not None})


def replicate_noise(history: History, outcome: str = "y_dev") -> tuple[float, int] | None:
    """Standard deviation between runs of one mixture and state, and its degrees of freedom; None with hardly any."""
    y = history.frame[outcome].groupby([history.clusters, *history.X.T.round(9)])
    freedom = int((y.count() - 1).sum())
    if freedom < FEWEST_AGAIN:
        return None
    return float(np.sqrt(((y.count() - 1) * y.var().fillna(0)).sum() / freedom)), freedom
