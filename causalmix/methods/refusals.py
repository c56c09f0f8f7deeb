"""What can be refused of a request before a pool is read, quickly: nothing here loads what estimates."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.direction import is_lower_better, turned
from causalmix.core.errors import InputError, brief, refused
from causalmix.core.history import LARGEST_SIZE, SIZES, History
from causalmix.core.json_text import parse_json
from causalmix.core.parameters import check_name
from causalmix.core.paths import STUDIES, check_writable
from causalmix.core.simplex import check_mixture
from causalmix.core.sweep_files import Sweep, named, read_sweep
from causalmix.core.tables import read_table
from causalmix.core.wording import some_of
from causalmix.methods.limits import Caution, limits
from causalmix.methods.objective import Objective, by_column, pairs, read_objective
from causalmix.methods.request import BY_LETTER, Asked, Request

MODEL_SIZE = SIZES[1]
LEAST = {"n_samples": 1, "model_size": 1, "trees": 8, "seed": 0, "max_rows": 0, "max_repeats": 0}


def checked(request: Request) -> Asked:
    """All that a request gives; what can be refused before a pool is read is refused here."""
    check_name(request.method, BY_LETTER, "method")
    if request.method != "cautious" and (request.keep or request.trust_region):
        given = "--keep" if request.keep else "--trust-region"
        raise InputError(
            f"Expected {given} with the method cautious alone, found it with {request.method}; choose one."
        )
    for name, low in LEAST.items():
        if (value := getattr(request, name)) is not None and not low <= value < np.inf:
            raise InputError(f"Expected {name} of at least {low}, found {value}; give such a number.")
        if name in SIZES and value is not None and value > LARGEST_SIZE:
            raise InputError(f"Expected {name} of at most {LARGEST_SIZE:g}, found {value:g}; give such a number.")
    if request.out is not None:
        check_free(Path(request.out))
    renames(request.pool_map or (), "--pool-map")
    if not request.pool:
        raise InputError("Expected rows of a pool as --pool, found none; name a file or folder, a recipe or a study.")
    keep = pairs(request.keep or (), "an outcome to keep", "y_safety or y_safety=0.01", default=0.0)
    sweep, objective = _sweep(request, keep)
    history = sweep.history
    keep = by_column(keep, history)
    outcomes = tuple(dict.fromkeys((*objective.outcomes, *keep)))
    lower = list(map(named, objective.outcomes if request.lower_is_better == [] else request.lower_is_better or ()))
    stated = dict.fromkeys(lower, True) | dict.fromkeys(map(named, request.higher_is_better or ()), False)
    if both := [name for name in lower if not stated[name]]:
        raise InputError(f"Expected {both[0]} to be better one way, found it stated as both; state one of them.")
    if request.model_size is not None and f"log2_{MODEL_SIZE}" not in history.covariates:
        raise InputError(
            f"Expected model_size with a history whose runs differ in it, found {request.model_size:g} and none that "
            f"do; leave it out, or tell each run's parameters as {MODEL_SIZE}."
        )
    known, told = history.complete(outcomes), history.lacking(outcomes)
    sweep, history = replace(sweep, told=(*sweep.told, *told)), known
    down = tuple(name for name in outcomes if is_lower_better(history, name, stated))
    history = objective.derived(turned(history, outcomes, stated))
    reference = request.reference or "equal"
    if reference not in ("equal", "pool"):
        reference = tuple(read_mixture(reference, history))
    worst, floor = objective.outcomes if objective.worst else (), _floor(request.floor, history)
    fall_back = not request.reference
    caution = Caution(request.kappa, 0.0, request.trust_region, request.radius, reference, fall_back, keep, worst)
    k = len(history.domains)
    limits(np.full(k, 1 / k), [floor.get(d, 0) for d in history.domains] if isinstance(floor, dict) else floor or 0.0)
    pools = ["tiny", *sorted(path.stem for path in STUDIES.glob("*.yaml"))]
    if not Path(request.pool).exists() and request.pool not in pools:
        raise InputError(f"Expected a pool as a path or among {', '.join(pools)}, found {request.pool!r}; correct it.")
    given = None if request.state is None else read_state(request.state, history)
    return Asked(sweep, history, down, objective, caution, floor, given, stated)


def _sweep(request: Request, keep: Mapping[str, float]) -> tuple[Sweep, Objective]:
    """The sweep with the outcome that is asked for, and the objective over its outcomes."""
    renamed = renames(request.map or (), "--map")
    files, alone = (request.history, request.ratios, request.metrics), not request.objective.strip()
    sweep = read_sweep(*files, renamed, request.outcome if alone else "", keep)
    chosen = sweep.history.parts(request.parts)
    if others := sorted(set(sweep.history.part) - set(request.parts)):
        told = some_of(len(sweep.history) - len(chosen), len(sweep.history), "runs")
        sweep = replace(sweep, told=(*sweep.told, f"{told} left out, of the part {' or '.join(others)} (--parts)."))
    sweep = replace(sweep, history=chosen)
    return sweep, read_objective(request.objective, sweep.outcome, sweep.history)


def renames(given: Sequence[str], option: str) -> dict[str, str]:
    """New names by old ones, as an option gives them."""
    found = dict(one.rsplit("=", 1) for one in given if "=" in one)  # a new name is ours, an old one may have the sign
    if len(found) < len(given) or not all(found.values()):
        raise InputError(f"Expected {option} as OLD=NEW, each OLD once, found {brief(' '.join(given))}; correct it.")
    return found


def _floor(text: str | float, history: History) -> float | dict[str, float] | None:
    """Least shares: one for all, some by name, or None where they are left to the history."""
    try:
        return None if text == "" else float(text)
    except ValueError:
        return _shares(str(text), "least shares", "0.02, or math=0.1,code=0.05", history)


def check_free(out: Path) -> None:
    """Raise InputError unless a new folder can be made there."""
    if out.is_symlink():
        raise InputError(f"Expected a folder, found a link at {out}; name the folder itself.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"Expected a new or an empty folder, found content at {out}; name another, nothing is written over."
        )
    check_writable(out)


def check_outside(out: Path, rows: Path | None) -> None:
    """Raise InputError where what is written would lie among the rows, and be read as rows the next time."""
    if rows and rows.is_dir() and out.resolve().is_relative_to(rows.resolve()):
        raise InputError(
            f"Expected a place outside of the folder of rows {rows}, found {out}, where what is written would be read "
            "as rows; name another with --out."
        )


def read_state(path: Path, history: History) -> np.ndarray:
    """Measured covariates from a CSV table of one row or a JSON object, in the history's order."""
    names = [f"x_{name}" for name in history.measured]
    if not names:
        raise InputError("Expected a history with covariates for a given state, found none in it; leave out the state.")
    return _line(Path(path), names, "describe one pool")


