"""A mixture for a new pool: its state, its gains, and what is asked of it."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from user_files import QUICK, ROWS, write_rows

from causalmix.core.errors import InputError
from causalmix.core.simplex import log_treatment
from causalmix.core.tables import read_table, write_table
from causalmix.data import scored_pools, summaries
from causalmix.data.states import SCORES
from causalmix.methods import new_pools, training_set
from causalmix.methods.recommend import recommend
from causalmix.methods.training_set import shown
from causalmix.train import design as designs
from causalmix.train.design import Design


def weights_of(table, method, domains):
    return table.set_index("method").loc[method, [f"w_{d}" for d in domains]].to_numpy(float)


def test_mixture_is_near_the_truth_and_its_interval_tells_the_gain(found, simulation):
    """The truth at the pool's state is the simulation's intercept; both mixtures gain, and intervals hold the gain."""
    domains = simulation.history.domains
    positive = np.maximum(simulation.intercept, 0)
    even = np.full(5, 0.2)
    for method in training_set.BY_LETTER.values():
        weights = weights_of(found.table, method, domains)
        assert np.abs(weights - positive / positive.sum()).sum() / 2 < 0.12
        true = (log_treatment(weights, 0.01) - log_treatment(even, 0.01)) @ simulation.intercept
        line = found.table.set_index("method").loc[method]
        assert 0 < line["gain_ci_low"] < true < line["gain_ci_high"]
    assert found.table["in_support"].tolist()[0]


def test_state_is_that_of_the_whole_pool(found, pool):
    """Each covariate is the mean over domains of the rows' scores, and lies in the middle of the runs."""
    assert found.target.x == pytest.approx(pool[1][list(found.history.covariates)].to_numpy(), abs=1e-4)
    below = found.table.filter(like="share_of_runs_below_").iloc[0]
    assert len(below) == 3 and below.between(0.35, 0.65).all()


def test_gain_over_the_pool_is_measured_from_its_own_proportions(found):
    """Proportional gains nothing over itself, and the two gains differ by what Proportional gains over Equal."""
    table = found.table.set_index("method")
    own = [f"w_{d}" for d in found.history.domains]
    assert table.loc["Proportional", own].to_numpy(float) == pytest.approx(found.target.rows / ROWS)
    assert (table["predicted_gain"] - table["gain_over_pool"]).to_numpy() == pytest.approx(
        table.loc["Proportional", "predicted_gain"]
    )


def test_scores_are_kept(found, request_, monkeypatch):
    """The same rows are not scored again, wherever their file lies."""
    monkeypatch.setattr(scored_pools, "one_thread", lambda: pytest.fail("scored again"))
    assert np.array_equal(recommend(request_, **QUICK).target.x, found.target.x)


def test_without_repeats_no_row_comes_twice(request_):
    """Shares are held within the rows that there are."""
    table = recommend(replace(request_, n_samples=280, repeats_allowed=False), **QUICK).table
    ours = table[table["method"].isin(training_set.BY_LETTER.values())]
    assert (ours.filter(like="repeats_") == 0).all(axis=None)
    assert (ours.filter(regex="^n_").sum(axis=1) == 280).all()
    assert ours["note"].all()


def test_json_and_csv_can_be_read_back(found, tmp_path):
    """Both hold the same mixtures; the CSV follows the contract of mixtures.csv."""
    values = json.loads(shown(found, "json"))
    (tmp_path / "mixtures.csv").write_text(shown(found, "csv"), encoding="utf-8")
    table = read_table(tmp_path / "mixtures.csv").set_index("method")
    for method in values["methods"]:
        assert sum(method["share"].values()) == pytest.approx(1) and sum(method["rows"].values()) == 120
        assert table.loc[method["method"], "predicted_gain"] == pytest.approx(
            method["gain_over_equal"]["estimate"], rel=1e-5
        )
        assert all(
            table.loc[method["method"], f"w_{d}"] == pytest.approx(w, rel=1e-5) for d, w in method["share"].items()
        )
    assert any("must be the models that scored the history" in note for note in values["notes"])


def test_table_for_reading_shows_everything(found):
    """Domains, methods, covariates and who scored the pool."""
    text = shown(found)
    assert all(
        word in text
        for word in (*found.history.domains, *training_set.BY_LETTER.values(), "x_hes", "embedded world's proxy")
    )
    assert "nan" not in text.lower()
    large = replace(
        found, target=replace(found.target, rows=np.full(5, 12_345)), table=found.table.assign(n_math=6_789)
    )
    assert {"12,345", "6,789"} <= set(shown(large).split())


