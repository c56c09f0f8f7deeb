"""Baselines and CausalMix asked the same question: known optima, determinism, bad input, fixed tables."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.core.simplex import sample_dirichlet, to_counts
from causalmix.methods import ask, variants
from causalmix.methods.baselines import dmo, doremi, odm, regmix
from causalmix.methods.policy import PROMISE, capped
from causalmix.methods.question import Answer, ProxyRun, Question
from causalmix.study import campaign
from causalmix.study.parts import Pool
from causalmix.train.design import Design
from causalmix.train.ledger import Ledger

BEST = np.array([0.5, 0.3, 0.2])


def history(n: int = 200, seed: int = 0):
    """Runs whose outcome is largest at BEST: sum of BEST_k log(T_k + 0.01), and a little noise."""
    T = sample_dirichlet(n, 1.0, 3, seed)
    y = 0.5 + 0.1 * np.log(T + 0.01) @ BEST + np.random.default_rng(seed).normal(0, 0.005, n)
    frame = pd.DataFrame(T, columns=["w_a", "w_b", "w_c"]).assign(y_dev=y, n_samples=900, x_q=np.linspace(0, 1, n))
    return check_history(frame.assign(run_id=[f"r{i}" for i in range(n)]))


def law_of_three() -> dmo.Law:
    """The published parameters of the law for a model of three domains."""
    return dmo.Law(
        beta=np.array([0.051, 0.043, 0.0439]),
        c=np.array([1.156484, 0.750850, 0.982818]),
        gamma=np.array([0.197807, 0.040025, 0.126060]),
        alpha=np.array([0.475964, 0.435039, 0.467028]),
        e=np.array([1.096446, 1.493744, 1.267061]),
    )


def trains(law: dmo.Law, domains=("a", "b", "c")):
    """A way to train whose runs have the losses of a law, and the mixtures of mixers made up from their settings."""

    def train(runs):
        records = []
        for run in runs:
            losses = law.losses(np.array(run.weights) * run.n_samples)
            mixing = {
                "weights": [0.6, 0.3, 0.1],
                "trajectory": [[0.6, 0.3, 0.1]],
                "updates": 11,
                "new_epochs": [0, 0, 0],
            }
            records.append(
                {"status": "finished", "training": {"validation_loss": dict(zip(domains, losses)), "mixing": mixing}}
            )
        return records

    return train


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    """A twentieth of RegMix's: what is asked here does not depend on digits."""
    monkeypatch.setattr(regmix.search, "__defaults__", (0, None, 5_000, 128))


@pytest.mark.parametrize("name", list(ask.STATIC))
def test_each_method_answers_the_same_twice(name):
    """One question, one seed, one mixture on the simplex."""
    asked = Question(history(), 900, np.array([500, 600, 700]), seed=3, train=trains(law_of_three()))
    first, again = (ask.STATIC[name](asked) for _ in range(2))
    assert np.array_equal(first.weights, again.weights)
    assert first.weights.sum() == pytest.approx(1)
    assert (first.weights >= 0).all()


def test_too_few_runs_are_refused():
    """Fewer runs than a method's least are named with the method."""
    with pytest.raises(InputError, match="at least 300 runs for RegMix, found 200"):
        Question(history(), 900).outcomes("RegMix", 300)


def test_a_domain_without_rows_is_refused():
    """The question itself is refused, so no method meets such a pool."""
    with pytest.raises(InputError, match="rows in each of a, b, c"):
        Question(history(), 900, np.array([0, 10, 10]))


@pytest.mark.parametrize("method", [doremi, odm, dmo])
def test_methods_that_train_say_so_where_nothing_can_be_trained(method):
    """Without a way to train there is one sentence, and after a failed proxy another."""
    with pytest.raises(InputError, match="a way to train"):
        method.mixture(Question(history(), 900))
    failed = lambda runs: [{"status": "failed", "error": "MemoryError:\nall"}] * len(runs)  # noqa: E731
    with pytest.raises(InputError, match=r"failed \(MemoryError: all\); sweep again"):
        method.mixture(Question(history(), 900, train=failed))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (np.array([5.0, np.nan, 5]), "rows in each of a, b, c, found .5.0, nan, 5.0."),
        (np.array([[5, 5, 5]]), "rows in each of a, b, c"),
        (np.array(5), "rows in each of a, b, c, found 5"),
        (["5", "6", "7"], "rows in each of a, b, c"),
    ],
)
def test_questions_of_wrong_rows_are_refused(rows, told):
    """Before any method meets them."""
    with pytest.raises(InputError, match=told):
        Question(history(), 900, rows)


def test_bad_settings_are_refused():
    """An unknown form, a base point without rows, an unknown method."""
    asked = Question(history(), 900, train=trains(law_of_three()))
    for call, told in (
        (lambda: odm.mixture(asked, form="exp4"), "form of ODM"),
        (lambda: dmo.proxies(3, 3, 0), "base point"),
        (lambda: ask.names_of("RegMix,Regmax"), "Regmax"),
    ):
        with pytest.raises(InputError, match=told):
            call()


