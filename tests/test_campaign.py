"""A study's trials: which runs they are, and what a partial record shows."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causalmix.core.direction import upward
from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.data.tiny.shapes import DOMAINS
from causalmix.methods import ask
from causalmix.methods.question import Answer, Question
from causalmix.methods.target import Target
from causalmix.study import campaign, parts
from causalmix.study.trials import compare, coverage, recorded_or_trained
from causalmix.train.design import Design, confounded_specs, specs_of
from causalmix.train.ledger import Ledger

MIXTURES = pd.DataFrame([{"method": m} | {f"w_{d}": 0.2 for d in DOMAINS} for m in ("Equal", "A")])


def trials(seeds: int = 2):
    return parts.trials_of(Design(n_samples=50), parts.Pool("w/1/0/x", DOMAINS, 10), MIXTURES, seeds)


def finished(trial) -> dict:
    return {
        "run_id": trial.spec.run_id,
        "spec": trial.spec.as_dict(),
        "status": "finished",
        "error": None,
        "scores": {},
        "covariates": {},
        "training": {},
    }


def test_methods_share_their_seeds_and_the_designs_own_are_others():
    """Every method has the same seeds, none of which a run of the design has."""
    made = trials(3)
    by_method = {m: [t.spec.seed for t in made if t.method == m] for m in ("Equal", "A")}
    assert by_method["Equal"] == by_method["A"] == [90_000, 90_001, 90_002]


def test_what_is_not_on_record_is_told_and_not_trained(tmp_path):
    """Without leave to train, the chapter shows the recorded part and says what is missing."""
    ledger, planned = Ledger(tmp_path / "trials.jsonl"), [t for t in trials(3) if t.method == "A"]
    with pytest.raises(InputError, match="set train_missing"):
        recorded_or_trained(planned, ledger, False)
    assert recorded_or_trained(planned, ledger, False, needed=False) == ([], [])
    with ledger.writer():
        ledger.append(finished(planned[0]))
    kept, records = recorded_or_trained(planned, ledger, False)
    assert [t.spec.run_id for t in kept] == [r["run_id"] for r in records] == [planned[0].spec.run_id]
    group = {"pool": "whole", "model": "proxy", "n_samples": 50}
    for there, recorded in ((kept, 1), (planned, 3)):
        assert coverage(there, planned).to_dict("records") == [group | {"planned": 3, "recorded": recorded}]


def test_variants_are_told_at_the_sizes_that_were_trained(tmp_path, monkeypatch):
    """One run, which two methods share, is on record: a table of it, and none of a curve that lacks other runs."""
    ledger, planned = Ledger(tmp_path / "trials.jsonl"), trials(2)
    monkeypatch.setattr(parts, "numbered_trials", lambda *_: planned)
    monkeypatch.setattr(campaign.Campaign, "size_trials", lambda *_: planned)
    for name in ("learning", "refits", "variants"):
        monkeypatch.setattr(campaign.Campaign, name, lambda _: None)
    monkeypatch.setattr(
        campaign, "trial_table", lambda kept, _: pd.DataFrame({"run_id": [t.spec.run_id for t in kept]})
    )
    world = SimpleNamespace(name="w", scored=SimpleNamespace(domains=DOMAINS, codes=[0]))
    plan = campaign.Campaign(tmp_path, Design(), world, None, None, ledger)
    plan.write_tables()
    assert not list(tmp_path.glob("*_trained.csv"))
    ledger.append(finished(planned[0]))
    plan.write_tables()
    (kept,) = tmp_path.glob("*_trained.csv")
    assert kept.name == "variants_trained.csv" and len(pd.read_csv(kept)) == 2


def test_confounded_mixtures_follow_the_state():
    """In the second history the state explains part of the mixtures, in the first it explains none."""

    def explained(specs) -> float:
        X = np.column_stack([np.ones(len(specs)), [s.state for s in specs]])
        T = np.array([s.weights for s in specs])
        left = T - X @ np.linalg.lstsq(X, T, rcond=None)[0]
        return 1 - left.var() / (T - T.mean(axis=0)).var()

    second = confounded_specs(Design(), "w/1/0/x")
    assert explained(second) > 0.1
    assert explained(specs_of(Design(n_runs=400), "w/1/0/x")) < 0.03
    assert not {s.seed for s in second} & {s.seed for s in specs_of(Design(), "w/1/0/x")}


def test_shares_of_some_domains_are_divided_by_their_sum():
    """Domains that the pool lacks leave no trace; without any share the kept ones are equal."""
    T = np.tile([0.2, 0.6, 0.2], (20, 1))
    frame = pd.DataFrame(T, columns=["w_a", "w_b", "w_c"]).assign(run_id=np.arange(20).astype(str), y_dev=0.5)
    question = Question(check_history(frame), 100, domains=("a", "b"))
    assert question.of_pool(np.array([0.2, 0.6, 0.2])) == pytest.approx([0.25, 0.75])
    assert question.of_pool(np.array([0.0, 0.0, 1.0])) == pytest.approx([0.5, 0.5])
    assert question.whole(question.even) == pytest.approx([0.5, 0.5, 0])
    with pytest.raises(InputError, match="Expected a domain among a, b, c, found 'd'"):
        replace(question, domains=("a", "d"))


def test_two_shifted_pools_lie_within_the_states_seen_and_one_beyond():
    """Components of a state are drawn from minus to plus their widths."""
    inside = [bool((np.abs(tilt) <= Design().widths).all()) for tilt in parts.SHIFTS.values()]
    assert sorted(inside) == [False, True, True]


def test_a_history_of_another_design_is_refused(tmp_path):
    """Its trials would answer another question: what differs is named, and so are domains in another order."""
    design, base = Design(n_runs=20), SimpleNamespace(name="w/1/0/x", scored=SimpleNamespace(domains=DOMAINS))
    specs = specs_of(design, base.name)
    frame = pd.DataFrame(
        [
            {"run_id": s.run_id, "y_dev": i / 40} | {f"w_{d}": w for d, w in zip(s.domains, s.weights)}
            for i, s in enumerate(specs)
        ]
    )
    ledger = Ledger(tmp_path / "runs.jsonl")
    with ledger.writer():
        ledger.append(finished(SimpleNamespace(spec=specs[0])))
    runs = check_history(frame)
    campaign._check_record(runs, ledger, design, base)
    with pytest.raises(InputError, match="another n_samples, training"):
        campaign._check_record(runs, ledger, replace(design, n_samples=3000, learning_rate=0.1), base)
    turned = SimpleNamespace(name=base.name, scored=SimpleNamespace(domains=DOMAINS[::-1]))
    with pytest.raises(InputError, match="in this order"):
        campaign._check_record(runs, ledger, design, turned)


def test_mixtures_of_the_whole_pool_are_asked_anew_for_other_rows(tmp_path):
    """The caps of a pool are part of the question that a fixed table answers."""
    runs = check_history(
        pd.DataFrame([{"run_id": str(i), "y_dev": i / 40} | {f"w_{d}": 0.2 for d in DOMAINS} for i in range(20)])
    )
    asked = set()
    for n_samples, rows in ((100, None), (200, None), (100, np.full(5, 30))):
        goal = Target("whole", np.empty(0), n_samples, rows, "")
        plan = campaign.Campaign(tmp_path, Design(), None, runs, goal, Ledger(tmp_path / "trials.jsonl"))
        asked.add(campaign.digest_of(plan._asked(**plan._aim)))
    assert len(asked) == 3


def test_a_question_stays_where_a_machine_scores_in_other_last_bits(tmp_path):
    """A state that differs in its fourth decimal finds the mixtures that were fixed; another state does not."""
    runs = check_history(
        pd.DataFrame([{"run_id": str(i), "y_dev": i / 40} | {f"w_{d}": 0.2 for d in DOMAINS} for i in range(20)])
    )
    asked = []
    for x in (1.55086, 1.55078, 1.6):
        goal = Target("whole", np.array([x]), 100, None, "")
        plan = campaign.Campaign(tmp_path, Design(), None, runs, goal, Ledger(tmp_path / "trials.jsonl"))
        asked.append(campaign.digest_of(plan._asked(**plan._aim)))
    assert asked[0] == asked[1] != asked[2]


def test_a_question_is_known_by_its_values():
    """Neither the order of its keys nor how a design is written counts; one other value does."""
    digest = campaign.digest_of({"seed": 1, "x": [0.5]})
    assert digest == campaign.digest_of({"x": [0.5], "seed": 1}) != campaign.digest_of({"seed": 2, "x": [0.5]})
    assert set(campaign.ASKED) <= {f.name for f in fields(Design)}


def test_a_question_is_of_the_runs_whoever_is_named_as_scorer():
    """Columns that only name who scored the pool change no question; an outcome does."""
    runs = pd.DataFrame({"run_id": list("abcd") * 6, "y_dev": 0.5, "w_a": 0.5, "w_b": 0.5})
    told = lambda frame: campaign._runs(SimpleNamespace(frame=frame))  # noqa: E731
    assert told(runs) == told(runs.assign(scorer="s", rater="r")) != told(runs.assign(y_dev=0.6))


def test_proportional_follows_the_pool_that_a_mixture_is_for():
    """In a pool of some domains Proportional is its own mixture, Equal its equal one; who trains keeps shares."""
    rng = np.random.default_rng(0)
    T = rng.dirichlet(np.ones(3), 60)
    frame = pd.DataFrame(T, columns=["w_a", "w_b", "w_c"]).assign(run_id=[str(i) for i in range(60)])
    runs = check_history(frame.assign(y_dev=0.5 + 0.1 * T[:, 0] + rng.normal(0, 0.01, 60)))
    names = ["Equal", "Proportional", "Grid", "DoReMi"]
    table = pd.DataFrame([{"method": m, "w_a": 0.5, "w_b": 0.3, "w_c": 0.2, "proxy_runs_used": 0} for m in names])
    settings = {"n_trees": 8, "n_repeats": 1}
    question = Question(runs, 100, np.array([300, 100]), x=np.empty(0), domains=("a", "c"), settings=settings)
    found = ask.in_part(table, question, "part").set_index("method")
    assert list(found.loc["Proportional", ["w_a", "w_b", "w_c"]]) == [0.75, 0, 0.25]
    assert list(found.loc["Equal", ["w_a", "w_b", "w_c"]]) == [0.5, 0, 0.5]
    assert list(found.loc["DoReMi", ["w_a", "w_b", "w_c"]]) == [0.7143, 0, 0.2857]


def test_mixtures_with_scale_are_tried_at_their_own_size_alone(tmp_path, monkeypatch):
    """One mixture for each pool, model and size, asked at it; others are tried everywhere, shifted pools twice."""
    design = Design(n_samples=100, scale_runs=24)
    models = [design.model_of(role) for role in ("proxy", "target")]
    T = np.random.default_rng(0).dirichlet(np.ones(5), 48)
    sizes = {"n_samples": np.tile([50, 100, 200, 400], 12), "model": np.repeat(models, 24)}
    sizes |= {"model_size": np.repeat([1000, 4000], 24), "part": np.repeat(["design", "scale"], 24)}
    columns = {"run_id": [str(i) for i in range(48)], "y_dev": T[:, 0], "x_q": np.linspace(0, 1, 48)} | sizes
    whole = check_history(pd.DataFrame(columns | {f"w_{d}": T[:, k] for k, d in enumerate(DOMAINS)}))
    goal, states = Target("all", np.array([0.5]), 800, None, ""), {name: np.array([0.1]) for name in parts.SHIFTS}
    world = SimpleNamespace(name="w/1/0/x", scored=SimpleNamespace(domains=DOMAINS, codes=[0]))
    asked = []

    def answered(question):
        asked.append((question.n_samples, *question.x))
        return Answer(question.even, 48)

    monkeypatch.setitem(ask.METHODS, ask.WITH_SCALE, answered)
    monkeypatch.setattr(campaign.Campaign, "shifted_states", lambda _: states)
    monkeypatch.setattr(ask, "_table", lambda q, pool, answers, _: MIXTURES[:1].assign(method=list(answers), pool=pool))
    monkeypatch.setattr(Question, "posterior", lambda _: None)
    ledger = Ledger(tmp_path / "trials.jsonl")
    plan = campaign.Campaign(tmp_path, design, world, whole.parts(["design"]), goal, ledger, scaled=whole)
    log = lambda x, n, model: (n, x, np.log2(n), np.log2(model))  # noqa: E731
    at_whole = [log(0.5, n, 1000) for n in (100, 400, 800)] + [log(0.5, 800, 4000)]
    tried = plan.tried(MIXTURES.assign(pool="all"))
    np.testing.assert_allclose(asked, at_whole + 3 * [log(0.1, n, 1000) for n in (100, 400)])
    made = plan.size_trials(tried)
    counts = {m: sum(t.method == m for t in made) for m in ("A", ask.WITH_SCALE)}
    assert counts == {"A": 20, ask.WITH_SCALE: 20} and len({t.spec.n_samples for t in made}) == 3
    moved = plan.tried(pd.concat(MIXTURES.assign(pool=name) for name in parts.SHIFTS))
    found = parts.shift_trials(design, plan.pool, moved, 8, 5)
    assert len(found) == 3 * 2 * 5 * 3 and len(asked) == 10, "the table is read again"


def test_a_loss_is_turned_before_any_method_sees_it(tmp_path, monkeypatch):
    """Methods get the run of the lowest loss for the best, and a trial that lowers it is ahead."""
    base = SimpleNamespace(name="w/1/0/x", scored=SimpleNamespace(domains=DOMAINS))
    monkeypatch.setattr(campaign, "world_for", lambda design: base)
    monkeypatch.setattr(campaign, "find_target", lambda *_: None)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.dirichlet(np.ones(len(DOMAINS)), 30), columns=[f"w_{d}" for d in DOMAINS])
    frame = frame.assign(run_id=[f"r{i}" for i in range(30)], y_dev=0.5, y_loss=rng.uniform(1, 3, 30))
    frame.to_csv(tmp_path / "history.csv", index=False)
    made = campaign.Campaign.of_study("quick", tmp_path, outcome="y_loss")
    assert made.lower and made.history.y("y_loss") == pytest.approx(-frame["y_loss"].to_numpy())
    best = ask.METHODS["Grid"](Question(made.history, 100, outcome="y_loss")).weights
    assert best == pytest.approx(frame.loc[frame["y_loss"].idxmin(), [f"w_{d}" for d in DOMAINS]].to_numpy(float))
    stated = campaign.Campaign.of_study("quick", tmp_path, outcome="y_loss", lower_is_better=False)
    assert not stated.lower and (stated.history.y("y_loss") > 0).all()
    assert not campaign.Campaign.of_study("quick", tmp_path, outcome="y_dev").lower
    tried = [{"method": m, "pool": "whole", "model": "proxy", "n_samples": 9, "seed": s, "y_loss": loss + 0.01 * s}
             for m, loss in (("Equal", 2.0), ("A", 1.5)) for s in range(3)]  # fmt: skip
    ahead = compare(upward(pd.DataFrame(tried), "y_loss", made.lower), "y_loss").set_index("method")
    assert ahead.loc["A", "difference"] == pytest.approx(0.5)
