"""Mixtures from returns: both policies, their limits, the gain's table and the support."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapter_cells import said

from causalmix.core.errors import InputError
from causalmix.core.simplex import log_treatment
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import EPS
from causalmix.effects.simulate import simulate_history
from causalmix.methods.policy import Proposal, causalmix_a, causalmix_s, domain_caps, mixtures_table, support

THETA = np.array([0.03, 0.01, 0.02, 0.04, 0.005])
EQUAL = np.full(5, 0.2)
CAPS = np.array([0.3, 0.3, 0.2, 0.1, 0.4])
POLICIES = [causalmix_a, lambda theta, **limits: causalmix_s(theta, n_candidates=20_000, **limits)]


@pytest.fixture(scope="module")
def simulation():
    """A history with known returns."""
    return simulate_history(n=300, seed=1)


def test_a_is_the_positive_part_normalised():
    """Returns of nought and below get no rows."""
    assert causalmix_a(np.array([0.03, -0.5, 0.01])).weights == pytest.approx([0.75, 0, 0.25])


def test_a_maximises_the_score_where_all_returns_are_positive():
    """No random mixture has a higher score when the offset is negligible."""
    rivals = np.random.default_rng(0).dirichlet(np.ones(5), 20_000)
    assert (np.log(rivals) @ THETA).max() <= np.log(causalmix_a(THETA).weights) @ THETA


def test_s_is_near_the_maximum_and_near_a():
    """The mean of the best candidates scores nearly what the closed form does."""
    proposal = causalmix_s(THETA, eps=1e-6).weights
    best = causalmix_a(THETA).weights
    assert np.abs(proposal - best).sum() / 2 < 0.05
    assert log_treatment(proposal, EPS) @ THETA > log_treatment(EQUAL, EPS) @ THETA


def test_s_averages_the_best_candidates_of_its_seed():
    """With one candidate kept it is the very best one, found again one at a time."""
    drawn = np.random.default_rng(3).dirichlet(np.ones(5), 2_000)
    scores = [float(np.log(w + EPS) @ THETA) for w in drawn]
    found = causalmix_s(THETA, n_candidates=2_000, top=1, seed=3).weights
    assert found == pytest.approx(drawn[int(np.argmax(scores))])
    top = causalmix_s(THETA, n_candidates=2_000, top=7, seed=3).weights
    assert top == pytest.approx(drawn[np.argsort(scores)[-7:]].mean(axis=0))


def test_nothing_positive_keeps_the_reference_and_says_so():
    """It is Equal."""
    kept = causalmix_a(-THETA)
    assert kept.weights == pytest.approx(EQUAL) and "no return is positive" in kept.note.lower()
    assert causalmix_a(THETA).note == ""


@pytest.mark.parametrize("choose", POLICIES, ids=["A", "S"])
@pytest.mark.parametrize("theta", [THETA, -THETA, np.array([1.0, 0, 0, 0, 0])], ids=["positive", "negative", "corner"])
@pytest.mark.parametrize("radius", [None, 0.1])
def test_limits_hold_for_both_policies(choose, theta, radius):
    """Shares sum to one, stay below the caps and inside the trust region around what the caps allow of Equal."""
    weights = choose(theta, radius=radius, caps=CAPS).weights
    centre = causalmix_a(-np.ones(5), caps=CAPS).weights
    assert weights.sum() == pytest.approx(1) and (weights >= -1e-12).all()
    assert (weights <= CAPS + 1e-9).all()
    assert radius is None or np.abs(weights - centre).sum() / 2 <= radius + 1e-9


def test_caps_fill_the_others_in_proportion():
    """Domains below their caps keep their ratios; one of weight nought gets rows only where all others are full."""
    assert causalmix_a(np.array([0.8, 0.1, 0.1]), caps=np.array([0.5, 1, 1])).weights == pytest.approx(
        [0.5, 0.25, 0.25]
    )
    assert causalmix_a(np.array([0.9, 0.1, 0.0]), caps=np.array([0.5, 0.3, 1])).weights == pytest.approx(
        [0.5, 0.3, 0.2]
    )


def test_trust_region_keeps_the_direction():
    """The limited mixture lies on the way from the reference to the plain one, at the radius."""
    plain, held = causalmix_a(THETA).weights, causalmix_a(THETA, radius=0.1).weights
    step, whole = held - EQUAL, plain - EQUAL
    assert np.abs(step).sum() / 2 == pytest.approx(0.1)
    assert step / np.linalg.norm(step) == pytest.approx(whole / np.linalg.norm(whole))


def test_caps_follow_from_rows():
    """A domain cannot give more rows than it has, and all together must be enough."""
    assert domain_caps(np.array([50, 400]), 200) == pytest.approx([0.25, 1])
    with pytest.raises(InputError, match="rows"):
        domain_caps(np.array([50, 100]), 200)


@pytest.mark.parametrize(
    "limits",
    [
        {"caps": np.full(5, 0.1)},
        {"caps": np.ones(4)},
        {"radius": 1.5},
        {"radius": -0.1},
    ],
    ids=[
        "caps below one",
        "caps of another length",
        "radius above one",
        "radius below nought",
    ],
)
@pytest.mark.parametrize("choose", POLICIES, ids=["A", "S"])
def test_impossible_limits_are_refused(choose, limits):
    """One sentence, and no mixture."""
    with pytest.raises(InputError):
        choose(THETA, **limits)


def test_more_kept_than_drawn_is_refused():
    """There is no mean of the best 100 among 10."""
    with pytest.raises(InputError, match="top"):
        causalmix_s(THETA, n_candidates=10, top=100)


def test_support_knows_the_middle_from_the_far_side(simulation):
    """The mean state at Equal is inside; a state ten deviations away, or no rows but one domain's, is lonelier."""
    history = simulation.history
    middle = support(EQUAL, history.X.mean(axis=0), history)
    far = support(EQUAL, history.X.mean(axis=0) + 10 * history.X.std(axis=0), history)
    corner = support(np.array([1.0, 0, 0, 0, 0]), history.X.mean(axis=0), history)
    assert middle.inside and not far.inside
    assert far.quantile == 1 and corner.quantile > middle.quantile