def test_doremi_reports_every_step_size():
    """The step size times the updates is what tells how far weights could move."""
    answer = doremi.mixture(Question(history(), 900, train=trains(law_of_three())))
    assert list(answer.details["etas"]["eta"]) == [0.01, 0.1, 1.0]
    assert list(answer.details["etas"]["eta_times_updates"]) == pytest.approx([0.1, 1.0, 10.0])


@pytest.fixture(scope="module")
def table():
    """Mixtures of a few methods for one pool."""
    return ask.ask(asked(), "whole", ("Equal", "Grid", "RegMix-ridge"))


def asked():
    """A question to which a forest is fitted quickly."""
    settings = {"n_trees": 40, "n_repeats": 1}
    return Question(history(), 900, np.array([500, 600, 700]), x=np.array([0.5]), settings=settings)


def test_a_cautious_mixture_promises_what_its_own_model_expects(table):
    """All others are judged by the forest, and so would this one be: its note and its promise must be one number."""
    question, promise = asked(), table.set_index("method").loc[[ask.CAUTIOUS, "CausalMix-A"], list(PROMISE)].to_numpy()
    weights = table.set_index("method").loc[[ask.CAUTIOUS, "CausalMix-A"], ["w_a", "w_b", "w_c"]].to_numpy()
    own, forest = (judge.gain(question.x, ask.rounded(question.even), weights)
                   for judge in (question.posterior(), question.effects))  # fmt: skip
    assert promise[0] == pytest.approx([part[0] for part in own])
    assert promise[1] == pytest.approx([part[1] for part in forest])
    assert own[0][0] != pytest.approx(forest[0][0])


def test_table_holds_what_a_reader_needs(table):
    """Runs used, predicted gain, support flag, and shares that sum to one in their four digits."""
    assert list(table["method"]) == ["Equal", "Grid", "RegMix-ridge", *ask.ALWAYS]
    assert dict(zip(table["method"], table["proxy_runs_used"]))["Equal"] == 0
    assert {"in_support", "predicted_gain", "gain_ci_low"} <= set(table)
    weights = table[["w_a", "w_b", "w_c"]].to_numpy()
    assert np.array_equal(weights, weights.round(4))
    assert weights.sum(axis=1) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("digest", [None, "860298e29779", "012345678901"])
def test_mixtures_are_fixed_for_their_question(table, tmp_path, monkeypatch, digest):
    """The same question reads the table, another works it out anew; a digest may look like a number."""
    calls = []

    def make():
        calls.append(1)
        return table

    path = tmp_path / "methods.csv"
    if digest:
        monkeypatch.setattr(campaign, "digest_of", lambda question: digest[: 12 - question["seed"]])
    first, again = campaign.fixed(path, {"seed": 1}, make), campaign.fixed(path, {"seed": 1}, make)
    pd.testing.assert_frame_equal(first, again)
    assert len(calls) == 1
    campaign.fixed(path, {"seed": 2}, make)
    assert len(calls) == 2


@pytest.mark.parametrize(("near", "theta"), [(name, t) for name in ask.NEAR for t in ([1.0, 0, 0], [1.0, 1, 0.9])])
def test_near_equal_is_pulled_straight_into_the_trust_region(near, theta):
    """A quarter of the rows change domain where the plain mixture would change more, and then along its way."""
    asked = SimpleNamespace(theta=np.array(theta), caps=None, history=(), seed=0, effects=SimpleNamespace(eps=0.01))
    step = ask.METHODS[near](asked).weights - 1 / 3
    far = np.abs(step).sum() / 2
    if theta[1] == 0:
        assert far == pytest.approx(ask.RADIUS, abs=0.01) and np.ptp(step[1:]) < 0.06 < step[0]
    else:
        assert far < ask.RADIUS / 3, "a mixture inside stays there"


def test_methods_that_know_the_state_move_with_it(table):
    """In other pools static methods keep their mixtures."""
    question = Question(history(), 900, settings={"n_trees": 40, "n_repeats": 1})
    moved = ask.in_pools(table, question, {"low": np.array([0.0]), "high": np.array([1.0])})
    assert list(moved["pool"].unique()) == ["low", "high"]
    still = [m for m in table["method"] if m not in ask.FOLLOWING]
    for pool in ("low", "high"):
        part = moved[moved["pool"] == pool].set_index("method").loc[still, ["w_a", "w_b", "w_c"]]
        assert np.array_equal(part.to_numpy(), table.set_index("method").loc[still, ["w_a", "w_b", "w_c"]].to_numpy())


def test_rounding_keeps_a_mixture_a_mixture():
    """Four digits sum to one, and no share is off by more than its own rounding and one in the last."""
    for k in (3, 5, 17, 64):
        for w in (np.full(k, 1 / k), *sample_dirichlet(20, 0.3, k, 0)):
            short = ask.rounded(w)
            assert short.sum() == pytest.approx(1, abs=1e-12) and np.array_equal(short, short.round(4))
            assert np.abs(short - w).max() < 1.51e-4
    assert ask.rounded(np.array([0.26766, 0.35137, 0.03223, 0.30935, 0.03939]))[1] == 0.3513, "the largest gives"
    assert np.ptp(ask.rounded(np.full(17, 1 / 17))) < 1.5e-4, "Equal of many domains stays equal"


