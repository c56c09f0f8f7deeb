"""A cautious mixture: the solver against brute force, limits that hold, evidence, and which way is better."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from causalmix.core import direction
from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.core.simplex import nearest
from causalmix.effects.interface import Effects
from causalmix.methods.ask import METHODS
from causalmix.methods.cautious import KAPPA, Keep, cautious
from causalmix.methods.limits import Caution, limits
from causalmix.methods.objective import read_objective
from causalmix.methods.question import Question

NO_STATE = np.empty(0)
SAFE = 1.6448536269514722  # standard deviations of a one-sided 95% bound


@dataclass(frozen=True)
class Known(Effects):
    """A posterior that a test makes up: any response to shares, and any error of a move."""

    response: Callable | None = None  # mixtures (n, K) to outcomes (n,)
    error: Callable | None = None  # of moves from (1, K) to (n, K), standard deviations (n,)

    def posterior(self, X):
        raise AssertionError("the policy looked at returns, which not every response has")

    nuisances = posterior

    def moments(self, X, T_from, T_to):
        T_from, T_to = np.atleast_2d(T_from), np.atleast_2d(T_to)
        assert (T_to >= 0).all() and np.allclose(T_to.sum(axis=1), 1), "asked about what is no mixture"
        return self.response(T_to) - self.response(T_from), self.error(T_from, T_to)


def runs(k, n=200, seed=0, **columns):
    """A history of random mixtures of k domains; what its outcomes are does not matter."""
    rng = np.random.default_rng(seed)
    T = pd.DataFrame(rng.dirichlet(np.ones(k), n), columns=[f"w_d{i}" for i in range(k)])
    ids = pd.DataFrame({"run_id": [f"r{i}" for i in range(n)]})
    return check_history(pd.concat([ids, T], axis=1).assign(y_dev=rng.normal(size=n)).assign(**columns))


def known(response, error=lambda a, b: np.zeros(len(b)), k=3, **columns):
    return Known(runs(k, **columns), response=response, error=error)


def logs(theta, eps=0.01):
    return lambda T: np.log(T + eps) @ np.asarray(theta)


def spread(covariance, eps=0.01):
    """Errors of a move in the log treatment."""

    def of(a, b):
        step = np.log(b + eps) - np.log(a + eps)
        return np.sqrt(np.einsum("nk,kl,nl->n", step, covariance, step))

    return of


def away(per_share):
    """Errors that grow with the distance moved."""
    return lambda a, b: per_share * np.abs(b - a).sum(axis=1)


GRID = np.array([(i, j, 200 - i - j) for i, j in itertools.product(range(201), range(201)) if i + j <= 200]) / 200
EVEN = np.full(3, 1 / 3)
RESPONSES = {
    "log": (logs([0.03, 0.01, -0.01]), spread(np.diag([1e-4, 4e-5, 9e-5]))),
    "log, one corner": (logs([0.05, -0.02, -0.03]), spread(np.diag([1e-5, 1e-5, 1e-5]))),
    "quadratic": (lambda T: -((T - [0.6, 0.3, 0.1]) ** 2).sum(axis=1), away(0.02)),
    "root": (lambda T: 0.1 * np.sqrt(T) @ [1.0, 0.4, 0.1], away(0.01)),
    "two peaks": (
        lambda T: np.exp(-30 * (T[:, 0] - 0.1) ** 2) + 1.2 * np.exp(-60 * (T[:, 0] - 0.85) ** 2),
        away(0.05),
    ),
}


def bound(effects, W, reference, deviations=KAPPA):
    gain, sd = effects.moments(NO_STATE, reference[None], W)
    return gain - deviations * sd


@pytest.mark.parametrize("response, error", RESPONSES.values(), ids=RESPONSES)
@pytest.mark.parametrize("limit", [{}, {"trust_region": "tv", "radius": 0.2}, {"trust_region": "kl", "radius": 0.05},
                                   {"floors": 0.15, "caps": np.array([0.5, 1, 1])}],
                         ids=["free", "tv", "kl", "floors and caps"])  # fmt: skip
def test_no_mixture_of_a_fine_grid_has_a_larger_bound(response, error, limit):
    """Within limits as without, whatever the form of the response; two peaks do not mislead it."""
    effects, held = known(response, error), limits(EVEN, **limit)
    rivals = GRID[(held.distance(GRID) <= held.radius) & (GRID >= held.floors).all(1) & (GRID <= held.caps).all(1)]
    best = bound(effects, rivals, EVEN).max()
    found = cautious(effects, NO_STATE, held)
    assert bound(effects, found.best[None], EVEN)[0] >= best - 1e-4 * max(1, abs(best))
    assert bound(effects, found.best[None], EVEN)[0] >= best - 1e-4


#: Shares in ascending order, and how near a mixture has to come to be worth anything, by the kind that comes so near.
ISLANDS = {
    "even": (np.cumsum(1 / np.arange(10, 0, -1)) / 10, 0.03),
    "sparse": (np.r_[np.zeros(7), 0.1, 0.3, 0.6], 0.06),
    "near": (0.075 + 0.25 * np.r_[np.zeros(7), 0.1, 0.3, 0.6], 0.03),
    "corners": (np.r_[np.full(9, 0.02), 0.82], 0.05),
    "own": (np.r_[np.full(5, 0.04), np.full(5, 0.16)], 0.01),
}


@pytest.mark.parametrize("shares, width", ISLANDS.values(), ids=ISLANDS)
def test_every_kind_of_start_finds_what_no_other_does(shares, width):
    """Of ten domains, on a plain on which no slope tells where a hill stands."""
    hill = lambda T: np.maximum(1 - ((np.sort(T) - shares) ** 2).sum(axis=1) / width**2, 0)  # noqa: E731
    own = shares if width == 0.01 else None
    found = cautious(known(hill, k=10), NO_STATE, limits(np.full(10, 0.1)), own=own)
    assert found.gain == pytest.approx(1, abs=1e-3)


def test_a_peak_inside_is_found_and_not_overshot():
    """More of a domain is better up to .3 of the rows and worse beyond, so .3 it is, and nothing at an edge."""
    found = cautious(known(lambda T: 1 - 4 * (T[:, 0] - 0.3) ** 2 + 0 * T[:, 1]), NO_STATE, limits([0.1, 0.45, 0.45]))
    assert found.best[0] == pytest.approx(0.3, abs=1e-3) and found.evidence
    assert found.gain == pytest.approx(0.16, abs=1e-4)


def test_sixty_four_domains_take_seconds_and_reach_the_optimum():
    """Shares that maximise theta'log(T + eps) fill up to one water level, which bisection finds."""
    theta = np.random.default_rng(3).normal(0.01, 0.02, 64)
    low, high = 0.0, 100.0
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.maximum(level * np.maximum(theta, 0) - 0.01, 0).sum() < 1 else (low, level)
    best = np.maximum(level * np.maximum(theta, 0) - 0.01, 0)
    effects, reference, start = known(logs(theta), k=64), np.full(64, 1 / 64), time.monotonic()
    found = cautious(effects, NO_STATE, limits(reference))
    assert time.monotonic() - start < 20
    assert bound(effects, found.weights[None], reference)[0] >= bound(effects, best[None], reference)[0] - 1e-4
    assert found.weights.sum() == pytest.approx(1) and (found.weights >= 0).all()


