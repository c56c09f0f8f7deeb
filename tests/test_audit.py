"""Reliability and agreement."""

import numpy as np
import pandas as pd
import pytest

from causalmix.core.errors import InputError
from causalmix.study import parts, trials
from causalmix.study.plan import workload
from causalmix.train import audit, records, sweep
from causalmix.train.ledger import Ledger
from causalmix.train.sft import SFTSettings


def test_reliability_by_hand():
    """Two specifications, two seeds: mean squares 8 and 0.5 give (8 - 0.5) / (8 + 0.5)."""
    found = audit.reliability([0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0])
    assert found["reliability"] == pytest.approx((4 - 0.5) / (4 + 0.5))
    assert found["seed_sd"] == pytest.approx(0.5**0.5)


def test_reliability_recovers_a_known_share_and_its_interval_covers_it():
    """With variances 3 and 1 the reliability is 0.75; its interval covers it about 95 times in 100."""
    rng, estimates, covered = np.random.default_rng(0), [], 0
    for _ in range(200):
        values = rng.normal(0, 3**0.5, 24).repeat(4) + rng.normal(0, 1, 96)
        found = audit.reliability(np.arange(24).repeat(4), values)
        estimates.append(found["reliability"])
        covered += found["ci_low"] <= 0.75 <= found["ci_high"]
    assert np.mean(estimates) == pytest.approx(0.75, abs=0.03)
    assert 180 <= covered <= 199


def test_uneven_panel_is_refused():
    """A panel that lacks a seed is refused."""
    with pytest.raises(InputError, match="finish the noise panel"):
        audit.reliability([0, 0, 1], [1.0, 2.0, 3.0])


def test_training_again_finds_a_record_that_is_not_true():
    """A record that differs on one task shows, and so does its size."""
    recorded = [
        {"run_id": "x", "spec": {"seed": 1}, "scores": {"t": 0.5, "u": 0.25}},
        {"run_id": "y", "spec": {"seed": 2}, "scores": {"t": 0.5, "u": 0.75}},
    ]
    again = audit.train_again(recorded, lambda spec: {"scores": {"t": 0.5, "u": 0.25}})
    assert again["largest_difference"].tolist() == [0.0, 0.5]
    assert "Of 2 runs trained again, 1 agree" in audit.agreement_sentence(again)
    assert "The run that was trained again agrees" in audit.agreement_sentence(again.head(1))
    assert "Both runs that were trained again agree" in audit.agreement_sentence(again.assign(largest_difference=0.0))


def test_a_model_that_was_moved_is_found_where_it_lies_now(tmp_path, make_spec, monkeypatch):
    """Whoever takes a run from the record to train it again, or to learn from it, gets its model's present place."""
    old, new = (make_spec(model=f"{place}/base@0123abcd") for place in ("old", "new"))
    ledger, further = Ledger(tmp_path / "runs.jsonl"), dict.fromkeys(("covariates", "scores"), {"t": 0.5})
    facts = {"status": "finished", "error": None, "training": {"rows": 10, "tokens": 70}} | further
    ledger.append({"run_id": old.run_id, "spec": old.as_dict()} | facts)
    trial = parts.Trial("Equal", "whole", new)
    for found in (records.recorded(ledger, [new], 1), sweep.run_sweep([new], ledger, None),
                  trials.recorded_or_trained([trial], ledger, False)[1]):  # fmt: skip
        seen = []
        audit.train_again(found, lambda spec: seen.append(spec["model"]) or facts)
        assert seen == [new.model]
    monkeypatch.setattr(workload.paths, "results_dir", lambda _: tmp_path)
    assert workload._recorded("own", new.model, "w").value == 7


def test_movement_is_the_spread_between_percentiles():
    """From the 10th to the 90th percentile."""
    frame = pd.DataFrame({"y_dev": np.linspace(0, 1, 101)})
    assert audit.movement(frame, ["y_dev"])["spread"].item() == pytest.approx(0.8)


def test_every_setting_says_where_it_comes_from():
    """The table of hyper-parameters finds the comment of each."""
    table = audit.settings_table(SFTSettings(epochs=1)).set_index("setting")["where it comes from"]
    assert len(table) >= 10
    assert not (table == "–").any()
    assert table["epochs"].startswith("set by this study; without it 3.0 (")


def test_runs_that_all_failed_are_refused_with_the_first_reason():
    """Nothing to train again, and the reason is in the record."""
    failed = [{"status": "failed", "error": "ValueError: no\nroom"}] * 3
    with pytest.raises(InputError, match=r"found 3 that failed \(ValueError: no room\)"):
        audit.choose_runs(failed, 2, 0)
    done = {"status": "finished", "error": None}
    assert audit.choose_runs([*failed, done], 2, 0) == [done]
