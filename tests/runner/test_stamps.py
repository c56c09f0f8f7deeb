"""What a page says that it was made from, and what makes it stale."""

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from one_notebook import BODY, page_of, write_notebook

from causalmix import cli
from causalmix.book import run, stamps
from causalmix.core import paths
from causalmix.core.errors import InputError


def test_the_footer_tells_what_the_page_was_made_from(root):
    """Chapter, hashes, study and changed parameters are on the page."""
    assert cli.main(["run", "-p", "n_trees=400"]) == 0
    (made,) = (root / "results" / "runs").glob("*/pages/05_mixture.ipynb")
    footer = made.read_text()
    source = stamps.read_notebook(root / "notebooks" / "05_mixture.ipynb")
    for part in (
        "05_mixture, source " + stamps.source_hash(source),
        "n_trees = 400",
        "laptop",
        "history.csv",
        "python 3.",
    ):
        assert part in footer, part
    assert str(root) not in footer


def test_status_tells_what_is_stale_and_why(root, no_kernel, capsys, monkeypatch):
    """Missing, fresh, then stale for each thing that a page is made from."""
    page = page_of(root)
    assert stamps.state(page, root) == ("missing", ["not executed yet"])
    run.run(run.jobs_of("laptop", root=root), root=root)
    assert stamps.state(page, root) == ("fresh", [])
    changes = {
        "source": lambda: write_notebook(root, [*BODY, "print('more')"]),
        "parameters": lambda: (root / "studies" / "laptop.yaml").write_text("parameters: {n_trees: 9}"),
        "results/laptop/table.csv": lambda: (root / "results" / "laptop" / "table.csv").unlink(),
        "results/laptop/history.csv": lambda: (root / "results" / "laptop" / "history.csv").write_text("run_id\nb\n"),
        "page": lambda: page.write_text(page.read_text().replace("forest", "thicket")),
        "code": lambda: monkeypatch.setattr(paths, "PACKAGE", root / "no_package"),
    }
    expected = []
    for name, change in changes.items():
        change()
        state, why = stamps.state(page, root)
        expected.append(f"{name} changed")
        assert state == "stale" and sorted(why) == sorted(expected), why
    capsys.readouterr()
    assert cli.main(["status"]) == 1
    assert capsys.readouterr().out.startswith("05_mixture: stale (")


def test_one_broken_page_or_notebook_hides_no_other(root, no_kernel, capsys):
    """Whatever lies where a notebook should is told in a sentence, and the next run mends a page."""
    cli.main(["run"])
    good, source = page_of(root), root / "notebooks" / "05_mixture.ipynb"
    (root / "notebooks" / "04_effects.ipynb").write_text(source.read_text())
    broken = root / "book" / "chapters" / "04_effects.ipynb"
    for content in (source.read_text().encode("utf-16"), b"[]", b"{}", b"[" * 9999, b'{"metadata": {}, "cells": [1]}'):
        broken.write_bytes(content)
        capsys.readouterr()
        assert cli.main(["status"]) == 1
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("04_effects: broken (Expected a notebook") and second.startswith("05_mixture: ")
        with pytest.raises(InputError, match="Expected a notebook"):
            stamps.read_notebook(broken)
    with pytest.raises(InputError, match="Expected a notebook"):
        stamps.read_notebook(root / "notebooks")
    broken.unlink()
    (root / "notebooks" / "04_effects.ipynb").unlink()
    good.write_text("{}")
    assert cli.main(["run"]) == 0 and stamps.KEY in stamps.read_notebook(good)["metadata"]


def test_the_stamp_holds_what_was_not_written_again(root, no_kernel):
    """A table that a chapter keeps while nothing about it changes stays in the stamp, and the page as it was."""
    kept = 'p = out / "kept.csv"\np.exists() or tables.write_table(p, pd.DataFrame({"a": []}))'
    kept += '\ntables.write_table("cache/x.csv", pd.DataFrame({"a": []}))'
    write_notebook(root, [*BODY[:2], kept + "\nNone", *BODY[2:]])
    cli.main(["run"])
    before = page_of(root).read_bytes()
    assert cli.main(["run"]) == 0 and page_of(root).read_bytes() == before
    outputs = stamps.read_notebook(page_of(root))["metadata"][stamps.KEY]["outputs"]
    assert list(outputs) == ["results/laptop/kept.csv", "results/laptop/table.csv"]
    (root / "results" / "laptop" / "kept.csv").write_text("edited\n")
    assert "results/laptop/kept.csv changed" in stamps.state(page_of(root), root)[1]


def test_code_hash_follows_imports_and_nothing_else(tmp_path, monkeypatch):
    """A module counts when the notebook imports it, even through another one."""
    monkeypatch.setattr(paths, "PACKAGE", tmp_path)
    sources = {
        "__init__": "",
        "a": "def f():\n    from causalmix.pools import b\n",
        "c": "",
        "pools/__init__": "",
        "pools/b": "",
    }
    (tmp_path / "pools").mkdir()
    for name, text in sources.items():
        (tmp_path / f"{name}.py").write_text(text)
    notebook = new_notebook(cells=[new_code_cell("from causalmix import a")])
    before = stamps.code_hash(notebook)
    (tmp_path / "c.py").write_text("x = 1")
    assert stamps.code_hash(notebook) == before
    (tmp_path / "pools" / "b.py").write_text("x = 1")
    assert stamps.code_hash(notebook) != before


def test_a_hand_made_copy_follows_the_record(root, monkeypatch):
    """A record that has changed since gets a copy of its own; what was made from the old one stays."""
    monkeypatch.setattr(paths, "RESULTS", root / "results")
    monkeypatch.delenv(paths.RUNNER, raising=False)
    first = paths.out_dir("laptop")
    (first / "made.csv").write_text("mine")
    assert paths.out_dir("laptop") == first and (first / "history.csv").read_text() == "run_id\na\n"
    (root / "results" / "laptop" / "history.csv").write_text("run_id\nb\n")
    second = paths.out_dir("laptop")
    assert (second / "history.csv").read_text() == "run_id\nb\n" and (first / "made.csv").exists()