def read_mixture(text: str, history: History) -> np.ndarray:
    """A mixture from a CSV table of one row or a JSON object of w_<domain>, or from shares by name, shape (K,)."""
    if (path := Path(text)).is_file():
        names = [f"w_{name}" for name in history.domains]
        return check_mixture(_line(path, names, "give one mixture"), history.domains)
    if not is_named(text):
        raise InputError(f"Expected a reference of equal, pool, shares or a file, found {text!r}; correct it.")
    shares = _shares(text, "a reference", "math=0.6,code=0.4", history)
    return check_mixture([shares.get(name, 0.0) for name in history.domains], history.domains)


def _shares(text: str, what: str, example: str, history: History) -> dict[str, float]:
    """Shares of domains by name, as pairs or as a JSON object."""
    if text.startswith("{"):
        with refused(f"{what} as a JSON object of shares by name", "correct it", ValueError):
            found = parse_json(text)
        if off := [name for name, share in found.items() if type(share) not in (int, float)]:
            told = f"{brief(repr(found[off[0]]))} for {off[0]}"
            raise InputError(f"Expected {what} as shares by name, found {told}; write numbers.")
    else:
        found = pairs(text, what, example)
    for name in found:
        check_name(name, history.domains, "domain")
    return found


def is_named(reference: str) -> bool:
    """Whether a reference is told by what it is, and not by a file."""
    return reference in ("", "equal", "pool") or "=" in reference or reference.startswith("{")


def _line(path: Path, names: list[str], advice: str) -> np.ndarray:
    """The named numbers of a table of one row, or of an object."""
    if path.suffix == ".json" and path.is_file():
        with refused(f"a JSON object in {path.name}", "correct the file", ValueError, AttributeError):
            table = pd.DataFrame([parse_json(path.read_text(encoding="utf-8"))])
    else:
        table = read_table(path)
    if missing := [name for name in names if name not in table]:
        raise InputError(f"Expected {', '.join(names)} in {path.name}, found no {', '.join(missing)}; add it.")
    numbers = table[names].map(lambda cell: None if isinstance(cell, bool | np.bool_) else cell)
    values = numbers.apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if len(values) != 1 or not np.isfinite(values).all():
        raise InputError(
            f"Expected one finite number for each of {', '.join(names)} in {path.name}, "
            f"found {brief(table[names].to_dict('list'))}; {advice}."
        )
    return values[0]
