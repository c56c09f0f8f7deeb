"""What a chapter says: the code of one cell of its notebook, run on tables that a test made."""

import json
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def said(chapter: str, part: str, **names) -> str:
    """Run the imports of a notebook and the one cell that has ``part``; returns its sentences, or its short answer."""
    cells = json.loads((NOTEBOOKS / f"{chapter}.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (imports,) = (s for s in sources if "style.use()" in s)
    (wanted,) = (s for s in sources if part in s)
    told, known = [], {}
    exec("\n".join(line for line in imports.splitlines() if line.startswith(("import ", "from "))), known)
    kept = {name: lambda frame, *_, **__: frame for name in ("save_table", "in_chapters")}
    book = {
        "report": SimpleNamespace(sentence=told.append, show=lambda *_, **__: None, **kept),
        "in_short": SimpleNamespace(answer=lambda *sentences: told.extend(sentences)),
    }
    exec(wanted, known | names | book)
    return " ".join(told)


def drawn(chapter: str, part: str, **names) -> list[Axes]:
    """Run likewise the one cell that has ``part`` and draws a figure; returns its axes."""
    plt.close("all")
    with patch.object(plt, "show"):
        said(chapter, part, **names)
    return plt.gcf().axes
