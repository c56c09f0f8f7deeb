"""What goes to OpenCompass and what comes back: its configuration, a model's folder, the table of its summary.

Written for OpenCompass 0.5, whose configurations are Python files that it reads without importing itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from causalmix.errors import InputError
from causalmix.harness import VLLM
from causalmix.tasks.benchmarks import Benchmark

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
