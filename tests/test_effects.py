"""Returns: recovered where they are known, the same for the same seed, and with the intervals of contrasts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import Normal
from causalmix.effects.simulate import simulate_history

EQUAL = np.full(5, 0.2)
SKEWED = np.array([0.5, 0.2, 0.1, 0.1, 0.1])
STATES = np.random.default_rng(7).normal(scale=0.8, size=(60, 3))
FEW = {"n_trees": 100, "n_repeats": 2}


@pytest.fixture(scope="module")
def simulation():
    """A history of the paper's size with returns that depend on the state."""
    return simulate_history(n=512, seed=1)


@pytest.fixture(scope="module", params=["forest", "linear", "bayesian"])
def fitted(request, simulation):
    """The effects of each final stage on that history."""
    return fit_effects(simulation.history, stage=request.param, n_trees=200, n_repeats=3)


def coverage(low, high, truth):
    """Share of intervals that hold the truth."""
    return ((low <= truth) & (truth <= high)).mean()


def test_returns_are_recovered_within_three_standard_errors(fitted, simulation, record_property, capsys):
    """On average over states and domains; the test tells how often the 95% intervals cover."""
    truth, (low, high) = simulation.theta(STATES), fitted.interval(STATES)
    errors = np.abs(fitted.theta(STATES) - truth) / ((high - low) / (2 * 1.96))
    covered = coverage(low, high, truth)
    record_property(f"coverage_{fitted.stage}", float(covered))
    with capsys.disabled():
        print(f"\n{fitted.stage}: mean error {errors.mean():.2f} standard errors, 95% intervals cover {covered:.0%}")
    assert errors.mean() < 3
    assert covered > 0.75
    assert np.sqrt(np.mean((fitted.theta(STATES) - truth) ** 2)) < truth.std(axis=0).mean()


def test_gains_are_recovered_with_their_intervals(fitted, simulation):
    """A contrast is the returns times the step, and its interval covers."""
    step = np.log(SKEWED + fitted.eps) - np.log(EQUAL + fitted.eps)
    gain, low, high = fitted.gain(STATES, EQUAL, SKEWED)
    assert gain == pytest.approx(fitted.theta(STATES) @ step)
    assert coverage(low, high, simulation.theta(STATES) @ step) > 0.75


def test_variance_of_a_contrast_uses_the_covariance(fitted):
    """Log shares move against each other, so a sum of two returns is known worse than their difference."""
    moved = [np.exp(np.log(EQUAL + fitted.eps) + [0.5, sign * 0.5, 0, 0, 0]) - fitted.eps for sign in (1, -1)]
    together, against = ((high - low).mean() for _, low, high in (fitted.gain(STATES, EQUAL, T) for T in moved))
    assert together > 1.05 * against


def test_contrast_interval_agrees_with_repeated_histories():
    """The standard error of a gain is the spread of its estimates over simulated histories."""
    found = [
        fit_effects(simulate_history(n=300, covariates=(), seed=s).history, n_repeats=1).gain([[]], EQUAL, SKEWED)
        for s in range(30)
    ]
    gains, errors = [float(g[0]) for g, _, _ in found], [float(h[0] - lo[0]) / (2 * 1.96) for _, lo, h in found]
    assert 0.6 < np.mean(errors) / np.std(gains, ddof=1) < 1.6


def test_draws_and_covariances_tell_the_same_posterior():
    """The variance of a contrast is that of its draws; without directions it is that of every return."""
    draws = np.random.default_rng(0).normal(size=(500, 4, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0], [0, -0.4, 2]])
    known, D = Normal.of_draws(draws), np.arange(12.0).reshape(4, 3)
    assert known.mean[0] == pytest.approx(draws.mean(axis=0))
    assert known.variance(D)[0] == pytest.approx(np.einsum("mnk,nk->mn", draws, D).var(axis=0, ddof=1))
    assert known.variance()[0] == pytest.approx(draws.var(axis=0, ddof=1))