THETA = np.array([0.05, 0.03, 0.0, -0.02, -0.01])
EVEN5 = np.full(5, 0.2)
LIMITED = {
    "floor": {"floors": 0.08},
    "caps": {"caps": np.array([0.3, 0.25, 1, 1, 1])},
    "tv": {"trust_region": "tv", "radius": 0.15},
    "kl": {"trust_region": "kl", "radius": 0.02},
    "all with tv": {"floors": 0.1, "caps": np.full(5, 0.35), "trust_region": "tv", "radius": 0.1},
    "all with kl": {"floors": 0.1, "caps": np.full(5, 0.35), "trust_region": "kl", "radius": 0.01},
}


@pytest.mark.parametrize("limit", LIMITED.values(), ids=LIMITED)
def test_limits_hold_exactly_and_are_used_up(limit):
    """Nothing lies outside, and what is limited reaches its limit, for the plain optimum lies outside."""
    held = limits(EVEN5, **limit)
    found = cautious(known(logs(THETA), k=5), NO_STATE, held).weights
    assert abs(found.sum() - 1) < 1e-9
    assert (found >= held.floors - 1e-12).all() and (found <= held.caps + 1e-12).all()
    assert held.distance(found[None])[0] <= held.radius + 1e-12
    used = [
        held.distance(found[None])[0] > 0.99 * held.radius,
        (found < held.floors + 1e-6).any() and held.floors.any(),
    ]
    assert any(used) or (found > held.caps - 1e-6).any()


