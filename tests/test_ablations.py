"""Ablations on histories with known returns: what matters is seen to matter, and what does not is not."""

import numpy as np
import pandas as pd
import pytest

from causalmix import ablations, assignment
from causalmix.effects import fit_effects
from causalmix.errors import InputError
from causalmix.simplex import sample_dirichlet
from causalmix.tables import check_history, write_table


def history(n: int = 240, follow: float = 0.0, seed: int = 0):
    """Returns of the first domain change sign with x_q; ``follow`` lets its share follow x_q."""
    rng = np.random.default_rng(seed)
    q, idle = rng.uniform(-1, 1, n), rng.uniform(-1, 1, n)
    T = sample_dirichlet(n, 1.0, 3, seed)
    T = T * np.exp(np.outer(follow * q, [1, 0, 0]))
    T = T / T.sum(axis=1, keepdims=True)
    y = 0.5 + 0.1 * q + 0.05 * q * np.log(T[:, 0] + 0.01) + 0.02 * np.log(T[:, 1] + 0.01) + rng.normal(0, 0.01, n)
    frame = pd.DataFrame(T, columns=["w_a", "w_b", "w_c"]).assign(x_q=q, x_idle=idle, y_dev=y)
    return check_history(frame.assign(run_id=[f"r{i}" for i in range(n)]))


SETTINGS = {"n_test": 60, "n_splits": 3, "n_trees": 40, "n_repeats": 1}


@pytest.fixture(scope="module")
def scores():
    runs = history()
    return ablations.held_out_scores(runs, ablations.method_variants(runs, 60), **SETTINGS)


def test_a_covariate_that_moves_returns_is_missed(scores):
    """Without X both the prediction and the returns are worse on every split."""
    wide = scores.pivot(index="split", columns="variant", values="r_score")
    assert (wide["full"] > wide["without X"] + 0.1).all()
    assert ablations.told_apart(wide["full"] - wide["without X"]) == 1
    assert "against *without X*: better in order" in ablations.ablation_sentence(scores)


def test_log_ratios_predict_like_logarithms(scores):
    """They hold the same contrasts, so the returns explain about as much."""
    wide = scores.pivot(index="split", columns="variant", values="r_score")
    assert np.abs(wide["full"] - wide["log-ratios (ILR)"]).mean() < 0.15


def test_best_subset_holds_the_covariate_that_matters():
    """Of the subsets of two covariates, those with x_q order held-out runs better than those without."""
    runs = history()
    table = ablations.covariates_table(ablations.held_out_scores(runs, ablations.subset_variants(runs), **SETTINGS))
    means = table.groupby("covariates")["spearman"].mean()
    assert set(means.index) == {"none", "q", "idle", "q + idle"}
    assert min(means["q"], means["q + idle"]) > means["idle"] + 0.2
    assert "best subset of" in ablations.covariates_sentence(table, "q + idle")


def test_mixtures_that_follow_the_state_are_seen():
    """The state explains nothing of randomised mixtures and a good part of confounded ones."""
    table = assignment.overlap_by_assignment(history(), history(follow=2.0)).set_index("domain")
    assert table.loc["all", "randomized"] < 0.05
    assert table.loc["a", "confounded"] > 0.2


def test_orthogonalisation_matters_where_mixtures_follow_the_state():
    """The linear stage takes the level for a return of the domain whose share follows it, unless both are residuals."""
    q = np.linspace(-0.7, 0.7, 15)
    states = np.column_stack([q, 0 * q])

    def error(runs, orthogonalise: bool) -> float:
        effects = fit_effects(runs, stage="linear", n_repeats=1, orthogonalise=orthogonalise)
        return np.abs(effects.theta(states)[:, 0] - 0.05 * q).mean()

    followed, randomised = history(400, follow=2.0), history(400)
    assert error(followed, False) > 2 * error(followed, True)
    assert error(randomised, False) < 2 * error(randomised, True)


def test_second_histories_are_checked(tmp_path):
    """A missing file is told with the command that makes it, another world is refused."""
    runs, path = history(), tmp_path / "confounded.csv"
    assert ablations.read_second(path, runs) is None
    assert "causalmix sweep --trials" in ablations.missing_sentence(path)
    write_table(path, runs.frame.rename(columns={"w_a": "w_z"}))
    with pytest.raises(InputError, match="history of the same world"):
        ablations.read_second(path, runs)


def test_bad_settings_are_refused():
    """One split has no spread; centred log-ratios have no coefficients of their own."""
    runs = history()
    with pytest.raises(InputError, match="n_splits of at least 2"):
        ablations.held_out_scores(runs, ablations.subset_variants(runs), **(SETTINGS | {"n_splits": 1}))
    with pytest.raises(InputError, match="identified"):
        fit_effects(runs, treatment="clr")
