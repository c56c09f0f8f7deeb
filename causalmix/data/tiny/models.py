"""The models that ship with the embedded world: bases, their tokenizer, the rater."""

from functools import cache

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast, Qwen2Config, Qwen3Config

from causalmix.core.paths import ASSETS
from causalmix.data.tiny.shapes import CHECKPOINTS
from causalmix.lm.raters import StyleRater

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
