"""Ask methods for their mixtures, in one pool, in others, and for parts of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, product

import numpy as np
import pandas as pd

from causalmix.core.parameters import check_name
from causalmix.methods import causal
from causalmix.methods.baselines import dmo, doremi, odm, regmix, simple
from causalmix.methods.policy import PROMISE, mixtures_table
from causalmix.methods.question import Answer, NothingTrains, ProxyRun, Question

#: Methods that give every state of a pool the same mixture, by the name that tables use.
STATIC: dict[str, Callable[[Question], Answer]] = {
    "Equal": simple.equal,
    "Proportional": simple.proportional,
    "Grid": simple.grid,
    "RegMix": regmix.mixture,
    "RegMix-ridge": regmix.ridge,
    "DoReMi": doremi.mixture,
    "ODM": odm.mixture,
    "ODM (official repo)": partial(odm.mixture, form="official_repo"),
    "DMO": dmo.mixture,
}

#: Runs that methods train besides the record, from the number of domains, the rows of a proxy run and a seed.
PROXIES: dict[str, Callable[[int, int, int], list[ProxyRun]]] = {
    "DoReMi": doremi.proxies,
    "ODM": odm.proxies,
    "ODM (official repo)": partial(odm.proxies, form="official_repo"),
    "DMO": dmo.proxies,
}

OURS = ("CausalMix-A", "CausalMix-S")
WITHOUT_X = "CausalMix-A without X"
NEAR = tuple(f"{name} near Equal" for name in OURS)  # in a trust region, of which the paper's form is not known
RADIUS = 0.25  # of it: the largest share of rows that change domain
CAUTIOUS = "Cautious"
WITH_SCALE = "Cautious with scale"  # knows runs over sizes, and is asked for each size

#: Methods whose mixture follows the state of a pool, and all that are asked beside the static ones.
FOLLOWING = (*OURS, *NEAR, CAUTIOUS)
ALWAYS = (*OURS, WITHOUT_X, *NEAR, CAUTIOUS)

#: Every method, by the name that tables use.
METHODS = STATIC | {
    **dict(zip(OURS, (causal.analytical, causal.search))),
    **dict(zip(NEAR, (partial(policy, radius=RADIUS) for policy in (causal.analytical, causal.search)))),
    WITHOUT_X: causal.without_covariates,
    CAUTIOUS: causal.careful,
    WITH_SCALE: causal.careful,
}

DIGITS = 4  # of a share in the table: what the table holds is what is trained
MISSED = 1e-6  # of a unit in the last digit, which a float may miss


def names_of(text: str) -> tuple[str, ...]:
    """Static methods named in a text, by commas; all where it is empty, Equal in any case."""
    given = [name.strip() for name in text.split(",") if name.strip()] or list(STATIC)
    for name in given:
        check_name(name, STATIC, "method")
    return tuple(name for name in STATIC if name in (*given, "Equal"))


def ask(question: Question, pool: str, names: Sequence[str] = tuple(STATIC)) -> pd.DataFrame:
    """The contract's table of mixtures for one pool: that of static methods by their names, and of :data:`ALWAYS`."""
    answers = {name: _answer(name, question) for name in (*names, *ALWAYS)}
    return _table(question, pool, answers, rounded(question.even))


def _answer(name: str, question: Question) -> Answer:
    """What a method says, in the digits of the table."""
    found = METHODS[name](question)
    return replace(found, weights=rounded(found.weights, question.caps))


def _table(question: Question, pool: str, answers: Mapping[str, Answer], reference: np.ndarray) -> pd.DataFrame:
    """Answers of all the history's domains as the contract's table; who has a judge of its own promises by that."""
    table = mixtures_table(question.effects, question.x, pool, answers, reference, question.n_samples)
    for i, answer in enumerate(answers.values()):
        if answer.judge:
            table.loc[i, [*PROMISE]] = np.ravel(answer.judge.gain(question.x, reference, answer.weights))
    return table.assign(proxy_runs_used=[answer.runs_used for answer in answers.values()])


def in_pools(table: pd.DataFrame, question: Question, states: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The same methods in other pools, one below the other: static mixtures stay, others follow the state."""
    recorded, parts = _recorded(table, question), []
    fitted = {CAUTIOUS: question.posterior()} if CAUTIOUS in recorded else {}
    for pool, x in states.items():
        here = replace(question, x=x, fitted=question.effects)
        answers = {name: answer for name, answer in recorded.items() if name not in FOLLOWING}
        for name in (name for name in FOLLOWING if name in recorded):
            moved = _answer(name, replace(here, fitted=fitted.get(name, here.fitted)))
            answers[name] = replace(moved, runs_used=recorded[name].runs_used)
        parts.append(_table(here, pool, answers, rounded(question.even)))
    return pd.concat(parts, ignore_index=True)


def at_sizes(
    question: Question, states: Mapping[str, np.ndarray], sizes: Iterable[tuple[str, int, float | None]]
) -> pd.DataFrame:
    """The mixture of :data:`WITH_SCALE` for each pool (its covariates) and size (a role, rows and parameters)."""
    fitted, parts = question.posterior(), []
    for (pool, x), (role, n_samples, parameters) in product(states.items(), sizes):
        state = question.history.state(x, n_samples, parameters)
        here = replace(question, x=state, n_samples=n_samples, fitted=fitted)
        table = _table(here, pool, {WITH_SCALE: _answer(WITH_SCALE, here)}, rounded(here.even))
        parts.append(table.assign(model=role, n_samples=n_samples))
    return pd.concat(parts, ignore_index=True)


def in_part(table: pd.DataFrame, question: Question, pool: str) -> pd.DataFrame:
    """Mixtures for a pool of some of the domains, asked anew unless a method would have to train proxies again."""
    answers = {}
    for name, kept in _recorded(table, question).items():
        try:
            found = METHODS[name](question)
        except NothingTrains:
            found = Answer(question.of_pool(kept.weights), kept.runs_used)
        weights = question.whole(rounded(found.weights))
        answers[name] = Answer(weights, kept.runs_used, judge=found.judge)
    return _table(question, pool, answers, question.whole(question.even))


def _recorded(table: pd.DataFrame, question: Question) -> dict[str, Answer]:
    """Answers as a table has them."""
    weights = table[[f"w_{d}" for d in question.history.domains]].to_numpy(float)
    return {name: Answer(w, runs) for name, w, runs in zip(table["method"], weights, table["proxy_runs_used"])}


def notes(table: pd.DataFrame) -> str:
    """What is to be known of the mixtures of a table, as a list in Markdown."""
    noted = table[table["note"].fillna("") != ""]
    told = [f"- {row.method}: {row.note}" for row in noted.itertuples()]
    return "\n".join(told) or "None of these mixtures needs a remark."


def rounded(weights: np.ndarray, caps: np.ndarray | None = None) -> np.ndarray:
    """A mixture in four decimals that still sum to one, within its caps where four decimals have such a mixture."""
    units = np.asarray(weights, float) * 10**DIGITS
    limit = np.full(len(units), np.inf)
    if caps is not None:
        held = units <= np.asarray(caps) * 10**DIGITS + MISSED
        limit[held] = np.floor(np.asarray(caps)[held] * 10**DIGITS + MISSED)
    if limit.sum() < 10**DIGITS:
        limit[:] = np.inf
    counts = np.minimum(np.round(units), limit)
    largest = cycle(np.argsort(-counts, kind="stable"))
    while abs(left := 10**DIGITS - counts.sum()) >= 1:
        k, step = next(largest), np.sign(left)
        counts[k] += step * (0 <= counts[k] + step <= limit[k])
    return counts / 10**DIGITS
