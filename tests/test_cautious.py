"""A cautious mixture: the solver against brute force, limits that hold, and evidence."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from known_effects import EVEN, EVEN5, NO_STATE, THETA, Known, away, known, logs, runs, spread

from causalmix.methods.ask import METHODS
from causalmix.methods.cautious import KAPPA, Keep, cautious
from causalmix.methods.limits import Caution, limits
from causalmix.methods.question import Question

SAFE = 1.6448536269514722  # standard deviations of a one-sided 95% bound

GRID = np.array([(i, j, 200 - i - j) for i, j in itertools.product(range(201), range(201)) if i + j <= 200]) / 200
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


def test_sixty_four_domains_reach_the_optimum_with_few_questions():
    """Shares that maximise theta'log(T + eps) fill up to one water level, which bisection finds."""
    theta = np.random.default_rng(3).normal(0.01, 0.02, 64)
    low, high = 0.0, 100.0
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.maximum(level * np.maximum(theta, 0) - 0.01, 0).sum() < 1 else (low, level)
    best = np.maximum(level * np.maximum(theta, 0) - 0.01, 0)
    asked, reference = [], np.full(64, 1 / 64)
    effects = known(logs(theta), lambda a, b: asked.append(len(b)) or np.zeros(len(b)), k=64)
    found = cautious(effects, NO_STATE, limits(reference))
    assert sum(asked) < 15_000, "seconds of a slow estimate"
    assert bound(effects, found.weights[None], reference)[0] >= bound(effects, best[None], reference)[0] - 1e-4
    assert found.weights.sum() == pytest.approx(1) and (found.weights >= 0).all()


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
    assert "that is allowed and keeps y_dev gains more" in found.note and "no evidence" not in found.note


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
    assert f"{found.gain:+.3g} [{found.low:+.3g}, {found.high:+.3g}]" in found.note and "no evidence" in found.note
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


def test_the_worst_of_a_question_is_fitted_by_itself():
    """Not the outcome that the question has: one that has no returns keeps the reference."""
    history = runs(3, n=100, y_flat=np.random.default_rng(8).normal(size=100))
    told = history.frame.assign(y_dev=np.log(history.T + 0.01) @ [0.3, 0.0, 0.0])
    question = Question(replace(history, frame=told, whole=told), 100, x=NO_STATE)
    assert METHODS["Cautious"](question).weights[0] > 0.6
    worst = METHODS["Cautious"](replace(question, caution=Caution(worst=("y_dev", "y_flat"))))
    assert worst.weights == pytest.approx(EVEN) and "the reference is kept" in worst.note
