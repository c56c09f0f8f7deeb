"""Conversations as a trainer takes them: token ids, the tokens that are scored, labels and lengths."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from transformers import PreTrainedTokenizerBase

from causalmix.core.errors import InputError
from causalmix.lm.turns import listed, read

IGNORED = -100  # label of a token that is not scored
COLUMNS = ("messages", "tools")  # of a conversation; the second may be left out

#: Rows as the trainer takes them.  Named, for a batch of which no row is left has no types of its own.
LABELLED = Features({"input_ids": List(Value("int64")), "labels": List(Value("int64")), "length": Value("int64")})


def tokenize(rows: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Conversations (``messages``) as columns ``input_ids`` and ``completion_mask``: 1 where the assistant speaks.

    The end of its turn is scored too, a turn of ``weight`` 0 is not.  ``tools``, a list or its JSON, stand in
    the prompt; turns may have ``tool_calls`` and no content.  The tokenizer's template must carry generation markers
    around the assistant's turns.  What follows the last scored token teaches nothing and is left out.
    """
    if not len(rows):
        raise InputError("Expected at least one row to tokenise, found none; check how the rows were chosen.")
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
    return Dataset.from_dict(_encode(columns, tokenizer, range(len(rows))))


def tokenize_all(rows: Dataset, tokenizer: PreTrainedTokenizerBase, file: str | Path) -> Dataset:
    """:func:`tokenize` for a pool that does not fit in memory as lists; its tokens go to a file (Arrow)."""
    encode = lambda batch, places: _encode(batch, tokenizer, places)  # noqa: E731
    names = [name for name in COLUMNS if name in rows.column_names]
    # The file is all that is kept: a fingerprint of the function, with all that it calls, would serve nobody.
    return rows.select_columns(names).map(
        encode, with_indices=True, batched=True, remove_columns=names, cache_file_name=str(file),
        new_fingerprint=Path(file).stem,
    )  # fmt: skip


def _encode(
    batch: Mapping[str, Sequence], tokenizer: PreTrainedTokenizerBase, places: Sequence[int]
) -> dict[str, list]:
    """Columns ``input_ids`` and ``completion_mask`` of conversations; an error tells the place of its row."""
    conversations = [_plain(turns, place) for place, turns in zip(places, batch["messages"])]
    tools = [listed(one) for one in batch.get("tools") or [None] * len(conversations)]
    ids, masks = [], []
    for place, turns, (row_ids, mask) in zip(places, conversations, _templated(conversations, tools, tokenizer)):
        mask = _weighted(mask, turns)
        if 1 not in mask:
            raise InputError(f"Expected an assistant turn in every row, found none in row {place + 1}; leave it out.")
        end = len(mask) - mask[::-1].index(1)
        ids.append(row_ids[:end])
        masks.append(mask[:end])
    return {"input_ids": ids, "completion_mask": masks}


def _plain(conversation: Sequence[Mapping[str, Any]], place: int) -> Sequence[Mapping[str, Any]]:
    """Turns of role and text, also where they have calls of tools and no content."""
    if all(isinstance(turn.get("content"), str) and not turn.get("tool_calls") for turn in conversation):
        return conversation
    try:
        found = read(conversation)
    except ValueError as error:
        raise InputError(f"Expected turns of text in row {place + 1}, found {error}; leave it out.") from error
    return [turn | {"weight": weight} for turn, weight in zip(found.turns, found.weights or repeat(1))]


def _templated(
    conversations: Sequence, tools: Sequence, tokenizer: PreTrainedTokenizerBase
) -> Iterable[tuple[list[int], list[int]]]:
    """Token ids of each conversation, and which of them the assistant says."""
    how = {"return_dict": True, "return_assistant_tokens_mask": True}
    # The template takes one list of tools for all conversations.
    groups = (
        [(list(conversations), None)] if not any(tools) else [([c], t or None) for c, t in zip(conversations, tools)]
    )
    for group, shared in groups:
        encoded = tokenizer.apply_chat_template(group, tools=shared, **how)
        yield from zip(encoded["input_ids"], encoded["assistant_masks"])


def _weighted(mask: list[int], turns: Sequence[Mapping[str, Any]]) -> list[int]:
    """The mask without the assistant's turns of ``weight`` 0."""
    weights = [turn.get("weight") != 0 for turn in turns if turn["role"] == "assistant"]
    if all(weights):
        return mask
    starts = np.flatnonzero(np.diff(mask, prepend=0) == 1)
    if len(starts) != len(weights):
        raise InputError(
            f"Expected {len(weights)} turns of the assistant between the markers of the chat template, found "
            f"{len(starts)}; leave out the weights of turns, or set chat_form."
        )
    turn_of = np.searchsorted(starts, np.arange(len(mask)), side="right") - 1  # of each token, from the first turn on
    return (np.array(mask) & np.array(weights)[turn_of]).tolist()


def labelled(dataset: Dataset, max_length: int, file: str | Path | None = None) -> Dataset:
    """Rows cut to ``max_length``, with labels and lengths, in memory or a file (Arrow); those without labels go."""
    place = {"keep_in_memory": True} if file is None else {"cache_file_name": str(file)}
    label = partial(label_batch, max_length=max_length)
    rows = dataset.map(label, batched=True, remove_columns=dataset.column_names, features=LABELLED, **place)
    if not len(rows):
        raise InputError(f"Expected rows with a completion within max_length={max_length}, found none; raise it.")
    return rows


def scorable(dataset: Dataset, max_length: int) -> np.ndarray:
    """Whether each row keeps a scored token within ``max_length``, shape (n,)."""
    return np.array([any(mask[1:max_length]) for mask in dataset["completion_mask"]], dtype=bool)


def label_batch(batch: Mapping[str, list], max_length: int) -> dict[str, list]:
    """Some rows of what :func:`tokenize` returns, as the trainer takes them: ``input_ids``, ``labels``, ``length``."""
    columns: dict[str, list] = {"input_ids": [], "labels": [], "length": []}
    for ids, mask in zip(batch["input_ids"], batch["completion_mask"]):
        ids, mask = ids[:max_length], mask[:max_length]
        if any(mask[1:]):
            columns["input_ids"].append(ids)
            columns["labels"].append([token if scored else IGNORED for token, scored in zip(ids, mask)])
            columns["length"].append(len(ids))
    return columns
