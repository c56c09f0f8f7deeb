"""A mixture for a new pool: from files to a training set that trainers read, and everything that is refused."""

import hashlib
import io
import json
import shlex
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causalmix.core.errors import InputError
from causalmix.core.simplex import log_treatment
from causalmix.core.tables import read_table, write_table
from causalmix.data import families, scored_pools, summaries
from causalmix.data.states import SCORES
from causalmix.data.tiny import pool as tiny_pool
from causalmix.data.tiny.models import world_tokenizer
from causalmix.effects.simulate import simulate_history
from causalmix.lm import conversations
from causalmix.methods import delivery, new_pools, training_set
from causalmix.methods.recommend import recommend
from causalmix.methods.request import Request, add_options, command, request_of
from causalmix.methods.training_set import shown
from causalmix.train import design as designs
from causalmix.train.design import Design

ROWS = 300
TRAIN = "train.jsonl"
QUICK = {"stage": "linear", "n_repeats": 1, "cv_folds": 3}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUSALMIX_CACHE", str(tmp_path_factory.mktemp("cache")))
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


def test_every_field_is_an_option():
    """The command line's defaults are those of a request, and the last of two that contradict counts."""
    parser, given = ArgumentParser(), ["--history", "h.csv", "--pool", "tiny"]
    add_options(parser)
    assert request_of(parser.parse_args(given)) == Request(Path("h.csv"), "tiny")
    assert not parser.parse_args([*given, "--repeats-allowed", "--no-repeats"]).repeats_allowed


def test_a_study_says_what_the_command_line_leaves_open(tmp_path):
    """Its history, fit, outcome and the better way; an outcome or a history that is given has a way of its own."""
    study, sweep = tmp_path / "mine.yaml", tmp_path / "sweep.csv"
    said = "outcome: y_pain, lower_is_better: true, n_trees: 24, seed: 3, repeats_allowed: true, parts: [design, scale]"
    study.write_text(f"parameters: {{history: {sweep}, {said}}}")
    asked = ["--study", str(study)]
    with pytest.raises(InputError, match="found none; train it first"):
        read_back(shlex.join(["causalmix", "recommend", *asked]))
    sweep.write_text("")
    ask = lambda *given: read_back(shlex.join(["causalmix", "recommend", *asked, *given]))  # noqa: E731
    theirs = Request(sweep, str(study), outcome="y_pain", lower_is_better=["y_pain"], trees=24, seed=3,
                     repeats_allowed=True, parts=("design", "scale"))  # fmt: skip
    assert ask() == theirs
    assert ask("--trees", "500", "--no-repeats") == replace(theirs, trees=500, repeats_allowed=False)
    assert ask("--outcome", "y_dev") == replace(theirs, outcome="y_dev", lower_is_better=None)
    other = ask("--history", "other.csv", "--objective", "mean")
    assert (other.history, other.parts, other.outcome) == (Path("other.csv"), ("design",), "y_dev")


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


@pytest.fixture(scope="module")
def written(tmp_path_factory, folder):
    """A training set for which some domain runs out."""
    asked = Request(history=folder / "history.csv", pool=str(folder / "pool.jsonl"), n_samples=250, method="S", seed=4,
                    repeats_allowed=True, out=tmp_path_factory.mktemp("out") / "set")  # fmt: skip
    return recommend(asked, **QUICK), asked.out


def test_training_set_has_the_promised_rows(written, pool):
    """Counts sum to the size, agree with file, table and manifest, and repeats begin only when a domain has run out."""
    found, out = written
    lines = [json.loads(line) for line in (out / TRAIN).read_text(encoding="utf-8").splitlines()]
    manifest = json.loads((out / delivery.MANIFEST).read_text(encoding="utf-8"))
    line = found.table.set_index("method").loc["CausalMix-S"]
    counts = pd.Series([row["domain"] for row in lines]).value_counts()
    distinct = pd.DataFrame([(row["domain"], row["row_id"]) for row in lines]).drop_duplicates()[0].value_counts()
    assert len(lines) == 250 == sum(entry["rows"] for entry in manifest["mixture"].values())
    for domain, entry in manifest["mixture"].items():
        assert counts.get(domain, 0) == entry["rows"] == line[f"n_{domain}"]
        assert counts.get(domain, 0) - distinct.get(domain, 0) == entry["repeats"] == line[f"repeats_{domain}"]
    assert sum(entry["repeats"] for entry in manifest["mixture"].values()) > 0
    texts = {row["row_id"]: row["messages"] for row in pool[0]}
    assert all(texts[row["row_id"]] == row["messages"] for row in lines)
    assert len({row["domain"] for row in lines[:20]}) > 1  # not domain after domain


