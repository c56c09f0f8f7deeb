"""Designs of the next runs: what they are worth, what they keep to, and what the command refuses and tells."""

import numpy as np
import pandas as pd
import pytest

from causalmix import cli
from causalmix.core import paths
from causalmix.core.history import check_history
from causalmix.core.simplex import nearest
from causalmix.core.study_file import read_study
from causalmix.core.tables import write_table
from causalmix.effects.estimator import fit_effects
from causalmix.effects.optimal_design import Belief, Features, candidate_mixtures, choose
from causalmix.effects.simulate import simulate_history
from causalmix.methods.next_runs import Room, propose, replicate_noise

K = 4
NAMES = ("a", "b", "c", "d")


def room(**given):
    """Four domains and one covariate, unless it is said otherwise."""
    usual = {"domains": NAMES, "covariates": {"hes": (-1.0, 2.0)}, "sizes": (1000,), "models": (),
             "floor": np.zeros(K), "cap": np.ones(K), "reference": np.full(K, 0.25)}  # fmt: skip
    return Room(**usual | given)


@pytest.fixture(scope="module")
def candidate_rows():
    """Rows of the model for random runs."""
    rng = np.random.default_rng(0)
    T, S = rng.dirichlet(np.ones(K), 400), rng.normal(size=(400, 2))
    return Features.of(T, S)(T, S)


def test_choosing_one_after_the_other_is_what_the_definition_says(candidate_rows):
    """Against plain inverses: D takes the largest variance, I the candidate after which contrasts vary least."""
    F, belief = candidate_rows[:60], Belief.prior(candidate_rows.shape[1])
    C = candidate_rows[60:80] - candidate_rows[80:100]

    def after(rows):
        return np.linalg.inv(np.linalg.inv(belief.covariance) + F[rows].T @ F[rows])

    for contrasts, worth in (
        (None, lambda rows: -np.linalg.slogdet(after(rows))[1]),
        (C, lambda rows: -np.trace(C @ after(rows) @ C.T)),
    ):
        found = list(choose(F, 5, belief, contrasts))
        by_hand = []
        for _ in range(5):
            by_hand.append(int(np.argmax([worth([*by_hand, i]) for i in range(len(F))])))
        assert found == by_hand
        assert belief.given(F[found]).covariance == pytest.approx(after(found), rel=1e-5, abs=1e-6)


def test_designs_tell_more_than_random_runs_each_of_its_own(candidate_rows):
    """D leaves the smallest volume, I the narrowest contrasts."""
    F, belief = candidate_rows[:300], Belief.prior(candidate_rows.shape[1])
    C = candidate_rows[300:] - candidate_rows[[0]]
    found = {"D": choose(F, 40, belief), "I": choose(F, 40, belief, C), "random": np.arange(40)}
    volume = {k: np.linalg.slogdet(belief.given(F[rows]).covariance)[1] for k, rows in found.items()}
    width = {k: belief.given(F[rows]).half_width(C) for k, rows in found.items()}
    assert volume["D"] < volume["I"] < volume["random"]
    assert width["I"] < width["D"] < 0.8 * width["random"]


def test_a_group_is_chosen_from_once(candidate_rows):
    """And the design ends where groups do."""
    group = np.arange(len(candidate_rows)) % 7
    found = choose(candidate_rows, 20, Belief.prior(candidate_rows.shape[1]), group=group)
    assert sorted(group[found]) == list(range(7))


def test_what_is_learnt_is_the_posterior_of_the_coefficients(candidate_rows):
    """Forecasts come near the truth, the noise is found, and intervals of new points hold them."""
    rng = np.random.default_rng(1)
    w = rng.normal(size=candidate_rows.shape[1])
    y = candidate_rows @ w + 0.5 * rng.normal(size=len(candidate_rows))
    belief = Belief.learnt(candidate_rows[:300], y[:300])
    C = candidate_rows[300:] - candidate_rows[[0]]
    off = C @ (belief.mean - w)
    sd = belief.noise * np.sqrt(((C @ belief.covariance) * C).sum(axis=1))
    assert belief.noise == pytest.approx(0.5, rel=0.15)
    assert (np.abs(off) < 1.96 * sd).mean() > 0.85
    assert np.sqrt((off**2).mean()) < 0.25 * (C @ w).std()