def test_orthogonalisation_removes_confounding():
    """Where mixtures follow the state, least squares of the outcome on Z alone is further from the truth."""
    simulation = simulate_history(n=512, heterogeneity=0.0, confounding=0.7, seed=2)
    history = simulation.history
    Z = np.log(history.T + 0.01)
    naive = np.linalg.lstsq(np.column_stack([Z, np.ones(len(Z))]), history.y(), rcond=None)[0][:-1]
    returned = fit_effects(history, stage="linear", n_repeats=1).constant
    assert np.abs(returned - simulation.intercept).mean() < 0.7 * np.abs(naive - simulation.intercept).mean()


def test_same_seed_same_returns(simulation):
    """Everything random follows from the seed, and another seed gives other returns."""
    once, again, other = (fit_effects(simulation.history, seed=s, **FEW).theta(STATES[:5]) for s in (3, 3, 4))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_columns_are_found_by_name(simulation):
    """The order of a history's columns decides the order of the result and nothing else."""
    frame = simulation.history.frame
    shuffled = check_history(
        frame[
            [
                "y_dev",
                *[c for c in frame if c.startswith("w_")][::-1],
                "x_writing_style",
                "x_hes",
                "x_normalized_loss",
                "run_id",
            ]
        ]
    )
    plain, other = (fit_effects(h, stage="linear", n_repeats=1) for h in (simulation.history, shuffled))
    assert other.history.domains == plain.history.domains[::-1]
    assert other.theta(STATES[:, [2, 0, 1]])[:, ::-1] == pytest.approx(plain.theta(STATES), abs=2e-3)


def test_repeats_widen_the_interval_by_their_spread(simulation):
    """The variance of the median adds how far the repeats lie from it."""
    effects = fit_effects(simulation.history, stage="linear", n_repeats=3)
    (low, high), repeats = effects.interval(STATES), effects.repeats(STATES)
    own = np.stack([fit.const_marginal_effect_inference(STATES).stderr for fit in effects.fits])
    expected = np.median(own**2 + (repeats - np.median(repeats, axis=0)) ** 2, axis=0)
    assert ((high - low) / (2 * 1.959964)) ** 2 == pytest.approx(expected, rel=1e-5)


def test_prediction_is_the_level_plus_what_the_mixture_adds(fitted, simulation):
    """Predictions follow the outcome, and differ between mixtures by exactly the gain."""
    history = simulation.history
    errors = history.y() - fitted.predict(history.X, history.T)
    assert 1 - np.mean(errors**2) / history.y().var() > 0.6
    difference = fitted.predict(STATES, SKEWED) - fitted.predict(STATES, EQUAL)
    assert difference == pytest.approx(fitted.gain(STATES, EQUAL, SKEWED)[0])


def test_history_without_covariates_has_constant_returns():
    """The linear stage stands in for the forest and says so."""
    simulation = simulate_history(n=300, covariates=(), seed=5)
    effects = fit_effects(simulation.history, stage="forest", **FEW)
    low, high = effects.interval(np.empty((2, 0)))
    assert effects.stage == "linear" and "forest" in effects.note
    assert effects.theta(np.empty((2, 0))).shape == low.shape == (2, 5)
    assert coverage(low, high, simulation.intercept) >= 0.6
    assert effects.predict(simulation.history.X, simulation.history.T).shape == (300,)


def test_covariate_that_never_varies_is_passed_over(simulation):
    """It changes neither the returns nor the shape of what a state is."""
    history = check_history(simulation.history.frame.assign(x_model_size=7.0))
    effects = fit_effects(history, stage="linear", n_repeats=1)
    plain = fit_effects(simulation.history, stage="linear", n_repeats=1)
    states = np.column_stack([STATES, np.full(len(STATES), 7.0)])
    assert effects.theta(states) == pytest.approx(plain.theta(STATES))


@pytest.mark.parametrize(
    ("changes", "settings", "word"),
    [
        ({"y_dev": 0.5}, {}, "outcome that differs"),
        ({}, {"outcome": "y_nothing"}, "y_nothing"),
        ({}, {"stage": "boosting"}, "stage"),
        ({}, {"eps": 0.0}, "eps"),
    ],
)
def test_bad_input_gets_one_sentence(simulation, changes, settings, word):
    """What cannot be estimated is refused before anything is fitted."""
    history = replace(simulation.history, frame=simulation.history.frame.assign(**changes))
    with pytest.raises(InputError, match=word):
        fit_effects(history, **settings)


