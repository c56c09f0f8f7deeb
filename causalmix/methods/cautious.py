"""Choose a mixture cautiously: the largest lower confidence bound of its gain over a reference.

Kappa standard deviations are taken off (Srinivas et al. 2010, arXiv:0912.3995, add them, for they want to learn).
Where even the best move may gain nothing, the reference stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from causalmix.core.simplex import sample_dirichlet
from causalmix.effects.interface import Effects, normal_quantile
from causalmix.methods.limits import KAPPA, Limits, check_least
from causalmix.methods.policy import Proposal, support

LEVEL = 0.95  # of the interval that decides whether there is evidence, and of what is kept
LEAST = 1e-6  # a change of shares that is none
STEP = 1e-5  # of a derivative, a share
DRAWN = 512  # random mixtures of each kind that are looked at before the search
AT_ONCE = 256  # mixtures in one call of an estimate, whose memory grows with them
TOWARDS = (0.05, 0.2, 0.5, 0.8, 0.95)  # how far the reference is pulled into each corner
UNIT = 0.02  # a share in the solver's own numbers, in which it goes a tenth of the steps that it goes in plain ones
FEW, CLIMBS = 12, 3  # domains up to which every start is climbed from, and best starts that are in more
ROUNDS, TOLERANCE = 150, 1e-6  # of the solver; the tolerance in units of the best bound that it starts from
NARROWINGS, POINTS = 7, 33  # of the search for the last mixture on a line that keeps to everything

#: Lower bounds of mixtures, shape (n,), from their shares, shape (n, K).
Bound = Callable[[np.ndarray], np.ndarray]


class Keep(NamedTuple):
    """An outcome that must not fall: the lower end of its one-sided interval stays above minus the margin."""

    effects: Effects
    margin: float = 0.0  # that it may fall by, in its own units


@dataclass(frozen=True, kw_only=True)
class Choice(Proposal):
    """A cautious mixture, and the best move that there is, whether it is made or not."""

    best: np.ndarray  # the best move, shape (K,); the weights are this one or the reference
    gain: float  # of the best move over the reference; of several goals in the worst, in standard deviations of it
    low: float  # two-sided 95% interval of the same
    high: float
    evidence: bool  # whether the interval is above zero; the reference stays otherwise
    told: str  # what is known of that move


def cautious(
    goals: Effects | Sequence[Effects], x: np.ndarray, limits: Limits, kappa: float = KAPPA, keep: Sequence[Keep] = (),
    own: np.ndarray | None = None, seed: int = 0,
) -> Choice:  # fmt: skip
    """The mixture whose gain over the limits' reference has the largest lower bound in a state x, shape (d,).

    Of several goals, each in standard deviations of its outcome over the runs, the worst is raised; the outcomes of
    ``keep`` must not fall below those of the reference.  The search starts from random mixtures and from ``own``.
    """
    goals = (goals,) if isinstance(goals, Effects) else tuple(goals)
    check_least("kappa", kappa)
    scales = [1.0] if len(goals) == 1 else [float(np.std(goal.y)) for goal in goals]
    bounds = [partial(_bound, goal, x, limits.reference, kappa, 0.0, s) for goal, s in zip(goals, scales)]
    kept = [kept_by(one, x, limits.reference) for one in keep]
    start = limits.reference if own is None else own
    starts = [start]
    if kept:  # what keeps best may be all that keeps at all
        starts.append(_Search(kept, [], limits).best(starts, seed))
    best = _Search(bounds, kept, limits).best(starts, seed)
    if alone := bool(np.abs(best - limits.reference).max() < LEAST):  # the last digits of a search are no move
        best = limits.reference
    worst = int(np.argmin([bound(best[None])[0] for bound in bounds]))
    goal = goals[worst]
    gain, sd = (float(v[0]) / scales[worst] for v in _moments(goal, x, limits.reference, best[None]))
    half = normal_quantile(LEVEL) * sd
    low, high = gain - half, gain + half
    what = f"{goal.outcome}, which gains least, in its standard deviations" if len(goals) > 1 else goal.outcome
    interval = f"{gain:+#.3g} [{low:+#.3g}, {high:+#.3g}] in {what}"
    if moves := bool(low > 0) and not alone:
        known = f"the gain over the reference is {interval}"
    elif alone:
        known = _why_none(limits, kappa, [one.effects.outcome for one in keep])
    else:
        known = f"there is no evidence for moving: the best move found gains {interval}, an interval that holds zero"
    told = [limits.note] * bool(limits.note) + [known + ", so the reference is kept" * (not moves)]
    if not support(limits.reference, x, goal.history).inside:
        told.append("the reference lies outside the support of the history, so no gain over it is backed by runs")
    if moves and not support(best, x, goal.history).inside:
        told.append("the mixture lies outside the support of the history, so its gain rests on the model's form")
    weights = best if moves else limits.reference
    return Choice(weights, "; ".join(told), best=best, gain=gain, low=low, high=high, evidence=moves, told=known)


def _why_none(limits: Limits, kappa: float, kept: Sequence[str]) -> str:
    """Why no move is better than none: the runs do not tell, or limits, caution and what is kept leave nothing."""
    keeps = f" and keeps {', '.join(kept)}" if kept else ""
    told = f"no move that is allowed{keeps} gains more than {kappa:g} of its standard deviations"
    corners = limits.inside(np.eye(len(limits.reference)))
    if kept or kappa > normal_quantile(LEVEL) or np.abs(corners - limits.reference).max() < LEAST:
        return told
    return f"there is no evidence for moving in any direction: {told}"


def kept_by(one: Keep, x: np.ndarray, reference: np.ndarray) -> Bound:
    """What must not be below zero where an outcome is kept, in a state x: the interval is one-sided."""
    down = normal_quantile(2 * LEVEL - 1)  # 1.645 standard deviations
    return partial(_bound, one.effects, x, reference, down, one.margin, 1.0)


def _moments(effects: Effects, x: np.ndarray, reference: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gains of mixtures over the reference in one state, and their standard deviations, shapes (n,)."""
    parts = [effects.moments(np.atleast_2d(x), reference[None], W[i : i + AT_ONCE]) for i in range(0, len(W), AT_ONCE)]
    gain, sd = (np.concatenate(one) for one in zip(*parts))
    return gain, np.nan_to_num(sd)  # at the reference itself rounding may make a variance negative