def test_candidates_keep_to_floors_and_caps_and_are_of_every_kind():
    floor, cap = np.array([0.1, 0, 0, 0.05]), np.array([1, 0.4, 0.6, 1])
    T = candidate_mixtures(floor, cap, 600)
    assert T.sum(axis=1) == pytest.approx(np.ones(len(T)), abs=1e-5)
    assert (T >= floor - 2e-6).all() and (T <= cap + 2e-6).all()
    free = candidate_mixtures(np.zeros(K), np.ones(K), 600)
    present = (free > 0.01).sum(axis=1)
    assert {1, 2, 3, 4} <= set(present)
    assert (np.abs(free - 0.25) < 1e-6).all(axis=1).any()
    inside = np.array([[0.2, 0.2, 0.3, 0.3]])
    assert nearest(inside, floor, cap) == pytest.approx(inside)


def test_a_first_design_is_where_runs_can_be_made():
    """Columns of a history, states in their ranges, sizes that were asked for, anchors at the reference."""
    where = room(sizes=(500, 4000), floor=np.full(K, 0.02), cap=np.full(K, 0.8))
    table = propose(where, 40, noise=0.02).table
    T = table[[f"w_{name}" for name in NAMES]].to_numpy()
    assert len(table) == 40 and table["run_id"].is_unique and not table["adaptive"].any()
    assert T.min() >= 0.02 - 2e-6 and T.max() <= 0.8 + 2e-6
    assert table["x_hes"].between(-1, 2).all() and np.ptp(table["x_hes"]) == 3
    assert set(table["n_samples"]) == {500, 4000}
    anchors = table[table["role"] == "anchor"]
    assert len(anchors) == 4 and (anchors["n_samples"] == 4000).all() and anchors["x_hes"].nunique() == 1
    assert (anchors[[f"w_{name}" for name in NAMES]] == 0.25).all(axis=None)
    pd.testing.assert_frame_equal(table, propose(where, 40, noise=0.02).table)


def test_the_told_half_width_falls_with_runs_and_the_needed_number_reaches_it():
    """It is linear in the noise, and as many runs as are told give what was wanted."""
    few, many = propose(room(), 20, noise=0.02), propose(room(), 80, noise=0.02)
    assert many.half_width < few.half_width < few.half_width_now
    assert propose(room(), 20, noise=0.04).half_width == pytest.approx(2 * few.half_width)
    wanted = propose(room(), 20, noise=0.02, half_width=0.02, anchors=0).needed
    at, before = (propose(room(), n, noise=0.02, anchors=0).half_width for n in (wanted, wanted - 1))
    assert at <= 0.02 < before
    far = propose(room(), 20, noise=0.02, half_width=1e-4).needed
    assert far > 5000


@pytest.fixture(scope="module")
def simulated():
    """Runs in which domain a is best where x is high and domain d where it is low; higher is better."""
    rng = np.random.default_rng(3)
    T, x = rng.dirichlet(np.ones(K), 160), rng.uniform(-1, 1, 160)
    y = 0.5 + 0.1 * x * (T[:, 0] - T[:, 3]) + 0.02 * np.sqrt(T[:, 1]) + 0.003 * rng.normal(size=160)
    columns = dict(zip([f"w_{name}" for name in NAMES], T.T))
    return check_history(
        pd.DataFrame({"run_id": [f"next{i:04d}" for i in range(160)]} | columns | {"x_hes": x, "y_dev": y})
    )


def test_after_runs_the_design_aims_at_the_gain_in_the_targets_state(simulated):
    """It finds the optimum of each state, repeats it, and narrows that gain more than a design for everything does."""
    where = room(covariates={"hes": (-1.0, 1.0)})
    high, low = (propose(where, 30, simulated, target=np.array([x])) for x in (0.9, -0.9))
    assert np.argmax(high.optimum) == 0 and np.argmax(low.optimum) == 3
    assert np.argmax(propose(where, 30, simulated, target=np.array([0.9]), lower_is_better=True).optimum) == 3
    anchors = high.table[high.table["role"] == "anchor"]
    assert (anchors["x_hes"] == 0.9).all() and anchors["w_a"].nunique() == 2
    assert high.table["adaptive"].all() and not set(high.table["run_id"]) & set(simulated.frame["run_id"])
    everything = propose(where, 30, simulated, target=np.array([0.9]), criterion="D")
    assert high.half_width < everything.half_width < high.half_width_now
    assert high.noise == pytest.approx(0.003, rel=0.4)


