"""Tasks: what a trained model is asked, and how an answer is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from causalmix.core.errors import InputError

SPLITS = ("dev", "unseen")


@dataclass(frozen=True)
class Task:
    """Prompts of one capability axis with a way to tell right answers from wrong ones.

    Attributes
    ----------
    name : str
        Unique among the tasks of a study.
    axis : str
    split : {"dev", "unseen"}
        ``dev`` tasks may guide a mixture; ``unseen`` tasks only judge it.
    prompts : tuple of str
        User turns, without any chat template.
    golds : tuple of str or None
        The one right answer of each prompt.
    check : callable or None
        ``check(i, answer) -> bool`` where many answers are right; exactly one of ``golds`` and ``check`` is given.
    """

    name: str
    axis: str
    split: str
    prompts: tuple[str, ...]
    golds: tuple[str, ...] | None = None
    check: Callable[[int, str], bool] | None = None

    def __post_init__(self) -> None:
        golds = len(self.prompts) if self.golds is None else len(self.golds)
        for wrong, expected in (
            (self.split not in SPLITS, f"split dev or unseen, found {self.split!r}; choose one of the two"),
            (not self.prompts, "at least one prompt, found none; give it prompts or leave it out"),
            ((self.golds is None) == (self.check is None),
             "either golds or check, found both or neither; give exactly one"),
            (golds != len(self.prompts), f"{len(self.prompts)} golds, found {golds}; give one per prompt"),
        ):  # fmt: skip
            if wrong:
                raise InputError(f"Task {self.name}: expected {expected}.")
