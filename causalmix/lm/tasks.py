"""Tasks: what a trained model is asked, how an answer is judged, and the outcomes Y that are made of accuracies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from causalmix.core.errors import InputError
from causalmix.core.sweep_files import one_word

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


def axis_scores(scores: Mapping[str, float], tasks: Sequence[Task]) -> dict[str, float]:
    """Outcomes Y, plain means of accuracies by task: ``y_dev``, ``y_unseen``, ``y_<axis>``, ``y_<axis>_unseen``."""
    if missing := [task.name for task in tasks if task.name not in scores]:
        raise InputError(f"Expected a score for every task, found none for {missing}; score these tasks too.")
    overall, by_axis = {}, {}
    for split, suffix in zip(SPLITS, ("", "_unseen")):
        axes: dict[str, list[float]] = {}
        for task in tasks:
            if task.split == split:
                axes.setdefault(task.axis, []).append(scores[task.name])
        means = {axis: float(np.mean(accuracies)) for axis, accuracies in axes.items()}
        overall |= {f"y_{split}": float(np.mean(list(means.values())))} if means else {}
        by_axis |= {f"y_{axis}{suffix}": y for axis, y in means.items()}
    return overall | by_axis


def with_losses(found: dict[str, float], held_out: Mapping[str, Mapping[str, float] | None]) -> dict[str, float]:
    """Outcomes of tasks, and of losses by split and domain.

    The mean loss is ``y_loss`` or, where models are asked nothing else, ``y_dev``; the Unseen rows' end in ``_unseen``.
    Names are parted by spaces, so there are none in a domain's here.
    """
    overall, by_domain = {}, {}
    for split, end in zip(SPLITS, ("", "_unseen")):
        if losses := held_out.get(split):
            overall[f"y_loss{end}" if found else f"y_{split}"] = float(np.mean(list(losses.values())))
            by_domain |= {f"y_loss_{one_word(domain)}{end}": loss for domain, loss in losses.items()}
    return found | overall | by_domain