def test_noise_and_half_width_are_those_that_the_projects_own_stage_finds():
    """In a world whose level bends, from 256 runs."""
    history = simulate_history(256, noise=0.015).history
    where = Room(history.domains, dict.fromkeys(history.covariates, (-2.0, 2.0)), (1000,), (), np.zeros(5), np.ones(5),
                 np.full(5, 0.2))  # fmt: skip
    found = propose(where, 32, history, target=np.array([0.5, 0, 0]))
    _, low, high = fit_effects(history, stage="bayesian").gain([0.5, 0, 0], where.reference, found.optimum)
    assert found.noise == pytest.approx(0.015, rel=0.25)
    # The stage learns what does not vary, and the design does not: what it tells is on the safe side.
    assert 0.8 < found.half_width_now / (float(high[0] - low[0]) / 2) < 2.2


def test_equal_runs_tell_the_noise():
    """By mixture and state; hardly any of them tell nothing."""
    history = simulate_history(30, noise=0.02).history
    assert replicate_noise(history) is None
    again = [history.frame.assign(run_id=history.frame["run_id"] + f"-{i}",
                                  y_dev=history.frame["y_dev"] + 0.05 * np.random.default_rng(i).normal(size=30))
             for i in range(4)]  # fmt: skip
    found, freedom = replicate_noise(check_history(pd.concat(again)))
    assert freedom == 90 and found == pytest.approx(0.05, rel=0.2)


def test_sizes_of_a_history_count_as_states():
    """Rows and parameters that differ between runs, the gain being that at the largest."""
    rng = np.random.default_rng(5)
    frame = simulate_history(64).history.frame.assign(
        n_samples=rng.choice([1000, 8000], 64), model_size=rng.choice([1e6, 6e7], 64)
    )
    history = check_history(frame)
    names = history.domains
    where = Room(names, dict.fromkeys(history.measured, (-1.0, 1.0)), (1000, 8000), (1e6, 6e7), np.zeros(5), np.ones(5),
                 np.full(5, 0.2))  # fmt: skip
    table = propose(where, 20, history).table
    assert set(table["model_size"]) <= {1e6, 6e7} and set(table["n_samples"]) <= {1000, 8000}
    anchors = table[table["role"] == "anchor"]
    assert (anchors["model_size"] == 6e7).all() and (anchors["n_samples"] == 8000).all()


def test_the_command_writes_a_new_file_and_tells_the_interval(tmp_path, capsys):
    out = tmp_path / "next.csv"
    line = ["design", "--domains", "a,b,c,d", "--covariates", "hes=-1:2", "--runs", "20", "--sizes", "500,4000",
            "--noise", "0.02", "--half-width", "0.02", "--floor", "a=0.1", "--out", str(out)]  # fmt: skip
    assert cli.main(line) == 0
    told = capsys.readouterr().err
    table = pd.read_csv(out)
    assert list(table) == ["run_id", *[f"w_{n}" for n in NAMES], "x_hes", "n_samples", "role", "adaptive"]
    assert table["w_a"].min() >= 0.1 - 2e-6 and "A run is taken" not in told
    assert "18 D-optimal runs and 2 repeats at anchors" in told and "±0.02 takes about" in told
    assert "that of recommend may be wider" in told
    before = out.read_bytes()
    assert cli.main(line) == 2 and "nothing is written over" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_without_a_state_nothing_is_said_of_wider_intervals(capsys):
    line = ["design", "--domains", "a,b", "--runs", "4", "--noise", "0.02", "--half-width", "0.02"]
    assert cli.main(line) == 0
    told = capsys.readouterr().err
    assert "±0.02 takes about" in told and "may be wider" not in told


def test_what_is_asked_for_holds_for_anchors_and_what_is_assumed_is_told(capsys):
    """A reference is moved within floors and caps; rows that nobody told, a target that no run can be in."""
    line = ["design", "--domains", "a,b", "--runs", "10", "--floor", "a=0.7", "--covariates", "hes=0:1"]
    assert cli.main([*line, "--anchors", "0.5", "--target", "hes=40"]) == 0
    shown = capsys.readouterr()
    table = pd.read_csv(pd.io.common.StringIO(shown.out))
    assert table["w_a"].min() >= 0.7 - 2e-6 and "the nearest mixture within them stands for it." in shown.err
    assert "A run is taken to have 1000 rows" in shown.err and "No run can be in the target's hes" in shown.err


