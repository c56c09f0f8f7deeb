"""Ablations on histories with known returns: what matters is seen to matter, and what does not is not."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapter_cells import said
from sklearn.linear_model import LinearRegression
from user_files import few_draws  # noqa: F401 (a fixture)

from causalmix.core import intervals
from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.core.simplex import log_treatment, sample_dirichlet
from causalmix.core.tables import write_table
from causalmix.effects import ablations, assignment, estimator, held_out
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import EPS
from causalmix.methods.variants import DESIGNED
from causalmix.study import trials


def history(n: int = 240, follow: float = 0.0, seed: int = 0):
    """Returns of the first domain change sign with x_q; ``follow`` lets its share follow x_q."""
    rng = np.random.default_rng(seed)
    q, idle = rng.uniform(-1, 1, n), rng.uniform(-1, 1, n)
    T = sample_dirichlet(n, 1.0, 3, seed)
    T = T * np.exp(np.outer(follow * q, [1, 0, 0]))
    T = T / T.sum(axis=1, keepdims=True)
    y = 0.5 + 0.1 * q + 0.05 * q * np.log(T[:, 0] + 0.01) + 0.02 * np.log(T[:, 1] + 0.01) + rng.normal(0, 0.01, n)
    frame = pd.DataFrame(T, columns=["w_a", "w_b", "w_c"]).assign(x_q=q, x_idle=idle, y_dev=y)
    return check_history(frame.assign(run_id=[f"r{i}" for i in range(n)]))


SETTINGS = {"n_test": 60, "n_splits": 5, "n_trees": 40, "n_repeats": 1}


@pytest.fixture(scope="module")
def scores():
    runs = history()
    return held_out.held_out_scores(runs, ablations.method_variants(runs, 60), **SETTINGS)


def test_a_covariate_that_moves_returns_is_missed(scores):
    """Without X both the prediction and the returns are worse on every split."""
    wide = scores.pivot(index="split", columns="variant", values="r_score")
    assert (wide["full"] > wide["without X"] + 0.1).all()
    assert intervals.split_verdict(wide["full"] - wide["without X"], intervals.held_out_ratio(scores)) == "better"
    assert held_out.versus(scores, ablations.FULL, "without X").startswith("better in order")
    assert "better" not in held_out.versus(scores[scores["split"] < 4], ablations.FULL, "without X")


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ([0.1] * 5, "better"),
        ([-0.1] * 5, "worse"),
        ([0.1] * 4, "open"),
        ([0.1] * 4 + [np.nan], "open"),
        ([0.1] * 4 + [-0.05], "open"),
    ],
)
def test_differences_are_told_apart_by_their_interval(gaps, said):
    """All of the interval on one side of zero, from five splits on; one split of five on the other side forbids it.

    In the last case the mean exceeds the standard deviation, which is not enough.
    """
    assert intervals.split_verdict(gaps, 60 / 180) == said


def test_tables_show_the_interval_that_decides(scores):
    """A variant that is told apart lies behind by an interval above zero; the reference has none."""
    table = held_out.summary(scores).set_index("variant")
    wide = scores.pivot(index="split", columns="variant", values="spearman")
    gaps = wide["full"] - wide["without X"]
    low, high = table.loc["without X", ["spearman_behind_low", "spearman_behind_high"]]
    assert (gaps.mean(), low, high) == pytest.approx(intervals.split_interval(gaps, 60 / 180))
    assert table.loc["full", ["spearman_behind", "r2_behind_low"]].isna().all()


def test_log_ratios_predict_like_logarithms(scores):
    """They hold the same contrasts, so the returns explain about as much."""
    wide = scores.pivot(index="split", columns="variant", values="r_score")
    assert np.abs(wide["full"] - wide["log-ratios (ILR)"]).mean() < 0.15


def clr_told(runs):
    """What chapter 08 says of centred log-ratios; its sentence on the variants has none to compare."""
    scores = pd.DataFrame({"variant": [ablations.FULL]})
    return said("08_ablations", "(CLR)", scores=scores, runs=runs, outcome="y_dev", n_splits=8, seed=0)


@pytest.mark.parametrize("known", [("q", "idle"), ()])
def test_centred_log_ratios_predict_as_isometric_ones(known, monkeypatch):
    """Least norm picks their coefficients, so gains are equal to rounding; in log shares themselves they are not."""
    runs = replace(history(), covariates=known)
    gap, largest = ablations.clr_gap(runs, "y_dev")
    assert gap < 1e-9 < 0.01 < largest
    assert "**the same gains as** ILR" in clr_told(runs)
    fit = estimator.fit_effects
    monkeypatch.setattr(ablations, "fit_effects", lambda *args, **given: fit(*args, **(given | {"treatment": "log"})))
    assert "**other gains than** ILR" in clr_told(runs)


def test_too_few_runs_for_a_linear_stage_are_told():
    """Three domains and two covariates need more than 18 runs; so do the centred log-ratios."""
    runs = history()
    assert "too few" in clr_told(runs.take(np.arange(18)))


def test_best_subset_holds_the_covariate_that_matters():
    """Of the subsets of two covariates, those with x_q order held-out runs better than those without."""
    runs = history()
    table = ablations.covariates_table(held_out.held_out_scores(runs, ablations.subset_variants(runs), **SETTINGS))
    means = table.groupby("covariates")["spearman"].mean()
    assert set(means.index) == {"none", "q", "idle", "q + idle"}
    assert min(means["q"], means["q + idle"]) > means["idle"] + 0.2
    assert "The best subset of 4 is **q" in said("08_ablations", "The best subset", chosen=table, runs=runs)


def test_one_subset_has_no_rival():
    """A history without covariates has nothing to choose among."""
    runs = replace(history(), covariates=())
    table = ablations.covariates_table(held_out.held_out_scores(runs, ablations.subset_variants(runs), **SETTINGS))
    assert set(table["covariates"]) == {"none"}
    assert "fewer than two subsets" in said("08_ablations", "The best subset", chosen=table, runs=runs)


def test_readings_are_compared_on_the_same_runs():
    """A reading whose covariate has lost the state predicts worse; another's R-scores are not shown."""
    before = history()
    lost = np.random.default_rng(1).permutation(before.frame["x_q"])
    found = assignment.reading_scores(before, replace(before, frame=before.frame.assign(x_q=lost)), **SETTINGS)
    assert "r_score" not in found
    readings, measures = assignment.READINGS[::-1], ("spearman", "r2")
    told = held_out.versus(found, *readings, measures)
    assert "worse in order" in told and "worse in size" in told
    same = held_out.versus(assignment.reading_scores(before, before, **SETTINGS), *readings, measures)
    assert same.count("not told apart in") == 2
    assert same.count("(+0.000 [+0.000, +0.000])") == 2


