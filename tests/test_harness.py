"""Benchmarks through lm-evaluation-harness, on tasks of one's own whose data lie on disk."""

import importlib.util
import json
import os
import random
from pathlib import Path

import datasets.config
import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from language_models import chat_tokenizer, row, tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, set_seed

from causalmix.core.errors import InputError
from causalmix.lm import conversations, harness
from causalmix.lm.benchmarks import Benchmark
from causalmix.train import sft

pytest.importorskip("lm_eval")

OPPOSITES = {"cold": "hot", "dark": "light", "small": "large", "early": "late", "wet": "dry"}
QUICK = {"batch_size": 8, "max_new_tokens": 12}
CHOICE = Benchmark("choice", "knowledge", task="own_choice", metric="acc,none")
WRITTEN = Benchmark("written", "math", "unseen", task="own_written", metric="exact_match,none", shots=0)


def prompt(word):
    return f"what is the opposite of {word}?"


def task_file(folder, name, **fields):
    """A task's file for the harness, over the data of the folder."""
    common = {
        "task": name, "dataset_path": "json", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(folder / "items.jsonl")}}, "doc_to_text": "{{question}}",
    }  # fmt: skip
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(common | fields))


@pytest.fixture(autouse=True)
def no_hub(tmp_path, monkeypatch):
    """Nothing is asked of a network, and nothing is read from or written to the user's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Items and two task files: one compares likelihoods, the other reads a written answer."""
    folder = tmp_path_factory.mktemp("tasks")
    items = [
        {"question": prompt(word), "answer": answer, "choices": list(OPPOSITES.values()), "gold": i}
        for i, (word, answer) in enumerate(OPPOSITES.items())
    ]
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, items)) + "\n")
    task_file(folder, "own_choice", output_type="multiple_choice", doc_to_choice="{{choices}}", doc_to_target="gold")
    written = {
        "output_type": "generate_until", "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": [], "do_sample": True, "temperature": 5.0, "max_gen_toks": 1},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip
    task_file(folder, "own_written", **written)
    task_file(folder, "own_hub", **written | {"dataset_path": "openai/gsm8k", "dataset_kwargs": {}})
    task_file(folder, "own_lost", **written | {"dataset_kwargs": {"data_files": str(folder / "lost.jsonl")}})
    (folder / "judges.py").write_text(
        "import os, random, numpy, torch\n"
        "def code(doc, results): return {'exact_match': float(os.environ.get('HF_ALLOW_CODE_EVAL') == '1')}\n"
        "def other(doc, results): return {'other': 1.0}\n"
        "def drawn(doc, results):\n"
        "    return {'exact_match': (random.random() + numpy.random.rand() + torch.rand(1).item()) / 3}\n"
        "def percent(doc, results): return {'exact_match': 37.0}\n"
    )
    (folder / "lacking.py").write_text("import a_package_that_nobody_has\n")
    for function in ("judges.code", "judges.other", "judges.percent", "judges.drawn", "lacking.lacking"):
        name = function.split(".")[1]
        unsafe = "unsafe_code: true\n" if name == "code" else ""
        (folder / f"own_{name}.yaml").write_text(
            f"include: own_written.yaml\ntask: own_{name}\nprocess_results: !function {function}\n{unsafe}"
        )
    (folder / "group.yaml").write_text(
        yaml.safe_dump({
            "group": "own_group", "task": ["own_choice", "own_written"],
            "aggregate_metric_list": [{"metric": "acc", "aggregation": "mean", "weight_by_size": True}],
        })
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def trained():
    """A model that has learnt the opposites by heart, and its tokenizer."""
    tokenizer, model = chat_tokenizer(), tiny_model(hidden=64)
    rows = conversations.tokenize([row(prompt(word), answer) for word, answer in OPPOSITES.items()] * 8, tokenizer)
    settings = sft.SFTSettings(epochs=40, batch_size=8, learning_rate=5e-3, max_length=128)
    sft.finetune(model, tokenizer, rows, settings, seed=0)
    return model, tokenizer


def scores(model_and_tokenizer, folder, benchmarks=(CHOICE, WRITTEN), **settings):
    return harness.evaluate(*model_and_tokenizer, benchmarks, **QUICK | {"include_path": str(folder)} | settings)


def test_who_knows_the_answers_scores_one_and_who_does_not_scores_less(trained, folder):
    assert scores(trained, folder) == {"choice": 1.0, "written": 1.0}
    untrained = scores((tiny_model(hidden=64), chat_tokenizer()), folder)
    assert untrained["written"] == 0 and untrained["choice"] < 1


def test_a_group_gives_its_own_average(trained, folder):
    assert scores(trained, folder, [Benchmark("both", "math", task="own_group")]) == {"both": 1.0}


def test_a_checkpoints_own_habits_of_generation_do_not_count(trained, folder, monkeypatch):
    monkeypatch.setattr(trained[0], "generation_config", GenerationConfig(max_new_tokens=1, repetition_penalty=50.0))
    assert scores(trained, folder, [WRITTEN]) == {"written": 1.0}


def test_the_same_questions_are_asked_in_chat_form_whatever_was_drawn_before(trained, folder, monkeypatch):
    from lm_eval.models.huggingface import HFLM

    asked = []
    answer = HFLM.loglikelihood
    monkeypatch.setattr(
        HFLM, "loglikelihood", lambda self, requests: asked.append([r.args for r in requests]) or answer(self, requests)
    )
    with_examples = Benchmark("choice", "knowledge", task="own_choice", shots=2)
    for seed in (1, 2):
        set_seed(seed)
        scores(trained, folder, [with_examples])
    assert asked[0] == asked[1]
    context = asked[0][0][0]
    assert context.startswith("<|im_start|>user\n") and context.endswith("<|im_start|>assistant\n")
    assert context.count("<|im_start|>assistant") == 3


def test_a_task_that_draws_numbers_gives_the_same_score_twice(trained, folder):
    drawn = []
    for seed, others in ((1, []), (2, [CHOICE])):
        set_seed(seed)
        lot = Benchmark("lot", "math", task="own_drawn", metric="exact_match,none")
        drawn.append(scores(trained, folder, [*others, lot])["lot"])
    assert drawn[0] == drawn[1]


def test_what_was_borrowed_is_given_back_as_it_was(trained, folder):
    model, tokenizer = trained
    model.train()
    set_seed(5)
    own = model.generation_config
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state(), tokenizer.padding_side
    scores(trained, folder)
    assert model.training and model.generation_config is own and tokenizer.padding_side == before[3]
    assert random.getstate() == before[0] and (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])


