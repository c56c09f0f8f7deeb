"""Memory and disk that a study takes, and whether its hardware has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from causalmix.errors import InputError
from causalmix.footprint import shape_of, training_memory
from causalmix.hardware import Assumption, Hardware
from causalmix.kinds import Recipe, is_own
from causalmix.launch import launcher_of
from causalmix.scores import LOGIT_BUDGET
from causalmix.workload import TRAIN, Work, family_of

GIB = 2**30
RESERVED = {
    "GPU": 1.0,
    "core": 0.7,
}  # GiB that CUDA and its allocator, or Python and its libraries, hold besides (ours)
TEXT, COPIES = 4, 2  # bytes of text for a token, and copies of a pool: as loaded, and with its scores (ours)
TOKEN = 16  # bytes of a token on disk: its id and whether it is scored, both 64 bits
RECORD = 2_000  # bytes of a run in a ledger (those of the default study have 1,600)
STAGES = 4  # copies of a launched run's tokens: cut, filtered, labelled, saved
USES = ("weights", "gradients", "optimiser", "gathered", "activations", "head", "mask")


def memory_table(
    work: Work, lengths: Mapping[str, float], given: Mapping[str, Assumption], hardware: Hardware | None
) -> pd.DataFrame:
    """GiB on each GPU, or in each worker on a CPU, at the height of training or of scoring.

    Parameters
    ----------
    work : Work
    lengths : mapping
        Mean tokens of a row by family of pools (:func:`causalmix.workload.family_of`).
    given : mapping
        The study's assumptions.
    hardware : Hardware or None

    Returns
    -------
    DataFrame
        ``role, model, parameters, processes``, the uses that :func:`causalmix.footprint.training_memory` tells
        apart, ``reserved, total``.
    """
    gpu = bool(hardware and hardware.gpus)
    reserved = RESERVED["GPU" if gpu else "core"]
    rows = []
    for called, model, processes, used in (*_scorers(work, gpu), *_trained(work, lengths, given, gpu)):
        gib = {name: used.get(name, 0) / GIB for name in USES} | {"reserved": reserved}
        size = {"parameters": shape_of(model).parameters, "processes": processes}
        rows.append({"role": called, "model": model} | size | gib | {"total": sum(gib.values())})
    return pd.DataFrame(rows)


def _trained(work: Work, lengths: Mapping[str, float], given: Mapping[str, Assumption], gpu: bool) -> Iterator[tuple]:
    """Each role, and a proxy whose mixture changes where a method asks for one."""
    for role in ("proxy", "target", "longcot"):
        settings, launch, family = work.design.settings_of(role), work.design.launch_of(role), family_of(role)
        found = given.get("longcot_longest_row" if family == "longcot" else "longest_row")
        longest = int(found.value) if found else settings.max_length
        model, processes = work.design.model_of(role), int(launcher_of(launch)["processes"])
        yield role, model, processes, training_memory(shape_of(model), settings, launch, longest, gpu)
        if role == "proxy" and any("mixing_method" in dict(spec.training) for spec in work.proxies_of_methods()):
            changing = training_memory(shape_of(model), settings, launch, longest, gpu, lengths[family])
            yield "proxy, changing mixture", model, processes, changing


def _scorers(work: Work, gpu: bool) -> Iterator[tuple]:
    """Reference models, in half precision on a GPU as their raters are, and the logits that they make at once."""
    size, logits = (2, LOGIT_BUDGET["cuda"]) if gpu else (4, LOGIT_BUDGET["cpu"])
    for name, recipe in (("pool", work.design.pool), ("longcot_pool", work.design.longcot_pool)):
        found = Recipe.of(recipe) if recipe else None
        if found and not is_own(found.scorer):
            rater = shape_of(found.rater).parameters if found.rater else 0
            weights = size * (shape_of(found.scorer).parameters + rater)
            yield f"scorer, {name}", found.scorer, 1, {"weights": weights, "head": 3 * 4 * logits}


def disk_table(
    work: Work, parts: pd.DataFrame, lengths: Mapping[str, float], rows: Mapping[str, int], hardware: Hardware | None
) -> pd.DataFrame:
    """What a study keeps at once: ``what, gib``.

    Parameters
    ----------
    work : Work
    parts : DataFrame
        Of :class:`causalmix.cost.Plan`.
    lengths, rows : mapping
        Mean tokens of a row, and rows, by family of pools.
    hardware : Hardware or None
    """
    tokens = {family: rows[family] * lengths[family] for family in rows}
    target = work.design.model_of("target") != work.design.model_of("proxy") and not work.design.launch_of("target")
    written = {"pool": 1 + target, "longcot": 1}  # once for each model; the launcher tokenises its own sample
    models = {name for name in parts["model"] if not is_own(name)}
    launched = sum(_launched(work, lengths, role, hardware) for role in ("proxy", "target", "longcot"))
    items = {
        "rows of the pools": sum(tokens.values()) * TEXT * COPIES,
        "their tokens": sum(written[family] * tokens[family] * TOKEN for family in tokens),
        "models in the cache, bfloat16": sum(2 * shape_of(name).parameters for name in models),
        "launched runs at work: weights in float32, and rows": launched,
        "ledgers": parts.loc[parts["kind"] == TRAIN, "runs"].sum() * RECORD,
    }
    return pd.DataFrame([{"what": what, "gib": float(size) / GIB} for what, size in items.items()])


def _launched(work: Work, lengths: Mapping[str, float], role: str, hardware: Hardware | None) -> float:
    """Bytes that a role's launched runs write, as many at a time as the GPUs hold; 0 where one process trains."""
    launch = work.design.launch_of(role)
    if not launch:
        return 0
    at_once = max(1, (hardware.gpus if hardware else 0) // int(launcher_of(launch)["processes"]))
    scale = work.values["06_target"]["largest_scale"] if role == "target" else 1
    tokens = work.design.n_samples * scale * lengths[family_of(role)]
    return at_once * (4 * shape_of(work.design.model_of(role)).parameters + STAGES * TOKEN * tokens)


def check_fit(study: str, work: Work, hardware: Hardware, memory: pd.DataFrame, disk: pd.DataFrame) -> None:
    """Raise InputError with what is missing, and what to do, unless a study fits its hardware."""
    limit = hardware.gpu_memory_gib if hardware.gpus else hardware.memory_gib and hardware.memory_gib / hardware.cores
    for row in memory.itertuples():
        if row.processes > max(hardware.gpus, 1):
            raise InputError(
                f"Expected {row.processes} GPUs for the {row.role} of the study {study}, found {hardware.gpus} in its "
                f"hardware; lower processes in models.{row.role}.launch, or name more GPUs."
            )
        if limit and row.total > limit:
            where = "on each GPU" if hardware.gpus else "for each core's worker"
            raise InputError(
                f"Expected {row.total:.1f} GiB {where} for the {row.role} of the study {study} ({row.model}), "
                f"found {limit:g} GiB; {_remedy(work, row)}."
            )
    if (needed := disk["gib"].sum()) > hardware.disk_gib:
        most = disk.loc[disk["gib"].idxmax(), "what"]
        raise InputError(
            f"Expected {needed:,.1f} GiB of disk for the study {study} (most of it: {most}), found "
            f"{hardware.disk_gib:g} GiB in its hardware; give it more, or lower pool_rows or n_samples."
        )


def _remedy(work: Work, row) -> str:
    """The first thing that would help."""
    kind, _, name = row.role.partition(", ")
    if kind == "scorer":
        return f"name a smaller scorer in {name}"
    settings, launch = work.design.settings_of(kind), work.design.launch_of(kind)
    if row.weights + row.gradients + row.optimiser + row.gathered > row.activations + row.head + row.mask:
        return f"shard it over more processes in models.{kind}.launch, or choose a smaller model"
    if row.activations > row.head and not (settings.activation_checkpointing or launcher_of(launch)["checkpointing"]):
        return f"set activation_checkpointing for models.{kind}"
    return f"lower batch_size or max_length for models.{kind}"
