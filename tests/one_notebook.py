"""A small repository with one notebook, whose runs tests look at."""

import nbformat
import pytest
from chapters import execute
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from causalmix import cli
from causalmix.book import run
from causalmix.core import parameters, paths

NAMES = ("study", "n_trees", "radius", "stage", "repeats_allowed", "results_dir")
PARAMETERS = "\n".join(parameters.declaration(parameters.MixtureParameters, name) for name in NAMES)
BODY = [
    "from pathlib import Path\nfrom IPython.display import display",
    'import pandas as pd\nfrom causalmix.core import tables\nout = Path(results_dir or f"results/{study}")',
    'tables.write_table(out / "table.csv", pd.DataFrame({"n_trees": [n_trees], "radius": [radius]}))\n'
    "print(n_trees, flush=True)\nprint(radius)",
    "print(stage, repeats_allowed)",
    'from causalmix.book import report\nreport.provenance(globals(), inputs=[out / "history.csv"])',
]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small repository with one notebook, two studies, and a record of the default study."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(tmp_path / "cache"))
    for name, under in {"ROOT": "", "RESULTS": "results", "STUDIES": "studies"}.items():
        monkeypatch.setattr(paths, name, tmp_path / under)
    monkeypatch.setattr(cli, "jobs_of", lambda *given: run.jobs_of(*given, root=tmp_path))
    monkeypatch.setattr(cli, "run", lambda *given: run.run(*given, root=tmp_path))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "studies").mkdir()
    (tmp_path / "results" / "laptop").mkdir(parents=True)
    (tmp_path / "results" / "laptop" / "history.csv").write_text("run_id\na\n")
    (tmp_path / "studies" / "laptop.yaml").write_text("parameters: {n_trees: 500}\nminutes: {05_mixture: 2}\n")
    (tmp_path / "studies" / "quick.yaml").write_text("chapters: {05_mixture: {n_trees: 8}}\n")
    write_notebook(tmp_path)
    return tmp_path


@pytest.fixture
def no_kernel(monkeypatch):
    """Cells are executed in this process: for what the runner does around them."""
    monkeypatch.setattr(run, "_execute", execute)
    monkeypatch.setattr(run, "AT_ONCE", 1)


def write_notebook(root, body=BODY):
    """Write the one source notebook."""
    cells = [new_markdown_cell("# Small"), new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(source) for source in body]
    notebook = new_notebook(
        cells=cells, metadata={"kernelspec": {"display_name": "x", "language": "python", "name": "nobody"}}
    )
    nbformat.write(notebook, root / "notebooks" / "05_mixture.ipynb")


def page_of(root):
    """The default study's page."""
    return root / "book" / "chapters" / "05_mixture.ipynb"


def contents(folder):
    """Every file below a folder but times and logs, with its bytes."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != "run.json" and p.suffix != ".log"]
    return {p.relative_to(folder): p.read_bytes() for p in files}
