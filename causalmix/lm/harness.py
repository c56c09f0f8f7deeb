"""Scores by lm-evaluation-harness, one benchmark at a time, with fixed seeds and greedy answers."""

from __future__ import annotations

import importlib.util
import math
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unittest.mock import patch

import numpy as np
import torch
from accelerate.utils.memory import clear_device_cache
from pydantic import DirectoryPath, Field, PositiveInt
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from causalmix.core.errors import InputError
from causalmix.core.settings import Settings, validated
from causalmix.lm import harness_tasks
from causalmix.lm.benchmarks import Benchmark

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

MAX_NEW_TOKENS = 2048
SEED = 1234  # of worked examples, and of whatever in a task draws numbers
CODE = "HF_ALLOW_CODE_EVAL"  # asked for by the metric that executes code

#: Of vLLM, unless the setting ``vllm`` says otherwise: a GPU wants half precision.
VLLM = {"dtype": "bfloat16", "gpu_memory_utilization": 0.9, "seed": SEED}


FOLDER = {"strict": False, "description": "a folder that is there"}


class Evaluation(Settings):
    """What a study's ``evaluation`` may set of either evaluator, beside its benchmarks."""

    batch_size: PositiveInt = 16  # requests in one forward pass
    # Of every written answer, whatever its task says: the harness's own 256 cut chains of thought.
    max_new_tokens: PositiveInt = MAX_NEW_TOKENS
    allow_code: bool = False  # whether generated code may be executed on this machine
    backend: Literal["hf", "vllm"] = "hf"  # what generates
    vllm: dict[str, Any] | None = None  # further arguments of vLLM


class HarnessEvaluation(Evaluation):
    """Of lm-evaluation-harness; its vLLM runs on a copy of the model in a temporary folder (safetensors)."""

    limit: PositiveInt | None = None  # first items of each task only; for trials
    # Folder of task files of one's own, for instance with ``dataset_path: json`` and ``data_files`` on disk.
    include_path: DirectoryPath | None = Field(None, **FOLDER)


def evaluate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, benchmarks: Sequence[Benchmark], **given: Any
) -> dict[str, float]:
    """Score in [0, 1] on each benchmark, in the tokenizer's chat template; a group's is the harness's own average."""
    settings, manager = _checked(benchmarks, given)
    check_context(model.config, settings.max_new_tokens)
    code = {CODE: "1"} if settings.allow_code else {}
    with patch.dict(os.environ, code), harness_tasks.quiet(), _restored(model, tokenizer):
        loaded = harness_tasks.load_all(manager, benchmarks, settings.max_new_tokens, SEED)
        with _language_model(model, tokenizer, settings) as lm:
            asked = {key: _ask(lm, tasks, settings) for key, tasks in loaded.items()}
            del lm  # before the model comes back to a GPU that vLLM holds
    return {b.name: _score(asked[b.task, b.shots], b) for b in benchmarks}


def check(benchmarks: Sequence[Benchmark], given: Mapping[str, Any]) -> None:
    """Refuse, in seconds and before a model is trained, what :func:`evaluate` could not evaluate."""
    _, manager = _checked(benchmarks, given)
    harness_tasks.require(manager, benchmarks)


def check_context(config: PreTrainedConfig, max_new_tokens: int) -> None:
    """Raise InputError unless answers of that length fit the context of a model."""
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and max_new_tokens >= context:
        raise InputError(f"Expected max_new_tokens below the context of {context}, found {max_new_tokens}; lower it.")


def check_benchmarks(benchmarks: Sequence[Benchmark], field: str, whose: str, other: str, allow_code: bool) -> None:
    """Raise InputError unless there are benchmarks, the evaluator has them all, and they may be run here."""
    if not benchmarks:
        raise InputError("Expected at least one benchmark, found none; name one.")
    if missing := [b.name for b in benchmarks if getattr(b, field) is None]:
        raise InputError(
            f"Expected benchmarks that {whose} has, found {', '.join(missing)}; leave them out, or ask {other}."
        )
    if not allow_code and (running := [b.name for b in benchmarks if b.runs_code]):
        raise InputError(
            f"Expected allow_code=True for benchmarks that execute generated code, found {', '.join(running)} "
            "without it; leave them out, or allow it in a sandbox."
        )


