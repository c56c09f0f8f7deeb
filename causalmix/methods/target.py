"""The pool that a mixture is for: its state and its rows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import LARGEST_SIZE, SCALES, History
from causalmix.core.tables import read_table
from causalmix.core.wording import counted
from causalmix.methods.policy import domain_caps

WORDS = dict(zip(SCALES, ("rows", "parameters")))  # for the sizes of a run


@dataclass(frozen=True)
class Target:
    """A pool to train on."""

    pool: str  # its name
    x: np.ndarray  # its covariates, in the history's order, shape (d,)
    n_samples: int  # rows of the training set
    rows: np.ndarray | None  # that each domain has, shape (K,); None where that is not known
    told: str  # where all this comes from, in one sentence
    files: tuple[Path, ...] = ()  # what was read

    def caps(self, repeats_allowed: bool) -> np.ndarray | None:
        """Largest shares that need no row twice; None where rows are unknown or may repeat."""
        return None if repeats_allowed or self.rows is None else domain_caps(self.rows, self.n_samples)

    def table(self, history: History) -> pd.DataFrame:
        """The target beside the history: each covariate with its quantile among the runs, each domain's rows."""
        states = zip(history.covariates, self.x, history.X.T)
        rows = [(f"x_{name}", float(v), float((column < v).mean())) for name, v, column in states]
        counts = [] if self.rows is None else zip(history.domains, self.rows)
        rows += [(f"rows of {d}", int(n), np.nan) for d, n in counts]
        rows += [("rows of the training set", self.n_samples, np.nan)]
        return pd.DataFrame(rows, columns=["quantity", "target", "share_of_runs_below"])


def find_target(history: History, out: Path, target: str = "", own_history: bool = True) -> Target:
    """The target of a table (``pool, n_samples, x_…, rows_…``), or the study's, or else the history's mean state.

    The study's own is ``target_state.csv`` in ``out``, and goes with the study's own history alone.
    """
    path = Path(target) if target else Path(out) / "target_state.csv"
    if not target and not (own_history and path.exists()):
        told = ("No target was given: the mixture is for the history's mean state, and for as many rows as its runs "
                "have (1000 if it does not say).")  # fmt: skip
        x = history.state(history.X[:, : len(history.measured)].mean(axis=0), history.usual_rows)
        return Target("mean state of the history", x, history.usual_rows, None, told)
    states, rows = [f"x_{c}" for c in history.measured], [f"rows_{d}" for d in history.domains]
    table = read_table(path, ["pool", "n_samples", *states])
    if any(c.startswith("rows_") for c in table) and (missing := [c for c in rows if c not in table]):
        raise InputError(
            f"Expected the rows of every domain of the history in {path.name} or of none, found no "
            f"{', '.join(missing)}; name the columns after the domains."
        )
    if len(table) != 1:
        raise InputError(f"Expected one target in {path.name}, found {len(table)} rows; leave the one to train on.")
    line = table.iloc[0]
    counts = _numbers(line, rows, path, 0) if set(rows) <= set(table) else None
    told = f"The target is the pool *{line['pool']}*, as described in `{path.name}`."
    n_samples = int(_numbers(line, ["n_samples"], path, 1)[0])
    x = history.state(_numbers(line, states, path), n_samples)
    return Target(str(line["pool"]), x, n_samples, counts, told, (path,))


def scale_of(x: np.ndarray, history: History) -> tuple[int | None, str, bool]:
    """Rows and model that gains in a state are for (None, empty: not told), and whether the runs span them."""
    sizes = {name: (x[j], history.X[:, j]) for j, name in enumerate(history.covariates) if name in SCALES}
    rows = history.usual_rows if "n_samples" in history.frame else None
    model = ", ".join(sorted(set(history.frame.get("model", pd.Series(dtype=str)).map(str))))
    if "log2_n_samples" in sizes:
        rows = round(2 ** sizes["log2_n_samples"][0])
    if "log2_model_size" in sizes:
        model = f"{2 ** sizes['log2_model_size'][0]:.3g} parameters"
    near = 1e-9  # that a logarithm may miss
    inside = all(runs.min() - near <= value <= runs.max() + near for value, runs in sizes.values())
    return rows, model, inside


def sized(rows: int | None, model: str) -> str:
    """The size that gains are for, in words."""
    told = counted(rows, "row") if rows else "as many rows as the history's runs have, which it does not tell,"
    return f"{told} and {'' if 'parameters' in model else 'the model '}{model}" if model else told.rstrip(",")


def scale_told(x: np.ndarray, n_samples: int, history: History) -> str:
    """What has to be said of the size that gains are for; empty where it is the target's, and within the history."""
    rows, model, inside = scale_of(x, history)
    if not inside:
        columns = {name: 2**column for name, column in zip(history.covariates, history.X.T) if name in SCALES}
        spans = [f"{column.min():.4g} to {column.max():.4g} {WORDS[name]}" for name, column in columns.items()]
        return (
            f"Gains are for {sized(rows, model)}, beyond the history, whose runs have "
            f"{' and '.join(spans)}: they are extrapolated."
        )
    if rows not in (None, n_samples):
        return f"Gains are those of the history's runs, which train on {counted(rows, 'row')}, not {n_samples:,}."
    return ""


def _numbers(line: pd.Series, names: list[str], path: Path, least: int | None = None) -> np.ndarray:
    """Cells of a target as finite floats; with ``least``, as whole numbers from there on."""
    values = pd.to_numeric(line[names], errors="coerce").to_numpy(float)
    off = ~np.isfinite(values)
    if least is not None:
        off |= (values < least) | (values > LARGEST_SIZE) | (values != np.floor(values))
    if off.any():
        place = int(np.argmax(off))
        bound = f"most {LARGEST_SIZE:g}" if LARGEST_SIZE < values[place] < np.inf else f"least {least}"
        kind, name = "a finite number" if least is None else f"a whole number of at {bound}", names[place]
        raise InputError(f"Expected {kind} in {name} of {path.name}, found {line[name]}; correct the table.")
    return values


def equal(history: History) -> np.ndarray:
    """The mixture that gives every domain the same share, shape (K,)."""
    return np.full(len(history.domains), 1 / len(history.domains))
