"""Other methods: what they recover, what they respect, and what they refuse."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.methods.baselines import dmo, regmix, simple
from causalmix.methods.question import Question

BEST = np.array([0.5, 0.3, 0.2])
FROM_RUNS = {"Grid": simple.grid, "RegMix": regmix.mixture, "RegMix-ridge": regmix.ridge}
LAW = dmo.Law(
    beta=np.array([0.051, 0.043, 0.0439]), c=np.array([1.156484, 0.750850, 0.982818]),
    gamma=np.array([0.197807, 0.040025, 0.126060]), alpha=np.array([0.475964, 0.435039, 0.467028]),
    e=np.array([1.096446, 1.493744, 1.267061]),
)  # fmt: skip
TRUE = dmo.Law(
    beta=np.array([0.3, 0.15, 0.4]), c=np.array([6.0, 0.5, 1.5]), gamma=np.array([0.1, 0.05, 0.2]),
    alpha=np.array([0.6, 0.3, 0.5]), e=np.array([0.5, 0.8, 0.4]),
)  # fmt: skip


def history_of(T, y, n_samples=900):
    """A history of three domains."""
    frame = pd.DataFrame(T, columns=["w_a", "w_b", "w_c"]).assign(
        run_id=[f"r{i}" for i in range(len(T))], y_dev=y, n_samples=n_samples
    )
    return check_history(frame)


def concave(n=250, seed=0):
    """Runs whose outcome is highest at BEST."""
    rng = np.random.default_rng(seed)
    T = rng.dirichlet(np.ones(3), n)
    return history_of(T, 0.6 - ((T - BEST) ** 2).sum(axis=1) + 0.005 * rng.normal(size=n))


def trainer(law, noise=0.0, outlier=0.0):
    """Runs whose losses follow a law."""

    def train(runs):
        rng = np.random.default_rng(0)
        sizes = np.array([np.array(r.weights) * r.n_samples for r in runs])
        losses = law.losses(sizes) + noise * rng.normal(size=sizes.shape)
        losses[len(losses) // 2] += outlier
        return [{"status": "finished", "training": {"validation_loss": dict(zip("abc", row))}} for row in losses]

    return train


@pytest.fixture(autouse=True)
def fewer_candidates(monkeypatch):
    """5000 of 100,000: seven folds of trees take half a minute for all of them."""
    monkeypatch.setattr(regmix, "search", partial(regmix.search, n_candidates=5000, top=64))


@pytest.fixture(scope="module")
def question():
    """A question that every method can answer."""
    return Question(concave(), 900, rows=np.array([900, 600, 500]), train=trainer(TRUE, noise=0.002))


@pytest.fixture
def bare(question):
    """The same without the pool's rows and without training."""
    return replace(question, rows=None, train=None)


def test_equal_and_proportional_need_no_run(question, bare):
    """Proportional is refused where the pool is not known."""
    assert simple.equal(question).weights == pytest.approx(np.full(3, 1 / 3))
    told = simple.proportional(question)
    assert told.weights == pytest.approx([0.45, 0.3, 0.25]) and told.runs_used == 0
    with pytest.raises(InputError, match="leave Proportional out"):
        simple.proportional(bare)


def test_grid_takes_the_first_of_the_best_runs(bare):
    """Its table is in order of outcome."""
    T = np.random.default_rng(0).dirichlet(np.ones(3), 30)
    y = np.linspace(0, 0.5, 30)
    y[[7, 12]] = 0.9
    asked = replace(bare, history=history_of(T, y))
    told = simple.grid(asked)
    assert told.weights == pytest.approx(T[7]) and told.runs_used == 30
    assert len(told.details["runs"]) == 10 and told.details["runs"]["y_dev"].is_monotonic_decreasing


@pytest.mark.parametrize("method", [regmix.mixture, regmix.ridge])
def test_regression_recovers_the_optimum_of_a_concave_response(bare, method):
    """Near it, and the outcome is maximised, not minimised; the ridge bends only in logarithms."""
    if method is regmix.ridge:
        T = bare.history.T
        bare = replace(bare, history=history_of(T, 0.6 + 0.05 * np.log(T + 1e-3) @ BEST))
    told = method(bare)
    assert np.abs(told.weights - BEST).sum() / 2 < 0.08
    predicted = told.details["predicted"].set_index("mixture")["predicted"]
    assert predicted["found"] > predicted["Equal"] and told.runs_used == 250 and told.note == ""


def test_trees_of_too_few_runs_say_that_they_see_nothing(bare):
    """LightGBM splits no leaf of fewer than 40 rows; that must not look like a finding."""
    assert "too few runs" in regmix.mixture(replace(bare, history=concave(30))).note


