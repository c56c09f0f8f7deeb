"""One reader for every YAML file."""

import subprocess
from pathlib import Path

import pytest

from causalmix.core.errors import InputError
from causalmix.core.study_file import read_study
from causalmix.core.yaml_file import parse_yaml, read_yaml
from causalmix.methods.new_pools import find_source
from causalmix.methods.request import Request

PACKAGE = Path(__file__).resolve().parents[1] / "causalmix"

BAD = {
    "a: 1\nb: 2\na: 3": "'a' a second time in line 3",
    "outer:\n  - {x: 1, x: 2}": "'x' a second time",
    "[" * 5000: "more levels than can be read",
    "a: [1": "expected",
    "when: 2026-13-45": "month must be in",
    "!!python/object/apply:os.system [true]": "could not determine a constructor",
    "!!int [1]": "expected a scalar",
    "? [1]\n: 2": "unhashable",
    "- a\n- b": r"\['a', 'b'\]; correct the file",
    "word": "'word'; correct the file",
    "a: \x00": "special characters",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_what_is_no_names_with_values_is_one_sentence(tmp_path, text):
    """A doubled name would let the last one win; whatever else is wrong is told without a traceback."""
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=BAD[text]) as error:
        read_yaml(tmp_path / "bad.yaml", "a test")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400 + len(str(tmp_path))


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("a: caf\xe9".encode("latin-1"))
    for name, told in (("latin.yaml", "utf-8"), ("none.yaml", "no such file"), (".", "Is a directory")):
        with pytest.raises(InputError, match=told):
            read_yaml(tmp_path / name, "a test")


def test_what_is_good_stays_as_it_is():
    """A name may come again elsewhere, and be overridden where it was merged in."""
    assert parse_yaml("a: {x: 1}\nb: {x: 2}") == {"a": {"x": 1}, "b": {"x": 2}}
    assert parse_yaml("a: &a {x: 1, y: 1}\nb: {<<: *a, x: 2}")["b"] == {"x": 2, "y": 1}
    assert parse_yaml("") is None


def test_a_mistyped_name_of_a_study_is_refused_wherever_the_study_is_read(tmp_path):
    """A study given as a pool is read as in every other command: ``pol`` would leave the embedded world in place."""
    path = tmp_path / "own.yaml"
    for text, told in (
        ("parameters: {pol: {loader: local}}", "found 'pol'; did you mean pool"),
        ("parameters: {pool: {loader: [local]}}", "loader of a pool to"),
        ("parameter: {n_runs: 4}\nparameters: {}", "found 'parameter'; did you mean parameters"),
        ("parameters: {n_runs: 4}\nparameters: {}", "'parameters' a second time"),
        ("parameters: {n_runs: 4, n_runs: 5}", "'n_runs' a second time"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=told):
            find_source(Request(history="unread.csv", pool=str(path)))
        if "loader: [" not in text:
            with pytest.raises(InputError, match=told):
                read_study(str(path))


def test_nothing_else_reads_yaml():
    """Another reader would let a doubled name pass."""
    found = subprocess.run(["grep", "-rlE", r"yaml\.(safe_)?load", PACKAGE, "--include=*.py"], capture_output=True)
    assert found.stdout.decode().split() == [str(PACKAGE / "core/yaml_file.py")]
