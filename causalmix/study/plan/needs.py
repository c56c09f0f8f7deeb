"""What a study needs of the machine and the network, checked in seconds before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from causalmix.core.errors import InputError
from causalmix.core.study_file import Study

if TYPE_CHECKING:
    from causalmix.data.recipes import Recipe


#: Roles whose models a chapter trains; chapters that are not here only read tables.
ROLES = {
    "featurize": (),
    "proxy_sft": ("proxy",),
    "outcomes": (),
    "target": ("proxy", "target"),
    "longcot": ("longcot",),
}

SWEEP = ("featurize", "proxy_sft")  # what `causalmix sweep` does
TRIALS = ("target", "longcot")  # what `causalmix sweep --trials` does


def check(study: Study, chapters: Sequence[str] = tuple(ROLES), gpus_elsewhere: bool = False) -> None:
    """Raise InputError with what is missing first, unless the study can run here.

    Parameters
    ----------
    study : Study
    chapters : sequence of str
        Subjects that are about to run.
    gpus_elsewhere : bool
        Whether runs are trained by workers on other machines, so that this one needs no GPU.
    """
    working = [chapter for chapter in chapters if chapter in ROLES]
    roles = {role for chapter in working for role in ROLES[chapter]}
    if set(working) - {"outcomes"} and study.hardware.get("gpus") and not gpus_elsewhere:
        _check_gpus(study, roles)
    _check_models(study, roles)
    if gpus_elsewhere and study.hardware.get("gpus"):
        _check_scored(study)
    if working:
        _check_pool(study, "pool", roles - {"longcot"})
    if "longcot" in working:
        _check_axes(study)
        _check_pool(study, "longcot_pool", {"longcot"})


def trials(study: Study) -> tuple[str, ...]:
    """Chapters whose trials can be trained: without the axes of chapter 07's outcome it is left out."""
    return TRIALS if not _missing_axes(study) else TRIALS[:1]


def _missing_axes(study: Study) -> list[str]:
    if not (given := study.parameters.get("pool")):
        return []
    from causalmix.data.recipes import Recipe
    from causalmix.study.longcot import AXES

    there = {b.axis for b in Recipe.of(given).benchmarks() if b.split == "dev"}
    return [axis for axis in AXES if axis not in there]


def _check_axes(study: Study) -> None:
    """Chapter 07 takes the mean of two axes as the outcome of the records that there are."""
    if missing := _missing_axes(study):
        raise InputError(
            f"Expected Dev benchmarks of math and coding in the study {study.name} for the subject longcot, found "
            f"none of {', '.join(missing)}; set allow_code in pool.evaluation, in a sandbox, "
            "or run the other chapters alone."
        )


def _check_gpus(study: Study, roles: set[str]) -> None:
    """As many GPUs here as one run of these roles trains on; more of them only make a sweep quicker."""
    import torch

    from causalmix.train.design import Design

    design = Design.of_study(study)
    wanted = max([1, *(int(design.launch_of(role).get("processes", 1)) for role in roles)])
    if (found := torch.cuda.device_count()) < wanted:
        raise InputError(
            f"Expected {wanted} GPU{'s' if wanted > 1 else ''} for the study {study.name}, found {found}; "
            "run it where they are or name a cluster that has them (causalmix sweep --cluster), "
            "or run the study laptop, which needs none."
        )


def _check_scored(study: Study) -> None:
    """A sweep elsewhere must not begin with hours of scoring on a machine without a GPU."""
    import torch

    from causalmix.train.design import Design, is_scored

    design = Design.of_study(study)
    if not torch.cuda.is_available() and design.pool and not is_scored(design):
        raise InputError(
            f"Expected the scored pool of the study {study.name} in the cache, found none and no GPU to score it; "
            f"run causalmix run --study {study.name} featurize on a machine with one and the same cache."
        )


def _check_models(study: Study, roles: set[str]) -> None:
    if not roles:
        return
    from causalmix.data.named_models import is_own, require_model
    from causalmix.train.design import Design

    design = Design.of_study(study)
    for role in sorted(roles):
        design.settings_of(role)  # refuses what cannot be
        if design.launch_of(role) and is_own(design.model_of(role)):
            raise InputError(
                f"Expected a model with a name or a folder for the {role}, which is launched, found one of the "
                "embedded world; name another model, or leave launch out."
            )
        require_model(design.model_of(role))


def _check_pool(study: Study, pool: str, roles: set[str]) -> None:
    """Whether a real pool, the models that score it and, where roles are trained on it, its benchmarks can be had."""
    if not (given := study.parameters.get(pool)):
        return
    from causalmix.data.named_models import require_model
    from causalmix.data.recipes import Recipe
    from causalmix.lm.available import available

    recipe = Recipe.of(given)
    recipe.benchmarks()  # refuses those that cannot be
    for name in recipe.models():
        require_model(name)
    for path in filter(None, (recipe.options.get("path"), recipe.scores.get("path"))):
        available(path, "dataset")
    if roles:
        recipe.check_evaluation()
        _check_contexts(study, recipe, roles)


def _check_contexts(study: Study, recipe: Recipe, roles: set[str]) -> None:
    """Whether the answers that the harness asks for fit the contexts of the models, by their configurations."""
    from causalmix.lm import harness
    from causalmix.study.plan.memory import config_of
    from causalmix.train.design import Design

    evaluator, settings = recipe.evaluator
    if evaluator is harness:
        design = Design.of_study(study)
        for role in sorted(roles):
            harness.check_context(
                config_of(design.model_of(role)), settings.get("max_new_tokens", harness.MAX_NEW_TOKENS)
            )