def test_history_without_covariates_needs_no_scores(request_, folder, monkeypatch):
    """The state is not used, nothing is scored, and it says so."""
    monkeypatch.setattr("causalmix.data.fingerprints.of_model", lambda *_: pytest.fail("looked at the scorer"))
    bare = recommend(replace(request_, history=folder / "bare.csv"), **QUICK)
    assert json.loads(shown(bare, "json"))["state"] == {} and "nothing was scored" in shown(bare)
    assert len(pd.read_csv(io.StringIO(shown(bare, "csv")))) == 5


def test_too_few_runs_for_the_papers_stage_leave_out_its_methods_alone(request_, folder, tmp_path):
    """Cautious answers, also on its page; who wants the others' mixture hears how many runs that takes."""
    pd.read_csv(folder / "bare.csv").head(20).assign(x_age=np.arange(20.0)).to_csv(tmp_path / "few.csv", index=False)
    (tmp_path / "state.json").write_text('{"x_age": 9.5}')
    few = replace(request_, history=tmp_path / "few.csv", state=tmp_path / "state.json", out=tmp_path / "mix")
    answer = recommend(few, **QUICK)
    assert answer.table["method"].tolist() == ["Equal", "Proportional", "Cautious"]
    told = "CausalMix-A and CausalMix-S are left out: expected more than 20 runs for the linear stage with 5 domains"
    assert told in shown(answer) and told in (tmp_path / "mix" / "report.html").read_text("utf-8")
    with pytest.raises(InputError, match="found 20; add runs .*, or choose --method cautious"):
        recommend(replace(few, method="A", out=None), **QUICK)


def test_pool_that_comes_with_the_covariates_is_not_scored(request_, pool, tmp_path, monkeypatch):
    """Their means are the state, and the answer says who must have made them."""
    monkeypatch.setattr(new_pools.Source, "scored", lambda *_: pytest.fail("scored"))
    values = np.random.default_rng(0).normal(size=(ROWS, 3)).round(3)
    write_rows(tmp_path / "scored.jsonl", [row | dict(zip(SCORES, map(float, v))) for row, v in zip(pool[0], values)])
    found = recommend(replace(request_, pool=str(tmp_path / "scored.jsonl"), force=True), **QUICK)
    means = pd.DataFrame(values, columns=SCORES).groupby(pd.Series(pool[0]["domain"][:])).mean().mean()
    assert found.target.x == pytest.approx(means[list(found.history.covariates)].to_numpy())
    assert "the pool's own columns" in shown(found) and not found.scored_by


def test_part_of_a_pool_keeps_its_own_covariates(request_, pool, tmp_path):
    """Values and rows belong together, also where some are left out."""
    places = np.arange(ROWS, dtype=float)
    write_rows(tmp_path / "scored.jsonl", [r | dict.fromkeys(SCORES, at) for r, at in zip(pool[0], places)])
    asked = replace(request_, pool=str(tmp_path / "scored.jsonl"), max_rows=200)
    part = new_pools.find_source(asked).load(tuple(SCORES))
    known = dict(zip(pool[0]["row_id"], places))
    assert len(part) == 200 and part["hes"][:] == [known[name] for name in part["row_id"]]


def test_given_state_stands_in_for_scoring(request_, folder, tmp_path, monkeypatch):
    """CSV and JSON say the same; a state far outside of the history is told."""
    monkeypatch.setattr(scored_pools, "one_thread", lambda: pytest.fail("scored"))
    history = pd.read_csv(folder / "history.csv").rename(columns={"x_hes": "x_age"})
    history.to_csv(tmp_path / "history.csv", index=False)
    state = {
        "x_writing_style": history["x_writing_style"].mean(),
        "x_normalized_loss": 1e3,
        "x_age": history["x_age"].mean(),
    }
    (tmp_path / "state.json").write_text(json.dumps(state))
    pd.DataFrame([state]).to_csv(tmp_path / "state.csv", index=False)
    asked = replace(request_, history=tmp_path / "history.csv", force=True)
    given = [recommend(replace(asked, state=tmp_path / f"state.{end}"), **QUICK) for end in ("json", "csv")]
    assert given[0].target.x == pytest.approx(given[1].target.x)
    assert dict(zip(given[0].history.covariates, given[0].target.x))["normalized_loss"] == 1e3
    assert "x_normalized_loss at 1000 lies outside" in shown(given[0])
    assert "x_age at" not in shown(given[0])
    assert shown(given[0]).startswith("! No gain is promised") and "[" not in shown(given[0]).split("State of")[0]
    gains = [method["gain_over_equal"] for method in json.loads(shown(given[0], "json"))["methods"]]
    assert all(value is None for gain in gains for value in gain.values())


