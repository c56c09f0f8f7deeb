"""A mixture for a new pool of rows, from a sweep that is there: ``causalmix recommend``.

The returns come from the history, the state from the new pool, measured before any mixing.  That comparison
holds only where the pool is scored by the models that scored the history's pools, so the answer names them.
Whatever can be checked is checked before a row is scored, and nothing that exists is written over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from datasets import Dataset

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.data.scores import SCORES
from causalmix.data.states import ScoredPool, candidate_covariates
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import Effects
from causalmix.methods import causal
from causalmix.methods.ask import CAUTIOUS, METHODS, OURS
from causalmix.methods.delivery import write
from causalmix.methods.new_pools import find_source
from causalmix.methods.policy import mixtures_table
from causalmix.methods.question import Question
from causalmix.methods.refusals import checked
from causalmix.methods.request import Recommendation, Request
from causalmix.methods.target import Target, scale_of


def recommend(request: Request, tell: Callable[[str], None] = lambda _: None, **settings) -> Recommendation:
    """Score a pool, measure its state, and find the mixtures for it; writes the training set where ``out`` is given.

    Parameters
    ----------
    tell : callable
        Is told what takes time, a sentence each.
    **settings
        Further arguments of :func:`causalmix.effects.estimator.fit_effects`.

    Raises
    ------
    InputError
        When something does not fit: the request, the history, the pool's domains or size, the models, the folder.
    """
    asked = checked(request)
    history, given, outcome = asked.history, asked.measured, asked.objective.column
    source = find_source(request)
    tell(f"Loading {source.name}.")
    pool = source.load(() if given is not None else history.measured)
    check_domains(pool, history)
    target, way = _target(request, history, source.name, pool), _way(given, history, pool)
    if way == "scored":
        source.require()
    tell(f"Estimating returns from {len(history)} runs.")
    paper = fit_effects(history, outcome, n_trees=request.trees, seed=request.seed, **settings)
    if way == "scored":
        tell(f"Scoring {len(pool)} rows, unless the cache has them.")
        pool = source.scored(pool)
        target = _target(request, history, source.name, pool)  # a study's pool is a little smaller now
    names = history.measured if way in ("columns", "scored") else ()
    scored = ScoredPool.from_table(_columns(pool, names), history.domains, names)
    measured = list(candidate_covariates(scored, np.arange(len(pool))).values()) if given is None else given
    target = replace(target, x=history.state(np.array(measured), target.n_samples, request.model_size))
    question = Question(history, target.n_samples, target.rows, outcome, request.seed, x=target.x, fitted=paper,
                        repeats_allowed=request.repeats_allowed, max_repeats=request.max_repeats,
                        caution=asked.caution)  # fmt: skip
    judge = question.posterior()
    table = mixtures(question, judge, target)
    scored_by = source.identities if way == "scored" else {}
    found = Recommendation(request, asked, judge, paper, target, pool, scored, scored_by, table)
    if request.out is not None:
        for file, why in write(found, request.out)["left_out"].items():
            tell(f"No {file}: {why}.")
        tell(f"Wrote {request.out}; report.html in it is a page to read.")
    return found


def check_domains(pool: Dataset, history: History) -> None:
    """Raise InputError, with all that is missing and all that is too much, unless the domains are the history's."""
    found = set(pool.unique("domain"))
    missing, extra = [d for d in history.domains if d not in found], sorted(map(str, found - set(history.domains)))
    told = [f"no rows of {', '.join(missing)}"] * bool(missing) + [f"rows of {', '.join(extra)} as well"] * bool(extra)
    if told:
        raise InputError(
            f"Expected a pool of the history's domains {', '.join(history.domains)}, found {' and '.join(told)}; "
            "map each source to one of these, or leave its rows out."
        )


def _way(given: np.ndarray | None, history: History, pool: Dataset) -> str:
    """Where the state comes from: unused, given, columns of the pool, or scored."""
    if not history.measured:
        return "unused"
    if given is not None:
        return "given"
    if set(history.measured) <= set(pool.column_names):
        return "columns"
    if other := [name for name in history.measured if name not in SCORES]:
        raise InputError(
            f"Expected covariates among {', '.join(SCORES)} or the pool's columns, found {', '.join(other)} in the "
            "history; give the pool's values of x_<covariate> as a state file."
        )
    return "scored"


def _target(request: Request, history: History, name: str, pool: Dataset) -> Target:
    """The pool's rows by domain, enough of them for the request; its state is not known yet."""
    n_samples = history.usual_rows if request.n_samples is None else request.n_samples
    rows = pd.Series(pool["domain"][:]).value_counts().reindex(list(history.domains), fill_value=0).to_numpy()
    if not request.repeats_allowed and rows.sum() * (1 + request.max_repeats) < n_samples:
        again = f" with at most {request.max_repeats:g} repeats of each" if request.max_repeats else ""
        raise InputError(
            f"Expected at least {n_samples} rows in the pool for as many in the training set, found "
            f"{rows.sum()}{again}; lower --n-samples, or give --repeats-allowed or a larger --max-repeats."
        )
    return Target(name, np.empty(0), n_samples, rows, "")


def _columns(pool: Dataset, names: tuple[str, ...]) -> pd.DataFrame:
    table = pool.select_columns(["domain", *names]).to_pandas()
    table[list(names)] = table[list(names)].apply(pd.to_numeric, errors="coerce")
    return table


def mixtures(question: Question, judge: Effects, target: Target) -> pd.DataFrame:
    """The table of a :class:`Recommendation`: Equal, the pool's own proportions, and what three policies make of it.

    Cautious and all gains come from ``judge``, CausalMix-A and CausalMix-S from the question's own returns.
    """
    domains, x = question.history.domains, target.x
    asked = dict.fromkeys(("Equal", "Proportional", CAUTIOUS, *OURS), question)
    asked[CAUTIOUS] = replace(question, fitted=judge)
    answers = {name: METHODS[name](one) for name, one in asked.items()}
    table = mixtures_table(judge, x, target.pool, answers, question.even, target.n_samples)
    W = table[[f"w_{d}" for d in domains]].to_numpy()
    more: dict[str, object] = {}
    for name, mixture in (("pool", answers["Proportional"].weights), ("reference", causal.allowed(question).reference)):
        columns = (f"gain_over_{name}{end}" for end in ("", "_ci_low", "_ci_high"))
        more |= dict(zip(columns, judge.gain(x, mixture, W)))
    rows, model, inside = scale_of(x, question.history)
    more |= {"gain_rows": rows, "gain_model": model or "not told", "extrapolated": not inside}
    again = np.maximum(table[[f"n_{d}" for d in domains]].to_numpy() - np.asarray(target.rows), 0)
    more |= {f"repeats_{d}": again[:, k] for k, d in enumerate(domains)}
    for row in target.table(question.history).head(len(x)).itertuples():
        more |= {row.quantity: row.target, f"share_of_runs_below_{row.quantity}": row.share_of_runs_below}
    return pd.concat([table, pd.DataFrame(more, index=table.index)], axis=1)
