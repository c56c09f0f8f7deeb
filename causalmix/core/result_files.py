"""Scores of runs from a folder of results of lm-evaluation-harness, ``results_*.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pandas as pd

from causalmix.core.errors import InputError, brief

RESULTS = "results*.json"


def read_results(folder: Path, runs: Collection[str]) -> tuple[pd.DataFrame, list[str], str]:
    """The scores of runs, whose names are those of folders on the way to a file, or the ends of models' names.

    Returns a table by run with columns task/metric, those of them that are better when lower, and what was read.
    """
    rows: dict[str, dict[str, float]] = {}
    lower: set[str] = set()
    files = sorted(folder.rglob(RESULTS), key=lambda path: (path.name, path))
    for path in files:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            scores, better = (
                dict(_scores(found["results"], found.get("group_subtasks") or {})),
                found.get("higher_is_better", {}),
            )
            models = [str(found.get(name) or "") for name in ("model_name", "model_name_sanitized")]
            lower |= {name for name in scores if better.get(name.split("/")[0], {}).get(name.split("/")[1]) is False}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"Expected results of lm-evaluation-harness in {path.name}, found {brief(error)}; correct the file."
            ) from error
        places = (*path.relative_to(folder).parts[:-1], *models)
        if ends := [part for place in places for part in (place, *re.split("__|/", place)) if part in runs]:
            rows.setdefault(ends[-1], {}).update(scores)
    if not rows:
        raise InputError(
            f"Expected {RESULTS} below a folder for each run in {folder}, found {len(files)} files, none of a run "
            f"of the ratios ({brief(', '.join(sorted(runs)[:5]))} …); name folders or models after the runs."
        )
    told = f"{folder.name}: {len(files)} files of results, of {len(rows)} runs; a later file counts before others."
    return pd.DataFrame.from_dict(rows, orient="index"), sorted(lower), told


def _scores(results: Mapping, groups: Mapping) -> Iterable[tuple[str, float]]:
    """Names as task/metric and values of scores; a group stands for its parts."""
    within = {part for group, parts in groups.items() if results.get(group) for part in parts if part != group}
    for task, values in results.items():
        for name, value in values.items():
            metric = name.removesuffix(",none").replace(",", "/")
            if task not in within and isinstance(value, int | float) and "_stderr" not in name and name != "sample_len":
                yield f"{task}/{metric}", float(value)