def test_generated_code_is_executed_only_with_leave_and_only_then(trained, folder, monkeypatch):
    monkeypatch.delenv(harness.CODE, raising=False)
    own = {"axis": "coding", "task": "own_code", "metric": "exact_match,none"}
    told, untold = Benchmark("code", runs_code=True, **own), Benchmark("code", runs_code=False, **own)
    for benchmark in (told, untold):
        with pytest.raises(InputError, match="allow_code=True.*code"):
            scores(trained, folder, [benchmark])
        with pytest.raises(InputError, match="allow_code=True.*code"):
            harness.check([benchmark], {"include_path": str(folder)})
    for benchmark in (told, untold):  # the task sees the variable
        assert scores(trained, folder, [benchmark], allow_code=True) == {"code": 1.0}
    assert harness.CODE not in os.environ


@pytest.mark.parametrize(
    "task, metric, sentence",
    [
        ("own_choice", "f1,none", "Expected the metric f1,none.*found acc,none; acc_norm,none"),
        ("own_other", "exact_match,none", "Expected the metric exact_match,none.*found other,none"),
        ("own_percent", "exact_match,none", r"Expected a score in \[0, 1\].*found 37"),
        ("own_group", "acc,strict", "Expected the metric acc,strict.*found acc,none"),
    ],
)
def test_a_metric_that_is_absent_or_no_share_is_told(trained, folder, task, metric, sentence):
    with pytest.raises(InputError, match=sentence):
        scores(trained, folder, [Benchmark("b", "math", task=task, metric=metric)])


