"""What a study needs of the machine and the network, checked in seconds before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence

from causalmix.errors import InputError
from causalmix.parameters import Study

#: The first chapter that trains a role's model.
FIRST_CHAPTER = {"proxy": "01_featurize", "target": "06_target", "longcot": "07_longcot"}


def check(study: Study, chapters: Sequence[str] = (), gpus_elsewhere: bool = False) -> None:
    """Raise InputError with what is missing first, unless the study can run here.

    Parameters
    ----------
    study : Study
    chapters : sequence of str
        Notebooks that are about to run; all by default.
    gpus_elsewhere : bool
        Whether runs are trained by workers on other machines, so that this one needs no GPU.
    """
    real = [name for name in ("pool", "longcot_pool", "models") if study.parameters.get(name)]
    wanted = int((study.hardware or {}).get("gpus", 0))
    if not real and not wanted:
        return
    if wanted and not gpus_elsewhere:
        _check_gpus(study.name, wanted)
    last = max(chapters, default="99")
    roles = {role for role, first in FIRST_CHAPTER.items() if first <= last}
    _check_models(study, roles)
    for name, role in (("pool", "proxy"), ("longcot_pool", "longcot")):
        if study.parameters.get(name) and role in roles:
            _check_pool(study.parameters[name])


def _check_gpus(study: str, wanted: int) -> None:
    import torch

    if (found := torch.cuda.device_count()) < wanted:
        raise InputError(
            f"Expected {wanted} GPU{'s' if wanted > 1 else ''} for the study {study}, found {found}; "
            "run it where they are, or the study laptop, which needs none."
        )


def _check_models(study: Study, roles: set[str]) -> None:
    from causalmix import models, world
    from causalmix.design import Design

    design = Design.from_parameters(study.parameters)
    for role in sorted(roles & set(design.models)):
        name = design.model_of(role)
        if name == "smollm2":
            models.smollm2_path()
        elif name.partition("@")[0] not in world.SHAPES:
            models.require_model(name)


def _check_pool(given: dict) -> None:
    from causalmix import models
    from causalmix.kinds import Recipe
    from causalmix.pools import hub

    recipe = Recipe.of(given)
    for name in recipe.models():
        models.require_model(name)
    for path in filter(None, (recipe.options.get("path"), recipe.scores.get("path"))):
        hub.require(path)
    recipe.benchmarks()