def test_training_set_is_what_a_trainer_reads(written):
    """Every row tokenises, with tokens to learn."""
    _, out = written
    lines = [json.loads(line) for line in (out / TRAIN).read_text(encoding="utf-8").splitlines()]
    tokens = conversations.tokenize(lines, world_tokenizer())
    assert len(tokens) == 250 and all(sum(mask) for mask in tokens["completion_mask"])


def test_equal_requests_give_equal_files(written, tmp_path):
    """Byte for byte by one seed, into a folder that exists and is empty."""
    found, out = written
    (tmp_path / out.name).mkdir()
    recommend(replace(found.request, out=tmp_path / out.name), **QUICK)
    assert (tmp_path / out.name / delivery.MANIFEST).read_bytes() == (out / delivery.MANIFEST).read_bytes()


def test_another_seed_draws_other_rows_of_the_same_mixture(found, tmp_path):
    """Not the same rows in another order."""
    drawn = []
    for seed in (0, 1):
        delivery.write(replace(found, request=replace(found.request, seed=seed)), tmp_path / str(seed))
        lines = (tmp_path / str(seed) / TRAIN).read_text(encoding="utf-8").splitlines()
        drawn.append(sorted((row["domain"], row["row_id"]) for row in map(json.loads, lines)))
    assert [domain for domain, _ in drawn[0]] == [domain for domain, _ in drawn[1]]
    assert drawn[0] != drawn[1]


def test_manifest_names_what_went_in(written):
    """Models that scored, hashes and versions; no folder of this machine."""
    _, out = written
    text = (out / delivery.MANIFEST).read_text(encoding="utf-8")
    manifest, answer = json.loads(text), json.loads((out / delivery.ANSWER).read_text(encoding="utf-8"))
    assert {len(manifest["inputs"][what]["sha256"]) for what in ("history", "pool")} == {64}
    assert len(manifest["files"][TRAIN]) == 64 and manifest["seed"] == 4 and manifest["versions"]["torch"]
    assert all(model["sha256"] for model in answer["scored_by"].values())
    assert str(out.parent) not in text


def test_manifest_has_the_hash_of_every_file(written):
    """But its own; a byte more in one of them shows."""
    _, out = written
    manifest = json.loads((out / delivery.MANIFEST).read_text(encoding="utf-8"))
    there = {file.relative_to(out).as_posix(): file for file in out.rglob("*") if file.is_file()}
    assert set(manifest["files"]) == set(there) - {delivery.MANIFEST} and not manifest["left_out"]
    for name, sha256 in manifest["files"].items():
        assert hashlib.sha256(there[name].read_bytes()).hexdigest() == sha256


def read_back(command):
    """The request of a command line."""
    parser, words = ArgumentParser(), shlex.split(command)
    add_options(parser)
    assert words[:2] == ["causalmix", "recommend"]
    return request_of(parser.parse_args(words[2:]))


def test_command_of_the_manifest_asks_the_same(written):
    """Of every kind of option; files of this machine by their names alone."""
    found, out = written
    manifest = json.loads((out / delivery.MANIFEST).read_text(encoding="utf-8"))
    named = {"history": Path("history.csv"), "pool": "pool.jsonl", "out": Path("set")}
    assert read_back(manifest["command"]) == replace(found.request, **named)
    asked = Request(Path("a b/h.csv"), "it's.jsonl", lower_is_better=["y_a", "y_b"], keep=["y_c=0.1"], kappa=0.5,
                    objective="y_a=1,y_b=2", trust_region="tv", radius=1e-3, rows_format="parquet")  # fmt: skip
    assert read_back(command(asked)) == asked


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


def test_history_without_covariates_needs_no_scores(request_, folder, monkeypatch):
    """The state is not used, nothing is scored, and it says so."""
    monkeypatch.setattr("causalmix.data.fingerprints.of_model", lambda *_: pytest.fail("looked at the scorer"))
    bare = recommend(replace(request_, history=folder / "bare.csv"), **QUICK)
    assert json.loads(shown(bare, "json"))["state"] == {} and "nothing was scored" in shown(bare)
    assert len(pd.read_csv(io.StringIO(shown(bare, "csv")))) == 5


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