def _checked(benchmarks: Sequence[Benchmark], given: Mapping[str, Any]) -> tuple[HarnessEvaluation, TaskManager]:
    """The settings and the harness's tasks, once nothing speaks against them."""
    settings = validated(HarnessEvaluation, given, "the evaluation")
    check_benchmarks(benchmarks, "task", "lm-evaluation-harness", "opencompass", settings.allow_code)
    if importlib.util.find_spec("lm_eval") is None:
        raise InputError(f"Expected lm-evaluation-harness, found none; install it with `{harness_tasks.INSTALL}`.")
    if settings.backend == "vllm" and importlib.util.find_spec("vllm") is None:
        raise InputError("Expected vLLM for backend='vllm', found none; install it with `pip install vllm`, or use hf.")
    manager = harness_tasks.find(benchmarks, settings.include_path and str(settings.include_path))
    harness_tasks.check_tasks(manager, benchmarks, settings.allow_code)
    return settings, manager


@contextmanager
def _restored(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Random numbers, the model's mode and the tokenizer's padding afterwards as before."""
    drawn = random.getstate(), np.random.get_state()
    training, padding = model.training, tokenizer.padding_side
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), neutral_generation(model, tokenizer):
            yield
    finally:
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])
        model.train(training)
        tokenizer.padding_side = padding


@contextmanager
def neutral_generation(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Without the checkpoint's own habits of generation: lengths, penalties and temperatures that differ by model."""
    plain = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False)
    with patch.object(model, "generation_config", plain):
        yield


@contextmanager
def saved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Iterator[Path]:
    """A model in a temporary folder as safetensors, and off the GPU meanwhile, where another program needs the room."""
    device = model.device
    with tempfile.TemporaryDirectory(prefix="causalmix-model-") as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        try:
            model.to("cpu")
            clear_device_cache(garbage_collection=True)
            yield Path(folder)
        finally:
            clear_device_cache(garbage_collection=True)
            model.to(device)


@contextmanager
def _language_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: HarnessEvaluation
) -> Iterator[LM]:
    """The model as the harness wants it.  No token is put before the template's text: none was in training."""
    from lm_eval.api.registry import get_model

    if settings.backend == "hf":
        yield get_model("hf")(
            pretrained=model, tokenizer=tokenizer, batch_size=settings.batch_size,
            add_bos_token=False, softmax_dtype="float32",
        )  # fmt: skip
        return
    with saved(model, tokenizer) as folder:
        yield get_model("vllm")(
            pretrained=str(folder), batch_size="auto", add_bos_token=False,
            max_gen_toks=settings.max_new_tokens, **VLLM | (settings.vllm or {}),
        )  # fmt: skip


def _no_bar(*args: Any, **how: Any) -> tqdm:
    """A progress bar that never shows: the harness turns its own on, and they would end up on a page."""
    return tqdm(*args, **how | {"disable": True})


def _ask(lm: LM, tasks: Mapping[str, Any], settings: HarnessEvaluation) -> dict[str, Any]:
    """The harness's results for one benchmark, whatever was asked before it."""
    from lm_eval import evaluator

    set_seed(SEED)  # of Python, NumPy and PyTorch: a task may draw from any
    own = sys.modules[type(lm).__module__]
    with patch.object(own, "tqdm", _no_bar, create=True), patch("lm_eval.api.model.tqdm", _no_bar):
        # Not simple_evaluate, which describes the machine at every call (seconds) and cannot take loaded groups apart.
        return evaluator.evaluate(
            lm, tasks, limit=settings.limit, bootstrap_iters=0, log_samples=False, apply_chat_template=True,
            fewshot_as_multiturn=True, confirm_run_unsafe_code=settings.allow_code,
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
