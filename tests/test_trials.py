"""Trials and verdicts: intervals, paired differences, rank agreement, and words that follow from numbers."""

import numpy as np
import pandas as pd
import pytest

from causalmix.core import intervals
from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.study import claims, trials, verdicts
from causalmix.study.longcot import with_outcome
from causalmix.study.parts import Trial
from causalmix.train import records


def table(
    gaps: dict[str, float], seeds: int = 5, noise: float = 0.0, shared: float = 0.0, model: str = "proxy"
) -> pd.DataFrame:
    """Trials whose outcome is 0.5 and a gap, with noise that seeds share and noise of their own."""
    rng, rows = np.random.default_rng(0), []
    common = rng.normal(0, shared, seeds)
    for method, gap in gaps.items():
        for s in range(seeds):
            y = 0.5 + gap + common[s] + rng.normal(0, noise)
            rows.append({"method": method, "pool": "whole", "model": model, "n_samples": 100, "seed": s, "y_dev": y})
    return pd.DataFrame(rows)


def test_interval_is_students():
    """Three values by hand: mean 2, standard deviation 1, t of 4.303."""
    mean, low, high = intervals.mean_interval([1, 2, 3])
    assert (mean, low, high) == pytest.approx((2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert np.isnan(intervals.mean_interval([1.0])[1])


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 2, "better"), (-2, -0.1, "worse"), (-1, 1, "open"), (0, 1, "open"), (np.nan, np.nan, "open")],
)
def test_one_judge_of_intervals(low, high, word):
    """Nothing but the interval decides, and claims have words of their own for the same."""
    assert intervals.verdict(low, high) == word
    assert [claims.WORDS[w] for w in ("better", "worse", "open")] == ["holds", "does not hold", "cannot tell"]


def test_differences_are_paired_by_seed():
    """Noise that all methods share widens the means' intervals and not the differences'."""
    compared = trials.compare(table({"Equal": 0, "A": 0.02}, shared=0.05, noise=0.001)).set_index("method")
    assert compared.loc["A", "ci_high"] - compared.loc["A", "ci_low"] > 0.05
    assert compared.loc["A", "difference_high"] - compared.loc["A", "difference_low"] < 0.01
    assert compared.loc["A", "difference"] == pytest.approx(0.02, abs=0.003)
    assert np.isnan(compared.loc["Equal", "difference"])


def test_rank_agreement_knows_order_from_noise():
    """Equal orders agree with a narrow interval; turned around they do not."""
    gaps = dict(zip("ABCDE", (0.0, 0.02, 0.04, 0.06, 0.08)))
    same = pd.concat([table(gaps, noise=0.001), table(gaps, noise=0.001, model="target")])
    one, other = trials.groups_of(same)
    found = trials.rank_agreement(same, one, other, draws=100)
    assert found["spearman"] == pytest.approx(1)
    assert found["spearman_low"] > 0.8
    turned = pd.concat([table(gaps), table({m: -g for m, g in gaps.items()}, model="target")])
    assert trials.rank_agreement(turned, *trials.groups_of(turned), draws=50)["spearman"] == pytest.approx(-1)
    few = trials.rank_agreement(turned[turned["method"].isin(["A", "B"])], *trials.groups_of(turned))
    assert few["methods"] == 2 and np.isnan(few["spearman"])
    single = turned[turned["seed"] == 0]
    assert np.isnan(trials.rank_agreement(single, *trials.groups_of(single), draws=20)["spearman_low"])


