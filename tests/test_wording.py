"""Numbers in sentences: one is one, and a chapter whose trials are not trained says so."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapter_cells import NOTEBOOKS, said

from causalmix.book import front, words
from causalmix.core.paths import ROOT
from causalmix.core.wording import counted, p_told, short, signed_as, some_of
from causalmix.methods import design_answer, policy, recommend, target
from causalmix.study import claims, trials
from causalmix.train import audit


def test_one_is_one():
    """Noun and verb go with the number, which may be marked."""
    assert [counted(n, "run ends", "runs end") for n in (0, 1, 2000)] == ["0 runs end", "1 run ends", "2,000 runs end"]
    assert counted(1, "agrees", "agree", "**{}** {}") == "**1** agrees" and counted(2, "claim") == "2 claims"


def test_numbers_have_three_digits_and_counts_all_of_theirs():
    """What rounds up has the digits of what it becomes; whole numbers are counts."""
    shown = {
        0.9996: "1.00",
        18223.4: "18,200",
        881965.0: "881,965",
        0.5: "0.500",
        1e-7: "1.00e-07",
        -8.83e-5: "-0.0000883",
        -0.0: "0",
    }
    assert {value: short(value) for value in shown} == shown
    assert [p_told(p) for p in (1e-30, 0.0123, float("nan"))] == ["p < 0.001", "p = 0.012", "p = nan"]


def test_numbers_are_shown_at_their_own_size():
    """Nothing reads as nought that is not, and there is no minus nought."""
    show = lambda *numbers: [signed_as(numbers).format(n) for n in numbers]  # noqa: E731
    assert show(0.04, -0.00001) == ["+0.0400", "+0.0000"] and show(-1e-17, 0.0) == ["+0.0000"] * 2
    assert show(1.129e-7, 0.0) == ["+1.129e-07", "+0"] and show(-112900.4, 5.0) == ["-1.129e+05", "+5"]


def again(*differences):
    """Runs that were trained again, by their largest difference."""
    return pd.DataFrame({"largest_difference": differences, "again": 0.5, "recorded": 0.5})


VERDICTS = pd.DataFrame({"verdict": [claims.WORDS[w] for w in ("better", "worse", "open")], "p": 0.01})
ONE = {
    "The run that was trained again agrees with": lambda: audit.agreement_sentence(again(0.0)),
    "Of 2 runs trained again, 1 agrees with": lambda: audit.agreement_sentence(again(0.0, 0.1)),
    "1 of the 3 runs ends above the model that it": lambda: words.above_base(pd.Series([0.1, 0.2, 0.9]), 0.5),
    "Of 1 difference in the figure 1 is told": lambda: front._sure(VERDICTS, pd.DataFrame({"verdict": ["better"]})),
    "Of 3 claims that could be tried, the paper's and those that its critics ask for, 1 holds": lambda: front._sure(
        VERDICTS, pd.DataFrame({"verdict": ["better"]})
    ),
    "1 of 2 promised intervals meets that of what came; 1 was exceeded (B)": lambda: said(
        "06_target",
        "promised interval",
        promised=pd.DataFrame({"model": "proxy", "n_samples": 50, "method": ["A", "B"], "kept": ["inside", "more"]}),
    ),
    "ahead of Equal 1 of 1 method, behind it 0": lambda: trials.standing_words(
        pd.DataFrame(
            {"pool": "whole", "model": "proxy", "n_samples": 50, "method": ["A"], "mean": 0.5, "difference": 0.1}
            | {"difference_low": 0.05, "difference_high": 0.15, "p_holm": 0.01}
        )
    )[0],
    "The training set has no row of b, whose share of 1 row is": lambda: recommend._without_rows(
        pd.DataFrame({"method": ["Cautious"], "w_a": 0.6, "w_b": 0.4, "n_a": 1, "n_b": 0}), "cautious", ("a", "b")
    )[0],
    "Gains are those of the history's runs, which train on 1 row, not 2": lambda: target.scale_told(
        np.empty(0), 2, SimpleNamespace(covariates=(), frame=pd.DataFrame({"n_samples": [1]}), usual_rows=1)
    ),
    "1 D-optimal run and 1 repeat at anchors": lambda: design_answer._told(
        SimpleNamespace(
            table=pd.DataFrame({"role": ["design", "anchor"]}), half_width_now=1, half_width=1, needed=None
        ),
        SimpleNamespace(criterion="D", noise=1.0),
        None,
    )[0],
    "1 of 24 runs is": lambda: some_of(1, 24, "runs"),
}


@pytest.mark.parametrize("start", ONE)
def test_sentences_of_one_are_in_the_singular(start):
    """Counts on pages are small: four runs trained again, one claim that fails."""
    assert start in ONE[start]()


#: What a page may have one of, and verbs of it; others (rows, splits, a history's runs) are many by their ranges.
MAYBE_ONE = r"(?:claims|questions|comparisons|verdicts|differences|measures|trials|methods|models|mixtures are)"
VERBS = r"(?:agree|hold|do|are|were|have|turn|end)"
UNBOUND = re.compile(rf"\{{(?!counted)[^{{}}]*\}}(?:\*\*)? (?:more )?(?:{MAYBE_ONE}|{VERBS})\b")


def texts():
    """Code of every notebook, and of the book's modules."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield path.name, "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    for path in sorted((ROOT / "causalmix/book").glob("*.py")):
        yield path.name, path.read_text(encoding="utf-8")


