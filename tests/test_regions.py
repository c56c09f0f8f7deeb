"""Returns in regions of the states, where the paper's tree has its claims."""

import numpy as np
import pytest

from causalmix.effects.estimator import fit_effects
from causalmix.effects.simulate import simulate_history
from causalmix.effects.tree import members, region_returns
from causalmix.study import claims


@pytest.fixture(scope="module")
def known():
    """A history with known returns that are linear in the state, and their estimate."""
    simulation = simulate_history(n=400, heterogeneity=0.02, seed=1)
    return simulation, fit_effects(simulation.history, stage="linear", n_repeats=1)


def test_regions_are_the_thirds_that_their_names_say(known):
    """High is the upper third of the runs, and two covariates are high at once."""
    effects = known[1]
    X, names = effects.history.X, effects.history.covariates
    inside = members(effects, claims.THIRDS["loss and HES high"])
    high = [
        X[:, names.index(name)] >= np.quantile(X[:, names.index(name)], 2 / 3) for name in ("normalized_loss", "hes")
    ]
    assert 0 < inside.sum() < len(X) / 3 and (inside == high[0] & high[1]).all()


def test_returns_of_a_region_hold_the_truth_at_its_mean_state(known):
    """Every region and leaf has every domain; a region of covariates that nobody measured has no row."""
    simulation, effects = known
    table = region_returns(effects, claims.THIRDS | {"nowhere": {"taste": "high"}})
    regions = set(table["region"])
    assert set(claims.THIRDS) <= regions and "nowhere" not in regions
    assert any(name.startswith(claims.LEAVES) for name in regions)
    assert table.groupby("region")["domain"].nunique().eq(5).all()
    for name, where in claims.THIRDS.items():
        part = table[table["region"] == name]
        truth = simulation.theta(effects.history.X[members(effects, where)].mean(axis=0))
        assert ((part["ci_low"] < truth) & (truth < part["ci_high"])).mean() >= 0.8
    assert ((table["p"] < 0.05) == ((table["ci_low"] > 0) | (table["ci_high"] < 0))).all()
