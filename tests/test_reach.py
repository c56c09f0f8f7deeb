"""What a history can say of a pool: how far it reaches, for which domains, and what is proposed without evidence."""

import json

import numpy as np
import pandas as pd
import pytest
from chapter_cells import said
from datasets import Dataset
from user_files import few_draws  # noqa: F401 (a fixture)

from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.core.wording import folded
from causalmix.data import fingerprints
from causalmix.methods import policy, reach
from causalmix.methods.recommend import _amounts, recommend
from causalmix.methods.refusals import checked
from causalmix.methods.request import BY_LETTER, Request
from causalmix.methods.target import Target
from causalmix.methods.training_set import shown

QUICK = {"stage": "linear", "n_repeats": 1, "cv_folds": 3}
N = 60
DOMAINS = ("letters", "plays", "maps")
ROWS = dict.fromkeys(DOMAINS, 200)


def table(gain=0.0, **more):
    """Runs in which letters raise the outcome."""
    rng = np.random.default_rng(4)
    T = rng.dirichlet(np.ones(3), N)
    y = 0.5 + gain * np.log(T[:, 0] + 0.01) + rng.normal(0, 0.01, N)
    return pd.DataFrame(T, columns=[f"w_{d}" for d in DOMAINS]).assign(run_id=range(N), y_dev=y, **more)


