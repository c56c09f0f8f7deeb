"""What is measured in worlds of known truth: the measures themselves, and the stage on a fixed part of the simulate."""

import bench_validity
import numpy as np
import pandas as pd
import pytest
from bench_validity import WORLDS, best_mixtures

from causalmix.effects import interface, simulate
from causalmix.effects.estimator import fit_effects
from causalmix.effects.simulate import World, draw
from causalmix.methods import validity

#: Most regret from 512 runs, in 1e-3 of the outcome; of two draws, so more than the 2.0 that twelve draws keep to.
GOALS = {"linear": 0.8, "steps": 2.5}


@pytest.fixture(scope="module")
def judged():
    """Measures of two draws of each kind of world, by kind, as they are and with intervals a third narrower."""
    found, narrow = [], []
    for kind, seed in [(kind, seed) for kind in GOALS for seed in (1000, 1001)]:
        known = draw(World(kind, confounded=seed == 1001), 512, seed)
        effects = fit_effects(known.history, stage="bayesian", seed=seed)
        found.append({"kind": kind} | bench_validity.judge(effects, known))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(interface, "normal_quantile", lambda level: 1.96 * 2 / 3)
            narrow.append({"kind": kind} | bench_validity.judge(effects, known))
    return tuple(pd.DataFrame(rows).groupby("kind").mean() for rows in (found, narrow))


def test_intervals_cover_and_little_is_lost(judged):
    """Between .93 and .98 of returns and gains, over all draws, and regret below the goal of each kind."""
    found = judged[0]
    for cover in ("cover_theta", "cover_gain"):
        assert 0.93 <= found[cover].mean() <= 0.98, found
    assert (found["regret"] < pd.Series(GOALS)).all(), found


def test_intervals_a_third_narrower_do_not(judged):
    """The test above would fail, of either kind."""
    assert (judged[1][["cover_theta", "cover_gain"]] < 0.93).all(axis=None), judged[1]


def test_the_best_mixture_is_the_best_of_many():
    """Against random mixtures and corners, with returns of both signs."""
    rng = np.random.default_rng(0)
    tried = np.vstack([rng.dirichlet(np.full(4, a), 4000) for a in (0.2, 1.0)] + [np.eye(4)])
    for theta in rng.normal(0.01, 0.02, (20, 4)):
        value = np.log(tried + 0.01) @ theta
        best = best_mixtures(theta[None])[0]
        assert np.log(best + 0.01) @ theta >= value.max() - 1e-12 and best.sum() == pytest.approx(1)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_a_world_is_what_its_name_says(world):
    """Domains, covariates and noise; mixtures follow the state only where they should; Equal loses some points."""
    known = draw(world, 400, 1)
    X, T, y = known.history.X, known.history.T, known.history.y()
    assert T.shape == (400, world.k) and X.shape == (400, world.d)
    design = np.column_stack([np.ones(400), X, X**2])
    left = np.log(T) - design @ np.linalg.lstsq(design, np.log(T), rcond=None)[0]
    assert (1 - left.var() / np.log(T).var() > 0.1) == world.confounded
    level = 0.5 + (0.03 * X[:, 0] + 0.02 * np.sin(2 * X[:, -1]) + 0.015 * X[:, 0] ** 2 if world.d else 0)
    noise = y - level - (known.returns(X) * np.log(T + 0.01)).sum(axis=1)
    assert noise.std() == pytest.approx(world.noise * (1.6 if world.uneven else 1), rel=0.35)
    assert len({w.name for w in WORLDS}) == len(WORLDS) and world.name.split()[0] in simulate.KINDS


def test_what_has_been_measured_is_told_for_the_nearest_size(monkeypatch):
    """Of the stage that is asked for, or that nothing was measured."""
    table = pd.DataFrame(
        {
            "world": ["linear randomized", "steps randomized"] * 2,
            "n": [128, 128, 512, 512],
            "stage": "forest",
            "cover_theta": [0.5, 0.6, 0.7, 0.8],
            "cover_gain": [0.4, 0.5, 0.6, 0.9],
        }
    )
    monkeypatch.setattr(validity, "table", lambda: table)
    told = validity.told("forest", 400)
    assert "from 512 runs" in told and "60% to 90%" in told
    assert "70% of cases in the worst kind of world (linear randomized) and in 80% in the best (steps" in told
    near, few = validity.told("forest", 100), validity.told("forest", 24)
    assert "from 128 runs" in near and "not tried" not in near
    assert "from 128 runs" in few and few.endswith("As few runs as here, 24, were not tried.")
    assert "not tried" not in validity.told("forest", 300)
    assert "not been measured" in validity.told("linear", 512)
