"""Rows of files as the rows of a pool, and the account of it: what was read, and what was left out."""

import atexit
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter

from causalmix.core.errors import DEEP, InputError
from causalmix.core.paths import cache_dir
from causalmix.core.scratch import scratch_folder
from causalmix.core.wording import counted
from causalmix.data.pools import files, forms, hub
from causalmix.data.pools.files import Line
from causalmix.lm import turns

ID_COLUMNS = ("row_id", "id")
LEFT, UNMAPPED = "a source that the map leaves out", "a source that the map lacks"
VERSION = 5  # of how rows are read and held out: raised where a file gives another pool, for pools are kept
PARTS = {
    *files.SPLITS,
    *"part parts shard chunk batch data dataset file rows output".split(),
}  # names that tell nothing
SHOWN = 20  # files that the account lists one by one

#: Columns that a pool has only where some row needs them: JSON of what a training set keeps, and which turns count.
FURTHER = Features({"tools": Value("string"), "messages_as_given": Value("string"), "weights": List(Value("int8"))})


@dataclass(frozen=True)
class Layout:
    """Which columns hold what."""

    domain: str = "domain"
    by_file: bool = False  # the file is the domain
    domains: Mapping[str, str | None] | None = None  # by source, None leaves it out; counts before the column
    source: str = "source"
    messages: str = "messages"
    row_id: str | None = None  # None takes what is usual, and an empty name the place
    covariates: tuple[str, ...] = ()


def convert(
    parts: Mapping[str, Callable[[], Iterator[Line]]], layout: Layout
) -> tuple[Dataset, pd.DataFrame, list[dict[str, object]]]:
    """All rows on disk, bad ones without turns; a line each of what is known of them; and the account by files."""
    names = domains_of(parts)
    file, told, account = Path(_scratch(), f"{uuid4().hex}.arrow"), [], []
    with ArrowWriter(features=Features(hub.FEATURES | FURTHER), path=str(file)) as writer:
        for label, part in parts.items():
            stem = names[label] if layout.by_file or len(parts) > 1 else None
            kinds: dict[str, Counter] = defaultdict(Counter)
            lines = part()
            while batch := list(islice(lines, files.BATCH)):
                made = [_row(line, stem, len(told) + i, layout, kinds) for i, line in enumerate(batch)]
                told += [about | {"file": label} for about, _ in made]
                written = [about | row for about, row in made]
                writer.write_batch({name: [row[name] for row in written] for name in (*hub.FEATURES, *FURTHER)})
            account.append(_account(label, kinds))
        writer.finalize()
    if not told:
        raise InputError(f"Expected rows in {', '.join(parts)}, found none; write them again.")
    return Dataset.from_file(str(file)), pd.DataFrame(told), _grouped(account)


@cache
def _scratch() -> str:
    """A folder of this process, for rows that are too many for memory; it goes when the process ends."""
    atexit.register((kept := ExitStack()).close)
    return kept.enter_context(scratch_folder(cache_dir()))


def domains_of(labels: Iterable[str]) -> dict[str, str]:
    """What each file is called as a domain: its name, or that of its folder where it says no more than the split."""
    stems = {label: Path(label).with_name(_stem(Path(label).name)) for label in labels}
    places = defaultdict(set)
    for path in stems.values():
        places[path.name].add(path.parent)
    called = {}
    for label, path in stems.items():
        called[label] = path.name if len(places[path.name]) == 1 else path.as_posix()
        if (path.name.isdecimal() or path.name.lower() in PARTS) and (within := path.parent.as_posix()) != ".":
            while Path(within).name.lower() in PARTS and (above := Path(within).parent.as_posix()) != ".":
                within = above
            called[label] = within
    return called


def _stem(name: str) -> str:
    """A file's name without endings and the number of its part."""
    while (path := Path(name)).suffix.lower() in (*files.OPENERS, *files.READERS):
        name = path.stem
    name = re.sub(r"-\d{5}-of-\d{5}$", "", name)
    bare = re.sub(r"[-_. ]?\d+$", "", name)
    return bare if bare.lower() in PARTS else name