def test_rounding_asks_for_no_row_that_is_not_there():
    """A share at its cap is rounded down, one beyond it as any other, and where nothing else fits as without caps."""
    caps = np.array([1000.0, 7000, 9000]) / 3001
    assert ask.rounded(np.array([caps[0], 0.5, 0.5 - caps[0]]))[0] == 0.3332
    w = np.array([caps[0], 0.3, 0.7 - caps[0]])
    assert to_counts(ask.rounded(w, caps), 3001)[0] <= 1000
    beyond = np.array([0.5, 0.25, 0.25])
    assert np.array_equal(ask.rounded(beyond, caps), beyond)
    full = np.array([1 / 3, 1 / 3, 1 / 3])
    assert ask.rounded(full, full).sum() == pytest.approx(1)
    for w in sample_dirichlet(200, 1.0, 3, 1):
        w = capped(w[None], caps)[0]
        assert (to_counts(ask.rounded(w, caps), 3001) <= [1000, 7000, 9000]).all()


def test_proxy_runs_are_specs_of_the_ledger():
    """A proxy run is hashable data: nothing of it depends on when it is asked for."""
    assert dmo.proxies(3, 900, 5) == dmo.proxies(3, 900, 5)
    assert isinstance(dmo.proxies(3, 900, 5)[0], ProxyRun)


def test_a_methods_proxies_are_not_trained_unasked(tmp_path, monkeypatch):
    """Without leave to train, what the ledger lacks is refused before anything starts."""
    monkeypatch.setattr(campaign, "run_sweep", lambda *_, **__: pytest.fail("a run was trained"))
    pool = Pool("w/1/0/x", ("a", "b", "c"), 30)
    train = campaign.trainer(Design(), pool, Ledger(tmp_path / "trials.jsonl"), train_missing=False)
    with pytest.raises(InputError, match="found 1 of 1 missing; set train_missing"):
        odm.mixture(Question(history(), 900, train=train))


@pytest.mark.parametrize("name", ask.STATIC)
def test_what_a_method_trains_is_told_beforehand(name):
    """Asked for its mixture it trains the runs that a plan counts, and no others."""
    asked, train = [], trains(law_of_three())

    def recorded(runs):
        asked.extend(runs)
        return train(runs)

    question = Question(history(), 3000, rows=np.full(3, 1000), seed=5, train=recorded)
    ask.STATIC[name](question)
    assert asked == (ask.PROXIES[name](3, question.history.usual_rows, 5) if name in ask.PROXIES else [])


def test_learning_curve_has_random_and_designed_runs(monkeypatch):
    """As many runs of either, other ones, the designed spread wider; all runs are the same however they are chosen."""
    seen = {}

    def mean_mixture(question):
        seen.setdefault(len(question.history), []).append(question.history)
        return Answer(question.history.T.mean(axis=0), len(question.history))

    monkeypatch.setitem(variants.METHODS, "RegMix", mean_mixture)
    monkeypatch.setattr(variants, "LEARNERS", ("RegMix",))
    found = variants.learning_mixtures(Question(history(), 900), (32, 64, 200, 512))
    assert list(found["n_runs"]) == [32, 32, 64, 64, 200, 200]
    assert set(found["method"]) == {"RegMix", "RegMix" + variants.DESIGNED}
    shares = found[["w_a", "w_b", "w_c"]].to_numpy()
    assert np.array_equal(*shares[4:]) and not np.array_equal(*shares[:2])
    for count in (32, 64):
        at_random, designed = (runs.T.var(axis=0).sum() for runs in seen[count])
        assert designed > 1.2 * at_random
    assert set(seen[32][1].frame["run_id"]) < set(seen[64][1].frame["run_id"]), "designed runs are added to"


def test_refits_are_asked_from_halves_with_seeds_of_their_own(monkeypatch):
    """Each from another half of the runs, the same for all methods; another question's halves are others again."""
    asked = set()

    def answered(question):
        asked.add((question.seed, frozenset(question.history.frame["run_id"])))
        return Answer(question.even, 0)

    for method in variants.REFITTED:
        monkeypatch.setitem(variants.METHODS, method, answered)
    once = history(100).frame
    twice = check_history(pd.concat([once, once.assign(run_id="again " + once["run_id"])], ignore_index=True))
    for seed in (0, 10):
        found = variants.refitted_mixtures(Question(twice, 900, seed=seed), 3)
        assert found.groupby("method").size().to_dict() == dict.fromkeys(variants.REFITTED, 3)
    seeds, halves = zip(*asked)
    assert sorted(seeds) == [1, 2, 3, 11, 12, 13] and len(set(halves)) == 6 and {len(ids) for ids in halves} == {100}
    assert all({f"again {name}" for name in ids if "again" not in name} < ids for ids in halves), "a mixture was split"
