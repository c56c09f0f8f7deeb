"""The study of a real model beside the proxy: what its runs share with the record, and what is said of both."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from language_models import chat_tokenizer, tiny_model

from causalmix.core.paths import results_dir
from causalmix.data import scored_pools
from causalmix.data.scores import SCORES
from causalmix.data.tiny.tasks import tiny_tasks
from causalmix.study import bridge
from causalmix.train.design import Design, noise_panel, specs_of
from causalmix.train.ledger import Ledger
from causalmix.train.one_run import train

SMALL = {"pool_rows": 600, "candidates": 60, "n_samples": 48, "n_runs": 2}


def designs(**changes):
    """Of the proxy's study and of the real model's."""
    return [replace(Design.of_study(name), **changes) for name in ("laptop", bridge.STUDY)]


def test_each_run_has_a_recorded_one_of_the_proxy():
    """At least 48, and the noise panel too: pool, mixture, state and seed are those of a finished run."""
    laptop, real = designs()
    record = Ledger(results_dir("laptop") / "runs.jsonl").finished().values()
    worlds = {r["spec"]["world"].removesuffix(f"/{laptop.candidates}") for r in record}
    assert len(worlds) == 1
    proxy = {bridge._same(r["spec"]) for r in record if r["spec"]["n_samples"] == laptop.n_samples}
    specs = specs_of(real, *worlds)
    asked = [bridge._same(spec.as_dict()) for spec in [*specs, *noise_panel(real, specs)]]
    assert len(specs) >= 48 and len(set(asked)) == len(asked) and set(asked) <= proxy


@pytest.fixture
def small_world(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("causalmix.data.tiny.tasks.ITEMS", {"dev": 20, "unseen": 10})
    for kept in (scored_pools.load_world, tiny_tasks):
        kept.cache_clear()
    yield scored_pools.load_world(SMALL["pool_rows"], 0)
    for kept in (scored_pools.load_world, tiny_tasks):
        kept.cache_clear()


def test_both_models_draw_from_the_same_candidates(small_world, tmp_path):
    """With a small model in the real one's place: trained by the study's settings, in the same states as the proxy."""
    tiny_model().save_pretrained(tmp_path / "base")
    chat_tokenizer().save_pretrained(tmp_path / "base")
    laptop, real = designs(**SMALL)
    ledgers = []
    for design in (laptop, replace(real, models={"proxy": str(tmp_path / "base")})):
        ledgers.append(Ledger(tmp_path / f"{len(ledgers)}.jsonl"))
        for spec in specs_of(design, small_world.name):
            told = {"run_id": spec.run_id, "spec": spec.as_dict(), "status": "finished", "error": None}
            ledgers[-1].append(told | train(spec.as_dict()))
    proxy, other = bridge.shared(*ledgers)
    same = [name for name in proxy if name.startswith(("w_", "x_"))]
    assert len(proxy) == 2 and len(same) == 8 and proxy[same].equals(other[same])
    assert (proxy["model_size"] != other["model_size"]).all()
    assert bridge.agreement(proxy, other).empty, "two mixtures have no order to speak of"


def made(values, state):
    """A history of one mixture a row."""
    shares = np.linspace(0.1, 0.9, len(values))
    return pd.DataFrame({"w_a": shares, "w_b": 1 - shares, "x_hes": state, "y_dev": values, "y_math": 0.5})


def test_an_order_is_told_with_its_interval():
    """The same order, the opposite one, none, and one that is the state's alone; what never moves has no number."""
    rng = np.random.default_rng(0)
    one, state, noise = (rng.normal(size=48) for _ in range(3))
    for values, word in ((one**3, "better"), (-one, "worse"), (noise, "open")):
        found = bridge.agreement(made(one, state), made(values, state), draws=200)
        line = found.set_index("outcome").loc["y_dev"]
        assert line["spearman_low"] <= line["spearman"] <= line["spearman_high"]
        assert f"`y_dev` {bridge.WORDS[word]} (" in bridge.said(found), word
        assert found.set_index("outcome").loc["y_math"].drop("mixtures").isna().all()
    own = bridge.agreement(made(one, state), made(one**3, state), draws=200)
    assert "out of both, this stays so (" in bridge.said(own)
    states_own = bridge.agreement(made(one + 9 * state, state), made(noise + 9 * state, state), draws=200)
    line = states_own.set_index("outcome").loc["y_dev"]
    assert line["spearman"] > 0.9 and line["given_state_low"] < 0 < line["given_state_high"]
    assert f"out of both, it {bridge.WORDS['open']} (" in bridge.said(states_own), "no more is said of the mixtures"


def test_seeds_of_a_mixture_count_once(tmp_path):
    """Their mean stands for it, and only seeds that both models have count."""
    ledgers = [Ledger(tmp_path / name) for name in ("proxy", "real")]
    spec = specs_of(Design(n_runs=1), "tiny/1/0/x")[0]
    scores = {task.name: 0.0 for task in tiny_tasks()}
    known = {"covariates": {f"x_{name}": 1.0 for name in SCORES}, "training": {}, "status": "finished"}
    for ledger, values in zip(ledgers, ((0.1, 0.3, 0.9), (0.2, 0.6))):
        for seed, value in enumerate(values):
            told = replace(spec, seed=seed, model=ledger.path.name)
            record = known | {"run_id": told.run_id, "spec": told.as_dict(), "scores": scores | {"math_dev": value}}
            ledger.append(record)
    assert [table["y_math"].round(9).tolist() for table in bridge.shared(*ledgers)] == [[0.2], [0.4]]


def test_without_a_record_nothing_is_claimed(tmp_path):
    found = bridge.agreement(*bridge.shared(Ledger(tmp_path / "a"), Ledger(tmp_path / "b")))
    assert found.empty and "not tried yet" in bridge.said(found)
