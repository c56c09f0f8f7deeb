"""The Bayesian stage: returns that jump and bend, responses that bend, and exact algebra."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from user_files import draw_few

from causalmix.core.history import check_history
from causalmix.effects import bayesian, horseshoe
from causalmix.effects.estimator import fit_effects
from causalmix.effects.simulate import World, draw
from causalmix.effects.state_basis import KINDS, state_basis


@pytest.mark.parametrize("kind", ["steps", "interactions"])
def test_what_is_not_linear_is_found(kind, monkeypatch):
    """Its error is clearly below that of the linear stage."""
    draw_few(monkeypatch, 50, 100)
    known = draw(World(kind), 512, 50)
    errors = [
        np.sqrt(
            np.mean(
                (fit_effects(known.history, stage=s, n_repeats=1).theta(known.states) - known.returns(known.states))
                ** 2
            )
        )
        for s in ("bayesian", "linear")
    ]
    assert errors[0] < 0.75 * errors[1], errors


def mixtures_history(response, n=200, k=4, noise=0.01, seed=0, **more):
    """Runs without covariates whose outcome is a function of the mixture."""
    rng = np.random.default_rng(seed)
    T = rng.dirichlet(np.ones(k), n)
    columns = {f"w_{j}": T[:, j] for j in range(k)}
    y = response(T) + noise * rng.normal(size=n)
    return check_history(pd.DataFrame({"run_id": range(n), "y_dev": y} | columns | more))


def test_a_response_that_peaks_inside_is_promised_nothing_at_its_edge():
    """The bend is found and told, and the predicted gain at the edge is the loss that it is."""
    history = mixtures_history(lambda T: -((T[:, 0] - 0.4) ** 2))
    fitted = fit_effects(history, stage="bayesian")
    edge, peak = np.array([0.97, 0.01, 0.01, 0.01]), np.array([0.4, 0.2, 0.2, 0.2])
    (at_edge, at_peak), low, high = fitted.gain(np.empty((1, 0)), np.full(4, 0.25), np.stack([edge, peak]))
    assert fitted.response != "log" and "bends" in fitted.note
    assert high[0] < -0.1 and low[1] > 0.01 and at_edge < at_peak
    assert low[1] < 0.0225 < high[1]


def test_a_response_to_the_logarithm_is_taken_as_one():
    """Most of the time: a bend must lead by two standard errors."""
    histories = [mixtures_history(lambda T: np.log(T + 0.01) @ [0.03, 0.02, 0.01, 0.0], seed=s) for s in range(4)]
    fits = [fit_effects(history, stage="bayesian", seed=s) for s, history in enumerate(histories)]
    assert [f.response for f in fits].count("log") >= 3
    assert all(f.note == "" for f in fits if f.response == "log")


def test_gains_of_few_noisy_runs_without_covariates_are_covered():
    """What domains' returns differ by is not taken for next to nothing before the runs have told it."""
    held = []
    for seed in range(20):
        known = draw(World("constant", d=0, noise=0.05), 48, seed)
        fitted = fit_effects(known.history, stage="bayesian", responses=("log",), seed=seed)
        even = np.full(5, 0.2)
        _, low, high = fitted.gain(known.states, even, known.mixtures)
        truth = known.gain(known.states, even, known.mixtures)
        held.append(((low <= truth) & (truth <= high)).mean())
    assert np.mean(held) > 0.85


def test_no_bend_is_told_of_noise():
    """Responses then predict all but alike, so a lead that is nothing is many of its own errors."""
    histories = [mixtures_history(lambda T: 0 * T[:, 0], n=24, k=5, noise=1, seed=s) for s in range(12)]
    assert [fit_effects(h, stage="bayesian").response for h in histories].count("log") >= 11


@pytest.mark.parametrize("seed", [5, 36])
def test_a_curve_of_the_state_is_not_taken_for_a_bend(seed, monkeypatch):
    """Logarithms of shares are the truth, and the quick model that compares responses has no curves."""
    monkeypatch.setattr(horseshoe.sample, "__defaults__", (10, 20, False))  # the response is found before these draws
    assert fit_effects(draw(World("wavy"), 128, seed).history, stage="bayesian", seed=seed).response == "log"


