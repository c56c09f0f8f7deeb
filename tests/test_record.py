"""The committed record of the default study."""

import pandas as pd
import pytest

from causalmix.core.history import read_history
from causalmix.core.parameters import SUBJECTS
from causalmix.core.paths import results_dir
from causalmix.core.tables import read_table
from causalmix.data.families import WorldName
from causalmix.study import campaign
from causalmix.train import audit, records
from causalmix.train.design import Design, noise_panel, scale_specs, specs_of

OUT = results_dir("laptop")


@pytest.fixture(scope="module")
def finished():
    return records.ledger_of("laptop").finished()


@pytest.fixture(scope="module")
def specs(finished):
    world = WorldName.read(next(iter(finished.values()))["spec"]["world"])
    return specs_of(Design.of_study("laptop"), str(world._replace(candidates=None)))


def test_every_run_of_the_design_is_on_record(finished, specs):
    """512 runs and a noise panel of 24 with four seeds each are finished; beside them only some of 192 over sizes."""
    design = Design.of_study("laptop")
    panel, sizes = noise_panel(design, specs), scale_specs(design, specs[0].world.rpartition("/")[0])
    assert (len(specs), len(panel), len(sizes)) == (512, 24 * 3, 192)
    designed = {s.run_id for s in [*specs, *panel]}
    assert designed <= set(finished) <= designed | {s.run_id for s in sizes}


def test_history_is_what_the_ledger_says(finished, specs):
    """Every number of history.csv follows from runs.jsonl."""
    world = specs[0].world.rpartition("/")[0]
    expected = records.whole_history(OUT, Design.of_study("laptop"), world).set_index("run_id")
    found = pd.read_csv(OUT / "history.csv").set_index("run_id")
    assert list(found.columns) == list(expected.columns)
    numbers = found.select_dtypes("number").columns
    pd.testing.assert_frame_equal(found[numbers], expected[numbers], rtol=1e-4, atol=1e-6, check_dtype=False)
    assert len(read_history(OUT / "history.csv").parts(["design"])) == 512


def test_the_world_is_worth_recording(finished, specs):
    """Reliability of y_dev is at least .85 (its interval reaches above .75), every Dev axis moves by ten points."""
    history = records.history([finished[s.run_id] for s in specs])
    panel = audit.panel_history(records.ledger_of("laptop"), Design.of_study("laptop"), specs)
    found = audit.reliability(panel["spec"], panel["y_dev"])
    assert found["reliability"] >= 0.85 and found["ci_low"] >= 0.75
    dev = [c for c in history if c.startswith("y_") and not c.endswith("unseen") and c != "y_dev"]
    assert len(dev) == 6
    assert audit.movement(history, dev)["spread"].min() >= 0.10


def test_the_schema_defaults_to_the_study(specs):
    """The design's own defaults are those of the schema, so that the book's pages are the default study."""
    for name, value in vars(Design.of_study("laptop")).items():
        declared = [m.model_fields[name].default for m in SUBJECTS.values() if name in m.model_fields]
        assert declared and all(default == value for default in declared), name


def test_mixtures_that_were_tried_answer_the_questions_of_today(monkeypatch):
    """A run is known by its mixture: a question that changed would have mixtures made anew, of which no run tells."""
    for name in ("world_for", "_check_record", "trainer"):
        monkeypatch.setattr(campaign, name, lambda *_, **__: None)
    monkeypatch.setattr(campaign.Pool, "of", lambda _: None)
    asked = {}

    def on_record(path, question, make):
        table = read_table(path)
        asked[path.name] = {campaign.digest_of(question)} == set(table.pop("question"))
        return table

    monkeypatch.setattr(campaign, "fixed", on_record)
    found = campaign.Campaign.of_study("laptop")
    chosen = found.mixtures()
    found.shifted(chosen.assign(note="other words"))
    for ask in (found.sized, found.learning, found.refits, found.variants):
        ask()
    assert len(asked) == 6 and all(asked.values()), asked