def test_candidates_that_are_not_of_the_runs_design_are_told(bare):
    """Where the runs leave out domains, candidates that never do are another kind of mixture."""
    T = bare.history.T.copy()
    T[::2, 0] = 0
    sparse = history_of(T / T.sum(axis=1, keepdims=True), bare.history.y())
    assert "17% zeros" in regmix.ridge(replace(bare, history=sparse)).note
    assert regmix.ridge(bare).note == ""


def test_early_stopping_uses_only_the_rows_given(monkeypatch):
    """Each fold is stopped on about 15% of the rows it was handed and trained on the others only."""
    seen = []
    real = regmix.train

    def spy(settings, rows, trees, stops, **options):
        seen.append((rows.data[:, 0].copy(), stops[0].data[:, 0].copy()))
        return real(settings, rows, 5, stops, **options)

    monkeypatch.setattr(regmix, "train", spy)
    history = concave(140)
    given, held_out = history.T[:100], history.T[100:]
    regmix.fit(given, history.y()[:100])
    for inner, stop in seen:
        assert not set(inner) & set(stop) and set(inner) | set(stop) == set(given[:, 0])
        assert not set(stop) & set(held_out[:, 0]) and 0.12 <= len(stop) / 100 <= 0.18
    assert len(seen) == regmix.FOLDS


def test_search_averages_the_best_candidates_within_the_caps():
    """Found again by hand; where hardly any fits they are held within, and it is still the caps that bind."""
    caps = np.array([0.4, 0.5, 0.6])
    drawn = np.random.default_rng(3).dirichlet(np.ones(3), 500)
    drawn = drawn[(drawn <= caps).all(axis=1)]
    by_hand = drawn[np.argsort(-drawn[:, 0])[:7]].mean(axis=0)
    assert regmix.search(lambda T: T[:, 0], 3, 3, caps, n_candidates=500, top=7) == pytest.approx(by_hand)
    assert regmix.search(lambda T: T[:, 0], 3, 0, np.full(3, 1 / 3)) == pytest.approx(np.full(3, 1 / 3))
    with pytest.raises(InputError, match="caps that sum to 0.9"):
        regmix.search(lambda T: T[:, 0], 3, 0, np.full(3, 0.3))
    tight = np.array([0.36, 0.34, 0.34])  # sums to 1.04, as the paper's largest pool
    assert regmix.search(lambda T: T[:, 0], 3, 0, tight)[0] == pytest.approx(0.36)


@pytest.mark.parametrize("method", [regmix.mixture, regmix.ridge, dmo.mixture])
def test_no_domain_gets_more_rows_than_it_has(question, method):
    """The optimum lies beyond the cap of the first domain."""
    scarce = replace(question, rows=np.array([270, 900, 900]))
    assert method(replace(question, rows=None)).weights[0] > 0.31
    weights = method(scarce).weights
    assert weights[0] <= 0.3 + 1e-9 and weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", FROM_RUNS)
def test_too_few_runs_and_constant_outcomes_are_refused(bare, name):
    """In one sentence that names the method or the outcome."""
    history = bare.history
    few = replace(history, frame=history.frame.iloc[:19])
    with pytest.raises(InputError, match=f"Expected at least 20 runs for {name}, found 19"):
        FROM_RUNS[name](replace(bare, history=few))
    flat = replace(history, frame=history.frame.assign(y_dev=0.5))
    with pytest.raises(InputError, match="Expected an outcome that differs"):
        FROM_RUNS[name](replace(bare, history=flat))


@pytest.mark.parametrize(
    "n, weights, objective",
    [
        (5, (0.4116, 0.2684, 0.3200), 6.660530),
        (20, (0.4200, 0.2573, 0.3227), 6.492995),
        (200, (0.4231, 0.2513, 0.3256), 6.230204),
    ],
)
def test_dmo_reproduces_published_optima(n, weights, objective):
    """The authors' parameters; their SLSQP stops at SciPy's default 1e-6, some 2e-4 from the minimum in weights."""
    found, total = dmo.optimal_weights(LAW, n)
    assert found == pytest.approx(weights, abs=3e-4) and total == pytest.approx(objective, abs=2e-6)
    assert total <= LAW.losses(np.array(weights) / sum(weights) * n).sum()


@pytest.mark.parametrize("n", [10, 300])
def test_dmo_finds_the_optimum_of_many_domains_at_few_rows(n):
    """The sum of the losses of 64 domains is known to fewer digits than that of five."""
    rng, k = np.random.default_rng(0), 64
    law = dmo.Law(beta=rng.uniform(0.02, 0.6, k), c=rng.uniform(0.2, 6, k), gamma=rng.uniform(0, 0.3, k),
                  alpha=rng.uniform(0.1, 0.8, k), e=rng.uniform(0.3, 2, k))  # fmt: skip
    assert dmo.optimal_weights(law, n)[1] < law.losses(np.full(k, n / k)).sum()


