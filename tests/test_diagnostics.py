"""Diagnostics of fitted returns: each is right where the answer is known, and wrong where it should be."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from chapter_cells import said
from scipy.stats import norm
from statsmodels.api import OLS
from user_files import few_draws  # noqa: F401 (a fixture)

from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.core.simplex import log_treatment
from causalmix.effects import diagnostics
from causalmix.effects.estimator import fit_effects
from causalmix.effects.held_out import residuals_of
from causalmix.effects.interface import Effects, Normal
from causalmix.effects.simulate import simulate_history

EQUAL, SKEWED = np.full(5, 0.2), np.array([0.5, 0.2, 0.1, 0.1, 0.1])
QUICK = {"n_repeats": 1, "n_trees": 40}


def linear(**world) -> Effects:
    """The linear stage on a simulated history."""
    return fit_effects(simulate_history(**({"n": 240} | world)).history, stage="linear", n_repeats=1)


@dataclass(frozen=True)
class Known(Effects):
    """Returns with a given covariance, the same in every state."""

    covariance: np.ndarray | None = None

    def posterior(self, X):
        k = len(self.covariance)
        return Normal(np.zeros((1, len(X), k)), np.broadcast_to(self.covariance, (1, len(X), k, k)))

    def nuisances(self, X):
        return np.full(len(X), self.y.mean()), np.broadcast_to(self.Z.mean(axis=0), (len(X), self.Z.shape[1]))


def known(covariance, **world) -> Known:
    return Known(simulate_history(**({"n": 60} | world)).history, covariance=np.asarray(covariance, float))


@pytest.mark.parametrize("stage", ["linear", "forest"])
def test_calibration_finds_differences_where_there_are_some(stage):
    """In a world whose returns are linear in the state; the mean coefficient is 1 in any."""
    history = simulate_history(n=400, seed=1, heterogeneity=0.02).history
    found = diagnostics.calibration(fit_effects(history, stage=stage, **QUICK), **QUICK).set_index("term")
    mean, differential = (found.loc[term] for term in (diagnostics.MEAN, diagnostics.DIFFERENTIAL))
    assert mean["coefficient"] == pytest.approx(1, abs=0.15) and mean["p"] < 1e-6
    assert 0.7 < differential["coefficient"] < 1.4 and differential["p"] < 1e-6
    assert differential["coefficient_low"] < differential["coefficient"] < differential["coefficient_high"]


def test_calibration_finds_none_where_returns_are_constant():
    """Over histories the differential coefficient is about nought or below, and p-values are seldom small."""
    worlds = [linear(n=100, covariates=("hes",), seed=s, heterogeneity=0.0) for s in range(8)]
    found = [diagnostics.calibration(effects, **QUICK).iloc[1] for effects in worlds]
    assert np.median([row["coefficient"] for row in found]) < 0.25
    assert sum(row["p"] < 0.05 for row in found) <= 1
    flat = diagnostics.calibration(linear(covariates=()), **QUICK)
    assert flat.iloc[1, 1:].isna().all() and flat.loc[0, "coefficient"] == pytest.approx(1, abs=0.15)


def test_calibration_is_out_of_fold(monkeypatch):
    """Each fold is predicted by a fit that has none of its mixtures, and every run once."""
    history = simulate_history(n=120, seed=1).history
    weights = [f"w_{d}" for d in history.domains]
    frame = history.frame.copy()
    frame[weights] = frame[weights].to_numpy()[np.arange(120) % 40]
    effects = fit_effects(check_history(frame), stage="linear", n_repeats=1)
    fitted, fit = [], diagnostics.fit_effects
    monkeypatch.setattr(diagnostics, "fit_effects", lambda h, *a, **k: fitted.append(h) or fit(h, *a, **k))
    diagnostics.calibration(effects, n_repeats=1)
    lost = [set(frame["run_id"]) - set(part.frame["run_id"]) for part in fitted]
    assert sum(map(len, lost)) == 120 and set.union(*lost) == set(frame["run_id"])
    for part, runs in zip(fitted, lost):
        tested = frame[frame["run_id"].isin(runs)][weights].to_numpy()
        assert not set(map(tuple, tested.round(9))) & set(map(tuple, part.T.round(9)))


def test_a_domain_that_one_run_has_rests_on_one_run():
    """The others rest on many; where all runs weigh the same, all count."""
    frame = simulate_history(n=200, covariates=("hes",), seed=1).history.frame
    weights = [c for c in frame if c.startswith("w_")]
    frame[weights[0]] = np.where(np.arange(200) == 7, 0.9, 0.0)
    frame[weights] = frame[weights].div(frame[weights].sum(axis=1), axis=0)
    history = check_history(frame)
    for stage in ("linear", "bayesian"):
        found = diagnostics.effective_runs(fit_effects(history, stage=stage, n_repeats=1)).set_index("domain")
        assert found.loc["coding", "runs"] == 1 and found.loc["coding", "effective_runs"] == pytest.approx(1, abs=0.5)
        assert (found["effective_runs"].drop("coding") > 40).all()
    assert diagnostics._kish(np.tile([1.0, -1.0], 50), np.arange(100) % 10) == pytest.approx((100, 10))
    behind = diagnostics.effective_runs(fit_effects(history, **QUICK))
    told = said("04_effects", "fewest = behind", behind=behind, diagnostics=diagnostics, runs=history)
    assert "which 1 of 200 runs has any of" in told and "no interval of it can be believed" in told


def test_replicates_are_runs_and_no_mixtures():
    """Four runs of every mixture weigh like four runs and count as one mixture."""
    history = simulate_history(n=200, covariates=(), seed=1).history
    weights = [f"w_{d}" for d in history.domains]
    frame = history.frame.copy()
    frame[weights] = frame[weights].to_numpy()[np.arange(200) % 50]
    found = diagnostics.effective_runs(Known(check_history(frame), covariance=np.eye(5)))
    assert (found["effective_runs"] / found["effective_mixtures"]).to_numpy() == pytest.approx(np.full(5, 4))


def test_weights_are_those_of_frisch_waugh_and_lovell():
    """What is left of one log share when the others are taken out, up to its scale."""
    z = np.random.default_rng(0).normal(size=(50, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.3], [0, 0, 1]])
    left = z[:, 0] - z[:, 1:] @ np.linalg.lstsq(z[:, 1:], z[:, 0], rcond=None)[0]
    assert diagnostics._weights(z, np.array([1.0, 0, 0])) == pytest.approx(left / (left @ left))


def test_overlap_tells_a_short_move_from_a_long_one():
    """Many runs lie beyond a small step; none beyond a corner that no run has."""
    effects = linear(covariates=(), n=200)
    corner = np.array([0.999, *np.full(4, 0.00025)])
    short, far = (diagnostics.overlap(effects, EQUAL, T).iloc[0] for T in (0.9 * EQUAL + 0.1 * SKEWED, corner))
    assert short["beyond"] > 0.2 and far["beyond"] <= 0.02
    assert short["spread"] > 3 * far["spread"]
    c = log_treatment(SKEWED, effects.eps) - log_treatment(EQUAL, effects.eps)
    place = (effects.Z - log_treatment(EQUAL, effects.eps)) @ c / (c @ c)
    found = diagnostics.overlap(effects, EQUAL, SKEWED).iloc[0]
    assert found["beyond"] == pytest.approx((place >= 1).mean()) and 1 < found["effective_runs"] <= 200
    with pytest.raises(InputError, match="two mixtures that differ"):
        diagnostics.overlap(effects, EQUAL, EQUAL)


def test_the_robustness_value_is_that_of_a_regression_by_hand():
    """Of the move's contrast beside all at right angles to it: partial R2 f^2 and (sqrt(f^4 + 4 f^2) - f^2) / 2."""
    effects = linear(seed=3)
    found = diagnostics.robustness(effects, EQUAL, SKEWED)
    y, z = residuals_of(effects.history, "y_dev", 0)
    c = log_treatment(SKEWED, 0.01) - log_treatment(EQUAL, 0.01)
    across = np.linalg.svd(c[None])[2][1:]  # any basis of what is at right angles
    regression = OLS(y, np.column_stack([z @ c / (c @ c), z @ across.T])).fit()
    f2 = regression.tvalues[0] ** 2 / (240 - 5)
    assert (found.gain, found.error) == pytest.approx((regression.params[0], regression.bse[0]))
    assert found.gain == pytest.approx(np.linalg.lstsq(z, y, rcond=None)[0] @ c)
    assert found.value == pytest.approx((np.sqrt(f2**2 + 4 * f2) - f2) / 2)
    assert 0 < found.value_95 < found.value
    assert found.bias(found.value, found.value) == pytest.approx(abs(found.gain)), "it does bring the gain to nought"
    assert diagnostics.robustness_value(0, 100) == 0