def test_whether_an_order_carries_over_is_told_by_its_interval():
    """Two sizes in one order, and two models in opposite orders, whichever came first."""
    gaps = dict(zip("ABCDEF", (0.0, 0.02, 0.04, 0.06, 0.08, 0.1)))
    large = table(gaps, noise=0.001).assign(n_samples=200)
    target = table({m: -g for m, g in gaps.items()}, noise=0.001, model="target").assign(n_samples=200)
    both = pd.concat([table(gaps, noise=0.001), large, target])
    found = trials.agreement_table(both, trials.groups_of(both))
    pairs = list(zip(found["one"], found["other"]))
    assert pairs[-1] == ("proxy, 200 rows", "target model, 200 rows") and len(pairs) == 3
    told = [intervals.verdict(*ends) for ends in zip(found["spearman_low"], found["spearman_high"])]
    assert dict(zip(pairs, told))["proxy, 100 rows", "proxy, 200 rows"] == "better", "much the same order"
    assert dict(zip(pairs, told))[pairs[-1]] == "worse", "an order that is turned around"


def test_one_seed_shows_no_interval_and_no_nan():
    """A sweep that was stopped leaves single seeds; what they do not tell is left out."""
    single = table({"Equal": 0, "CausalMix-A": 0.1, "CausalMix-A without X": 0.0}, seeds=1)
    compared = trials.compare(single)
    (told,) = trials.standings(compared).to_dict("records")
    assert told["open"] == "CausalMix-A (+10.0), CausalMix-A without X (+0.0)"
    assert told["better"] == told["worse"] == "none" and told["best"] == "CausalMix-A (60.0)"
    assert "nan" not in str(told) + trials.axis_table(single, ["y_dev"]).to_string()
    (alone,) = trials.standings(trials.compare(table({"Equal": 0}))).to_dict("records")
    assert {alone[word] for word in ("better", "worse", "open")} == {"none"}


def test_whether_the_state_pays_is_a_difference_to_the_same_without_it():
    """With another reference the comparison tells it, pool by pool."""
    both = table({"CausalMix-A": 0.1, "CausalMix-A without X": 0.0}, noise=0.001)
    found = trials.compare(both, reference="CausalMix-A without X").set_index("method")
    assert found.loc["CausalMix-A", "difference"] == pytest.approx(0.1, abs=0.003)
    assert found.loc["CausalMix-A", "difference_low"] > 0


def test_what_mixtures_add_to_their_base_is_counted():
    """Above and below the model that each started from."""
    compared = trials.compare(table({"Equal": 0, "A": 0.1, "B": -0.1}, noise=0.001))
    before = pd.DataFrame({"model": ["proxy", "target"], "y_dev": [0.55, 0.6]})
    assert trials.above_base(compared, before, "y_dev").to_dict("records") == [
        {"model": "proxy", "n_samples": 100, "base": 0.55, "above": 1, "mixtures": 3}
    ]


def test_methods_are_sorted_by_what_their_intervals_say():
    """Above, below, and not told apart, each where it belongs."""
    compared = trials.compare(table({"Equal": 0, "good": 0.1, "bad": -0.1, "same": 0.0}, noise=0.01))
    (told,) = trials.standings(compared).to_dict("records")
    for word, method in (("better", "good"), ("worse", "bad"), ("open", "same")):
        assert told[word].startswith(f"{method} (") and "," not in told[word]


def test_failed_trial_is_not_passed_over():
    """A failed run stops the table with its error."""

    class Spec:
        model = "proxy"

    with pytest.raises(InputError, match="MemoryError"):
        trials.trial_table([Trial("A", "whole", Spec())], [{"status": "failed", "error": "MemoryError"}])


@pytest.mark.parametrize("outcomes", [{"y_dev": 1.2, "y_loss_a": 1.2}, {"y_dev": 0.4, "y_math": 0.4}])
def test_trials_that_losses_score_say_so(outcomes, make_spec, monkeypatch):
    """What is better when lower stands beside them, as in a history."""
    monkeypatch.setattr(records, "outcomes_of", lambda record: outcomes)
    (row,) = trials.trial_table([Trial("A", "whole", make_spec())], [{"status": "finished"}]).to_dict("records")
    assert row.get("lower_is_better") == ("y_dev y_loss_a" if "y_loss_a" in outcomes else None)