def _row(
    line: Line, stem: str | None, place: int, layout: Layout, kinds: dict[str, Counter]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is known of a row, and what is written of it."""
    row, form = line.row, forms.form_of(line.row, layout.messages)
    names = ID_COLUMNS if layout.row_id is None else (layout.row_id,)
    named = next((row[name] for name in names if row.get(name) is not None), f"row-{place:06d}")
    domain = stem if layout.by_file else row.get(layout.domain)
    source = next((s for s in (row.get(layout.source), stem, domain) if s is not None), "")
    named, source = (str(value).encode(errors="replace").decode() for value in (named, source))  # a file can hold it
    about = {"row_id": named, "source": source, "domain": None, "number": line.number, "problem": ""}
    about |= {name: row.get(name) for name in layout.covariates} | {"example": "", "mark": "", "content": 0}
    written: dict[str, Any] = {"messages": [], "tools": None, "messages_as_given": None, "weights": None}
    kinds["form"][" and ".join(form) or "none"] += 1
    kinds["how"][line.how] += 1
    try:
        if line.problem:
            raise ValueError(line.problem)
        if not form:
            raise ValueError(f"no conversation in {', '.join(map(str, row))[:80] or 'an empty row'}")
        kinds["columns"].update(forms.unread(row, form))
        if layout.domains is not None:
            if about["source"] not in layout.domains:
                raise ValueError(UNMAPPED)
            if (domain := layout.domains[about["source"]]) is None:
                raise ValueError(LEFT)
        if domain is None or domain != domain or not str(domain).strip():
            raise ValueError("no domain")
        if not isinstance(domain, str | int | float):
            raise ValueError("a domain that is no text")
        about["domain"] = turns.text(str(domain), "domain")
        found = forms.read(row, form)
        written |= {"messages": found.turns, "weights": found.weights}
        about["mark"] = next((mark[0] for turn in found.turns if (mark := turns.MARK.search(turn["content"]))), "")
        if found.given:
            written["messages_as_given"] = _as_json(found.given)
        written["tools"] = _tools(turns.listed(row.get("tools")))
        about["content"] = hash(_as_json(found.turns))
    except (ValueError, RecursionError) as error:
        written |= dict.fromkeys(FURTHER) | {"messages": []}
        problem = DEEP if isinstance(error, RecursionError) else str(error)
        about |= {"problem": problem, "example": f"{str(row)[:60]}…"}
    kinds["used"].update((*forms.used(form), *names, layout.domain, layout.source, *layout.covariates))
    kinds["columns"].update(list(row))
    return about, written


def _tools(tools: Any) -> str | None:
    """Descriptions of tools as JSON; None of none."""
    if tools in (None, "", []):
        return None
    for tool in tools if isinstance(tools, list) else [None]:
        about = tool.get("function") or tool if isinstance(tool, Mapping) else None
        if not isinstance(about, Mapping) or not isinstance(about.get("name"), str):
            raise ValueError("tools that are no list of functions with names")
    return _as_json(tools)


def _as_json(value: object) -> str:
    return turns.text(json.dumps(value, ensure_ascii=False, default=str), "tools")


def _account(label: str, kinds: Mapping[str, Counter]) -> dict[str, object]:
    """What was read of a file, in words."""
    many = lambda counts: ", ".join(  # noqa: E731
        f"{name or 'as it is'}{counted(n, 'row', form=' ({:,} {})') if len(counts) > 1 else ''}"
        for name, n in counts.most_common()
    )
    unused = ", ".join(sorted(map(str, set(kinds["columns"]) - set(kinds["used"]))))
    told = {"file": label, "rows": sum(kinds["form"].values()), "form": many(kinds["form"])}
    return told | {"encoding": many(kinds["how"]), "columns not used": unused}


def _grouped(account: list[dict[str, object]]) -> list[dict[str, object]]:
    """The account in lines that can be read, however many files there are."""
    if len(account) <= SHOWN:
        return account
    table = pd.DataFrame(account)
    alike = table.groupby([name for name in table if name not in ("file", "rows")], sort=False)
    told = alike.agg(file=("file", lambda f: f"{f.iloc[0]} and {len(f) - 1} more"), rows=("rows", "sum")).reset_index()
    return told[list(table)].to_dict("records")


def left_out(table: pd.DataFrame, others: Mapping[str, str]) -> list[dict[str, object]]:
    """What was left out, by reason and file, with the first row of each; ``others`` are files, and why."""
    lines = [{"reason": why, "file": file, "rows": "", "example": ""} for file, why in others.items()]
    bad = table[table["problem"] != ""]
    for _, rows in bad.groupby([bad["problem"].map(_kind), "file"], sort=False):
        first = rows.iloc[0]
        example = f"row {first['number']}: {first['example'] or first['row_id']}"
        lines.append({"reason": first["problem"], "file": first["file"], "rows": len(rows), "example": example})
    kinds: dict[str, list] = defaultdict(list)
    for line in lines:
        kinds[_kind(str(line["reason"]))].append(line)
    told = [line for same in kinds.values() for line in (same if len(same) <= SHOWN else [_as_one(same)])]
    return told if len(told) <= 2 * SHOWN else [*told[:SHOWN], _as_one(told[SHOWN:], "and for further reasons")]


def _kind(reason: str) -> str:
    """A reason without what differs from row to row."""
    return re.sub(r" at column \d+", "", reason)


def _as_one(lines: list[dict], reason: str = "") -> dict[str, object]:
    """Lines that are too many to be read, as one."""
    first, rows = lines[0], sum(line["rows"] or 0 for line in lines)
    return first | {"reason": reason or first["reason"], "file": f"{first['file']} and {len(lines) - 1:,} more",
                    "rows": rows or ""}  # fmt: skip


def marked(table: pd.DataFrame) -> list[str]:
    """What has to be said of rows whose texts a tokenizer would take for several turns."""
    if (found := table[table["mark"] != ""]).empty:
        return []
    first = found.iloc[0]
    return [
        f"{counted(len(found), 'row has', 'rows have')} marks of chat templates in the text, the first "
        f"{first['mark']} in row {first['number']} of {first['file']}: tokenizers take them for ends of turns."
    ]


def copied(table: pd.DataFrame) -> list[str]:
    """What has to be said of conversations that come more than once, as where a file lies beside its archive."""
    if (again := table[table["content"].duplicated()]).empty:
        return []
    copy = again.iloc[0]
    first = table[table["content"] == copy["content"]].iloc[0]
    where = [f"row {row['number']} of {row['file']}" for row in (copy, first)]
    return [f"{counted(len(again), 'row is a copy', 'rows are copies')} of others: {' is '.join(where)} again."]


def pool(rows: Dataset, chosen: pd.DataFrame, covariates: tuple[str, ...]) -> Dataset:
    """The chosen rows with the columns that a pool has, and further ones where some row needs them."""
    further = [name for name in FURTHER if rows.data.column(name).null_count < len(rows)]
    rows = rows.select(chosen.index)
    if chosen["row_id"].tolist() != rows["row_id"][:]:
        rows = rows.remove_columns("row_id").add_column("row_id", chosen["row_id"].tolist())
    for name in covariates:
        rows = rows.add_column(name, chosen[name].tolist())
    rows = rows.select_columns([*hub.FEATURES, *covariates, *further])
    return _weighted(rows) if "weights" in further else rows


def _weighted(rows: Dataset) -> Dataset:
    """Turns that say whether they are learnt, for rows of which some do."""
    turn = {"role": Value("string"), "content": Value("string"), "weight": Value("int8")}
    features = Features({name: kind for name, kind in rows.features.items() if name != "weights"})

    def weigh(row: dict) -> dict:
        weights = row["weights"] or [1] * len(row["messages"])
        return {"messages": [said | {"weight": w} for said, w in zip(row["messages"], weights)]}

    return rows.map(
        weigh, remove_columns="weights", features=Features(features | {"messages": List(turn)}), desc="Weighing turns",
        load_from_cache_file=False,
    )  # fmt: skip