def test_the_command_takes_a_history(tmp_path, capsys, simulated):
    """Its covariates' ranges are those of the runs; the proposal names the present optimum."""
    write_table(tmp_path / "sweep.csv", simulated.frame)
    assert cli.main(["design", "--history", str(tmp_path / "sweep.csv"), "--runs", "6", "--target", "hes=0.9"]) == 0
    shown = capsys.readouterr()
    table = pd.read_csv(pd.io.common.StringIO(shown.out))
    assert len(table) == 6 and table["adaptive"].all() and table["x_hes"].between(-1, 1).all()
    assert "Best by the runs so far: a " in shown.err and "of the present optimum over the reference" in shown.err


@pytest.mark.parametrize("sizes, asked", [((500, 2000), 1250), ((1500, 1500), 3000)])
def test_a_size_of_its_own_hides_nothing_that_runs_of_others_tell(sizes, asked):
    """One size in all candidates would put the runs' worlds apart, and leave a best mixture at random."""
    rng, theta = np.random.default_rng(6), np.array([0.05, 0.01, -0.02, -0.04])
    T = rng.dirichlet(np.ones(K), 40)
    frame = pd.DataFrame(T, columns=[f"w_{name}" for name in NAMES]).assign(run_id=range(40), x_hes=rng.normal(size=40))
    y = np.log(T + 0.01) @ theta + 0.01 * rng.normal(size=40)
    found = propose(room(sizes=(asked,)), 2, check_history(frame.assign(y_dev=y, n_samples=np.repeat(sizes, 20))))
    assert np.log(found.optimum + 0.01) @ theta > 0.1  # which sums to 0, so that is a gain over Equal


def test_the_command_takes_the_sizes_of_a_history_and_says_where_none_is_asked_for(tmp_path, capsys, simulated):
    path = tmp_path / "sweep.csv"
    for sizes, given, told in (
        ((500, 2000), [], []), ((500, 2000), [1250], []), ((500, 2000), [8000], ["500 to 2000", "8000"]),
        ((1500, 1500), [3000], ["1500", "3000"]),
    ):  # fmt: skip
        write_table(path, simulated.frame.assign(n_samples=np.resize(sizes, len(simulated))))
        line = ["design", "--history", str(path), "--runs", "4", "--target", "hes=0.9"]
        assert cli.main([*line, *(["--sizes", *map(str, given)] if given else [])]) == 0
        shown = capsys.readouterr()
        assert set(pd.read_csv(pd.io.common.StringIO(shown.out))["n_samples"]) <= set(given or sizes)
        assert "Best by the runs so far: a " in shown.err and shown.err.count("is extrapolated") == bool(told)
        assert all(f"{rows} rows" in shown.err or f"for {rows}," in shown.err for rows in told)


def test_the_command_takes_a_sweep_as_others_keep_it(tmp_path, capsys, simulated):
    """As a recommendation does, and tells what was done to read it."""
    shares = simulated.frame.filter(like="w_").rename(columns=lambda name: f"config.mix.{name[2:]}")
    frame = shares.assign(**{"Name": simulated.frame["run_id"], "eval/acc": simulated.frame["y_dev"]})
    frame.to_csv(tmp_path / "export.csv", index=False)
    line = ["design", "--history", str(tmp_path / "export.csv"), "--runs", "4", "--outcome", "acc"]
    assert cli.main([*line, "--higher-is-better", "eval/acc"]) == 0
    told = capsys.readouterr().err
    assert "shares from config.mix." in told and "Best by the runs so far" in told


