"""Tasks: what a trained model is asked, and how an answer is judged."""

from collections.abc import Callable
from dataclasses import dataclass

SPLITS = ("dev", "unseen")


@dataclass(frozen=True)
class Task:
    """Prompts of one capability axis with a way to tell right answers from wrong ones: golds, or else a check."""

    name: str  # unique among the tasks of a study
    axis: str
    split: str  # dev tasks may guide a mixture; unseen tasks only judge it
    prompts: tuple[str, ...]  # user turns, without any chat template
    golds: tuple[str, ...] | None = None  # the one right answer of each prompt
    check: Callable[[int, str], bool] | None = None  # ``check(i, answer)`` where many are right; instead of golds
