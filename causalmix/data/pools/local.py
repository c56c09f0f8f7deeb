"""A user's own rows: conversations in one of the usual forms, with a domain or a source that tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from datasets import Dataset, Features, Value

from causalmix.core.errors import InputError
from causalmix.core.yaml_file import read_yaml
from causalmix.data.pools import hub

#: Names of the speakers, also as ShareGPT has them.
ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}

#: Columns that hold a conversation, in the order in which they are looked for.
FORMS = (
    ("messages",),
    ("conversations",),
    ("prompt", "completion"),
    ("instruction", "input", "output"),
    ("instruction", "output"),
)

ID_COLUMNS = ("row_id", "id")
ON_BAD = ("refuse", "skip")


@dataclass(frozen=True)
class Layout:
    """Which columns hold what; empty where the rows have none."""

    turns: tuple[str, ...]  # one column with a list of turns, or the parts of the prompt and then the answer
    domain: str
    source: str
    row_id: str
    domains: Mapping[str, str | None] | None = None  # by source, None leaves it out; counts before the column


def load_pool(
    path: str,
    domain_column: str = "domain",
    source_to_domain: Mapping[str, str | None] | str | None = None,
    source_column: str = "source",
    messages_column: str = "messages",
    id_column: str | None = None,
    on_bad: str = "refuse",
    max_rows: int = 0,
    seed: int = 0,
    name: str | None = None,
    split: str = "train",
    data_files: str | Sequence[str] | Mapping[str, str] | None = None,
    revision: str | None = None,
) -> Dataset:
    """Rows of any data set as a pool.

    A row is a conversation, as ``messages`` (role, content), as ``conversations`` (ShareGPT's from,
    value), as ``prompt`` and ``completion`` (texts, or lists of turns), or as ``instruction``,
    ``input`` and ``output``.

    Parameters
    ----------
    path : str
        What :func:`causalmix.data.pools.hub.open_rows` takes.
    domain_column : str
        Column of the domain; not needed with ``source_to_domain``.
    source_to_domain : mapping or str, optional
        The domain of each source, or a YAML or JSON file with that; null leaves a source out.
    source_column : str
        Column of the source; without one the source is the domain.
    messages_column : str
        Column of the conversation, where it has a name of its own.
    id_column : str, optional
        Column of the rows' names; by default ``row_id`` or ``id``.  Where there is none, or with an
        empty name, rows are named by their place, from 0.
    on_bad : {"refuse", "skip"}
        What is done about a row that cannot be used; the pool's ``info.description`` tells how
        many were skipped.
    max_rows, seed : int
        As many rows at most, in the pool's own shares of domains (0 for all), and which.
    name, split, data_files, revision
        Of :func:`causalmix.data.pools.hub.open_rows`.

    Returns
    -------
    Dataset
        Columns ``row_id, domain, source, messages``.

    Raises
    ------
    InputError
        When columns or domains are missing, or with the first row that cannot be used: an unknown
        role, a turn without text, no assistant turn, an empty one, no domain, or an id met before.
    """
    if on_bad not in ON_BAD:
        raise InputError(f"Expected on_bad among {', '.join(ON_BAD)}, found {on_bad!r}; choose one of these.")
    rows = hub.open_rows(path, name, split, data_files, revision)
    layout = _layout(rows.column_names, path, domain_column, source_column, messages_column, id_column)
    if source_to_domain is not None:
        layout = _with_domains(rows, path, layout, source_column, source_to_domain)
    elif not layout.domain:
        raise InputError(
            f"Expected the column {domain_column} or a map source_to_domain for {path}, "
            f"found only the columns {', '.join(rows.column_names)}; name one of the two."
        )
    converted = rows.map(
        _convert, with_indices=True, batched=True, fn_kwargs={"layout": layout}, remove_columns=rows.column_names,
        features=Features(hub.FEATURES | {"problem": Value("string")}),
        load_from_cache_file=False,  # the cache does not notice that this module has changed
        desc="Reading conversations",
    )  # fmt: skip
    table = converted.select_columns(["row_id", "domain", "problem"]).to_pandas()
    table, skipped = _usable(table[table["domain"].notna() | (table["problem"] != "")], path, on_bad)
    if table["domain"].nunique() < 2:
        found = ", ".join(table["domain"].unique()) or "no row that can be used"
        raise InputError(f"Expected rows of two or more domains in {path}, found {found}; a mixture needs two.")
    chosen = table.index[hub.stratified(table["domain"], max_rows, seed)]
    return hub.note(converted.select(chosen).remove_columns("problem"), *skipped)


def _layout(columns: Sequence[str], path: str, domain: str, source: str, messages: str, row_id: str | None) -> Layout:
    if messages not in ("messages", *columns):
        raise InputError(
            f"Expected the column {messages} in {path}, found only {', '.join(columns)}; correct messages_column."
        )
    turns = next((form for form in ((messages,), *FORMS) if set(form) <= set(columns)), None)
    if turns is None:
        forms = "; ".join(" and ".join(form) for form in FORMS)
        raise InputError(
            f"Expected conversations in {path} as one of {forms}, found the columns {', '.join(columns)}; "
            "rename them, or name messages_column."
        )
    if row_id and row_id not in columns:
        raise InputError(f"Expected the column {row_id} in {path}, found only {', '.join(columns)}; correct id_column.")
    if row_id is None:
        row_id = next((name for name in ID_COLUMNS if name in columns), "")
    known = lambda name: name if name in columns else ""  # noqa: E731
    return Layout(turns, known(domain), known(source), row_id)


def _with_domains(rows: Dataset, path: str, layout: Layout, source: str, given: Mapping | str) -> Layout:
    """The layout with the map of sources, which has to name every source of the rows."""
    if not layout.source:
        raise InputError(
            f"Expected the column {source} in {path} for source_to_domain, "
            f"found only {', '.join(rows.column_names)}; name source_column."
        )
    domains = given if isinstance(given, Mapping) else read_yaml(given, "domains by source")
    domains = {str(name): domain if domain is None else str(domain) for name, domain in domains.items()}
    unmapped = sorted({str(name) for name in rows.unique(source)} - set(domains))
    if unmapped:
        raise InputError(
            f"Expected a domain for every source of {path}, found none for {', '.join(unmapped[:10])}"
            f"{f' and {len(unmapped) - 10} more' if len(unmapped) > 10 else ''}; "
            "add them to source_to_domain, with null for what is to be left out."
        )
    return replace(layout, domains=domains)


def _convert(batch: Mapping[str, list], places: Sequence[int], layout: Layout) -> dict[str, list]:
    """A batch as pool rows; ``problem`` says what is wrong with a row, and no domain leaves it out."""
    columns = list(batch)
    lines = [
        _line(dict(zip(columns, values)), place, layout)
        for place, values in zip(places, zip(*(batch[name] for name in columns)))
    ]
    return {name: [line[name] for line in lines] for name in (*hub.FEATURES, "problem")}


def _line(row: Mapping[str, Any], place: int, layout: Layout) -> dict[str, Any]:
    named = row[layout.row_id] if layout.row_id else None
    source = row[layout.source] if layout.source else None
    domain = row[layout.domain] if layout.domain else None
    if layout.domains is not None:
        domain = layout.domains[str(source)]
    line = {
        "row_id": f"row-{place:06d}" if named is None else str(named),
        "domain": domain if domain is None else str(domain),
        "source": str(source if layout.source else domain),
        "messages": [],
        "problem": "",
    }
    if layout.domains is not None and domain is None:
        return line
    try:
        if domain is None or not str(domain).strip():
            raise ValueError("no domain")
        line["messages"] = _conversation(_turns(row, layout.turns))
    except ValueError as error:
        line["problem"] = str(error)
    return line


def _turns(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    if len(names) == 1:
        return row[names[0]]
    *asked, answer = (row[name] for name in names)
    if not isinstance(asked[0], list):
        text = "\n".join(part for part in asked if part) if isinstance(asked[0], str) else None
        asked[0] = [{"role": "user", "content": text}]
    return [*asked[0], *(answer if isinstance(answer, list) else [{"role": "assistant", "content": answer}])]


def _conversation(turns: Any) -> list[dict[str, str]]:
    """Turns as role and content; ValueError says what is wrong with them."""
    if not isinstance(turns, list) or not turns:
        raise ValueError("no turns")
    conversation = []
    for turn in turns:
        if not isinstance(turn, Mapping):
            raise ValueError("a turn without role and content")
        given = turn.get("role") or turn.get("from")
        content = turn.get("value") if turn.get("content") is None else turn["content"]
        if given not in ROLES:
            raise ValueError(f"the role {given!r} (known: {', '.join(ROLES)})")
        if not isinstance(content, str):
            raise ValueError(f"a turn of {given} without text")
        if ROLES[given] == "assistant" and not content.strip():
            raise ValueError("an empty assistant turn")
        conversation.append({"role": ROLES[given], "content": content})
    if all(turn["role"] != "assistant" for turn in conversation):
        raise ValueError("no assistant turn")
    return conversation


def _usable(table: pd.DataFrame, path: str, on_bad: str) -> tuple[pd.DataFrame, list[str]]:
    """The lines of rows that can be used, each at its place; the others are refused, or told in a sentence."""
    again = table["row_id"].where(table["problem"] == "").dropna().duplicated()
    again = again.index[again]
    table.loc[again, "problem"] = "the id " + table.loc[again, "row_id"] + " a second time"
    bad = table["problem"] != ""
    if not bad.any():
        return table, []
    number, problem = bad.idxmax() + 1, " ".join(table.loc[bad.idxmax(), "problem"].split())
    if on_bad == "refuse":
        raise InputError(
            f"Expected conversations with an assistant's answer in {path}, found {problem} in row {number}; "
            "correct it, or leave such rows out with on_bad: skip."
        )
    told = f"{bad.sum()} of {len(table)} rows were skipped, the first of them row {number}: {problem}."
    return table[~bad], [told]