def test_readings_of_other_runs_are_refused():
    """Held-out runs would not be the same."""
    runs = history()
    with pytest.raises(InputError, match="same runs in one order before and after mixing"):
        assignment.reading_scores(runs, runs.take(np.arange(len(runs))[::-1]), **SETTINGS)


def test_mixtures_that_follow_the_state_are_seen():
    """The state explains nothing of randomised mixtures, and a good part of confounded ones and of all their shares."""
    runs = history(follow=2.0)
    table = assignment.overlap_by_assignment(history(), runs).set_index("domain")
    assert table.loc["all", "randomized"] < 0.05
    assert table.loc["a", "confounded"] > 0.2
    Z = log_treatment(runs.T, EPS)
    left = Z - LinearRegression().fit(runs.X, Z).predict(runs.X)
    n, d = runs.X.shape
    unexplained = (n - 1) / (n - 1 - d) * left.var(axis=0).sum() / Z.var(axis=0).sum()
    assert table.loc["all", "confounded"] == pytest.approx(1 - unexplained)


def test_orthogonalisation_matters_where_mixtures_follow_the_state():
    """The linear stage takes the level for a return of the domain whose share follows it, unless both are residuals."""
    q = np.linspace(-0.7, 0.7, 15)
    states = np.column_stack([q, 0 * q])

    def error(runs, orthogonalise: bool) -> float:
        effects = fit_effects(runs, stage="linear", n_repeats=1, orthogonalise=orthogonalise)
        return np.abs(effects.theta(states)[:, 0] - 0.05 * q).mean()

    followed, randomised = history(400, follow=2.0), history(400)
    assert error(followed, False) > 2 * error(followed, True)
    assert error(randomised, False) < 2 * error(randomised, True)


