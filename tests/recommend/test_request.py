"""What is asked of a recommendation: its options, what a study says instead, and all that is refused."""

import json
import shlex
from argparse import ArgumentParser
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from user_files import QUICK, ROWS, TRAIN, read_back, write_rows

from causalmix.core.errors import InputError
from causalmix.core.history import read_history
from causalmix.methods import new_pools
from causalmix.methods.objective import pairs
from causalmix.methods.recommend import recommend
from causalmix.methods.refusals import checked, read_mixture
from causalmix.methods.request import Request, add_options, command, request_of


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
    assert ask("--max-repeats", "2") == replace(theirs, repeats_allowed=False, max_repeats=2)
    for both in (("--outcome", "y_dev", "--objective", "mean"), ("--repeats-allowed", "--max-repeats", "2")):
        with pytest.raises(InputError, match="found both, which say different things"):
            ask(*both)
    assert ask("--outcome", "y_dev") == replace(theirs, outcome="y_dev", lower_is_better=None)
    other = ask("--history", "other.csv", "--objective", "mean")
    assert (other.history, other.parts, other.outcome) == (Path("other.csv"), ("design",), "y_dev")
    study.write_text(f'parameters: {{history: {sweep}, reference: {{"a, b": 0.25, ü: 0.75}}}}')
    assert json.loads(ask().reference) == {"a, b": 0.25, "ü": 0.75}
    assert read_back(command(ask())).reference == ask().reference
    assert ask("--reference", "pool").reference == "pool" and not ask("--history", "other.csv").reference


def test_a_reference_is_told_by_shares(folder):
    """By name, as a study's or as one types it; domains that are not named have none."""
    history = read_history(folder / "bare.csv")
    half = [0.5 * (name in ("math", "coding")) for name in history.domains]
    for text in ("math=0.5, coding=0.5", '{"math": 0.5, "coding": 0.5}'):
        assert read_mixture(text, history).tolist() == half
    for text, told in (
        ("maths=1", "maths"),
        ("math=0.5", "a sum of 0.5"),
        ("{", "shares by name"),
        ('{"math": []}', "shares"),
    ):
        with pytest.raises(InputError, match=told):
            read_mixture(text, history)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=1=0.1,b,c=0.2,", {"a=1": 0.1, "b,c": 0.2}),
        ("b,c=.2, d e=-1", {"b,c": 0.2, "d e": -1}),
        ("y_a=b,1=2", {"y_a=b,1": 2}),
        ("0.02,0.03", None),
        ("a,b", None),
        ("a=0.1,b", None),
        ("a=x", None),
    ],
)
def test_names_of_pairs_may_have_commas_and_signs_of_equality(text, found):
    """A value stands at the end; what has none is refused."""
    with nullcontext() if found else pytest.raises(InputError, match="Expected shares such as a=1, found"):
        assert pairs(text, "shares", "a=1") == found


