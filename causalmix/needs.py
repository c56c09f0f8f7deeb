"""What a study needs of the machine and the network, checked in seconds before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence

from causalmix.errors import InputError
from causalmix.parameters import Study

#: Roles whose models a chapter trains; chapters that are not here only read tables.
ROLES = {
    "01_featurize": (),
    "02_proxy_sft": ("proxy",),
    "03_outcomes": (),
    "06_target": ("proxy", "target"),
    "07_longcot": ("longcot",),
}
SWEEP = ("01_featurize", "02_proxy_sft")  # what `causalmix sweep` does
TRIALS = ("06_target", "07_longcot")  # what `causalmix sweep --trials` does


def check(study: Study, chapters: Sequence[str] = tuple(ROLES), gpus_elsewhere: bool = False) -> None:
    """Raise InputError with what is missing first, unless the study can run here.

    Parameters
    ----------
    study : Study
    chapters : sequence of str
        Notebooks that are about to run.
    gpus_elsewhere : bool
        Whether runs are trained by workers on other machines, so that this one needs no GPU.
    """
    working = [chapter for chapter in chapters if chapter in ROLES]
    roles = {role for chapter in working for role in ROLES[chapter]}
    if working and not gpus_elsewhere:
        _check_gpus(study)
    _check_models(study, roles)
    if working:
        _check_pool(study.parameters.get("pool"), trained="proxy" in roles)
    if "07_longcot" in working:
        _check_pool(study.parameters.get("longcot_pool"), trained=True)


def _check_gpus(study: Study) -> None:
    wanted = int(study.hardware.get("gpus", 0))
    if not wanted:
        return
    import torch

    if (found := torch.cuda.device_count()) < wanted:
        raise InputError(
            f"Expected {wanted} GPU{'s' if wanted > 1 else ''} for the study {study.name}, found {found}; "
            "run it where they are, or the study laptop, which needs none."
        )


def _check_models(study: Study, roles: set[str]) -> None:
    if not roles or not study.parameters.get("models"):
        return
    from causalmix import models, world
    from causalmix.design import Design

    design = Design.from_parameters(study.parameters)
    for role in sorted(roles):
        name = design.model_of(role)
        if name == "smollm2":
            models.smollm2_path()
        elif name.partition("@")[0] not in world.SHAPES:
            models.require_model(name)


def _check_pool(given: dict | None, trained: bool) -> None:
    """Whether a real pool, the models that score it and, where models are trained on it, its benchmarks can be had."""
    if not given:
        return
    from causalmix import models
    from causalmix.kinds import Recipe
    from causalmix.pools import hub

    recipe = Recipe.of(given)
    for name in recipe.models():
        models.require_model(name)
    for path in filter(None, (recipe.options.get("path"), recipe.scores.get("path"))):
        hub.require(path)
    if trained:
        recipe.check_evaluation()
