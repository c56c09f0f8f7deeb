"""The page of a recommendation: it says what the files say, promises nothing more, and needs nothing else."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import browser
import numpy as np
import pytest
from user_files import few_draws  # noqa: F401 (a fixture)

from causalmix.core.history import check_history
from causalmix.core.tables import read_table, write_table
from causalmix.effects.simulate import simulate_history
from causalmix.methods import delivery, one_page
from causalmix.methods.checks import lower_unseen
from causalmix.methods.recommend import recommend
from causalmix.methods.request import BY_LETTER, Request
from causalmix.methods.training_set import reference_told, shown as shown_text

QUICK = {"stage": "linear", "n_repeats": 1, "cv_folds": 3}
OPEN = {"low": -0.1, "high": 0.2, "estimate": 0.05}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A sweep, and rows that come with its covariates; a domain whose name is markup."""
    folder, history = tmp_path_factory.mktemp("page"), simulate_history(n=120, noise=0.005, seed=3).history
    bold = {f"w_{history.domains[0]}": "w_<b>&"}
    held_back = {"y_unseen": history.frame["y_dev"], "y_loss_unseen": 1 - history.frame["y_dev"], "y_odd_unseen": 7.0}
    write_table(folder / "sweep.csv", history.frame.assign(**held_back).rename(columns=bold))
    near = dict(zip(history.covariates, history.X.mean(axis=0).tolist()))
    said = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    with open(folder / "rows.jsonl", "w", encoding="utf-8") as stream:
        for k, domain in enumerate(40 * ("<b>&", *history.domains[1:])):
            stream.write(json.dumps({"row_id": str(k), "domain": domain, "messages": said} | near) + "\n")
    return Request(folder / "sweep.csv", str(folder / "rows.jsonl"), n_samples=100, repeats_allowed=True)


@pytest.fixture(scope="module")
def written(asked, tmp_path_factory):
    """The answer and its folder."""
    out = tmp_path_factory.mktemp("out") / "set"
    return recommend(replace(asked, out=out), **QUICK), out


def text_of(page):
    """What a reader sees of it."""
    return html.unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL))


def test_numbers_are_those_of_the_files(written):
    """Every gain with its interval, every share and count, every hash, and the command."""
    _, out = written
    answer, manifest = (json.loads((out / name).read_text()) for name in (delivery.ANSWER, delivery.MANIFEST))
    shown = " ".join(text_of((out / delivery.PAGE).read_text()).split())
    for method in answer["methods"]:
        gain = method["gain_over_reference"]
        assert f"{gain['estimate']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]" in shown
    for domain, entry in manifest["mixture"].items():
        assert re.search(rf"{re.escape(domain)} {entry['share']:.1%} pool [\d.]+% · {entry['rows']} rows", shown)
    hashes = manifest["files"] | {name: one["sha256"] for name, one in manifest["inputs"].items()}
    assert all(sha256 in shown for name, sha256 in hashes.items() if name != delivery.PAGE)
    assert manifest["command"] in shown and all(note in shown for note in answer["notes"])


def test_outcomes_that_chose_nothing_are_shown_with_their_direction(written):
    """The same numbers once more give the same gain, turned around or not; one that never differs tells nothing."""
    found, out = written
    answer = json.loads((out / delivery.ANSWER).read_text())
    chosen = next(one for one in answer["methods"] if one["method"] == "Cautious")["gain_over_reference"]
    told = {"y_unseen": "y_unseen", "y_loss_unseen": "y_loss_unseen (lower is better, so a gain is a fall)"}
    assert {c["outcome"]: c["lower_is_better"] for c in answer["checks"]} == {"y_unseen": False, "y_loss_unseen": True}
    shown, text = " ".join(text_of((out / delivery.PAGE).read_text()).split()), " ".join(shown_text(found).split())
    for check in answer["checks"]:
        assert [check[end] for end in one_page.ENDS] == pytest.approx([chosen[end] for end in one_page.ENDS], abs=1e-6)
        gain = f"{told[check['outcome']]} {check['estimate']:+.4f} [{check['low']:+.4f}, {check['high']:+.4f}]"
        assert gain in shown and gain in text


@pytest.mark.parametrize(
    ("columns", "stated", "lower"),
    [
        ({"y_dev": 0.5, "y_unseen": 0.5}, {}, False),
        ({"y_dev": 0.5, "y_unseen": 0.5}, {"y_dev": True}, True),
        ({"y_dev": 0.5, "y_unseen": 0.5, "lower_is_better": "y_unseen"}, {}, True),
        ({"y_loss": 3.0, "y_loss_unseen": 3.0}, {}, True),
        ({"y_odd": 3.0, "y_odd_unseen": 3.0}, {}, None),
    ],
)
def test_an_unseen_outcome_is_better_the_way_that_its_own_is(columns, stated, lower):
    frame = simulate_history(n=20).history.frame.drop(columns="y_dev").assign(**columns)
    (unseen,) = [name for name in columns if name.endswith("unseen")]
    assert lower_unseen(check_history(frame), unseen, stated) is lower


def test_what_is_near_is_predicted_by_the_same_returns(written):
    """Five of a hundred rows given to one domain: the gain over the mixture, by the fitted returns."""
    found, _ = written
    line = found.table.set_index("method").loc["Cautious"]
    w = line[[f"w_{d}" for d in found.history.domains]].to_numpy(float)
    chosen = {"share": dict(zip(found.history.domains, w))}
    for k, one in enumerate(one_page._near(found, chosen)["lines"]):
        moved = 0.95 * w + 0.05 * np.eye(len(w))[k]
        assert [one["estimate"], one["low"], one["high"]] == pytest.approx(
            [float(v[0]) for v in found.effects.gain(found.target.x, w, moved)]
        )


