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
        Capability axis the task belongs to.
    split : {"dev", "unseen"}
        ``dev`` tasks may guide a mixture; ``unseen`` tasks only judge it.
    prompts : tuple of str
        User turns, without any chat template.
    golds : tuple of str or None
        The one right answer of each prompt.
    check : callable or None
        ``check(i, answer) -> bool`` where many answers are right; exactly one of ``golds`` and
        ``check`` is given.

    Raises
    ------
    InputError
        If the split is unknown, there is no prompt, or golds and check do not fit together.
    """

    name: str
    axis: str
    split: str
    prompts: tuple[str, ...]
    golds: tuple[str, ...] | None = None
    check: Callable[[int, str], bool] | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InputError(
                f"Task {self.name}: expected split dev or unseen, found {self.split!r}; choose one of the two."
            )
        if not self.prompts:
            raise InputError(
                f"Task {self.name}: expected at least one prompt, found none; give it prompts or leave it out."
            )
        if (self.golds is None) == (self.check is None):
            raise InputError(
                f"Task {self.name}: expected either golds or check, found both or neither; give exactly one."
            )
        if self.golds is not None and len(self.golds) != len(self.prompts):
            raise InputError(
                f"Task {self.name}: expected {len(self.prompts)} golds, found {len(self.golds)}; give one per prompt."
            )