def test_repeats_bound_the_share_of_a_small_domain():
    """At most twice again: three times the rows that there are."""
    question = Question(runs(3), 100, np.array([10, 200, 200]), max_repeats=2)
    assert question.caps == pytest.approx([0.3, 1, 1])
    assert replace(question, repeats_allowed=True).caps is None
    found = cautious(known(logs([0.1, 0.0, 0.0])), NO_STATE, limits(EVEN, caps=question.caps))
    assert found.weights[0] == pytest.approx(0.3)


def test_another_outcome_is_kept_at_the_reference_with_95_percent():
    """Without it the other falls; with it the one-sided bound stays at zero or above; a margin lets it fall so far."""
    goal = known(logs(THETA), k=5)
    other = known(logs([-0.05, 0.02, 0.02, 0.0, 0.02]), spread(np.diag(np.full(5, 4e-5))), k=5)
    free = cautious(goal, NO_STATE, limits(EVEN5))
    assert bound(other, free.weights[None], EVEN5, SAFE)[0] < -0.02
    kept, wide = (cautious(goal, NO_STATE, limits(EVEN5), keep=[Keep(other, margin)]) for margin in (0.0, 0.01))
    assert bound(other, kept.weights[None], EVEN5, SAFE)[0] >= -1e-12 and kept.evidence
    assert -0.01 - 1e-12 <= bound(other, wide.weights[None], EVEN5, SAFE)[0] < -0.0099
    assert free.gain > wide.gain > kept.gain > 0
    rivals = np.random.default_rng(0).dirichlet(np.ones(5), 200_000)
    rivals = rivals[bound(other, rivals, EVEN5, SAFE) >= 0]
    assert len(rivals) > 100 and bound(goal, kept.weights[None], EVEN5)[0] >= bound(goal, rivals, EVEN5).max() - 1e-4


def test_what_no_move_keeps_leaves_the_reference():
    """Where every move may lower the other outcome, there is no other mixture."""
    other = known(lambda T: 0 * T[:, 0], away(0.1), k=5)
    found = cautious(known(logs(THETA), k=5), NO_STATE, limits(EVEN5), keep=[Keep(other)])
    assert found.weights == pytest.approx(EVEN5) and not found.evidence and "the reference is kept" in found.note


def test_the_worst_of_several_goals_is_raised():
    """In standard deviations of each outcome over the runs, as far as the best mixture of a fine grid does."""
    history = runs(3)
    sharp = replace(history, frame=history.frame.assign(y_dev=10 * history.frame["y_dev"]))
    goals = [Known(history, response=lambda T: np.sqrt(T[:, 0] + 0.2), error=away(0.01)),
             Known(sharp, response=lambda T: 10 * np.sqrt(T[:, 1] + 0.2), error=away(0.1))]  # fmt: skip
    least = lambda W: np.min([bound(g, W, EVEN) / g.y.std() for g in goals], axis=0)  # noqa: E731
    found = cautious(goals, NO_STATE, limits(EVEN))
    assert least(found.best[None])[0] >= least(GRID).max() - 1e-4
    assert found.best == pytest.approx([0.5, 0.5, 0], abs=0.01) and "standard deviations" in found.note
    one = cautious(goals[0], NO_STATE, limits(EVEN))
    assert one.best[0] > 0.95


def test_more_caution_stays_where_more_is_known():
    """A direction of large return and large error is left as kappa grows."""
    effects = known(lambda T: 0.05 * T[:, 0] + 0.03 * T[:, 1], lambda a, b: 0.05 * np.abs(b - a)[:, 0])
    bold, wary = (cautious(effects, NO_STATE, limits(EVEN), kappa) for kappa in (0.0, 1.0))
    assert bold.best[0] == pytest.approx(1, abs=1e-4) and wary.best[1] == pytest.approx(2 / 3, abs=1e-3)