def test_the_default_is_the_cautious_mixture(found):
    """Its gain over the reference is what its note says, and is for the rows of the history's runs."""
    line = found.table.set_index("method").loc["Cautious"]
    assert found.request.method == "cautious" and found.effects.stage == "bayesian"
    assert f"{line['gain_over_reference']:+.3g}" in line["note"] and line["gain_over_reference_ci_low"] > 0
    assert line["gain_over_reference"] == pytest.approx(line["predicted_gain"])  # the reference is Equal
    assert (found.table["gain_rows"] == found.history.usual_rows).all() and not found.table["extrapolated"].any()
    assert "All gains are predicted by the Bayesian stage" in shown(found)


def test_cautious_mixtures_keep_to_what_is_asked(request_, folder, tmp_path):
    """Trust region around the pool's proportions, floor, repeats, and a reference from a file."""
    near = recommend(replace(request_, trust_region="tv", radius=0.05, reference="pool", floor=0.1), **QUICK)
    domains = near.history.domains
    weights, own = weights_of(near.table, "Cautious", domains), near.target.rows / ROWS
    assert np.abs(weights - own).sum() / 2 == pytest.approx(0.05) and weights.min() >= 0.1
    line = near.table.set_index("method").loc["Cautious"]
    assert line["gain_over_reference"] == pytest.approx(line["gain_over_pool"])
    limited = recommend(replace(request_, n_samples=500, repeats_allowed=False, max_repeats=1), **QUICK)
    ours = limited.table[limited.table["method"].isin(training_set.BY_LETTER.values())]
    again = ours[[f"repeats_{d}" for d in limited.history.domains]].to_numpy()
    assert (again <= limited.target.rows).all() and (again > 0).any()
    mine = dict.fromkeys((f"w_{d}" for d in domains), 0.15) | {f"w_{domains[0]}": 0.4}
    (tmp_path / "mine.json").write_text(json.dumps(mine))
    given = recommend(replace(request_, reference=str(tmp_path / "mine.json"), trust_region="tv", radius=0.0), **QUICK)
    assert weights_of(given.table, "Cautious", domains) == pytest.approx(list(mine.values()))
    assert "The reference of Cautious is the given reference:" in shown(given) and "or the reference's;" in shown(given)
    moved = replace(given, reference=np.roll(given.reference, 1))
    assert "is the mixture nearest to the given reference that rows and limits allow:" in shown(moved)


def with_outcomes(folder, tmp_path, **columns):
    """The user's history with further outcomes, computed from its frame."""
    frame = pd.read_csv(folder / "history.csv")
    write_table(tmp_path / "more.csv", frame.assign(**{name: make(frame) for name, make in columns.items()}))
    return tmp_path / "more.csv"


def test_a_loss_gets_the_mixture_of_minus_the_loss(request_, folder, tmp_path, found):
    """Where it is stated; the text says what a gain is."""
    path = with_outcomes(folder, tmp_path, y_loss=lambda frame: -frame["y_dev"])
    turned = recommend(replace(request_, history=path, outcome="y_loss", lower_is_better=["y_loss"]), **QUICK)
    for method in training_set.BY_LETTER.values():
        weights = (weights_of(one.table, method, found.history.domains) for one in (turned, found))
        assert next(weights) == pytest.approx(next(weights), abs=1e-3)
    assert "lower is better" in shown(turned) and json.loads(shown(turned, "json"))["lower_is_better"]


