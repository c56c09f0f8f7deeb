"""The held-out check and the CATE tree."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapter_cells import said
from user_files import few_draws  # noqa: F401 (a fixture)

from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.effects import held_out, tree
from causalmix.effects.estimator import fit_effects
from causalmix.effects.simulate import simulate_history

QUICK = {"n_repeats": 1, "n_trees": 40}


@pytest.fixture(scope="module")
def simulation():
    return simulate_history(n=300, seed=1)


def test_split_keeps_every_run_once(simulation):
    """Fitted and held-out runs are disjoint and together all runs; another seed holds out others."""
    ids = [set(simulation.history.take(rows).frame["run_id"]) for rows in held_out.split_rows(300, 64, seed=0)]
    assert len(ids[1]) == 64
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == set(simulation.history.frame["run_id"])
    assert ids[1] != set(simulation.history.take(held_out.split_rows(300, 64, seed=1)[1]).frame["run_id"])


def test_theta_of_the_state_wins_where_returns_depend_on_it():
    """With returns that vary with the state, theta(x) predicts better than one theta, and both than none."""
    runs = simulate_history(n=300, heterogeneity=0.02, seed=1).history
    check = held_out.held_out_check(runs, n_test=64, n_splits=6, stage="linear", **QUICK)
    means = check.groupby("predictor")["r2"].mean()
    assert means["theta(x)"] > means["constant theta"] > means["state alone"]
    assert "**better** by R²" in said("04_effects", "held_out.lead", check=check, **chapter(runs))


def chapter(runs, varying=(0,)):
    """What the chapter's cell knows besides the check."""
    return {"runs": runs, "model": SimpleNamespace(varying=varying)}


def test_table_and_sentence_count_the_same_splits(simulation):
    """A lead in the twelfth digit is none: the table says so where the sentence does."""
    rows = [
        {"split": split, "predictor": name, "spearman": 0.9, "r2": r2}
        for split in range(4)
        for name, r2 in zip(held_out.PREDICTORS, (0.8 + 1e-12, 0.8, 0.1))
    ]
    check = pd.DataFrame(rows)
    assert list(held_out.check_summary(check)["theta(x)_ahead_in_r2"]) == ["–", "0 of 4", "4 of 4"]
    told = said("04_effects", "held_out.lead", check=check, **chapter(simulation.history))
    assert "higher in 0 of 4 splits" in told and "fewer than 5 splits have none" in told


def test_open_is_not_called_alike(simulation):
    """Where the interval holds nought the question is open, and without covariates there is none."""
    rows = [
        {"split": split, "predictor": name, "spearman": 0.9, "r2": 0.8 + 0.02 * (name == "theta(x)") * (-1) ** split}
        for split in range(6)
        for name in held_out.PREDICTORS
    ]
    check = pd.DataFrame(rows)
    told = said("04_effects", "held_out.lead", check=check, **chapter(simulation.history))
    assert "**open** by R² (+0.000 [" in told and "neither better nor worse" not in told
    alone = said("04_effects", "held_out.lead", check=check, **chapter(simulation.history, ()))
    assert "one θ for all states" in alone and "open" not in alone
    marked = check_history(simulation.history.frame.assign(adaptive=np.arange(300) < 7))
    assert "7 runs proposed after looking" in said("04_effects", "held_out.lead", check=check, **chapter(marked))


@pytest.mark.parametrize(("note", "shift", "lower"), [("It stands in.", 0, False), ("", -6, True)])
def test_a_stand_in_and_one_return_are_told_in_words(simulation, note, shift, lower):
    """The note is printed where there is one; points are told only of outcomes between 0 and 1.

    An outcome that was turned around gets better or worse, for what rises then is not its value.
    """
    frame = simulation.history.frame
    runs = check_history(frame.assign(y_dev=frame["y_dev"] + shift))
    model = replace(fit_effects(runs, stage="linear", n_repeats=1), note=note)
    names = {"model": model, "runs": runs, "y": runs.y(), "outcome": "y_dev", "stage": "forest", "lower": lower}
    told = said("04_effects", "In words", **names)
    assert ("stands in" in told) == bool(note) and ("points in a hundred" in told) == (shift == 0)
    assert "doubling the share of" in told and "`y_dev`: " in told
    assert lower != any(word in told for word in ("raises", "lowers"))


def test_a_split_may_leave_a_domain_without_runs():
    """A domain that one run has is missing from some parts; its return there is nought and predictions stay sound."""
    frame = simulate_history(n=100, covariates=("hes",), seed=1).history.frame
    weights = [c for c in frame if c.startswith("w_")]
    frame[weights[0]] = np.where(np.arange(100) == 7, 0.9, 0.0)
    frame[weights] = frame[weights].div(frame[weights].sum(axis=1), axis=0)
    for stage in ("linear", "forest"):
        check = held_out.held_out_check(check_history(frame), n_test=25, n_splits=8, stage=stage, **QUICK)
        assert check.loc[check["predictor"] == "theta(x)", "r2"].min() > -1
    parts = [check_history(frame).take(held_out.split_rows(100, 25, seed)[0]) for seed in range(8)]
    assert {bool(part.T[:, 0].any()) for part in parts} == {True, False}, "both kinds of split were seen"


def test_a_split_that_leaves_too_few_runs_is_told(simulation):
    """The runs are enough, those that a split leaves are not: the sentence says whose number it is."""
    few = check_history(simulation.history.frame.head(48))
    fit_effects(few, stage="linear", n_repeats=1)
    with pytest.raises(InputError, match="found 36 in the part of 48 that is fitted; .*hold out fewer"):
        held_out.held_out_check(few, n_splits=2, stage="linear", **QUICK)


def test_too_few_runs_to_hold_any_out(simulation):
    """Holding out nearly all runs is refused."""
    with pytest.raises(InputError, match="lower n_test"):
        held_out.split_rows(300, 295, seed=0)


def test_leaves_partition_the_runs_and_average_their_returns(simulation):
    """Each run is in one leaf; means over leaves, weighted by runs, are the means over all."""
    effects = fit_effects(simulation.history, **QUICK)
    leaves = tree.tree_leaves(effects, tree.cate_tree(effects))
    assert leaves["runs"].sum() == 300
    theta = effects.theta(simulation.history.X).mean(axis=0)
    columns = [f"theta_{d}" for d in simulation.history.domains]
    assert np.allclose(np.average(leaves[columns], axis=0, weights=leaves["runs"]), theta)
    assert leaves["state"].str.contains("≤|>").all()


def test_tree_sentence_sorts_domains_by_sign():
    """A domain is said to help only where it helps in every leaf."""
    leaves = pd.DataFrame({"theta_a": [0.1, 0.2], "theta_b": [-0.1, -0.2], "theta_c": [0.1, -0.1]})
    told = said("04_effects", "By point estimates", leaves=leaves)
    assert "helping in every group of states: a;" in told
    assert "hurting in every group: b;" in told
    assert "helping in some and hurting in others: c." in told
