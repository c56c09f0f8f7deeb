"""Ask every method of a study for its mixture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.effects.estimator import Effects, fit_effects
from causalmix.methods.baselines import dmo, doremi, equal, grid, odm, proportional, regmix, ridge
from causalmix.methods.policy import Proposal, causalmix_a, causalmix_s, domain_caps, mixtures_table
from causalmix.methods.question import Answer, ProxyRun, Question

#: Methods that give every state of a pool the same mixture, by the name that tables use.
STATIC: dict[str, Callable[[Question], Answer]] = {
    "Equal": equal.mixture,
    "Proportional": proportional.mixture,
    "Grid": grid.mixture,
    "RegMix": regmix.mixture,
    "RegMix-ridge": ridge.mixture,
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
DIGITS = 4  # of a share in the table: what the table holds is what is trained
TINY = 1e-6  # of a unit in the last digit, which a float may miss


def names_of(text: str) -> tuple[str, ...]:
    """Static methods named in a text, by commas; all where it is empty, Equal in any case.

    Raises
    ------
    InputError
        When a name is unknown.
    """
    given = [name.strip() for name in text.split(",") if name.strip()] or list(STATIC)
    if unknown := [name for name in given if name not in STATIC]:
        raise InputError(f"Expected methods among {', '.join(STATIC)}, found {', '.join(unknown)}; correct the names.")
    return tuple(name for name in STATIC if name in (*given, "Equal"))


def static_answers(question: Question, names: Sequence[str] = tuple(STATIC)) -> dict[str, Answer]:
    """The answers of methods that do not look at the state."""
    return {name: STATIC[name](question) for name in names}


def state_dependent(effects: Effects, x: np.ndarray, caps: np.ndarray | None, seed: int = 0) -> dict[str, Proposal]:
    """CausalMix-A and CausalMix-S for a state.

    Parameters
    ----------
    effects : Effects
    x : ndarray, shape (d,)
        The target's covariates.
    caps : ndarray, shape (K,), or None
        Largest share of each domain.
    seed : int
        Of the candidates of CausalMix-S.
    """
    theta = effects.theta(np.atleast_2d(x))[0]
    return {
        "CausalMix-A": causalmix_a(theta, caps=caps),
        "CausalMix-S": causalmix_s(theta, eps=effects.eps, seed=seed, caps=caps),
    }


def without_covariates(history: History, outcome: str, seed: int, caps: np.ndarray | None, **settings) -> Proposal:
    """CausalMix-A of the same runs without their covariates, the paper's ablation "w/o X"."""
    bare = replace(history, covariates=())
    theta = fit_effects(bare, outcome, seed=seed, **settings).theta(np.empty((1, 0)))[0]
    return causalmix_a(theta, caps=caps)


def ask(question: Question, x: np.ndarray, pool: str, names: Sequence[str] = tuple(STATIC), **settings) -> pd.DataFrame:
    """The contract's table of mixtures for one pool: every method, its runs, its predicted gain, its support.

    Parameters
    ----------
    question : Question
    x : ndarray, shape (d,)
        Covariates of the pool that the mixtures are for.
    pool : str
        Its name.
    names : sequence of str
        Static methods to ask.
    **settings
        Of :func:`causalmix.effects.estimator.fit_effects`.
    """
    effects = fit_effects(question.history, question.outcome, seed=question.seed, **settings)
    caps = None if question.rows is None else domain_caps(question.rows, question.n_samples)
    answers = static_answers(question, names)
    proposals = {name: Proposal(rounded(answer.weights, caps), answer.note) for name, answer in answers.items()}
    found = state_dependent(effects, x, caps, question.seed)
    found[WITHOUT_X] = without_covariates(question.history, question.outcome, question.seed, caps, **settings)
    proposals |= {name: Proposal(rounded(p.weights, caps), p.note) for name, p in found.items()}
    table = mixtures_table(
        effects, x, pool, proposals, rounded(np.full(question.k, 1 / question.k)), question.n_samples
    )
    table["proxy_runs_used"] = [
        answers[m].runs_used if m in answers else len(question.history) for m in table["method"]
    ]
    return table