def test_pool_is_refused_where_the_scorer_is_another(request_, folder, tmp_path, monkeypatch):
    """States of other models lie elsewhere; where the history names its scorer, nothing has to be scored for that."""
    history = pd.read_csv(folder / "history.csv")
    history.assign(x_hes=history["x_hes"] + 50).to_csv(tmp_path / "far.csv", index=False)
    with pytest.raises(InputError, match="x_hes at .* against"):
        recommend(replace(request_, history=tmp_path / "far.csv"), **QUICK)
    monkeypatch.setattr(new_pools.Source, "scored", lambda *_: pytest.fail("scored"))
    history.assign(scorer="gpt2").to_csv(tmp_path / "named.csv", index=False)
    with pytest.raises(InputError, match="the scorer the embedded world's proxy@.{8} against gpt2"):
        recommend(replace(request_, history=tmp_path / "named.csv"), **QUICK)


def test_the_default_is_the_cautious_mixture(found):
    """Its gain over the reference is what its note says, and is for the rows of the history's runs."""
    line = found.table.set_index("method").loc["Cautious"]
    assert found.request.method == "cautious" and found.effects.stage == "bayesian"
    assert f"{line['gain_over_reference']:+.4g}" in line["note"] and line["gain_over_reference_ci_low"] > 0
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
        assert answer.asked.objective.told in shown(answer) and answer.asked.objective.told
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


def bad_history(change):
    def make(folder, tmp_path):
        change(pd.read_csv(folder / "history.csv")).to_csv(tmp_path / "bad.csv", index=False)
        return {"history": tmp_path / "bad.csv"}

    return make


def bad_pool(change):
    def make(folder, tmp_path):
        rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
        write_rows(tmp_path / "bad.jsonl", change(rows))
        return {"pool": str(tmp_path / "bad.jsonl")}

    return make


def bad_state(text, name="state.csv"):
    def make(_, tmp_path):
        (tmp_path / name).write_text(text)
        return {"state": tmp_path / name}

    return make


def a_link(folder, tmp):
    (tmp / "link").symlink_to(tmp)
    return {"out": tmp / "link"}


