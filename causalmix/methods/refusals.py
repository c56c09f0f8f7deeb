"""What can be refused of a request before a pool is read, quickly: nothing here loads what estimates."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History, read_history
from causalmix.core.paths import STUDIES
from causalmix.core.tables import read_table
from causalmix.methods.request import BY_LETTER, Request


def checked(request: Request) -> tuple[History, np.ndarray | None]:
    """The history and the state that a request gives; all that can be refused before a pool is read is refused here."""
    if request.method not in BY_LETTER:
        raise InputError(f"Expected a method among {', '.join(BY_LETTER)}, found {request.method!r}; choose one.")
    if request.n_samples is not None and request.n_samples < 1:
        raise InputError(f"Expected a training set of at least 1 row, found {request.n_samples}; raise n_samples.")
    if request.trees < 8:
        raise InputError(f"Expected at least 8 trees of a forest, found {request.trees}; raise trees.")
    for name in ("seed", "max_rows"):
        if (value := getattr(request, name)) < 0:
            raise InputError(f"Expected {name} of at least 0, found {value}; give such a number.")
    if request.out is not None:
        check_free(Path(request.out))
    history = read_history(request.history)
    history.y(request.outcome)
    pools = ["tiny", *sorted(path.stem for path in STUDIES.glob("*.yaml"))]
    if not Path(request.pool).exists() and request.pool not in pools:
        raise InputError(
            f"Expected a pool as a path or among {', '.join(pools)}, found {request.pool!r}; correct the name."
        )
    return history, None if request.state is None else read_state(request.state, history)


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
    """Covariates from a CSV table of one row or a JSON object, in the history's order, shape (d,)."""
    path, names = Path(path), [f"x_{name}" for name in history.covariates]
    if not names:
        raise InputError("Expected a history with covariates for a given state, found none in it; leave out the state.")
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
            f"found {table[names].to_dict('list')}; describe one pool."
        )
    return values[0]


def unreadable(what: str, path: Path, error: Exception) -> InputError:
    """The error of a file that is not what its name says."""
    return InputError(f"Expected {what} in {path.name}, found {' '.join(str(error).split())}; correct the file.")
