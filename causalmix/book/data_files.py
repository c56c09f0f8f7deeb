"""The files behind the pages: a sheet that tells what is in each, and one archive to take away."""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from causalmix.book.gates import chapters
from causalmix.book.stamps import COMMITTED, stamp_of
from causalmix.core.paths import ROOT, write_whole

ARCHIVE = "causalmix_data.zip"
NO_TIME = (1980, 1, 1, 0, 0, 0)  # so that the archive is the same each time


def files(root: Path = ROOT) -> dict[str, dict[str, list[str]]]:
    """Files that the pages have written and read, by the stamps: to each, by path, the chapters that did so.

    What others have published is among them, whoever reads it, and the states of the explorer, whose page has no stamp.
    """
    others = sorted((root / "results" / "published").rglob("*.csv"))
    found = {path.relative_to(root).as_posix(): {"outputs": [], "inputs": []} for path in others}
    if (root / (states := f"results/{COMMITTED}/explorer.csv")).is_file():
        found[states] = {"outputs": ["`causalmix book`"], "inputs": ["{doc}`explore`"]}
    for page in chapters(root):
        stamp = stamp_of(page)
        for kind in ("outputs", "inputs"):
            for name in stamp.get(kind, {}):
                if (root / name).is_file():
                    found.setdefault(name, {"outputs": [], "inputs": []})[kind].append(f"{{doc}}`chapters/{page.stem}`")
    return dict(sorted(found.items()))


def write_table(root: Path, name: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a table that a page of the book includes, as Markdown, to ``book/_build/NAME.md``."""
    path = root / "book" / "_build" / f"{name}.md"
    write_whole(path, markdown(head, rows))
    return path


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in (head, ["---"] * len(head), *rows))


def write_sheet(root: Path = ROOT) -> Path:
    """Write the sheet, a row for each file, to ``book/_build/data.md``."""
    rows = []
    for name, users in files(root).items():
        if name.endswith(".csv"):
            table = pd.read_csv(root / name)
            told = len(table), ", ".join(f"`{column}`" for column in table)
        else:
            what = "one record a line, as JSON" if name.endswith(".jsonl") else "names and sizes, as YAML"
            told = len((root / name).read_text(encoding="utf-8").splitlines()), what
        rows.append((f"`{name}`", *told, ", ".join(users["outputs"]), ", ".join(users["inputs"])))
    return write_table(root, "data", ("File", "Rows", "Columns", "Written by", "Read by"), rows)


def write_archive(folder: Path, root: Path = ROOT) -> Path:
    """Put the files, each at its place below ``results``, into an archive in a folder."""
    path = folder / ARCHIVE
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files(root):
            archive.writestr(zipfile.ZipInfo(name, NO_TIME), (root / name).read_bytes(), zipfile.ZIP_DEFLATED)
    return path
