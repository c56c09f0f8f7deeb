"""The held-out check and the CATE tree."""

import numpy as np
import pandas as pd
import pytest

from causalmix import validation
from causalmix.effects import fit_effects
from causalmix.errors import InputError
from causalmix.simulate import simulate_history

QUICK = {"n_repeats": 1, "n_trees": 40}


@pytest.fixture(scope="module")
def simulation():
    return simulate_history(n=300, seed=1)


def test_split_keeps_every_run_once(simulation):
    """Fitted and held-out runs are disjoint and together all runs; another seed holds out others."""
    fitted, held_out = validation.split_history(simulation.history, 64, seed=0)
    ids = [set(part.frame["run_id"]) for part in (fitted, held_out)]
    assert len(ids[1]) == 64
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == set(simulation.history.frame["run_id"])
    assert ids[1] != set(validation.split_history(simulation.history, 64, seed=1)[1].frame["run_id"])


def test_theta_of_the_state_wins_where_returns_depend_on_it(simulation):
    """With returns that vary with the state, theta(x) predicts better than one theta, and both than none."""
    check = validation.held_out_check(simulation.history, n_test=64, n_splits=3, stage="linear", **QUICK)
    means = check.groupby("predictor")["r2"].mean()
    assert means["theta(x)"] > means["constant theta"] > means["state alone"]
    assert "**better**" in validation.check_sentence(check)


def test_too_few_runs_to_hold_any_out(simulation):
    """Holding out nearly all runs is refused."""
    with pytest.raises(InputError, match="lower n_test"):
        validation.split_history(simulation.history, 295, seed=0)


def test_leaves_partition_the_runs_and_average_their_returns(simulation):
    """Each run is in one leaf; means over leaves, weighted by runs, are the means over all."""
    effects = fit_effects(simulation.history, **QUICK)
    leaves = validation.tree_leaves(effects, validation.cate_tree(effects))
    assert leaves["runs"].sum() == 300
    theta = effects.theta(simulation.history.X).mean(axis=0)
    columns = [f"theta_{d}" for d in simulation.history.domains]
    assert np.allclose(np.average(leaves[columns], axis=0, weights=leaves["runs"]), theta)
    assert leaves["state"].str.contains("≤|>").all()


def test_tree_sentence_sorts_domains_by_sign():
    """A domain is said to help only where it helps in every leaf."""
    leaves = pd.DataFrame({"theta_a": [0.1, 0.2], "theta_b": [-0.1, -0.2], "theta_c": [0.1, -0.1]})
    told = validation.tree_sentence(leaves)
    assert "helping in every group of states: a;" in told
    assert "hurting in every group: b;" in told
    assert "helping in some and hurting in others: c." in told
