"""The embedded world's pilots: the table of measures follows from their ledger and their thresholds."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causalmix.core import paths
from causalmix.train import audit, records
from causalmix.train.ledger import Ledger

sys.path.append(str(paths.ROOT / "benchmarks"))

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
    again = pd.DataFrame(world_measures.measures(), columns=["measure", "threshold", "value", "low", "high"])
    assert again["measure"].tolist() == table["measure"].tolist()
    for column in ("value", "low", "high"):
        np.testing.assert_allclose(again[column], table[column], atol=2e-3, err_msg=column)


def test_whether_a_measure_is_met_follows_from_its_threshold(table):
    """Value against threshold, row by row; the sentence names every one that is missed."""
    said = audit.pilot_sentence(table)
    for row in table.itertuples():
        low, high = audit.allowed(row.threshold)
        assert row.met == (low <= row.value <= high), row
        assert (f"*{row.measure}*: {row.value:.2g}" in said) == (not row.met and np.isfinite(row.value))
        assert np.isfinite(row.value) or row.measure in said.partition("Not measured")[2]
    assert audit.allowed("between .30 and .95") == (0.3, 0.95) and audit.allowed("<=.95")[1] == 0.95
    assert "misses none" in audit.pilot_sentence(table.assign(met=True))


def test_the_pilots_order_is_held_beside_the_records(table):
    """Whether the methods' order would have met the threshold is said as it is, and nothing where it is not known."""
    row = {"one": "proxy, 1,500 rows", "other": "proxy, 12,000 rows", "methods": 16, "spearman_low": -0.3}
    for value, word in ((-0.09, "it is -0.09 [-0.30, 0.60], outside of"), (0.5, "0.50 [-0.30, 0.60], within")):
        orders = pd.DataFrame([row | {"spearman": value, "spearman_high": 0.6}])
        assert word in audit.order_sentence(table, orders)
    assert not audit.order_sentence(table, orders.assign(other="proxy, 6,000 rows"))
    assert not audit.order_sentence(table, orders.assign(spearman=np.nan))


def test_no_pilot_is_used_again():
    """No run of the record or of a trial has a pilot's seed."""
    seeds = {record["spec"]["seed"] for record in PILOTS.finished().values()}
    ledgers = [records.ledger_of("laptop"), Ledger(paths.results_dir("laptop") / "trials.jsonl")]
    used = {record["spec"]["seed"] for ledger in ledgers for record in ledger.finished().values()}
    assert seeds and used and not seeds & used
