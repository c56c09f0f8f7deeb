"""What notebooks put on their pages and into a study's folder: tables, sentences, provenance.

Everything shown is the same each time it is made from the same: no addresses, no ids, no times.
"""

import platform
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Markdown, display

from causalmix import __version__
from causalmix.book import stamps
from causalmix.core import paths, tables
from causalmix.core.parameters import SUBJECTS, subject_of
from causalmix.core.wording import short

__all__ = ["in_chapters", "provenance", "save_table", "sentence", "show"]

#: Where the interval of a column lies; of others in `<column>_low` and `<column>_high`.
INTERVALS = {"predicted_gain": ("gain_ci_low", "gain_ci_high"), "value": ("low", "high")}
INTERVALS |= dict.fromkeys(("mean", "ours", "theta", "reliability", "gain"), ("ci_low", "ci_high"))
VERSIONS = ("numpy", "pandas", "scikit-learn", "lightgbm", "econml", "torch", "transformers", "trl")


def save_table(frame: pd.DataFrame, name: str, out: Path) -> pd.DataFrame:
    """Write a table of the study to a folder, under a name with or without ``.csv``, and hand it on, to be shown."""
    tables.write_table(Path(out) / f"{name.removesuffix('.csv')}.csv", frame)
    return frame


def show(frame: pd.DataFrame, digits: int = 3, caption: str = "") -> None:
    """Display a table, each quantity with its interval or its spread in one column, floats in significant digits.

    The index is shown only if it has a name or labels.  The book numbers the caption, plain text, within its chapter.
    """
    labelled = frame.index.name is not None or not isinstance(frame.index, pd.RangeIndex)
    shortly = lambda value: short(value, digits)  # noqa: E731
    plain = folded(frame, digits).apply(_in_words)
    text = plain.to_html(index=labelled, border=0, na_rep="–", float_format=shortly)
    text = text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")  # a line may not end there
    display(HTML(text.replace(">", f"><caption>{escape(caption)}</caption>", 1) if caption else text))


def folded(frame: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """A table in which bounds (``0.41 [0.35, 0.47]``) and spreads (``0.41 ± 0.02``) stand beside their quantity."""
    frame = frame.copy()
    for column in frame.columns:
        name = str(column)
        low, high = INTERVALS.get(name, (f"{name}_low", f"{name}_high"))
        spread = f"{name.removesuffix('_mean')}_sd"
        if {low, high} <= set(frame):
            frame[column] = [_beside(row, digits, " [{}, {}]") for row in zip(frame[column], frame[low], frame[high])]
            frame = frame.drop(columns=[low, high]).rename(columns={column: f"{name} [95%]"})
        elif spread in frame:
            frame[column] = [_beside(row, digits, " ± {}") for row in zip(frame[column], frame[spread])]
            frame = frame.drop(columns=spread).rename(columns={column: f"{name} ± sd"})
    return frame


def _in_words(column: pd.Series) -> pd.Series:
    """A column for reading: yes or no, counts with their thousands apart, and no p-value nearer to nought than told."""
    chance = str(column.name) in ("p", "p_holm")

    def word(value: object) -> object:
        if pd.api.types.is_bool(value):
            return "yes" if value else "no"
        if pd.api.types.is_integer(value) and column.name != "seed":
            return f"{value:,}"
        return "<0.001" if chance and pd.api.types.is_float(value) and value < 0.001 else value

    return column.astype(object).map(word)


def _beside(values: Sequence[float], digits: int, form: str) -> str:
    """A value and what belongs to it, in words of a table; without the latter where it is not known."""
    value, *others = (short(v, digits) if pd.notna(v) else "–" for v in values)
    return value if "–" in others else value + form.format(*others)


def sentence(text: str) -> None:
    """Display a sentence (Markdown) that a cell has worded from its results."""
    display(Markdown(text))


def provenance(names: Mapping[str, object], inputs: Iterable[str | Path] = ()) -> None:
    """Display what the page was made from; the runner reads its stamp's inputs and outputs from here.

    ``names`` are the notebook's ``globals()``, which tell its chapter by the parameters cell that was run; ``inputs``
    the tables and ledgers that it read; its outputs are the tables that its kernel has written.
    """
    hashes, written = (stamps.input_hashes(files, paths.ROOT) for files in (inputs, sorted(tables.WRITTEN)))
    rows = _chapter_rows(names)
    rows |= {f"Data: {name}": found for name, found in hashes.items()}
    own = [f"python {platform.python_version()}", f"causalmix {__version__}"]
    rows["Versions"] = ", ".join([*own, *(f"{name} {version(name)}" for name in VERSIONS)])
    frame = pd.DataFrame(rows.items(), columns=["Made from", ""])
    display(HTML(frame.to_html(index=False, border=0)), metadata={stamps.KEY: {"inputs": hashes, "outputs": written}})


def in_chapters(frame: pd.DataFrame, column: str = "chapter") -> pd.DataFrame:
    """A table with a column that names subjects, with the names that chapters have instead where the book is."""
    chapters = (path.stem for path in sorted(stamps.NOTEBOOKS.glob("*.ipynb")))
    names = {rf"^{subject_of(chapter)}\b": chapter for chapter in chapters}
    return frame.assign(**{column: frame[column].replace(names, regex=True)})


def _chapter_rows(names: Mapping[str, object]) -> dict[str, str]:
    """Chapter, hashes of its source and code, and its parameters; empty in a notebook that is no chapter."""
    ran = {cell.strip() for cell in names.get("In", ())}
    for path in sorted(stamps.NOTEBOOKS.glob("*.ipynb")):
        source = stamps.read_notebook(path)
        if stamps.parameters_cell(source).strip() in ran:
            changed = stamps.differing(names, SUBJECTS[subject_of(path.stem)])
            told = ", ".join(f"{name} = {value!r}" for name, value in changed.items()) or "as in the notebook"
            hashes = f"{stamps.source_hash(source)}, code {stamps.code_hash(source)}"
            study = str(names.get("study", "–"))
            return {"Chapter": f"{path.stem}, source {hashes}", "Study": study, "Parameters": told}
    return {}
