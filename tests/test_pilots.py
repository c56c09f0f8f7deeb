"""The embedded world's pilots: the table of measures follows from their ledger and their thresholds."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapter_cells import said

from causalmix.core import paths
from causalmix.core.tables import write_table
from causalmix.data.families import KINDS
from causalmix.lm.outcomes import score_tasks
from causalmix.train import audit, records
from causalmix.train.ledger import Ledger

sys.path.append(str(paths.ROOT / "benchmarks"))

ENDS = ("ci_low", "ci_high")
PILOTS = Ledger(paths.RESULTS / "pilots" / "runs.jsonl")


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(paths.RESULTS / "laptop" / "pilot.csv")


def test_every_measure_follows_from_the_pilots_ledger(table, monkeypatch):
    """Computed again from the committed runs, none of which is trained here."""
    import world_measures
    import world_pilots

    finished = PILOTS.finished()
    world = SimpleNamespace(name=next(iter(finished.values()))["spec"]["world"].rpartition("/")[0])
    for module in (world_measures, world_pilots):
        monkeypatch.setattr(module, "world_for", lambda design: world)
    spec = next(r["spec"] for r in finished.values() if r["spec"]["world"].startswith("longcot"))
    chains = SimpleNamespace(domains=tuple(spec["domains"]), codes=range(12_000))
    chains = SimpleNamespace(name=spec["world"].rpartition("/")[0], scored=chains)
    monkeypatch.setattr(world_pilots, "load_world", lambda *_: chains)
    monkeypatch.setattr(world_pilots, "trained", lambda specs: [finished.get(spec.run_id) for spec in specs])
    some = [replace(task, prompts=task.prompts[:30]) for task in KINDS["longcot"].tasks()]  # the base knows no answer
    asked = replace(KINDS["longcot"], evaluate=lambda *model: score_tasks(*model, some, 96))
    monkeypatch.setitem(KINDS, "longcot", asked)
    again = pd.DataFrame(world_measures.measures(), columns=["measure", "threshold", "value", "low", "high"])
    assert again["measure"].tolist() == table["measure"].tolist()
    for column in ("value", "low", "high"):
        np.testing.assert_allclose(again[column], table[column], atol=2e-3, err_msg=column)


def told(pilot, order="none"):
    """What chapter 3 says of a table of measures, and of the table at a place that has orders of methods."""
    own = pd.DataFrame([{"outcome": "y_dev", "n_specs": 2, "n_seeds": 2} | dict.fromkeys(("reliability", *ENDS), 0.5)])
    return said("03_outcomes", "audit.allowed", embedded=True, pilot=pilot, order=Path(order), reliability=own)


def test_whether_a_measure_is_met_follows_from_its_threshold(table):
    """Value against threshold, row by row; the sentence names every one that is missed."""
    text = told(table)
    for row in table.itertuples():
        low, high = audit.allowed(row.threshold)
        assert row.met == (low <= row.value <= high), row
        assert (f"*{row.measure}*: {row.value:.2g}" in text) == (not row.met and np.isfinite(row.value))
        assert np.isfinite(row.value) or row.measure in text.partition("Not measured")[2]
    assert audit.allowed("between .30 and .95") == (0.3, 0.95) and audit.allowed("<=.95")[1] == 0.95
    assert "misses none" in told(table.assign(met=True))
    one = table.iloc[:1].assign(met=False, value=0.2, low=0.1, high=0.3)
    for threshold in (">=.5", "between .5 and .95", "<=.1"):
        assert f"misses it by {0.1 if threshold == '<=.1' else 0.3:.2g}." in told(one.assign(threshold=threshold))


def test_the_pilots_order_is_held_beside_the_records(table, tmp_path):
    """Whether the methods' order would have met the threshold is said as it is, and nothing where it is not known."""
    row = {"one": "proxy, 1,500 rows", "other": "proxy, 12,000 rows", "methods": 16, "spearman_low": -0.3}
    changes = ({}, {"other": "proxy, 6,000 rows"}, {"spearman": np.nan})
    for value, word in ((-0.09, "it is -0.09 [-0.30, 0.60], outside of"), (0.5, "0.50 [-0.30, 0.60], within")):
        orders = pd.DataFrame([row | {"spearman": value, "spearman_high": 0.6}])
        for change in changes:
            write_table(tmp_path / "orders.csv", orders.assign(**change))
            assert (word in told(table, tmp_path / "orders.csv")) == (not change)


def test_no_pilot_is_used_again():
    """No run of the record or of a trial has a pilot's seed."""
    seeds = {record["spec"]["seed"] for record in PILOTS.finished().values()}
    ledgers = [records.ledger_of("laptop"), Ledger(paths.results_dir("laptop") / "trials.jsonl")]
    used = {record["spec"]["seed"] for ledger in ledgers for record in ledger.finished().values()}
    assert seeds and used and not seeds & used
