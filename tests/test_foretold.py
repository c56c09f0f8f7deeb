"""Stages held to trials that none of them was fitted to."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapter_cells import drawn, said

from causalmix.core.tables import write_table
from causalmix.methods.ask import ALWAYS, STATIC
from causalmix.study.foretold import ALL, BASELINES, foretold, foretold_table

METHODS = (*STATIC, *ALWAYS)
SHARES = np.r_[0.5, 0.5, np.random.default_rng(0).permutation(np.linspace(0.1, 0.88, len(METHODS) - 2))]
STATES = {"whole": np.zeros(3), "polished": np.ones(3)}


def stage(gains: np.ndarray):
    """A stage that foretells these gains of the mixtures, in every state."""
    by_share = dict(zip(SHARES, gains))

    def gain(x, equal, T):
        found = np.array([by_share[share] for share in T[:, 0]])
        return found, found - 0.01, found + 0.01

    return SimpleNamespace(gain=gain)


def table_of(fits: dict) -> pd.DataFrame:
    """Two pools in which a tenth more of the first domain is worth a point; Proportional has Equal's mixture."""
    tables = [
        pd.DataFrame({"method": METHODS, "pool": pool, "w_a": SHARES, "w_b": 1 - SHARES, "difference": TRUTH})
        for pool in STATES
    ]
    mixtures = pd.concat(tables)
    came = mixtures.assign(difference_low=mixtures["difference"] - 0.01, difference_high=mixtures["difference"] + 0.01)
    return foretold(fits, mixtures.drop(columns="difference"), STATES, came.drop(columns=["w_a", "w_b"]))


def words(table: pd.DataFrame) -> list[str]:
    """What chapter 9 says of what was foretold, a sentence for each kind of mixtures."""
    return re.split(r" (?=[*]{2}T)", said("09_paper_and_ours", "how_near.groupby", told_before=table))


TRUTH = 0.1 * (SHARES - 0.5)
LUCK = np.r_[0, 0, np.random.default_rng(1).permutation(TRUTH[2:])]


def test_a_stage_that_is_right_is_told_from_one_that_is_not():
    """Order, error and lead follow; a mixture that is Equal, or another's, is no test of any."""
    table = table_of({"lucky": stage(LUCK), "right": stage(TRUTH), "timid": stage(TRUTH / 10)})
    assert len(table) == 3 * 2 * (len(METHODS) - 2) and not table["method"].isin(["Equal", "Proportional"]).any()
    near = foretold_table(table).set_index(["mixtures", "stage"])
    right, timid, lucky = (near.loc[(ALL, name)] for name in ("right", "timid", "lucky"))
    assert right[["n", "spearman", "error", "meet"]].tolist() == pytest.approx([26, 1, 0, 1])
    assert near.loc[(BASELINES, "right"), "n"] == 14
    assert timid["spearman"] == pytest.approx(1) and timid["error"] == pytest.approx(
        0.9 * np.sqrt((TRUTH[2:] ** 2).mean())
    )
    assert timid["meet"] == pytest.approx(np.mean(0.9 * np.abs(TRUTH[2:]) <= 0.02))
    assert lucky["lead"] == 0 and right["lead"] == pytest.approx(1 - lucky["spearman"]) and right["lead_low"] > 0
    assert right["spearman_low"] == pytest.approx(1)


def test_the_words_turn_with_the_stages():
    """Who came closest is told, and whether that is a lead of the first; fewer mixtures leave it open."""
    for fits, word in (((LUCK, TRUTH), "the lead is +1.39 [+0.79, +1.83]. "), ((TRUTH, LUCK), "[1.00, 1.00]. ")):
        told = words(table_of({"forest": stage(fits[0]), "other": stage(fits[1])}))
        assert word in told[0] and told[0].startswith("**All mixtures** (26)") and "alone** (14)" in told[1]
        assert f"stage *{'forest' if fits[0] is TRUTH else 'other'}* foretold comes closest" in told[0]
    near = TRUTH + LUCK / 5
    told = words(table_of({"forest": stage(near), "other": stage(TRUTH)}))
    assert "and open. Foretold intervals meet" in told[1]


@pytest.mark.filterwarnings("error")
def test_what_is_constant_has_no_order():
    """A stage that foretells the same of every mixture is led by none, and of such stages alone that much is told."""
    flat, right = stage(np.zeros(len(SHARES))), stage(TRUTH)
    told = words(table_of({"forest": flat, "linear": stage(LUCK), "other": right}))
    assert "*other* foretold comes closest" in told[0] and "lead" not in told[0] and "nan" not in " ".join(told)
    assert all("no order" in line for line in words(table_of({"forest": flat})))


def test_without_trials_nothing_is_told(tmp_path):
    """No mixture that was trained, or too few for an order; one panel for each stage."""
    table = table_of({"right": stage(TRUTH)})
    assert foretold_table(table.iloc[:2]).empty and foretold_table(table.iloc[:0]).empty
    assert words(table.iloc[:0])[0].startswith("Fewer than three mixtures")
    write_table(tmp_path / "foretold.csv", table)
    (ax,) = drawn("09_paper_and_ours", "told_before = read_table", out=tmp_path, points="y_dev")
    assert ax.get_title() == "right" and len(ax.collections[0].get_offsets()) == 26
