"""A study: a YAML file of parameters, read and checked as a whole before anything is spent."""

import json
from dataclasses import dataclass
from pathlib import Path

from causalmix.core import paths
from causalmix.core.errors import InputError
from causalmix.core.parameters import SUBJECTS, Subject, check_name, read, subject_of
from causalmix.core.yaml_file import read_yaml

SECTIONS = ("parameters", "chapters", "minutes", "hardware")  # of a study's file
PLACES = {"study", "results_dir"}  # parameters that say where, which the runner gives
CHANGES = "parameters.json"  # in the folder of a run with other parameters: what they were, by subject


@dataclass(frozen=True)
class Study:
    """What a study's file says."""

    name: str  # or the path of its file, as it was given
    parameters: dict  # values for every subject that has a parameter of the name
    chapters: dict  # values for one subject; these come before the shared ones
    minutes: dict  # about how long each subject takes; it only feeds the time left on the terminal
    hardware: dict  # what it is meant for (causalmix.study.plan.hardware.Hardware); empty where nothing is asked

    def of(self, subject: str) -> Subject:
        """Values of one of :data:`causalmix.core.parameters.SUBJECTS`, defaults included."""
        model = SUBJECTS[subject]
        shared = {name: value for name, value in self.parameters.items() if name in model.model_fields}
        return read(model, shared | self.chapters.get(subject, {}) | {"study": self.name})

    @property
    def history(self) -> Path:
        """Where the runs lie that mixtures are made by: the file that it names, or its own."""
        return Path(self.of("mixture").history or paths.results_dir(self.name) / "history.csv")


def read_study(name: str) -> Study:
    """The study of a name, or of the path of a YAML file; InputError where it names or gives what there is not."""
    path = paths.study_file(name)
    if not paths.is_file(name):
        check_name(name, sorted(path.stem for path in paths.STUDIES.glob("*.yaml")), "study")
    sections = read_yaml(path, f"a study of the sections {', '.join(SECTIONS)}")
    for section, content in sections.items():
        check_name(section, SECTIONS, "section")
        if content and not isinstance(content, dict):
            raise InputError(f"Expected names with values in {section} of {path.name}, found {content!r}; correct it.")
    given = {section: sections.get(section) or {} for section in SECTIONS}
    for section, kind, what in (("chapters", dict, "names with values"), ("minutes", (int, float), "minutes")):
        for chapter, value in given[section].items():
            if not isinstance(value, kind):
                raise InputError(f"Expected {what} for {chapter} in {path.name}, found {value!r}; correct it.")
        given[section] = {subject_of(chapter): value for chapter, value in given[section].items()}
    study = Study(name, **given)
    for name in study.parameters:
        check_name(name, dict.fromkeys(n for model in SUBJECTS.values() for n in model.model_fields))
    for name in {*study.parameters, *(name for values in study.chapters.values() for name in values)} & PLACES:
        raise InputError(
            f"Expected no {name} in {path.name}, for its results have a place of their own, found one; leave it out."
        )
    paths.results_dir(study.name)  # refuses a name that is taken
    for subject in SUBJECTS:
        study.of(subject)
    return study


def read_changes(folder: Path | None, subject: str) -> dict[str, object]:
    """Values that a subject was given beside its study's, in the folder of a run with other parameters."""
    path = None if folder is None else Path(folder) / CHANGES
    return json.loads(path.read_text(encoding="utf-8")).get(subject, {}) if path and path.is_file() else {}
