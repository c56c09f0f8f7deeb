"""A user's rows and a sweep whose returns are known, as files, and what is recommended for them."""

import json
import shlex
from argparse import ArgumentParser

import pandas as pd
import pytest

from causalmix.core.tables import write_table
from causalmix.data import families, scored_pools
from causalmix.data.states import SCORES
from causalmix.data.tiny import pool as tiny_pool
from causalmix.effects import double_ml, horseshoe
from causalmix.effects.simulate import simulate_history
from causalmix.methods.recommend import recommend
from causalmix.methods.request import Request, add_options, request_of

ROWS = 300
TRAIN = "train.jsonl"
QUICK = {"stage": "linear", "n_repeats": 1, "cv_folds": 3}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUSALMIX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def draw_few(patch, burn=24, keep=48):
    """Draw so few, however many are asked for: what is asked then does not depend on digits."""
    sample, few = horseshoe.sample, {"burn": burn, "keep": keep}
    patch.setattr(horseshoe, "sample", lambda *given, **how: sample(*given, **how | few))


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """Few draws in all tests of a module, and nuisance models of a fifth of the trees, four times as bold."""
    with pytest.MonkeyPatch.context() as patch:
        draw_few(patch)
        patch.setitem(double_ml.NUISANCE, "n_estimators", 20)
        patch.setitem(double_ml.NUISANCE, "learning_rate", 0.2)
        yield


@pytest.fixture(scope="module")
def pool():
    """A user's rows, and what they score on average, domains weighted equally."""
    rows = tiny_pool.make_pool(ROWS, seed=5).select_columns(["row_id", "domain", "source", "messages"])
    with scored_pools.one_thread():
        scores = families.KINDS["tiny"].score(rows)
    return rows, scores.groupby(pd.Series(rows["domain"][:])).mean().mean()


@pytest.fixture(scope="module")
def simulation():
    """Runs with returns that are known and little noise."""
    return simulate_history(n=300, noise=0.005, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pool, simulation):
    """The user's files; the history's states lie around the pool's, its domains come in another order."""
    folder, (rows, x) = tmp_path_factory.mktemp("user"), pool
    write_rows(folder / "pool.jsonl", rows)
    frame = simulation.history.frame.copy()
    for name in SCORES:
        frame[f"x_{name}"] = x[name] + 0.1 * frame[f"x_{name}"]
    write_table(folder / "history.csv", frame[list(frame.columns[:4]) + sorted(frame.columns[4:], reverse=True)])
    write_table(folder / "bare.csv", frame.drop(columns=[f"x_{name}" for name in SCORES]))
    return folder


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def request_(folder):
    return Request(history=folder / "history.csv", pool=str(folder / "pool.jsonl"), n_samples=120, repeats_allowed=True)


@pytest.fixture(scope="module")
def found(folder):
    """An answer to the plain question."""
    asked = Request(
        history=folder / "history.csv", pool=str(folder / "pool.jsonl"), n_samples=120, repeats_allowed=True
    )
    return recommend(asked, **QUICK)


def read_back(command):
    """The request of a command line."""
    parser, words = ArgumentParser(), shlex.split(command)
    add_options(parser)
    assert words[:2] == ["causalmix", "recommend"]
    return request_of(parser.parse_args(words[2:]))
