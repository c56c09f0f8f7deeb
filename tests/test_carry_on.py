"""The worked examples of the page for developers do what they say."""

import re
import textwrap

import pytest

from causalmix.core.paths import ROOT
from causalmix.effects import estimator
from causalmix.methods import ask

SECTION = (ROOT / "book" / "carry_on.md").read_text(encoding="utf-8").split("## Where new things go\n")[1]
ENTRIES = re.findall(r"^(A new .+)\n:((?:.*\n)*?)(?=^A new |^## )", SECTION, flags=re.M)
BLOCKS = {
    f"{name} {i}" if i else name: textwrap.dedent(block)
    for name, text in ENTRIES
    for i, block in enumerate(re.findall(r"^ *```python\n(.*?)^ *```$", text, flags=re.M | re.S))
}


def test_examples_are_found():
    """All that the section has, three at least, each with something that it asserts."""
    assert len(BLOCKS) == SECTION.split("\n## ")[0].count("```python") >= 3
    assert all("\n    assert" in code or "\nassert" in code for code in BLOCKS.values())


@pytest.mark.parametrize("entry", BLOCKS)
def test_example_holds(entry, tmp_path, monkeypatch):
    """Run by itself in an empty folder; what it adds to a registry is taken out again."""
    monkeypatch.chdir(tmp_path)
    for module, name in ((estimator, "STAGES"), (ask, "STATIC"), (ask, "METHODS")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    exec(compile(BLOCKS[entry], entry, "exec"), {"__name__": "example"})