def test_a_cause_that_is_left_out_is_seen_as_a_benchmark():
    """A covariate that moves outcome and mixtures explains both, in a randomised history the outcome alone."""
    confounded, randomised = (linear(n=300, covariates=("hes",), confounding=f, seed=2) for f in (1.0, 0.0))
    (one,), (other,) = (
        diagnostics.robustness(e, EQUAL, SKEWED).benchmarks.to_dict("records") for e in (confounded, randomised)
    )
    assert one["r2_outcome"] > 0.2 and other["r2_outcome"] > 0.2
    assert one["r2_move"] > 0.1 > 0.03 > other["r2_move"]
    assert one["bias"] > other["bias"] and abs(one["gain_left"]) < abs(
        diagnostics.robustness(confounded, EQUAL, SKEWED).gain
    )
    assert diagnostics.robustness(linear(covariates=()), EQUAL, SKEWED).benchmarks.empty


def test_a_joint_band_of_independent_returns_is_that_of_sidak():
    """Wider than pointwise, narrower than Bonferroni; of returns that are one and the same it is pointwise."""
    bands = diagnostics.joint_bands(known(np.diag([1.0, 4, 9, 1, 1])), {"here": np.zeros(3)})
    assert bands["critical"].iloc[0] == pytest.approx(norm.ppf((1 + 0.95**0.2) / 2), abs=0.03)
    assert bands["rule"].unique().tolist() == ["sup-t"]
    assert (bands["joint_high"] > bands["ci_high"]).all() and (bands["joint_low"] < bands["ci_low"]).all()
    assert bands["joint_high"][1] == pytest.approx(2 * bands["joint_high"][0])
    same = diagnostics.joint_bands(known(np.ones((5, 5))), {"here": np.zeros(3)})
    assert same["critical"].iloc[0] == pytest.approx(1.96, abs=0.03)