def test_gains_and_predictions_are_of_one_function():
    """Whatever the response, a gain is the difference of two predictions; for a logarithm, also the return's."""
    for response in (lambda T: -((T[:, 0] - 0.4) ** 2), lambda T: 0.03 * np.log(T[:, 0] + 0.01)):
        fitted = fit_effects(mixtures_history(response), stage="bayesian")
        T, X = np.random.default_rng(1).dirichlet(np.ones(4), 7), np.empty((1, 0))
        gain, low, high = fitted.gain(X, np.full(4, 0.25), T)
        assert gain == pytest.approx(fitted.predict(X, T) - fitted.predict(X, np.full(4, 0.25)))
        if fitted.response == "log":
            step = np.log(T + 0.01) - np.log(0.26)
            known = fitted.posterior(np.empty((7, 0)))
            assert gain == pytest.approx((known.mean[0] * step).sum(axis=1), rel=1e-6, abs=1e-9)
            assert ((high - low) / (2 * 1.959964)) ** 2 == pytest.approx(known.variance(step)[0], rel=1e-4)


def test_one_state_is_worked_out_as_many_are():
    """Gains and errors of several mixtures in one state are those that each has among other states."""
    known = draw(World("linear", k=3, d=2), 80, 7)
    fitted, T = fit_effects(known.history, stage="bayesian"), known.mixtures[:6]
    among = fitted.moments(known.states[:6], np.full(3, 1 / 3), T)
    alone = [fitted.moments(x[None], np.full(3, 1 / 3), T) for x in known.states[:6]]
    for part in (0, 1):
        assert among[part] == pytest.approx([one[part][i] for i, one in enumerate(alone)], rel=1e-6)


def test_order_of_returns_that_turns_with_the_rows_is_followed():
    """One domain pays in short runs and another in long ones: the answer for the larger size is the right one."""
    rng = np.random.default_rng(3)
    n, T = 300, rng.dirichlet(np.ones(3), 300)
    rows = rng.choice([750, 1500, 3000, 6000], n)
    far, Z = np.log2(rows / 2121), np.log(T + 0.01)
    y = 0.5 + Z[:, 0] * (0.02 - 0.015 * far) + Z[:, 1] * (0.02 + 0.015 * far) + 0.015 * rng.normal(size=n)
    frame = pd.DataFrame({"run_id": range(n), "n_samples": rows, "y_dev": y} | {f"w_{j}": T[:, j] for j in range(3)})
    history = check_history(frame)
    assert history.covariates == ("log2_n_samples",) and history.measured == ()
    fitted = fit_effects(history, stage="bayesian")
    short, large = (fitted.theta(history.state([], n_samples=size))[0] for size in (750, 6000))
    assert short[0] > short[1] + 0.02 and large[1] > large[0] + 0.02
    beyond = fitted.interval(history.state([], n_samples=48_000)[None])
    within = fitted.interval(history.state([], n_samples=6000)[None])
    assert np.ptp(beyond, axis=0).mean() > 1.5 * np.ptp(within, axis=0).mean()


def test_runs_of_one_mixture_share_an_error():
    """Four seeds of a mixture tell little more than one where mixtures miss the model by more than seeds differ."""
    rng = np.random.default_rng(4)
    T = rng.dirichlet(np.ones(3), 40)
    miss, step = rng.normal(0, 0.03, 40), np.log(T + 0.01) @ [0.02, 0.01, 0.0]
    four = np.repeat(np.arange(40), 4)
    make = lambda which, y: check_history(  # noqa: E731
        pd.DataFrame({"run_id": range(len(which)), "y_dev": y} | {f"w_{j}": T[which, j] for j in range(3)})
    )
    once = make(np.arange(40), step + miss + rng.normal(0, 0.003, 40))
    often = make(four, (step + miss)[four] + rng.normal(0, 0.003, 160))
    errors = [np.ptp(fit_effects(h, stage="bayesian").interval(np.empty((1, 0))), axis=0).mean() for h in (once, often)]
    assert 0.7 < errors[1] / errors[0] < 1.4, errors


def test_gains_are_covered_where_few_mixtures_have_an_error_of_their_own(monkeypatch):
    """Eight runs of each of twelve mixtures are not 96 witnesses."""
    monkeypatch.setattr(horseshoe.sample, "__defaults__", (50, 100, False))
    held = []
    for seed in range(16):
        rng = np.random.default_rng([seed, 5])
        mixtures, theta, own = rng.dirichlet(np.ones(5), 12), rng.normal(0.012, 0.012, 5), rng.normal(0, 0.02, 12)
        T, y = np.repeat(mixtures, 8, axis=0), np.repeat(np.log(mixtures + 0.01) @ theta + own, 8)
        frame = pd.DataFrame(T, columns=[f"w_{j}" for j in range(5)])
        history = check_history(frame.assign(run_id=range(96), y_dev=y + rng.normal(0, 0.015, 96)))
        further, even = rng.dirichlet(np.ones(5), 40), np.full(5, 0.2)
        _, low, high = fit_effects(history, stage="bayesian", seed=seed).gain(np.empty((1, 0)), even, further)
        truth = (np.log(further + 0.01) - np.log(even + 0.01)) @ theta
        held.append(((low <= truth) & (truth <= high)).mean())
    assert np.mean(held) > 0.89