def test_share_that_never_varies_is_refused(simulation):
    """Its return cannot be told from the level."""
    T = np.column_stack(
        [np.full(512, 0.2), simulation.history.T[:, 1:] / simulation.history.T[:, 1:].sum(axis=1, keepdims=True) * 0.8]
    )
    frame = simulation.history.frame.assign(**{f"w_{d}": T[:, k] for k, d in enumerate(simulation.history.domains)})
    for digits in (17, 4, 3):  # written rounded and divided by its sum again, the share is not quite constant
        rounded = frame.round({f"w_{d}": digits for d in simulation.history.domains})
        with pytest.raises(InputError, match="w_coding the same in all .*divide the others by their sum"):
            fit_effects(check_history(rounded))


def test_states_of_another_width_are_refused(fitted):
    """A state has the history's covariates, all of them and no other."""
    with pytest.raises(InputError, match="writing_style"):
        fitted.theta(STATES[:, :2])


def test_few_runs_are_refused_by_the_linear_stage():
    """Two runs for each coefficient are the least."""
    with pytest.raises(InputError, match="linear stage"):
        fit_effects(simulate_history(n=40, seed=0).history, stage="linear")


def wide_history(n, k=17):
    """Random mixtures of many domains and an outcome of chance."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.dirichlet(np.ones(k), n), columns=[f"w_{i}" for i in range(k)])
    return check_history(frame.assign(run_id=np.arange(n).astype(str), x_hes=rng.normal(size=n), y_dev=rng.random(n)))


def test_few_runs_are_refused_by_the_forest_too():
    """Two runs for each domain and one more are the least."""
    with pytest.raises(InputError, match="more than 34 runs for the forest stage with 17 domains, found 34; add runs"):
        fit_effects(wide_history(34), **FEW)
    assert fit_effects(wide_history(35), n_trees=8, n_repeats=1).theta([[0.0]]).shape == (1, 17)


@pytest.mark.parametrize("stage", ["forest", "linear"])
@pytest.mark.parametrize("treatment", ["log", "ilr"])
def test_few_mixtures_run_many_times_are_refused(simulation, stage, treatment):
    """Five domains have five returns (four contrasts), and so many mixtures have one direction fewer."""
    frame, weights = simulation.history.frame.copy(), [f"w_{d}" for d in simulation.history.domains]
    directions = {"log": 5, "ilr": 4}[treatment]
    frame[weights] = frame[weights].to_numpy()[np.arange(len(frame)) % directions]
    with pytest.raises(
        InputError, match=f"differ in {directions} directions, found {directions - 1}.* of coding, .* follow"
    ):
        fit_effects(check_history(frame), stage=stage, treatment=treatment)


@pytest.mark.parametrize("stage", ["linear", "bayesian"])
@pytest.mark.parametrize("treatment", ["log", "ilr"])
def test_domains_whose_shares_go_together_are_named(simulation, stage, treatment):
    """And no others: whoever drops or joins one of them has an answer; so are all whose shares never change."""
    frame, (one, two, third, *others) = simulation.history.frame.copy(), simulation.history.domains
    frame[f"w_{one}"] = frame[f"w_{two}"]
    with pytest.raises(InputError, match=f"in all runs shares of {one}, {two} follow from each other"):
        fit_effects(_divided(frame), stage=stage, treatment=treatment)
    frame[[f"w_{name}" for name in (one, two)]] = 0.2, 0.1
    rest = [f"w_{name}" for name in (third, *others)]
    frame[rest] = 0.7 * frame[rest].div(frame[rest].sum(axis=1), axis=0)
    with pytest.raises(InputError, match=f"found w_{one}, w_{two} the same in all .* leave these domains out"):
        fit_effects(check_history(frame), stage=stage, treatment=treatment)


def _divided(frame):
    shares = frame.filter(like="w_")
    return check_history(frame.assign(**shares.div(shares.sum(axis=1), axis=0)))
