"""Mixtures as points of the simplex."""

import numpy as np
import pytest

from causalmix.core import simplex
from causalmix.core.errors import InputError

DOMAINS = ("coding", "math", "safety")


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ([0.5, 0.5], "Expected one weight for each of coding, math, safety, found 2; give 3."),
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


def test_clr_is_centred_and_knows_no_scale():
    """Coordinates sum to 0, differ as logarithms do, and are the same for parts that are not normalised."""
    T = simplex.sample_dirichlet(50, 1.0, 5, seed=0)
    np.testing.assert_allclose(simplex.clr(T).sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(np.diff(simplex.clr(T)), np.diff(np.log(T)))
    np.testing.assert_allclose(simplex.clr(7 * T), simplex.clr(T), atol=1e-12)


def test_log_ratios_refuse_zeros():
    """A log-ratio of a part that is zero does not exist."""
    with pytest.raises(InputError, match="positive parts, found 0"):
        simplex.clr(np.array([0.0, 1.0]))


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
