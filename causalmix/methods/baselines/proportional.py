"""Proportional: every domain gets the share that it has of the pool's rows."""

from __future__ import annotations

import numpy as np

from causalmix.core.errors import InputError
from causalmix.methods.question import Answer, Question


def mixture(question: Question) -> Answer:
    """The pool's own mixture; it needs no run, but the pool's rows."""
    if question.rows is None:
        raise InputError("Expected the rows that each domain has, found none; give `rows`, or leave Proportional out.")
    rows = np.asarray(question.rows, float)
    return Answer(rows / rows.sum(), 0)