def asked(folder, frame, counts, **options):
    """What is answered for a pool of so many rows of each domain."""
    frame.to_csv(folder / "h.csv", index=False)
    turns = [{"role": "user", "content": "where is it"}, {"role": "assistant", "content": "in the north of it"}]
    rows = [{"domain": d, "messages": turns} for d, n in counts.items() for _ in range(n)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    request = Request(folder / "h.csv", str(folder / "rows.jsonl"), **({"n_samples": 100} | options))
    return recommend(request, **QUICK)


@pytest.mark.parametrize(
    "small, large, ratio",
    [("60m", "1b", 1e9 / 6e7), ("org/Qwen2.5-0.5B-Instruct", "org/Qwen3-30B-A3B", 60), ("tiny5k", "tiny1m", 200),
     ("phi-3-mini-4k-instruct", "phi-3-medium-4k-instruct", 0), ("Mixtral-8x7B-it", "Mixtral-8x22B-it", 0)],
)  # fmt: skip
def test_names_of_models_tell_sizes_or_it_is_said_that_they_do_not(small, large, ratio):
    """Returns that differ between models would be averaged in silence; a context is no size, nor is an expert's."""
    history = check_history(table(model=np.repeat([small, large], N // 2)))
    assert history.covariates == (("log2_model_size",) if ratio else ())
    assert not ratio or np.ptp(history.X) == pytest.approx(np.log2(ratio))
    assert len(reach.of_models(history)) == (not ratio)
    assert not reach.of_models(check_history(table(model=small))) and not reach.of_models(check_history(table()))


def test_states_beyond_half_the_range_are_far():
    """A little outside is told elsewhere."""
    history = check_history(table(x_age=np.linspace(1, 3, N), x_same=2.0))
    assert not reach.far(history, np.array([3.9, 2.0])) and not reach.far(history, np.array([0.1, 2.0]))
    assert reach.far(history, np.array([4.1, 2.0])) == ["x_age at 4.1 against 1 to 3 in the history's runs"]
    assert len(reach.far(history, np.array([-0.1, 5.0]))) == 2
    assert reach.doubts(["so"], force=True) == ("so",) and reach.doubts([], force=False) == ()
    with pytest.raises(InputError, match="found so; .*--force"):
        reach.doubts(["so"], force=False)


def test_sizes_farther_away_than_runs_are_apart_are_refused(tmp_path):
    """Nearer ones are extrapolated, and told to be."""
    frame = table(n_samples=np.repeat([100, 200], N // 2), model_size=np.tile([1e6, 8e6], N // 2))
    history = check_history(frame)
    assert not reach.beyond(history, 399, 6.3e7) and not reach.beyond(history, 51, None)
    (rows,), (size,) = reach.beyond(history, 401, None), reach.beyond(history, 100, 6.5e7)
    assert (rows, size[:30]) == ("401 rows against 100 to 200 in the history's runs", "6.5e+07 parameters against 1e+")
    with pytest.raises(InputError, match="found 401 rows against 100 to 200 .*--force"):
        asked(tmp_path, frame, ROWS, n_samples=401)


def test_part_of_a_history_is_told(tmp_path):
    """Nobody has asked for it where others call their runs so."""
    frame = table(part=np.repeat(["design", "scale"], [50, 10]))
    frame.to_csv(tmp_path / "h.csv", index=False)
    told = checked(Request(tmp_path / "h.csv", "tiny")).sweep.told
    assert told == ("10 of 60 runs are left out, of the part scale (--parts).",)
    assert checked(Request(tmp_path / "h.csv", "tiny", parts=("design", "scale"))).sweep.told == ()


def test_a_covariate_that_no_run_varies_is_no_reason_to_doubt(tmp_path):
    """Nor are the digits that a table leaves out; of equal numbers the mean is not always the same number."""
    (tmp_path / "state.json").write_text(json.dumps({"x_same": 0.1000004}))
    found = asked(tmp_path, table(0.05, x_same=0.1), ROWS, state=tmp_path / "state.json")
    assert found.target.x == [0.1] and "lies outside of the history" not in shown(found)
    history = check_history(table(x_same=0.1, x_age=np.linspace(1, 3, N)))
    mean = history.X[:, 0].mean()
    assert mean != 0.1 and policy.support(history.T[9], np.array([0.1 + 1e-15, history.X[9, 1]]), history).inside
    assert reach.to_range(history, np.array([0.1002, 3.0000009])).tolist() == [0.1002, 3]


def test_a_covariate_a_world_apart_in_one_run_is_told():
    """It makes the others look alike, and no state of a pool is far beside it; long tails and rare marks stay."""
    age, rare = np.random.default_rng(1).lognormal(0, 1, N), np.arange(N) == 7
    history = check_history(table(x_age=age, x_mark=1.0 * rare, x_none=np.where(rare, -999, age)))
    (told,) = reach.stray(history)
    assert told.startswith("x_none is -999 in 7 against 0.") and not reach.far(history, np.array([1, 0, -500]))


@pytest.mark.parametrize(
    "chapter, part", {"04_effects": "The history holds", "05_mixture": "goal = find_target"}.items()
)
def test_a_chapter_tells_of_such_a_covariate_and_else_of_none(tmp_path, chapter, part):
    """Where it describes the history, in a sentence of its own."""
    age, names = (
        np.linspace(1, 3, N),
        {"outcome": "y_dev", "lower": False, "out": tmp_path, "target": "", "history": ""},
    )
    for x_age, many in ((age, 0), (np.where(np.arange(N) == 7, -999, age), 1)):
        runs = check_history(table(x_age=x_age))
        assert said(chapter, part, runs=runs, given=runs, **names).count(". x_age is -999 in 7 against") == many


def test_scorers_that_the_history_names_have_to_be_the_same():
    """By name, by hash or by both; where it names none, nothing is known."""
    theirs = {"scorer": {"name": "elm", "sha256": "0123456789ab"}, "rater": {"name": "oak", "sha256": ""}}
    strangers = lambda **models: reach.strangers(check_history(table(x_age=1.0, **models)), theirs)  # noqa: E731
    assert not strangers() and not strangers(scorer="elm", rater="oak") and not strangers(scorer="0123456789ab")
    assert not strangers(scorer=fingerprints.label(theirs["scorer"]))
    assert strangers(scorer="elm", rater="ash") == ["the rater oak against ash of the history's pools"]
    assert strangers(scorer="elm@456789ab") == ["the scorer elm@01234567 against elm@456789ab of the history's pools"]


def test_least_shares_are_what_runs_and_pool_support():
    """The 5th percentile, one in a hundred, the pool's own share, an even one; what is asked for wins."""
    history = check_history(table())
    usual = np.quantile(history.T, 0.05, axis=0)
    floors = reach.least_shares(history, np.array([500, 499, 1]), [0, 1, 2], None)
    assert floors == pytest.approx([max(usual[0], 0.01), max(usual[1], 0.01), 0.001])
    assert reach.least_shares(history, np.ones(3), [0, 1, 2], 0.2).tolist() == [0.2] * 3
    assert reach.least_shares(history, np.ones(2), [0, 2], {"maps": 0.3})[1:].tolist() == [0, 0.3]
    assert reach.least_shares(history, np.ones(3), [0, 1, 2], None, np.array([1.0, 0, 0]))[1] == 0


def test_no_domain_falls_to_zero_unless_asked(tmp_path):
    """Even where its return is far below zero, in each method's mixture."""
    frame = table(gain=0.1)
    found = asked(tmp_path, frame, dict.fromkeys(DOMAINS, 200))
    assert (found.table[[f"n_{d}" for d in DOMAINS]] > 0).all(axis=None)
    bare = asked(tmp_path, frame, dict.fromkeys(DOMAINS, 200), floor=0.0)
    assert (bare.table.set_index("method").loc["Cautious", ["w_plays", "w_maps"]] < 0.01).any()
    line = found.table.set_index("method").loc["Cautious"]
    assert line["epochs_letters"] == line["n_letters"] / 200 and line["tokens_letters"] == round(
        line["n_letters"] * 29 / 4
    )


def test_noise_gives_no_mixture(tmp_path):
    """The pool's own proportions are proposed where runs are near them, Equal else; it stands at the top."""
    near = asked(tmp_path, table(), {"letters": 300, "plays": 200, "maps": 100})
    line = near.table.set_index("method").loc["Cautious"]
    assert [line[f"w_{d}"] for d in DOMAINS] == pytest.approx([1 / 2, 1 / 3, 1 / 6])
    assert shown(near).startswith("! There is no evidence") and "the pool's own proportions are proposed" in shown(near)
    alone = table()
    alone[[f"w_{d}" for d in DOMAINS]] = 1 / 3 + (alone[[f"w_{d}" for d in DOMAINS]] - 1 / 3) * 0.2
    far = asked(tmp_path, alone, {"letters": 1500, "plays": 40, "maps": 40})
    line = far.table.set_index("method").loc["Cautious"]
    assert [line[f"w_{d}"] for d in DOMAINS] == pytest.approx([1 / 3] * 3)
    assert "no run is near the pool's own proportions" in shown(far)
    equal = asked(tmp_path, table(), {"letters": 300, "plays": 200, "maps": 100}, reference="equal")
    assert equal.table.set_index("method").loc["Cautious", "w_maps"] == pytest.approx(1 / 3)


def test_gains_in_an_outcome_of_any_size_can_be_read(tmp_path):
    """In the text and on the page; of several outcomes a loss counts with a minus."""
    frame = table(0.05)
    tiny = frame.assign(y_dev=1e-6 * frame["y_dev"], y_loss=-1e-6 * frame["y_dev"])
    found = asked(tmp_path, tiny, ROWS, objective="y_dev=1,y_loss=1", out=tmp_path / "set", higher_is_better=[],
                  lower_is_better=["y_loss"])  # fmt: skip
    assert "y_weighted is 0.5 y_dev - 0.5 y_loss." in shown(found)
    low, high = (f"{found.table.set_index('method').loc['Cautious', f'gain_ci_{end}']:+.4g}" for end in ("low", "high"))
    page = (tmp_path / "set" / "report.html").read_text()
    assert f"[{low}, {high}]" in shown(found) and f"[{low}, {high}]" in page and f"{low} to {high} in" in page
    assert "+0.0000" not in page and "e-08 in y_weighted over equal shares." in page.split("</h1>")[0]


def test_what_is_asked_for_may_allow_no_move(tmp_path):
    """That is not what the runs say, and the pool's own proportions are not what is proposed."""
    found = asked(tmp_path, table(0.02), {"letters": 300, "plays": 150, "maps": 150}, trust_region="kl", radius=0.0)
    assert found.table.set_index("method").loc["Cautious", "w_maps"] == pytest.approx(1 / 3)
    assert shown(found).startswith("! No move that is allowed gains more than 0.2 of its standard deviations")
    assert "or what is allowed that is nearest to them, are proposed" in found.warnings[0]


def test_sweep_of_other_domains_is_used_for_those_that_are_the_same(tmp_path):
    """What it does not know keeps its share, and what the pool lacks gets nothing; both are told at the top."""
    out = tmp_path / "set"
    found = asked(tmp_path, table(gain=0.1), {"letters": 300, "plays": 300, "songs\x1b[1m": 200}, out=out)
    line = found.table.set_index("method").loc["Cautious"]
    assert found.domains == ("letters", "plays", "songs\x1b[1m") and "w_maps" not in found.table
    assert line["w_songs\x1b[1m"] == pytest.approx(0.25) and line["w_letters"] > 0.6
    assert (found.table[[f"n_{d}" for d in found.domains]].sum(axis=1) == 100).all()
    assert "knows nothing of songs" in shown(found) and "no rows of maps" in shown(found)
    rows = [json.loads(row)["domain"] for row in (out / "train.jsonl").read_text().splitlines()]
    assert pd.Series(rows).value_counts().to_dict() == {d: line[f"n_{d}"] for d in found.domains}
    with pytest.raises(InputError, match="two or more of the history's domains"):
        asked(tmp_path, table(), {"songs": 300, "tales": 300})
    named = asked(tmp_path, table(gain=0.1), {"letters": 300, "plays": 300, "songs": 200}, map=["maps=songs"])
    assert named.warnings == ()


def test_domains_of_the_pool_get_the_names_of_the_sweep(tmp_path):
    """Two of one name become one; the training set has them under it, and a name that is not there is refused."""
    rows = {"a": 150, "b": 150, "plays": 300, "maps": 200}
    found = asked(tmp_path, table(gain=0.1), rows, pool_map=["a=letters", "b=letters"], out=tmp_path / "set")
    assert found.domains == DOMAINS and found.warnings == ()
    assert found.target.rows.tolist() == [300, 300, 200]
    lines = (tmp_path / "set/train.jsonl").read_text().splitlines()
    assert {json.loads(line)["domain"] for line in lines} == set(DOMAINS)
    with pytest.raises(InputError, match="domain of the pool among a, b, maps, plays, found 'c'"):
        asked(tmp_path, table(), rows, pool_map=["c=letters"])
    with pytest.raises(InputError, match="--pool-map as OLD=NEW"):
        asked(tmp_path, table(), rows, pool_map=["a"])


def test_names_that_hardly_differ_are_asked_about(tmp_path):
    """Maps are no domain beside maps, which the history would know nothing of; composed letters are letters."""
    with pytest.raises(
        InputError, match="found 'Maps ' in the pool and 'maps' in the history; .*--pool-map 'Maps =maps'"
    ):
        asked(tmp_path, table(), {"letters": 200, "plays": 200, "Maps ": 200})
    with pytest.raises(InputError, match="found 'Notes' and 'notes'; write them alike, or give both one name"):
        asked(tmp_path, table(), {"letters": 200, "plays": 200, "notes": 200, "Notes": 200})
    assert folded("1.0") == folded("1") != folded("1.1"), "pandas writes numbers so where a column has gaps"
    assert folded("A_b - Ünï") == folded("a B U\u0308ni\u0308") and folded("c") != folded("c++")


def test_a_share_of_less_than_a_row_is_told(tmp_path):
    """No domain is left out unasked, not by rounding either."""
    found = asked(tmp_path, table(gain=0.1), dict.fromkeys(DOMAINS, 200), n_samples=3)
    assert any("no row of maps" in warning or "no row of plays" in warning for warning in found.warnings)
    assert not asked(tmp_path, table(gain=0.1), dict.fromkeys(DOMAINS, 200)).warnings


@pytest.mark.parametrize("rows", [(60, 25, 23, 26), (60, 35, 23, 23), (60, 30, 26, 26)])
def test_no_row_comes_again_unasked_beside_domains_that_the_history_does_not_know(tmp_path, rows):
    """Their part of the training set is no whole number of rows, and what is left is not rounded down."""
    found = asked(tmp_path, table(gain=0.3), dict(zip(("letters", "plays", "songs", "tales"), rows)), floor=0.0)
    chosen = found.table[found.table["method"].isin(BY_LETTER.values())]  # Equal and Proportional are for comparison
    assert (chosen[[f"repeats_{d}" for d in found.domains]] == 0).all(axis=None)


def test_runs_without_the_outcome_are_left_out_and_a_stray_one_is_told(tmp_path):
    """As a tracker has runs that broke; in the outcome's own units where lower is better."""
    frame = table(0.02).rename(columns={"y_dev": "y_loss"})
    found = asked(tmp_path, frame.assign(y_loss=2 - frame["y_loss"].where(frame.index > 2)), ROWS, outcome="y_loss")
    told = "3 of 60 runs are left out, for they lack y_loss"
    assert len(found.history) == N - 3 and told in shown(found) and not found.warnings
    frame["y_loss"] = 2 - frame["y_loss"]
    frame.loc[7, "y_loss"] = 3
    found = asked(tmp_path, frame, ROWS, outcome="y_loss")
    assert "The y_loss of one run alone is far from what the others suggest, 3 in 7 against 1." in found.warnings[-1]


def test_tokens_of_any_writing(tmp_path):
    """About four bytes each: as many characters of Chinese are more of them than of English."""
    found = asked(tmp_path, table(), dict.fromkeys(DOMAINS, 200))
    counts, tokens = ({d: found.table.iloc[0][f"{what}_{d}"] for d in DOMAINS} for what in ("n", "tokens"))
    assert tokens == {d: pytest.approx(counts[d] * len("where is itin the north of it") / 4, abs=1) for d in DOMAINS}
    pool = Dataset.from_list([{"domain": d, "messages": [{"role": "user", "content": "在北边"}]} for d in DOMAINS])
    table_ = pd.DataFrame({f"n_{d}": [4] for d in DOMAINS})
    amounts = _amounts(table_, Target("", None, 12, np.ones(3), ""), DOMAINS, pool)
    assert (amounts[[f"tokens_{d}" for d in DOMAINS]] == 9).all(axis=None)


def test_what_is_kept_is_kept_without_evidence_too(tmp_path):
    """The pool's own proportions are no way out where an outcome that is to be kept would fall with them."""
    frame = table()
    fall = 0.5 - 0.1 * np.log(frame["w_letters"] + 0.01)
    frame = frame.assign(y_safe=fall + np.random.default_rng(1).normal(0, 0.001, N))
    rows = {"letters": 300, "plays": 150, "maps": 150}
    shares = lambda found: found.table.set_index("method").loc["Cautious", [f"w_{d}" for d in DOMAINS]].tolist()  # noqa: E731
    assert shares(asked(tmp_path, frame, rows)) == pytest.approx([0.5, 0.25, 0.25]), "nothing has to be kept"
    found = asked(tmp_path, frame, rows, keep=["y_safe"])
    assert shares(found) == pytest.approx([1 / 3] * 3) and "may not keep y_safe" in found.warnings[0]
