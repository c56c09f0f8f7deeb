"""A user's own rows: conversations in one of the usual forms, with a domain or a source that tells it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import pandas as pd
from datasets import Dataset

from causalmix.core.errors import InputError
from causalmix.core.parameters import check_name
from causalmix.core.wording import some_of
from causalmix.core.yaml_file import read_yaml
from causalmix.data.pools import files, forms, hub, reading
from causalmix.data.pools.files import Line
from causalmix.data.pools.reading import Layout
from causalmix.lm.available import available

ON_BAD = ("refuse", "skip")
DOMAINS = ("column", "file")
LOOK = 100  # rows of each file that tell its columns, before any is taken
AGAIN = "an id a second time"
SPLITS_TOLD = 5  # files of another split that a refusal names
Parts = Mapping[str, Callable[[], Iterator[Line]]]  # what gives the rows of each file, by its name


class OneDomain(InputError):
    """Rows of one domain alone, or of none, by what should tell it."""


def load_pool(
    path: str, domain_column: str = "domain", source_to_domain: Mapping[str, str | None] | str | None = None,
    source_column: str = "source", messages_column: str = "messages", id_column: str | None = None,
    on_bad: str = "refuse", max_rows: int = 0, seed: int = 0, name: str | None = None, split: str = "train",
    data_files: str | Sequence[str] | Mapping[str, str] | None = None, revision: str | None = None,
    domain: str = "column", covariates: Sequence[str] = (),
) -> Dataset:  # fmt: skip
    """Rows of any data set as a pool.

    Each row is read in the form that it has (:data:`causalmix.data.pools.forms.FORMS`): ``messages`` (role, content),
    ``conversations`` or ``conversation`` (ShareGPT's from, value), ``prompt`` and ``completion`` (unless a ``label`` is
    false, as KTO's) or ``response``, ``instruction``, ``input`` and ``output``, ``input`` and ``output`` alone,
    ``inputs`` and ``targets``, ``problem`` and ``solution``, ``question`` and ``answer``, ``query`` and ``response``,
    or the ``chosen`` answer of a pair.  Columns ``system`` and ``history`` are turns, ``tools`` is kept.  Calls of
    tools and ``reasoning_content``, ``reasoning`` or ``thinking`` are part of the assistant's text; what tools answer
    is never learnt, nor a turn of ``weight`` 0 or whose ``train`` or ``loss`` is false.  The files of a folder may
    differ in all of this.

    ``path``, ``name``, ``split``, ``data_files`` and ``revision`` are those of
    :func:`causalmix.data.pools.hub.open_rows`.  ``domain`` says whether a column tells it, ``domain_column``, or the
    name of the file without its ending, or of its folder where that says no more than a part; ``source_to_domain``, a
    mapping or its YAML or JSON file, gives the domain of each source instead, null leaves one out.  Without a
    ``source_column`` the source is the file of a folder, or else the domain.  A ``messages_column`` of plain texts is
    read as what the assistant says.  ``id_column`` has the rows' names, by default ``row_id`` or ``id``; where there is
    none, or with an empty name, rows are named by their place, from 0; names that repeat between sources or files get
    those in front.  ``on_bad`` says what is done about rows that cannot be used: refuse or skip.  At most ``max_rows``
    rows, in the pool's own shares of domains (0 for all), are taken; ``covariates`` are columns to take along where the
    rows have all of them.

    Columns are ``row_id, domain, source, messages``, and ``tools`` and ``messages_as_given`` (JSON) where rows have
    more than text.  ``info.description`` has tables of what was read and what was left out, and why.  InputError when a
    file cannot be read, columns or domains are missing, or rows cannot be used: an unknown role, a turn without text,
    no assistant turn, an empty one, no domain, or an id met before.
    """
    check_name(on_bad, ON_BAD, "value of on_bad")
    check_name(domain, DOMAINS, "value of domain")
    parts, others = _parts(path, name, split, data_files, revision)
    columns = {label: _columns(part) for label, part in parts.items()}
    domains = source_to_domain
    if domains is not None:
        read = domains if isinstance(domains, Mapping) else read_yaml(domains, "domains by source")
        domains = {str(source): None if to is None else str(to) for source, to in read.items()}
    layout = Layout(domain_column, domain == "file", domains, source_column, messages_column, id_column)
    _check(path, columns, layout, on_bad)
    if covariates and all(set(covariates) <= set(found) for found in columns.values()):
        layout = replace(layout, covariates=tuple(covariates))
    return pool_of(path, parts, layout, on_bad, max_rows, seed, others)


def pool_of(
    path: str, parts: Parts, layout: Layout, on_bad: str, max_rows: int, seed: int, others: Mapping[str, str] = {},
    fewest: int = 2,
) -> Dataset:  # fmt: skip
    """The rows of files as a pool of ``fewest`` domains or more; ``others`` are files that were not read, and why."""
    rows, table, account = reading.convert(parts, layout)
    if unmapped := sorted(set(table.loc[table["problem"] == reading.UNMAPPED, "source"])):
        raise InputError(
            f"Expected a domain for every source of {path}, found none for {', '.join(unmapped[:10])}"
            f"{f' and {len(unmapped) - 10} more' if len(unmapped) > 10 else ''}; "
            "add them to source_to_domain (--source-map), with null for what is to be left out."
        )
    table, named = _named(table)
    usable, skipped = _usable(table, path, on_bad)
    if usable["domain"].nunique() < fewest:
        found = ", ".join(usable["domain"].unique()) or "no row that can be used"
        parts = [f"{file} is {why}." for file, why in others.items() if why.startswith("of the split")]
        told = " ".join((f"{found}; a mixture needs two.", *skipped, *parts[:SPLITS_TOLD]))
        raise OneDomain(f"Expected rows of two or more domains in {path}, found {told}")
    chosen = usable.iloc[hub.stratified(usable["domain"], max_rows, seed)]
    pool = reading.pool(rows, chosen, layout.covariates)
    if len(chosen) < len(usable):
        took = some_of(len(chosen), len(usable), "rows", "was", "were")
        skipped.append(f"{took} taken, for no more are asked for (pool_rows, --max-rows).")
    tables = hub.as_table(hub.READ, account), hub.as_table(hub.LEFT_OUT, reading.left_out(table, others))
    return hub.note(pool, *named, *skipped, *reading.marked(usable), *reading.copied(usable), *tables)


def _parts(
    path: str, name: str | None, split: str, data_files: object, revision: str | None
) -> tuple[Parts, dict[str, str]]:
    """What gives the rows of each file, by its name; and why other files of the folder are not read."""
    available(path, "dataset")
    place = Path(path)
    if not place.exists():
        rows = hub.open_rows(path, name, split, data_files, revision).with_format("arrow")
        return {path: lambda: files.of_batches(rows.iter(files.BATCH))}, {}
    chosen, others = files.find(place, name, split, data_files)
    called = lambda file: file.relative_to(place).as_posix() if place.is_dir() else file.name  # noqa: E731
    parts = {called(file): partial(files.lines, file) for file in chosen}
    return parts, {called(file): why for file, why in others.items()}


def columns_of(path: str) -> dict[str, tuple[str, ...]]:
    """Columns of the first rows of each file of a folder, or of one file, by its name."""
    return {label: _columns(part) for label, part in _parts(path, None, "train", None, None)[0].items()}


def _columns(part: Callable[[], Iterator[Line]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for line in islice(part(), LOOK) for name in line.row))


def _check(path: str, columns: Mapping[str, Sequence[str]], layout: Layout, on_bad: str) -> None:
    """Refuse rows that lack what is needed, by the first rows of each file."""
    every = {name for found in columns.values() for name in found}
    named = {"messages_column": layout.messages, "id_column": layout.row_id or ""}
    for option, column in named.items():
        if column not in ("", "messages", *every):
            raise InputError(
                f"Expected the column {column} in {path}, found only {', '.join(sorted(every))}; correct {option} "
                f"(--{option.replace('_', '-')})."
            )
    files_ = {label: found for label, found in columns.items() if found}
    told = lambda lacking: "; ".join(f"{', '.join(files_[one])} in {one}" for one in lacking[:5])  # noqa: E731
    some = on_bad == "skip" and len(files_) - 1  # of several files, those that lack it are skipped
    lacking = [one for one, found in files_.items() if not forms.form_of(dict.fromkeys(found, 1), layout.messages)]
    if lacking and len(lacking) > some:
        kinds = "; ".join(" and ".join(form) for form in forms.FORMS)
        raise InputError(
            f"Expected conversations in {path} as one of {kinds}, found the columns {told(lacking)}; "
            "rename them, or name messages_column (--messages-column)."
        )
    if layout.by_file:
        return
    wanted = layout.domain if layout.domains is None else layout.source
    lacking = [one for one, found in files_.items() if wanted not in found]
    if layout.domains is None and lacking and len(lacking) > some:
        raise InputError(
            f"Expected the domain in the column {wanted}, found only the columns {told(lacking)}; name another with "
            "--domain-column, take each file as a domain with --domain file, or give --source-map, a map from sources "
            "to domains (in a recipe: domain_column, domain: file, source_to_domain)."
        )
    if layout.domains is not None and lacking and len(columns) == 1:
        raise InputError(
            f"Expected the column {wanted} in {path} for source_to_domain (--source-map), found only "
            f"{told(lacking)}; name source_column (--source-column)."
        )


def _named(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Rows whose names differ: those that repeat between sources or files get these in front, and are told."""
    good = table["problem"] == ""
    fronts = ([], ["source"], ["file"], ["file", "source"])
    again = [table.loc[good, [*front, "row_id"]].duplicated().sum() for front in fronts]
    front = fronts[again.index(min(again))]
    told = []
    if front:
        table["row_id"] = table[[*front, "row_id"]].agg("/".join, axis=1)
        told = [f"Ids repeat between rows of another {' or '.join(front)}, which now stands in front of each id."]
    twice = table.loc[good, "row_id"].duplicated().reindex(table.index, fill_value=False)
    table.loc[twice, "problem"] = AGAIN
    return table, told


def _usable(table: pd.DataFrame, path: str, on_bad: str) -> tuple[pd.DataFrame, list[str]]:
    """The lines of rows that can be used; the others are refused, or told in a sentence."""
    asked = table[table["problem"] != reading.LEFT]
    bad = asked[asked["problem"] != ""]
    if bad.empty:
        return table[table["problem"] == ""], []
    first = bad.iloc[0]
    problem, advice = first["problem"], ""
    if problem == AGAIN:
        problem = f"the id {first['row_id']} a second time"
        advice = ', or number all rows with an empty id_column (--id-column "")'
    where = f"row {first['number']}" + (f" of {first['file']}" if table["file"].nunique() > 1 else "")
    if on_bad == "refuse":
        more = f" and {len(bad) - 1:,} more" if len(bad) > 1 else ""
        raise InputError(
            f"Expected conversations with an assistant's answer in {path}, found {hub.plain(problem)} in {where}; "
            f"correct it{more}, or leave such rows out with on_bad: skip (--on-bad skip){advice}."
        )
    told = some_of(len(bad), len(asked), "rows", "was skipped,", "were skipped, the first of them")
    told = f"{told} {where}: {hub.plain(problem)}."
    return table[table["problem"] == ""], [told]
