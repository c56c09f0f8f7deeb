"""Intervals over seeds and splits, their p-values, and families of claims: each against a number known otherwise."""

import numpy as np
import pandas as pd
import pytest
from chapter_cells import said
from scipy.stats import t as t_distribution, ttest_1samp
from statsmodels.stats.multitest import multipletests

from causalmix.core import intervals
from causalmix.effects import ablations, held_out
from causalmix.study import claims

GAPS = [0.1, 0.3, 0.2, 0.4, 0.0]  # mean .2, variance .025


def test_the_interval_over_splits_is_that_of_nadeau_and_bengio():
    """By hand: (1/5 + 64/448) .025 is the variance, t with 4 degrees of freedom is 2.776."""
    half = 2.776445 * np.sqrt((0.2 + 64 / 448) * 0.025)
    assert intervals.split_interval(GAPS, 64 / 448) == pytest.approx((0.2, 0.2 - half, 0.2 + half), rel=1e-6)


def test_more_splits_do_not_make_an_interval_of_no_width():
    """Splits share runs: however many there are, the runs held out leave their part of the variance."""
    many = np.tile(GAPS, 2000)
    mean, low, high = intervals.split_interval(many, 1 / 3)
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.02 / 3), rel=1e-2)
    assert intervals.mean_interval(many)[2] - mean < 0.01 * (high - mean) * 5


def test_unknown_differences_are_left_out_and_four_are_too_few():
    """NaN is no split; of four known ones there is a mean and no interval."""
    assert intervals.split_interval([*GAPS, np.nan], 0.2) == intervals.split_interval(GAPS, 0.2)
    mean, low, high = intervals.split_interval([*GAPS[:4], np.nan], 0.2)
    assert mean == pytest.approx(0.25) and np.isnan([low, high, intervals.split_p(GAPS[:4], 0.2)]).all()


@pytest.mark.parametrize("ratio", [0.0, 1 / 7, 1 / 3])
def test_p_values_belong_to_their_intervals(ratio):
    """The interval of level 1 - p ends at nought; without shared runs it is the t-test's."""
    p = intervals.mean_p(GAPS, ratio)
    assert min(np.abs(intervals.mean_interval(GAPS, 1 - p, ratio)[1:])) == pytest.approx(0, abs=1e-9)
    assert intervals.mean_p(GAPS) == pytest.approx(ttest_1samp(GAPS, 0).pvalue)
    assert p == pytest.approx(2 * t_distribution.sf(0.2 / np.sqrt((0.2 + ratio) * 0.025), 4))


def test_equal_differences_are_certain_and_one_is_unknown():
    """Without any spread p is nought, or one where there is no difference."""
    assert [intervals.mean_p([x] * 5) for x in (0.5, 0.0)] == [0, 1]
    assert np.isnan(intervals.mean_p([0.5]))


def test_holm_is_that_of_statsmodels():
    """Ties and ones included; a member without a p-value does not count."""
    p = np.random.default_rng(0).uniform(0, 0.2, 12).round(2)
    p[3] = p[7] = 1.0
    expected = multipletests(p, method="holm")[1]
    assert intervals.holm(p) == pytest.approx(expected)
    with_unknown = intervals.holm([np.nan, *p, np.nan])
    assert np.isnan(with_unknown[[0, -1]]).all() and with_unknown[1:-1] == pytest.approx(expected)
    assert intervals.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert len(intervals.holm([])) == 0


def test_verdicts_follow_from_the_adjusted_p_value():
    """The sign is that of the difference; no p-value leaves it open."""
    told = [intervals.adjusted_verdict(*pair) for pair in ((1, 0.01), (-1, 0.01), (1, 0.05), (1, np.nan), (0, 0.01))]
    assert told == ["better", "worse", "open", "open", "open"]


def test_the_share_held_out_is_read_off_the_table():
    """A table that does not say has the most that there can be."""
    scores = pd.DataFrame({"fitted": [448, 448], "held_out": [64, 64]})
    assert intervals.held_out_ratio(scores) == pytest.approx(1 / 7)
    assert intervals.held_out_ratio(scores[["fitted"]].rename(columns={"fitted": "split"})) == pytest.approx(1 / 3)


