"""Every method asked the same question, and the table of their mixtures, fixed before any of them is tried."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.baselines import (
    Answer,
    ProxyRun,
    Question,
    Train,
    dmo,
    doremi,
    equal,
    grid,
    odm,
    proportional,
    regmix,
    ridge,
)
from causalmix.design import Design, spec_of
from causalmix.effects import Effects, fit_effects
from causalmix.errors import InputError
from causalmix.ledger import Ledger
from causalmix.policy import Proposal, causalmix_a, causalmix_s, domain_caps, mixtures_table
from causalmix.sweep import run_sweep
from causalmix.tables import History, read_table, write_table
from causalmix.training import train
from causalmix.worlds import World

#: Methods that give every state of a pool the same mixture, by the name that tables use.
STATIC: dict[str, Callable[[Question], Answer]] = {
    "Equal": equal.mixture,
    "Proportional": proportional.mixture,
    "Grid": grid.mixture,
    "RegMix": regmix.mixture,
    "RegMix-ridge": ridge.mixture,
    "DoReMi": doremi.mixture,
    "ODM": odm.mixture,
    "ODM (official repo)": lambda question: odm.mixture(question, form="official_repo"),
    "DMO": dmo.mixture,
}
OURS = ("CausalMix-A", "CausalMix-S")
WITHOUT_X = "CausalMix-A without X"
DIGITS = 4  # of a share in the table: what the table holds is what is trained
TINY = 1e-6  # of a unit in the last digit, which a float may miss
FIRST_SEED = 80_000  # of a design's hundred thousand, for proxies that a method asks for


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


def trainer(design: Design, base: World, ledger: Ledger, progress=None, train_missing: bool = True, **options) -> Train:
    """How methods that need proxies of their own get them: from the ledger, or trained on the pool as it is.

    Where ``train_missing`` is false they are refused if the ledger lacks them.  Further options are
    those of :func:`causalmix.sweep.run_sweep`.
    """

    def trained(runs: Sequence[ProxyRun]) -> list[dict]:
        specs = [
            spec_of(design, base.name, run.weights, (0.0, 0.0, 0.0), design.seed * 100_000 + FIRST_SEED + run.seed,
                    n_samples=run.n_samples, domains=base.scored.domains, mixing=dict(run.mixing))
            for run in runs
        ]  # fmt: skip
        finished = {} if train_missing else ledger.finished()
        if not train_missing and (lacking := sum(spec.run_id not in finished for spec in specs)):
            raise InputError(
                f"Expected recorded proxies of the methods in {ledger.path.name}, found {lacking} of {len(specs)} "
                "missing; set train_missing to train them, or name methods that need none."
            )
        return run_sweep(specs, ledger, train, progress=progress, **options)

    return trained


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
        Of :func:`causalmix.effects.fit_effects`.
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


def fixed(path: Path, question: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A table of mixtures that was fixed for a question, or a new one.

    Runs are identified by their mixtures to the last digit, and estimates differ in theirs between
    machines; so the mixtures that were trained are read where the question is still the same.

    Parameters
    ----------
    path : Path
        Where the table is kept.
    question : str
        Whatever determines the table; its digest is kept in the column ``question``.
    make : callable
        Works the table out.
    """
    digest = hashlib.sha256(question.encode()).hexdigest()[:12]
    if not (path.exists() and set(read_table(path).get("question", [])) == {digest}):
        write_table(path, make().assign(question=digest))
    return read_table(path).drop(columns="question")