def test_second_histories_are_checked(tmp_path):
    """A missing file is told with the command that makes it, another world is refused."""
    runs, path = history(), tmp_path / "history_mixed.csv"
    assert ablations.read_second(path, runs) is None
    assert "causalmix run outcomes" in ablations.missing_sentence(tmp_path, ["history_mixed.csv"])
    write_table(path, runs.frame.rename(columns={"w_a": "w_z"}))
    with pytest.raises(InputError, match="history of the same world"):
        ablations.read_second(path, runs)


def test_the_table_that_is_missing_is_named(tmp_path):
    """One of two tables is there: only the other is told, with what makes it; with both, a method that neither has."""
    names = ["targets.csv", "variants_trained.csv"]
    (tmp_path / names[1]).touch()
    told = ablations.missing_sentence(tmp_path, names, "CausalMix-A")
    assert "no `targets.csv` (`causalmix run target` makes it)" in told
    assert "variants_trained" not in told
    (tmp_path / names[0]).touch()
    assert "no CausalMix-A in `targets.csv` or" in ablations.missing_sentence(tmp_path, names, "CausalMix-A")


def test_confounded_runs_are_taken_from_the_whole_history():
    """By their part; fewer than a history needs are none."""
    frame = history().frame.assign(part=["design"] * 200 + ["confounded"] * 40)
    found = ablations.confounded_runs(check_history(frame))
    assert list(found.frame["run_id"]) == [f"r{i}" for i in range(200, 240)]
    assert ablations.confounded_runs(check_history(frame.head(215))) is None and not any(history().part != "design")


def test_what_lacks_the_level_is_held_to_its_returns():
    """Order would mostly show the missing level, with mixtures that follow the state as with random ones."""
    full, lacking = assignment.NAMES, [name + assignment.WITHOUT for name in assignment.NAMES]
    rows = [
        (v, s, 0.5 - 0.1 * (v in lacking) + 0.01 * s * i) for i, v in enumerate([*full, *lacking]) for s in range(5)
    ]
    scores = pd.DataFrame(rows, columns=["variant", "split", "spearman"]).assign(fitted=40, held_out=10)
    scores = scores.assign(r_score=scores["spearman"], r2=scores["spearman"])
    fake = vars(assignment) | {"overlap_by_assignment": lambda *_: None, "assignment_scores": lambda *_, **__: scores}
    parts = {"whole": history(), "settings": {}, "n_trees": 8, "history": "", "out": Path()}
    runs = SimpleNamespace(confounded_runs=lambda _: True)
    told = said("08_ablations", "overlap_by_assignment", assignment=SimpleNamespace(**fake), ablations=runs, **parts)
    assert (
        told.count("in order") == 1
        and "Randomised against confounded runs, both in full: not told apart in order" in told
    )
    assert told.count("in returns") == 3


def trained(methods: list[str], seeds: int = 3, **columns) -> pd.DataFrame:
    """Trials of some methods, the first of which scores highest."""
    rows = [
        {"method": m, "seed": s, "y_dev": 0.5 - 0.1 * i + 0.001 * s}
        for i, m in enumerate(methods)
        for s in range(seeds)
    ]
    return pd.DataFrame(rows).assign(pool="whole", model="proxy", n_samples=10, **columns)


def test_trained_variants_are_held_against_the_method():
    """Methods that are no variant are left out, and differences are to CausalMix-A."""
    table = trained(["CausalMix-A", "CausalMix-A without X", "DMO", "RegMix", "CausalMix-A near Equal"])
    found = trials.variants_compared(table, "y_dev")
    assert list(found.index) == [0, 1]  # a page shows no other index
    found = found.set_index("method")
    assert list(found.index) == ["CausalMix-A without X", "DMO"]
    assert found.loc["CausalMix-A without X", "difference"] == pytest.approx(-0.1)