@pytest.mark.parametrize(
    "task, sentence",
    [
        ("own_hub", "Couldn't reach 'openai/gsm8k'.*; fetch its data into the Hugging Face cache"),
        ("own_lost", "lost.jsonl.*; fetch its data"),
        ("own_lacking", r"found ModuleNotFoundError.*; install what it needs with `pip install 'causalmix\[paper\]'`"),
    ],
)
def test_data_or_packages_that_cannot_be_had_are_told_before_training(trained, folder, task, sentence):
    benchmark = Benchmark("b", "math", task=task, metric="exact_match,none")
    asked = (lambda: harness.check([benchmark], {"include_path": folder}), lambda: scores(trained, folder, [benchmark]))
    for ask in asked:
        with pytest.raises(InputError, match=sentence) as told:
            ask()
        assert "\n" not in str(told.value)


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch, folder):
    asked = []

    class Dead:
        def head(self, *args, **kwargs):
            asked.append(args)
            raise ConnectionError

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", Dead)
    with pytest.raises(InputError, match="Couldn't reach"):
        harness.check([Benchmark("b", "math", task="own_hub", metric="exact_match,none")], {"include_path": folder})
    harness.check([CHOICE, WRITTEN], {"include_path": folder})  # all on disk: no question at all
    assert len(asked) == 1 and not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    "settings, sentence",
    [
        (
            {"batchsize": 8},
            "Expected a setting of the evaluation among batch.*'batchsize'; did you mean batch_size",
        ),
        ({"batch_size": "auto"}, "Expected batch_size of the evaluation to be a valid integer, found 'auto'"),
        ({"max_new_tokens": None}, "Expected max_new_tokens of the evaluation to be a valid integer, found None"),
        ({"limit": 0}, "Expected limit of the evaluation to be greater than 0, found 0"),
        ({"backend": "jax"}, "Expected backend of the evaluation to be 'hf' or 'vllm', found 'jax'"),
        ({"include_path": "nowhere"}, "include_path of the evaluation to be a folder that is there, found 'nowhere'"),
    ],
)
def test_settings_that_cannot_be_are_refused(folder, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        harness.check([CHOICE], {"include_path": str(folder)} | settings)


def test_benchmarks_that_the_harness_lacks_are_refused(folder):
    with pytest.raises(InputError, match="Expected at least one benchmark"):
        harness.check([], {})
    with pytest.raises(InputError, match="Expected benchmarks that lm-evaluation-harness has, found elsewhere"):
        harness.check([CHOICE, Benchmark("elsewhere", "math", opencompass="a.b")], {"include_path": str(folder)})


def test_an_answer_longer_than_the_models_context_is_refused(trained, folder):
    with pytest.raises(InputError, match="below the context of 2048, found 2048"):
        scores(trained, folder, max_new_tokens=2048)


def pretend(monkeypatch, **found):
    """Packages that are said to be installed (or not)."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: found[name] if name in found else real(name, *a))


def test_packages_that_are_not_installed_are_named(folder, monkeypatch):
    pretend(monkeypatch, lm_eval=None, vllm=None)
    with pytest.raises(InputError, match=r"`pip install 'causalmix\[paper\]'`"):
        harness.check([CHOICE], {})
    monkeypatch.undo()
    pretend(monkeypatch, vllm=None)
    with pytest.raises(InputError, match="Expected vLLM.*`pip install vllm`"):
        harness.check([CHOICE], {"backend": "vllm", "include_path": str(folder)})


def test_vllm_gets_a_copy_of_the_model_as_safetensors(trained, folder, monkeypatch):
    from lm_eval.api import registry

    given, real = {}, registry.get_model

    def engine(pretrained, **arguments):
        given.update(arguments, files={path.name for path in Path(pretrained).iterdir()}, folder=Path(pretrained))
        model = AutoModelForCausalLM.from_pretrained(pretrained)
        return real("hf")(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(pretrained), batch_size=8)

    pretend(monkeypatch, vllm=True)
    monkeypatch.setattr(registry, "get_model", lambda name: {"vllm": engine}[name])
    assert scores(trained, folder, backend="vllm", vllm={"max_model_len": 512}) == {"choice": 1.0, "written": 1.0}
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= given["files"]
    assert not [name for name in given["files"] if name.endswith((".bin", ".pt"))] and not given["folder"].exists()
    assert (given["max_gen_toks"], given["max_model_len"], given["dtype"]) == (12, 512, "bfloat16")
