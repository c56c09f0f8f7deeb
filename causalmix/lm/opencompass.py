"""Scores by OpenCompass, a command with an environment of its own, for it needs numpy below 2 and datasets below 4."""

import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
from pydantic import BeforeValidator, DirectoryPath, Field, NonNegativeInt, PositiveInt
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from causalmix.core.errors import InputError, refused
from causalmix.core.paths import ASSETS
from causalmix.core.settings import validated
from causalmix.lm import harness
from causalmix.lm.benchmarks import Benchmark

COLUMNS = ["dataset", "version", "metric", "mode"]  # of a summary, before one column for each model
MODEL = "causalmix"  # what the model is called there
GROUP = "causalmix-"  # before a benchmark's name: some data sets have the same name
AVERAGE = "naive_average"  # what OpenCompass calls the plain mean over a group
FILES = ("config.json", "tokenizer_config.json")
LOG, TAIL = "opencompass.log", 15  # of which so many lines are in an error
TEMPLATES = ASSETS / "opencompass"


class OpenCompassEvaluation(harness.Evaluation):
    """What a study's ``evaluation`` may set of OpenCompass."""

    # The executable in its own environment, or that and arguments of it.
    command: Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)] = []
    # Keeps configuration, log and results, which are else removed once read.
    work: DirectoryPath | None = Field(None, **harness.FOLDER)
    # Where OpenCompass runs and looks for ``data/``; else the working folder.
    data: DirectoryPath | None = Field(None, **harness.FOLDER)
    gpus: NonNegativeInt | None = None  # of one copy of the model; else one where this machine has any
    timeout: PositiveInt | None = None  # seconds


def evaluate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, benchmarks: Sequence[Benchmark], **given: Any
) -> dict[str, float]:
    """Score in [0, 1] on each benchmark, its data sets' mean first metric; RuntimeError with the end of the log."""
    settings = check(benchmarks, given)
    executable, *arguments = settings.command
    with tempfile.TemporaryDirectory(prefix="causalmix-opencompass-") as scratch:
        folder = Path(tempfile.mkdtemp(prefix="opencompass-", dir=settings.work or scratch)).resolve()
        with harness.neutral_generation(model, tokenizer), harness.saved(model, tokenizer) as saved:
            _make_readable(saved)
            config = _write_config(folder, _model_entry(saved, model.dtype, settings), benchmarks, settings)
            command = [os.path.abspath(shutil.which(executable)), *arguments, config, "--work-dir", folder / "results"]
            problem = _run(command, folder / LOG, settings)
        summaries = sorted((folder / "results").glob("*/summary/*.csv"))
        scores = read_summary(summaries[-1]).get(MODEL, {}) if summaries else {}
        found = {b.name: float(scores.get((GROUP + b.name, AVERAGE), math.nan)) for b in benchmarks}
        if missing := [name for name, score in found.items() if not 0 <= score <= 1]:  # it ends well all the same
            problem = problem or f"gave no score between 0 and 100 for {', '.join(missing)}"
        if problem:
            log = "\n".join((folder / LOG).read_text(errors="replace").splitlines()[-TAIL:])
            raise RuntimeError(f"OpenCompass {problem}; its files are kept where `work` is set; its log ends:\n{log}")
        return found


def check(benchmarks: Sequence[Benchmark], given: Mapping[str, Any]) -> OpenCompassEvaluation:
    """The settings, unless something speaks against them; whether OpenCompass has its data is not known here."""
    settings = validated(OpenCompassEvaluation, given, "the evaluation")
    harness.check_benchmarks(benchmarks, "opencompass", "OpenCompass", "harness", settings.allow_code)
    if not shutil.which(executable := (settings.command or [""])[0]):
        raise InputError(
            f"Expected the path of OpenCompass's executable as command, found {executable!r}, which cannot be run; "
            "install opencompass in an environment of its own and give its bin/opencompass."
        )
    return settings