def shifted(
    table: pd.DataFrame, effects: Effects, x: np.ndarray, pool: str, n_samples: int, seed: int = 0
) -> pd.DataFrame:
    """The same methods in another pool: static mixtures stay, CausalMix is worked out anew for its state."""
    weights = [f"w_{d}" for d in effects.history.domains]
    kept = {r["method"]: Proposal(r[weights].to_numpy(float)) for _, r in table.iterrows() if r["method"] not in OURS}
    moved = {name: Proposal(rounded(p.weights), p.note) for name, p in state_dependent(effects, x, None, seed).items()}
    even = rounded(np.full(len(weights), 1 / len(weights)))
    again = mixtures_table(effects, x, pool, kept | moved, even, n_samples)
    runs = dict(zip(table["method"], table["proxy_runs_used"]))
    return again.assign(proxy_runs_used=[runs[m] for m in again["method"]])


def in_pools(
    table: pd.DataFrame, effects: Effects, states: Mapping[str, np.ndarray], n_samples: int, seed: int = 0
) -> pd.DataFrame:
    """:func:`shifted` for several pools, one below the other; ``states`` are their covariates by name."""
    return pd.concat(
        [shifted(table, effects, x, pool, n_samples, seed) for pool, x in states.items()], ignore_index=True
    )


def notes(table: pd.DataFrame) -> str:
    """What is to be known of the mixtures of a table, as a list in Markdown."""
    noted = table[table["note"].fillna("") != ""]
    told = [f"- {row.method}: {row.note}" for row in noted.itertuples()]
    return "\n".join(told) or "None of these mixtures needs a remark."


def rounded(weights: np.ndarray, caps: np.ndarray | None = None) -> np.ndarray:
    """A mixture in four decimals that still sum to one; the largest shares take up what rounding leaves, a digit each.

    Parameters
    ----------
    weights : ndarray, shape (K,)
    caps : ndarray, shape (K,), optional
        Largest shares; one that is within its cap stays there, where four decimals have such a mixture.
    """
    units = np.asarray(weights, float) * 10**DIGITS
    limit = np.full(len(units), np.inf)
    if caps is not None:
        held = units <= np.asarray(caps) * 10**DIGITS + TINY
        limit[held] = np.floor(np.asarray(caps)[held] * 10**DIGITS + TINY)
    if limit.sum() < 10**DIGITS:
        limit[:] = np.inf
    counts = np.minimum(np.round(units), limit)
    largest = cycle(np.argsort(-counts, kind="stable"))
    while abs(left := 10**DIGITS - counts.sum()) >= 1:
        k, step = next(largest), np.sign(left)
        counts[k] += step * (0 <= counts[k] + step <= limit[k])
    return counts / 10**DIGITS


def shift_table(mixtures: pd.DataFrame, states_of: dict[str, np.ndarray], history: History) -> pd.DataFrame:
    """The shifted pools: where their covariates lie among the runs', and what CausalMix-A does there.

    Returns
    -------
    DataFrame
        ``pool``, each covariate with the share of runs below it, whether all of them lie within the
        range of the runs, CausalMix-A's mixture there and how many of the methods' mixtures are in support.
    """
    rows = []
    low, high = history.X.min(axis=0), history.X.max(axis=0)
    for pool, x in states_of.items():
        part = mixtures[mixtures["pool"] == pool].set_index("method")
        row: dict[str, object] = {"pool": pool}
        for j, name in enumerate(history.covariates):
            row |= {name: x[j], f"runs below in {name}": float((history.X[:, j] < x[j]).mean())}
        row |= {"state within the range of the runs": "yes" if ((low <= x) & (x <= high)).all() else "no"}
        row |= {f"w_{d}": part.loc["CausalMix-A", f"w_{d}"] for d in history.domains}
        rows.append(row | {"methods in support": f"{int(part['in_support'].sum())} of {len(part)}"})
    return pd.DataFrame(rows)


def support_table(mixtures: pd.DataFrame) -> pd.DataFrame:
    """Whether each method's mixture is in support, with one column for each pool."""
    flags = mixtures.pivot(index="method", columns="pool", values="in_support")
    return flags.loc[mixtures["method"].unique(), mixtures["pool"].unique()].rename_axis(columns=None)
