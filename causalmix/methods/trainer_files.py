"""Rows as trainers read them, a file for each domain, and settings that make TRL, LLaMA-Factory and Axolotl mix them.

The files hold the rows that were drawn, so every trainer sees the same ones whether it counts fractions (TRL), rows
(LLaMA-Factory) or files (Axolotl).  The loss is the assistant's alone.  A trainer that could not keep to that, or would
leave rows out, gets no file but a reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from datasets import Dataset

from causalmix.data.fingerprints import ROW

FOLDER = "domains"
TRL, LLAMA_FACTORY, LLAMA_FACTORY_RUN, AXOLOTL = "trl.yaml", "dataset_info.json", "llamafactory.yaml", "axolotl.yaml"
COMMANDS = {
    TRL: "# In this folder: trl sft --config trl.yaml --model_name_or_path MODEL",
    LLAMA_FACTORY_RUN: "# Add model, template and output_dir; in this folder: llamafactory-cli train llamafactory.yaml",
    AXOLOTL: "# Add a base_model; in this folder: axolotl train axolotl.yaml",
}
GIVEN = "messages_as_given"  # of a pool: the turns of a row that have more than text, as JSON
LISTED = "tools_listed"  # tools as Axolotl wants them: a list, whose parameters may be text
PLAIN = {"role", "content"}  # what every turn has
READERS = {"jsonl": "json", "parquet": "parquet"}  # of data sets, by the ending of a file


class _Plain(yaml.SafeDumper):
    """YAML that repeats what is equal, instead of pointing at it."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def prepared(rows: Dataset) -> Dataset:
    """Rows with what trainers need besides: ``train`` in turns where some have no weight, and tools in both forms."""
    further = [name for name in ("tools", GIVEN) if name in rows.column_names]
    kept, weighted = rows.select_columns([*ROW, *further]), "weight" in _fields(rows)
    if not further and not weighted:
        return kept
    return Dataset.from_list([_prepared(row, weighted) for row in kept], on_mixed_types="use_json")


def _fields(rows: Dataset) -> set[str]:
    """Names of what a turn may have."""
    turn = rows.features["messages"].feature
    return set(turn) if isinstance(turn, Mapping) else {name for row in rows for t in row["messages"] for name in t}


def _prepared(row: dict, weighted: bool) -> dict:
    tools = row.get("tools") or []
    tools = json.loads(tools) if isinstance(tools, str) else tools
    more = {} if "tools" not in row else {"tools": json.dumps(tools), LISTED: [_listed(tool) for tool in tools]}
    given = row.pop(GIVEN, None)
    said = json.loads(given) if given else row["messages"]
    return {**row, "messages": [_marked(t) if weighted else t for t in said]} | more


def _listed(tool: Mapping) -> dict:
    function = tool.get("function", tool)
    return {"type": "function", "function": {"name": function["name"], "description": function.get("description") or "",
            "parameters": json.dumps(function.get("parameters") or {})}}  # fmt: skip


def _marked(turn: Mapping) -> dict:
    return {**turn, "train": turn["role"] == "assistant" and turn.get("weight") != 0}


def save(rows: Dataset, path: Path) -> None:
    """One file of rows, JSONL or Parquet by its ending; a line of JSON has no empty places."""
    if path.suffix == ".parquet":
        rows.to_parquet(path)
        return
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            stream.write(json.dumps(_full(row), ensure_ascii=False) + "\n")


def _full(value):
    """Without what Arrow adds to make all rows alike; a content may be null."""
    if isinstance(value, dict):
        return {name: _full(part) for name, part in value.items() if part is not None or name == "content"}
    return [_full(part) for part in value] if isinstance(value, list) else value


def write(folder: Path, rows: Dataset, domains: Sequence[str], ending: str, seed: int) -> dict[str, str]:
    """Files of domains and trainers' settings for :func:`prepared` rows; returns a reason for each file left out."""
    (folder / FOLDER).mkdir()
    of = np.array(rows["domain"][:])
    files = {d: f"{FOLDER}/{name}.{ending}" for d, name in _names([d for d in domains if (of == d).any()]).items()}
    for domain, file in files.items():
        save(rows.select(np.flatnonzero(of == domain)), folder / file)
    counts = {domain: int((of == domain).sum()) for domain in files}
    tools, fields = "tools" in rows.column_names, _fields(rows)
    left, info = _left_out(rows, fields, ending), llama_factory(files, counts, tools)
    made = {
        TRL: trl(files, counts, ending, tools, seed),
        AXOLOTL: axolotl(files, ending, tools, "train" in fields, seed),
    }
    made[LLAMA_FACTORY_RUN] = {"stage": "sft", "do_train": True, "dataset_dir": ".", "dataset": ",".join(info),
                               "mix_strategy": "concat", "seed": seed}  # fmt: skip
    if LLAMA_FACTORY not in left:
        (folder / LLAMA_FACTORY).write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in (TRL, AXOLOTL, *([] if LLAMA_FACTORY in left else [LLAMA_FACTORY_RUN])):
        if name not in left:
            told = _shares(counts) + COMMANDS[name]
            text = yaml.dump(made[name], Dumper=_Plain, sort_keys=False, allow_unicode=True)
            (folder / name).write_text(f"{told}\n{text}", encoding="utf-8")
    return left


