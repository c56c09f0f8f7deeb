"""What a notebook may be given: the grammar of its parameters cell, and studies that are files of such values.

A parameters cell holds one name a line, ``name: type = literal  # help``.  The type is int, float,
str, bool, list or dict.  The help may end in what is allowed: ``[low, high]`` for numbers (a round
bracket leaves its end out), ``{one, two}`` for words; in a list it holds for every element.  There
is no second ``=`` in a line, which papermill's own reader would not survive.

Nothing here imports more than a YAML reader, so that a mistyped name is refused at once.
"""

from __future__ import annotations

import ast
import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from causalmix.core.errors import InputError

TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}
NUMBER = r"\s*([-+.\w]+)\s*"
RANGE = re.compile(rf"([\[(]){NUMBER},{NUMBER}([\])])$")
CHOICES = re.compile(r"\{([^{}]+)\}$")


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell.

    Attributes
    ----------
    name, type : str
        The type is a key of :data:`TYPES`.
    default : object
    help : str
        The whole comment, its range or choices included.
    """

    name: str
    type: str
    default: object
    help: str

    @property
    def allowed(self) -> str:
        """What a value has to be, in words."""
        found = RANGE.search(self.help) or CHOICES.search(self.help)
        return f"{self.type} in {found.group()}" if found else self.type

    def read(self, given: object) -> object:
        """The value that is meant by what was given, text from a command line or a value from YAML.

        Raises
        ------
        InputError
            When it is of another type, or not allowed.
        """
        try:
            value = _typed(given, TYPES[self.type])
        except (ValueError, yaml.YAMLError) as error:
            raise self._refusal(given) from error
        if not all(self._allows(v) for v in (value if self.type == "list" else [value])):
            raise self._refusal(given)
        return value

    def _allows(self, value: object) -> bool:
        if choices := CHOICES.search(self.help):
            return value in [word.strip() for word in choices.group(1).split(",")]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self.type != "list" or not RANGE.search(self.help)  # a range is of numbers
        if not (limits := RANGE.search(self.help)):
            return math.isfinite(value)
        left, low, high, right = limits.groups()
        above = value >= float(low) if left == "[" else value > float(low)
        return above and (value <= float(high) if right == "]" else value < float(high))

    def _refusal(self, given: object) -> InputError:
        return InputError(f"Expected {self.name} to be {self.allowed}, found {given!r}; give such a value.")


def _typed(given: object, kind: type) -> object:
    """What was given as a value of the kind, or ValueError."""
    value = given
    if isinstance(given, str) and kind is not str:
        value = kind(given) if kind in (int, float) else yaml.safe_load(given)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f"not of type {kind.__name__}")
    return value


def read_notebook(path: Path) -> dict:
    """A notebook as plain JSON; raises InputError when there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.ipynb"))) or "none"
        raise InputError(
            f"Expected a notebook {path.name} (there are: {known}), found no readable file; correct the name."
        ) from error


def parameters_cell(notebook: Mapping) -> str:
    """Source of the one cell tagged ``parameters``; raises InputError when there is not exactly one."""
    cells = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    if len(cells) != 1:
        raise InputError(f"Expected one cell tagged parameters in the notebook, found {len(cells)}; tag exactly one.")
    return "".join(cells[0]["source"])


def declared(notebook: Mapping) -> dict[str, Parameter]:
    """Parameters of a notebook by name, in their order.

    Raises
    ------
    InputError
        When the cell is missing, or a line of it does not follow the grammar.
    """
    source = parameters_cell(notebook)
    lines = source.splitlines()
    try:
        nodes = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(
            f"Expected lines of Python in the parameters cell, found `{(error.text or '').strip()}`; correct it."
        ) from error
    return {p.name: p for p in (_parameter(node, lines[node.lineno - 1]) for node in nodes)}


def _parameter(node: ast.stmt, line: str) -> Parameter:
    comment = line.encode()[node.end_col_offset :].decode().strip()  # the offset counts bytes
    try:
        name, kind, default = node.target.id, ast.unparse(node.annotation), ast.literal_eval(node.value)
        parameter = Parameter(name, kind, default, comment.removeprefix("#").strip())
        if "=" in parameter.help or parameter.read(default) != default:
            raise ValueError(line)
    except (AttributeError, KeyError, ValueError) as error:
        raise InputError(
            f"Expected a line `name: type = literal  # help [low, high]` in the parameters cell, found `{line}`; "
            "write it so."
        ) from error
    return parameter


def check(given: Mapping[str, object], known: Mapping[str, Parameter]) -> dict[str, object]:
    """Values of the given parameters.

    Raises
    ------
    InputError
        When a name is not known (names the nearest one), or a value is not allowed.
    """
    for name in given:
        check_name(name, known)
    return {name: known[name].read(value) for name, value in given.items()}


def check_name(name: str, known: Iterable[str], what: str = "parameter") -> None:
    """Raise InputError, with the names that there are and the nearest of them, unless the name is known."""
    if name in (known := list(known)):
        return
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}?" if near else "choose one of these."
    what = f"an {what}" if what[0] in "aeiou" else f"a {what}"
    raise InputError(f"Expected {what} among {', '.join(known) or 'none'}, found {name!r}; {advice}")