def test_without_evidence_the_reference_stays_and_says_the_interval():
    """An expected gain whose interval holds zero moves nothing; twice as well known, it moves."""
    doubtful = known(lambda T: 0.02 * T[:, 0], away(0.008))
    found = cautious(doubtful, NO_STATE, limits(EVEN))
    assert not found.evidence and found.weights == pytest.approx(EVEN) and found.low < 0 < found.gain
    assert f"{found.gain:+.4g} [{found.low:+.4g}, {found.high:+.4g}]" in found.note and "no evidence" in found.note
    sure = cautious(known(lambda T: 0.02 * T[:, 0], away(0.002)), NO_STATE, limits(EVEN))
    assert sure.evidence and sure.low > 0 and np.array_equal(sure.weights, sure.best) and "no evidence" not in sure.note


@pytest.mark.parametrize("limit", [{}, {"trust_region": "kl", "radius": 0.0}, {"trust_region": "tv", "radius": 0.0}])
def test_what_allows_no_move_is_no_evidence_for_or_against_one(limit):
    """Neither a trust region of nothing but the reference, nor a caution that no gain can meet."""
    effects = known(lambda T: 0.02 * T[:, 0], away(0.002))
    found = cautious(effects, NO_STATE, limits(EVEN, **limit), kappa=0.2 if limit else 1000)
    assert np.array_equal(found.weights, EVEN) and found.gain == found.low == found.high == 0 and not found.evidence
    assert found.note.startswith("no move that is allowed gains more than") and "evidence" not in found.note


@pytest.mark.parametrize("seed", range(3))
def test_pure_noise_keeps_the_reference(seed):
    """66 runs of nine domains whose outcome has nothing to do with them."""
    history = runs(9, n=66, seed=seed)
    answer = METHODS["Cautious"](Question(history, 1000, x=NO_STATE))
    assert answer.weights == pytest.approx(np.full(9, 1 / 9)) and "no evidence" in answer.note


def test_signal_moves_by_the_method_of_the_tables():
    """The same number of runs with returns moves, towards the domains that return; a pool's part gets all the rows."""
    history = runs(5, n=120)
    T, rng = history.T, np.random.default_rng(1)
    told = replace(history, frame=history.frame.assign(y_dev=np.log(T + 0.01) @ THETA + rng.normal(0, 0.01, len(T))))
    question = Question(told, 1000, x=NO_STATE)
    answer = METHODS["Cautious"](question)
    assert answer.weights[0] > 0.4 and answer.runs_used == 120
    part = METHODS["Cautious"](replace(question, domains=("d1", "d3", "d4")))
    assert part.weights.shape == (3,) and part.weights.sum() == pytest.approx(1) and part.weights[0] > 0.5
    near = METHODS["Cautious"](replace(question, caution=Caution(trust_region="tv", radius=0.1)))
    assert np.abs(near.weights - 0.2).sum() / 2 == pytest.approx(0.1)


def test_what_lies_outside_of_the_history_is_told():
    """The reference, and the mixture that is chosen; neither where both are inside."""
    inner = runs(3)
    crowded = replace(inner, frame=inner.frame.assign(w_d0=0.5 + inner.T[:, 0] / 20, w_d1=0.3 - inner.T[:, 0] / 20 +
                                                      inner.T[:, 1] / 20, w_d2=0.2 - inner.T[:, 1] / 20))  # fmt: skip
    effects = Known(crowded, response=lambda T: T[:, 0], error=away(0.01))
    far = cautious(effects, NO_STATE, limits(EVEN)).note
    assert "the reference lies outside the support" in far and "the mixture lies outside the support" in far
    near = cautious(effects, NO_STATE, limits(crowded.T[0], trust_region="tv", radius=0.001)).note
    assert "outside" not in near


def test_a_reference_that_breaks_the_limits_is_brought_within_and_says_so():
    """Equal cannot be trained where a domain has too few rows."""
    held = limits(EVEN, caps=np.array([0.1, 1, 1]))
    assert held.reference == pytest.approx([0.1, 0.45, 0.45])
    found = cautious(known(logs([0.0, 0.0, 0.0])), NO_STATE, held)
    assert found.weights == pytest.approx(held.reference) and "nearest mixture within them" in found.note


