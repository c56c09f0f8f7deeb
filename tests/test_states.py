"""Tilts, candidate pools, covariates and training samples."""

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

from causalmix.core.errors import InputError
from causalmix.data import scored_pools, states, summaries
from causalmix.data.scores import SCORES, Score
from causalmix.data.tiny.pool import make_pool
from causalmix.data.world_name import WorldName

DOMAINS = ("a", "b")


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], 2_000)
    scores = rng.normal(size=(4_000, 3)) + codes[:, None] * [0.0, 1.0, 2.0]
    return states.ScoredPool(DOMAINS, codes, scores)


def table(**changes) -> pd.DataFrame:
    columns = {"domain": ["a", "a", "b", "b"]} | {name: [0.0, 1.0, 2.0, 3.0] for name in SCORES}
    return pd.DataFrame(columns | changes)


def test_candidates_are_distinct_and_even(pool):
    """As many candidates in each domain as asked for, none twice."""
    chosen = states.draw_candidates(pool, [1, -1, 0], 300, seed=1)
    assert len(set(chosen)) == 600
    assert (pool.codes[chosen] == 0).sum() == 300


def test_tilt_moves_its_own_covariate(pool):
    """Each component of the tilt moves its own score by a known amount: about λσ² for a light draw."""
    for j in range(3):
        tilt = np.zeros(3)
        tilt[j] = 1.0
        plain = states.domain_means(pool, states.draw_candidates(pool, np.zeros(3), 100, 2))
        tilted = states.domain_means(pool, states.draw_candidates(pool, tilt, 100, 2))
        spread = pool.scores[:, j].std()
        within = pool.scores[pool.codes == 0, j].var() / spread
        assert np.allclose((tilted - plain)[:, j], within, atol=0.3)
        assert np.abs(np.delete(tilted - plain, j, axis=1)).max() < 0.3


def test_covariates_weight_domains_equally(pool):
    """X does not change when one domain merely has more candidates."""
    every = np.arange(4_000)
    lopsided = np.concatenate([np.arange(2_000), np.arange(2_000, 2_100)])
    x, y = (states.candidate_covariates(pool, rows) for rows in (every, lopsided))
    assert x["x_writing_style"] == pytest.approx(pool.scores[:2000, 2].mean() / 2 + pool.scores[2000:, 2].mean() / 2)
    assert y["x_writing_style"] == pytest.approx(x["x_writing_style"], abs=0.15)
    assert states.mixed_covariates(pool, lopsided)["x_writing_style"] < 0.3


def test_mixed_covariates_are_explained_by_the_mixture_and_candidates_are_not(pool):
    """After mixing T explains X almost fully, before mixing hardly at all."""
    rng = np.random.default_rng(4)
    tilts, weights = rng.uniform(-0.5, 0.5, (150, 3)), rng.dirichlet([1, 1], 150)
    before, after = [], []
    for i in range(150):
        chosen = states.draw_candidates(pool, tilts[i], 400, i)
        sample, _ = states.draw_sample(pool, chosen, weights[i], 300, i)
        before.append(list(states.candidate_covariates(pool, chosen).values()))
        after.append(list(states.mixed_covariates(pool, sample).values()))
    shares = summaries.overlap_table(np.array(before), np.array(after), weights)
    assert shares["measured_before_mixing"].max() < 0.1
    assert shares["measured_after_mixing"].iloc[2] > 0.7


def test_sample_has_the_mixtures_counts_and_reports_repeats(pool):
    """Counts follow the mixture; a domain that runs out repeats whole rounds and says so."""
    chosen = states.draw_candidates(pool, np.zeros(3), 100, seed=3)
    sample, repeats = states.draw_sample(pool, chosen, [0.9, 0.1], 500, seed=3)
    counts = np.bincount(pool.codes[sample])
    assert counts.tolist() == [450, 50]
    assert repeats == {"a": 350}
    times = np.unique(sample[pool.codes[sample] == 0], return_counts=True)[1]
    assert set(times) <= {4, 5}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (table(hes=[0.0, np.nan, 1.0, 2.0]), "1 NaN"),
        (table().drop(columns="hes"), "found no hes"),
    ],
)
def test_bad_pools_are_refused(frame, message):
    """NaN and missing column: one sentence each."""
    with pytest.raises(InputError, match=message):
        states.ScoredPool.from_table(frame, DOMAINS)


def test_bad_state_is_refused(pool):
    """A state needs one finite tilt for each score."""
    with pytest.raises(InputError, match="state of 3 finite numbers"):
        states.draw_candidates(pool, [1.0, np.inf, 0.0], 10, 0)


def test_the_name_of_a_world_is_read_back():
    for name in ("tiny/40000/0/8c0a5afdabf3", "real/0/3/1a2b3c4d5e6f/2000"):
        assert str(WorldName.read(name)) == name
    assert WorldName.read("tiny/500/1/abc/20") == ("tiny", 500, 1, "abc", 20)


def test_a_further_score_is_a_component_of_states_and_makes_another_pool():
    rows = make_pool(100)
    before = scored_pools._content_digest(rows, ())
    assert states.tilt(normalized_loss=2) == (0.0, 2.0, 0.0)
    with patch.dict(SCORES, {"length": Score(lambda read: [len(v) for v in read.entropies], "length (tokens)")}):
        assert states.tilt(length=1) == (0.0, 0.0, 0.0, 1.0)
        assert scored_pools._content_digest(rows, ()) != before
    with pytest.raises(InputError, match="Expected a score among hes.*did you mean normalized_loss"):
        states.tilt(normalised_loss=1)