def test_noise_that_differs_between_runs_is_weighed(monkeypatch):
    """Precise runs count for more: the error is smaller than that of equal weights, in the same worlds."""
    draw_few(monkeypatch, 50, 100)
    worlds = [draw(World("linear", uneven=True, noise=0.03), 256, seed) for seed in (310, 311)]
    weighed, plain = [], []
    for known in worlds:
        truth = known.returns(known.states)
        weighed.append(np.mean((fit_effects(known.history, stage="bayesian").theta(known.states) - truth) ** 2))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bayesian, "UNEVEN", 2.0)
            plain.append(np.mean((fit_effects(known.history, stage="bayesian").theta(known.states) - truth) ** 2))
    assert np.mean(weighed) < 0.95 * np.mean(plain), (weighed, plain)


def test_without_covariates_with_many_domains_and_bit_for_bit(monkeypatch):
    """Returns are the same in all states; 64 domains work; the same seed gives the same bits."""
    draw_few(monkeypatch)
    history = mixtures_history(lambda T: np.log(T + 0.01) @ np.linspace(0.02, -0.01, 64), n=300, k=64)
    once, again = (fit_effects(history, stage="bayesian", seed=3) for _ in range(2))
    theta = once.theta(np.empty((2, 0)))
    assert theta[0] == pytest.approx(theta[1]) and theta.shape == (2, 64)
    assert np.array_equal(theta, again.theta(np.empty((2, 0))))
    assert np.corrcoef(theta[0], np.linspace(0.02, -0.01, 64))[0, 1] > 0.5


def test_the_sampler_agrees_with_ridge_regression_where_nothing_is_shrunk_apart():
    """With free coefficients alone, mean and covariance are the textbook's."""
    rng = np.random.default_rng(5)
    D = rng.normal(size=(80, 4))
    y = D @ [1, -1, 0.5, 0] + 0.5 * rng.normal(size=80)
    prior = horseshoe.Prior(np.arange(4), np.zeros(4, int), np.array([True]), np.array([False]), np.ones(1))
    known = horseshoe.sample(D, y, prior, np.arange(80), seed=0)
    A = D.T @ D / known.noise + np.eye(4) / horseshoe.FLAT
    assert known.mean == pytest.approx(np.linalg.solve(A, D.T @ y / known.noise), rel=1e-2, abs=1e-3)
    assert known.covariance == pytest.approx(np.linalg.inv(A), rel=0.05, abs=2e-4)


@pytest.mark.parametrize("exact", [False, True])
def test_left_out_density_is_that_of_fits_without_the_cluster(exact):
    """Against the sum over clusters of the density by all other runs, computed one by one."""
    rng = np.random.default_rng(6)
    D, clusters = rng.normal(size=(60, 3)), np.repeat(np.arange(30), 2)
    y = D @ [1, 0, -1] + rng.normal(size=60)
    prior = horseshoe.Prior(np.arange(3), np.zeros(3, int), np.array([True]), np.array([False]), np.ones(1))
    known, direct = horseshoe.sample(D, y, prior, clusters, seed=0, keep=2000, exact=exact), []
    for c in range(30):
        rest, here = clusters != c, clusters == c
        part = horseshoe.sample(D[rest], y[rest], prior, np.unique(clusters[rest], return_inverse=True)[1], seed=c)
        spread = D[here] @ part.covariance @ D[here].T + part.noise * np.eye(2)
        left = y[here] - D[here] @ part.mean
        direct.append(-0.5 * (left @ np.linalg.solve(spread, left) + np.linalg.slogdet(2 * np.pi * spread)[1]))
    assert known.left_out == pytest.approx(direct, abs=0.1 if exact else 0.5)
    assert known.left_out.sum() == pytest.approx(np.sum(direct), abs=1.0)


def test_weights_follow_the_evidence_and_not_luck():
    """A clear lead takes all; the same density shares alike."""
    base = np.random.default_rng(7).normal(size=200)
    assert horseshoe.model_weights(np.stack([base, base + 0.1]), 0)[1] > 0.99
    assert horseshoe.model_weights(np.stack([base, base]), 0) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("d", [0, 1, 2, 7])
