"""Equal and Proportional, which need no run, and Grid, the best run: its score flatters (the winner's curse)."""

import numpy as np

from causalmix.core.history import MIN_ROWS
from causalmix.methods.question import Answer, Question

SHOWN = 10


def equal(question: Question) -> Answer:
    """The uniform mixture."""
    return Answer(question.even, 0)


def proportional(question: Question) -> Answer:
    """The share that each domain has of the pool's rows."""
    return Answer(question.proportions, 0)


def grid(question: Question) -> Answer:
    """The mixture of the run with the best outcome; detail ``runs``: the best ten."""
    y, history = question.outcomes("Grid", MIN_ROWS), question.history
    order = np.argsort(-y, kind="stable")
    columns = ["run_id", *(f"w_{d}" for d in history.domains), question.outcome]
    best = history.frame.iloc[order[:SHOWN]][columns].reset_index(drop=True)
    weights = question.of_pool(history.T[order[0]])
    return Answer(weights, len(y), "best recorded run, nothing interpolated", {"runs": best})
