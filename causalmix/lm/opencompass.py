"""Scores on public benchmarks through OpenCompass, an external command with an environment of its own.

It cannot share ours: it needs numpy below 2 and datasets below 4.  So a model goes there as a folder, the
questions as a configuration file, and the scores come back as the table of its summary.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from causalmix.core.errors import InputError
from causalmix.lm import harness
from causalmix.lm.benchmarks import Benchmark, refuse_code
from causalmix.lm.harness import VLLM

EVALUATORS = ("harness", "opencompass")
LOG = "opencompass.log"
TAIL = 15  # lines of the log in an error


def evaluator(settings: Mapping[str, Any]) -> tuple[ModuleType, dict[str, Any]]:
    """The module that a study's ``evaluation`` names as ``evaluator``, and the settings that are left for it.

    Both modules have ``evaluate(model, tokenizer, benchmarks, **settings)`` and ``check(benchmarks, settings)``.

    Raises
    ------
    InputError
        When there is no evaluator of that name.
    """
    rest = dict(settings)
    name = rest.pop("evaluator", EVALUATORS[0])
    if name not in EVALUATORS:
        raise InputError(f"Expected an evaluator among {', '.join(EVALUATORS)}, found {name!r}; choose one of these.")
    return (harness if name == "harness" else sys.modules[__name__]), rest


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    benchmarks: Sequence[Benchmark],
    *,
    command: str | Sequence[str],
    work: str | Path | None = None,
    data: str | Path | None = None,
    backend: str = "hf",
    batch_size: int = 16,
    max_new_tokens: int = harness.MAX_NEW_TOKENS,
    gpus: int | None = None,
    timeout: int | None = None,
    allow_code: bool = False,
    vllm: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Score a model on benchmarks with OpenCompass, each in its chat template and with greedy answers.

    Parameters
    ----------
    model, tokenizer
        Causal language model and its tokenizer, with a chat template; the model leaves the GPU meanwhile.
    benchmarks : sequence of Benchmark
        Each names a module of configurations of OpenCompass.
    command : str or sequence of str
        Path of the executable ``opencompass`` in its own environment, or that and arguments of it.
    work : str or Path, optional
        Folder in which a new one keeps the configuration, the log and the results; by default they are
        removed once read.
    data : str or Path, optional
        Folder in which OpenCompass runs and therefore looks for ``data/``; by default the working folder.
    backend : {"hf", "vllm"}
        What generates, in the other environment.
    batch_size, max_new_tokens : int
        As in :func:`causalmix.lm.harness.evaluate`.
    gpus : int, optional
        Of one copy of the model; by default one where this machine has any.
    timeout : int, optional
        Seconds after which OpenCompass is ended.
    allow_code : bool
        Whether generated code may be executed on this machine.
    vllm : mapping, optional
        Further arguments of vLLM.

    Returns
    -------
    dict
        Score in [0, 1] by benchmark name: the plain mean, over the benchmark's data sets, of the first metric
        that OpenCompass lists for each.  The data sets are those in the module's lists that end in
        ``_datasets``, as its own command line reads a module, restricted to ``Benchmark.sets`` if given.

    Raises
    ------
    InputError
        For what :func:`check` refuses.
    RuntimeError
        If OpenCompass fails, takes too long or leaves a benchmark without a score; with the end of its log.
    """
    given = locals()
    check(benchmarks, {k: v for k, v in given.items() if k not in ("model", "tokenizer", "benchmarks")})
    gpus = min(torch.cuda.device_count(), 1) if gpus is None else gpus
    executable, *arguments = [command] if isinstance(command, str) else command
    arguments = [os.path.abspath(shutil.which(executable)), *arguments]  # it may run in another folder
    with _work_folder(work) as folder, harness.neutral_generation(model, tokenizer):
        with harness.saved(model, tokenizer) as path:
            readable_by_older(path)
            entry = model_entry(path, model.dtype, backend, batch_size, max_new_tokens, gpus, vllm or {})
            config = write_config(folder, entry, benchmarks, max_new_tokens)
            _run([*arguments, str(config), "--work-dir", str(folder / "results")], data, folder / LOG, timeout)
        return _scores(folder, benchmarks)


