"""The paper's central question, asked of trials: does a mixture have to know the state, and the scale, it is for?

All paired differences of one question are a family (Holm), and one rule says what follows from them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causalmix.core.intervals import adjusted_verdict, holm, mean_interval, mean_p, verdict
from causalmix.methods.ask import CAUTIOUS, WITH_SCALE, WITHOUT_X
from causalmix.study.trials import DIFFERENCE, GROUP, METHOD, REFERENCE, in_group, place_of, points_of

NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Question:
    """Whether the first method of each pair is ahead of the second, in the groups of trials that ``where`` chooses."""

    text: str
    pairs: tuple[tuple[str, str], ...]
    where: Callable[[pd.DataFrame], pd.Series]


def shifted(groups: pd.DataFrame) -> pd.Series:
    """Pools whose state is not that of the whole one."""
    return groups["pool"] != "whole"


def grown(groups: pd.DataFrame) -> pd.Series:
    """The whole pool at more rows than the proxies of the record had, and with the target model."""
    larger = (groups["n_samples"] > groups["n_samples"].min()) | (groups["model"] == "target")
    return (groups["pool"] == "whole") & larger


STATE_WINS = Question("When the pool's state shifts, does a mixture that depends on the state win?",
                      ((METHOD, WITHOUT_X), (CAUTIOUS, "RegMix")), shifted)  # fmt: skip
STATIC_LOSES = Question("And does a static mixture lose there, against Equal?",
                        ((REFERENCE, WITHOUT_X), (REFERENCE, "RegMix")), shifted)  # fmt: skip
SCALE_WINS = Question("When rows and model grow, does a mixture made for that size win?",
                      ((WITH_SCALE, CAUTIOUS), (WITH_SCALE, METHOD)), grown)  # fmt: skip
SCALELESS_LOSES = Question("And does a mixture made at the proxies' size lose there, against Equal?",
                           ((REFERENCE, METHOD), (REFERENCE, CAUTIOUS)), grown)  # fmt: skip
QUESTIONS = (STATE_WINS, STATIC_LOSES, SCALE_WINS, SCALELESS_LOSES)


def differences(
    trials: pd.DataFrame, planned: pd.DataFrame, outcome: str = "y_dev", questions: Sequence[Question] = QUESTIONS
) -> pd.DataFrame:
    """Every paired difference that the questions ask for, in groups of trials that were ``planned``."""
    groups, parts = planned[GROUP].drop_duplicates(), []
    for question in questions:
        rows = [
            {"question": question.text, "one": one, "other": other} | group | _gap(trials, group, one, other, outcome)
            for one, other in question.pairs
            for group in groups[question.where(groups)].to_dict("records")
        ]
        part = pd.DataFrame(rows, columns=["question", "one", "other", *GROUP, "seeds", *DIFFERENCE, "p"])
        part["p_holm"] = holm(part["p"])
        told = zip(part["seeds"], part["difference"], part["p_holm"])
        parts.append(part.assign(verdict=[adjusted_verdict(gap, p) if n else NOT_TRIED for n, gap, p in told]))
    return pd.concat(parts, ignore_index=True)


def _gap(trials: pd.DataFrame, group: dict, one: str, other: str, outcome: str) -> dict[str, float]:
    gaps = paired(in_group(trials, group), one, other, outcome)
    told = (*mean_interval(gaps), mean_p(gaps)) if len(gaps) else (np.nan,) * 4
    return {"seeds": len(gaps)} | dict(zip((*DIFFERENCE, "p"), told))


def paired(trials: pd.DataFrame, one: str, other: str, outcome: str) -> pd.Series:
    """How far one method is ahead of another, by each seed that both have; trials are of one group."""
    scores = trials.pivot_table(index="seed", columns="method", values=outcome, aggfunc="first")
    both = scores.reindex(columns=[one, other]).dropna()
    return both[one] - both[other]


def answers(trials: pd.DataFrame, asked: pd.DataFrame, outcome: str = "y_dev") -> pd.DataFrame:
    """What follows for each question and pair: verdicts over the ``groups``, the mean over seeds of all, the answer."""
    rows = []
    for (text, one, other), part in asked.groupby(["question", "one", "other"], sort=False):
        counts = {word: int((part["verdict"] == word).sum()) for word in ("better", "worse", "open", NOT_TRIED)}
        groups = part[part["verdict"] != NOT_TRIED][GROUP].to_dict("records")
        by_seed = [paired(in_group(trials, group), one, other, outcome) for group in groups]
        means = pd.concat(by_seed, axis=1, sort=True).dropna().mean(axis=1) if by_seed else ()
        mean = dict(zip(DIFFERENCE, mean_interval(means) if len(means) else (np.nan,) * 3))
        row = {"question": text, "one": one, "other": other, "groups": len(part)} | counts | mean
        rows.append(row | {"answer": rule(**{word.replace(" ", "_"): n for word, n in counts.items()})})
    return pd.DataFrame(rows)


def rule(better: int, worse: int, open: int, not_tried: int) -> str:
    """The answer to a question from how many groups have each verdict; those that were not tried do not count."""
    if not better + worse + open:
        return NOT_TRIED
    if better and worse:
        return "it depends"
    if better:
        return "in part" if open else "yes"
    return "no" if worse else "cannot tell"


def short(answered: Sequence[dict]) -> str:
    """The rows of :func:`answers` on one question as a line: its answer by each pair, with the mean difference."""
    told = []
    for row in answered:
        number = f": {mean}" if (mean := _on_average(row)) else ""
        told.append(f"**{row['answer']}** ({row['one']} against {row['other']}{number})")
    return f"{answered[0]['question']} By fresh runs: {'; '.join(told)}."


def _on_average(answer: Mapping) -> str:
    """The mean over groups; where it leaves out zero and no group does, that this is why nothing is told."""
    alone = answer["answer"] == "cannot tell" and verdict(*(answer[name] for name in DIFFERENCE[1:])) != "open"
    return f"{mean} on average{', clear in no group alone' * alone}" if (mean := points_of(answer)) else ""


def said(answer: dict, asked: pd.DataFrame | None = None) -> str:
    """One row of :func:`answers` as a sentence in Markdown, with its groups where :func:`differences` is given."""
    word, pair = answer["answer"], f"*{answer['one']}* against *{answer['other']}*"
    if word == NOT_TRIED:
        return f"{pair}: **not tried**, for the trials that would answer are not on record."
    if asked is None:
        return f"{pair}: **{word}**{f' ({mean})' if (mean := _on_average(answer)) else ''}."
    told = []
    for found, verb in (("better", "ahead"), ("worse", "behind"), ("open", "not told apart")):
        part = in_group(asked, {name: answer[name] for name in ("question", "one", "other")} | {"verdict": found})
        places = [f"{place_of(row)}, {100 * row['difference']:+.1f}" for row in part.to_dict("records")]
        told += [f"{verb} in {len(places)} ({'; '.join(places)})"] * bool(places)
    lacking = f"; not tried in {answer[NOT_TRIED]}" if answer[NOT_TRIED] else ""
    mean = points_of(answer)
    over = f" The mean over these is {mean}." if answer["groups"] - answer[NOT_TRIED] > 1 else ""
    over = over if mean else " No seed is in all of these groups, so there is no mean over them."
    return f"{pair}: **{word}**. It is {', '.join(told)}{lacking}.{over}"
