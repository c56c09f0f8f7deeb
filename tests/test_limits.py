"""Floors, caps and trust regions of a cautious mixture: they hold, what is nearest within them, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from known_effects import EVEN, EVEN5, NO_STATE, THETA, known, logs, runs

from causalmix.core.errors import InputError
from causalmix.core.simplex import nearest
from causalmix.methods.ask import METHODS
from causalmix.methods.cautious import cautious
from causalmix.methods.limits import Caution, limits
from causalmix.methods.question import Question

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
        lambda: Question(runs(3), 10_000, np.array([500, 500, 500]), max_repeats=1).caps,
        "at least 10,000 rows in the pool .* found 3,000 with at most 1 repeat of each",
    ),
}


@pytest.mark.parametrize("ask, message", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(ask, message):
    """It says what was expected and found, and what to do."""
    with pytest.raises(InputError, match=message) as refusal:
        ask()
    assert str(refusal.value).startswith("Expected") and "; " in str(refusal.value) and "\n" not in str(refusal.value)
