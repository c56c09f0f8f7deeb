"""Long chains of thought: a-m-team/AM-Thinking-v1-Distilled, whose files differ too much for the library's reader."""

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets

from causalmix.core.errors import InputError
from causalmix.data.pools import hub
from causalmix.lm.available import available, quiet
from causalmix.lm.turns import THINKING

#: Files that make the pool, and the domain of each.
FILES = {"math.jsonl": "math", "code.jsonl": "coding"}
ROLES = {"human": "user", "assistant": "assistant"}

#: An assistant's turn.  As published, the answer is in ``<answer>`` tags; they are left out (ours), so that what
#: follows the chain reads as any other answer does, to a person and to the benchmarks.
FORM = THINKING


def load_pool(
    path: str = "a-m-team/AM-Thinking-v1-Distilled", files: Mapping[str, str] | None = None, max_rows: int = 0,
    seed: int = 0, revision: str | None = None,
) -> Dataset:  # fmt: skip
    """Questions with a chain of thought in ``<think>`` tags and the answer after it.

    Rows without either are left out, as ``info.description`` tells; ``system`` is not used, as in the data set's own
    training.  A row is named by its file and line, from 0.  ``path`` is the name on the hub, at a ``revision``, or a
    folder with the files, ``files`` the domain by file; at most ``max_rows`` rows, in the files' own shares (0 for
    all), are taken and written to the cache.
    """
    files = FILES if files is None else files
    found = {name: _file(path, name, revision) for name in files}
    lines, rows, content = {}, {}, {}
    for name, file in found.items():
        lines[name], rows[name], content[name] = _usable_lines(file)
    lacks = "have no chain of thought or no answer"
    left_out = [f"{rows[name] - len(lines[name])} of {rows[name]} rows of {name} {lacks}." for name in files]
    chosen = hub.stratified(np.repeat(list(files.values()), [len(lines[name]) for name in files]), max_rows, seed)
    parts, start = [], 0
    for name, domain in files.items():
        stop = start + len(lines[name])
        taken = lines[name][chosen[(chosen >= start) & (chosen < stop)] - start]
        if len(taken):  # a domain's rows may all come from another of its files
            parts.append(_part(found[name], taken, domain, content[name]))
        start = stop
    return hub.note(concatenate_datasets(parts), *left_out)


def _file(path: str, name: str, revision: str | None) -> Path:
    """A file of the data set on this machine; fetched where it is on the hub."""
    if Path(path).is_dir():
        if not (file := Path(path, name)).is_file():
            raise InputError(f"Expected the file {name} in {path}, found none; download it, or name other files.")
        return file
    available(path, "dataset")

    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        with quiet():
            return Path(hf_hub_download(path, name, repo_type="dataset", revision=revision))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise InputError(
            f"Expected the file {name} of {path} in the Hugging Face cache or on the hub, "
            f"found {type(error).__name__}; download it where there is a network and give its folder."
        ) from error


def _usable_lines(file: Path) -> tuple[np.ndarray, int, str]:
    """Number and offset in bytes of the lines with a chain and an answer, shape (n, 2); all rows; their SHA-256."""
    places, rows, offset, content = array("q"), 0, 0, hashlib.sha256()
    with open(file, "rb") as stream:
        for number, line in enumerate(stream):
            if line.strip():
                rows += 1
                if _conversation(_parsed(line, file, number)):
                    places.extend((number, offset))
            offset += len(line)
            content.update(line)
    lines = np.array(places, dtype=np.int64).reshape(-1, 2)
    if not len(lines):
        raise InputError(f"Expected rows with a chain of thought and an answer in {file}, found none; check the file.")
    return lines, rows, content.hexdigest()


def _parsed(line: bytes, file: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise InputError(
            f"Expected JSON in each line of {file}, found other text in line {number + 1}; fetch it again."
        ) from error


def _part(file: Path, lines: np.ndarray, domain: str, content: str) -> Dataset:
    told = {"file": str(file), "lines": lines, "domain": domain}
    # The version is read by nobody; the cache is told that a file or the form has changed.
    return Dataset.from_generator(_rows, features=hub.FEATURES, gen_kwargs=told | {"version": (content, FORM)})


def _rows(file: str, lines: np.ndarray, domain: str, version: tuple) -> Iterator[dict[str, Any]]:
    name = Path(file).stem
    with open(file, "rb") as stream:
        for number, offset in lines.tolist():
            stream.seek(offset)
            row = json.loads(stream.readline())
            info = row["conversations"][-1].get("info")
            source = info.get("source") if isinstance(info, Mapping) else None
            yield {
                "row_id": f"{name}-{number:06d}",
                "domain": domain,
                "source": source if isinstance(source, str) and source else name,
                "messages": _conversation(row),
            }


def _conversation(row: Any) -> list[dict[str, str]] | None:
    """The turns of a row; None where a text is missing or the last turn is not the assistant's."""
    turns = row.get("conversations") if isinstance(row, Mapping) else None
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        return None
    messages = [{"role": ROLES.get(turn.get("from")), "content": _content(turn)} for turn in turns]
    usable = all(turn["role"] and turn["content"] for turn in messages)
    return messages if usable and len(messages) > 1 and messages[-1]["role"] == "assistant" else None


def _content(turn: Mapping[str, Any]) -> str | None:
    value = turn.get("value") if isinstance(turn.get("value"), str) else ""
    if turn.get("from") != "assistant":
        return value
    head, closed, tail = value.partition("</think>")
    think = head.strip().removeprefix("<think>").strip() if closed else ""
    answer = tail.strip().removeprefix("<answer>").removesuffix("</answer>").strip()
    if not (think and answer):  # the same texts are also given apart
        info = turn.get("info") if isinstance(turn.get("info"), Mapping) else {}
        parts = (info.get("think_content"), info.get("answer_content"))
        think, answer = (part.strip() if isinstance(part, str) else "" for part in parts)
    return FORM.format(think=think, answer=answer) if think and answer else None