def test_the_command_takes_a_study(tmp_path, capsys, monkeypatch):
    """Its history where there is one, else the domains and rows of its pool."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    line = ["design", "--study", "quick", "--runs", "4"]
    assert cli.main(line) == 0
    first = pd.read_csv(pd.io.common.StringIO(capsys.readouterr().out))
    rows = read_study("quick").of("proxy_sft").n_samples
    assert "w_coding" in first and (first["n_samples"] == rows).all() and not first["adaptive"].any()
    write_table(tmp_path / "quick" / "history.csv", simulate_history(40).history.frame)
    assert cli.main(line) == 0
    after = pd.read_csv(pd.io.common.StringIO(capsys.readouterr().out))
    assert after["adaptive"].all() and "x_hes" in after


def test_the_command_takes_what_a_study_says_of_its_gains(tmp_path, capsys):
    """Its reference, outcome, way and seed, unless the command line has others."""
    history = simulate_history(40).history
    write_table(tmp_path / "sweep.csv", history.frame.assign(y_pain=1 - history.frame["y_dev"]))
    one, *others = history.domains
    (tmp_path / "mine.yaml").write_text(
        f"parameters: {{history: {tmp_path / 'sweep.csv'}, outcome: y_pain, lower_is_better: true, seed: 3, "
        f"reference: {{{one}: 0.7, {others[0]}: 0.3}}}}"
    )

    def proposed(*given):
        assert cli.main(["design", "--runs", "4", "--anchors", "1", *map(str, given)]) == 0, capsys.readouterr().err
        return capsys.readouterr()

    theirs = proposed("--study", tmp_path / "mine.yaml")
    by_hand = ["--history", tmp_path / "sweep.csv", "--seed", 3, "--reference", f"{one}=0.7,{others[0]}=0.3"]
    assert theirs == proposed(*by_hand, "--outcome", "y_pain", "--lower-is-better")
    assert pd.read_csv(pd.io.common.StringIO(theirs.out))[f"w_{one}"].iloc[0] == 0.7
    equal = f"{one}=0.5,{others[0]}=0.5"
    again = pd.read_csv(pd.io.common.StringIO(proposed("--study", tmp_path / "mine.yaml", "--reference", equal).out))
    assert again[f"w_{one}"].iloc[0] == 0.5
    (tmp_path / "mine.yaml").write_text(f"parameters: {{history: {tmp_path / 'sweep.csv'}, reference: {{code: 1.0}}}}")
    assert cli.main(["design", "--runs", "4", "--study", str(tmp_path / "mine.yaml")]) == 2
    assert "found 'code'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--domains", "a"], "Expected two or more names of domains"),
        (["--domains", "a,b,a"], "each once, found 'a,b,a'"),
        (["--domains", "Code,code"], "more than case and spaces, found 'Code' and 'code'; write them alike."),
        (["--domains", "a,b", "--runs", "0"], "Expected --runs from 1"),
        (["--domains", "a,b", "--criterion", "A"], "Expected a criterion among D, I"),
        (["--domains", "a,b", "--half-width", "0.1"], "give --noise"),
        (["--domains", "a,b", "--noise", "-1"], "Expected --noise above 0"),
        (["--domains", "a,b", "--noise", "nan"], "Expected --noise above 0"),
        (["--domains", "a,b", "--floor", "0.6"], "floors that sum to 1.2"),
        (["--domains", "a,b", "--cap", "0.4"], "caps that sum to 0.8"),
        (["--domains", "a,b", "--floor", "c=0.1"], "Expected a domain among a, b, found 'c'"),
        (["--domains", "a,b", "--cap", "a=much"], "Expected --cap such as NAME=SHARE"),
        (["--domains", "a,b", "--cap", "1.5"], "Expected shares in"),
        (["--domains", "a,b", "--reference", "a=0.4,b=0.4"], "sum to 1"),
        (["--domains", "a,b", "--covariates", "hes=2:1"], "give the lower bound first"),
        (["--domains", "a,b", "--covariates", "hes"], "Expected --covariates such as NAME=LOW:HIGH"),
        (["--domains", "a,b", "--covariates", "hes=0:1", "--target", "length=1"], "Expected a covariate among hes"),
        (["--domains", "a,b", "--sizes", "many"], "Expected whole numbers from 1 to 1e+15 for --sizes"),
        (["--domains", "a,b", "--sizes", "9" * 20], "Expected whole numbers from 1 to 1e+15 for --sizes"),
        (["--domains", "a,b", "--covariates", "hes=0:1e300"], "give the lower bound first"),
        (["--domains", "a,b", "--noise", "1e300"], "Expected --noise above 0 (from 1e-100 to 1e+100)"),
        (["--domains", "a,b,c", "--cap", "0.33333334"], "leave mixtures to choose from, found one"),
        (["--domains", "a,b", "--anchors", "2"], "Expected --anchors in"),
        (["--domains", "a,b", "--out", "/nowhere/at/all.csv"], "no such folder"),
        (["--history", "/nowhere/sweep.csv"], "Expected a table at /nowhere/sweep.csv"),
        (["--study", "lapto"], "did you mean laptop"),
        (["--domains", "a,b", "--lower-is-better", "y_pain"], "the outcome y_dev, found that of y_pain"),
        (["--domains", "a,b", "--cap", "a=0.2,a=0.5"], "each name once, found a again"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_before_anything_is_computed(given, told, capsys, monkeypatch):
    monkeypatch.setattr(
        "causalmix.methods.design_answer.propose", lambda *_, **__: pytest.fail("something was computed")
    )
    assert cli.main(["design", *([] if "--runs" in given else ["--runs", "8"]), *given]) == 2
    error = capsys.readouterr().err
    assert error.startswith("causalmix: Expected ") and error.count("\n") == 1 and told in error


def test_the_better_way_is_one_of_the_outcome_that_is_named(tmp_path, capsys, simulated):
    """Its own name beside it is heard; runs that lack it are left out, and told."""
    frame = simulated.frame.assign(y_pain=1 - simulated.frame["y_dev"].where(simulated.frame.index > 3))
    write_table(tmp_path / "sweep.csv", frame)
    line = ["design", "--history", str(tmp_path / "sweep.csv"), "--runs", "6", "--outcome", "y_pain"]
    assert cli.main([*line, "--lower-is-better", "y_pain"]) == 0
    named = capsys.readouterr()
    assert cli.main([*line, "--lower-is-better"]) == 0 and capsys.readouterr() == named
    assert "4 of " in named.err and "left out, for they lack y_pain" in named.err


def test_what_a_history_does_not_have_is_refused(tmp_path, capsys, simulated):
    """An outcome, a covariate, an outcome without variation."""
    write_table(tmp_path / "sweep.csv", simulated.frame.assign(y_same=1.0))
    line = ["design", "--history", str(tmp_path / "sweep.csv"), "--runs", "6"]
    for more, told in ((["--outcome", "y_math"], "Expected an outcome among"),
                       (["--covariates", "length=0:1"], "Expected a covariate among hes"),
                       (["--outcome", "y_same"], "Expected an outcome that differs")):  # fmt: skip
        assert cli.main([*line, *more]) == 2 and told in capsys.readouterr().err


def test_designed_runs_tell_returns_better_than_random_ones():
    """Linear returns of known truth, as the project's own stage estimates them: half the error from as many runs."""
    rng, n = np.random.default_rng(8), 96
    truth, at = rng.normal(0.015, 0.01, size=(K, 2)), rng.uniform(-1, 1, (100, 1))

    def error(T, x):
        y = 0.6 + ((truth[:, 0] + x[:, None] * truth[:, 1]) * np.log(T + 0.01)).sum(axis=1)
        columns = dict(zip([f"w_{name}" for name in NAMES], T.T)) | {
            "x_hes": x,
            "y_dev": y + 0.015 * rng.normal(size=n),
        }
        history = check_history(pd.DataFrame({"run_id": [str(i) for i in range(n)]} | columns))
        off = fit_effects(history, stage="bayesian").theta(at) - (truth[:, 0] + at * truth[:, 1])
        return np.sqrt((off**2).mean())

    designed = propose(room(covariates={"hes": (-1.0, 1.0)}), n, anchors=0).table
    by_design = error(designed[[f"w_{name}" for name in NAMES]].to_numpy(), designed["x_hes"].to_numpy())
    by_chance = np.mean([error(rng.dirichlet(np.ones(K), n), rng.uniform(-1, 1, n)) for _ in range(3)])
    print(by_design, by_chance)
    assert by_design < 0.65 * by_chance


def test_a_loss_is_lowered_by_its_name_alone(tmp_path, capsys):
    """As it is for a recommendation, and what is not known is asked; a name may stand after the way."""
    frame = simulate_history(40).history.frame
    write_table(tmp_path / "sweep.csv", frame.assign(y_loss=1 - frame["y_dev"], y_cost=frame["y_dev"]))

    def best(outcome, *given):
        line = ["design", "--runs", "2", "--history", str(tmp_path / "sweep.csv"), "--outcome", outcome, *given]
        code, said = cli.main(line), capsys.readouterr().err
        return said.split("Best by the runs so far: ")[1].splitlines()[0] if code == 0 else said

    assert (
        best("y_loss") == best("y_dev") == best("y_cost", "--higher-is-better") != best("y_loss", "--higher-is-better")
    )
    assert "--higher-is-better y_cost" in best("y_cost")
    assert best("y_cost", "--higher-is-better", "y_cost") == best("y_dev")