def test_reported_gaps_are_the_published_ones():
    """Differences are taken from the published tables, not typed."""
    dev = claims.published("dev")
    assert claims.reported_gap(dev[dev["model"] == "Qwen2.5-0.5B"], "CausalMix-A", "Equal") == pytest.approx(
        33.94 - 31.78
    )
    assert claims.reported_gap(claims.published("longcot"), "CausalMix", "RegMix") == pytest.approx(66.66 - 61.40)
    with pytest.raises(InputError, match="found no Grid"):
        claims.reported_gap(dev, "Grid", "Equal")


def test_the_one_uneven_row_is_found():
    """Equal at 0.5B is the only row whose average is not that of its axes."""
    axes = ["knowledge", "reasoning", "math", "coding", "instruction", "safety"]
    uneven = claims.uneven_rows(claims.published("dev"), axes)
    assert list(uneven["method"]) == ["Equal"]
    assert uneven["recomputed"].iloc[0] == pytest.approx(31.17, abs=0.01)


RIVALS = {"Equal": 0, "RegMix": 0, "DoReMi": 0, "DMO": 0}


def test_claims_turn_with_the_tables(tmp_path):
    """Without tables nothing is tried; with a clear winner its claim holds, with a clear loser it does not."""
    untold = claims.paper_claims(tmp_path)
    assert set(untold["verdict"]) == {"not tried"} and untold["ci_low"].isna().all()
    for gap, verdict in ((0.1, "holds"), (-0.1, "does not hold")):
        table(RIVALS | {"CausalMix-A": gap}, noise=0.001).to_csv(tmp_path / "targets.csv", index=False)
        found = claims.paper_claims(tmp_path).set_index("claim")
        all_rivals = "{} beats Equal, RegMix, DoReMi and DMO on Dev (proxy, 100 rows)"
        assert found.loc[all_rivals.format("CausalMix-A"), "verdict"] == verdict
        assert found.loc[all_rivals.format("CausalMix-A near Equal"), "verdict"] == "not tried"
        assert (found["verdict"] == verdict).sum() == found["ci_low"].notna().sum() == 1, "one fact is one claim"


def test_a_claim_about_several_is_as_strong_as_its_hardest_part(tmp_path):
    """One rival ahead refutes it, one that nobody tried keeps it from holding, and doubt about one is doubt."""
    wins = {name: verdicts.Part(name, 3.0, 2.0, 4.0, 0.001) for name in "abc"}
    assert verdicts.hardest([*wins.values(), verdicts.Part("d", 1.0, -1.0, 3.0, 0.3)]).name == "d"
    lost = verdicts.hardest([*wins.values(), verdicts.Part("d", -1.0, -1.5, -0.5, 0.01)])
    assert lost.name == "d" and lost.p == pytest.approx(0.04)
    assert verdicts.hardest(list(wins.values())).p == 0.001, "all together need no adjustment"
    assert np.isnan(verdicts.hardest([*wins.values(), verdicts.Part("d", 1.0)]).p), "one seed alone is no evidence"
    for gap, verdict in ((0.1, "cannot tell"), (-0.1, "does not hold")):
        some = {name: 0 for name in RIVALS if name != "DMO"}
        table(some | {"CausalMix-A": gap}, noise=0.001).to_csv(tmp_path / "targets.csv", index=False)
        found = claims.paper_claims(tmp_path).set_index("claim")
        told = found.loc["CausalMix-A beats Equal, RegMix, DoReMi and DMO on Dev (proxy, 100 rows)"]
        assert told["verdict"] == verdict and "DMO not tried" in told["measured in"]


