"""The paper's central question: what is asked of trials, and the sentence that follows."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapter_cells import said

from causalmix.core import intervals
from causalmix.study import promises, questions
from causalmix.study.trials import DIFFERENCE, GROUP, MEAN, compare

STATE = questions.STATE_WINS


def trials(gaps: dict[str, float], pools=("polished", "careless"), sizes=(100, 400), seeds=4, noise=0.002):
    """Trials in which CausalMix-A is ahead of itself without X by so much in each pool."""
    rng, rows = np.random.default_rng(0), []
    for pool in ("whole", *pools):
        for n in sizes:
            for s in range(seeds):
                level = 0.5 + rng.normal(0, 0.05)  # shared by a seed's methods
                score = {"Equal": 0.0, "CausalMix-A without X": -0.03, "CausalMix-A": -0.03 + gaps.get(pool, 0.0)}
                rows += [{"method": m, "pool": pool, "model": "proxy", "n_samples": n, "seed": s,
                          "y_dev": level + gap + rng.normal(0, noise)} for m, gap in score.items()]  # fmt: skip
    return pd.DataFrame(rows)


def asked_of(table: pd.DataFrame, question=STATE):
    """Differences and answers of one question, for the pair of CausalMix-A."""
    asked = questions.differences(table, table[GROUP], questions=[question])
    asked = asked[asked[["one", "other"]].isin(["CausalMix-A"]).any(axis=1)]
    (answer,) = questions.answers(table, asked).to_dict("records")[:1]
    return asked, answer


@pytest.mark.parametrize(
    ("polished", "careless", "answer", "words"),
    [
        (0.1, 0.1, "yes", "ahead in 4"),
        (-0.1, -0.1, "no", "behind in 4"),
        (0.1, -0.1, "it depends", "behind in 2 (careless"),
        (0.0, 0.0, "cannot tell", "not told apart in 4"),
        (0.1, 0.0, "in part", "not told apart in 2 (careless"),
    ],
)
def test_the_answer_turns_with_the_trials(polished, careless, answer, words):
    """Whatever the data say, the sentence says the same."""
    table = trials({"polished": polished, "careless": careless})
    asked, found = asked_of(table)
    assert found["answer"] == answer
    assert f"**{answer}**" in (told := questions.said(found, asked)) and words in told
    assert found["difference"] == pytest.approx((polished + careless) / 2, abs=0.005)


def test_what_is_not_on_record_is_not_tried():
    """A pool without trials counts as planned and not as an answer; without any there is no answer."""
    table = trials({"polished": 0.1, "careless": 0.1})
    planned, part = table[GROUP], table[table["pool"] != "careless"]
    asked = questions.differences(part, planned, questions=[STATE])
    ours = asked[asked["one"] == "CausalMix-A"]
    assert ours["verdict"].tolist().count("not tried") == 2 and set(ours["seeds"]) == {0, 4}
    (found, other) = questions.answers(part, asked).to_dict("records")
    assert found["answer"] == "yes" and "not tried in 2" in questions.said(found, asked)
    assert other["answer"] == "not tried" and "not on record" in questions.said(other, asked)
    scale = questions.differences(table, planned, questions=[questions.SCALE_WINS])
    assert set(scale["verdict"]) == {"not tried"} and set(scale["n_samples"]) == {400}, "only where rows have grown"


def test_one_seed_is_no_answer_and_shows_no_nan():
    """A difference without an interval decides nothing."""
    asked, found = asked_of(trials({"polished": 0.1, "careless": 0.1}, seeds=1))
    assert found["answer"] == "cannot tell" and "nan" not in questions.said(found, asked)


@pytest.mark.parametrize(("low", "alone"), [(0.01, True), (-0.01, False)])
def test_a_mean_that_no_group_bears_out_says_why_nothing_is_told(low, alone):
    """Beside "cannot tell", a mean whose interval leaves out zero would contradict it."""
    _, found = asked_of(trials({}))
    found |= dict(zip(DIFFERENCE, (0.02, low, 0.05)))
    assert found["answer"] == "cannot tell"
    assert ("clear in no group alone" in questions.short([found])) == alone


def test_groups_without_a_seed_in_common_have_no_mean():
    """Each group has its answer; where no seed is in all of them, that is said, and no number."""
    table = trials({"polished": 0.1, "careless": 0.1}, seeds=8)
    asked, found = asked_of(table[(table["seed"] < 4) == (table["pool"] == "polished")])
    assert found["answer"] == "yes" and "No seed is in all of these groups" in questions.said(found, asked)
    assert "nan" not in questions.said(found) + questions.short([found])


def test_differences_are_paired_and_adjusted_within_their_question():
    """Levels that differ between seeds cancel; every p-value counts for its own question alone."""
    table = trials({"polished": 0.02, "careless": 0.0})
    asked = questions.differences(table, table[GROUP])
    for _, part in asked.groupby("question"):
        assert part["p_holm"].to_numpy() == pytest.approx(intervals.holm(part["p"]), nan_ok=True)
    first = asked.query("one == 'CausalMix-A' and pool == 'polished'").iloc[0]
    assert first["difference_high"] - first["difference_low"] < 0.02, "far less than the seeds' own spread"


def test_a_mean_over_groups_is_over_the_same_ones_for_every_seed():
    """A seed that one group lacks is left out, so that a group's level is not taken for a difference."""
    table = trials({"polished": 0.2, "careless": 0.0}, noise=1e-6)
    table = table[(table["pool"] != "polished") | (table["seed"] > 0)]
    asked, found = asked_of(table)
    assert found["difference"] == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize(("gap", "word"), [(0.1, "**yes**"), (-0.1, "**no**")])