@pytest.mark.parametrize(("seeds", "verdict"), [(1, "open"), (3, "better")])
def test_growth_has_an_interval_only_where_there_are_seeds(seeds, verdict):
    """One seed leaves the interval unknown, and the question open."""
    few, many = trained(["A"], seeds, n_runs=32), trained(["A"], seeds, n_runs=64)
    many["y_dev"] += 0.008 + 0.001 * many["seed"]
    (told,) = trials.growth(pd.concat([few, many])).to_dict("records")
    assert (told["fewest_runs"], told["most_runs"], told["verdict"]) == (32, 64, verdict)
    assert told["difference"] > 0 and np.isnan(told["difference_low"]) == (seeds == 1)


def test_growth_of_many_methods_is_adjusted_for_their_number():
    """What one method alone would have for a verdict is open among fifty."""
    rng, names = np.random.default_rng(0), [f"m{i}" for i in range(50)]
    few, many = trained(names, n_runs=32), trained(names, n_runs=64)
    many["y_dev"] += 0.01 + rng.normal(0, 0.002, len(many))
    table = pd.concat([few, many])
    assert trials.growth(table[table["method"] == "m0"])["verdict"].tolist() == ["better"]
    assert trials.growth(table)["verdict"].tolist().count("better") < 10


def test_designed_runs_are_held_against_as_many_random_ones():
    """Paired by seed at each number of runs; at the most both are all the runs, and nothing is told."""
    tables = [trained(["A"], n_runs=n) for n in (32, 64)]
    better = [t.assign(method="A" + DESIGNED, y_dev=t["y_dev"] + 0.01) for t in tables]
    (told,) = trials.designed_gains(pd.concat([*tables, *better])).to_dict("records")
    assert (told["method"], told["n_runs"], told["verdict"]) == ("A", 32, "better")
    assert told["difference"] == pytest.approx(0.01)


def test_spread_tells_histories_from_seeds():
    """Refits that score alike spread by seeds alone; a shift of one is its histories', and half the L1 gap is told."""
    rng = np.random.default_rng(0)
    rows = [
        {"method": m, "refit": r, "seed": s, "w_a": 0.5 + r * far, "w_b": 0.5 - r * far,
         "y_dev": 0.5 + 0.05 * s + r * shift + rng.normal(0, 0.001)}
        for m, far, shift in (("still", 0.0, 0.0), ("moved", 0.1, 0.02)) for r in range(4) for s in range(3)
    ]  # fmt: skip
    found = trials.spread(pd.DataFrame(rows)).set_index("method")
    assert found["apart"].to_dict() == pytest.approx({"still": 0, "moved": np.mean([0.1] * 3 + [0.2] * 2 + [0.3])})
    assert found.loc["moved", "sd_history"] == pytest.approx(np.std([0, 0.02, 0.04, 0.06], ddof=1), rel=0.1)
    assert found.loc["still", "sd_history"] < 0.001 and found["sd_seed"].max() < 0.003, "what seeds share is no noise"


def test_bad_settings_are_refused():
    """One split has no spread; centred log-ratios have no coefficients of their own."""
    runs = history()
    with pytest.raises(InputError, match="n_splits of at least 2"):
        held_out.held_out_scores(runs, ablations.subset_variants(runs), **(SETTINGS | {"n_splits": 1}))
    with pytest.raises(InputError, match="among log, ilr, found 'clr'"):
        fit_effects(runs, treatment="clr")


def test_chapter_eight_turns_a_loss(tmp_path):
    """What is better when lower is told so, and is minus its values before any variant is fitted."""
    frame = history(60).frame.rename(columns={"y_dev": "y_loss"})
    write_table(tmp_path / "history.csv", frame)
    names = {"history_path": tmp_path / "history.csv", "parts": ["design"], "outcome": "y_loss"}
    told = said("08_ablations", "direction.turned(given", **names, lower_is_better=None)
    assert "lower is better" in told and f"has mean {-frame['y_loss'].mean():.3f}" in told
    told = said("08_ablations", "direction.turned(given", **names, lower_is_better=False)
    assert "lower is better" not in told and f"has mean {frame['y_loss'].mean():.3f}" in told
