"""The size of models, and the memory that training one takes: bytes that follow from its shape and its settings."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import pandas as pd
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from causalmix.core.errors import InputError, refused
from causalmix.data.fingerprints import unmarked
from causalmix.data.named_models import is_own
from causalmix.data.tiny.shapes import CHECKPOINTS
from causalmix.lm import pretrained
from causalmix.lm.available import available
from causalmix.lm.losses import LOGIT_BUDGET
from causalmix.lm.reading import SCORING_LOGITS
from causalmix.study.plan.workload import TRAIN, Work, family_of
from causalmix.train.launch import launcher_of
from causalmix.train.sft_settings import SFTSettings

#: Published configurations by name, and those that the hardware of the study that is planned names.
SHAPES = pretrained.SHAPES | {"smollm2": pretrained.SHAPES["HuggingFaceTB/SmolLM2-135M-Instruct"]}

GIB = 2**30
RESERVED = {"GPU": 1.0, "core": 0.7}  # GiB that CUDA and its allocator, or Python and its libraries, hold (ours)
TILE = 4096 * 32_768 * 2  # bytes of the logits that TRL's head holds at once (at most; it works in tiles)
TEXT, COPIES = 4, 2  # bytes of text for a token, and copies of a pool: as loaded, and with its scores (ours)
TOKEN = 16  # bytes of a token on disk: its id and whether it is scored, both 64 bits
RECORD = 2_000  # bytes of a run in a ledger (those of the default study have 1,600)
STAGES = 4  # copies of a launched run's tokens: cut, filtered, labelled, saved
USES = ("weights", "gradients", "optimiser", "gathered", "activations", "head", "mask")


@dataclass(frozen=True)
class Shape:
    """What a model's size and memory follow from."""

    parameters: int  # tied embeddings count once
    layer_parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    attention: int  # heads of queries times their width
    keys: int  # and of keys
    heads: int
    key_heads: int
    normed: bool  # queries and keys are normalised, as in Qwen3
    own: bool  # of the embedded world

    def adapters(self, rank: int) -> int:
        """Weights of low-rank maps beside the linear ones of all layers: four of attention, three of the MLP."""
        ends = 7 * self.hidden + 2 * self.attention + 2 * self.keys + 3 * self.intermediate
        return rank * self.layers * ends

    def activations(self, weights: int, compute: int, repeated: bool = False) -> int:
        """Bytes for each token that one layer keeps, by bytes of a weight and of a number in the products."""
        # Norms compute in float32 and keep what they normalise, and the result; inputs of the linear maps follow.
        # Under autocast each linear map casts a float32 input for itself.
        per_hidden = {(2, 2): 16, (4, 2): 26, (4, 4): 24}[weights, compute]
        kept = self.attention if repeated else self.keys
        total = per_hidden * self.hidden + compute * (2 * self.attention + 2 * kept + 4 * self.intermediate)
        total += 4 * (2 + self.heads)  # what norms divide by, and the attention's normaliser
        if self.normed:
            total += (4 + compute) * (self.attention + self.keys) + 4 * (self.heads + self.key_heads)
        return total


@contextmanager
def described(models: Mapping[str, dict]) -> Iterator[None]:
    """Take the shapes of some models as a study describes them."""
    shape_of.cache_clear()
    with patch.dict(SHAPES, models):
        try:
            yield
        finally:
            shape_of.cache_clear()