def taken_folder(_, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    return {"out": tmp_path}


def recipe(text, **further):
    def make(folder, tmp_path):
        (tmp_path / "recipe.yaml").write_text(text.replace("POOL", str(folder / "pool.jsonl")))
        return {"pool": str(tmp_path / "recipe.yaml")} | further

    return make


REFUSED = {
    "no such history": (lambda folder, tmp: {"history": tmp / "none.csv"}, "no such file"),
    "no such outcome": (lambda folder, tmp: {"outcome": "y_taste"}, "y_taste"),
    "no pool": (lambda folder, tmp: {"pool": ""}, "rows of a pool as --pool"),
    "two ways to give a sweep": (lambda folder, tmp: {"ratios": folder / "bare.csv"}, "--history, or as --ratios"),
    "new name of nothing": (lambda folder, tmp: {"map": ["math"]}, "--map as OLD=NEW"),
    "no such pool": (lambda folder, tmp: {"pool": "nowhere"}, "tiny.*nowhere"),
    "one domain alone is the same": (
        bad_pool(lambda rows: [r | {"domain": "maths" if r["domain"] != "math" else "math"} for r in rows]),
        "two or more of the history's domains .*, found math, maths",
    ),
    "a state far away": (
        bad_state("x_hes,x_normalized_loss,x_writing_style\n900,900,900\n"),
        "x_hes at 900 against .* --force",
    ),
    "least share of no domain": (lambda folder, tmp: {"floor": "maths=0.1"}, "maths"),
    "least share of no number": (lambda folder, tmp: {"floor": "math"}, "least shares such as"),
    "unknown covariates": (bad_history(lambda h: h.rename(columns={"x_hes": "x_age"})), "age.*state file"),
    "too few rows": (lambda folder, tmp: {"n_samples": ROWS + 1, "repeats_allowed": False}, "give --repeats-allowed"),
    "folder is taken": (taken_folder, "written over"),
    "a file is in the way": (lambda folder, tmp: {"out": folder / "pool.jsonl" / "x"}, "takes no folder"),
    "no rows wanted": (lambda folder, tmp: {"n_samples": 0}, "at least 1 row"),
    "a link in the way": (a_link, "found a link"),
    "rater of no kind": (lambda folder, tmp: {"rater": "proxy"}, "Expected the model proxy"),
    "too few trees": (lambda folder, tmp: {"trees": 3}, "at least 8 trees"),
    "option of no loader": (recipe("loader: local\noptions: {pth: POOL}\n"), "options of the loader local"),
    "options as a list": (recipe("loader: local\noptions: [POOL]\n"), "options of a pool to be names with values"),
    "negative seed": (lambda folder, tmp: {"seed": -1}, "seed"),
    "no such model": (lambda folder, tmp: {"model_size": 0.0}, "at least 1 parameter"),
    "negative repeats": (lambda folder, tmp: {"max_repeats": -1.0}, "max_repeats of at least 0"),
    "too few rows with repeats": (
        lambda folder, tmp: {"n_samples": 3 * ROWS, "repeats_allowed": False, "max_repeats": 1.0},
        "at most 1 repeats of each",
    ),
    "kappa below zero": (lambda folder, tmp: {"kappa": -1.0}, "kappa of at least 0"),
    "floors above one": (lambda folder, tmp: {"floor": 0.3}, "floors that sum to at most 1, found a sum of 1.5"),
    "radius without trust region": (lambda folder, tmp: {"radius": 0.3}, "only the radius"),
    "no such reference": (lambda folder, tmp: {"reference": "nothing.csv"}, "equal, pool or a file"),
    "reference of other domains": (lambda folder, tmp: {"reference": str(folder / "pool.jsonl")}, "Expected"),
    "no such outcome to keep": (lambda folder, tmp: {"keep": ["y_safe"]}, "y_safe"),
    "margin of no number": (lambda folder, tmp: {"keep": ["y_dev=x"]}, "an outcome to keep such as"),
    "margin below zero": (lambda folder, tmp: {"keep": ["y_dev=-1"]}, "a margin of at least 0"),
    "no such objective": (lambda folder, tmp: {"objective": "best"}, "y_math=2,y_code=1, or mean, or worst"),
    "one axis": (lambda folder, tmp: {"objective": "worst"}, "two or more axes"),
    "no such outcome stated": (lambda folder, tmp: {"lower_is_better": ["y_taste"]}, "y_taste"),
    "an outcome both ways": (
        lambda folder, tmp: {"lower_is_better": ["y_dev"], "higher_is_better": ["y_dev"]},
        "stated as both",
    ),
    "a loss of which nothing is stated": (
        lambda folder, tmp: bad_history(lambda h: h.assign(y_loss=-h["y_dev"]))(folder, tmp) | {"outcome": "y_loss"},
        "--lower-is-better y_loss",
    ),
    "no such method": (lambda folder, tmp: {"method": "B"}, "method among cautious, A, S"),
    "no such scorer": (lambda folder, tmp: {"scorer": str(tmp / "none.gguf")}, "GGUF"),
    "scorer of a study": (lambda folder, tmp: {"pool": "quick", "scorer": "target"}, "only with a path"),
    "size of a study": (lambda folder, tmp: {"pool": "quick", "max_rows": 9}, "only with a path"),
    "state of no covariate": (
        lambda folder, tmp: {"history": folder / "bare.csv", "state": folder / "bare.csv"},
        "leave out the state",
    ),
    "state lacks a covariate": (bad_state("x_hes,x_normalized_loss\n1,2\n"), "no x_writing_style"),
    "state is no number": (bad_state("x_hes,x_normalized_loss,x_writing_style\n1,2,good\n"), "finite number"),
    "state of two pools": (bad_state("x_hes,x_normalized_loss,x_writing_style\n1,2,3\n1,2,3\n"), "one pool"),
    "state is no JSON": (bad_state("{", "state.json"), "JSON object"),
    "recipe is a list": (recipe("- tulu\n"), "names with values"),
    "recipe is not YAML": (recipe("loader: [\n"), "YAML"),
    "other models beside published scores": (
        recipe("loader: local\noptions: {path: POOL}\nscores: {path: published}\n"),
        "beside published scores",
    ),
    "recipe with a scorer besides": (
        recipe("loader: local\noptions: {path: POOL}\n", scorer="target"),
        "where that pool is described",
    ),
}


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
    assert "1 of 301 rows were skipped" in text and "(300 rows)" in text


@pytest.mark.parametrize("make, message", REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_told_in_one_sentence_before_scoring(
    request_, folder, tmp_path, monkeypatch, make, message
):
    """Nothing is scored or written, and what is in the folder stays."""
    monkeypatch.setattr(new_pools.Source, "scored", lambda *_: pytest.fail("scored first"))
    with pytest.raises(InputError, match=message) as refusal:
        recommend(replace(request_, **make(folder, tmp_path)), **QUICK)
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith("Expected")
    assert not list(tmp_path.rglob(TRAIN))


def test_format_that_there_is_not_is_refused(found):
    """One sentence."""
    with pytest.raises(InputError, match="table, json, csv"):
        shown(found, "xml")


def test_recipe_file_stands_for_its_rows(request_, folder, tmp_path, found):
    """The same pool, described in YAML."""
    (tmp_path / "mine.yml").write_text(f"loader: local\noptions: {{path: {folder / 'pool.jsonl'}}}\n")
    described = recommend(replace(request_, pool=str(tmp_path / "mine.yml")), **QUICK)
    assert np.array_equal(described.target.x, found.target.x) and described.target.pool == "mine"