def test_headline_promises_only_what_there_is_evidence_for():
    """Not where the interval holds zero, not beyond the runs, not where it loses."""
    words = {"sure": (0.1, 0.3), "lost": (-0.3, -0.1), "kept": (0.0, 0.0)}
    gains = {name: {"low": a, "high": b, "estimate": (a + b) / 2} for name, (a, b) in words.items()}
    told = {name: one_page.headline(gain, "equal shares", "y_dev", False) for name, gain in gains.items()}
    assert told["sure"] == "This mixture is predicted to gain +0.2000 in y_dev over equal shares."
    assert "lose 0.2000" in told["lost"] and told["kept"].startswith("Keep equal shares: of no other mixture")
    assert one_page.headline(OPEN, "equal shares", "y_dev", False).startswith("There is no evidence")
    assert "extrapolates" in one_page.headline(gains["sure"], "equal shares", "y_dev", True)


def test_a_state_beyond_the_runs_is_in_the_headline(written):
    """And the reason below it."""
    found, _ = written
    far = replace(found, target=replace(found.target, x=found.target.x + 100))
    manifest = {"command": "", "inputs": {}, "files": {}, "left_out": {}, "versions": {}, "seed": 0}
    shown = text_of(one_page.page(far, manifest))
    assert "extrapolates a gain" in shown and "lies outside of the runs" in shown
    assert "is predicted to gain" not in shown


def test_what_has_to_be_beaten_is_called_what_it_is(asked, tmp_path):
    """Equal shares of a domain that has not the rows are not what a gain is over, and are not said to be."""
    lines = Path(asked.pool).read_text(encoding="utf-8").splitlines(keepends=True)
    few = [line for i, line in enumerate(lines) if json.loads(line)["domain"] != "<b>&" or i < 20]
    (tmp_path / "few.jsonl").write_text("".join(few))
    over = {}
    for reference in ("", "pool"):
        out = tmp_path / f"set{reference}"
        given = replace(asked, pool=str(tmp_path / "few.jsonl"), repeats_allowed=False, reference=reference, out=out)
        found = recommend(given, **QUICK)
        shown = " ".join(text_of((out / delivery.PAGE).read_text()).split())
        assert f"over {reference_told(found)}" in shown
        (cautious,) = (
            m for m in json.loads((out / delivery.ANSWER).read_text())["methods"] if m["method"] == "Cautious"
        )
        ends = {name: "{estimate:+.4f} [{low:+.4f}, {high:+.4f}]".format_map(gain)
                for name, gain in cautious.items() if name.startswith("gain_over")}  # fmt: skip
        assert f"over equal shares {ends['gain_over_equal']} over the pool as it is {ends['gain_over_pool']}" in shown
        over[reference] = reference_told(found)
    assert over == {"": "the mixture nearest to equal shares that rows and limits allow", "pool": "the pool as it is"}


def test_a_reference_that_is_kept_is_said_to_be_once(asked, tmp_path):
    """Why stands below the headline alone, and nothing is checked where nothing moves."""
    recommend(replace(asked, kappa=1000.0, out=tmp_path / "set"), **QUICK)
    shown = (tmp_path / "set" / delivery.PAGE).read_text()
    assert "Keep equal shares" in shown and "more than 1000 of its standard deviations" in shown
    assert "chose nothing" not in shown and 'class="warning"' not in shown


def test_more_runs_narrow_the_interval(written):
    """From what it is, as precisions add up."""
    found, out = written
    answer = json.loads((out / delivery.ANSWER).read_text())
    chosen = next(one for one in answer["methods"] if one["method"] == BY_LETTER["cautious"])
    lines = one_page._further(found, answer, chosen)["lines"]
    halves = [one["half"] for one in lines]
    assert halves[0] == pytest.approx(one_page._half(chosen)) and halves == sorted(halves, reverse=True)
    precisions = [1 / half**2 for half in halves]
    assert precisions[2] - precisions[0] == pytest.approx(4 * (precisions[1] - precisions[0]))


def test_a_loss_and_a_sweep_without_covariates_have_a_page_too(asked, tmp_path):
    """It says which way is better, over what, and that no state is used."""
    frame = read_table(asked.history)
    bare = frame[[name for name in frame if not name.startswith("x_")]]
    write_table(tmp_path / "bare.csv", bare.assign(y_loss=-frame["y_dev"]))
    recommend(replace(asked, history=tmp_path / "bare.csv", outcome="y_loss", lower_is_better=["y_loss"], method="A",
                      reference="pool", rows_format="parquet", out=tmp_path / "set"), **QUICK)  # fmt: skip
    shown = " ".join(text_of((tmp_path / "set" / delivery.PAGE).read_text()).split())
    assert "over the pool as it is" in shown and "lower is better" in shown and "no covariates" in shown
    assert (tmp_path / "set/train.parquet").is_file() and "by CausalMix-A" in shown


@pytest.mark.skipif(not browser.CHROMIUM, reason="no browser")
def test_a_browser_shows_it_and_asks_for_nothing_else(written):
    """No other request, no error, no markup out of a domain's name."""
    _, out = written
    (seen,) = browser.visit([(out / delivery.PAGE).as_uri()])
    assert seen.requests == ((out / delivery.PAGE).as_uri(),) and not seen.failures and not seen.broken
    page = (out / delivery.PAGE).read_text()
    assert "<b>" not in page and "&lt;b&gt;&amp;" in page and "http" not in page.replace("http-equiv", "")
