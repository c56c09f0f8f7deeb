"""A study: a YAML file of parameters, read and checked before anything is spent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from causalmix.core.errors import InputError
from causalmix.core.parameters import Parameter, check, check_name

SECTIONS = ("parameters", "notebooks", "minutes", "hardware")  # of a study's file
CHANGES = "parameters.json"  # in the folder of a run with other parameters: what they were, by notebook


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
        What it is meant for (:class:`causalmix.study.plan.hardware.Hardware`); empty where nothing is asked.
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
