"""Runs of one mixture are one cluster: in folds, in splits and in errors; without such runs nothing changes."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.effects import assignment, double_ml, held_out
from causalmix.effects.estimator import fit_effects
from causalmix.effects.simulate import simulate_history

QUICK = {"n_repeats": 1, "n_trees": 8}


def repeated(n: int, copies: int, covariates=("hes",), seed: int = 0, shared: float = 0.0):
    """A history whose mixtures occur in several runs, all over the table, with noise that runs of a mixture share."""
    history = simulate_history(n=n, covariates=covariates, seed=seed).history
    weights = [f"w_{d}" for d in history.domains]
    rng, frame, which = np.random.default_rng(seed), history.frame.copy(), np.arange(n) % (n // copies)
    frame[weights] = frame[weights].to_numpy()[which]
    frame["y_dev"] = rng.normal(0, 0.02, n) + shared * rng.normal(size=n // copies)[which]
    return check_history(frame)


def test_mixtures_are_numbered_by_their_first_runs():
    """Distinct ones are 0 to n - 1; a mixture that comes again has the number that it had."""
    assert np.array_equal(repeated(40, 1).clusters, np.arange(40))
    assert np.array_equal(repeated(40, 4).clusters, np.arange(40) % 10)


def test_no_mixture_is_on_both_sides():
    """Of folds, and of splits, which hold out as many runs as fit."""
    clusters = repeated(120, 3).clusters
    pairs = double_ml.folds(clusters, 5, seed=1)
    pairs += [held_out.split_rows(120, 30, seed, clusters) for seed in range(5)]
    for fitted, tested in pairs:
        assert np.array_equal(np.sort([*fitted, *tested]), np.arange(120))
        assert not set(clusters[fitted]) & set(clusters[tested])
    assert {len(tested) for _, tested in pairs[5:]} == {30}


def test_distinct_mixtures_have_the_folds_and_splits_that_they_had():
    """So that what is recorded stays: KFold's, and the first of a random order of all runs."""
    ours, theirs = double_ml.folds(np.arange(50), 5, seed=3), KFold(5, shuffle=True, random_state=3).split(np.zeros(50))
    assert all(np.array_equal(a, b) for pair in zip(ours, theirs) for a, b in zip(*pair))
    rest, tested = held_out.split_rows(50, 12, 7, np.arange(50))
    order = np.random.default_rng([7, 40]).permutation(50)
    assert np.array_equal(tested, np.sort(order[:12])) and np.array_equal(rest, np.sort(order[12:]))


def test_cross_fitting_uses_the_folds():
    """A run's residual does not depend on the outcomes of the other runs of its mixture."""
    history = repeated(120, 3)
    mixture = history.clusters == history.clusters[0]
    moved = history.frame.assign(y_dev=history.frame["y_dev"] + 5.0 * (mixture & (np.arange(120) > 0)))
    first = [fit_effects(h, stage="linear", **QUICK).residuals[0][0][0] for h in (history, check_history(moved))]
    assert first[0] == pytest.approx(first[1])


@pytest.mark.parametrize(("copies", "shared"), [(1, 0.0), (6, 0.05)])
def test_errors_of_the_linear_stage_are_by_mixture(copies, shared):
    """Over histories the estimates spread as their errors say; by run the errors would be half of that or less."""
    found, errors, by_run = [], [], []
    for seed in range(30):
        effects = fit_effects(repeated(240, copies, (), seed, shared), stage="linear", n_repeats=1)
        (low,), (high,) = effects.interval([[]])
        y, z = effects.residuals[0]
        left = y - z @ effects.constant
        found.append(effects.theta([[]])[0])
        errors.append((high - low) / (2 * 1.96))
        by_run.append(double_ml.clustered(left, z, np.arange(240)).bse)
    truth = np.std(found, axis=0, ddof=1).mean()
    assert 0.7 < np.mean(errors) / truth < 1.4
    if shared:
        assert np.mean(by_run) < 0.55 * truth
    else:
        assert np.array(errors) == pytest.approx(np.array(by_run), rel=1e-4)


def test_runs_that_were_proposed_after_looking_are_not_held_out():
    """Neither held out nor fitted: the check is that of the designed runs alone, also where both sides are parts."""
    history = repeated(120, 1)
    told = np.where(np.arange(120) >= 80, True, None)  # runs of before have no such column, and a gap where they join
    marked = check_history(history.frame.assign(adaptive=told))
    alone = check_history(history.frame.head(80))
    checks = [held_out.held_out_check(h, n_test=16, n_splits=2, stage="linear", **QUICK) for h in (marked, alone)]
    assert checks[0].equals(checks[1])
    assert set(checks[0]["fitted"]) == {64} and set(checks[0]["held_out"]) == {16}
    settings = {"n_test": 16, "n_splits": 2} | QUICK
    both = [assignment.assignment_scores(h, h, **settings) for h in (marked, alone)]
    assert both[0].equals(both[1])


@pytest.mark.parametrize(
    ("copies", "n_test", "words"),
    [
        (40, 30, "at least 5 different mixtures for 5 folds, found 3"),
        (24, 25, "2 or more mixtures in 25 runs"),
    ],
)
def test_too_few_mixtures_get_one_sentence(copies, n_test, words):
    """Folds need one each, and a split two to put in order."""
    clusters = np.arange(120) % (120 // copies)
    with pytest.raises(InputError, match=words):
        double_ml.folds(clusters, 5, 0)
        held_out.split_rows(120, n_test, 0, clusters)
