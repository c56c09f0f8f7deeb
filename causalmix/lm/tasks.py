"""Tasks: what a trained model is asked, and how an answer is judged."""

from collections.abc import Callable
from dataclasses import dataclass

from causalmix.core.errors import InputError

SPLITS = ("dev", "unseen")


@dataclass(frozen=True)
class Task:
    """Prompts of one capability axis with a way to tell right answers from wrong ones."""

    name: str  # unique among the tasks of a study
    axis: str
    split: str  # dev tasks may guide a mixture; unseen tasks only judge it
    prompts: tuple[str, ...]  # user turns, without any chat template
    golds: tuple[str, ...] | None = None  # the one right answer of each prompt
    check: Callable[[int, str], bool] | None = None  # ``check(i, answer)`` where many are right; instead of golds

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
