"""The pool that a mixture is for: its state, its rows, and what the chapter says of the gain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.core.intervals import verdict
from causalmix.core.tables import read_table
from causalmix.methods.policy import domain_caps


@dataclass(frozen=True)
class Target:
    """A pool to train on.

    Attributes
    ----------
    pool : str
        Its name.
    x : ndarray, shape (d,)
        Its covariates, in the history's order.
    n_samples : int
        Rows of the training set.
    rows : ndarray, shape (K,), or None
        Rows that each domain has; None where that is not known.
    told : str
        Where all this comes from, in one sentence.
    files : tuple of Path
        What was read.
    """

    pool: str
    x: np.ndarray
    n_samples: int
    rows: np.ndarray | None
    told: str
    files: tuple[Path, ...] = ()

    def caps(self, repeats_allowed: bool) -> np.ndarray | None:
        """Largest shares that need no row twice; None where rows are unknown or may repeat."""
        return None if repeats_allowed or self.rows is None else domain_caps(self.rows, self.n_samples)

    def table(self, history: History) -> pd.DataFrame:
        """The target beside the history: each covariate with its quantile among the runs, each domain's rows."""
        rows = [
            {"quantity": f"x_{name}", "target": float(v), "share_of_runs_below": float((history.X[:, j] < v).mean())}
            for j, (name, v) in enumerate(zip(history.covariates, self.x))
        ]
        counts = [] if self.rows is None else zip(history.domains, self.rows)
        rows += [{"quantity": f"rows of {d}", "target": int(n), "share_of_runs_below": np.nan} for d, n in counts]
        return pd.DataFrame(
            [*rows, {"quantity": "rows of the training set", "target": self.n_samples, "share_of_runs_below": np.nan}]
        )


def find_target(history: History, out: Path, target: str = "", own_history: bool = True) -> Target:
    """The target of a table, or of the study, or else the history's mean state.

    Parameters
    ----------
    history : History
    out : Path
        Folder of the study, where chapter 01 leaves ``target_state.csv``.
    target : str
        Path of a table ``pool, n_samples, x_<covariate>…, rows_<domain>…`` of one row; may be empty.
    own_history : bool
        Whether the history is the study's own, so that the study's target goes with it.

    Raises
    ------
    InputError
        When the table is missing, lacks a column, does not have exactly one row, or holds what is
        not a number, or less than one row to train on.
    """
    path = Path(target) if target else Path(out) / "target_state.csv"
    if not target and not (own_history and path.exists()):
        n_samples = int(history.frame["n_samples"].median()) if "n_samples" in history.frame else 1000
        told = (
            "No target was given: the mixture is for the history's mean state, and for as many rows as its runs have "
            "(1000 if it does not say)."
        )
        return Target("mean state of the history", history.X.mean(axis=0), n_samples, None, told)
    states, rows = [f"x_{c}" for c in history.covariates], [f"rows_{d}" for d in history.domains]
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
    return Target(str(line["pool"]), _numbers(line, states, path), n_samples, counts, told, (path,))


def _numbers(line: pd.Series, names: list[str], path: Path, least: int | None = None) -> np.ndarray:
    """Cells of a target as finite floats; with ``least``, as whole numbers from there on."""
    values = pd.to_numeric(line[names], errors="coerce").to_numpy(float)
    off = ~np.isfinite(values)
    if least is not None:
        off |= (values < least) | (values != np.floor(values))
    if off.any():
        kind = "a finite number" if least is None else f"a whole number of at least {least}"
        name = names[int(np.argmax(off))]
        raise InputError(f"Expected {kind} in {name} of {path.name}, found {line[name]}; correct the table.")
    return values


def equal(history: History) -> np.ndarray:
    """The mixture that gives every domain the same share, shape (K,)."""
    return np.full(len(history.domains), 1 / len(history.domains))


def gain_sentence(mixtures: pd.DataFrame) -> str:
    """Which proposals are expected to gain something, by their intervals, in one sentence."""
    words, told = {"better": "is above zero", "worse": "is below zero", "open": "includes zero"}, []
    for row in mixtures[mixtures["method"] != "Equal"].itertuples():
        sure = f"its interval {words[verdict(row.gain_ci_low, row.gain_ci_high)]}"
        where = "in support" if row.in_support else "outside the support of the history"
        note = f"; {row.note}" if row.note else ""
        told.append(f"**{row.method}** {row.predicted_gain:+.4f} ({sure}; {where}{note})")
    return "Predicted gain over Equal: " + "; ".join(told) + "."
