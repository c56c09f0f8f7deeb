"""The training set in the hands of other people's trainers: the same rows, the same shares, the same loss."""

import json

import pytest
import yaml
from datasets import Dataset, load_dataset
from trl import DatasetMixtureConfig, SFTConfig, SFTTrainer, TrlParser, get_dataset

from causalmix.data.tiny.models import load_base, world_tokenizer
from causalmix.methods import trainer_files
from causalmix.methods.trainer_files import AXOLOTL, LLAMA_FACTORY, LLAMA_FACTORY_RUN, TRL

DOMAINS = ("math", "hard code", "none")
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {}}}}}


def conversation(k, system="Be brief.", **first):
    turns = [{"role": "user", "content": f"{k} + 1?"}, {"role": "assistant", "content": str(k + 1)}]
    turns += [{"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes."}]
    turns[1] |= first
    return [*([{"role": "system", "content": system}] if system else []), *turns]


def rows(n=20, **columns):
    made = [{"row_id": f"r{k}", "domain": DOMAINS[k % 4 == 0], "messages": conversation(k)} for k in range(n)]
    return Dataset.from_list([row | {name: make(k) for name, make in columns.items()} for k, row in enumerate(made)])


def written(folder, given, ending="jsonl"):
    ready = trainer_files.prepared(given)
    return trainer_files.write(folder, ready, DOMAINS, ending, seed=3)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_trl_reads_its_file_and_trains_on_the_assistant_alone(tmp_path, monkeypatch, ending):
    """Every row comes once, in the shares that the file tells, and a step of the trainer scores no other turn."""
    assert not written(tmp_path, rows(), ending)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    given = ["--config", TRL, "--output_dir", str(tmp_path / "out"), "--max_steps", "1", "--report_to", "none"]
    args, mixture = TrlParser((SFTConfig, DatasetMixtureConfig)).parse_args_and_config(
        [*given, "--use_cpu", "true", "--save_strategy", "no", "--bf16", "false"]
    )
    assert {one.data_files: one.fraction for one in mixture.datasets} == {
        f"domains/math.{ending}": 0.75,
        f"domains/hard_code.{ending}": 0.25,
    }
    read = get_dataset(mixture)["train"]
    assert sorted(map(str, read["messages"])) == sorted(map(str, rows()["messages"]))
    trainer = SFTTrainer(load_base("proxy"), args, train_dataset=read, processing_class=world_tokenizer())
    batch = next(iter(trainer.get_train_dataloader()))
    text = world_tokenizer().decode(batch["input_ids"][0][batch["labels"][0] != -100])
    assert "Yes" in text and "brief" not in text and "Sure" not in text
    assert trainer.train().global_step == 1


def test_llama_factory_is_told_what_its_schema_asks_for(tmp_path):
    """Each key is one that its data README has, each file is there, and its rows are as many as are asked for."""
    assert not written(tmp_path, rows())
    info = json.loads((tmp_path / LLAMA_FACTORY).read_text())
    run = yaml.safe_load((tmp_path / LLAMA_FACTORY_RUN).read_text())
    assert run["dataset"].split(",") == list(info) and run["mix_strategy"] == "concat" and run["dataset_dir"] == "."
    for name, entry in info.items():
        lines = [json.loads(line) for line in (tmp_path / entry["file_name"]).read_text().splitlines()]
        assert "," not in name and len(lines) == entry["num_samples"] and entry["formatting"] == "sharegpt"
        assert entry["columns"] == {"messages": "messages"}
        tags = {"role_tag": "role", "content_tag": "content", "system_tag": "system"}
        assert entry["tags"] == tags | {"user_tag": "user", "assistant_tag": "assistant"}
        assert set(entry) == {"file_name", "formatting", "num_samples", "columns", "tags"}
        assert [turn["role"] for turn in lines[0]["messages"]][:2] == ["system", "user"]


def test_axolotl_is_told_what_its_schema_asks_for(tmp_path):
    """Conversations by the model's own template, the assistant's turns and their ends, each file once."""
    assert not written(tmp_path, rows())
    given = yaml.safe_load((tmp_path / AXOLOTL).read_text())
    assert {key: given[key] for key in given if key != "datasets"} == {"shuffle_merged_datasets": True, "seed": 3}
    assert [one.pop("path") for one in given["datasets"]] == ["domains/math.jsonl", "domains/hard_code.jsonl"]
    mapped = {"role": "role", "content": "content"}
    for one in given["datasets"]:
        assert one == {"ds_type": "json", "type": "chat_template", "field_messages": "messages", "train_on_eos": "turn",
                       "message_property_mappings": mapped, "roles_to_train": ["assistant"]}  # fmt: skip


def test_a_turn_without_weight_is_never_trained_on(tmp_path):
    """Axolotl is told which turns to learn; for trainers that cannot be told there is no file, and a reason."""
    given = Dataset.from_list([row | {"messages": conversation(k, weight=k % 2)} for k, row in enumerate(rows())])
    left = written(tmp_path, given)
    assert set(left) == {TRL, LLAMA_FACTORY} and all("10 rows" in why for why in left.values())
    assert not any((tmp_path / name).exists() for name in (TRL, LLAMA_FACTORY, LLAMA_FACTORY_RUN))
    assert yaml.safe_load((tmp_path / AXOLOTL).read_text())["datasets"][0]["message_field_training"] == "train"
    line = json.loads((tmp_path / "domains/math.jsonl").read_text().splitlines()[1])  # of k = 2
    assert [turn["train"] for turn in line["messages"]] == [False, False, False, False, True]


def test_tools_come_along_in_the_form_of_each_trainer(tmp_path, monkeypatch):
    """Text for TRL and LLaMA-Factory, a list for Axolotl, also where only some rows have any."""
    tools = {"as text": lambda k: json.dumps([TOOL]) if k % 4 else None, "as a list": lambda k: [TOOL]}
    for name, make in tools.items():
        (folder := tmp_path / name).mkdir()
        assert not written(folder, rows(tools=make))
        monkeypatch.chdir(folder)
        config = yaml.safe_load((folder / TRL).read_text())
        read = get_dataset(DatasetMixtureConfig(datasets=config["datasets"]))["train"]
        assert len(read) == 20 and json.loads(read[0]["tools"]) == [TOOL]
        info = json.loads((folder / LLAMA_FACTORY).read_text())
        assert all(entry["columns"]["tools"] == "tools" for entry in info.values())
        given = yaml.safe_load((folder / AXOLOTL).read_text())["datasets"][0]
        listed = load_dataset("json", data_files=given["path"], split="train")[0][given["field_tools"]]
        assert json.loads(listed[0]["function"]["parameters"]) == TOOL["function"]["parameters"]


def test_rows_that_a_trainer_would_leave_out_are_told(tmp_path):
    """LLaMA-Factory skips what does not alternate, so that the shares would not hold."""
    given = Dataset.from_list([*rows(), rows()[0] | {"messages": conversation(1)[:-1]}])
    left = written(tmp_path, given)
    assert set(left) == {LLAMA_FACTORY} and left[LLAMA_FACTORY].startswith("1 row does not alternate")


def test_domains_of_any_name_get_files_of_their_own(tmp_path):
    """Names that are no file's name, or the same on a disk that does not know capitals."""
    assert max(len(name.encode()) for name in trainer_files._names(["語" * 300, "語" * 301]).values()) < 240
    names = trainer_files._names(["../x", "X", "é è", "\x1b[31m"])
    assert len({name.casefold() for name in names.values()}) == 4
    assert all("/" not in name and "." not in name and name.isprintable() for name in names.values())
