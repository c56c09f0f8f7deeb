"""Page one: what it says turns round with the record, and its figures are drawn from it."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from causalmix.book import front
from causalmix.book.plots import front as front_plots, style
from causalmix.core.paths import RESULTS, ROOT
from causalmix.core.tables import read_table
from causalmix.study import claims
from causalmix.study.trials import DIFFERENCE

GAINS = {"CausalMix-A": 0.06, "CausalMix-A without X": 0.02, "Cautious": 0.04, "RegMix": 0.0}
SETTINGS = [("whole", "proxy", 100), ("whole", "proxy", 800), ("whole", "target", 800), ("polished", "proxy", 100)]


def record(turned=(), low=0.2):
    """Tables of a small study; in the settings that are ``turned`` what gains elsewhere loses."""
    rng, rows = np.random.default_rng(0), []
    for key in SETTINGS:
        for seed in range(5):
            luck = rng.normal(0, 0.01)
            for method, gain in {"Equal": 0.0, **GAINS}.items():
                score = 0.5 + luck + gain * (-1 if key in turned else 1) + rng.normal(0, 0.004)
                rows.append((method, *key, seed, score))
    judged = [(claims.SHIFTED, "holds", 0.01), (claims.DEV, "cannot tell", 0.5), (claims.DEV, "cannot tell", np.nan)]
    return {
        "targets": pd.DataFrame(rows, columns=["method", "pool", "model", "n_samples", "seed", "y_dev"]),
        "before_training": pd.DataFrame(
            {"model": ["proxy", "target"], "parameters": [9e5, 5e6], "y_dev": [0.3, 0.35], "y_math": [0.2, 0.3]}
        ),
        "claims": pd.DataFrame(judged, columns=["family", "verdict", "p"]),
        "history": pd.DataFrame(
            {
                "run_id": list("abc"),
                "w_math": 1.0,
                "y_dev": [0.2, 0.4, 0.5],
                "y_math": [0.1, 0.2, 0.6],
                "part": "design",
            }
        ),
        "score_checks": pd.DataFrame({"domain": ["math", "code"], "wrong_share": [0.3, 0.1], "style_auc": [0.9, 0.5]}),
        "bridge": pd.DataFrame([["y_dev", 24, 0.5, low, 0.8, 0.1, -0.3, 0.5]], columns=front.TABLES["bridge"]),
    }


def said(tables):
    """The sentences by the words that they begin with."""
    text = front.sentences(tables, front.against_equal(tables["targets"]))
    return {s.split(".** ")[0].strip("*"): s.split(".** ")[1] for s in text}


def test_every_clause_follows_its_comparison():
    """Where all goes well nothing is said to fail, and what is within noise is not told apart."""
    told = said(record())
    assert list(told) == ["What was found", "How sure that is", "How far it holds", "What it does not mean"]
    assert "CausalMix-A, the paper's policy, beats equal shares (+" in told["What was found"]
    assert "at the state of the data, is not told apart from equal shares (" in told["What was found"]
    sure = "Of 2 claims that could be tried, the paper's and those that its critics ask for, 1 holds here, 0 do not"
    assert sure in told["How sure that is"]
    assert "**yes** (CausalMix-A against CausalMix-A without X: +" in told["What was found"]


def test_what_a_method_without_the_state_is_stands_behind_the_answer_that_needs_it():
    """Where no pool was shifted, nothing is answered of the state, and nothing is explained."""
    tables = record()
    assert said(tables)["What was found"].endswith(f" {front.WITHOUT}")
    whole = tables | {"targets": tables["targets"].query("pool == 'whole'")}
    assert "Without X" not in said(whole)["What was found"]


def test_a_record_that_turns_round_turns_the_sentences():
    """The same method failing at its own size, or only with more rows, is said to fail there and nowhere else."""
    at_home, larger, moved = (said(record(turned=[setting])) for setting in SETTINGS[:2] + SETTINGS[3:])
    assert "the paper's policy, falls behind equal shares (-" in at_home["What was found"]
    assert "beats equal shares (+" in larger["What was found"]
    assert "CausalMix-A: on 800 rows it falls behind equal shares (-" in larger["Where it fails"]
    assert "on 800 rows and with the larger model it beats equal shares (+" in at_home["Where it fails"], "said once"
    assert "with the larger model it beats equal shares (+" in larger["Where it fails"]
    assert "**no** (CausalMix-A against CausalMix-A without X: -" in moved["What was found"]
    assert "ahead of equal shares in 0 of 1 comparison, behind in 1" in moved["Where it fails"]


def test_what_a_real_model_says_follows_its_interval():
    """The same order as the proxy's, or none that can be told."""
    alike, unknown = (said(record(low=low))["What it does not mean"] for low in (0.2, -0.2))
    assert "Over 24 mixtures, each in a state of its own, the real model's order of `y_dev` is like" in alike
    assert "order of `y_dev` has no likeness to the proxy's" in unknown


