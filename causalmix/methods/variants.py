"""What is tried besides the methods: mixtures from parts of the history, and from parts of the method."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from causalmix.effects.held_out import split_rows
from causalmix.effects.optimal_design import Belief, Features, choose
from causalmix.methods import causal
from causalmix.methods.ask import CAUTIOUS, METHODS, OURS, rounded
from causalmix.methods.baselines import dmo
from causalmix.methods.question import Question

RUN_COUNTS = (32, 64, 128, 256, 512)  # of the learning curve
LEARNERS = (*OURS, CAUTIOUS, "RegMix", "RegMix-ridge")
DESIGNED = ", designed runs"  # is added to a learner's name
REFITTED, REFITS = (*OURS, CAUTIOUS, "RegMix"), 5  # methods whose spread over histories is told, and halves of each
WITHOUT_ORTHOGONALISATION = "CausalMix-A without orthogonalisation"


def learning_mixtures(question: Question, counts: Sequence[int] = RUN_COUNTS) -> pd.DataFrame:
    """Mixtures from random and from D-optimally chosen parts of the history: ``method, n_runs, w_…``."""
    rows, n = [], len(question.history)
    F = Features.of(question.history.T, question.history.X)(question.history.T, question.history.X)
    best = choose(F, max((c for c in counts if c < n), default=0), Belief.prior(F.shape[1]), group=np.arange(n))
    for count in (c for c in counts if c <= n):
        if count == n:
            found = _mixtures(question, np.arange(n), LEARNERS)
            both = found, found
        else:
            at_random = split_rows(n, n - count, question.seed)[0]
            both = (_mixtures(question, chosen, LEARNERS) for chosen in (at_random, best[:count]))
        for told, found in zip(("", DESIGNED), both):
            rows += [{"method": method + told, "n_runs": count} | shares for method, shares in found.items()]
    return pd.DataFrame(rows)


def refitted_mixtures(question: Question, refits: int = REFITS) -> pd.DataFrame:
    """Mixtures from random halves of the history, each with a seed of its own: ``method, refit, w_…``.

    They scatter as those of other histories of this size would (Politis, Romano and Wolf 1999, Subsampling).
    """
    history, rows = question.history, []
    for refit in range(1, refits + 1):
        again = replace(question, seed=question.seed + refit)
        half = split_rows(len(history), len(history) // 2, again.seed, history.clusters)[0]
        found = _mixtures(again, half, REFITTED)
        rows += [{"method": method, "refit": refit} | shares for method, shares in found.items()]
    return pd.DataFrame(rows)


def _mixtures(question: Question, chosen: np.ndarray, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """What some runs of the history alone tell some methods: their shares."""
    asked = replace(question, history=question.history.take(chosen))
    return {method: _shares(asked, METHODS[method](asked).weights) for method in methods}


def variant_mixtures(question: Question, losses: np.ndarray) -> pd.DataFrame:
    """CausalMix-A from plain means, and DMO's law of these runs' validation losses, nats, (n, K): ``method, w_…``."""
    plain, law = causal.without_orthogonalisation(question), dmo.table_fit(question, losses)
    found = {WITHOUT_ORTHOGONALISATION: plain, dmo.TABLE_FIT: law}
    return pd.DataFrame([{"method": m} | _shares(question, answer.weights) for m, answer in found.items()])


def _shares(question: Question, weights: np.ndarray) -> dict[str, float]:
    return {f"w_{d}": w for d, w in zip(question.domains, rounded(weights))}