def _names(domains: Sequence[str]) -> dict[str, str]:
    """A file's name for each domain: its own, as far as that is one, and each once."""
    found = {d: re.sub(r"[^\w-]+", "_", d).strip("_") for d in domains}
    known = [name.casefold() for name in found.values()]
    alone = all(known) and len(set(known)) == len(known)
    return found if alone else {d: f"{k:03d}_{name}".rstrip("_") for k, (d, name) in enumerate(found.items())}


def trl(files: Mapping[str, str], counts: Mapping[str, int], ending: str, tools: bool, seed: int) -> dict:
    """Of ``trl.DatasetMixtureConfig`` and ``trl.SFTConfig``."""
    columns, total = ["messages", *(["tools"] if tools else [])], sum(counts.values())
    mixed = [{"path": READERS[ending], "data_files": file, "split": "train", "columns": columns,
              "fraction": counts[d] / total} for d, file in files.items()]  # fmt: skip
    return {"datasets": mixed, "assistant_only_loss": True, "seed": seed}


def llama_factory(files: Mapping[str, str], counts: Mapping[str, int], tools: bool) -> dict:
    """Of LLaMA-Factory's ``dataset_info.json``, in which rows are counted."""
    columns = {"messages": "messages"} | ({"tools": "tools"} if tools else {})
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
            "system_tag": "system"}  # fmt: skip
    return {
        Path(file).stem: {"file_name": file, "num_samples": counts[d], "formatting": "sharegpt", "columns": columns,
                          "tags": tags} for d, file in files.items()
    }  # fmt: skip


def axolotl(files: Mapping[str, str], ending: str, tools: bool, marked: bool, seed: int) -> dict:
    """Of Axolotl, which takes each file as it is."""
    how = {"ds_type": READERS[ending], "type": "chat_template", "field_messages": "messages",
           "message_property_mappings": {"role": "role", "content": "content"}, "roles_to_train": ["assistant"],
           "train_on_eos": "turn"}  # fmt: skip
    how |= ({"field_tools": LISTED} if tools else {}) | ({"message_field_training": "train"} if marked else {})
    mixed = [{"path": file, **how} for file in files.values()]
    return {"datasets": mixed, "shuffle_merged_datasets": True, "seed": seed}


def _left_out(rows: Dataset, fields: set[str], ending: str) -> dict[str, str]:
    """Why trainers' files are not written, by their names."""
    left, untaught, odd = {}, 0, 0
    for row in rows.select_columns(["messages"]):
        answers = [turn for turn in row["messages"] if turn["role"] == "assistant"]
        untaught += any(turn.get("train") is False for turn in answers)
        odd += not _alternates([turn["role"] for turn in row["messages"]])
    if untaught:
        left[TRL] = left[LLAMA_FACTORY] = (
            f"{untaught} rows have turns of the assistant with weight 0, on which it would train"
        )
    elif ending == "jsonl" and fields - PLAIN - {"weight", "train"}:
        left[TRL] = "turns hold more than text, whose types files of JSON do not all tell; give --rows-format parquet"
    if odd and LLAMA_FACTORY not in left:
        left[LLAMA_FACTORY] = f"{odd} rows do not alternate between user and assistant, which it would leave out"
    return left


def _alternates(roles: Sequence[str]) -> bool:
    turns = list(roles[1:] if roles[0] == "system" else roles)
    return turns == ["user", "assistant"] * (len(turns) // 2)


def _shares(counts: Mapping[str, int]) -> str:
    """A comment on the mixture."""
    total = sum(counts.values())
    shares = ", ".join(f"{' '.join(domain.split())} {n / total:.4f}" for domain, n in counts.items())
    return f"# Shares of {total} rows: {shares}.\n"
