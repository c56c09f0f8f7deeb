"""Every method's mixture for pools whose state or whose domains are not those of the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from causalmix.core.history import MIN_ROWS
from causalmix.effects.estimator import fit_effects
from causalmix.methods.ask import OURS, WITHOUT_X, rounded
from causalmix.methods.baselines import regmix, ridge
from causalmix.methods.policy import Proposal, causalmix_a, causalmix_s, mixtures_table
from causalmix.methods.question import Question


def restricted(weights: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """A mixture of some of the domains alone: their shares, divided by their sum."""
    part = np.asarray(weights, float)[list(kept)]
    return part / part.sum() if part.sum() > 0 else np.full(len(kept), 1 / len(kept))


def transfer_mixtures(
    table: pd.DataFrame,
    question: Question,
    x: np.ndarray,
    pool: str,
    domains: Sequence[str],
    rows: Sequence[int],
    **settings,
) -> pd.DataFrame:
    """Mixtures for a pool that holds only some of the history's domains, with another outcome.

    Methods that learn from records learn again from ``question.outcome`` and search among
    mixtures of the kept domains, Proportional asks the pool itself, and the others keep their
    mixture's shares of them.

    Parameters
    ----------
    table : DataFrame
        Mixtures over all domains, from :func:`causalmix.methods.ask.ask`.
    question : Question
        With the outcome that the pool is for.
    x : ndarray, shape (d,)
        Covariates of the pool.
    pool : str
    domains : sequence of str
        The domains that the pool has.
    rows : sequence of int
        Its rows of each.
    **settings
        Of :func:`causalmix.effects.estimator.fit_effects`.

    Returns
    -------
    DataFrame
        As the contract's ``mixtures.csv``; domains that the pool lacks have share 0.
    """
    history, names = question.history, list(question.history.domains)
    kept = [names.index(d) for d in domains]
    whole = lambda part: np.eye(len(names))[kept].T @ np.asarray(part)  # noqa: E731
    effects = fit_effects(history, question.outcome, seed=question.seed, **settings)
    theta = effects.theta(np.atleast_2d(x))[0]
    bare = fit_effects(replace(history, covariates=()), question.outcome, seed=question.seed, **settings)
    part = {
        name: restricted(row[[f"w_{d}" for d in names]], kept)
        for name, row in table.set_index("method").iterrows()
        if name not in (*OURS, WITHOUT_X)
    }
    part["Equal"] = np.full(len(kept), 1 / len(kept))
    part["Proportional"] = np.asarray(rows, float) / np.sum(rows)
    best = history.T[int(np.argmax(question.outcomes("Grid", MIN_ROWS)))]
    part["Grid"] = restricted(best, kept)
    for name, method in {"RegMix": regmix, "RegMix-ridge": ridge}.items():
        predict = method.fit(history.T, history.y(question.outcome), question.seed)
        part[name] = regmix.search(_on_face(predict, kept, len(names)), len(kept), question.seed)
    part |= {name: p.weights for name, p in _policies(theta[kept], effects.eps, question.seed).items()}
    part[WITHOUT_X] = _policies(bare.theta(np.empty((1, 0)))[0][kept], effects.eps, question.seed)[
        "CausalMix-A"
    ].weights
    runs = dict(zip(table["method"], table["proxy_runs_used"]))
    proposals = {name: Proposal(whole(rounded(weights))) for name, weights in part.items() if name in runs}
    found = mixtures_table(effects, x, pool, proposals, whole(np.full(len(kept), 1 / len(kept))), question.n_samples)
    return found.assign(proxy_runs_used=[runs[m] for m in found["method"]])


def _policies(theta: np.ndarray, eps: float, seed: int) -> dict[str, Proposal]:
    return {"CausalMix-A": causalmix_a(theta), "CausalMix-S": causalmix_s(theta, eps=eps, seed=seed)}


def _on_face(
    predict: Callable[[np.ndarray], np.ndarray], kept: Sequence[int], k: int
) -> Callable[[np.ndarray], np.ndarray]:
    """A predictor of whole mixtures as one of mixtures of some domains, the others at zero."""

    def predicted(part: np.ndarray) -> np.ndarray:
        full = np.zeros((len(part), k))
        full[:, list(kept)] = part
        return predict(full)

    return predicted
