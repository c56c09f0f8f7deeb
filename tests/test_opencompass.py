"""OpenCompass as an external command: what it is given, how it may fail, and what is read of its summary.

A small program stands in for it.  It executes the configuration as Python, with packages of its own in
place of mmengine and OpenCompass, and writes a summary in the form of OpenCompass 0.5.
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from language_models import chat_tokenizer, tiny_model

from causalmix.core.errors import InputError
from causalmix.data.recipes import Recipe
from causalmix.lm import harness, opencompass
from causalmix.lm.benchmarks import Benchmark
from causalmix.lm.opencompass import read_summary

GSM8K = Benchmark("gsm8k", "math", opencompass="gsm8k.gsm8k_gen")
AGIEVAL = Benchmark("agieval", "reasoning", opencompass="agieval.gen", sets=("agieval-math", "agieval-sat-en"))
CODE = Benchmark("humaneval", "coding", opencompass="gsm8k.gsm8k_gen", runs_code=True)

PROGRAM = """#!{python}
import importlib, json, os, sys
from pathlib import Path

here = Path({here!r})
assert "PYTHONPATH" not in os.environ
mode = sys.argv.pop(1) if sys.argv[1].startswith("=") else ""
config, flag, work = sys.argv[1:]
assert flag == "--work-dir"
print("told to the log")
if mode == "=fail":
    sys.exit(3)
sys.path[:0] = [str(here / "packages"), str(Path(config).parent.parent)]
made = importlib.import_module(Path(config).parent.name + ".config")
model = made.models[0]
folder = Path(model["path"])
(here / "seen.json").write_text(json.dumps({{
    "type": model.pop("type").__name__, "model": model, "files": sorted(p.name for p in folder.iterdir()),
    "config": json.loads((folder / "config.json").read_text()), "cwd": os.getcwd(),
    "tokenizer_class": json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"],
    "generation": json.loads((folder / "generation_config.json").read_text()),
    "lengths": [d["infer_cfg"]["inferencer"]["max_out_len"] for d in made.datasets],
    "datasets": [d["abbr"] for d in made.datasets],
}}))
rates = {{d["abbr"]: d["rate"] for d in made.datasets}}
lines = ["dataset,version,metric,mode," + model["abbr"]]
for name, metric in made.summarizer["dataset_abbrs"]:
    group = next(g for g in made.summarizer["summary_groups"] if g["name"] == name)
    mean = sum(rates[one] for one in group["subsets"]) / len(group["subsets"])
    lines.append(f"{{name}},-,-,-,-" if mode == "=partial" else f"{{name}},-,{{metric}},gen,{{mean:.2f}}")
if mode != "=silent":
    summary = Path(work) / "20260701_101112" / "summary"
    summary.mkdir(parents=True)
    (summary / "summary_20260701_101112.csv").write_text("\\n".join(lines) + "\\n")
