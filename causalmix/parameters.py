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

from causalmix.errors import InputError

TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}
NUMBER = r"\s*([-+.\w]+)\s*"
RANGE = re.compile(rf"([\[(]){NUMBER},{NUMBER}([\])])$")
SECTIONS = ("parameters", "notebooks", "minutes", "hardware")  # of a study's file
CHANGES = "parameters.json"  # in the folder of a run with other parameters: what they were, by notebook
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
    raise InputError(f"Expected a {what} among {', '.join(known) or 'none'}, found {name!r}; {advice}")


@dataclass(frozen=True)
class Study:
    """A YAML file of notebook parameters.

    Attributes
    ----------
    name : str
    parameters : dict
        Values for every notebook that declares the name.
    notebooks : dict of dict
        Values for one notebook; these come before the shared ones.
    minutes : dict
        About how long each notebook runs; it only feeds the time left on the terminal.
    hardware : dict
        What it is meant for (:class:`causalmix.hardware.Hardware`); empty where nothing is asked.
    """

    name: str
    parameters: dict
    notebooks: dict
    minutes: dict
    hardware: dict


def read_study(name: str, folder: Path) -> Study:
    """Read ``<folder>/<name>.yaml``.

    Raises
    ------
    InputError
        When there is no such study, or the file has another section or is not YAML.
    """
    check_name(name, sorted(path.stem for path in folder.glob("*.yaml")), "study")
    try:
        sections = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"Expected YAML in {name}.yaml, found {' '.join(str(error).split())}; correct the file."
        ) from error
    if not isinstance(sections, dict):
        raise InputError(
            f"Expected sections by name in {name}.yaml, found {sections!r}; write parameters: and what follows."
        )
    for section, content in sections.items():
        check_name(section, SECTIONS, "section")
        if content and not isinstance(content, dict):
            raise InputError(
                f"Expected names with values in the section {section} of {name}.yaml, found {content!r}; correct it."
            )
    return Study(name, *(sections.get(section) or {} for section in SECTIONS))


def read_changes(folder: Path | None, chapter: str) -> dict[str, object]:
    """Values that a notebook was given beside its study's, in the folder of a run with other parameters."""
    path = None if folder is None else Path(folder) / CHANGES
    return json.loads(path.read_text(encoding="utf-8")).get(chapter, {}) if path and path.is_file() else {}


def check_study(study: Study, known: Mapping[str, Mapping[str, Parameter]]) -> None:
    """A study may only name what there is, with values that are allowed: a mistyped name would quietly leave a default.

    Parameters
    ----------
    study : Study
    known : mapping
        Parameters of every notebook by its name.
    """
    for name in study.parameters:
        check_name(name, dict.fromkeys(n for names in known.values() for n in names))
    for chapter in [*study.notebooks, *study.minutes]:
        check_name(chapter, known, "notebook")
    for section, kind in (("notebooks", dict), ("minutes", (int, float))):
        for chapter, given in getattr(study, section).items():
            if given is not None and not isinstance(given, kind):
                what = "names with values" if kind is dict else "minutes"
                raise InputError(f"Expected {what} for {chapter} in {study.name}.yaml, found {given!r}; correct it.")
    for chapter, names in known.items():
        study_values(study, chapter, names)


def study_values(study: Study, chapter: str, known: Mapping[str, Parameter]) -> dict[str, object]:
    """All values of a chapter's parameters in a study, the notebook's defaults included."""
    shared = {name: value for name, value in study.parameters.items() if name in known}
    own = {"study": study.name} if "study" in known else {}
    given = shared | (study.notebooks.get(chapter) or {}) | own
    return {name: parameter.default for name, parameter in known.items()} | check(given, known)
