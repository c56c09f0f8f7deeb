"""What the learning curve and the ablations try besides the methods: parts of the history, parts of the method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from causalmix.effects.held_out import split_rows
from causalmix.methods import causal
from causalmix.methods.ask import METHODS, OURS, rounded
from causalmix.methods.baselines import dmo
from causalmix.methods.question import Question

RUN_COUNTS = (32, 64, 128, 256, 512)  # of the learning curve
LEARNERS = (*OURS, "RegMix", "RegMix-ridge")
WITHOUT_ORTHOGONALISATION = "CausalMix-A without orthogonalisation"


def learning_mixtures(question: Question, counts: Sequence[int] = RUN_COUNTS) -> pd.DataFrame:
    """Four methods' mixtures from random parts of the history (larger counts are skipped): ``method, n_runs, w_…``."""
    rows, n = [], len(question.history)
    for count in (c for c in counts if c <= n):
        chosen = np.arange(n) if count == n else split_rows(n, n - count, question.seed)[0]
        asked = replace(question, history=question.history.take(chosen))
        for method in LEARNERS:
            rows.append({"method": method, "n_runs": count} | _shares(asked, METHODS[method](asked).weights))
    return pd.DataFrame(rows)


def variant_mixtures(question: Question, losses: np.ndarray) -> pd.DataFrame:
    """CausalMix-A from plain means, and DMO's law fitted to the history's runs: ``method, w_<domain>…``.

    Validation losses of these runs, nats, have shape (n, K).
    """
    plain, law = causal.without_orthogonalisation(question), dmo.table_fit(question, losses)
    found = {WITHOUT_ORTHOGONALISATION: plain, dmo.TABLE_FIT: law}
    return pd.DataFrame([{"method": m} | _shares(question, answer.weights) for m, answer in found.items()])


def _shares(question: Question, weights: np.ndarray) -> dict[str, float]:
    return {f"w_{d}": w for d, w in zip(question.domains, rounded(weights))}