def test_the_basis_of_states_has_its_kinds_and_keeps_to_its_room(d):
    """Lines always; the rest as far as there is room, and bumps that stay still beyond the runs."""
    X = np.random.default_rng(8).normal(size=(100, d))
    wide, narrow = state_basis(X, KINDS[:-1], 200), state_basis(X, KINDS[:-1], 4)
    kinds, groups = wide.labels()
    assert wide(X).shape == (100, len(kinds)) and len(kinds) <= 200 and kinds.count("line") == d
    assert narrow(X).shape[1] == max(1 + d, min(1 + d, 4) if d > 1 else narrow(X).shape[1])
    assert set(kinds) <= set(KINDS) and groups.max() < len(kinds)
    if d:
        smooth = np.array(kinds) == "smooth"
        far = np.abs(wide(X.max(axis=0, keepdims=True) + 9) - wide(X.max(axis=0, keepdims=True)))[:, smooth]
        assert far.max() == pytest.approx(0, abs=1e-9)


def test_curves_are_a_gaussian_process_where_the_runs_are():
    """Their inner products are its covariance within the runs, and nothing changes beyond; many returns leave none."""
    a, X = np.random.default_rng(8).normal(size=(200, 1)), np.linspace(-1.5, 1.5, 7)[:, None]
    basis = state_basis(a, ("constant", "curve"), 30)
    columns = lambda x: basis(x * a.std() + a.mean())[:, 1:]  # noqa: E731
    np.testing.assert_allclose(columns(X) @ columns(X).T, np.exp(-0.5 * (X - X.T) ** 2), atol=0.01)
    np.testing.assert_array_equal(basis(a[[a.argmax()]]), basis(a[[a.argmax()]] + 9))
    assert set(state_basis(a, KINDS, 4).labels()[0]) == {"constant", "line", "quadratic", "step"}


def test_returns_that_wave_are_followed_by_curves(monkeypatch):
    """They weigh most, and less is lost than without them."""
    draw_few(monkeypatch, 50, 100)
    known, errors = draw(World("wavy"), 512, 51), []
    for ways in (bayesian.DEPENDENCE, {way: of for way, of in bayesian.DEPENDENCE.items() if way != "by curves"}):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bayesian, "DEPENDENCE", ways)
            fitted = fit_effects(known.history, stage="bayesian")
        weights = dict(fitted.dependence)
        assert weights.get("by curves", 0) > 0.5 or "by curves" not in ways, weights
        errors.append(np.mean((fitted.theta(known.states) - known.returns(known.states)) ** 2))
    assert errors[0] < errors[1], errors


@pytest.mark.parametrize("d", [0, 2])
def test_models_with_the_same_columns_are_one(d, monkeypatch):
    """Of 64 domains there is no room for curves, and what is left then stands among the models once."""
    draw_few(monkeypatch)
    rng = np.random.default_rng(3)
    frame = mixtures_history(lambda T: np.log(T + 0.01)[:, 0] * 0.02, k=64).frame
    frame = frame.assign(**{f"x_{j}": rng.normal(size=len(frame)) for j in range(d)})
    fitted = fit_effects(check_history(frame), stage="bayesian", responses=("log",))
    ways = set(bayesian.DEPENDENCE) - {"by curves"} if d else set()
    assert set(dict(fitted.dependence)) == ways


def test_a_covariate_of_two_values_has_a_line_and_one_step():
    """Nothing bends between two values."""
    X = np.repeat([[0.0], [1.0]], 30, axis=0)
    kinds, _ = state_basis(X, KINDS[:-1], 100).labels()
    assert kinds == ["constant", "line", "step"]


def test_part_of_a_history_that_lacks_a_domain_knows_nothing_of_it():
    """Its return is then as uncertain as before any run, and others are told as ever."""
    history = mixtures_history(lambda T: 0.03 * np.log(T[:, 1] + 0.01), n=120)
    frame = history.frame.copy()
    frame.loc[1:, ["w_0"]] = 0.0
    frame[[f"w_{j}" for j in range(4)]] = frame[[f"w_{j}" for j in range(4)]].div(
        frame[[f"w_{j}" for j in range(4)]].sum(axis=1), axis=0
    )
    rare = check_history(frame)
    low, high = fit_effects(replace(rare.take(np.arange(1, 120)), whole=rare.frame), stage="bayesian").interval(
        np.empty((1, 0))
    )
    assert (high - low)[0, 0] > 3 * (high - low)[0, 1] and low[0, 0] < 0 < high[0, 0]
