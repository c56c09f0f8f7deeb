"""What a study needs of the machine and the network, checked in seconds before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CDLL
from typing import TYPE_CHECKING

from causalmix.core.errors import InputError
from causalmix.core.parameters import check_name
from causalmix.core.study_file import Study

if TYPE_CHECKING:  # loading these takes seconds, and most refusals come before
    from causalmix.train.design import Design

#: Roles whose models a subject trains; subjects that are not here only read tables.
ROLES = {
    "featurize": (),
    "proxy_sft": ("proxy",),
    "outcomes": (),
    "target": ("proxy", "target"),
    "longcot": ("longcot",),
}

SWEEP = ("featurize", "proxy_sft")  # what `causalmix sweep` does
TRIALS = ("target", "longcot")  # what `causalmix sweep --trials` does


def check(study: Study, subjects: Sequence[str] = tuple(ROLES), gpus_elsewhere: bool = False) -> None:
    """Raise InputError with what is missing first, unless these subjects can run here, or with GPUs elsewhere."""
    working = [subject for subject in subjects if subject in ROLES]
    if not working:
        return
    if not gpus_elsewhere:
        check_gpus(study, working)
    design, roles = said(study), {role for subject in working for role in ROLES[subject]}
    if "proxy_sft" in working and design.scale_runs and design.has_target:
        roles.add("target")  # whose model some of the runs over sizes have
    _check_models(design, roles)
    if not gpus_elsewhere:
        check_gpus(study, working, max([1, *(int(design.launch_of(role).get("processes", 1)) for role in roles)]))
    if gpus_elsewhere and study.hardware.get("gpus") and design.pool and not _gpus():
        _check_scored(study, design)
    _check_pool(design.pool, design, roles - {"longcot"})
    if "target" in working and design.pool and not _dev_axes(study):
        raise InputError(
            f"Expected Dev benchmarks in pool.evaluation of the study {study.name} for the subject target, which tells "
            "what models can do, found none; name some, or stop at the mixture."
        )
    if "longcot" in working:
        if missing := _missing_axes(study):
            raise InputError(
                f"Expected Dev benchmarks of math and coding in the study {study.name} for the subject longcot, found "
                f"none of {', '.join(missing)}; set allow_code in pool.evaluation, in a sandbox, "
                "or run the other chapters alone."
            )
        _check_pool(design.longcot_pool, design, {"longcot"})


def said(study: Study) -> Design:
    """The design of a study; InputError for what it says and nothing can be, without what takes seconds to load."""
    check_outcomes(study)
    from causalmix.train.design import ROLES as ALL, Design

    design = Design.of_study(study)
    for role in ALL:
        design.settings_of(role)
    return design


def check_outcomes(study: Study, outcome: str = "") -> None:
    """Raise InputError where a mixture is asked for that raises an outcome which no run of the study will have.

    It is the study's own, or ``outcome``, which may be the end of several names.  Losses of single domains pass where
    only the rows tell which domains there are.
    """
    given, asked = study.of("proxy_sft").pool, [study.of(subject) for subject in ("mixture", "target")]
    names = {outcome} if outcome else {part.outcome for part in asked}
    if asked[0].history or not given and names == {"y_dev"}:
        return
    from causalmix.core.sweep_files import meant
    from causalmix.data.recipes import Recipe
    from causalmix.data.tiny.shapes import AXES
    from causalmix.lm.tasks import SPLITS, Task, axis_scores, with_losses

    recipe = Recipe.of(given) if given else None
    tasks = recipe.benchmarks() if recipe else [Task(f"{axis}_{s}", axis, s, ()) for s in SPLITS for axis in AXES]
    losses = dict.fromkeys(recipe.domains or ("DOMAIN",), 0.0) if recipe else {}
    known = with_losses(
        axis_scores(dict.fromkeys((task.name for task in tasks), 0.0), tasks), dict.fromkeys(SPLITS, losses)
    )
    for name in (meant(name, known) for name in names):
        several = outcome and any(one.endswith(name.removeprefix("y")) for one in known)
        if not (several or recipe and not recipe.domains and name.startswith("y_loss_")):
            check_name(name, known, "outcome")


def check_gpus(study: Study, subjects: Sequence[str], processes: int = 1) -> None:
    """As many GPUs here as one run trains on; ``processes`` are those that a launch's configuration names."""
    if not study.hardware.get("gpus") or not set(subjects) & (ROLES.keys() - {"outcomes"}):
        return
    models = study.of("proxy_sft").models
    launches = [getattr(models.get(role), "get", {}.get)("launch") for subject in subjects for role in ROLES[subject]]
    wanted = max([processes, *(int(launch.get("processes") or 1) for launch in launches if launch)])
    if (found := _gpus()) < wanted:
        raise InputError(
            f"Expected {wanted} GPU{'s' if wanted > 1 else ''} for the study {study.name}, found {found}; "
            "run it where they are or name a cluster that has them (causalmix sweep --cluster), "
            "or run the study laptop, which needs none."
        )