def test_an_interval_beside_zero_that_does_not_stand_when_adjusted_is_said_to_be_one():
    """No reader is told that what lies above zero is not apart from it without the reason."""
    ends = ((6.0, 1.1, 10.9), (6.0, -1.1, 10.9), (-6.0, -10.9, -1.1), (0.0, 0.0, 0.0))
    rows = (pd.Series({"verdict": "open"} | {n: v / 100 for n, v in zip(DIFFERENCE, end)}) for end in ends)
    above, across, below, same = map(front._said, rows)
    assert above == "is ahead of equal shares, but not when adjusted for all comparisons (+6.0 [+1.1, +10.9])"
    assert below.startswith("is behind equal shares, but not when adjusted")
    assert across == "is not told apart from equal shares (+6.0 [-1.1, +10.9])"
    assert same == "keeps equal shares (+0.0 [+0.0, +0.0])"


def test_our_policy_is_the_one_that_knows_of_scale_where_it_was_tried():
    """Cautious with scale takes the place of Cautious, and both are never shown at once."""
    tables = record()
    more = tables["targets"].query("method == 'Cautious'").assign(method="Cautious with scale")
    compared = front.against_equal(pd.concat([tables["targets"], more]))
    assert list(compared["method"].unique()) == ["CausalMix-A", "Cautious with scale", "RegMix"]
    told = front._found(tables, compared)
    assert "Cautious with scale, our own, which learns from runs of other sizes as well, " in told


@pytest.fixture
def root(tmp_path):
    """A root with the tables of a small study."""
    folder = tmp_path / "results" / "laptop"
    folder.mkdir(parents=True)
    for name, table in record().items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return tmp_path


def test_page_one_is_written_alike_each_time_and_again_when_the_record_changes(root):
    """Files are the same byte for byte; another record gives another figure and another text."""
    first = {path: path.read_bytes() for path in front.publish(root)}
    assert sorted(path.name for path in first) == ["front.md", "headline.svg", "world.md", "world.svg"]
    assert {path: path.read_bytes() for path in front.publish(root)} == first
    record(turned=SETTINGS[:1])["targets"].to_csv(root / "results/laptop/targets.csv", index=False)
    changed = [path.name for path in front.publish(root) if path.read_bytes() != first[path]]
    assert changed == ["front.md", "headline.svg"]


def test_an_unfinished_record_is_said_to_be_one(root):
    """Without a table nothing is made up, and a figure that is there stays."""
    front.publish(root)
    (root / "results/laptop/claims.csv").unlink()
    written = front.publish(root)
    assert [path.name for path in written] == ["front.md", "world.md"]
    assert "not complete" in written[0].read_text()


def test_the_committed_figures_are_those_of_the_record():
    """README and page one show what the record says now; where they do not, `causalmix book` draws them again."""
    tables = {name: read_table(RESULTS / "laptop" / f"{name}.csv", columns) for name, columns in front.TABLES.items()}
    drawn = front.figures(tables, front.against_equal(tables["targets"]))
    stale = [name for name, image in drawn.items() if (ROOT / "book/_assets" / f"{name}.svg").read_bytes() != image]
    assert stale == []


def test_most_of_the_headline_is_its_panel_whatever_was_tried():
    """Models and rows stand above their pools, also the larger model's, and long names of pools are broken."""
    targets = read_table(RESULTS / "laptop/targets.csv", front.TABLES["targets"]).query("model == 'proxy'")
    largest = targets[targets["n_samples"] == targets["n_samples"].max()].assign(model="target")
    style.use()
    drawn = front_plots.headline(front.against_equal(pd.concat([targets, largest])))
    drawn.canvas.draw()
    (ax,) = drawn.axes
    told = [text.get_text() for text in ax.texts]
    assert told[0] == "proxy, 1,500 rows" and "target model, 12,000 rows" in told
    assert ax.get_position().width > 0.7 and drawn.get_figwidth() < 4.9
    plt.close(drawn)
