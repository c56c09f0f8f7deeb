"""Scores on public benchmarks through lm-evaluation-harness, in this process.

The harness is asked for one benchmark at a time, with fixed seeds and greedy answers, so that a score
depends on nothing but the model, the benchmark and the settings.
"""

from __future__ import annotations

import gc
import importlib.util
import inspect
import math
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import torch
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from causalmix.core.errors import InputError
from causalmix.lm import harness_tasks
from causalmix.lm.benchmarks import Benchmark, refuse_code

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager


BACKENDS = ("hf", "vllm")
MAX_NEW_TOKENS = 2048
SEED = 1234  # of worked examples, and of whatever in a task draws numbers
CODE = "HF_ALLOW_CODE_EVAL"  # asked for by the metric that executes code

#: Of vLLM, unless the setting ``vllm`` says otherwise: a GPU wants half precision.
VLLM = {"dtype": "bfloat16", "gpu_memory_utilization": 0.9, "seed": SEED}


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    benchmarks: Sequence[Benchmark],
    *,
    batch_size: int = 16,
    max_new_tokens: int = MAX_NEW_TOKENS,
    limit: int | None = None,
    allow_code: bool = False,
    backend: str = "hf",
    include_path: str | Path | None = None,
    vllm: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Score a model on benchmarks, each in its chat template and with greedy answers.

    Parameters
    ----------
    model, tokenizer
        Causal language model and its tokenizer, with a chat template; both are left as they were.
    benchmarks : sequence of Benchmark
        Each names a task or a group of the harness, and its metric.
    batch_size : int
        Requests in one forward pass.
    max_new_tokens : int
        Length that every written answer may have, whatever its task says: the harness's own 256 cut
        chains of thought.
    limit : int, optional
        First items of each task only; for trials.
    allow_code : bool
        Whether generated code may be executed on this machine.
    backend : {"hf", "vllm"}
        This process, or vLLM on a copy of the model in a temporary folder (safetensors).
    include_path : str or Path, optional
        Folder of task files of your own, for instance with ``dataset_path: json`` and ``data_files``
        on disk; paths in them are relative to the working folder.
    vllm : mapping, optional
        Further arguments of vLLM.

    Returns
    -------
    dict
        Score in [0, 1] by benchmark name; the harness's own average over a group's subtasks.

    Raises
    ------
    InputError
        For what :func:`check` refuses, data that cannot be had, or a score that is missing or not in [0, 1].
    """
    settings = {
        "batch_size": batch_size, "max_new_tokens": max_new_tokens, "limit": limit, "allow_code": allow_code,
        "backend": backend, "include_path": include_path, "vllm": vllm,
    }  # fmt: skip
    manager = _checked(benchmarks, settings)
    check_context(model.config, max_new_tokens)
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {CODE: "1"}) if allow_code else nullcontext())
        stack.enter_context(harness_tasks.quiet())
        stack.enter_context(_restored(model, tokenizer))
        loaded = harness_tasks.load_all(manager, benchmarks, max_new_tokens, SEED)
        lm = stack.enter_context(_language_model(model, tokenizer, settings))
        asked = {key: _ask(lm, tasks, limit, allow_code) for key, tasks in loaded.items()}
        del lm  # before the model comes back to a GPU that vLLM holds
    return {b.name: _score(asked[b.task, b.shots], b) for b in benchmarks}


def check(benchmarks: Sequence[Benchmark], settings: Mapping[str, Any]) -> None:
    """Refuse what could not be evaluated, in seconds, before a model is trained.

    Parameters
    ----------
    benchmarks : sequence of Benchmark
    settings : mapping
        Keyword arguments of :func:`evaluate`.

    Raises
    ------
    InputError
        For unknown or impossible settings, benchmarks that are not in the harness or execute code without
        leave, a task or metric that does not exist, a package or a data set that cannot be had.
    """
    manager = _checked(benchmarks, settings)
    harness_tasks.require(manager, benchmarks)


def check_context(config: PreTrainedConfig, max_new_tokens: int) -> None:
    """Raise InputError unless answers of that length fit the context of a model."""
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and max_new_tokens >= context:
        raise InputError(
            f"Expected max_new_tokens below the model's context of {context} tokens, found {max_new_tokens}; lower it."
        )


def check_settings(settings: Mapping[str, Any], evaluate: Callable, whole: Sequence[str]) -> None:
    """Raise InputError unless the settings are keywords of ``evaluate``, those in ``whole`` positive whole numbers."""
    known = inspect.signature(evaluate).parameters
    allowed = [name for name, parameter in known.items() if parameter.kind is parameter.KEYWORD_ONLY]
    if unknown := sorted(set(settings) - set(allowed)):
        raise InputError(
            f"Expected settings of the evaluation among {', '.join(allowed)}, found {', '.join(unknown)}; "
            "correct the names."
        )
    for name in whole:
        value = settings.get(name, known[name].default)
        if value != known[name].default and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"Expected a positive whole number as {name}, found {value!r}; correct it.")
    if (backend := settings.get("backend", BACKENDS[0])) not in BACKENDS:
        raise InputError(f"Expected a backend among {', '.join(BACKENDS)}, found {backend!r}; choose one of these.")


def _checked(benchmarks: Sequence[Benchmark], settings: Mapping[str, Any]) -> TaskManager:
    """The harness's tasks, once nothing speaks against the benchmarks and the settings."""
    check_settings(settings, evaluate, ("batch_size", "max_new_tokens", "limit"))
    allow_code = bool(settings.get("allow_code"))
    if not benchmarks:
        raise InputError("Expected at least one benchmark, found none; name one.")
    if missing := [b.name for b in benchmarks if b.task is None]:
        raise InputError(
            f"Expected benchmarks that lm-evaluation-harness has, found {', '.join(missing)}, which it lacks; "
            "leave them out, or set evaluator: opencompass."
        )
    refuse_code(benchmarks, allow_code)
    if importlib.util.find_spec("lm_eval") is None:
        raise InputError(f"Expected lm-evaluation-harness, found none; install it with `{harness_tasks.INSTALL}`.")
    if settings.get("backend") == "vllm" and importlib.util.find_spec("vllm") is None:
        raise InputError("Expected vLLM for backend='vllm', found none; install it with `pip install vllm`, or use hf.")
    include_path = settings.get("include_path")
    if include_path is not None and not Path(include_path).is_dir():
        raise InputError(f"Expected a folder of task files as include_path, found {include_path}; correct the path.")
    manager = harness_tasks.find(benchmarks, include_path and str(include_path))
    harness_tasks.check_tasks(manager, benchmarks, allow_code)
    return manager


