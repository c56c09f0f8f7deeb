"""The models that ship with the embedded world: bases, their tokenizer, the rater."""

from functools import cache

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast, Qwen2Config, Qwen3Config

from causalmix.core.paths import ASSETS
from causalmix.lm.raters import StyleRater

CHECKPOINTS = ASSETS / "tiny"

#: Shape by role (ours): the target holds at least five times the proxy's parameters.
SHAPES = {
    "proxy": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4},
    "target": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 8},
    "longcot": {
        "hidden_size": 160, "intermediate_size": 448, "num_hidden_layers": 4, "num_attention_heads": 4, "head_dim": 40,
    },
}  # fmt: skip

#: Hyper-parameters of fine-tuning by role, where a base needs others than a study's: at the proxy's rate it learns no
#: long chains in a run's rows.  Chosen by pilots of the even mixture alone (results/pilots/measures.md).
FINETUNING = {"longcot": {"learning_rate": 1.5e-3}}

#: Architecture by role, as in the paper: Qwen2.5 (whose architecture is Qwen2) and, for long chains of thought, Qwen3.
ARCHITECTURES = {"proxy": Qwen2Config, "target": Qwen2Config, "longcot": Qwen3Config}


@cache
def world_tokenizer() -> PreTrainedTokenizerFast:
    """The world's tokenizer, with the ChatML template."""
    template = (ASSETS / "chatml.jinja").read_text()
    return PreTrainedTokenizerFast.from_pretrained(CHECKPOINTS / "tokenizer", chat_template=template)


def load_base(role: str = "proxy") -> PreTrainedModel:
    """A fresh copy of the base checkpoint of a role, in float32."""
    return AutoModelForCausalLM.from_pretrained(CHECKPOINTS / role, dtype=torch.float32)


def world_rater() -> StyleRater:
    """The style rater that ships with the package."""
    return StyleRater.load(CHECKPOINTS / "rater")