def test_chapter_six_says_what_its_trials_say(gap, word):
    """The same cells come to the opposite conclusion on trials that are turned around."""
    table = trials({"polished": gap, "careless": gap})
    told = said("06_target", "questions.differences(both", both=table, covered=table[GROUP], outcome="y_dev", out="")
    assert word in told and "When the pool's state shifts" in told
    asked = questions.differences(table, table[GROUP])
    compared = compare(table[table["pool"] == "whole"])
    names = {"answers": questions.answers(table, asked), "compared": compared, "whole": table[table["pool"] == "whole"]}
    short = said("06_target", "in_short.answer", **names)
    assert f"{word} (CausalMix-A against" in short and f"{100 * gap:+.1f}"[:3] in short
    assert "; **not tried** (Cautious against RegMix)" in short, "each pair of methods has its own answer"


def promised(gain: float, came: float) -> pd.DataFrame:
    """What a method promised, with an interval of three points, beside trials at two sizes."""
    table = pd.concat([trials({"whole": came}, pools=(), sizes=(100,)), trials({"whole": came - 0.3}, (), (400,))])
    ends = {"gain_ci_low": gain - 0.015, "gain_ci_high": gain + 0.015}
    mixtures = [{"method": m, "proxy_runs_used": 9, "in_support": True, "predicted_gain": gain} | ends
                for m in ("CausalMix-A", "CausalMix-A without X")]  # fmt: skip
    return promises.promised(pd.DataFrame(mixtures), compare(table))


@pytest.mark.parametrize(("gain", "kept"), [(0.12, "less"), (0.07, "inside"), (0.02, "more")])
def test_a_promise_stands_beside_what_came_at_every_size(gain, kept):
    """The same promise can be kept at one size and broken at the other."""
    table = promised(gain, 0.1).query("method == 'CausalMix-A'").set_index("n_samples")
    assert table["kept"].to_dict() == {100: kept, 400: "less"}
    shown = promises.promise_table(promised(gain, 0.1)).set_index("method").loc["CausalMix-A"]
    assert shown["promised"] == pytest.approx(100 * gain)
    assert shown["proxy, 100 rows"] == pytest.approx(7, abs=1) and shown["proxy, 400 rows"] < -20
    told = said("06_target", "promised interval", promised=promised(gain, 0.1))
    first, second = told.split(" **")
    names = {"less": "2 fell short (CausalMix-A, CausalMix-A without X).", "more": "1 was exceeded (CausalMix-A).",
             "inside": "that of what came; 1 fell short (CausalMix-A without X)."}  # fmt: skip
    assert names[kept] in first and "2 fell short" in second


def test_few_seeds_do_not_break_a_promise():
    """What came lies below the promised interval; its own interval, of two seeds that differ, does not."""
    mixtures = pd.DataFrame([{"method": "A", "predicted_gain": 0.1, "gain_ci_low": 0.08, "gain_ci_high": 0.12}])
    came = {"method": "A", "model": "proxy", "n_samples": 100, "seeds": 2, "difference": 0.05}
    compared = pd.DataFrame([came]).reindex(columns=[*came, *MEAN, *DIFFERENCE[1:]])
    for half, kept in ((0.2, "inside"), (0.01, "less"), (np.nan, "inside")):
        ends = dict(zip(DIFFERENCE[1:], (0.05 - half, 0.05 + half)))
        assert promises.promised(mixtures, compared.assign(**ends))["kept"].tolist() == [kept]


@pytest.mark.parametrize(("gain", "shrank"), [(0.2, "2 of 2"), (0.05, "1 of 2")])
def test_the_solution_on_promises_follows_the_trials(gain, shrank):
    """Of promises that were exceeded it does not say that they shrank."""
    design = SimpleNamespace(design=SimpleNamespace(n_samples=100))
    told = said("06_target", "promised gains shrank", promised=promised(gain, 0.1), campaign=design)
    assert f"{shrank} promised gains shrank" in told and f"{100 * gain:+.1f} points were promised" in told
    assert not said("06_target", "promised gains shrank", promised=promised(-0.2, 0.1), campaign=design)  # no gain
