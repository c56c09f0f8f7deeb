"""What the book's prose says is there: rooms, code, figures, captions, sources."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib

import nbformat
import pandas as pd
import pytest
from importlinter.cli import lint_imports

from causalmix.core.paths import RESULTS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
BOOK = ROOT / "book"
PROSE = sorted(BOOK.glob("*.md"))


def test_reported_averages_agree_with_their_parts_where_no_note_says_otherwise():
    """A transcription error in any axis or average would show; the one known disagreement is marked."""
    dev = pd.read_csv(RESULTS / "published/dev.csv")
    off = (dev.loc[:, "knowledge":"safety"].mean(axis=1) - dev["average"]).abs() > 0.0101
    assert list(dev.index[off]) == list(dev.index[dev["note"].notna()]) == [0]
    cot = pd.read_csv(RESULTS / "published/longcot.csv")
    parts = {
        "math_average": ["gsm8k", "math"],
        "code_average": ["humaneval", "mbpp"],
        "average": ["math_average", "code_average"],
    }
    for average, columns in parts.items():
        assert ((cot[columns].mean(axis=1) - cot[average]).abs() < 0.0101).all(), average


@pytest.mark.parametrize("path", sorted((RESULTS / "published").glob("*.csv")), ids=lambda p: p.stem)
def test_every_reported_figure_names_its_source(path):
    """No row of the paper's figures goes without the label, and each file is shown in the book."""
    assert (pd.read_csv(path)["source"] == "as reported (secondary source)").all()
    assert f"published/{path.name}" in (BOOK / "paper_map.md").read_text()


def test_the_pipeline_figure_is_what_its_command_draws(tmp_path):
    """The committed figure can be drawn again, byte for byte."""
    script = shutil.copy(BOOK / "_assets/pipeline.py", tmp_path)
    subprocess.run([sys.executable, script], check=True, capture_output=True)
    assert (tmp_path / "pipeline.svg").read_bytes() == (BOOK / "_assets/pipeline.svg").read_bytes()


def test_imports_go_one_way():
    """The contract in pyproject.toml holds: rooms in order, no circle, and no room that it does not name."""
    assert lint_imports(str(ROOT / "pyproject.toml"), no_cache=True) == 0
    layers = PROJECT["importlinter"]["contracts"][0]["layers"]
    named = {name.removeprefix("causalmix.") for layer in layers for name in layer.split(" | ")}
    package = ROOT / "causalmix"
    rooms = {p.stem for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert named == rooms - {"__init__", "__main__"}
    table = (BOOK / "carry_on.md").read_text().split("## The rooms")[1].split("## The contracts")[0]
    assert set(re.findall(r"^\| `(\w+)(?:/|\.py)`", table, re.M)) == named


def names_in(body):
    """Names that the statements of a module or of a class define."""
    found = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    targets = [t for node in body for t in getattr(node, "targets", [getattr(node, "target", None)])]
    return found | {t.id for t in targets if isinstance(t, ast.Name)}


def test_code_that_the_prose_names_exists():
    """Each `module.name` and each `Class.name` in the prose is defined in the package."""
    trees = {p.stem: ast.parse(p.read_text()) for p in (ROOT / "causalmix").rglob("*.py")}
    owned = {name: names_in(tree.body) for name, tree in trees.items()}
    owned |= {n.name: names_in(n.body) for tree in trees.values() for n in tree.body if isinstance(n, ast.ClassDef)}
    mentions = [m for page in PROSE for m in re.findall(r"`(?:\w+\.)*(\w+)\.(\w+)", page.read_text())]
    code = [(owner, name) for owner, name in mentions if owner in owned and name not in ("py", "csv", "jsonl", "yaml")]
    assert len(code) > 5
    assert [f"{owner}.{name}" for owner, name in code if name not in owned[owner]] == []


@pytest.mark.parametrize("path", [*PROSE, *sorted((ROOT / "notebooks").glob("*.ipynb"))], ids=lambda path: path.stem)
def test_every_table_in_markdown_has_a_caption(path):
    """So that it is numbered like those that cells show, on pages and in print."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join(cell.source for cell in nbformat.reads(text, 4).cells if cell.cell_type == "markdown")
    heads = re.findall(r"^(.*)\n\|.*\|\n\|[-|: ]+\|$", text, re.M)
    assert [line for line in heads if not re.match(r":::\{table\} \w+ \w+", line)] == []


def test_bibliography_keys_are_unique_and_located():
    """No entry shadows another, and each but one has a DOI, an arXiv number or an address."""
    entries = re.split(r"\n(?=@)", (BOOK / "references.bib").read_text())
    keys = [re.match(r"@\w+\{(\w+),", entry)[1] for entry in entries]
    assert keys == sorted(set(keys))
    assert [k for k, e in zip(keys, entries) if not re.search(r"doi|eprint|\\url", e)] == ["ke2017lightgbm"]
