"""From an executed notebook to a page: what is taken out, and what must not be there."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from causalmix import stamps

if TYPE_CHECKING:
    from nbformat import NotebookNode

ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
KEPT = ("tags", "mystnb")  # of a cell's metadata; the rest is when and by what it was executed


def clean(page: NotebookNode) -> None:
    """Take out of an executed notebook, in place, all that says when and by what it was executed."""
    page.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in page.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"  # papermill gives it a new one each time
        cell.metadata = {name: cell.metadata[name] for name in KEPT if cell.metadata.get(name)}
        if cell.cell_type == "code":
            cell.outputs = _merge_streams(cell.outputs)


def _merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream as one: where it was cut depends on the moment."""
    merged: list[NotebookNode] = []
    for output in outputs:
        if merged and output.output_type == merged[-1].output_type == "stream" and output.name == merged[-1].name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def faults(page: NotebookNode) -> list[str]:
    """What keeps an executed notebook from being a page: errors, order, noise, what differs each time."""
    found = []
    code = [
        (number, cell) for number, cell in enumerate(page.cells, 1) if cell.cell_type == "code" and cell.source.strip()
    ]
    if [cell.execution_count for _, cell in code] != list(range(1, len(code) + 1)):
        found.append("its cells were not executed once each, in order")
    for number, cell in code:
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"cell {number} ended in {output.ename}")
            elif output.get("name") == "stderr":
                found.append(f"cell {number} wrote to stderr: {output.text.strip().splitlines()[-1]}")
            elif ADDRESS.search(json.dumps(output)):
                found.append(f"cell {number} shows a memory address; end it with plt.show() or show a table")
    return found


def inputs(page: NotebookNode) -> dict[str, str]:
    """Input files with their hashes, as the provenance footer tells them."""
    outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
    return {n: h for o in outputs for n, h in o.get("metadata", {}).get(stamps.KEY, {}).get("inputs", {}).items()}