def scores(leads: dict[str, float], n_splits: int = 6) -> pd.DataFrame:
    """Scores of variants that lie behind the full method by some leads, with noise of .01."""
    rng, rows = np.random.default_rng(0), []
    for split in range(n_splits):
        for name, lead in {ablations.FULL: 0.0, **leads}.items():
            values = 0.8 - lead + rng.normal(0, 0.01, 2)
            rows.append({"variant": name, "split": split} | dict(zip(("spearman", "r_score"), values)))
    return pd.DataFrame(rows).assign(fitted=150, held_out=50)


def test_variants_are_one_family():
    """A lead that is told apart alone is left open among many that are none; one that is large is not."""
    table = scores({"a": 0.025, "b": 0.2} | {f"same {i}": 0.0 for i in range(8)})
    pairs = [(ablations.FULL, name) for name in table["variant"].unique() if name != ablations.FULL]
    compared = held_out.comparisons(table, pairs, ("spearman",)).set_index("other")
    alone = held_out.comparisons(table, pairs[:1], ("spearman",)).iloc[0]
    assert compared["p_holm"].to_numpy() == pytest.approx(intervals.holm(compared["p"]))
    assert (alone["verdict"], compared.loc["a", "verdict"], compared.loc["b", "verdict"]) == (
        "better",
        "open",
        "better",
    )
    assert compared.loc["a", "ahead_low"] == alone["ahead_low"] > 0, "intervals are each one's own"


def test_chapter_eight_says_what_the_family_says(monkeypatch):
    """The sentence has the adjusted verdicts and counts the comparisons."""
    monkeypatch.setattr(ablations, "clr_gap", lambda *_: (0.0, 1.0))
    runs = type("Runs", (), {"covariates": (), "domains": ("a", "b"), "__len__": lambda self: 200})()
    told = said(
        "08_ablations", "(CLR)", scores=scores({"x": 0.2, "y": 0.0}), runs=runs, outcome="y", n_splits=6, seed=0
    )
    assert "against *x*: better in order" in told and "against *y*: not told apart in order" in told
    assert "for 4 comparisons" in told


def row(family: str, ours: float, p: float) -> dict:
    """A claim with our difference and its p-value."""
    return {"claim": f"{family} {p}", "family": family, "ours": ours, "p": p, "unit": "points"}


def test_claims_are_adjusted_within_their_family():
    """The same p-value holds alone, and among three that are asked together it does not."""
    rows = [row("alone", 1, 0.03), *(row("three", x, p) for x, p in ((1, 0.03), (-1, 0.001), (1, np.nan), (1, 0.4)))]
    table = claims.judged(rows)
    assert table["p_holm"].to_numpy() == pytest.approx([0.03, 0.06, 0.003, np.nan, 0.4], nan_ok=True)
    assert list(table["verdict"]) == ["holds", "cannot tell", "does not hold", "cannot tell", "cannot tell"]
    told = claims.by_family(table).set_index("family")
    assert told.loc["three"].tolist() == [4, 0, 1, 3, 0] and told.loc["alone"].tolist() == [1, 1, 0, 0, 0]
    assert claims.judged([row("one", np.nan, np.nan)])["verdict"].tolist() == ["not tried"]


def test_claims_of_the_paper_and_questions_of_its_critics_are_families_apart(tmp_path):
    """No family is empty, and none has both, so that what others ask takes nothing from the paper's claims."""
    found = claims.paper_claims(tmp_path)
    asked = found.groupby("family")["asked by"].unique()
    assert all(len(who) == 1 for who in asked) and set(asked.index) == {*claims.FAMILIES, *claims.CRITICAL}
    assert {family for family, who in asked.items() if claims.CRITICS in who} == set(claims.CRITICAL)


def test_chapter_nine_applies_the_rule_by_hand():
    """Its own few lines come to the table's adjusted p-value and verdict."""
    table = claims.judged([row("one", -2, 0.01), row("one", 1, 0.3), row("one", 1, 0.004)])
    told = said("09_paper_and_ours", "smaller = family", found=table)
    assert "which makes it 0.02" in told and told.count("*does not hold*") == 2 and "in the table: 0.02" in told