def _bound(
    effects: Effects, x: np.ndarray, reference: np.ndarray, deviations: float, margin: float, scale: float,
    W: np.ndarray,
) -> np.ndarray:  # fmt: skip
    gain, sd = _moments(effects, x, reference, W)
    return (gain - deviations * sd + margin) / scale


class _Search:
    """The largest of the least of some bounds where others are not negative, within limits."""

    def __init__(self, goals: Sequence[Bound], kept: Sequence[Bound], limits: Limits) -> None:
        self.goals, self.kept, self.limits, self.seen = goals, kept, limits, (b"", None)

    def best(self, starts: Sequence[np.ndarray], seed: int) -> np.ndarray:
        """The best of what climbing from several starts finds, and of where it starts; shape (K,)."""
        reference, rng = self.limits.reference, np.random.default_rng([seed, 29])
        k, alphas = len(reference), (1.0, min(2 / len(reference), 0.5))
        even, sparse = (sample_dirichlet(DRAWN, alpha, k, int(rng.integers(2**31))) for alpha in alphas)
        towards = rng.uniform(0, 0.5, (DRAWN, 1))
        near = (1 - towards) * reference + towards * sparse
        corners = np.concatenate([(1 - t) * reference + t * np.eye(k) for t in TOWARDS])
        kinds = (*(w[None] for w in starts), even, sparse, near, corners)
        firsts = [self._first(self.limits.inside(W)) for W in kinds]
        leader = self._first(np.stack(firsts))
        # At the reference itself no bound has a derivative.
        tops = [*firsts, 0.9 * reference + 0.1 * leader]
        self.scale = float(np.abs(self._least(np.stack(tops))).max()) or 1.0
        order = np.argsort(-self._least(np.stack(tops)), kind="stable")[: CLIMBS if len(reference) > FEW else None]
        found = [self._pulled(self._climb(tops[i])) for i in order]
        return self._first(np.stack([reference, *map(self._pulled, firsts), *found]))

    def _least(self, W: np.ndarray) -> np.ndarray:
        return np.min([goal(W) for goal in self.goals], axis=0)

    def _allowed(self, W: np.ndarray) -> np.ndarray:
        """Whether mixtures within floors and caps keep to the rest, shape (n,)."""
        return np.all([self.limits.distance(W) <= self.limits.radius, *(bound(W) >= 0 for bound in self.kept)], axis=0)

    def _first(self, W: np.ndarray) -> np.ndarray:
        """The best of some mixtures, those before all that keep to everything."""
        return W[np.lexsort((-self._least(W), ~self._allowed(W)))[0]]

    def _pulled(self, w: np.ndarray) -> np.ndarray:
        """The last mixture on the way from the reference to another that keeps to everything."""
        reference, low, high = self.limits.reference, 0.0, 1.0
        for _ in range(NARROWINGS):
            steps = np.linspace(low, high, POINTS)
            fine = self._allowed(reference + steps[:, None] * (w - reference))
            fine[0] = True
            low, high = steps[fine][-1], min(steps[fine][-1] + steps[1] - steps[0], high)
            if low == high:
                break
        return w if low == 1 else reference + low * (w - reference)

    def _at(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All bounds at a mixture, shape (m,), and their slopes towards each corner, (m, K): all ask about mixtures."""
        if self.seen[0] != w.tobytes():
            held = np.maximum(w, 0) / np.maximum(w, 0).sum()  # a solver misses the simplex by the last digits
            W = np.vstack([held, held + STEP * (np.eye(len(w)) - held)])
            values = np.stack([bound(W) for bound in (*self.goals, *self.kept)]) / self.scale
            self.seen = w.tobytes(), (values[:, 0], (values[:, 1:] - values[:, :1]) / STEP)
        return self.seen[1]

    def _climb(self, start: np.ndarray) -> np.ndarray:
        """Sequential quadratic programming from a start, shape (K,); of several goals it raises t, the least."""
        # Shares are what is added to a base less what is taken away, in which a total variation is linear.
        limits, k, m, many = self.limits, len(start), len(self.goals), len(self.goals) > 1
        tv = limits.trust_region == "tv"
        base = limits.reference if tv else limits.floors
        signs = (np.hstack([np.eye(k), -np.eye(k)]) if tv else np.eye(k)) * UNIT
        room = np.concatenate([limits.caps - base, base - limits.floors])[: len(signs.T)] / UNIT
        first = np.concatenate([np.maximum(start - base, 0), np.maximum(base - start, 0)])[: len(room)] / UNIT
        below = (np.arange(m + len(self.kept)) < m).astype(float)[0 if many else m :]  # t counts for goals alone
        last = np.r_[np.zeros(len(room)), 1.0]

        def at(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values, slopes = self._at(base + signs @ v[: len(room)])
            return values, np.column_stack([slopes @ signs, np.zeros(len(values))])

        whole = {"type": "eq", "fun": lambda v: (base + signs @ v[:-1]).sum() - 1,
                 "jac": lambda v: np.r_[signs.sum(axis=0), 0]}  # fmt: skip
        rules = [whole, *self._trusted(base, signs)]
        if len(below):
            rules += [{"type": "ineq", "fun": lambda v: at(v)[0][-len(below) :] - below * v[-1],
                       "jac": lambda v: at(v)[1][-len(below) :] - np.outer(below, last)}]  # fmt: skip
        aim = (lambda v: (-v[-1], -last)) if many else (lambda v: (-at(v)[0][0], -at(v)[1][0]))
        v = minimize(
            aim, np.r_[first, self._at(start)[0][:m].min()], jac=True, method="SLSQP", constraints=rules,
            bounds=[*((0, most) for most in np.maximum(room, 0)), (None, None)],
            options={"maxiter": ROUNDS, "ftol": TOLERANCE},
        ).x  # fmt: skip
        return limits.inside((base + signs @ v[:-1])[None])[0] if np.isfinite(v).all() else start

    def _trusted(self, base: np.ndarray, signs: np.ndarray) -> list[dict]:
        """The trust region as the solver wants it."""
        limits, k = self.limits, len(base)
        if limits.trust_region == "tv":
            added = np.r_[np.ones(k), np.zeros(k + 1)] * UNIT
            return [{"type": "ineq", "fun": lambda v: limits.radius - added @ v, "jac": lambda v: -added}]
        if limits.trust_region == "kl":
            shares = lambda v: np.maximum(base + signs @ v[:-1], 0)[None]  # noqa: E731
            root = lambda v: np.sqrt(max(limits.distance(shares(v))[0], 0.0))  # noqa: E731
            slope = lambda v: limits.slope(shares(v)[0]) @ signs / (2 * root(v) + 1e-9)  # noqa: E731
            held = {"fun": lambda v: np.sqrt(limits.radius) - root(v), "jac": lambda v: np.r_[-slope(v), 0]}
            return [{"type": "ineq"} | held]
        return []