@pytest.mark.parametrize(("sign", "verdict"), [(1, "holds"), (-1, "does not hold")])
def test_the_papers_reading_of_its_tree_turns_with_the_returns(tmp_path, sign, verdict):
    """Each region's claim follows from the returns there, and a region without them is not tried."""
    help_, hurt = sign * 0.02, -sign * 0.02
    returns = {"leaf: a": {"instruction": help_, "math": 0.0}, "leaf: b": {"instruction": help_}}
    returns["loss and HES high"] = {"knowledge": hurt}
    returns["style and HES low"] = dict.fromkeys(("math", "coding", "safety"), hurt)
    rows = [
        {"region": region, "runs": 50, "domain": domain, "theta": theta, "ci_low": theta - 0.002,
         "ci_high": theta + 0.002, "p": 1e-6 if theta else 1.0}
        for region, known in returns.items() for domain, theta in known.items()
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "regions.csv", index=False)
    found = claims.paper_claims(tmp_path)
    tree = found[found["family"] == claims.WHERE]
    assert tree["verdict"].tolist() == [verdict] * 3 + ["not tried"]
    assert (tree["ci_low"].dropna() < tree["ci_high"].dropna()).all()
    assert tree["ours"].iloc[0] == pytest.approx(sign * 2 * np.log(2)), "points per doubling"


def test_the_papers_sizes_are_played_by_ours(tmp_path):
    """The largest for 800K, the smallest for 100K, one between for 400K; with two sizes there is no middle."""
    sizes = [table(RIVALS | {"CausalMix-A": 0.1}, noise=0.001).assign(n_samples=n) for n in (100, 400, 800)]
    for chosen, middle in ((sizes, "holds"), (sizes[::2], "not tried")):
        pd.concat(chosen).to_csv(tmp_path / "targets.csv", index=False)
        found = claims.paper_claims(tmp_path)
        found = found[found["claim"].str.contains("CausalMix-A beats .* on Dev .proxy")]
        by_size = found.set_index(found["reported where"].str.split(", ").str[-1])
        assert by_size["verdict"][["800K", "400K", "100K"]].tolist() == ["holds", middle, "holds"]
        assert "800 rows" in by_size.loc["800K", "claim"] and "100 rows" in by_size.loc["100K", "claim"]


@pytest.mark.parametrize(("lower", "verdict"), [("", "holds"), ("y_dev", "does not hold")])
def test_long_chains_that_a_loss_scores_are_turned_round(tmp_path, lower, verdict):
    """A pool without benchmarks is scored by a loss, of which the highest mean is the worst."""
    losses = ("y_dev", "y_loss_math"), ("y_dev", "y_loss", "y_loss_math"), ("y_dev",)
    assert [records.lower_of(names).get("lower_is_better") for names in losses] == [
        "y_dev y_loss_math", "y_loss y_loss_math", None,
    ]  # fmt: skip
    chains = table(dict.fromkeys(("Equal", "Grid", "RegMix", "DMO"), 0) | {"CausalMix-A": 0.1}, noise=0.001)
    chains.assign(lower_is_better=lower).to_csv(tmp_path / "longcot.csv", index=False)
    found = claims.paper_claims(tmp_path).set_index("family").loc[claims.CHAINS]
    assert found["verdict"].tolist().count(verdict) == 1


def test_another_outcome_is_the_mean_of_two_axes():
    """The transfer's outcome is made of columns that the history has, or refused."""
    frame = pd.DataFrame(
        {"run_id": [f"r{i}" for i in range(20)], "w_a": 0.5, "w_b": 0.5, "y_dev": 0.1, "y_math": 0.2, "y_coding": 0.4}
    )
    assert with_outcome(check_history(frame)).y("y_math_coding") == pytest.approx(0.3)
    with pytest.raises(InputError, match="no coding"):
        with_outcome(check_history(frame.drop(columns="y_coding")))


def test_a_claim_about_prediction_needs_enough_splits(tmp_path):
    """The same gap in five splits holds, in four it cannot be told."""
    for n, word in ((5, "holds"), (4, "cannot tell")):
        rows = [
            {"predictor": p, "split": i, "spearman": s}
            for i in range(n)
            for p, s in (("theta(x)", 0.9), ("constant theta", 0.8))
        ]
        pd.DataFrame(rows).to_csv(tmp_path / "held_out.csv", index=False)
        asked = claims.judged(claims.estimator_claims(tmp_path))
        (found,) = asked[asked["claim"].str.contains("constant theta")].to_dict("records")
        assert found["ours"] == pytest.approx(0.1) and found["verdict"] == word