@contextmanager
def _restored(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Random numbers, the model's mode and the tokenizer's padding afterwards as before."""
    states = random.getstate(), np.random.get_state()
    training, padding = model.training, tokenizer.padding_side
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), neutral_generation(model, tokenizer):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        model.train(training)
        tokenizer.padding_side = padding


@contextmanager
def neutral_generation(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Without the checkpoint's own habits of generation: lengths, penalties and temperatures that differ by model."""
    own = model.generation_config
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    try:
        yield
    finally:
        model.generation_config = own


@contextmanager
def saved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Iterator[Path]:
    """A model in a temporary folder as safetensors, and off the GPU meanwhile, where another program needs the room."""
    device = model.device
    with tempfile.TemporaryDirectory(prefix="causalmix-model-") as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        try:
            model.to("cpu")
            _empty_gpu()
            yield Path(folder)
        finally:
            _empty_gpu()
            model.to(device)


def _empty_gpu() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def _language_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Mapping[str, Any]
) -> Iterator[LM]:
    """The model as the harness wants it.  No token is put before the template's text: none was in training."""
    from lm_eval.api.registry import get_model

    if settings["backend"] == "hf":
        yield get_model("hf")(
            pretrained=model, tokenizer=tokenizer, batch_size=settings["batch_size"],
            add_bos_token=False, softmax_dtype="float32",
        )  # fmt: skip
        return
    with saved(model, tokenizer) as folder:
        arguments = VLLM | dict(settings["vllm"] or {})
        yield get_model("vllm")(
            pretrained=str(folder), batch_size="auto", add_bos_token=False,
            max_gen_toks=settings["max_new_tokens"], **arguments,
        )  # fmt: skip


class _NoBar(tqdm):
    """A progress bar that never shows: the harness turns its own on, and they would end up on a page."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs | {"disable": True})


def _ask(lm: LM, tasks: Mapping[str, Any], limit: int | None, allow_code: bool) -> dict[str, Any]:
    """The harness's results for one benchmark, whatever was asked before it."""
    from lm_eval import evaluator

    set_seed(SEED)  # of Python, NumPy and PyTorch: a task may draw from any
    own = sys.modules[type(lm).__module__]
    with patch.object(own, "tqdm", _NoBar, create=True), patch("lm_eval.api.model.tqdm", _NoBar):
        # Not simple_evaluate, which describes the machine at every call (seconds) and cannot take loaded groups apart.
        return evaluator.evaluate(
            lm, tasks, limit=limit, bootstrap_iters=0, log_samples=False, apply_chat_template=True,
            fewshot_as_multiturn=True, confirm_run_unsafe_code=allow_code,
        )["results"]  # fmt: skip


def _score(results: Mapping[str, Mapping[str, Any]], benchmark: Benchmark) -> float:
    found = results.get(benchmark.task, {})
    if benchmark.metric not in found:
        keys = sorted(key for key in found if "," in key and "_stderr" not in key)
        raise harness_tasks.no_metric(benchmark, keys)
    score = float(found[benchmark.metric])
    if not (math.isfinite(score) and 0 <= score <= 1):
        raise InputError(
            f"Expected a score in [0, 1] of the benchmark {benchmark.name}, found {score:g} as {benchmark.metric}; "
            "choose a metric that is a share."
        )
    return score
