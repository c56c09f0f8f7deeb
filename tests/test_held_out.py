"""Losses on held-out rows as outcomes: their direction, and that no row of them is trained on."""

import numpy as np
import pandas as pd
import pytest
from real_rows import own_cache, turns, write_lines  # noqa: F401 (a fixture)

from causalmix.core import direction
from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.core.simplex import sample_dirichlet
from causalmix.data import scored_pools
from causalmix.data.recipes import Recipe
from causalmix.lm.benchmarks import benchmark_table
from causalmix.train import records


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A pool of two domains in which every conversation of one domain stands twice."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(tmp_path / "cache"))
    rows = [{"domain": "sums", "messages": turns(f"{i} plus 2", f"{i + 2}")} for i in range(40)]
    rows += [{"domain": "echo", "messages": turns(f"say {i // 2}", f"{i // 2}")} for i in range(80)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    recipe = {"loader": "local", "options": {"path": path}, "evaluation": {"benchmarks": []}}
    return scored_pools.load_real(Recipe.of(recipe), 500, 0)


def record(world, seed, **losses):
    spec = {"world": f"{world.name}/20", "domains": ["sums", "echo"], "weights": [0.5, 0.5], "seed": seed}
    covariates = {"x_hes": 1.0, "x_normalized_loss": 1.0, "x_writing_style": float(seed)}
    return {
        "run_id": f"r{seed}", "status": "finished", "spec": spec | {"n_samples": 50, "model": "proxy"},
        "covariates": covariates, "scores": {},
        "training": {"validation_loss": losses, "unseen_loss": {name: 1 + loss for name, loss in losses.items()}},
    }  # fmt: skip


def test_what_is_held_out_is_in_no_copy_trained_on(world):
    """A tenth of each domain's conversations, half of it Dev; a copy under another name leaves with its twin."""
    kept, out = ({str(m) for m in rows["messages"]} for rows in (world.pool, world.validation()))
    assert not kept & out and len(out) == len(world.validation()) == 4 + 4
    assert len(world.pool) == 120 - 4 - 2 * 4
    assert pd.Series(zip(world.validation()["domain"][:], world.validation()["split"][:])).value_counts().eq(2).all()


def test_losses_are_the_outcome_where_nothing_else_is_asked(world):
    """Their mean over domains is y_dev; the history says itself that lower is better, and is turned around once."""
    runs = [record(world, i, sums=2.0 + i, echo=1.0) for i in range(20)]
    history = check_history(records.history(runs))
    assert history.axes == ("loss_sums", "loss_echo")
    assert np.allclose(history.y("y_dev"), 1.5 + np.arange(20) / 2)
    assert np.allclose(history.y("y_unseen"), 2.5 + np.arange(20) / 2) and set(history.y("y_loss_echo_unseen")) == {2.0}
    assert all(direction.is_lower_better(history, name) for name in ("y_unseen", "y_loss_echo_unseen"))
    assert direction.is_lower_better(history, "y_dev") and direction.is_lower_better(history, "y_loss_echo")
    assert not direction.is_lower_better(history, "y_dev", {"y_dev": False}), "what is stated wins"
    turned = direction.turned(history, ["y_dev"])
    assert np.allclose(turned.y(), -history.y()) and not direction.is_lower_better(turned, "y_dev")
    assert direction.is_lower_better(turned, "y_loss_sums"), "the others stay as they are"
    assert world.kind.evaluate(None, None) == {} and benchmark_table(world.kind.tasks()).empty


def test_losses_stand_beside_benchmarks(world, monkeypatch):
    """With accuracies, y_dev stays their mean, and the axes are theirs."""
    monkeypatch.setattr(records, "axis_scores", lambda *_: {"y_dev": 0.4, "y_math": 0.4})
    history = check_history(records.history([record(world, i, sums=2.0, echo=1.0) for i in range(20)]))
    assert history.axes == ("math",) and set(history.y("y_dev")) == {0.4} and set(history.y("y_loss")) == {1.5}
    assert not direction.is_lower_better(history, "y_dev") and direction.is_lower_better(history, "y_loss")


@pytest.mark.parametrize("said", ["y_devv", ["y_dev", "y_math"] * 10])
def test_a_direction_of_no_outcome_is_refused(said):
    """As is one that differs between rows."""
    frame = pd.DataFrame(sample_dirichlet(20, 1.0, 2, 0), columns=["w_a", "w_b"]).assign(y_dev=0.1, y_math=0.2)
    history = check_history(frame.assign(run_id=[f"r{i}" for i in range(20)], lower_is_better=said))
    with pytest.raises(InputError, match="lower_is_better"):
        direction.is_lower_better(history, "y_dev")
