"""Equal: every domain gets the same share.

No method is reported to beat it consistently, so it is run with the same seeds as the others.
"""

from __future__ import annotations

from causalmix.methods.question import Answer, Question


def mixture(question: Question) -> Answer:
    """The uniform mixture; it needs no run."""
    return Answer(question.even, 0)
