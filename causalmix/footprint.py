"""The size of models, and the memory that training one takes: bytes that follow from its shape and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from causalmix import models, world
from causalmix.errors import InputError
from causalmix.fingerprints import unmarked
from causalmix.kinds import is_own
from causalmix.launch import launcher_of
from causalmix.losses import LOGIT_BUDGET

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from causalmix.sft import SFTSettings

#: Models that studies name besides those of :data:`causalmix.models.SHAPES`, as their published config.json have them.
SHAPES = models.SHAPES | {
    "Qwen/Qwen3-8B": {
        "model_type": "qwen3", "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 12_288,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "max_position_embeddings": 40_960, "tie_word_embeddings": False,
    },
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": {
        "model_type": "llama", "vocab_size": 49_152, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads": 32,
        "max_position_embeddings": 8192, "tie_word_embeddings": True,
    },
    # A classifier, so without a head over the vocabulary: counted as if the two were tied.
    "princeton-nlp/QuRater-1.3B": {
        "model_type": "llama", "vocab_size": 32_000, "hidden_size": 2048, "intermediate_size": 5504,
        "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16, "tie_word_embeddings": True,
    },
}  # fmt: skip
SHAPES["smollm2"] = SHAPES["HuggingFaceTB/SmolLM2-135M-Instruct"]

TILE = 4096 * 32_768 * 2  # bytes of the logits that TRL's head holds at once (at most; it works in tiles)


@dataclass(frozen=True)
class Shape:
    """What a model's size and memory follow from.

    Attributes
    ----------
    parameters, layer_parameters : int
        Of all of it (tied embeddings count once), and of one layer.
    layers, hidden, intermediate, vocabulary : int
    attention, keys : int
        Heads times their width: of queries, and of keys.
    heads, key_heads : int
    normed : bool
        Whether queries and keys are normalised, as in Qwen3.
    own : bool
        Whether it is of the embedded world, which trains in float32 whatever the settings say.
    """

    parameters: int
    layer_parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    attention: int
    keys: int
    heads: int
    key_heads: int
    normed: bool
    own: bool

    def activations(self, weights: int, compute: int, repeated: bool = False) -> int:
        """Bytes for each token that one layer keeps for the backward pass.

        Counted from the tensors that autograd saves with scaled-dot-product attention; a test counts them.

        Parameters
        ----------
        weights, compute : {2, 4}
            Bytes of a weight, and of a number in the products (2 under bfloat16 autocast).
        repeated : bool
            Whether keys are repeated for their queries, as with the mask of packed rows.
        """
        # Norms compute in float32 and keep what they normalise, and the result; inputs of the linear maps follow.
        # Under autocast each linear map casts a float32 input for itself.
        per_hidden = {(2, 2): 16, (4, 2): 26, (4, 4): 24}[weights, compute]
        kept = self.attention if repeated else self.keys
        total = per_hidden * self.hidden + compute * (2 * self.attention + 2 * kept + 4 * self.intermediate)
        total += 4 * (2 + self.heads)  # what norms divide by, and the attention's normaliser
        if self.normed:
            total += (4 + compute) * (self.attention + self.keys) + 4 * (self.heads + self.key_heads)
        return total


@cache
def shape_of(name: str) -> Shape:
    """The shape of a model by its id, path, or name in the embedded world; nothing of its weights is read.

    Raises
    ------
    InputError
        When it is not among :data:`SHAPES` and its configuration cannot be had, or its layers are not
        like Llama's, as GPT-2's.
    """
    import torch
    from transformers import AutoModelForCausalLM

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
    """The configuration of a model, by what :func:`shape_of` takes; errors as there."""
    from transformers import AutoConfig

    if name in SHAPES:
        return AutoConfig.for_model(**SHAPES[name])
    if is_own(name):
        return AutoConfig.from_pretrained(world.TINY / name.partition("@")[0])
    name = unmarked(name)
    models.require_model(name)
    where, extra = models.source_of(name)
    try:
        return AutoConfig.from_pretrained(where, trust_remote_code=False, **extra)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise InputError(
            f"Expected the configuration of the model {name}, found: {reason}; give a folder that has its config.json."
        ) from error


def training_memory(
    shape: Shape,
    settings: SFTSettings,
    launch: Mapping[str, object],
    longest: int,
    gpu: bool = True,
    mixing_rows: float = 0,
) -> dict[str, float]:
    """Bytes on each GPU (or in each worker on a CPU) at the height of training, by what they are for.

    Parameters
    ----------
    shape : Shape
    settings : SFTSettings
    launch : mapping
        As in a study's ``models``; empty where one process trains.
    longest : int
        Tokens of the longest row.
    gpu : bool
        On a GPU TRL's head works in tiles; on a CPU the logits of all scored tokens are there at once.
    mixing_rows : float
        Mean tokens of a row, for a run whose mixture changes (:mod:`causalmix.online`): its rows are not
        packed, and the logits of a batch are made piece by piece.

    Returns
    -------
    dict
        ``weights, gradients, optimiser, gathered, activations, head, mask``.  The first three are exact; the
        others are the tensors that are known to be held, without what allocators waste.
    """
    how, n = launcher_of(launch), shape.parameters
    each, compute = 4, 2 if settings.bf16 and not shape.own else 4  # weights stay whole: small steps are lost in half
    shards = how["processes"] if how["sharded"] else 1
    length = mixing_rows or min(settings.max_length, longest if not settings.packing else settings.max_length)
    tokens = settings.batch_size * length
    packed = settings.packing and not mixing_rows
    kept = 2 if how["sharded"] and compute == 2 else each  # sharded weights are gathered in bfloat16
    layer = tokens * shape.activations(kept, compute, packed)
    backward = tokens * compute * (3 * shape.intermediate + 4 * shape.hidden)  # gradients inside the layer at work
    checkpointing = settings.activation_checkpointing or how["checkpointing"]
    layers = layer + shape.layers * tokens * shape.hidden * kept if checkpointing else shape.layers * layer
    outside = n - shape.layers * shape.layer_parameters
    gathered = 2 * compute * (outside + 2 * shape.layer_parameters) if how["sharded"] else 0
    if not how["sharded"] and compute < each:  # autocast keeps its casts of the weights for a step
        gathered = compute * n
    return {
        "weights": each * n / shards,
        "gradients": each * n / shards,
        "optimiser": 2 * each * n / shards,
        "gathered": gathered,
        "activations": layers + backward,
        "head": _pieces(shape, tokens, compute)
        if mixing_rows
        else _head(shape, tokens, compute, gpu, bool(how["sharded"])),
        # Packed bins of a batch are one sequence.  One byte, and two where it is added.
        "mask": 3 * (settings.batch_size * length) ** 2 if packed else 0,
    }


def _head(shape: Shape, tokens: float, compute: int, tiled: bool, sharded: bool) -> float:
    """Bytes of what the head over the vocabulary holds for the loss of a batch."""
    if not tiled:  # logits, in float32 too where they are not, their log-probabilities, and their gradients
        return tokens * shape.vocabulary * (12 if compute == 4 else 16)
    gradient = 4 * shape.vocabulary * shape.hidden * (2 if sharded else 1)  # beside the gathered head itself
    return gradient + 4 * tokens * shape.hidden + min(TILE, tokens * shape.vocabulary * 2)


def _pieces(shape: Shape, tokens: float, compute: int) -> float:
    """The same where :func:`causalmix.losses.token_losses` makes the logits, of so many at once."""
    return min(tokens * shape.vocabulary, LOGIT_BUDGET) * (12 if compute == 4 else 16)
