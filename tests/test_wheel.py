"""The package without its checkout: a wheel in a fresh environment, used from a folder of one's own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from causalmix.core.simplex import sample_dirichlet

ROOT = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
SMALL = {
    "pool_rows": 500,
    "candidates": 20,
    "n_runs": 2,
    "n_samples": 50,
    "noise_specs": 2,
    "noise_seeds": 2,
    "scale_runs": 0,
}
#: Two commands in one process, for each would load what trains.
BOTH = """
import sys
from causalmix.cli import main
plan, sweep = "plan --format json", "sweep --limit 1 --workers 1"
sys.exit(any(main(f"{command} --study two.yaml".split()) for command in (plan, sweep)))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment with the wheel and, from the one at hand, what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "causalmix", source / "causalmix", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run(PIP + build, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "fresh")], check=True)
    (own,) = (folder / "fresh").glob("lib/python*/site-packages")
    # A line with a folder reads none of the .pth files there, hence not the one of an editable installation.
    (own / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (wheel,) = folder.glob("*.whl")
    into = ["--python", str(folder / "fresh/bin/python"), "install", "--no-deps", "--force-reinstall", str(wheel)]
    subprocess.run(PIP + into, check=True, capture_output=True)
    (folder / "here").mkdir()
    return folder


@pytest.fixture
def command(installed):
    """A function that runs ``causalmix`` of the fresh environment in a folder of one's own."""

    def run(*arguments, program="causalmix"):
        away = ("PYTHONPATH", "CAUSALMIX_ROOT", "CAUSALMIX_CACHE", "XDG_CACHE_HOME")
        environment = {name: value for name, value in os.environ.items() if name not in away}
        environment |= {"HOME": str(installed / "home"), "OMP_NUM_THREADS": "1"}
        line = [str(installed / "fresh/bin" / program), *arguments]
        return subprocess.run(line, cwd=installed / "here", env=environment, capture_output=True, text=True)

    return run


def files_of(installed):
    """What lies in the environment, but for compiled modules."""
    return {path for path in (installed / "fresh").rglob("*") if "__pycache__" not in path.parts}


def test_the_wheel_is_the_package_alone(installed):
    """It holds the studies that are known by name, and neither notebooks nor the book."""
    found = files_of(installed)
    assert any(path.parts[-3:] == ("assets", "studies", "paper.yaml") for path in found)
    assert not [path for path in found if path.suffix == ".ipynb" and "causalmix" in path.parts]


@pytest.mark.parametrize("name", ["run", "status", "book"])
def test_what_needs_the_checkout_says_so(command, name):
    """One sentence, exit code 2."""
    done = command(name)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "Expected a checkout" in done.stderr and "CAUSALMIX_ROOT" in done.stderr


def test_help_and_a_refusal_need_no_checkout(command):
    """A place for the embedded world's models has to be named, for the package's own is not to be written to."""
    assert command("--help").returncode == 0
    assert "--out" in command("world").stderr
    assert "did you mean laptop" in command("plan", "--study", "laptp").stderr


def test_a_study_of_ones_own_is_planned_and_swept(installed, command):
    """By the path of its file; records lie beside it, caches in the user's folder, nothing in the environment."""
    before = files_of(installed)
    (installed / "here/two.yaml").write_text(yaml.safe_dump({"parameters": SMALL}))
    both = command("-c", BOTH, program="python")
    assert both.returncode == 0, both.stderr
    planned, end = json.JSONDecoder().raw_decode(both.stdout)
    assert planned["parts"][0]["rows"] == SMALL["pool_rows"] and "1 run finished" in both.stdout[end:], both.stderr
    assert len((installed / "here/results/two/runs.jsonl").read_text().splitlines()) == 1
    assert list((installed / "home/.cache/causalmix").iterdir())
    assert files_of(installed) == before


def test_a_mixture_is_recommended_for_ones_own_rows(installed, command):
    """From a history and a file of rows to a training set."""
    rng, T = np.random.default_rng(0), sample_dirichlet(40, 1.0, 3, 0)
    frame = pd.DataFrame(T, columns=["w_a", "w_b", "w_c"])
    frame.assign(run_id=[f"r{i}" for i in range(40)], y_dev=0.2 * T[:, 0] + rng.normal(0, 0.01, 40)).to_csv(
        installed / "here/sweep.csv", index=False
    )
    said = [{"role": "user", "content": "cold ?"}, {"role": "assistant", "content": "hot"}]
    rows = [{"domain": "abc"[i % 3], "messages": said} for i in range(300)]
    (installed / "here/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("recommend", "--history", "sweep.csv", "--pool", "rows.jsonl", "--trees", "24", "--n-samples", "60",
                   "--out", "mine")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len((installed / "here/mine/train.jsonl").read_text().splitlines()) == 60