def test_no_sentence_takes_a_number_for_more_than_one():
    """A number before such a noun or verb is put there by ``counted``."""
    assert UNBOUND.search("{n} claims") and UNBOUND.search("{same}** agree") and not UNBOUND.search("{counted(n)} do")
    assert {name: found for name, text in texts() if (found := UNBOUND.findall(text))} == {}


def test_the_verdicts_of_chapter_nine_are_counted_as_they_are():
    """One claim holds and two do not; of one claim, one."""
    table = pd.DataFrame(
        {"verdict": ["holds", "does not hold", "does not hold"], "ci_low": -1, "ci_high": 1, "claim": "", "ours": 0.5}
    )
    stub = {"claims": SimpleNamespace(by_family=lambda table: table, WORDS=claims.WORDS)}
    told = said("09_paper_and_ours", "claims.by_family(paper)", paper=table, found=table, **stub)
    assert told == "Of 3 claims of the paper 1 holds, 2 do not, 0 cannot be told."
    alone = said("09_paper_and_ours", "claims.by_family(paper)", paper=table[:1], found=table[:1], **stub)
    assert alone.startswith("Of 1 claim of the paper 1 holds, 0 do not")
    untold = table.assign(verdict=[*table["verdict"][:2], "not tried"])
    assert said("09_paper_and_ours", "claims.by_family(paper)", paper=untold, found=untold, **stub).endswith(
        "0 cannot be told, 1 was not tried."
    )
    near = table.assign(claim=["A near Equal beats B", "A beats B", "C near Equal beats B"], ours=[0.5, 0.5, 0.7])
    again = said("09_paper_and_ours", "claims.by_family(paper)", paper=near, found=near, **stub)
    assert again.endswith("1 is of a policy that lies near Equal unasked, and so another claim's trials again.")


def test_chapters_whose_trials_are_not_trained_say_so_and_go_on():
    """Shifted pools and long chains: one sentence in the place of an error, and tables of what there is."""
    none = SimpleNamespace(
        recorded_or_trained=lambda *_, needed: ([], []), coverage=lambda *_: pd.DataFrame({"recorded": [0]}),
        NOT_TRAINED=trials.NOT_TRAINED, METHOD=trials.METHOD,
    )  # fmt: skip
    some = dict.fromkeys(("design", "pool", "ledger"), None) | {"lower": False, "tried": lambda *_: None}
    names = {
        "trials": none, "campaign": SimpleNamespace(**some), "parts": SimpleNamespace(shift_trials=lambda *_: []),
        "direction": SimpleNamespace(upward=lambda table, *_: table), "whole": pd.DataFrame({"y_dev": [0.5]}),
        "compared": pd.DataFrame({"mean": [0.5]}), "covered": pd.DataFrame({"recorded": [5]}), "outcome": "y_dev",
    }  # fmt: skip
    names |= dict.fromkeys(("moved", "largest_scale", "shift_seeds", "train_missing", "out"))
    assert said("06_target", "planned_shift = parts.shift_trials", **names) == trials.NOT_TRAINED
    assert said("06_target", "trial_plots.means(part", done_shift=[]) == ""
    assert "has been trained on long chains of thought yet" in said("07_longcot", "in_short.answer", done=[], **names)
    for part in ("claimed = claims.judged(", "again = audit.train_again(", "trials.axis_table(table"):
        assert said("07_longcot", part, done=[]) == ""


def test_pairs_of_groups_are_counted_by_what_they_tell():
    """Of one pair, one; where there is none, that is said."""
    words = {"better": "a like order", "open": "no order"}
    pair = {"one": "a", "other": "b", "spearman": 0.5}
    told = [said("06_target", "if order.empty:", order=pd.DataFrame({"methods": rows} | pair), words=words, sides=sides)
            for rows, sides in (([5], ["open"]), ([5, 5], ["better", "better"]), ([], []))]  # fmt: skip
    assert told[0] == "1 pair of groups of trials orders the methods as follows: *a* and *b* no order (0.50)."
    assert told[1].startswith("2 pairs of groups of trials order the methods as follows: *a* and *b* a like order (")
    assert "alone" in told[2]


def test_a_note_names_the_bound_that_was_set():
    """No trust region is named where there is none, and no caps."""
    theta = policy.np.array([0.02, 0.01, -0.01])
    how = {"n_candidates": 500, "top": 5}
    caps = policy.np.array([0.4, 1, 1])
    assert policy.causalmix_s(theta, **how).note == ""
    assert policy.causalmix_s(theta, **how, caps=caps).note == "candidates were held within the caps"
    assert policy.causalmix_s(theta, **how, radius=0.1).note == "candidates were held within the trust region"
    assert policy.causalmix_a(theta, radius=0.1, caps=caps).note == "held within the caps and the trust region"