def test_columns_are_called_by_names_with_signs_and_blanks(folder, tmp_path):
    """As the sweep has them: domains in least shares, new names and references, outcomes to keep and to raise."""
    frame = pd.read_csv(folder / "bare.csv").rename(columns={"w_math": "w_maths, 1=a"})
    frame.assign(**{"y_my maths": frame["y_dev"]}).to_csv(tmp_path / "h.csv", index=False)
    asked = Request(tmp_path / "h.csv", str(folder / "pool.jsonl"), floor="maths, 1=a=0.1", keep=["my maths"])
    assert checked(asked).floor == {"maths, 1=a": 0.1} and checked(asked).caution.keep == {"y_my_maths": 0}
    assert checked(replace(asked, floor='{"maths, 1=a": 0.1}')).floor == {"maths, 1=a": 0.1}
    raised = checked(replace(asked, floor="", keep=None, objective="my maths=2", map=["maths, 1=a=math"]))
    assert raised.objective.outcomes == ("y_my_maths",) and "math" in raised.history.domains


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
    "too few rows": (
        lambda folder, tmp: {"n_samples": ROWS + 1, "repeats_allowed": False},
        "allow repeats .--repeats-allowed",
    ),
    "folder is taken": (taken_folder, "written over"),
    "a folder among the rows": (
        lambda folder, tmp: {"pool": str(folder), "out": folder / "new" / "mix"},
        "outside of the folder of rows",
    ),
    "a file is in the way": (lambda folder, tmp: {"out": folder / "pool.jsonl" / "x"}, "takes no folder"),
    "more rows than there are": (lambda folder, tmp: {"n_samples": 10**19}, "n_samples of at most 1e.15, found 1e.19"),
    "no rows wanted": (lambda folder, tmp: {"n_samples": 0}, "n_samples of at least 1"),
    "a link in the way": (a_link, "found a link"),
    "rater of no kind": (lambda folder, tmp: {"rater": "proxy"}, "Expected the model proxy"),
    "too few trees": (lambda folder, tmp: {"trees": 3}, "trees of at least 8"),
    "option of no loader": (recipe("loader: local\noptions: {pth: POOL}\n"), "options of the loader local"),
    "options as a list": (recipe("loader: local\noptions: [POOL]\n"), "options of a pool to be names with values"),
    "negative seed": (lambda folder, tmp: {"seed": -1}, "seed"),
    "size of models that are told by no run": (
        lambda folder, tmp: {"model_size": 7e9},
        "model_size with a history whose runs differ",
    ),
    "an outcome kept twice": (lambda folder, tmp: {"keep": ["y_dev", "y_dev=0.1"]}, "each name once, found y_dev"),
    "no such model": (lambda folder, tmp: {"model_size": 0.0}, "model_size of at least 1"),
    "negative repeats": (lambda folder, tmp: {"max_repeats": -1.0}, "max_repeats of at least 0"),
    "too few rows with repeats": (
        lambda folder, tmp: {"n_samples": 3 * ROWS, "repeats_allowed": False, "max_repeats": 1.0},
        "at most 1 repeat of each",
    ),
    "kappa below zero": (lambda folder, tmp: {"kappa": -1.0}, "kappa of at least 0"),
    "a floor that rows do not allow": (
        lambda folder, tmp: {"floor": "math=0.9", "n_samples": ROWS, "repeats_allowed": False},
        "at most 0.[0-9]+ for math",
    ),
    "floors above one": (lambda folder, tmp: {"floor": 0.3}, "floors that sum to 1.5"),
    "radius without trust region": (lambda folder, tmp: {"radius": 0.3}, "only the radius"),
    "no such reference": (lambda folder, tmp: {"reference": "nothing.csv"}, "equal, pool, shares or a file"),
    "reference of other domains": (lambda folder, tmp: {"reference": str(folder / "pool.jsonl")}, "Expected"),
    "shares by a doubled name": (lambda folder, tmp: {"floor": '{"math": 0.1, "math": 0.2}'}, "the name 'math' twice"),
    "a share that is true": (lambda folder, tmp: {"floor": '{"math": true}'}, "shares by name, found True for math"),
    "a share as text": (lambda folder, tmp: {"reference": '{"math": "1"}'}, "shares by name, found '1' for math"),
    "state that is true": (
        bad_state('{"x_hes": true, "x_normalized_loss": 0, "x_writing_style": 0}', "state.json"),
        "finite number for each of .*True",
    ),
    "state in a table that is true": (
        bad_state("x_hes,x_normalized_loss,x_writing_style\nTrue,0,0\n"),
        "finite number for each of .*True",
    ),
    "state of a doubled name": (bad_state('{"x_hes": 0, "x_hes": 1}', "state.json"), "the name 'x_hes' twice"),
    "one outcome kept by two names": (lambda folder, tmp: {"keep": ["dev", "y_dev=1"]}, "y_dev again as 'y_dev'"),
    "one outcome weighed by two names": (
        lambda folder, tmp: {"objective": "dev=1,y_dev=3"},
        "y_dev again as 'y_dev'",
    ),
    "no such outcome to keep": (lambda folder, tmp: {"keep": ["y_safe"]}, "y_safe"),
    "a method that keeps nothing": (lambda folder, tmp: {"keep": ["y_dev"], "method": "A"}, "--keep with the method"),
    "a method without bounds": (
        lambda folder, tmp: {"trust_region": "tv", "radius": 0.1, "method": "S"},
        "--trust-region with the method",
    ),
    "margin of no number": (lambda folder, tmp: {"keep": ["y_dev=x"]}, "an outcome to keep such as"),
    "margin below zero": (lambda folder, tmp: {"keep": ["y_dev=-1"]}, "a margin for y_dev of at least 0"),
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