def _gpus() -> int:
    """GPUs that torch sees; without a driver none, and torch is not loaded to find that out."""
    try:
        CDLL("libcuda.so.1")
    except OSError:
        return 0
    import torch

    return torch.cuda.device_count()


def trials(study: Study) -> tuple[str, ...]:
    """Subjects whose trials can be trained: long chains need the axes that are their outcome."""
    return TRIALS if not _missing_axes(study) else TRIALS[:1]


def _missing_axes(study: Study) -> list[str]:
    """Axes of the outcome of long chains that the Dev benchmarks of a real pool lack."""
    from causalmix.study.longcot import AXES

    there = _dev_axes(study) if study.parameters.get("pool") else AXES
    return [axis for axis in AXES if axis not in there]


def _dev_axes(study: Study) -> set[str]:
    """Axes of the Dev benchmarks of a real pool."""
    from causalmix.data.recipes import Recipe

    return {b.axis for b in Recipe.of(study.parameters["pool"]).benchmarks() if b.split == "dev"}


def _check_scored(study: Study, design: Design) -> None:
    """A sweep elsewhere must not begin with hours of scoring on a machine without a GPU."""
    from causalmix.data.recipes import Recipe
    from causalmix.data.scored_pools import rows_folder

    if not rows_folder(Recipe.of(design.pool), design.pool_rows, design.pool_seed).exists():
        raise InputError(
            f"Expected the scored pool of the study {study.name} in the cache, found none and no GPU to score it; "
            f"run causalmix run --study {study.name} featurize on a machine with one and the same cache."
        )


def _check_models(design: Design, roles: set[str]) -> None:
    from causalmix.data.named_models import is_own, require_model
    from causalmix.train.sft_settings import check_lora

    for role in sorted(roles):
        check_lora(design.settings_of(role).lora_rank, bool(design.launch_of(role)))
        if design.launch_of(role) and is_own(design.model_of(role)):
            raise InputError(
                f"Expected a model with a name or a folder for the {role}, which is launched, found one of the "
                "embedded world; name another model, or leave launch out."
            )
        require_model(design.model_of(role))


def _check_pool(given: dict, design: Design, roles: set[str]) -> None:
    """Whether a real pool, the models that score it and, where roles are trained on it, its benchmarks can be had."""
    if not given:
        return
    from causalmix.data.named_models import require_model
    from causalmix.data.recipes import Recipe
    from causalmix.lm.available import available

    recipe = Recipe.of(given)
    recipe.benchmarks()  # refuses those that cannot be
    design.first_mixture(recipe.domains or tuple(design.reference))
    for name in recipe.models():
        require_model(name)
    for path in filter(None, (recipe.options.get("path"), recipe.scores.get("path"))):
        available(path, "dataset")
    if roles and recipe.benchmarks():
        recipe.check_evaluation()
        from causalmix.lm import harness
        from causalmix.study.plan.memory import config_of

        evaluator, settings = recipe.evaluator
        for role in sorted(roles) if evaluator is harness else ():  # its answers have to fit the models' contexts
            longest = settings.get("max_new_tokens", harness.MAX_NEW_TOKENS)
            harness.check_context(config_of(design.model_of(role)), longest)
