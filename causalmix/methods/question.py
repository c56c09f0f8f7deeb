"""Every method that chooses a mixture is called alike: a question in, an answer out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from causalmix.core.direction import differing
from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.core.parameters import check_name
from causalmix.core.wording import counted
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import Effects
from causalmix.methods.limits import Caution
from causalmix.methods.policy import domain_caps

POSTERIOR = "bayesian"  # the stage that cautious mixtures come from


@dataclass(frozen=True)
class ProxyRun:
    """One training run that a method asks for."""

    weights: tuple[float, ...]  # mixture of the training rows, length K
    n_samples: int  # rows in all
    seed: int
    mixing: tuple[tuple[str, object], ...] = ()  # how the mixture moves in training, such as (("method", "odm"),)


#: Trains runs (or finds them in a ledger) and returns their records, in order.  A record's
#: ``training`` has ``validation_loss`` (nats per scored token, by domain) and, for a run whose
#: mixture changes, ``mixing`` (what the run found).
Train = Callable[[Sequence[ProxyRun]], list[dict]]


class NothingTrains(InputError):
    """A method needs proxies of its own, and the question gives no way to train them."""


@dataclass(frozen=True)
class Question:
    """What every method is asked, of a pool with k of the history's domains."""

    history: History  # past runs; methods that train their own need only its domains
    n_samples: int  # rows of the training set that the mixture is for
    rows: np.ndarray | None = None  # that each domain of the pool has, shape (k,); None where that is not known
    outcome: str = "y_dev"  # column of the history to maximise
    seed: int = 0  # everything random in a method follows from it
    train: Train | None = None  # None where nothing can be trained
    x: np.ndarray | None = None  # the pool's state, shape (d,); None where no method that is asked looks at it
    domains: tuple[str, ...] = ()  # that the pool has; by default all of the history's
    repeats_allowed: bool = False  # a domain that runs out gives rows again; else shares are held within the rows
    max_repeats: float = 0  # how often a row may come again where repeats are not allowed without end
    settings: Mapping[str, object] = field(default_factory=dict)  # of causalmix.effects.estimator.fit_effects
    fitted: Effects | None = None  # what these settings give, where it has been fitted already
    caution: Caution = Caution()  # what the method Cautious is told besides

    def __post_init__(self) -> None:
        object.__setattr__(self, "domains", tuple(self.domains) or self.history.domains)
        for name in self.domains:
            check_name(name, self.history.domains, "domain")
        rows = None if self.rows is None else np.asarray(self.rows)
        if rows is not None and not (rows.shape == (self.k,) and rows.dtype.kind in "iuf" and (rows > 0).all()):
            told = f"a number of rows in each of {', '.join(self.domains)}, found {rows.tolist()}"
            raise InputError(f"Expected {told}; leave out domains without rows.")

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

    @property
    def proportions(self) -> np.ndarray:
        """The pool's own, shape (k,)."""
        if self.rows is None:
            raise InputError("Expected the rows of each domain, found none; give `rows`, or leave Proportional out.")
        return np.asarray(self.rows, float) / np.sum(self.rows)

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
        """Largest shares within the rows and their repeats, shape (k,); None where these are not known or not bound."""
        if self.rows is None or self.repeats_allowed:
            return None
        return domain_caps(self.rows, self.n_samples, self.max_repeats)

    @cached_property
    def effects(self) -> Effects:
        """The returns that the history tells."""
        return self.fitted or fit_effects(self.history, self.outcome, seed=self.seed, **self.settings)

    def posterior(self, outcome: str = "") -> Effects:
        """The Bayesian stage of an outcome, by default the question's own; its intervals can be optimised against."""
        outcome, fitted = outcome or self.outcome, self.fitted
        if fitted is not None and fitted.stage == POSTERIOR and fitted.outcome == outcome:
            return fitted
        return fit_effects(self.history, outcome, POSTERIOR, seed=self.seed)

    @property
    def theta(self) -> np.ndarray:
        """Returns of the pool's domains in its state, shape (k,)."""
        if self.x is None:
            raise InputError("Expected the state of the pool for CausalMix, found none; give its covariates as `x`.")
        return self.effects.theta(self.x)[0][self.kept]

    def outcomes(self, method: str, least: int) -> np.ndarray:
        """The outcome of every past run, shape (n,); refuses fewer than ``least`` runs, or one outcome in all."""
        if (n := len(self.history)) < least:
            raise InputError(f"Expected at least {least} runs for {method}, found {n}; add runs to the history.")
        return differing(self.history, self.outcome)

    def trained(self, method: str, runs: Sequence[ProxyRun]) -> list[dict]:
        """Records of runs that a method needs; refuses where nothing can be trained or a run has failed."""
        if self.train is None:
            told = f"Expected a way to train proxies of {method}, found none; give `train`, or leave it out."
            raise NothingTrains(told)
        records = self.train(runs)
        if failed := [r for r in records if r["status"] != "finished"]:
            why = " ".join(str(failed[0]["error"]).split())
            raise InputError(
                f"Expected {counted(len(records), 'finished proxy run')} for {method}, found {len(failed)} failed "
                f"({why}); sweep again with --retry-failed."
            )
        return records


@dataclass(frozen=True)
class Answer:
    """What a method says."""

    weights: np.ndarray  # the mixture of the pool's domains, shape (k,)
    runs_used: int  # proxy runs that went into it
    note: str = ""  # what a reader of the mixture should know; may be empty
    details: dict[str, pd.DataFrame] = field(default_factory=dict)  # what the method found on its way
    judge: Effects | None = None  # the model that the method expects its gain by, where it is not the question's