"""
PACKAGES = {
    "mmengine/config.py": "import contextlib\nread_base = contextlib.nullcontext\n",
    "opencompass/models.py": "class HuggingFacewithChatTemplate: pass\nclass VLLMwithChatTemplate: pass\n",
    "opencompass/configs/datasets/gsm8k/gsm8k_gen.py": (
        "gsm8k_reader_cfg = {}\n"
        "gsm8k_datasets = [dict(abbr='gsm8k', rate=35.0, infer_cfg=dict(inferencer=dict(max_out_len=512)))]\n"
    ),
    "opencompass/configs/datasets/agieval/gen.py": (
        "agieval_datasets = [dict(abbr='agieval-' + name, rate=rate, infer_cfg=dict(inferencer=dict()))\n"
        "    for name, rate in (('gaokao-chinese', 99.0), ('math', 10.0), ('sat-en', 40.0))]\n"
    ),
}


@pytest.fixture
def command(tmp_path):
    """The program that stands in for OpenCompass."""
    for name, text in PACKAGES.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    program = tmp_path / "opencompass"
    program.write_text(PROGRAM.format(python=sys.executable, here=str(tmp_path)))
    program.chmod(0o755)
    return str(program)


def ask(command, benchmarks=(GSM8K, AGIEVAL), **settings):
    return opencompass.evaluate(tiny_model(), chat_tokenizer(), benchmarks, command=command, **settings)


def seen(command):
    return json.loads((Path(command).parent / "seen.json").read_text())


def test_scores_come_back_as_shares_one_for_each_benchmark(command):
    assert ask(command) == pytest.approx({"gsm8k": 0.35, "agieval": 0.25})  # the set that is not named does not count


def test_the_command_gets_what_it_needs(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    ask("./opencompass", batch_size=3, max_new_tokens=99, gpus=0, data="elsewhere", work=tmp_path)
    told = seen(command)
    assert told["cwd"] == str(tmp_path / "elsewhere")
    assert told["type"] == "HuggingFacewithChatTemplate" and told["lengths"] == [99, 99, 99]
    assert told["datasets"] == ["gsm8k", "agieval-math", "agieval-sat-en"]
    model = told["model"]
    assert (model["max_out_len"], model["batch_size"], model["run_cfg"]) == (99, 3, {"num_gpus": 0})
    kwargs = {"torch_dtype": "torch.float32", "trust_remote_code": False, "use_safetensors": True}
    assert model["model_kwargs"] == kwargs
    assert model["tokenizer_kwargs"] == {"trust_remote_code": False}
    assert "model.safetensors" in told["files"] and not [f for f in told["files"] if f.endswith((".bin", ".pt"))]
    assert not Path(model["path"]).exists()
    (kept,) = tmp_path.glob("opencompass-*")
    assert (kept / opencompass.LOG).read_text() == "told to the log\n"


def test_the_models_folder_can_be_read_by_version_4_of_transformers(command):
    model, tokenizer = tiny_model(), chat_tokenizer()
    model.config.rope_parameters["rope_theta"] = 1e6
    model.generation_config.max_new_tokens = 7
    opencompass.evaluate(model, tokenizer, [GSM8K], command=command)
    told = seen(command)
    assert told["config"]["rope_theta"] == 1e6 == told["config"]["rope_parameters"]["rope_theta"]
    assert told["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "max_new_tokens" not in told["generation"] and told["generation"]["eos_token_id"] == tokenizer.eos_token_id
    assert model.generation_config.max_new_tokens == 7


def test_vllm_is_told_its_own_settings(command):
    ask(command, [GSM8K], backend="vllm", gpus=2, vllm={"max_model_len": 512})
    told = seen(command)
    assert told["type"] == "VLLMwithChatTemplate" and told["model"]["generation_kwargs"] == {"temperature": 0}
    expected = {"tensor_parallel_size": 2, "max_model_len": 512, "trust_remote_code": False}
    assert expected.items() <= told["model"]["model_kwargs"].items()


@pytest.mark.parametrize(
    "mode, sentence",
    [
        ("=fail", "ended with exit code 3"),
        ("=silent", "no score between 0 and 100 for gsm8k, agieval"),
        ("=partial", "no score between 0 and 100 for gsm8k, agieval"),
    ],
)
def test_a_failure_is_told_with_the_end_of_the_log(command, mode, sentence):
    with pytest.raises(RuntimeError, match=f"(?s){sentence}.*told to the log"):
        ask([command, mode])


def test_who_takes_too_long_is_ended_with_its_children(tmp_path):
    program = tmp_path / "opencompass"
    program.write_text('#!/bin/sh\necho waiting\nsleep 300 &\necho $! > "$0.pid"\nwait\n')
    program.chmod(0o755)
    with pytest.raises(RuntimeError, match="(?s)not done after 1 seconds.*waiting"):
        ask(str(program), timeout=1)
    child = int((tmp_path / "opencompass.pid").read_text())
    for _ in range(100):  # the system takes a moment to sweep up
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("the child still runs")


def test_generated_code_is_executed_only_with_leave(command):
    with pytest.raises(InputError, match="allow_code=True.*humaneval"):
        ask(command, [CODE])
    assert not (Path(command).parent / "seen.json").exists()
    assert ask(command, [CODE], allow_code=True) == {"humaneval": 0.35}


@pytest.mark.parametrize(
    "benchmarks, settings, sentence",
    [
        ([], {}, "Expected at least one benchmark"),
        ([Benchmark("toxigen", "safety", task="t")], {}, "Expected benchmarks that OpenCompass has, found toxigen"),
        ([GSM8K], {"command": "nowhere/opencompass"}, "Expected the path of OpenCompass's executable.*'nowhere/openc"),
        ([GSM8K], {"command": []}, "Expected the path of OpenCompass's executable.*found ''"),
        (
            [GSM8K],
            {"comand": "x"},
            "Expected a setting of the evaluation among batch.*'comand'; did you mean command",
        ),
        ([GSM8K], {"timeout": 0.5}, "Expected timeout of the evaluation to be a valid integer, found 0.5"),
        ([GSM8K], {"work": "nowhere"}, "Expected work of the evaluation to be a folder that is there, found 'nowhere'"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(command, benchmarks, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        opencompass.check(benchmarks, {"command": command} | settings)


def test_a_study_names_its_evaluator():
    evaluator = lambda **evaluation: Recipe("local", evaluation=evaluation).evaluator  # noqa: E731
    assert evaluator(limit=3) == (harness, {"limit": 3})
    assert evaluator(evaluator="harness") == (harness, {})
    assert evaluator(evaluator="opencompass", gpus=1) == (opencompass, {"gpus": 1})
    with pytest.raises(InputError, match="Expected an evaluator among harness, opencompass, found 'helm'"):
        evaluator(evaluator="helm")


def test_a_summary_is_read_as_it_is_published(tmp_path):
    path = tmp_path / "summary_20260701_101112.csv"
    path.write_text(
        "dataset,version,metric,mode,qwen2.5-0.5b-hf,qwen2.5-7b-vllm\n"
        "gsm8k,1d7fe4,accuracy,gen,35.41,84.08\n"
        "IFEval,3321a3,Prompt-level-strict-accuracy,gen,27.91,-\n"
        "sanitized_mbpp,830460,score,gen,46.69,nan\n"
        "sanitized_mbpp,830460,timeout,gen,3.00,0.00\n"
        "agieval-english,-,-,-,-,-\n"
    )
    scores = read_summary(path)
    assert list(scores.index.names) == ["dataset", "metric"] and scores.shape == (5, 2)
    assert scores["qwen2.5-0.5b-hf"]["gsm8k", "accuracy"] == pytest.approx(0.3541)
    assert scores["qwen2.5-7b-vllm"]["gsm8k", "accuracy"] == pytest.approx(0.8408)
    for missing in (("IFEval", "Prompt-level-strict-accuracy"), ("sanitized_mbpp", "score"), ("agieval-english", "-")):
        assert pd.isna(scores["qwen2.5-7b-vllm"][missing])


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "found No columns"),
        (
            "dataset,metric,m\ngsm8k,accuracy,35.0\n",
            "Expected the columns dataset, version, metric, mode.*'version'",
        ),
        ("dataset,version,metric,mode\ngsm8k,1,accuracy,gen\n", "Expected the columns.*found no model"),
        ("dataset,version,metric,mode,m\ngsm8k,1,accuracy,gen,high\n", "numbers or - for each model.*'high'"),
    ],
)
def test_another_table_is_refused(tmp_path, text, sentence):
    path = tmp_path / "summary.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_summary(path)
    with pytest.raises(InputError, match="found .*No such file"):
        read_summary(tmp_path / "other.csv")
