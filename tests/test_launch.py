"""Fine-tuning in several processes."""

import json
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from datasets import Dataset
from language_models import chat_tokenizer, row, tiny_model

from causalmix.core.errors import InputError
from causalmix.lm import conversations, pretrained
from causalmix.train import launch, sft

#: Answers of very different lengths: a mean over processes of their means would show.
ROWS = [row("cold ?", "hot"), row("dark ?", "light " * 12), row("early ?", "late 1 2"), row("wet ?", "dry " * 7)]
SETTINGS = sft.SFTSettings(epochs=4, batch_size=2, learning_rate=1e-3)


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny random Qwen2 with its tokenizer on disk."""
    tiny_model().save_pretrained(tmp_path / "base")
    chat_tokenizer().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_two_processes_train_like_one_with_twice_the_batch(checkpoint, tmp_path):
    out = tmp_path / "out"
    facts = launch.finetune_distributed(
        checkpoint, Dataset.from_list(ROWS), out, SETTINGS, 3, config="cpu_two_processes"
    )
    alone, tokenizer = pretrained.load_causal_lm(checkpoint, dtype="float32", device="cpu")
    start = [weight.detach().clone() for weight in alone.parameters()]
    pretrained.use_chat_form(tokenizer, alone)
    expected = sft.finetune(
        alone, tokenizer, conversations.tokenize(ROWS, tokenizer), replace(SETTINGS, batch_size=4), 3
    )
    assert facts["processes"] == 2 and facts["parallelism"] == "MULTI_CPU" and facts["steps"] == expected["steps"] == 4
    assert facts["loss"] == pytest.approx(expected["loss"], abs=1e-5) and np.isfinite(facts["loss"])
    assert (facts["tokens"], facts["rows"]) == (expected["tokens"], expected["rows"])
    assert facts == json.loads((out / "training.json").read_text())
    trained, saved = pretrained.load_causal_lm(out, dtype="float32", device="cpu")
    assert saved.chat_template == tokenizer.chat_template and saved.eos_token == "<|im_end|>"
    for weight, other, old in zip(trained.parameters(), alone.parameters(), start, strict=True):
        moved = (other - old).abs().max()
        assert moved > 0
        assert (weight - other).abs().max() < 0.05 * moved
    assert not [path for path in out.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
    assert not (out / "cache").exists()


def test_a_process_that_fails_is_told_with_its_error(checkpoint, tmp_path):
    settings = replace(SETTINGS, learning_rate=1e30, epochs=2)
    with pytest.raises(RuntimeError, match="FloatingPointError: Training diverged at step"):
        launch.finetune_distributed(
            checkpoint, Dataset.from_list(ROWS), tmp_path / "out", settings, 0, config="cpu_two_processes", processes=1
        )
    assert not (tmp_path / "out" / "training.json").exists()


def test_rows_whose_answer_is_cut_away_are_dropped(tmp_path):
    """Also where one of them is all that a batch of 1,000 rows holds."""
    longest = len(conversations.tokenize(ROWS[1:2], chat_tokenizer())[0]["input_ids"])
    prompt = row("cold " * longest, "hot")
    rows = Dataset.from_list([prompt, *[ROWS[0]] * 999, prompt])
    tokens = conversations.tokenize_all(rows, chat_tokenizer(), tmp_path / "tokens.arrow")
    assert len(conversations.labelled(tokens, longest, tmp_path / "labelled.arrow")) == 999


def test_calls_of_tools_are_learnt_and_what_tools_are_there_is_read(tmp_path):
    """Turns without content have calls; descriptions of tools stand in the prompt, behind what the system says."""
    calls = [{"function": {"name": "add", "arguments": '{"a": 1}'}}]
    turns = [{"role": "system", "content": "0"}, {"role": "user", "content": "1 2 ?"},
             {"role": "assistant", "content": None, "tool_calls": calls}, {"role": "tool", "content": "3"},
             {"role": "assistant", "content": "3"}]  # fmt: skip
    rows, tokenizer = [{"messages": turns, "tools": '[{"name": "add"}]'}, ROWS[0]], chat_tokenizer()
    tokens = conversations.tokenize(rows, tokenizer)
    ids, mask = (np.array(tokens[name][0]) for name in ("input_ids", "completion_mask"))
    said, read = tokenizer.decode(ids[mask == 1]), tokenizer.decode(ids[mask == 0])
    assert said == '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>3<|im_end|>'
    assert read.count("system") == 1 and '<tools>\n{"name": "add"}\n</tools><|im_end|>' in read
    assert tokens[1] == conversations.tokenize(ROWS[:1], tokenizer)[0]
    assert conversations.tokenize_all(Dataset.from_list(rows), tokenizer, tmp_path / "tokens.arrow")[:] == tokens[:]
    with pytest.raises(InputError, match="Expected turns of text in row 2, found a turn of assistant without text"):
        conversations.tokenize([ROWS[0], row("cold ?", None)], tokenizer)


def test_a_row_without_an_answer_is_told_by_its_place(tmp_path):
    """Not by that in its batch of 1,000."""
    rows = Dataset.from_list([*[ROWS[0]] * 1200, row("cold ?")])
    with pytest.raises(InputError, match="found none in row 1201;"):
        conversations.tokenize_all(rows, chat_tokenizer(), tmp_path / "tokens.arrow")
    with pytest.raises(InputError, match="found none in row 2;"):
        conversations.tokenize([ROWS[0], row("cold ?")], chat_tokenizer())


def test_a_folder_that_cannot_be_made_is_the_error_that_is_told(checkpoint, tmp_path, monkeypatch):
    """Not that it is not there to be removed."""
    monkeypatch.setattr(launch.Path, "mkdir", Mock(side_effect=PermissionError))
    with pytest.raises(PermissionError):
        launch.finetune_distributed(
            checkpoint, Dataset.from_list(ROWS), tmp_path / "out", SETTINGS, 0, config="cpu_two_processes"
        )


def refuse(match, checkpoint, out, settings=SETTINGS, config="cpu_two_processes"):
    """Assert that nothing is started."""
    with pytest.raises(InputError, match=match):
        launch.finetune_distributed(checkpoint, Dataset.from_list(ROWS), out, settings, 0, config=config)
    assert not (out / launch.LOG).exists()


def test_bad_input_is_refused_before_a_process_starts(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_launch", lambda *_: pytest.fail("a process was started"))
    out = tmp_path / "out"
    refuse("launch config among .*fsdp2.*found 'none.yaml'", checkpoint, out, config="none.yaml")
    refuse("raise it", checkpoint, out, replace(SETTINGS, max_length=3))
    both = replace(SETTINGS, activation_checkpointing=True)
    refuse("activation checkpointing in one place", checkpoint, out, both, "fsdp2_longcot")
    two_nodes = (launch.CONFIGS / "fsdp2.yaml").read_text().replace("num_machines: 1", "num_machines: 2")
    (tmp_path / "nodes.yaml").write_text(two_nodes)
    refuse("one machine", checkpoint, out, config=tmp_path / "nodes.yaml")
    (tmp_path / "bad.yaml").write_text("no_such_key: 1\n")
    refuse("configuration of accelerate", checkpoint, out, config=tmp_path / "bad.yaml")


def test_the_configurations_are_valid():
    configs = {path.stem: load_config_from_file(str(path)) for path in launch.CONFIGS.glob("*.yaml")}
    assert set(configs) == {"single_gpu", "fsdp2", "fsdp2_longcot", "cpu_two_processes"}
    for name in ("fsdp2", "fsdp2_longcot"):
        sharding = configs[name].fsdp_config
        assert (configs[name].distributed_type, sharding["fsdp_version"]) == ("FSDP", 2)
        assert configs[name].mixed_precision == "bf16"
        assert sharding["fsdp_state_dict_type"] == "FULL_STATE_DICT"  # else the trainer saves no checkpoint
        assert sharding["fsdp_activation_checkpointing"] == (name == "fsdp2_longcot")
    assert configs["cpu_two_processes"].use_cpu and configs["cpu_two_processes"].num_processes == 2


def test_the_configurations_hold_no_key_that_the_launcher_ignores():
    from accelerate.commands.launch import launch_command_parser

    known = vars(launch_command_parser().parse_args(["x.py"]))
    for path in launch.CONFIGS.glob("*.yaml"):
        assert set(yaml.safe_load(path.read_text()).get("fsdp_config", {})) <= set(known), path.name
