"""Histories and studies that nobody thought of: an answer, or exit code 2 and one sentence."""

import json
import string
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pandas as pd
import yaml
from fuzz import tries
from hypothesis import given, strategies as st

from causalmix import cli
from causalmix.core.errors import InputError
from causalmix.core.parameters import SUBJECTS
from causalmix.core.study_file import SECTIONS, read_study
from causalmix.study import init

WORDS = st.text(string.ascii_letters + " \t\n;,.=é\ufeff\x1b\"'#-", max_size=8)
CELLS = st.one_of(
    st.sampled_from(["", "nan", "inf", "-1", "1e308", "0,5", "yes", "0x1", "1e-400", "null", "[1]"]), WORDS
)
NAMES = st.sampled_from(
    ["run_id", "w_a", "w_", "x_hes", "x_log2_n_samples", "y_dev", "y_loss_a", "n_samples", "model", "model_size",
     "adaptive", "part", "scorer", "lower_is_better", "State", "eval/loss", "config.mix.a"]
)  # fmt: skip
NUMBERS = st.one_of(st.integers(-2, 64), st.sampled_from([10**9, 0.5, 1.0, -0.1, 1e308, float("nan"), float("inf")]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3))
PARAMETERS = sorted({name for model in SUBJECTS.values() for name in model.model_fields})
#: What has a form of its own, nearly right.
FORMS = {
    "pool": {"loader": "local", "options": {"path": "rows.jsonl"}, "domains": ["a", "b"], "scorer": "proxy"},
    "models": {"proxy": {"name": "proxy", "learning_rate": 0.1, "launch": {"config": "fsdp2", "processes": 2}}},
    "training": {"max_length": 64, "bf16": False, "lora_rank": 0},
    "reference": {"coding": 0.5, "math": 0.5},
    "tilt": {"hes": 1.0},
}
HARDWARE = {"name": "two cores", "cores": 2, "memory_gib": 6, "peak_tflops": 0.1, "utilisation": 0.5, "disk_gib": 5,
            "gpus": 0, "assumptions": {"longest_row": {"value": 64, "source": "ours"}}}  # fmt: skip


def said(capsys, *arguments):
    """Assert that a command answers, or refuses in a sentence; returns its exit code."""
    capsys.readouterr()
    code, told = cli.main(list(map(str, arguments))), capsys.readouterr().err
    assert code == 0 or (code == 2 and told.startswith("causalmix: Expected") and told.count("\n") == 1), told
    return code


@st.composite
def tables(draw):
    """A good history in which some cells, names and rows are spoilt."""
    names = ["run_id", "w_a", "w_b", "x_hes", "y_dev", "n_samples", "model"]
    rows = [[f"r{i}", f"{i / 20}", f"{1 - i / 20}", f"{i % 7}", f"{i % 3 / 3}", "100", "proxy"] for i in range(21)]
    for _ in range(draw(st.integers(0, 3))):
        rows[draw(st.integers(0, 20))][draw(st.integers(0, 6))] = draw(CELLS)
    for _ in range(draw(st.integers(0, 2))):
        names[draw(st.integers(0, 6))] = draw(st.one_of(NAMES, WORDS))
    column = draw(st.integers(0, 8))
    for row in rows[: 21 if column < 7 else 0]:
        row[column] = draw(st.just(row[column]) | CELLS)
    lines = [draw(st.sampled_from([",", ",", ";", "\t"])).join(line) for line in (names, *rows)]
    return "\n".join(lines[: draw(st.sampled_from([22, 22, 22, 1, 19]))]).encode(
        draw(st.sampled_from(["utf-8", "utf-16"]))
    )


@tries(50)
@given(
    table=st.one_of(tables(), tables(), tables(), st.binary(max_size=60)), outcome=st.sampled_from(["y_dev", "loss"])
)
def test_any_history_is_answered_or_refused_in_a_sentence(tmp_path_factory, capsys, table, outcome):
    """Whatever is asked of it."""
    path = tmp_path_factory.mktemp("history") / "h.csv"
    path.write_bytes(table)

    said(capsys, "design", "--history", path, "--runs", 2, "--outcome", outcome)
    with patch("causalmix.methods.recommend.recommend", side_effect=InputError("Expected no more: it takes minutes.")):
        assert said(capsys, "recommend", "--history", path, "--pool", "tiny", "--outcome", outcome) == 2


@st.composite
def studies(draw):
    """A study's file of names that there are, with values of any kind, or nearly right ones."""
    sections = {}
    for section in draw(st.lists(st.sampled_from([*SECTIONS, "parameters", "parameters", "paramters"]), max_size=3)):
        names = draw(st.lists(st.sampled_from([*PARAMETERS, *FORMS, "n_runs", "no_such"]), max_size=3))
        small = {"n_runs": 4, "scale_runs": 0, "methods": "Equal", "seeds": 2} if section == "parameters" else {}
        found = small | {name: draw(st.one_of(st.just(FORMS.get(name, 30)), VALUES)) for name in names}
        for name in set(found) & set(FORMS):  # one value of a form is spoilt
            if isinstance(found[name], dict) and found[name] and draw(st.booleans()):
                found[name] = found[name] | {draw(st.sampled_from(sorted(found[name]))): draw(VALUES)}
        if section == "hardware":
            found = HARDWARE | {draw(st.sampled_from(sorted(HARDWARE))): draw(VALUES)}
        sections[section] = draw(st.one_of(*[st.just(found)] * 5, VALUES))
        if section == "chapters":
            sections[section] = {draw(st.sampled_from([*SUBJECTS, "04_effects", "x"])): sections[section]}
    return draw(st.sampled_from([yaml.safe_dump(sections), yaml.safe_dump(sections), json.dumps(sections)])).encode()


@tries(30)
@given(text=st.one_of(studies(), studies(), studies(), st.binary(max_size=40)))
def test_any_study_is_planned_or_refused_in_a_sentence(tmp_path_factory, capsys, text):
    folder = tmp_path_factory.mktemp("study")
    (folder / "mine.yaml").write_bytes(text)
    said(capsys, "plan", "--study", folder / "mine.yaml")


ANYTHING = st.text(st.characters(exclude_categories=()), min_size=1, max_size=8)


@tries(40)
@given(names=st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=4, unique=True), folder=ANYTHING)
def test_what_init_writes_is_read_again(tmp_path_factory, names, folder):
    """Whatever domains, folders and files are called: a study's file has what is meant, and no line more."""
    asked, counts = init.Asked(Path(folder), Path(f"{folder.replace('/', '')}.yaml")), pd.Series(30, index=names)
    full = patch.object(init.shutil, "disk_usage", return_value=SimpleNamespace(free=2**20))
    with patch.object(init, "_tflops", return_value=1.0), full:
        text = init._text(asked, {"path": folder}, counts, counts - 3, np.array([5]), [])
    path = tmp_path_factory.mktemp("study") / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    found = read_study(str(path))
    assert found.parameters["pool"]["domains"] == names == list(found.parameters["reference"])
    assert found.hardware["disk_gib"] > 0, "which plan asks for, also of a disk that is nearly full"
    assert found.parameters["pool"]["options"] == {"path": folder} and not found.chapters and not found.minutes
