"""Whole studies as a user runs them: by command, with other parameters, with other people's histories."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

import chapters
import numpy as np
import pandas as pd
import pytest
from chapters import command, page_text, pages_told
from user_files import few_draws  # noqa: F401 (a fixture)

from causalmix.book.stamps import NOTEBOOKS
from causalmix.core import paths
from causalmix.core.history import read_history
from causalmix.core.tables import write_table
from causalmix.effects.public_sweeps import FOLDER
from causalmix.effects.simulate import simulate_history
from causalmix.methods import ask

#: What kernels and workers of their own execute, and what one process does, which starts nothing.
FIRST = ("02_proxy_sft",)
SECOND = (
    "01_featurize", "02_proxy_sft", "03_outcomes", "04_effects", "05_mixture", "06_target", "07_longcot",
    "08_ablations", "09_paper_and_ours",
)  # fmt: skip

#: How many tokens of an answer, questions, validation rows, repeats and draws there are, by file.
SIZES = {
    "data/families.py": r"(?<=tiny_tasks, )24|(?<=longcot_tasks, )96",
    "data/tiny/tasks.py": r'(?<=ITEMS = {"dev": )200|(?<=, "unseen": )80|(?<=LONGCOT_ITEMS = )150',
    "data/tiny/pool.py": r"(?<=islice\(items, )60",
    "effects/bayesian.py": r"(?<=burn=)100|(?<=keep=)100",
    "effects/double_ml.py": r"(?<=n_repeats: int = )5|(?<=\"n_estimators\": )100",
    "effects/held_out.py": r"(?<=n_repeats=)3",
    "effects/horseshoe.py": r"(?<=burn: int = )200|(?<=keep: int = )400",
    "study/trials.py": r"(?<=draws: int = )2000",
    "study/foretold.py": r"(?<=draws: int = )2000",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A checkout with nothing recorded, that counts and draws a twentieth: sizes change, never logic."""
    folder = tmp_path_factory.mktemp("root")
    shutil.copytree(paths.PACKAGE, folder / "causalmix", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(NOTEBOOKS, folder / "notebooks")
    for name in ("published", "validity"):
        shutil.copytree(paths.RESULTS / name, folder / "results" / name)
    shutil.copy(paths.ROOT / "pyproject.toml", folder)
    for name, numbers in SIZES.items():
        module = folder / "causalmix" / name
        fewer, found = re.subn(numbers, lambda number: str(-(int(number[0]) // -20)), module.read_text())
        assert found == numbers.count("|") + 1
        module.write_text(fewer)
    return folder


@contextmanager
def one_core():
    """A sweep that is started here has one worker: the tests beside this one need the other cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    yield
    os.sched_setaffinity(0, cores)


def causalmix(root, *arguments, line):
    """The command in a process of its own, of the package in the checkout at ``root``."""
    environment = os.environ | {"CAUSALMIX_ROOT": str(root), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    environment.pop("CAUSALMIX_CACHE", None)
    with one_core():
        return subprocess.run(
            [sys.executable, *line, *arguments], env=environment, cwd=root, capture_output=True, text=True
        )


@pytest.fixture(scope="module")
def quick(root):
    """The study's tables; chapter 02, executed a second time, finds every run on record and trains nothing."""
    results, recorded = root / "results" / "quick", []
    for line, names in ((("-m", "causalmix"), FIRST), ((chapters.__file__, root), SECOND)):
        done = causalmix(root, "run", "--study", "quick", *names, line=line)
        assert done.returncode == 0, done.stderr
        recorded.append((results / "runs.jsonl").read_bytes())
    assert recorded[0] == recorded[1]
    return results


@pytest.mark.timeout(1800)  # it trains some hundred and fifty runs
def test_quick_study_goes_from_pool_to_mixture(quick):
    """Every run is trained, and every table of the contract is there."""
    history = read_history(quick / "history.csv")
    assert len(history) == 32
    mixtures = pd.read_csv(quick / "mixtures.csv")
    assert mixtures["method"].tolist() == ["Equal", "Cautious", "CausalMix-A", "CausalMix-S"]
    weights = mixtures[[c for c in mixtures if c.startswith("w_")]]
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert (mixtures["proxy_runs_used"] == 32).all()
    assert len(pd.read_csv(quick / "reliability.csv")) >= 14


def test_its_audit_agrees_with_the_record(quick):
    """A run trained again gives what the ledger says, to the last item."""
    assert pd.read_csv(quick / "audit.csv")["largest_difference"].max() == 0


@pytest.fixture(scope="module")
def foreign(root):
    """A sweep of other domains without covariates, and one with a single covariate."""
    bare = simulate_history(n=80, domains=("web", "code", "law"), covariates=(), seed=1).history.frame
    scaled = simulate_history(n=80, domains=("web", "code", "law"), covariates=("model_size",), seed=2).history.frame
    write_table(root / "bare.csv", bare)
    write_table(root / "scaled.csv", scaled)
    return root


@pytest.mark.parametrize(("name", "told"), [("bare", "no covariate"), ("scaled", "model_size")])
def test_other_peoples_histories_run_unchanged(foreign, name, told):
    """Chapters 04 and 05 take any history of the contract, and the pages speak of its own domains."""
    done = command(foreign, "run", "04_effects", "05_mixture", "-p", f"history={foreign / name}.csv",
                   "-p", "n_trees=24", "-p", "n_repeats=1", "-p", "n_splits=2", "-p", "n_test=20",
                   "-p", "n_candidates=1000")  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = [foreign / line for line in pages_told(done)]
    text = "".join(page_text(p) for p in pages)
    assert len(pages) == 2
    assert "web, code, law" in text
    assert "safety" not in text
    assert told in text or told == "no covariate" and "returns cannot depend on the state" in text


@pytest.mark.parametrize(
    ("name", "told"), [("regmix_1m", "returns cannot depend on the state"), ("regmix_scales", "log2_model_size")]
)
def test_the_published_sweep_runs_unchanged(foreign, name, told):
    """Seventeen domains of pre-training, without covariates and with the model's size as one; every third run."""
    write_table(foreign / f"{name}.csv", pd.read_csv(FOLDER / f"{name}.csv")[::3])
    done = command(foreign, "run", "04_effects", "05_mixture", "-p", f"history={foreign / name}.csv",
                   "-p", "n_trees=24", "-p", "n_repeats=1", "-p", "n_splits=2", "-p", "n_test=40",
                   "-p", "n_candidates=1000")  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = "".join(page_text(foreign / line) for line in pages_told(done))
    assert "pile_cc" in text and told in text


def test_quick_study_goes_on_to_trials_and_claims(quick):
    """Every further chapter runs on what the first ones left; its tables say what was trained with which seeds."""
    targets = pd.read_csv(quick / "targets.csv")
    groups = targets.groupby(["method", "pool", "model", "n_samples"])["seed"].nunique()
    assert (groups == 2).all() and {"proxy", "target"} <= set(targets["model"])
    assert {"Equal", *ask.ALWAYS} == set(targets["method"])
    promised = pd.read_csv(quick / "promised.csv")
    columns = ["proxy_runs_used", "seeds", "mean", "ci_low", "ci_high", "in_support"]
    assert promised[columns].notna().all().all()
    claims = pd.read_csv(quick / "claims.csv")
    missing = claims["ours"].isna()
    assert set(claims["verdict"]) <= {"holds", "does not hold", "cannot tell", "not tried"} and not missing.all()
    assert (missing == (claims["verdict"] == "not tried")).all()
    assert claims.loc[missing, "measured in"].str.contains("not tried").all()


def test_another_outcome_leaves_the_study_alone(root, quick):
    """Other parameters go to a folder of their own; the page speaks of the outcome that was asked for."""
    before = (quick / "effects.csv").read_bytes()
    done = command(root, "run", "--study", "quick", "04_effects", "-p", "outcome=y_math", "-p", "stage=forest",
                   "-p", f"history={quick / 'history.csv'}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (page,) = pages_told(done)
    assert "y_math" in page_text(root / page)
    assert (quick / "effects.csv").read_bytes() == before


def test_bad_history_is_one_sentence_and_exit_code_two(root):
    """A history off the simplex is refused in one sentence, without a page."""
    frame = simulate_history(n=40, seed=3).history.frame
    write_table(root / "off.csv", frame.assign(w_math=0.9))
    done = command(root, "run", "04_effects", "-p", f"history={root / 'off.csv'}")
    assert done.returncode == 2 and not pages_told(done)
    assert len(done.stderr.strip().splitlines()) == 1 or "Traceback" not in done.stderr
    assert "sum to 1" in done.stderr


def test_plain_papermill_works(root, foreign, tmp_path):
    """Without the runner, papermill alone executes a notebook with other parameters."""
    command = [sys.executable, "-m", "papermill",
               str(NOTEBOOKS / "04_effects.ipynb"), str(tmp_path / "out.ipynb"),
               "-k", "python3", "-p", "history", str(foreign / "scaled.csv"), "-p", "results_dir", str(tmp_path),
               "-p", "n_trees", "24", "-p", "n_repeats", "1", "-p", "n_splits", "2", "-p", "n_test", "20",
               "--no-progress-bar"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT)
    assert done.returncode == 0, done.stderr
    assert "model_size" in page_text(tmp_path / "out.ipynb")