def test_a_joint_band_covers_all_returns_at_once():
    """Of draws from a correlated posterior 95% lie inside of it whole, and fewer inside of the pointwise intervals."""
    root = np.random.default_rng(1).normal(size=(5, 5))
    bands = diagnostics.joint_bands(known(root @ root.T), {"here": np.zeros(3)}, seed=3)
    draws = np.random.default_rng(2).normal(size=(20000, 5)) @ root.T
    inside = {
        k: ((bands[f"{k}_low"].to_numpy() < draws) & (draws < bands[f"{k}_high"].to_numpy())).all(1).mean()
        for k in ("ci", "joint")
    }
    assert inside["joint"] == pytest.approx(0.95, abs=0.01) and inside["ci"] < 0.9
    again = diagnostics.joint_bands(known(root @ root.T), {"here": np.zeros(3)}, seed=3)
    assert again.equals(bands)


def test_variances_alone_give_bonferroni():
    """The forest tells no covariance."""
    effects = fit_effects(simulate_history(n=150).history, **QUICK)
    bands = diagnostics.joint_bands(effects, {"a": np.zeros(3), "b": np.ones(3)})
    assert set(bands["rule"]) == {"Bonferroni"} and len(bands) == 10
    assert bands["critical"].iloc[0] == pytest.approx(norm.isf(0.005))
    halves = [(bands[f"{k}_high"] - bands[f"{k}_low"]).to_numpy() for k in ("joint", "ci")]
    assert halves[0] / halves[1] == pytest.approx(np.full(10, norm.isf(0.005) / 1.959964))


def agreement(effects, states, *stages, **settings):
    return diagnostics.agreement(diagnostics.every_stage(effects, *stages, **settings), states)


def test_stages_are_laid_side_by_side(monkeypatch):
    """All that can be fitted, each with its interval; one that is far away does not meet the others."""
    effects = linear(n=200)
    states = {"origin": np.zeros(3), "one": np.ones(3)}
    table = agreement(effects, states, **QUICK)
    assert {"linear", "forest", "bayesian"} <= set(table) and len(table) == 10
    assert table["meet"].sum() >= 8
    usual = effects.history.T.mean(axis=0)
    more = usual.copy()
    more[1] *= 2
    gains = [effects.gain(x, usual, more / more.sum())[0][0] for x in states.values()]
    assert table.loc[table["domain"] == effects.history.domains[1], "linear"].to_list() == pytest.approx(gains)
    moved = replace(known(np.eye(5) * 1e-9), stage="elsewhere")
    monkeypatch.setattr(diagnostics, "_again", lambda *_, **__: moved)
    assert not agreement(effects, states, ("elsewhere",))["meet"].all()


def test_stages_are_compared_by_what_runs_tell():
    """Where the outcome bends in the shares, runs leave the level open that all returns share, and no gain has it."""
    rng = np.random.default_rng(0)
    history = simulate_history(n=150).history
    bent = np.sqrt(history.T) @ rng.normal(0, 0.3, 5) + rng.normal(0, 0.005, 150)
    history = replace(history, frame=history.frame.assign(y_dev=bent))
    effects, straight = (fit_effects(history, stage="bayesian", **held) for held in ({}, {"responses": ("log",)}))
    table = agreement(effects, {"origin": np.zeros(3)}, ("bayesian",))
    assert (straight.response, straight.note) == ("log", "") != (effects.response, effects.note)
    with pytest.raises(InputError, match="smoth"):
        fit_effects(history, stage="bayesian", responses=("smoth",))
    low, high = effects.interval(np.zeros(3))
    assert ((table["bayesian_high"] - table["bayesian_low"]) < 0.5 * (high - low)[0]).all()


def test_a_stage_that_cannot_be_fitted_is_left_out():
    """Few runs do for the forest and not for the linear stage, which stands in for it where no covariate varies."""
    history = simulate_history(n=39).history
    table = agreement(fit_effects(history, **QUICK), {"o": np.zeros(3)}, **QUICK)
    assert "forest" in table and "linear" not in table
    alone = agreement(linear(covariates=()), {"o": np.zeros(0)}, ("forest", "linear"), **QUICK)
    assert "forest" not in alone and alone["meet"].all()