def test_objectives_over_several_outcomes(request_, folder, tmp_path):
    """Weights make one outcome, the worst of two that contradict lies between, and an outcome is kept."""
    path = with_outcomes(
        folder, tmp_path, y_a=lambda f: np.log(f["w_math"] + 0.01) / 10 + f["y_dev"] / 10,
        y_b=lambda f: np.log(f["w_safety"] + 0.01) / 10 + f["y_dev"] / 10,
    )  # fmt: skip
    asked = replace(request_, history=path)
    shares = {}
    for name in ("y_a=1,y_b=3", "worst", "mean"):
        answer = recommend(replace(asked, objective=name), **QUICK)
        line = answer.table.set_index("method").loc["Cautious"]
        shares[name] = line["w_math"], line["w_safety"]
        assert (told := answer.asked.objective.told(answer.asked.lower)) in shown(answer) and told
    assert shares["y_a=1,y_b=3"][1] > 2 * shares["y_a=1,y_b=3"][0]
    assert shares["worst"][0] == pytest.approx(shares["worst"][1], abs=0.05) and shares["worst"][0] > 0.3
    free, kept = (recommend(replace(asked, outcome="y_a", keep=keep), **QUICK) for keep in (None, ["y_b"]))
    before, after = (one.table.set_index("method").loc["Cautious", "w_safety"] for one in (free, kept))
    assert before < 0.1 and after >= 0.2


def test_gains_are_for_the_size_that_is_asked(request_, folder, tmp_path):
    """Where rows differ between runs, the order of returns turns with them; beyond the runs it is extrapolated."""
    frame = pd.read_csv(folder / "history.csv")
    rng = np.random.default_rng(0)
    rows = rng.choice([50, 100, 200], len(frame))
    T = frame[["w_math", "w_coding"]].to_numpy()
    turn = (np.log2(rows) - np.log2(100))[:, None] * [0.05, -0.05]
    frame = frame.assign(n_samples=rows, y_dev=0.5 + (turn * np.log(T + 0.01)).sum(axis=1))
    write_table(tmp_path / "sizes.csv", frame.assign(y_dev=frame["y_dev"] + rng.normal(0, 0.005, len(frame))))
    few, many, beyond = (
        recommend(replace(request_, history=tmp_path / "sizes.csv", n_samples=n), **QUICK) for n in (50, 200, 290)
    )
    for answer, n, more, outside in (
        (few, 50, "coding", False),
        (many, 200, "math", False),
        (beyond, 290, "math", True),
    ):
        line = answer.table.set_index("method").loc["Cautious"]
        assert line["gain_rows"] == n and line["extrapolated"] == outside and line[f"w_{more}"] > 0.4
        assert ("they are extrapolated" in shown(answer)) == outside and f"for {n} rows" in shown(answer)
    told = recommend(replace(request_, history=tmp_path / "sizes.csv", n_samples=100), **QUICK)
    assert "which train on" not in shown(told)


def test_pool_of_a_study_has_the_state_that_the_study_says(request_, tmp_path):
    """The same rows, scores and means as in the study's own table of its target."""
    (tmp_path / "small.yaml").write_text("parameters: {pool_rows: 500}\n")
    found = recommend(replace(request_, pool=str(tmp_path / "small.yaml")), **QUICK)
    design = Design(pool_rows=500)
    told = summaries.target_state(designs.world_for(design), 120).iloc[0]
    assert len(found.pool) == design.pool_rows
    assert found.target.x == pytest.approx(told[[f"x_{c}" for c in found.history.covariates]].to_numpy(float))
    assert found.target.rows.tolist() == told[[f"rows_{d}" for d in found.history.domains]].tolist()


def test_rows_that_were_skipped_are_told(request_, folder, tmp_path, pool):
    """A recipe may leave out bad rows, which the answer then says."""
    write_rows(tmp_path / "pool.jsonl", [*pool[0], pool[0][0]])
    (tmp_path / "mine.yaml").write_text(f"loader: local\noptions: {{path: {tmp_path / 'pool.jsonl'}, on_bad: skip}}\n")
    text = shown(recommend(replace(request_, pool=str(tmp_path / "mine.yaml")), **QUICK))
    assert "1 of 301 rows was skipped" in text and "(300 rows)" in text


def test_recipe_file_stands_for_its_rows(request_, folder, tmp_path, found):
    """The same pool, described in YAML."""
    (tmp_path / "mine.yml").write_text(f"loader: local\noptions: {{path: {folder / 'pool.jsonl'}}}\n")
    described = recommend(replace(request_, pool=str(tmp_path / "mine.yml")), **QUICK)
    assert np.array_equal(described.target.x, found.target.x) and described.target.pool == "mine"
