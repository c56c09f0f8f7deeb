"""Long chains of thought: a-m-team/AM-Thinking-v1-Distilled, whose files differ too much for the library's reader."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset

from causalmix.core.errors import InputError, refused
from causalmix.data.pools import files as row_files, local
from causalmix.data.pools.files import Line
from causalmix.data.pools.reading import Layout
from causalmix.lm.available import available, quiet
from causalmix.lm.turns import THINKING

#: Files that make the pool, and the domain of each.
FILES = {"math.jsonl": "math", "code.jsonl": "coding"}
ROLES = {"human": "user", "assistant": "assistant"}


def load_pool(
    path: str = "a-m-team/AM-Thinking-v1-Distilled", files: Mapping[str, str] | None = None, max_rows: int = 0,
    seed: int = 0, revision: str | None = None,
) -> Dataset:  # fmt: skip
    """Questions with a chain of thought in ``<think>`` tags and the answer after it.

    Rows without either are left out, as ``info.description`` tells; ``system`` is not used, as in the data set's own
    training.  A row is named by its file and line, from 0.  ``path`` is the name on the hub, at a ``revision``, or a
    folder with the files, ``files`` the domain by file; at most ``max_rows`` rows, in the files' own shares (0 for
    all), are taken.
    """
    domains = FILES if files is None else files
    parts = {name: partial(_rows, _file(path, name, revision), domain) for name, domain in domains.items()}
    return local.pool_of(path, parts, Layout(), on_bad="skip", max_rows=max_rows, seed=seed, fewest=1)


def _file(path: str, name: str, revision: str | None) -> Path:
    """A file of the data set on this machine; fetched where it is on the hub."""
    if Path(path).is_dir():
        if not (file := Path(path, name)).is_file():
            raise InputError(f"Expected the file {name} in {path}, found none; download it, or name other files.")
        return file
    available(path, "dataset")

    from huggingface_hub import hf_hub_download

    where = f"the file {name} of {path} in the Hugging Face cache or on the hub"
    with quiet(), refused(where, "download it where there is a network and give its folder"):
        return Path(hf_hub_download(path, name, repo_type="dataset", revision=revision))


def _rows(file: Path, domain: str) -> Iterator[Line]:
    """The rows of a file as any pool has them; a broken line, as of a transfer that was cut, is refused."""
    any_usable = False
    for line in row_files.lines(file):
        if line.problem:
            raise InputError(
                f"Expected JSON in each line of {file}, found {line.problem} in line {line.number}; fetch it again."
            )
        messages = _conversation(line.row)
        any_usable |= messages is not None
        told = {"row_id": f"{file.stem}-{line.number - 1:06d}", "domain": domain, "source": file.stem}
        if messages:
            info = line.row["conversations"][-1].get("info")
            source = info.get("source") if isinstance(info, Mapping) else None
            told["source"] = source if isinstance(source, str) and source else file.stem
        problem = "" if messages else "no chain of thought or no answer"
        yield Line(line.number, told | {"messages": messages}, problem, line.how)
    if not any_usable:
        raise InputError(f"Expected rows with a chain of thought and an answer in {file}, found none; check the file.")


def _conversation(row: Mapping[str, Any]) -> list[dict[str, str]] | None:
    """The turns of a row; None where a text is missing or the last turn is not the assistant's."""
    turns = row.get("conversations")
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
    # As published, the answer is in tags; without them (ours) it reads as any other, to a person and to benchmarks.
    return THINKING.format(think=think, answer=answer) if think and answer else None
