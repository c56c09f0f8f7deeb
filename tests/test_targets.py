"""The pool that a mixture is for."""

import numpy as np
import pandas as pd
import pytest
from chapter_cells import said

from causalmix.core.errors import InputError
from causalmix.effects.simulate import simulate_history
from causalmix.methods import target


@pytest.fixture(scope="module")
def history():
    return simulate_history(n=60, seed=2).history


def written(folder, history, **changes):
    line = {"pool": "mine", "n_samples": 100} | {f"x_{c}": 0.5 for c in history.covariates}
    line |= {f"rows_{d}": 40 for d in history.domains} | changes
    pd.DataFrame([{k: v for k, v in line.items() if v is not None}]).to_csv(folder / "target_state.csv", index=False)
    return folder


def test_study_target_is_read_with_its_caps(tmp_path, history):
    """State, rows and caps come from the table; caps are rows over the training set's size."""
    goal = target.find_target(history, written(tmp_path, history))
    assert goal.x.tolist() == [0.5] * len(history.covariates)
    assert np.allclose(goal.caps(False), 0.4)
    assert goal.caps(True) is None


def test_columns_are_matched_by_name(tmp_path, history):
    """A target whose columns come in another order means the same."""
    line = {f"x_{c}": float(i) for i, c in reversed(list(enumerate(history.covariates)))}
    pd.DataFrame([line | {"pool": "p", "n_samples": 10}]).to_csv(tmp_path / "target_state.csv", index=False)
    assert target.find_target(history, tmp_path).x.tolist() == [float(i) for i in range(len(history.covariates))]


def test_foreign_history_gets_its_mean_state(tmp_path, history):
    """The study's target is not used for somebody else's history."""
    goal = target.find_target(history, written(tmp_path, history), own_history=False)
    assert np.allclose(goal.x, history.X.mean(axis=0))
    assert goal.rows is None and not goal.files


@pytest.mark.parametrize(("change", "message"), [({"n_samples": None}, "n_samples"), ({"pool": None}, "pool")])
def test_target_without_a_column_is_refused(tmp_path, history, change, message):
    """A missing column is named."""
    with pytest.raises(InputError, match=message):
        target.find_target(history, written(tmp_path, history, **change))


def test_gain_sentence_follows_the_interval():
    """The wording follows from the numbers."""
    frame = pd.DataFrame(
        {
            "method": ["Equal", "A", "S"],
            "predicted_gain": [0.0, 0.02, 0.01],
            "gain_ci_low": [0.0, 0.01, -0.01],
            "gain_ci_high": [0.0, 0.03, 0.03],
            "in_support": [True, True, False],
            "gain_rows": 500,
            "extrapolated": False,
            "note": ["", "", "held"],
        }
    )
    told = said("05_mixture", "Predicted gain over Equal:", mixtures=frame, runs=range(500))
    assert "**A** +0.0200 (its interval [+0.0100, +0.0300] is above zero, in support)" in told
    assert "**S** +0.0100 (its interval [-0.0100, +0.0300] is around zero, but the mixture lies outside" in told
    assert "; held)" in told and "Each gain is for 500 rows." in told
    lost = said(
        "05_mixture",
        "Predicted gain over Equal:",
        mixtures=frame.assign(in_support=False, extrapolated=True),
        runs=range(500),
    )
    assert "Equal lies outside it too" in lost and "500 rows (extrapolated)" in lost
    base = said(
        "05_mixture",
        "Predicted gain over Equal:",
        mixtures=frame.assign(in_support=[False, True, True]),
        runs=range(500),
    )
    assert "is above zero, but Equal lies outside the support of the history" in base
    kept = frame.assign(gain_ci_low=0.0, gain_ci_high=0.0, predicted_gain=0.0)
    assert "**A** keeps Equal" in said("05_mixture", "Predicted gain over Equal:", mixtures=kept, runs=range(500))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_samples": np.inf}, "a whole number of at least 1 in n_samples of target_state.csv, found inf"),
        ({"n_samples": "many"}, "a whole number of at least 1 in n_samples of target_state.csv, found many"),
        ({"n_samples": 0}, "a whole number of at least 1 in n_samples of target_state.csv, found 0"),
        ({"n_samples": 10.5}, "a whole number of at least 1 in n_samples of target_state.csv, found 10.5"),
        ({"n_samples": 1e19}, "a whole number of at most 1e.15 in n_samples of target_state.csv, found 1e.19"),
        ({"x_hes": "high"}, "a finite number in x_hes of target_state.csv, found high"),
        ({"x_hes": ""}, "a finite number in x_hes of target_state.csv, found nan"),
        ({"rows_math": -1}, "a whole number of at least 0 in rows_math of target_state.csv, found -1"),
        ({"rows_math": ""}, "a whole number of at least 0 in rows_math of target_state.csv, found nan"),
        ({"rows_math": None, "rows_maths": 40}, "or of none, found no rows_math; name the columns after the domains"),
    ],
)
def test_targets_of_wrong_numbers_are_refused(tmp_path, history, change, message):
    """The column is named; a misspelt domain must not lift all caps."""
    with pytest.raises(InputError, match=message):
        target.find_target(history, written(tmp_path, history, **change))


def test_rows_may_be_left_out(tmp_path, history):
    """Without any of them nothing is capped."""
    goal = target.find_target(history, written(tmp_path, history, **{f"rows_{d}": None for d in history.domains}))
    assert goal.rows is None and goal.caps(False) is None
