"""Questions that students check alone: right by the tables as they are, and not by what somebody wrote down."""

import shutil

import pandas as pd
import pytest

from causalmix import cli
from causalmix.book import answers, stamps
from causalmix.core import paths
from causalmix.core.errors import InputError

LAPTOP = paths.RESULTS / "laptop"
ASKED = [(subject, i) for subject, asked in answers.QUESTIONS.items() for i in range(1, len(asked) + 1)]


def right_answer(subject, number, out=LAPTOP):
    """What the tables of a folder say."""
    question = answers.QUESTIONS[subject][number - 1]
    return question.right(*(pd.read_csv((paths.RESULTS if "/" in n else out) / n) for n in question.tables))


@pytest.mark.parametrize(("subject", "number"), ASKED)
def test_what_the_tables_say_is_right_and_nothing_else(subject, number):
    """A number as a table shows it, to three digits; a word in any case."""
    right = right_answer(subject, number)
    given = right.upper() if isinstance(right, str) else f"{right:.3g}"
    assert answers.check(subject, number, given, LAPTOP) == (True, "Right.")
    if isinstance(right, str):
        question = answers.QUESTIONS[subject][number - 1]
        tables = [pd.read_csv((paths.RESULTS if "/" in n else LAPTOP) / n) for n in question.tables]
        wrong = next(w for w in (question.words(*tables) if callable(question.words) else question.words) if w != right)
    else:
        wrong = f"{1.1 * right + 1:.6g}"
    done, told = answers.check(subject, number, wrong, LAPTOP)
    assert not done and question_is_kept(told, right)


def question_is_kept(told, right):
    """The reply does not give the answer away."""
    return (right if isinstance(right, str) else f"{right:.3g}") not in told.replace("csv", "")


def test_the_right_answer_turns_with_the_table(tmp_path):
    """Where the mixture of CausalMix-A loses, "better" is wrong, and the reply says which way a number is off."""
    table = pd.read_csv(LAPTOP / "comparison.csv")
    ends = ["difference", "difference_low", "difference_high"]
    for sign, word in ((1, "better"), (-1, "worse")):
        at = (table["method"] == "CausalMix-A") & (table["pool"] == "whole") & (table["model"] == "proxy")
        table.loc[at, [*ends, "p_holm"]] = [sign * 0.05, sign * 0.05 - 0.01, sign * 0.05 + 0.01, 0.01]
        table.to_csv(tmp_path / "comparison.csv", index=False)
        assert answers.check("06_target", 2, word, tmp_path)[0]
    table.assign(p_holm=0.2).to_csv(tmp_path / "comparison.csv", index=False)
    assert answers.check("06_target", 2, "open", tmp_path)[0], "as the chapter counts, adjusted for its methods"
    for given, told in {"-5": "Right.", "5": "sign", "-0.05": "unit", "−7,5": "small", "0": "large"}.items():
        assert told in answers.check("target", 3, given, tmp_path)[1]


def test_questions_of_the_critics_are_no_claims_of_the_paper(tmp_path):
    """The chapter counts them apart."""
    rows = [("the paper", "holds"), ("its critics", "holds"), ("the paper", "cannot tell")]
    pd.DataFrame(rows, columns=["asked by", "verdict"]).to_csv(tmp_path / "claims.csv", index=False)
    assert answers.check("paper_and_ours", 1, "1", tmp_path)[0]


@pytest.mark.parametrize("subject", answers.QUESTIONS)
def test_a_chapter_sends_to_its_questions(subject):
    """They are found where the exercises are."""
    (page,) = (paths.ROOT / "notebooks").glob(f"??_{subject}.ipynb")
    assert f"`causalmix check-answer {subject}`" in page.read_text(encoding="utf-8")


def test_what_cannot_be_judged_is_refused_in_one_sentence(tmp_path):
    """A chapter or a number that there is not, a word for a number, a table that is not there."""
    shutil.copy(LAPTOP / "mixtures.csv", tmp_path)
    refused = [
        ("target", 9, "1"),
        ("at_scale", 1, "1"),
        ("mixture", 1, "many"),
        ("mixture", 1, "nan"),
        ("effects", 1, "math"),
    ]
    for chapter, number, given in refused:
        with pytest.raises(InputError, match="^Expected .*, found .*; "):
            answers.check(chapter, number, given, tmp_path)


def test_the_command_lists_answers_and_tells_by_its_exit_code(capsys):
    """All questions without an argument, those of one chapter with it; minus is no option."""
    assert cli.main(["check-answer"]) == 0
    assert capsys.readouterr().out.count("\n") == len(ASKED) + 2
    assert cli.main(["check-answer", "target", "3", f"{right_answer('target', 3):.3g}"]) == 0
    assert cli.main(["check-answer", "target", "3", "-12345"]) == 1
    assert cli.main(["check-answer", "target", "3", "ten"]) == 2


def test_questions_are_listed_without_the_notebooks(tmp_path, monkeypatch):
    """A student has the package and the tables, and not the solutions; chapters are named as in the book."""
    chapters = {path.stem for path in (paths.ROOT / "notebooks").glob("*.ipynb")}
    monkeypatch.setattr(stamps.sources, "__defaults__", (tmp_path,))
    named = {row[0] for row in answers.listed()[1]}
    assert named <= chapters and len(named) == len(answers.QUESTIONS)
