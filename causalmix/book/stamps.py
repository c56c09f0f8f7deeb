"""What a page was made from: a stamp in its metadata, and whether it still agrees with the files.

A stamp holds facts only that do not change when nothing else does, so that executing a notebook
again leaves its page as it was: no times, no machine, no folder.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from causalmix.core import paths
from causalmix.core.errors import InputError, refused
from causalmix.core.parameters import SUBJECTS, Subject, subject_of
from causalmix.core.study_file import PLACES, read_study

KEY = "causalmix"  # of a notebook's metadata
COMMITTED = "laptop"  # the study whose pages are the book's
CELL = {"cell_type", "metadata", "source"}  # what each cell of a notebook has
NOTEBOOKS = paths.ROOT / "notebooks"


def read_notebook(path: Path) -> dict:
    """A notebook as plain JSON; raises InputError when there is none."""
    with refused(f"a notebook at {path}", "correct the name or the file", OSError, ValueError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
    cells = found.get("cells") if isinstance(found, dict) and isinstance(found.get("metadata"), dict) else None
    if not isinstance(cells, list) or not all(isinstance(c, dict) and CELL <= c.keys() for c in cells):
        raise InputError(f"Expected a notebook of format 4 at {path}, found other JSON; save it anew, or remove it.")
    return found


def stamp_of(page: Path) -> dict:
    """The stamp of a page; empty where there is no page yet, a broken one, or one without."""
    with suppress(InputError):
        return read_notebook(page)["metadata"].get(KEY, {})
    return {}


def parameters_cell(notebook: Mapping) -> str:
    """Source of the one cell tagged ``parameters``; raises InputError when there is not exactly one."""
    cells = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    if len(cells) != 1:
        raise InputError(f"Expected one cell tagged parameters in the notebook, found {len(cells)}; tag exactly one.")
    return "".join(cells[0]["source"])


def sources(root: Path = paths.ROOT) -> dict[str, Path]:
    """Source notebooks by the name of their chapter, such as ``04_effects``, in the order of the book."""
    found = {path.stem: path for path in sorted((root / "notebooks").glob("*.ipynb"))}
    if not found:
        raise InputError(
            f"Expected a checkout of causalmix, with its notebooks and its book, at {root}, found none; clone the "
            "repository and work there, or set CAUSALMIX_ROOT to it."
        )
    return found


def digest(*parts: bytes | str) -> str:
    """First 12 hex digits of the SHA-256 of the parts, each counted with its length."""
    total = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:12]


def source_hash(notebook: Mapping) -> str:
    """Hash of a source notebook: its cells' text, tags and figure captions."""
    cells = [
        [cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags"), cell["metadata"].get("mystnb")]
        for cell in notebook["cells"]
    ]
    return digest(json.dumps(cells, sort_keys=True))


def _joined(value: object) -> object:
    """The value with lists of lines made one text, for a file may hold either."""
    if isinstance(value, Mapping):
        return {name: _joined(part) for name, part in value.items()}
    if isinstance(value, list):
        return "".join(value) if value and all(isinstance(v, str) for v in value) else [_joined(v) for v in value]
    return value


def code_hash(notebook: Mapping) -> str:
    """Hash of the modules that a notebook imports, directly or not, and of the models that ship with them."""
    seen: set[Path] = set()
    todo = set().union(*(_imports("".join(c["source"])) for c in notebook["cells"] if c["cell_type"] == "code"))
    while todo:
        base = paths.PACKAGE.joinpath(*todo.pop().split(".")[1:])
        for path in {base.with_suffix(".py"), base / "__init__.py"} - seen:
            if path.is_file():
                seen.add(path)
                todo |= _imports(path.read_text(encoding="utf-8"))
    assets = {path for path in (paths.PACKAGE / "assets").rglob("*") if path.is_file()}
    files = sorted(path for path in seen | assets if path.parent.name != "studies")
    return digest(*(part for f in files for part in (f.relative_to(paths.PACKAGE).as_posix(), f.read_bytes())))


@cache  # chapters import the same modules
def _imports(source: str) -> frozenset[str]:
    """Names below ``causalmix`` that a source imports, and all that they lie in."""
    names = set()
    with refused("Python in every cell and module", "correct it", SyntaxError, ValueError):
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names]
    return frozenset(".".join(p[: i + 1]) for p in parts if p[0] == "causalmix" for i in range(len(p)))


def input_hashes(inputs: Iterable[str | Path], root: Path = paths.ROOT) -> dict[str, str]:
    """Hash of each input file, by its path below the root; of a file elsewhere only the name is told."""
    hashes = {}
    for path in map(Path, inputs):
        path = path if path.is_absolute() else root / path
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        hashes[name] = digest(path.read_bytes()) if path.is_file() else "missing"
    return hashes


def differing(values: Mapping[str, object], model: type[Subject]) -> dict[str, object]:
    """Those values that are not a subject's defaults; where it runs is no such value."""
    usual = {name: field.default for name, field in model.model_fields.items() if name not in PLACES}
    return {name: values[name] for name in usual if name in values and values[name] != usual[name]}


def make_stamp(
    source: Mapping, page: Mapping, study: str, parameters: Mapping[str, object], inputs: Mapping[str, str] = {},
    outputs: Mapping[str, str] = {},
) -> dict:  # fmt: skip
    """The stamp of a page, its cells with their outputs; inputs and outputs are files with their hashes."""
    cells = [["".join(cell["source"]), _joined(cell.get("outputs"))] for cell in page["cells"]]
    return {
        "study": study, "parameters": dict(parameters), "source": source_hash(source), "code": code_hash(source),
        "inputs": dict(inputs), "outputs": dict(outputs), "page": digest(json.dumps(cells, sort_keys=True)),
    }  # fmt: skip


def state(page: Path, root: Path = paths.ROOT) -> tuple[str, list[str]]:
    """How a page of the book stands."""
    if not page.is_file():
        return "missing", ["not executed yet"]
    content = read_notebook(page)
    stamp = content["metadata"].get(KEY)
    if not isinstance(stamp, dict) or not {"study", "source", "code", "page"} <= stamp.keys():
        return "stale", ["no stamp"]
    if stamp["study"] != COMMITTED:
        return "reduced", [f"study {stamp['study']}"]
    source, subject = read_notebook(root / "notebooks" / page.name), subject_of(page.stem)
    changed = differing(dict(read_study(COMMITTED).of(subject)), SUBJECTS[subject])
    now, files = make_stamp(source, content, COMMITTED, changed), stamp.get("inputs", {}) | stamp.get("outputs", {})
    changes = [name for name in now if name not in ("inputs", "outputs") and now[name] != stamp.get(name)]
    changes += [name for name, found in input_hashes(files, root).items() if found != files[name]]
    return ("stale", [f"{name} changed" for name in changes]) if changes else ("fresh", [])
