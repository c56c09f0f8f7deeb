"""Mixtures as points of the simplex."""

import numpy as np
import pytest

from causalmix import simplex
from causalmix.errors import InputError

DOMAINS = ("coding", "math", "safety")


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ([0.5, 0.5], "Expected one weight for each of coding, math, safety, found 2; give 3 weights."),
        ([0.5, 0.7, -0.2], "Expected weights of at least 0, found -0.2 for safety; give a share in [0, 1]."),
        ([0.5, float("nan"), 0.5], "Expected weights of at least 0, found nan for math; give a share in [0, 1]."),
        ([50, 30, 20], "Expected weights that sum to 1, found a sum of 100; divide them by their sum."),
        ([0.5, 0.3, 0.21], "Expected weights that sum to 1, found a sum of 1.01; divide them by their sum."),
    ],
)
def test_bad_mixtures_are_refused(weights, sentence):
    """What is wrong with a mixture is told in one sentence."""
    with pytest.raises(InputError) as caught:
        simplex.check_mixture(weights, DOMAINS)
    assert str(caught.value) == sentence


def test_rounded_mixture_is_renormalised():
    """A sum within 0.005 of 1 is rounding."""
    w = simplex.check_mixture([0.333, 0.333, 0.33], DOMAINS)
    assert w.sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_allclose(w, np.array([0.333, 0.333, 0.33]) / 0.996)


def test_dirichlet_has_its_moments_and_its_seed():
    """Means follow the concentration, variances shrink with it, and a seed gives the same draw."""
    alpha = np.array([1.0, 2.0, 5.0])
    T = simplex.sample_dirichlet(20_000, alpha, 3, seed=1)
    np.testing.assert_allclose(T.sum(axis=1), 1)
    np.testing.assert_allclose(T.mean(axis=0), alpha / 8, atol=0.005)
    np.testing.assert_allclose(T.var(axis=0), alpha / 8 * (1 - alpha / 8) / 9, rtol=0.05)
    np.testing.assert_array_equal(T[:5], simplex.sample_dirichlet(5, alpha, 3, seed=1))
    assert not np.array_equal(T[:5], simplex.sample_dirichlet(5, alpha, 3, seed=2))


def test_dirichlet_refuses_bad_concentrations():
    """A concentration must be positive, and one for all domains or one for each."""
    for alpha in (0, [1.0, 2.0], [1.0, float("inf"), 1.0]):
        with pytest.raises(InputError, match="positive concentration or 3"):
            simplex.sample_dirichlet(1, alpha, 3, seed=0)


def test_log_treatment():
    """The offset keeps an absent domain finite, and must be positive."""
    np.testing.assert_allclose(simplex.log_treatment([[0, 1]], 0.5), [[np.log(0.5), np.log(1.5)]])
    with pytest.raises(InputError, match="positive offset"):
        simplex.log_treatment([[0, 1]], 0)


def test_ilr_round_trip_and_isometry():
    """ilr inverts, ignores scale, and keeps the distances of clr coordinates."""
    T = simplex.sample_dirichlet(50, 1.0, 5, seed=0)
    np.testing.assert_allclose(simplex.ilr_inverse(simplex.ilr(T)), T, atol=1e-12)
    np.testing.assert_allclose(simplex.ilr(7 * T), simplex.ilr(T), atol=1e-12)
    distance = np.linalg.norm(simplex.clr(T[0]) - simplex.clr(T[1]))
    assert np.linalg.norm(simplex.ilr(T[0]) - simplex.ilr(T[1])) == pytest.approx(distance)


def test_log_ratios_refuse_zeros():
    """A log-ratio of a part that is zero does not exist."""
    with pytest.raises(InputError, match="positive parts, found 0"):
        simplex.ilr(np.array([0.0, 1.0]))


def test_projection_is_the_nearest_point():
    """No point of the simplex is nearer than the projection, which leaves the simplex in place."""
    T = simplex.sample_dirichlet(2_000, 0.5, 4, seed=0)
    for v in np.random.default_rng(0).normal(size=(20, 4)):
        p = simplex.project(v)
        assert p.min() >= 0 and p.sum() == pytest.approx(1)
        assert np.linalg.norm(p - v) <= np.linalg.norm(T - v, axis=1).min() + 1e-12
    np.testing.assert_allclose(simplex.project(T[0]), T[0])


def test_counts_conserve_rows():
    """Rounded rows sum to n, differ from the exact share by less than one, and are the same each time."""
    for n in (0, 1, 7, 1_500, 99_999):
        for w in simplex.sample_dirichlet(50, 0.3, 5, seed=n):
            counts = simplex.to_counts(w, n)
            assert counts.sum() == n and np.abs(counts - w * n).max() < 1
            np.testing.assert_array_equal(counts, simplex.to_counts(w, n))


def test_count_ties_go_to_the_first_domain():
    """Equal remainders are decided by position, not by the last bit of a float."""
    nudged = np.array([0.2 - 1e-15, 0.2, 0.2, 0.2, 0.2 + 1e-15])
    np.testing.assert_array_equal(simplex.to_counts(nudged, 7), [2, 2, 1, 1, 1])