def test_dmo_fits_a_known_law_from_its_own_design():
    """From noisy runs the mixture at a larger size comes out near the true one."""
    sizes = np.array([np.array(r.weights) * r.n_samples for r in dmo.proxies(3, 900, 0)])
    noisy = TRUE.losses(sizes) + np.random.default_rng(0).normal(0, 0.001, sizes.shape)
    found, _ = dmo.optimal_weights(dmo.fit(sizes, noisy), 12_000)
    assert found == pytest.approx(dmo.optimal_weights(TRUE, 12_000)[0], abs=0.05)


def test_dmo_optimum_beats_every_random_mixture_within_caps():
    """And its caps are kept."""
    caps = np.array([0.3, 0.6, 0.45])
    found, total = dmo.optimal_weights(TRUE, 900, caps)
    rivals = np.random.default_rng(0).dirichlet(np.ones(3), 20_000)
    rivals = rivals[(rivals <= caps).all(axis=1)]
    assert (found <= caps + 1e-9).all() and total <= TRUE.losses(rivals * 900).sum(axis=1).min() + 1e-9


def test_dmo_design_perturbs_one_domain_at_a_time():
    """4k + 1 sizes: a third, half, twice and three times N0, the others at N0."""
    runs = dmo.proxies(3, 900, seed=10)
    sizes = {tuple(np.rint(np.array(r.weights) * r.n_samples).astype(int)) for r in runs}
    assert len(runs) == 26 and len(sizes) == 13 and {r.seed for r in runs} == {11, 12}
    wanted = {(n, 300, 300)[i:] + (n, 300, 300)[:i] for n in (100, 150, 300, 600, 900) for i in (0, 1, 2)}
    assert sizes == {tuple(int(x) for x in w) for w in wanted}


@pytest.mark.parametrize("outlier, near", [(0.0, 0.04), (0.3, 0.08)])
def test_dmo_recovers_the_optimum_of_its_law(question, outlier, near):
    """With seed noise of 0.002 nats, at three times the design's size, and with one run that went wrong."""
    asked = replace(question, n_samples=2700, rows=None, train=trainer(TRUE, 0.002, outlier))
    told, best = dmo.mixture(asked), dmo.optimal_weights(TRUE, 2700)[0]
    assert np.abs(best - 1 / 3).sum() / 2 > 0.1
    assert np.abs(told.weights - best).sum() / 2 < near and told.runs_used == 26


def test_dmo_fits_a_table_and_says_that_this_is_not_its_design(bare):
    """Losses of random mixtures under the law lead to its optimum."""
    losses = TRUE.losses(bare.history.T * 900)
    told = dmo.table_fit(bare, losses)
    assert np.abs(told.weights - dmo.optimal_weights(TRUE, 900)[0]).sum() / 2 < 0.05
    assert told.note.startswith("DMO (table-fit)") and told.runs_used == 250


def test_dmo_answers_alike_where_runs_of_one_size_leave_the_exponent_open():
    """Transfer in proportion to the others' rows, and one that never changes, are then one law up to rounding."""
    rng = np.random.default_rng(1)
    own = 1500 * rng.dirichlet(np.ones(5), 120)[:, 0]
    losses = 43 * (own + 0.244 * (1500 - own)) ** -0.72 + 0.72 + rng.normal(0, 0.02, 120)
    again = (losses + rng.normal(0, 1e-8, 120) for _ in range(5))
    assert [dmo._fit_domain(own, 1500 - own, noisy)[3] for noisy in again] == pytest.approx([1.0] * 5, abs=1e-3)


def test_dmo_refuses_what_it_cannot_fit(question, bare):
    """No training, a failed run, a domain without a loss, losses that never differ, sizes and caps."""
    with pytest.raises(InputError, match="Expected a way to train"):
        dmo.mixture(bare)
    with pytest.raises(InputError, match="failed"):
        broken = {"status": "failed", "error": "out of memory"}
        dmo.mixture(replace(question, train=lambda runs: [broken for _ in runs]))
    lacks = {"status": "finished", "training": {"validation_loss": {"a": 1.0, "b": 1.0}}}
    with pytest.raises(InputError, match="found none of c"):
        dmo.mixture(replace(question, train=lambda runs: [lacks for _ in runs]))
    flat = {"status": "finished", "training": {"validation_loss": {"a": 1.0, "b": 1.0, "c": 2.0}}}
    with pytest.raises(InputError, match="losses that differ"):
        dmo.mixture(replace(question, train=lambda runs: [flat for _ in runs]))
    with pytest.raises(InputError, match="at least 3 rows"):
        dmo.proxies(3, 6, 0)
    even = bare.history.T.copy()
    even[:, 1] = 0.2 + 0.0005 * (np.arange(250) % 2)
    with pytest.raises(InputError, match="found about 180 of b in all 250"):
        dmo.fit(even * 900, bare.history.T, bare.history.domains)
    with pytest.raises(InputError, match="caps that sum to 0.9"):
        dmo.optimal_weights(TRUE, 900, np.full(3, 0.3))
