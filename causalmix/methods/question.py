"""Other methods that choose a mixture, one file each, all called alike: a question in, an answer out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.core.tables import is_number


@dataclass(frozen=True)
class ProxyRun:
    """One training run that a method asks for.

    Attributes
    ----------
    weights : tuple of float, length K
        Mixture of the training rows.
    n_samples : int
        Rows in all.
    seed : int
    mixing : tuple of (str, value) pairs
        How the mixture changes while the run trains, for instance ``(("method", "odm"),)``;
        empty where it does not.
    """

    weights: tuple[float, ...]
    n_samples: int
    seed: int
    mixing: tuple[tuple[str, object], ...] = ()


#: Trains runs (or finds them in a ledger) and returns their records, in order.  A record's
#: ``training`` has ``validation_loss`` (nats per scored token, by domain) and, for a run whose
#: mixture changes, ``mixing`` (what the run found).
Train = Callable[[Sequence[ProxyRun]], list[dict]]


@dataclass(frozen=True)
class Question:
    """What every method is asked.

    Attributes
    ----------
    history : History
        Past runs; methods that train their own need only its domains.
    n_samples : int
        Rows of the training set that the mixture is for.
    rows : ndarray of int, shape (K,), or None
        Rows that each domain of the pool has; None where that is not known.
    outcome : str
        Column of the history to maximise.
    seed : int
        Everything random in the method follows from it.
    train : callable or None
        See :data:`Train`; None where nothing can be trained.
    """

    history: History
    n_samples: int
    rows: np.ndarray | None = None
    outcome: str = "y_dev"
    seed: int = 0
    train: Train | None = None

    def __post_init__(self) -> None:
        if not (is_number(self.n_samples) and self.n_samples >= 1):
            raise InputError(f"Expected a training set of at least 1 row, found {self.n_samples}; correct n_samples.")
        if self.rows is not None and not _positive(self.rows, self.k):
            raise InputError(
                f"Expected a number of rows in each of {', '.join(self.history.domains)}, "
                f"found {np.asarray(self.rows).tolist()}; leave out domains without rows."
            )
        if not (isinstance(self.seed, Integral) and 0 <= self.seed < 2**32):
            raise InputError(f"Expected a seed from 0 to {2**32 - 1}, found {self.seed}; give such a whole number.")

    @property
    def k(self) -> int:
        """Number of domains."""
        return len(self.history.domains)

    @property
    def proxy_samples(self) -> int:
        """Rows of a proxy run: as many as the history's runs have (1000 if it does not say)."""
        frame = self.history.frame
        return int(frame["n_samples"].median()) if "n_samples" in frame else 1000

    def outcomes(self, method: str, least: int) -> np.ndarray:
        """The outcome of every past run, shape (n,), after checking that a method can learn from it.

        Raises
        ------
        InputError
            With fewer than ``least`` runs, or the same outcome in all.
        """
        y = self.history.y(self.outcome)
        if len(y) < least:
            raise InputError(f"Expected at least {least} runs for {method}, found {len(y)}; add runs to the history.")
        if np.ptp(y) == 0:
            raise InputError(
                f"Expected an outcome that differs between runs, found {self.outcome} at {y[0]:g} in all {len(y)}; "
                "choose another outcome."
            )
        return y

    def trained(self, method: str, runs: Sequence[ProxyRun]) -> list[dict]:
        """Records of runs that a method needs; refuses where nothing can be trained or a record is of no use."""
        if self.train is None:
            raise InputError(
                f"Expected a way to train proxies for {method}, found none; give `train`, or leave {method} out."
            )
        records = self.train(runs)
        if len(records) != len(runs):
            raise InputError(
                f"Expected {len(runs)} records of proxy runs for {method}, found {len(records)}; "
                "let `train` return one for each run."
            )
        if failed := [r for r in records if r["status"] != "finished"]:
            why = " ".join(str(failed[0].get("error", "no reason told")).split())
            raise InputError(
                f"Expected {len(records)} finished proxy runs for {method}, found {len(failed)} failed "
                f"({why}); sweep again with --retry-failed."
            )
        for run, record in zip(runs, records):
            found = record.get("training", {}).get("mixing", {}).get("weights")
            if run.mixing and not _finite(found, self.k):
                raise InputError(
                    f"Expected a mixture of {self.k} domains in each record for {method}, found {found}; "
                    "let `train` return what the mixer found."
                )
        return records


def _finite(values: object, k: int) -> bool:
    """Whether these are k finite numbers."""
    values = np.asarray(values)
    return values.shape == (k,) and values.dtype.kind in "iuf" and bool(np.isfinite(values).all())


def _positive(values: object, k: int) -> bool:
    return _finite(values, k) and bool((np.asarray(values) > 0).all())


@dataclass(frozen=True)
class Answer:
    """What a method says.

    Attributes
    ----------
    weights : ndarray, shape (K,)
        The mixture.
    runs_used : int
        Proxy runs that went into it.
    note : str
        What a reader of the mixture should know; may be empty.
    details : dict of str to DataFrame
        Tables of what the method found on its way.
    """

    weights: np.ndarray
    runs_used: int
    note: str = ""
    details: dict[str, pd.DataFrame] = field(default_factory=dict)
