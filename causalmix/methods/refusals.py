"""What can be refused of a request before a pool is read, quickly: nothing here loads what estimates."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.direction import turned
from causalmix.core.errors import InputError
from causalmix.core.history import History, read_history
from causalmix.core.paths import STUDIES
from causalmix.core.simplex import check_mixture
from causalmix.core.tables import read_table
from causalmix.methods.caution import Caution
from causalmix.methods.limits import limits
from causalmix.methods.objective import Objective, pairs, read_objective
from causalmix.methods.request import BY_LETTER, Request


@dataclass(frozen=True)
class Asked:
    """What a request comes to."""

    history: History  # higher outcomes are better in it, and the objective is one of them
    objective: Objective
    caution: Caution
    measured: np.ndarray | None  # covariates that were given for the pool, without its sizes


def checked(request: Request) -> Asked:
    """All that a request gives; what can be refused before a pool is read is refused here."""
    _check_numbers(request)
    if request.out is not None:
        check_free(Path(request.out))
    history = read_history(request.history).parts(request.parts)
    objective = read_objective(request.objective, request.outcome, history)
    keep = pairs(request.keep or (), "an outcome to keep", "y_safety or y_safety=0.01", default=0.0)
    stated = request.lower_is_better or (), request.higher_is_better or ()
    history = objective.derived(turned(history, (*objective.outcomes, *keep), *stated))
    reference = request.reference
    if reference not in ("equal", "pool"):
        reference = tuple(read_mixture(Path(reference), history))
    worst = objective.outcomes if objective.worst else ()
    caution = Caution(request.kappa, request.floor, request.trust_region, request.radius, reference, keep, worst)
    limits(np.full(len(history.domains), 1 / len(history.domains)), request.floor)
    pools = ["tiny", *sorted(path.stem for path in STUDIES.glob("*.yaml"))]
    if not Path(request.pool).exists() and request.pool not in pools:
        raise InputError(
            f"Expected a pool as a path or among {', '.join(pools)}, found {request.pool!r}; correct the name."
        )
    return Asked(history, objective, caution, None if request.state is None else read_state(request.state, history))


def _check_numbers(request: Request) -> None:
    if request.method not in BY_LETTER:
        raise InputError(f"Expected a method among {', '.join(BY_LETTER)}, found {request.method!r}; choose one.")
    if request.n_samples is not None and request.n_samples < 1:
        raise InputError(f"Expected a training set of at least 1 row, found {request.n_samples}; raise n_samples.")
    if request.model_size is not None and not 1 <= request.model_size < np.inf:
        raise InputError(f"Expected a model of at least 1 parameter, found {request.model_size}; raise model_size.")
    if request.trees < 8:
        raise InputError(f"Expected at least 8 trees of a forest, found {request.trees}; raise trees.")
    for name in ("seed", "max_rows", "max_repeats"):
        if not 0 <= (value := getattr(request, name)) < np.inf:
            raise InputError(f"Expected {name} of at least 0, found {value}; give such a number.")


def check_free(out: Path) -> None:
    """Raise InputError unless a new folder can be made there."""
    if out.is_symlink():
        raise InputError(f"Expected a folder, found a link at {out}; name the folder itself.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"Expected a new or an empty folder, found content at {out}; name another, for nothing is written over."
        )
    above = next(p for p in out.absolute().parents if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"Expected a folder that can be made, found that {above} takes no folder; name another place.")


def read_state(path: Path, history: History) -> np.ndarray:
    """Measured covariates from a CSV table of one row or a JSON object, in the history's order."""
    names = [f"x_{name}" for name in history.measured]
    if not names:
        raise InputError("Expected a history with covariates for a given state, found none in it; leave out the state.")
    return _line(Path(path), names, "describe one pool")


def read_mixture(path: Path, history: History) -> np.ndarray:
    """A mixture from a CSV table of one row or a JSON object of w_<domain>, shape (K,)."""
    if not path.is_file():
        raise InputError(f"Expected a reference of equal, pool or a file, found {str(path)!r}; correct it.")
    return check_mixture(_line(path, [f"w_{name}" for name in history.domains], "give one mixture"), history.domains)


def _line(path: Path, names: list[str], advice: str) -> np.ndarray:
    """The named numbers of a table of one row, or of an object."""
    if path.suffix == ".json" and path.is_file():
        try:
            table = pd.DataFrame([json.loads(path.read_text(encoding="utf-8"))])
        except (ValueError, AttributeError) as error:
            raise unreadable("a JSON object", path, error) from error
    else:
        table = read_table(path)
    if missing := [name for name in names if name not in table]:
        raise InputError(
            f"Expected {', '.join(names)} in {path.name}, found no {', '.join(missing)}; add what is missing."
        )
    values = table[names].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if len(values) != 1 or not np.isfinite(values).all():
        raise InputError(
            f"Expected one finite number for each of {', '.join(names)} in {path.name}, "
            f"found {table[names].to_dict('list')}; {advice}."
        )
    return values[0]


def unreadable(what: str, path: Path, error: Exception) -> InputError:
    """The error of a file that is not what its name says."""
    return InputError(f"Expected {what} in {path.name}, found {' '.join(str(error).split())}; correct the file.")