def test_nearest_is_the_nearest():
    """No other point within floors and caps is nearer, and one that is within stays."""
    floors, caps, rng = np.array([0.1, 0, 0, 0]), np.array([1, 0.3, 0.5, 0.4]), np.random.default_rng(0)
    rivals = rng.dirichlet(np.ones(4), 100_000)
    rivals = rivals[(rivals >= floors).all(1) & (rivals <= caps).all(1)]
    for w in rng.dirichlet(np.ones(4) / 2, 20):
        (found,) = nearest(w[None], floors, caps)
        assert found.sum() == pytest.approx(1) and (found >= floors).all() and (found <= caps).all()
        assert np.linalg.norm(found - w) <= np.linalg.norm(rivals - w, axis=1).min() + 1e-9
    assert nearest(rivals[:1], floors, caps) == pytest.approx(rivals[:1])


def test_mixtures_outside_are_moved_to_the_border_of_the_trust_region():
    """Straight towards the reference; distances are those of their definitions."""
    W = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    for kind, plain in {
        "tv": lambda w: np.abs(w - EVEN).sum() / 2,
        "kl": lambda w: (w * np.log(w / EVEN)).sum(),
    }.items():
        held = limits(EVEN, trust_region=kind, radius=0.1)
        assert held.distance(W) == pytest.approx([plain(w) for w in W])
        moved, far = held.inside(W), held.distance(W) > 0.1
        assert far.any() and held.distance(moved[far]) == pytest.approx(0.1) and moved[~far] == pytest.approx(W[~far])
        step, whole = moved[far] - EVEN, W[far] - EVEN
        assert np.cross(step, whole) == pytest.approx(0, abs=1e-9)
    missing = limits([0.5, 0.5, 0.0], trust_region="kl", radius=0.1)
    assert missing.caps[2] == 0 and np.isfinite(missing.distance(missing.inside(W))).all()


def test_the_worst_of_a_question_is_fitted_by_itself():
    """Not the outcome that the question has: one that has no returns keeps the reference."""
    history = runs(3, n=100, y_flat=np.random.default_rng(8).normal(size=100))
    told = history.frame.assign(y_dev=np.log(history.T + 0.01) @ [0.3, 0.0, 0.0])
    question = Question(replace(history, frame=told, whole=told), 100, x=NO_STATE)
    assert METHODS["Cautious"](question).weights[0] > 0.6
    worst = METHODS["Cautious"](replace(question, caution=Caution(worst=("y_dev", "y_flat"))))
    assert worst.weights == pytest.approx(EVEN) and "the reference is kept" in worst.note


LOGS3 = known(logs([0.1, 0.0, 0.0]))
REFUSED = {
    "floors above one": (lambda: limits(EVEN, floors=0.4), "floors that sum to 1.2"),
    "caps below one": (lambda: limits(EVEN, caps=np.full(3, 0.3)), "caps that sum to 0.9"),
    "a floor above its cap": (
        lambda: limits(EVEN, floors=0.2, caps=np.array([0.1, 1, 1])),
        "1 above their caps",
    ),
    "floors of another length": (lambda: limits(EVEN, floors=np.zeros(3), caps=np.ones(2)), "3 floors and caps"),
    "a floor that is no number": (lambda: limits(EVEN, floors=np.nan), "3 floors and caps of at least 0"),
    "another trust region": (lambda: limits(EVEN, trust_region="l2", radius=1), "among tv, kl, found 'l2'"),
    "a trust region without radius": (lambda: limits(EVEN, trust_region="tv"), "found only the trust region tv"),
    "a radius without trust region": (lambda: limits(EVEN, radius=0.1), "found only the radius 0.1"),
    "a radius above one": (lambda: limits(EVEN, trust_region="tv", radius=1.5), r"a radius in \[0, 1\].*found 1.5"),
    "a radius below zero": (
        lambda: limits(EVEN, trust_region="kl", radius=-1),
        "a radius in .0, inf. for kl, found -1",
    ),
    "a reference off the simplex": (lambda: limits([0.5, 0.5, 0.5]), "sum to 1"),
    "kappa below zero": (lambda: cautious(LOGS3, NO_STATE, limits(EVEN), -1), "kappa of at least 0, found -1"),
    "kappa of a question": (lambda: Caution(kappa=np.nan), "kappa of at least 0, found nan"),
    "a margin below zero": (lambda: Caution(keep={"y_safety": -0.1}), "a margin for y_safety of at least 0"),
    "no state": (lambda: METHODS["Cautious"](Question(runs(3), 10)), "state of the pool for Cautious"),
    "the pool's proportions of no rows": (
        lambda: METHODS["Cautious"](Question(runs(3), 10, x=NO_STATE, caution=Caution(reference="pool"))),
        "the rows of each domain",
    ),
    "too few rows with repeats": (
        lambda: Question(runs(3), 100, np.array([5, 5, 5]), max_repeats=1).caps,
        "at least 100 rows in the pool .* found 30 with at most 1 repeats of each",
    ),
}


