"""What a recommendation leaves in its folder: rows to train on, and a manifest of what went in and came out."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from user_files import QUICK, TRAIN, read_back

from causalmix.core.scratch import SCRATCH
from causalmix.data.tiny.models import world_tokenizer
from causalmix.lm import conversations
from causalmix.methods import delivery
from causalmix.methods.recommend import recommend
from causalmix.methods.request import Request, command


@pytest.fixture(scope="module")
def written(tmp_path_factory, folder):
    """A training set for which some domain runs out."""
    asked = Request(history=folder / "history.csv", pool=str(folder / "pool.jsonl"), n_samples=250, method="S", seed=4,
                    repeats_allowed=True, out=tmp_path_factory.mktemp("out") / "set")  # fmt: skip
    return recommend(asked, **QUICK), asked.out


def test_training_set_has_the_promised_rows(written, pool):
    """Counts sum to the size, agree with file, table and manifest, and repeats begin only when a domain has run out."""
    found, out = written
    lines = [json.loads(line) for line in (out / TRAIN).read_text(encoding="utf-8").splitlines()]
    manifest = json.loads((out / delivery.MANIFEST).read_text(encoding="utf-8"))
    line = found.table.set_index("method").loc["CausalMix-S"]
    counts = pd.Series([row["domain"] for row in lines]).value_counts()
    distinct = pd.DataFrame([(row["domain"], row["row_id"]) for row in lines]).drop_duplicates()[0].value_counts()
    assert len(lines) == 250 == sum(entry["rows"] for entry in manifest["mixture"].values())
    for domain, entry in manifest["mixture"].items():
        assert counts.get(domain, 0) == entry["rows"] == line[f"n_{domain}"]
        assert counts.get(domain, 0) - distinct.get(domain, 0) == entry["repeats"] == line[f"repeats_{domain}"]
    assert sum(entry["repeats"] for entry in manifest["mixture"].values()) > 0
    texts = {row["row_id"]: row["messages"] for row in pool[0]}
    assert all(texts[row["row_id"]] == row["messages"] for row in lines)
    assert len({row["domain"] for row in lines[:20]}) > 1  # not domain after domain


def test_training_set_is_what_a_trainer_reads(written):
    """Every row tokenises, with tokens to learn."""
    _, out = written
    lines = [json.loads(line) for line in (out / TRAIN).read_text(encoding="utf-8").splitlines()]
    tokens = conversations.tokenize(lines, world_tokenizer())
    assert len(tokens) == 250 and all(sum(mask) for mask in tokens["completion_mask"])


def test_equal_requests_give_equal_files(written, tmp_path):
    """Byte for byte by one seed, into a folder that exists and is empty; beside it nothing is left of a killed one."""
    found, out = written
    (tmp_path / f"{SCRATCH}dead" / "new").mkdir(parents=True)
    (tmp_path / out.name).mkdir()
    recommend(replace(found.request, out=tmp_path / out.name), **QUICK)
    assert (tmp_path / out.name / delivery.MANIFEST).read_bytes() == (out / delivery.MANIFEST).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_another_seed_draws_other_rows_of_the_same_mixture(found, tmp_path):
    """Not the same rows in another order."""
    drawn = []
    for seed in (0, 1):
        delivery.write(replace(found, request=replace(found.request, seed=seed)), tmp_path / str(seed))
        lines = (tmp_path / str(seed) / TRAIN).read_text(encoding="utf-8").splitlines()
        drawn.append(sorted((row["domain"], row["row_id"]) for row in map(json.loads, lines)))
    assert [domain for domain, _ in drawn[0]] == [domain for domain, _ in drawn[1]]
    assert drawn[0] != drawn[1]


def test_manifest_names_what_went_in(written):
    """Models that scored, hashes and versions; no folder of this machine."""
    _, out = written
    text = (out / delivery.MANIFEST).read_text(encoding="utf-8")
    manifest, answer = json.loads(text), json.loads((out / delivery.ANSWER).read_text(encoding="utf-8"))
    assert {len(manifest["inputs"][what]["sha256"]) for what in ("history", "pool")} == {64}
    assert len(manifest["files"][TRAIN]) == 64 and manifest["seed"] == 4 and manifest["versions"]["torch"]
    assert all(model["sha256"] for model in answer["scored_by"].values())
    assert str(out.parent) not in text


def test_manifest_has_the_hash_of_every_file(written):
    """But its own; a byte more in one of them shows."""
    _, out = written
    manifest = json.loads((out / delivery.MANIFEST).read_text(encoding="utf-8"))
    there = {file.relative_to(out).as_posix(): file for file in out.rglob("*") if file.is_file()}
    assert set(manifest["files"]) == set(there) - {delivery.MANIFEST} and not manifest["left_out"]
    for name, sha256 in manifest["files"].items():
        assert hashlib.sha256(there[name].read_bytes()).hexdigest() == sha256


def test_command_of_the_manifest_asks_the_same(written):
    """Of every kind of option; files of this machine by their names alone."""
    found, out = written
    manifest = json.loads((out / delivery.MANIFEST).read_text(encoding="utf-8"))
    named = {"history": Path("history.csv"), "pool": "pool.jsonl", "out": Path("set")}
    assert read_back(manifest["command"]) == replace(found.request, **named)
    asked = Request(Path("a b/h.csv"), "it's.jsonl", lower_is_better=["y_a", "y_b"], keep=["y_c=0.1"], kappa=0.5,
                    objective="y_a=1,y_b=2", trust_region="tv", radius=1e-3, rows_format="parquet")  # fmt: skip
    assert read_back(command(asked)) == asked