def check(benchmarks: Sequence[Benchmark], settings: Mapping[str, Any]) -> None:
    """Refuse what could not be evaluated, in seconds, before a model is trained.

    Whether OpenCompass has its data is not known here.

    Parameters
    ----------
    benchmarks : sequence of Benchmark
    settings : mapping
        Keyword arguments of :func:`evaluate`.

    Raises
    ------
    InputError
        For unknown or impossible settings, benchmarks that OpenCompass lacks or that execute code without leave,
        or a command that does not exist.
    """
    harness.check_settings(settings, evaluate, ("batch_size", "max_new_tokens", "timeout"))
    if not benchmarks:
        raise InputError("Expected at least one benchmark, found none; name one.")
    if missing := [b.name for b in benchmarks if b.opencompass is None]:
        raise InputError(
            f"Expected benchmarks that OpenCompass has, found {', '.join(missing)}, which it lacks; "
            "leave them out, or set evaluator: harness."
        )
    for benchmark in benchmarks:  # they become Python
        if not re.fullmatch(r"\w+(\.\w+)*", benchmark.opencompass):
            raise InputError(
                f"Expected a module below opencompass.configs.datasets for the benchmark {benchmark.name}, "
                f"found {benchmark.opencompass!r}; give its name with dots."
            )
    refuse_code(benchmarks, bool(settings.get("allow_code")))
    command = settings.get("command")
    executable = command if isinstance(command, str) else (list(command) or [""])[0] if command else ""
    if not shutil.which(executable):
        raise InputError(
            f"Expected the path of OpenCompass's executable as command, found {executable!r}, which cannot be run; "
            "install opencompass in an environment of its own and give its bin/opencompass."
        )
    for name in ("work", "data"):
        if (path := settings.get(name)) is not None and not Path(path).is_dir():
            raise InputError(f"Expected a folder as {name}, found {path}; make it, or correct the path.")


@contextmanager
def _work_folder(work: str | Path | None) -> Iterator[Path]:
    """A new folder for one evaluation; kept below ``work`` if that is given."""
    if work is not None:
        yield Path(tempfile.mkdtemp(prefix="opencompass-", dir=work)).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="causalmix-opencompass-") as folder:
        yield Path(folder).resolve()


def _run(command: Sequence[str], cwd: str | Path | None, log: Path, timeout: int | None) -> None:
    """Run OpenCompass to its end, with the processes that it starts; its output goes to the log."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, cwd=cwd, env=environment,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise RuntimeError(f"OpenCompass was not done after {timeout} seconds; {_tail(log)}") from None
            raise
    if code:
        raise RuntimeError(f"OpenCompass ended with exit code {code}; {_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return f"the end of {log}:\n" + "\n".join(lines[-TAIL:])


def _scores(folder: Path, benchmarks: Sequence[Benchmark]) -> dict[str, float]:
    """One score for each benchmark; OpenCompass ends well even when a task of it has failed."""
    summaries = sorted((folder / "results").glob("*/summary/*.csv"))
    if not summaries:
        raise RuntimeError(f"OpenCompass wrote no summary; {_tail(folder / LOG)}")
    table = read_summary(summaries[-1])
    table = table[(table["model"] == MODEL) & (table["metric"] == AVERAGE)].set_index("dataset")["score"]
    scores = {b.name: float(table.get(GROUP + b.name, math.nan)) for b in benchmarks}
    if missing := [name for name, score in scores.items() if not 0 <= score <= 1]:
        raise RuntimeError(
            f"OpenCompass gave no score between 0 and 100 for {', '.join(missing)}; see its tasks' logs in "
            f"{folder / 'results'} (kept where `work` is set) and {_tail(folder / LOG)}"
        )
    return scores


COLUMNS = ("dataset", "version", "metric", "mode")  # of a summary, before one column for each model
MODEL = "causalmix"  # what the model is called there
GROUP = "causalmix-"  # before a benchmark's name: some data sets have the same name
AVERAGE = "naive_average"  # what OpenCompass calls the plain mean over a group


def write_config(folder: Path, model: str, benchmarks: Sequence[Benchmark], max_new_tokens: int) -> Path:
    """Write the configuration of one evaluation: a file for each benchmark, and one that asks for them all.

    Parameters
    ----------
    folder : Path
        Where the files go.
    model : str
        The model's entry, as Python.
    benchmarks : sequence of Benchmark
    max_new_tokens : int
        Length of every answer, whatever the data sets say.

    Returns
    -------
    Path
        The file that OpenCompass is given; its summary has one line for each benchmark.
    """
    imports, names, groups = [], [], []
    for i, benchmark in enumerate(benchmarks):
        (folder / f"benchmark_{i}.py").write_text(_benchmark_file(benchmark, max_new_tokens))
        imports.append(f"    from .benchmark_{i} import datasets as datasets_{i}")
        names.append(f"datasets_{i}")
        groups.append(f"    dict(name={GROUP + benchmark.name!r}, subsets=[one['abbr'] for one in datasets_{i}]),")
    lines = [[GROUP + benchmark.name, AVERAGE] for benchmark in benchmarks]
    text = "\n".join([
        "from mmengine.config import read_base",
        "from opencompass.models import HuggingFacewithChatTemplate, VLLMwithChatTemplate",
        "",
        "with read_base():",
        *imports,
        "",
        f"datasets = {' + '.join(names)}",
        f"models = [{model}]",
        "summary_groups = [",
        *groups,
        "]",
        f"summarizer = dict(dataset_abbrs={lines!r}, summary_groups=summary_groups)",
        "",
    ])  # fmt: skip
    path = folder / "config.py"
    path.write_text(text)
    return path


def _benchmark_file(benchmark: Benchmark, max_new_tokens: int) -> str:
    chosen = f"[one for one in found if one['abbr'] in {tuple(benchmark.sets)!r}]" if benchmark.sets else "found"
    return "\n".join([
        "from mmengine.config import read_base",
        "",
        "with read_base():",
        f"    from opencompass.configs.datasets.{benchmark.opencompass} import *",
        "",
        "found = sum([value for name, value in dict(globals()).items() if name.endswith('_datasets')], [])",
        f"datasets = {chosen}",
        "for dataset in datasets:",
        f"    dataset['infer_cfg']['inferencer']['max_out_len'] = {max_new_tokens}",
        "",
    ])  # fmt: skip


def model_entry(
    path: Path,
    dtype: torch.dtype,
    backend: str,
    batch_size: int,
    max_new_tokens: int,
    gpus: int,
    vllm: Mapping[str, Any],
) -> str:
    """The model as OpenCompass lists it; it would trust code from the model's folder by default."""
    common = {
        "abbr": MODEL, "path": str(path), "max_out_len": max_new_tokens, "batch_size": batch_size,
        "run_cfg": {"num_gpus": gpus},
    }  # fmt: skip
    if backend == "vllm":
        kwargs = VLLM | {"tensor_parallel_size": max(gpus, 1), "trust_remote_code": False} | dict(vllm)
        own = {"model_kwargs": kwargs, "generation_kwargs": {"temperature": 0}}
        name = "VLLMwithChatTemplate"
    else:
        kwargs = {"torch_dtype": str(dtype), "trust_remote_code": False, "use_safetensors": True}
        own = {"model_kwargs": kwargs, "tokenizer_kwargs": {"trust_remote_code": False}}
        name = "HuggingFacewithChatTemplate"
    entries = ", ".join(f"{key}={value!r}" for key, value in (common | own).items())
    return f"dict(type={name}, {entries})"


