"""Variants of CausalMix that the ablations and the learning curve try: each leaves one part of the method out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from causalmix.effects.estimator import fit_effects
from causalmix.effects.held_out import split_rows
from causalmix.methods.ask import rounded, state_dependent
from causalmix.methods.baselines import dmo, regmix, ridge
from causalmix.methods.policy import causalmix_a, domain_caps
from causalmix.methods.question import Question

RUN_COUNTS = (32, 64, 128, 256, 512)  # of the learning curve
WITHOUT_ORTHOGONALISATION = "CausalMix-A without orthogonalisation"


def learning_mixtures(
    question: Question, x: np.ndarray, counts: Sequence[int] = RUN_COUNTS, **settings
) -> pd.DataFrame:
    """Mixtures of four methods from random parts of the history.

    Returns
    -------
    DataFrame
        ``method, n_runs, w_<domain>…``; counts that the history does not reach are left out.
    """
    rows, n = [], len(question.history)
    for count in (c for c in counts if c <= n):
        part = question.history if count == n else question.history.take(split_rows(n, n - count, question.seed)[0])
        asked, effects = (
            replace(question, history=part),
            fit_effects(part, question.outcome, seed=question.seed, **settings),
        )
        found = {name: p.weights for name, p in state_dependent(effects, x, None, question.seed).items()}
        found |= {"RegMix": regmix.mixture(asked).weights, "RegMix-ridge": ridge.mixture(asked).weights}
        for method, weights in found.items():
            rows.append(
                {"method": method, "n_runs": count} | {f"w_{d}": w for d, w in zip(part.domains, rounded(weights))}
            )
    return pd.DataFrame(rows)


def variant_mixtures(question: Question, x: np.ndarray, losses: np.ndarray, **settings) -> pd.DataFrame:
    """Mixtures that no method of the comparison gives: CausalMix-A from plain means, and DMO's law fitted to runs.

    Parameters
    ----------
    question : Question
    x : ndarray, shape (d,)
        Covariates of the pool.
    losses : ndarray, shape (n, K)
        Validation losses of the history's runs, nats.
    **settings
        Of :func:`causalmix.effects.estimator.fit_effects`.

    Returns
    -------
    DataFrame
        ``method, w_<domain>…``.
    """
    caps = None if question.rows is None else domain_caps(question.rows, question.n_samples)
    effects = fit_effects(question.history, question.outcome, seed=question.seed, orthogonalise=False, **settings)
    found = {
        WITHOUT_ORTHOGONALISATION: causalmix_a(effects.theta(np.atleast_2d(x))[0], caps=caps).weights,
        dmo.TABLE_FIT: dmo.table_fit(question, losses).weights,
    }
    rows = [
        {"method": m} | {f"w_{d}": w for d, w in zip(question.history.domains, rounded(weights))}
        for m, weights in found.items()
    ]
    return pd.DataFrame(rows)