@cache
def shape_of(name: str) -> Shape:
    """The shape of a model by its id, path, or name in the embedded world; InputError where it is not like Llama's."""
    config = config_of(name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    count = lambda module: sum(weight.numel() for weight in module.parameters())  # noqa: E731
    try:
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return Shape(
            count(model), count(model.base_model.layers[0]), config.num_hidden_layers, config.hidden_size,
            config.intermediate_size, config.vocab_size, config.num_attention_heads * width,
            config.num_key_value_heads * width, config.num_attention_heads, config.num_key_value_heads,
            config.model_type == "qwen3", is_own(name),
        )  # fmt: skip
    except AttributeError as error:
        raise InputError(
            f"Expected a model with layers as Llama's or Qwen's, whose memory is known, found {name} of the type "
            f"{config.model_type}; choose another model."
        ) from error


def config_of(name: str) -> PreTrainedConfig:
    """The configuration of a model, by what :func:`shape_of` takes."""
    if name in SHAPES:
        sizes = f"the sizes of the model {name} as its config.json has them, model_type included"
        with refused(sizes, "correct models in the section hardware", TypeError, ValueError):
            return AutoConfig.for_model(**SHAPES[name])
    if is_own(name):
        return AutoConfig.from_pretrained(CHECKPOINTS / name.partition("@")[0])
    name = unmarked(name)
    available(name, "model")
    where, extra = pretrained.source_of(name)
    expected, advice = f"the configuration of the model {name}", "give a folder that has its config.json"
    with refused(expected, advice, OSError, ValueError):
        return AutoConfig.from_pretrained(where, trust_remote_code=False, **extra)


def training_memory(
    shape: Shape, settings: SFTSettings, launch: Mapping[str, object], longest: int, gpu: bool = True,
    mixing_rows: float = 0,
) -> dict[str, float]:  # fmt: skip
    """Bytes on each GPU, or in each worker on a CPU, at the height of training, by :data:`USES`; waste is not counted.

    Rows of a run whose mixture changes have ``mixing_rows`` tokens on average, and are not packed.
    """
    how, n = launcher_of(launch), shape.parameters
    sharded, trained = how["sharded"], shape.adapters(settings.lora_rank) or n
    each, compute = 4, 2 if settings.bf16 and not shape.own else 4  # weights stay whole: small steps are lost in half
    shards = how["processes"] if sharded else 1
    packed = settings.packing and not mixing_rows
    length = mixing_rows or (settings.max_length if packed else min(settings.max_length, longest))
    tokens = settings.batch_size * length

    kept = 2 if sharded and compute == 2 else each  # sharded weights are gathered in bfloat16
    layer = tokens * shape.activations(kept, compute, packed)
    backward = tokens * compute * (3 * shape.intermediate + 4 * shape.hidden)  # gradients inside the layer at work
    checkpointing = settings.activation_checkpointing or how["checkpointing"]
    layers = layer + shape.layers * tokens * shape.hidden * kept if checkpointing else shape.layers * layer

    gathered = compute * n if compute < each else 0  # autocast keeps its casts of the weights for a step
    if sharded:
        outside = n - shape.layers * shape.layer_parameters
        gathered = 2 * compute * (outside + 2 * shape.layer_parameters)

    logits = tokens * shape.vocabulary
    in_full = 12 if compute == 4 else 16  # bytes of a logit, in float32 too, its log-probability, and its gradients
    if mixing_rows:
        head = min(logits, LOGIT_BUDGET) * in_full
    elif not gpu:
        head = logits * in_full
    else:  # TRL's head works in tiles; its gradient lies beside it, and beside the gathered head where it is sharded
        gradient = 4 * shape.vocabulary * shape.hidden * (2 if sharded else 1)
        head = gradient + 4 * tokens * shape.hidden + min(TILE, 2 * logits)
    return {
        "weights": each * (n + trained * bool(settings.lora_rank)) / shards,
        "gradients": each * trained / shards,
        "optimiser": 2 * each * trained / shards,
        "gathered": gathered,
        "activations": layers + backward,
        "head": head,
        # Packed bins of a batch are one sequence.  One byte, and two where it is added.
        "mask": 3 * (settings.batch_size * length) ** 2 if packed else 0,
    }


def memory_table(work: Work) -> pd.DataFrame:
    """GiB on each GPU, or in each worker on a CPU, at the height of training or of scoring, by role."""
    gpu, rows = bool(work.hardware and work.hardware.gpus), []
    for role, model, processes, used in _at_work(work, gpu):
        gib = {name: used.get(name, 0) / GIB for name in USES} | {"reserved": RESERVED["GPU" if gpu else "core"]}
        size = {"parameters": shape_of(model).parameters, "processes": processes}
        rows.append({"role": role, "model": model} | size | gib | {"total": sum(gib.values())})
    return pd.DataFrame(rows)


def _at_work(work: Work, gpu: bool) -> Iterator[tuple]:
    """Reference models; each role, and a proxy whose mixture changes where a method asks for one."""
    # In half precision on a GPU as their raters are, and the logits that they make at once.
    size, logits = (2, SCORING_LOGITS["cuda"]) if gpu else (4, SCORING_LOGITS["cpu"])
    for name, family in (("pool", "pool"), ("longcot_pool", "longcot")):
        recipe = work.recipe(family) if family in work.pools else None
        if recipe and not is_own(recipe.scorer):
            weights = sum(shape_of(model).parameters for model in (recipe.scorer, recipe.rater) if model)
            yield f"scorer, {name}", recipe.scorer, 1, {"weights": size * weights, "head": 3 * 4 * logits}
    for role in work.roles:
        settings, launch, family = work.design.settings_of(role), work.design.launch_of(role), family_of(role)
        longest = int(work.assumed("longest_row", family) or settings.max_length)
        model, processes = work.design.model_of(role), int(launcher_of(launch)["processes"])
        asked = (shape_of(model), settings, launch, longest, gpu)
        yield role, model, processes, training_memory(*asked)
        if role == "proxy" and any(spec.mixing for spec in work.proxies()):
            yield "proxy, changing mixture", model, processes, training_memory(*asked, work.lengths[family])


def disk_table(work: Work, parts: pd.DataFrame) -> pd.DataFrame:
    """What a study keeps at once: ``what, gib``, from the parts of its plan."""
    design, tokens = work.design, {family: pool.rows * work.lengths[family] for family, pool in work.pools.items()}
    target = design.model_of("target") != design.model_of("proxy") and not design.launch_of("target")
    target = target and "target" in work.roles
    written = {"pool": 1 + target, "longcot": 1}  # once for each model; the launcher tokenises its own sample
    models = {name for name in parts["model"] if not is_own(name)}
    items = {
        "rows of the pools": sum(tokens.values()) * TEXT * COPIES,
        "their tokens": sum(written[family] * tokens[family] * TOKEN for family in tokens),
        "models in the cache, bfloat16": sum(2 * shape_of(name).parameters for name in models),
        "launched runs at work: weights in float32, and rows": sum(_launched(work, role) for role in work.roles),
        "ledgers": parts.loc[parts["kind"] == TRAIN, "runs"].sum() * RECORD,
    }
    return pd.DataFrame([{"what": what, "gib": float(size) / GIB} for what, size in items.items()])


def _launched(work: Work, role: str) -> float:
    """Bytes that a role's launched runs write, as many at a time as the GPUs hold; 0 where one process trains."""
    launch = work.design.launch_of(role)
    if not launch:
        return 0
    at_once = max(1, (work.hardware.gpus if work.hardware else 0) // int(launcher_of(launch)["processes"]))
    scale = work.study.of("target").largest_scale if role == "target" else 1
    tokens = work.design.n_samples * scale * work.lengths[family_of(role)]
    return at_once * (4 * shape_of(work.design.model_of(role)).parameters + STAGES * TOKEN * tokens)


def check_fit(work: Work, memory: pd.DataFrame, disk: pd.DataFrame) -> None:
    """Raise InputError with what is missing, and what to do, unless a study fits its hardware."""
    study, hardware = work.study.name, work.hardware
    limit, where = hardware.gpu_memory_gib, "on each GPU"
    if not hardware.gpus:
        limit, where = hardware.memory_gib and hardware.memory_gib / hardware.cores, "for each core's worker"
    for row in memory.itertuples():
        if row.processes > max(hardware.gpus, 1):
            raise InputError(
                f"Expected {row.processes} GPUs for the {row.role} of the study {study}, found {hardware.gpus} in its "
                f"hardware; lower processes in models.{row.role}.launch, or name more GPUs."
            )
        if limit and row.total > limit:
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
        adapters = "" if settings.lora_rank or launch else f", set lora_rank for models.{kind}"
        return f"shard it over more processes in models.{kind}.launch{adapters}, or choose a smaller model"
    if row.activations > row.head and not (settings.activation_checkpointing or launcher_of(launch)["checkpointing"]):
        return f"set activation_checkpointing for models.{kind}"
    return f"lower batch_size or max_length for models.{kind}"