def test_about_one_run_in_twenty_is_outside_of_the_others(simulation):
    """Judged as a new point by the rest of the history, a run has a uniform quantile."""
    other = simulate_history(n=60, seed=9).history
    inside = np.mean([support(w, x, simulation.history).inside for w, x in zip(other.T, other.X)])
    assert 0.8 <= inside <= 1


def test_table_has_the_columns_of_the_contract(simulation):
    """Gains are those of the effects, Equal gains nothing over itself, and the weights sum to one."""
    effects = fit_effects(simulation.history, stage="linear", n_repeats=1)
    x = simulation.history.X.mean(axis=0)
    proposals = {"Equal": Proposal(EQUAL), "CausalMix-A": causalmix_a(effects.theta(x)[0])}
    table = mixtures_table(effects, x, "whole", proposals, EQUAL, 1000)
    assert set(table) >= {
        "method",
        "pool",
        "predicted_gain",
        "gain_ci_low",
        "gain_ci_high",
        "in_support",
        "proxy_runs_used",
    }
    assert table.filter(like="w_").sum(axis=1).to_numpy() == pytest.approx(1)
    assert table["predicted_gain"][0] == pytest.approx(0)
    assert table["predicted_gain"][1] == pytest.approx(effects.gain(x, EQUAL, proposals["CausalMix-A"].weights)[0][0])
    assert table["gain_ci_low"][1] < table["predicted_gain"][1] < table["gain_ci_high"][1]


def test_replicated_runs_count_once(simulation):
    """Every run twice leaves support as it is: a run is at no distance from its own replicate."""
    history = simulation.history
    again = replace(history, frame=pd.concat([history.frame, history.frame], ignore_index=True))
    for w, x in ((EQUAL, history.X.mean(axis=0)), (np.array([0.9, 0.1, 0, 0, 0]), history.X[0])):
        once, twice = support(w, x, history), support(w, x, again)
        assert twice.quantile == pytest.approx(once.quantile) and twice.inside == once.inside


def test_support_is_the_share_of_runs_that_are_closer_to_another(simulation):
    """Found again from all distances, one by one."""
    history, w, x = simulation.history, np.array([0.6, 0.1, 0.1, 0.1, 0.1]), simulation.history.X[3]
    logs = np.log(np.vstack([history.T, w]) + EPS)
    points = np.column_stack([logs - logs.mean(axis=1, keepdims=True), np.vstack([history.X, x])])
    points = (points - points[:-1].mean(axis=0)) / points[:-1].std(axis=0)
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag(np.full(len(points), np.inf))
    assert support(w, x, history).quantile == (gaps[:-1, :-1].min(axis=1) < gaps[-1].min()).mean()


@pytest.mark.parametrize("w, x", [([np.nan, 0.4, 0.2, 0.2, 0.2], [0, 0, 0]), (EQUAL, [0, np.nan, 0])])
def test_what_is_not_a_number_has_no_support(simulation, w, x):
    """It is refused, not taken for the nearest of all."""
    with pytest.raises(InputError, match="a finite mixture and state"):
        support(np.array(w), np.array(x, float), simulation.history)


@pytest.mark.parametrize("choose", POLICIES, ids=["A", "S"])
def test_a_pool_may_be_used_up(choose):
    """Caps of rows that are exactly enough sum to 1 but for the last digit."""
    rows = np.array([1, 1, 1, 1, 1, 1, 1]) * 7 + np.array([0, 1, 2, 3, 4, 5, 6])
    caps = domain_caps(rows, rows.sum()) - 1e-12
    assert caps.sum() < 1
    assert choose(np.arange(7) - 2.0, caps=caps).weights == pytest.approx(caps)


@pytest.mark.parametrize(("there", "here", "bare"), [(1, 1, ""), (0, 1, "it"), (1, 0, "equal shares")])
def test_the_box_says_where_the_history_has_no_runs(there, here, bare):
    """A gain over equal shares rests on runs only where these lie near the mixture and near equal shares."""
    row = {"predicted_gain": 0.05, "gain_ci_low": 0.02, "gain_ci_high": 0.08, "gain_rows": 100}
    lines = [{"method": m, "in_support": bool(i), **row} for m, i in (("Cautious", there), ("Equal", here))]
    table = pd.DataFrame(lines)
    runs = SimpleNamespace(y=lambda _: np.array([0.4, 0.6]), domains=("a", "b"))
    names = {"mixtures": table, "runs": runs, "base": table.set_index("method").loc["Equal"], "outcome": "y_dev"}
    told = said("05_mixture", "in_short.answer", careful=SimpleNamespace(weights=[0.7, 0.3]), **names)
    assert "takes 70% a, 30% b, and expects **+5.0** [+2.0, +8.0]" in told
    lacking = f"No runs of the history lie near {bare}, so the gain rests on the model's form; only training can tell."
    assert told.endswith(lacking if bare else "Runs of the history lie near it, so the gain rests on them.")
