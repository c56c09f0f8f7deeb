"""Rows as trainers read them, a file for each domain, and settings that make TRL, LLaMA-Factory and Axolotl mix them.

All see the rows that were drawn, whether they count fractions (TRL), rows (LLaMA-Factory) or files (Axolotl), and the
loss is the assistant's alone.  A trainer that could not keep to that, or would leave rows out, gets a reason instead.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from datasets import Dataset
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from causalmix.core.paths import ASSETS
from causalmix.core.wording import counted
from causalmix.data.fingerprints import ROW
from causalmix.data.pools.files import full

FOLDER = "domains"
TRL, LLAMA_FACTORY, LLAMA_FACTORY_RUN, AXOLOTL = "trl.yaml", "dataset_info.json", "llamafactory.yaml", "axolotl.yaml"
GIVEN = "messages_as_given"  # of a pool: the turns of a row that have more than text, as JSON
LISTED = "tools_listed"  # tools as Axolotl wants them: a list, whose parameters may be text
PLAIN = {"role", "content"}  # what every turn has
LONGEST = 60  # characters of a file's name, of at most four bytes each
READERS = {"jsonl": "json", "parquet": "parquet"}  # of data sets, by the ending of a file


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
    if weighted:
        said = [turn | {"train": turn["role"] == "assistant" and turn.get("weight") != 0} for turn in said]
    return {**row, "messages": said} | more


def _listed(tool: Mapping) -> dict:
    function = tool.get("function", tool)
    return {"type": "function", "function": {"name": function["name"], "description": function.get("description") or "",
            "parameters": json.dumps(function.get("parameters") or {})}}  # fmt: skip


def save(rows: Dataset, path: Path) -> None:
    """One file of rows, JSONL or Parquet by its ending; a line of JSON has no empty places."""
    if path.suffix == ".parquet":
        rows.to_parquet(path)
        return
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            stream.write(json.dumps(full(row), ensure_ascii=False) + "\n")


def write(folder: Path, rows: Dataset, domains: Sequence[str], ending: str, seed: int) -> dict[str, str]:
    """Files of domains and trainers' settings for :func:`prepared` rows; returns a reason for each file left out."""
    (folder / FOLDER).mkdir()
    of, fields, parts = np.array(rows["domain"][:]), _fields(rows), []
    for domain, name in _names([d for d in domains if (of == d).any()]).items():
        chosen = np.flatnonzero(of == domain)
        save(rows.select(chosen), folder / (file := f"{FOLDER}/{name}.{ending}"))
        share = len(chosen) / len(of)
        parts.append({"domain": domain, "name": name, "file": file, "rows": len(chosen), "share": share})
    shares = ", ".join(f"{' '.join(part['domain'].split())} {part['share']:.4f}" for part in parts)
    told = {"parts": parts, "rows": counted(len(of), "row"), "shares": shares, "reader": READERS[ending], "seed": seed}
    told |= {"tools": "tools" in rows.column_names, "listed": LISTED, "told_apart": "train" in fields}
    made = Environment(loader=FileSystemLoader(ASSETS / "trainers"), undefined=StrictUndefined, trim_blocks=True,
                       keep_trailing_newline=True)  # fmt: skip
    made.filters |= {
        "json": partial(json.dumps, ensure_ascii=False),
        "yaml": lambda value: yaml.safe_dump(value, allow_unicode=True, width=np.inf).split("\n")[0],
    }
    left = _left_out(rows, fields, ending)
    without = {*left, LLAMA_FACTORY_RUN} if LLAMA_FACTORY in left else left
    for name in {TRL, AXOLOTL, LLAMA_FACTORY, LLAMA_FACTORY_RUN}.difference(without):
        (folder / name).write_text(made.get_template(f"{name}.jinja").render(told), encoding="utf-8")
    return left


def _names(domains: Sequence[str]) -> dict[str, str]:
    """A file's name for each domain: its own, as far as that is one, and each once."""
    found = {d: re.sub(r"[^\w-]+", "_", d).strip("_")[:LONGEST] for d in domains}
    known = [name.casefold() for name in found.values()]
    alone = all(known) and len(set(known)) == len(known)
    return found if alone else {d: f"{k:03d}_{name}".rstrip("_") for k, (d, name) in enumerate(found.items())}


def _left_out(rows: Dataset, fields: set[str], ending: str) -> dict[str, str]:
    """Why trainers' files are not written, by their names."""
    left, untaught, odd = {}, 0, 0
    for row in rows.select_columns(["messages"]):
        answers = [turn for turn in row["messages"] if turn["role"] == "assistant"]
        untaught += any(turn.get("train") is False for turn in answers)
        roles = [turn["role"] for turn in row["messages"]]
        roles = roles[roles[0] == "system" :]
        odd += roles != ["user", "assistant"] * (len(roles) // 2)
    if untaught:
        left[TRL] = left[LLAMA_FACTORY] = (
            f"{counted(untaught, 'row has', 'rows have')} turns of the assistant with weight 0, on which it would train"
        )
    elif ending == "jsonl" and fields - PLAIN - {"weight", "train"}:
        left[TRL] = "turns hold more than text, whose types files of JSON do not all tell; give --rows-format parquet"
    if odd and LLAMA_FACTORY not in left:
        left[LLAMA_FACTORY] = (
            f"{counted(odd, 'row does', 'rows do')} not alternate between user and assistant, which it would leave out"
        )
    return left