def readable_by_older(folder: Path) -> None:
    """Add what version 4 of transformers reads; it would take another base of the rotations without a word."""
    config, tokenizer = folder / "config.json", folder / "tokenizer_config.json"
    given = json.loads(config.read_text())
    rope = given.get("rope_parameters") or {}
    if "rope_theta" in rope:
        given["rope_theta"] = rope["rope_theta"]
        config.write_text(json.dumps(given, indent=2))
    given = json.loads(tokenizer.read_text())
    if given.get("tokenizer_class") == "TokenizersBackend":
        tokenizer.write_text(json.dumps(given | {"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2))


def read_summary(path: str | Path) -> pd.DataFrame:
    """Read the table of a summary of OpenCompass.

    Parameters
    ----------
    path : str or Path
        A file ``summary_<time>.csv``: columns dataset, version, metric, mode, and one for each model.

    Returns
    -------
    DataFrame
        Columns ``dataset, version, metric, mode, model, score``, one line for each data set, metric and
        model.  A score is a hundredth of what the file has (its rates are percentages, its counts are not), and
        missing where the file has ``-``.

    Raises
    ------
    InputError
        When the file is missing or has another form.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Expected a summary of OpenCompass at {path}, found no such file; correct the path.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(
            f"Expected a CSV table in {path.name}, found {' '.join(str(error).split())}; give summary_<time>.csv."
        ) from error
    if tuple(table.columns[: len(COLUMNS)]) != COLUMNS or len(table.columns) == len(COLUMNS):
        raise InputError(
            f"Expected the columns {', '.join(COLUMNS)} and one for each model in {path.name}, "
            f"found {', '.join(table.columns)}; give summary_<time>.csv."
        )
    tidy = table.melt(id_vars=list(COLUMNS), var_name="model", value_name="score")
    numbers = pd.to_numeric(tidy["score"].replace("-", "nan"), errors="coerce")
    wrong = tidy["score"][numbers.isna() & ~tidy["score"].isin(["-", "nan"])]
    if len(wrong):
        raise InputError(f"Expected numbers or - as scores in {path.name}, found {wrong.iloc[0]!r}; correct the file.")
    return tidy.assign(score=numbers / 100)
