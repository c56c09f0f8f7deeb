"""Every method that chooses a mixture is called alike: a question in, an answer out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.core.tables import is_number
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import Effects
from causalmix.methods.policy import domain_caps


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


class NothingTrains(InputError):
    """A method needs proxies of its own, and the question gives no way to train them."""


@dataclass(frozen=True)
class Question:
    """What every method is asked.

    Attributes
    ----------
    history : History
        Past runs; methods that train their own need only its domains.
    n_samples : int
        Rows of the training set that the mixture is for.
    rows : ndarray of int, shape (k,), or None
        Rows that each domain of the pool has; None where that is not known.
    outcome : str
        Column of the history to maximise.
    seed : int
        Everything random in the method follows from it.
    train : callable or None
        See :data:`Train`; None where nothing can be trained.
    x : ndarray, shape (d,), or None
        Covariates of the pool, its state; None where no method that is asked looks at it.
    domains : tuple of str, length k
        Domains that the pool has; by default all of the history's.
    repeats_allowed : bool
        Whether a domain that runs out gives rows again; otherwise shares are held within the rows.
    settings : dict
        Of :func:`causalmix.effects.estimator.fit_effects`.
    fitted : Effects or None
        What these settings give, where it has been fitted already.
    """

    history: History
    n_samples: int
    rows: np.ndarray | None = None
    outcome: str = "y_dev"
    seed: int = 0
    train: Train | None = None
    x: np.ndarray | None = None
    domains: tuple[str, ...] = ()
    repeats_allowed: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)
    fitted: Effects | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "domains", tuple(self.domains) or self.history.domains)
        if not (is_number(self.n_samples) and self.n_samples >= 1):
            raise InputError(f"Expected a training set of at least 1 row, found {self.n_samples}; correct n_samples.")
        if self.rows is not None and not (_finite(self.rows, self.k) and (np.asarray(self.rows) > 0).all()):
            raise InputError(
                f"Expected a number of rows in each of {', '.join(self.domains)}, "
                f"found {np.asarray(self.rows).tolist()}; leave out domains without rows."
            )
        if not (isinstance(self.seed, Integral) and 0 <= self.seed < 2**32):
            raise InputError(f"Expected a seed from 0 to {2**32 - 1}, found {self.seed}; give such a whole number.")

    @property
    def k(self) -> int:
        """Number of the pool's domains."""
        return len(self.domains)

    @property
    def kept(self) -> list[int]:
        """Places of the pool's domains among the history's."""
        return [self.history.domains.index(d) for d in self.domains]

    @property
    def even(self) -> np.ndarray:
        """The same share for each of the pool's domains."""
        return np.full(self.k, 1 / self.k)

    def of_pool(self, weights: np.ndarray) -> np.ndarray:
        """A mixture of the history's domains as one of the pool's: their shares, divided by their sum."""
        if self.domains == self.history.domains:
            return np.asarray(weights, float)
        part = np.asarray(weights, float)[self.kept]
        return part / part.sum() if part.sum() > 0 else self.even

    def whole(self, mixtures: np.ndarray) -> np.ndarray:
        """Mixtures of the pool's domains, shape (..., k), as ones of the history's, (..., K): others get nothing."""
        full = np.zeros((*np.shape(mixtures)[:-1], len(self.history.domains)))
        full[..., self.kept] = mixtures
        return full

    @property
    def caps(self) -> np.ndarray | None:
        """Largest shares that need no row twice, shape (k,); None where rows are not known or may repeat."""
        return None if self.rows is None or self.repeats_allowed else domain_caps(self.rows, self.n_samples)

    @cached_property
    def effects(self) -> Effects:
        """The returns that the history tells."""
        return self.fitted or fit_effects(self.history, self.outcome, seed=self.seed, **self.settings)

    @property
    def theta(self) -> np.ndarray:
        """Returns of the pool's domains in its state, shape (k,)."""
        if self.x is None:
            raise InputError("Expected the state of the pool for CausalMix, found none; give its covariates as `x`.")
        return self.effects.theta(self.x)[0][self.kept]

    @property
    def proxy_samples(self) -> int:
        """Rows of a proxy run: as many as the history's runs have (1000 if it does not say)."""
        frame = self.history.frame
        return int(frame["n_samples"].median()) if "n_samples" in frame else 1000

    def outcomes(self, method: str, least: int) -> np.ndarray:
        """The outcome of every past run, shape (n,); refuses fewer than ``least`` runs, or one outcome in all."""
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
            raise NothingTrains(
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


@dataclass(frozen=True)
class Answer:
    """What a method says.

    Attributes
    ----------
    weights : ndarray, shape (k,)
        The mixture of the pool's domains.
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