def _run(command: Sequence[str | Path], log: Path, settings: OpenCompassEvaluation) -> str:
    """Run OpenCompass and end all that it started; what went wrong, in words."""
    plain = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    how = {"stdin": subprocess.DEVNULL, "cwd": settings.data, "env": plain, "start_new_session": True}
    with log.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream, **how) as process:
        try:
            code = process.wait(settings.timeout)
        except subprocess.TimeoutExpired:
            return f"was not done after {settings.timeout} seconds"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return f"ended with exit code {code}" if code else ""


def _write_config(folder: Path, model: str, benchmarks: Sequence[Benchmark], settings: OpenCompassEvaluation) -> Path:
    """A file for each benchmark, and one that asks for them all; its summary has one line for each benchmark."""
    benchmark, config = ((TEMPLATES / name).read_text() for name in ("benchmark.txt", "config.txt"))
    imports, groups, lists = [], [], []
    for i, b in enumerate(benchmarks):
        text = benchmark.format(module=b.opencompass, sets=tuple(b.sets), length=settings.max_new_tokens)
        (folder / f"benchmark_{i}.py").write_text(text)
        lists.append(f"datasets_{i}")
        imports.append(f"    from .benchmark_{i} import datasets as datasets_{i}")
        groups.append(f"dict(name={GROUP + b.name!r}, subsets=[one['abbr'] for one in datasets_{i}])")
    values = {"imports": "\n".join(imports), "datasets": " + ".join(lists), "groups": ", ".join(groups)}
    lines = [[GROUP + b.name, AVERAGE] for b in benchmarks]
    (folder / "config.py").write_text(config.format(**values, model=model, lines=lines))
    return folder / "config.py"


def _model_entry(path: Path, dtype: torch.dtype, settings: OpenCompassEvaluation) -> str:
    """The model as OpenCompass lists it; it would trust code from the model's folder by default."""
    gpus = min(torch.cuda.device_count(), 1) if settings.gpus is None else settings.gpus
    safe = {"trust_remote_code": False}
    if settings.backend == "vllm":
        name, own = "VLLMwithChatTemplate", {"generation_kwargs": {"temperature": 0}}
        own["model_kwargs"] = harness.VLLM | safe | {"tensor_parallel_size": max(gpus, 1)} | (settings.vllm or {})
    else:
        name, own = "HuggingFacewithChatTemplate", {"tokenizer_kwargs": safe}
        own["model_kwargs"] = safe | {"torch_dtype": str(dtype), "use_safetensors": True}
    own |= {"abbr": MODEL, "path": str(path), "run_cfg": {"num_gpus": gpus}}
    own |= {"max_out_len": settings.max_new_tokens, "batch_size": settings.batch_size}
    return f"dict(type={name}, {', '.join(f'{key}={value!r}' for key, value in own.items())})"


def _make_readable(folder: Path) -> None:
    """Add what version 4 of transformers reads; it would take another base of the rotations without a word."""
    config, tokenizer = (json.loads((folder / name).read_text()) for name in FILES)
    if theta := (config.get("rope_parameters") or {}).get("rope_theta"):
        config["rope_theta"] = theta
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    for name, given in zip(FILES, (config, tokenizer)):
        (folder / name).write_text(json.dumps(given, indent=2))


def read_summary(path: str | Path) -> pd.DataFrame:
    """Shares in a ``summary_<time>.csv`` of percentages, by data set and metric, a column a model; missing at ``-``."""
    expected = f"the columns {', '.join(COLUMNS)} and numbers or - for each model in the summary {path}"
    with refused(expected, "give summary_<time>.csv", OSError, KeyError, ValueError):  # the last also of the parser
        table = pd.read_csv(path, dtype=str, keep_default_na=False).set_index(COLUMNS)
        if table.columns.empty:
            raise ValueError("no model")
        return table.replace("-", "nan").astype(float).droplevel(["version", "mode"]) / 100
