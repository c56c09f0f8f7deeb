"""Questions that a student can check alone: what is right is worked out from the study's tables whenever it is asked.

A reply tells whether an answer is right and, if not, which way it is off; it never tells the right one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core import paths
from causalmix.core.errors import InputError
from causalmix.core.intervals import adjusted_verdict
from causalmix.core.parameters import SUBJECTS, check_name, subject_of
from causalmix.core.tables import read_table

CLOSE = 0.02  # share by which a number may be off, for tables show three digits
DIRECTIONS = ("better", "worse", "open")
AT_MEAN = "mean state"


@dataclass(frozen=True)
class Exercise:
    """One question on a chapter."""

    text: str  # with the unit of a number
    tables: tuple[str, ...]  # in the study's folder or, with a slash, below ``results``
    right: Callable[..., str | int | float]  # of the tables: a word, a whole number (exact) or a float (within CLOSE)
    words: tuple[str, ...] | Callable[..., list[str]] = ()  # possible answers, or these of the tables; none for numbers


def _gap(compared: pd.DataFrame, method: str, rows: Callable) -> pd.Series:
    """Difference of a method to Equal by the proxy in the whole pool, at the fewest or at the most rows."""
    part = compared[(compared["pool"] == "whole") & (compared["model"] == "proxy")]
    (found,) = part[(part["n_samples"] == rows(part["n_samples"])) & (part["method"] == method)].to_dict("records")
    return pd.Series(found)


def _side(gap: pd.Series) -> str:
    return adjusted_verdict(gap["difference"], gap["p_holm"])  # as the chapters count who is ahead


def _held(claims: pd.DataFrame) -> int:
    from causalmix.study.verdicts import PAPER  # takes seconds to load

    return int(((claims["verdict"] == "holds") & (claims["asked by"] == PAPER)).sum())


def _at_mean(effects: pd.DataFrame) -> pd.DataFrame:
    return effects[effects["state"] == AT_MEAN].set_index("domain")


def _moved(mixtures: pd.DataFrame) -> float:
    """Percent of the rows that change domain between Equal and Cautious."""
    shares = mixtures.set_index("method").filter(like="w_")
    return 50 * float((shares.loc["Cautious"] - shares.loc["Equal"]).abs().sum())


def _broken_promise(promised: pd.DataFrame) -> str:
    known = promised.dropna(subset=["difference"])
    return known.loc[(known["difference"] - known["predicted_gain"]).idxmin(), "method"]


def _least_covering(coverage: pd.DataFrame) -> str:
    wide = coverage[coverage["n"] == coverage["n"].max()].pivot(index="world", columns="stage", values="cover_theta")
    return wide.dropna().mean().idxmin()


def _best_order(published: pd.DataFrame) -> str:
    part = published[(published["sweep"] == "RegMix") & (published["judged_at"] == "1B")]
    part = part[part["n"] == part["n"].max()]
    return part.loc[part["spearman"].idxmax(), "predictor"]


def _level(history: pd.DataFrame, before: pd.DataFrame) -> str:
    return "above" if history["y_dev"].median() > before.set_index("model").loc["proxy", "y_dev"] else "below"


QUESTIONS: dict[str, tuple[Exercise, ...]] = {
    "featurize": (
        Exercise("In which domain is the largest share of rows wrong?", ("score_checks.csv",),
                 lambda t: t.set_index("domain").filter(like="_share").iloc[:, 0].idxmax(),
                 lambda t: list(t["domain"])),
        Exercise("Measured after mixing, how much of a covariate's variance does the mixture explain, at most? (share)",
                 ("state_overlap.csv",), lambda t: float(t["measured_after_mixing"].max())),
    ),
    "outcomes": (
        Exercise("How reliable is y_dev of a single run? (share)", ("reliability.csv",),
                 lambda t: float(t.set_index("outcome").loc["y_dev", "reliability"])),
        Exercise("Which outcome moves least from run to run?", ("movement.csv",),
                 lambda t: t.loc[t["spread"].idxmin(), "outcome"], lambda t: list(t["outcome"])),
        Exercise("Does the middle one of all runs end above or below the proxy's base, on y_dev?",
                 ("history.csv", "before_training.csv"), _level, ("above", "below")),
    ),
    "effects": (
        Exercise("Which domain returns most in the mean state?", ("effects.csv",),
                 lambda t: _at_mean(t)["theta"].idxmax(), lambda t: list(t["domain"].unique())),
        Exercise("About what would doubling that domain's share add if no other fell: ln 2 times its return? (points)",
                 ("effects.csv",), lambda t: float(100 * np.log(2) * _at_mean(t)["theta"].max())),
        Exercise("How many domains have a return in the mean state whose interval holds nought?", ("effects.csv",),
                 lambda t: int(((_at_mean(t)["ci_low"] <= 0) & (_at_mean(t)["ci_high"] >= 0)).sum())),
    ),
    "mixture": (
        Exercise("Of a hundred rows of Equal, how many change domain if Cautious is followed? (percent)",
                 ("mixtures.csv",), _moved),
        Exercise("What does the chapter's one judge expect CausalMix-A to gain over Equal? (points)", ("mixtures.csv",),
                 lambda t: float(100 * t.set_index("method").loc["CausalMix-A", "predicted_gain"])),
    ),
    "target": (
        Exercise("Adjusted for all methods, is CausalMix-A on the proxy's fewest rows better than Equal, worse, open?",
                 ("comparison.csv",), lambda t: _side(_gap(t, "CausalMix-A", min)), DIRECTIONS),
        Exercise("And on its most rows?", ("comparison.csv",),
                 lambda t: _side(_gap(t, "CausalMix-A", max)), DIRECTIONS),
        Exercise("What is the difference then, CausalMix-A minus Equal? (points)", ("comparison.csv",),
                 lambda t: float(100 * _gap(t, "CausalMix-A", max)["difference"])),
        Exercise("Whose gain fell farthest short of its promise, at any size?", ("promised.csv",), _broken_promise,
                 lambda t: list(t["method"])),
    ),
    "longcot": (
        Exercise("Adjusted for all methods, is CausalMix-A better than Equal on long chains, worse, or open?",
                 ("longcot_comparison.csv",),
                 lambda t: _side(t.set_index("method").loc["CausalMix-A"]), DIRECTIONS),
    ),
    "ablations": (
        Exercise("How much rank correlation does the full method lose without X, on average over splits?",
                 ("ablations.csv",),
                 lambda t: float(t.groupby("variant")["spearman"].mean().pipe(lambda m: m["full"] - m["without X"]))),
    ),
    "paper_and_ours": (
        Exercise("How many of the paper's own claims hold here?", ("claims.csv",),
                 _held),
    ),
    "known_truth": (
        Exercise("Whose intervals hold the return least often, over the worlds in which all three stages were tried, "
                 "at the most runs?", ("validity/coverage.csv",), _least_covering, lambda t: list(t["stage"].unique())),
    ),
    "others_runs": (
        Exercise("Which predictor orders RegMix's mixtures best at one billion parameters, from the most runs?",
                 ("validity/published.csv",), _best_order, lambda t: list(t["predictor"].unique())),
    ),
}  # fmt: skip


def check(chapter: str, number: int, given: str, out: Path) -> tuple[bool, str]:
    """Whether an answer is right by the tables of a folder, and what to tell the student.

    InputError where there is no such question, where a table is missing, and where a word or a number was asked for and
    something else is given.
    """
    subject = subject_of(chapter)
    check_name(subject, QUESTIONS, "chapter with questions")
    asked = QUESTIONS[subject]
    if not 1 <= number <= len(asked):
        raise InputError(f"Expected a question of {chapter} from 1 to {len(asked)}, found {number}; see the list.")
    question = asked[number - 1]
    tables = [read_table((paths.RESULTS if "/" in name else out) / name) for name in question.tables]
    right = question.right(*tables)
    if right != right:
        raise InputError(f"Expected a number in {question.tables[0]}, found none; train what it lacks, and ask again.")
    where = f"Look into {' and '.join(question.tables)} again."
    if isinstance(right, str):
        words = question.words(*tables) if callable(question.words) else question.words
        known = {word.lower(): word for word in words}
        check_name(given.strip().lower(), known, "answer")
        return (True, "Right.") if known[given.strip().lower()] == right else (False, f"No. {where}")
    return _judged(_number(given), right, where)


def _number(given: str) -> float:
    """A number with a point or a comma, and with or without a sign for percent."""
    text = given.strip().rstrip("%").replace("\N{MINUS SIGN}", "-").replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"Expected a number, found {given!r}; give it without its unit.")
    return value


def _judged(value: float, right: float, where: str) -> tuple[bool, str]:
    near = lambda a: math.isclose(a, right, rel_tol=0 if isinstance(right, int) else CLOSE)  # noqa: E731
    if near(value):
        return True, "Right."
    if near(-value):
        return False, "The size is right, the sign is not: what is taken from what?"
    if near(100 * value) or near(value / 100):
        return False, "Right but for the unit: a point is a hundredth of the whole."
    return False, f"Too {'small' if value < right else 'large'}. {where}"


def listed(chapters: tuple[str, ...] = ()) -> tuple[Sequence[str], list[Sequence[object]]]:
    """Head and rows of a table of all questions, or of those of some chapters, under the names of the chapters."""
    wanted = {subject_of(name) for name in chapters} or set(QUESTIONS)
    names = {f"{place:02}_{subject}": subject for place, subject in enumerate(SUBJECTS, 1)}  # as files
    asked = {name: QUESTIONS.get(subject, ()) for name, subject in names.items() if subject in wanted}
    return ("Chapter", "", "Question", "Tables"), [
        (chapter, i, question.text, ", ".join(f"`{name}`" for name in question.tables))
        for chapter, questions in asked.items()
        for i, question in enumerate(questions, 1)
    ]