@pytest.mark.parametrize("ask, message", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(ask, message):
    """It says what was expected and found, and what to do."""
    with pytest.raises(InputError, match=message) as refusal:
        ask()
    assert str(refusal.value).startswith("Expected") and "; " in str(refusal.value) and "\n" not in str(refusal.value)


def outcomes(**columns):
    """A history with more outcomes."""
    n = 60
    rng = np.random.default_rng(2)
    return runs(3, n=n, **{f"y_{name}": scale * rng.uniform(size=n) + low for name, (low, scale) in columns.items()})


@pytest.mark.parametrize(
    "name", ["val_loss", "nll_code", "perplexity", "code_ppl", "pile_bpb", "error_rate", "Loss", "wer", "test_rmse"]
)
def test_a_name_that_speaks_of_losses_is_lower_better_unless_its_sign_may_be_turned(name):
    """Losses are not below zero; some write them with their sign turned, and then the name does not tell."""
    assert direction.is_lower_better(outcomes(**{name: (0, 1)}), f"y_{name}")
    history = outcomes(**{name: (-1, 1)})
    with pytest.raises(InputError, match=f"--lower-is-better y_{name}"):
        direction.is_lower_better(history, f"y_{name}")
    assert direction.is_lower_better(history, f"y_{name}", lower=[f"y_{name}"])
    assert not direction.is_lower_better(history, f"y_{name}", higher=[f"y_{name}"])


def test_values_above_one_have_to_be_stated_and_accuracies_need_not():
    """An accuracy has values up to 1; what is stated wins even there."""
    history = outcomes(score=(1.5, 1), partly=(0.5, 1), math=(0, 1), glossary=(0, 1), acc_norm=(20, 30))
    assert not direction.is_lower_better(history, "y_acc_norm")  # in percent
    with pytest.raises(InputError, match="has 'loss' in it"):
        direction.is_lower_better(history, "y_glossary")
    with pytest.raises(InputError, match="all above 1"):
        direction.is_lower_better(history, "y_score")
    assert not direction.is_lower_better(history, "y_partly") and not direction.is_lower_better(history, "y_math")
    assert direction.is_lower_better(history, "y_math", lower=["y_math"])
    with pytest.raises(InputError, match="stated as both"):
        direction.is_lower_better(history, "y_math", ["y_math"], ["y_math"])
    with pytest.raises(InputError, match="y_maths"):
        direction.turned(history, ["y_math"], lower=["y_maths"])


@pytest.mark.parametrize("name", ["toxicity", "refusal_rate", "over_refusal", "err", "latency_s", "hallucinated"])
def test_what_some_count_and_others_score_by_its_absence_is_asked_about(name):
    """Raised by mistake, it would be a mixture for harm; an accuracy is none, nor is a word that only looks alike."""
    history = outcomes(**{name: (0, 1), f"{name}_acc": (0, 1), "answers": (0, 1), "harmless": (0, 1)})
    with pytest.raises(InputError, match=f"--lower-is-better y_{name}"):
        direction.is_lower_better(history, f"y_{name}")
    assert not any(direction.is_lower_better(history, f"y_{one}") for one in (f"{name}_acc", "answers", "harmless"))


def test_a_mean_of_losses_is_a_loss():
    """Its name says nothing, and its values may be below 1."""
    a, b = np.random.default_rng(0).uniform(size=(2, 60))
    losses = {"y_loss_a": a, "y_nll_b": b, "y_unseen": a + b, "y_loss_a_unseen": a}
    assert direction.is_lower_better(runs(3, n=60, **losses | {"y_dev": (a + b) / 2}), "y_dev")
    assert not direction.is_lower_better(runs(3, n=60, **losses | {"y_dev": 1 - a}), "y_dev")
    minus = {name: -values for name, values in losses.items()}
    with pytest.raises(InputError, match="--lower-is-better y_dev"):
        direction.is_lower_better(runs(3, n=60, **minus | {"y_dev": -(a + b) / 2}), "y_dev")


def test_a_loss_is_turned_and_its_worst_mixture_is_not_proposed():
    """The same answer as for minus the loss; the others stay, and so does the table that a part was taken from."""
    history = runs(3, n=120)
    loss = 3 - np.log(history.T + 0.01) @ [0.3, 0.1, -0.1]
    told = replace(history, frame=history.frame.assign(y_loss=loss), whole=history.whole.assign(y_loss=loss))
    turned = direction.turned(told, ["y_loss"], lower=["y_loss"])
    assert np.array_equal(turned.y("y_loss"), -loss) and np.array_equal(turned.whole["y_loss"], -loss)
    assert np.array_equal(turned.y(), history.y()) and direction.turned(told, ["y_dev"]) is told
    answer = METHODS["Cautious"](Question(turned, 100, outcome="y_loss", x=NO_STATE))
    worst = METHODS["Cautious"](Question(told, 100, outcome="y_loss", x=NO_STATE))
    assert answer.weights[0] > 0.6 and worst.weights[2] > 0.6
    assert "lower is better" in direction.called("y_loss", True) and direction.called("y_dev", False) == "y_dev"
    assert direction.stated("y", None) == ((), ()) and direction.stated("y", True) == (("y",), ())
    assert direction.stated("y", False) == ((), ("y",))


def test_objectives_are_one_outcome_of_the_right_weights():
    """Weights sum to one, a standardised mean weighs axes by their spread, and the worst axis names its outcomes."""
    history = outcomes(math=(0, 1), code=(0, 0.1))
    weighted = read_objective("y_math=3, y_code=1", "y_dev", history)
    derived = weighted.derived(history)
    assert derived.y(weighted.column) == pytest.approx(0.75 * history.y("y_math") + 0.25 * history.y("y_code"))
    assert "0.75 y_math" in weighted.told
    mean = read_objective("mean", "y_dev", history)
    found = mean.derived(history).y(mean.column)
    scores = [(y - y.mean()) / y.std() for y in (history.y("y_math"), history.y("y_code"))]
    assert found == pytest.approx(np.mean(scores, axis=0))
    worst = read_objective("worst", "y_dev", history)
    assert worst.worst and worst.outcomes == ("y_math", "y_code") and "gains least" in worst.told
    alone = read_objective("", "y_code", history)
    assert alone.column == "y_code" and alone.derived(history) is history and alone.told == ""


@pytest.mark.parametrize(
    "text, message",
    [("y_maths=1", "y_maths"), ("y_math=-1", "positive weights"), ("y_math", "an objective such as y_math=2"),
     ("y_math=inf", "an objective such as"), ("y_math=x", "an objective such as")],
)  # fmt: skip
def test_objectives_that_mean_nothing_are_refused(text, message):
    """One sentence each."""
    with pytest.raises(InputError, match=message):
        read_objective(text, "y_dev", outcomes(math=(0, 1), code=(0, 1)))


def test_objectives_over_axes_need_axes_that_differ():
    """Two of them at least, and none that is the same in all runs."""
    with pytest.raises(InputError, match="two or more axes"):
        read_objective("mean", "y_dev", runs(3))
    still = outcomes(math=(0, 1), code=(0.5, 0))
    with pytest.raises(InputError, match="found y_code at 0.5 in all"):
        read_objective("worst", "y_dev", still).derived(still)
