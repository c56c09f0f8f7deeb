"""What is asked of ``causalmix recommend``, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from datasets import Dataset

from causalmix.core.history import History
from causalmix.data.states import ScoredPool
from causalmix.effects.estimator import Effects
from causalmix.methods.target import Target


@dataclass(frozen=True)
class Request:
    """What a practitioner asks; the fields are the options of ``causalmix recommend``.

    Attributes
    ----------
    history : Path
        A sweep by the contract of :func:`causalmix.core.history.check_history`.
    pool : str
        A path that :func:`causalmix.data.pools.local.load_pool` reads, a recipe or a study as a YAML file, the
        name of a study, or ``tiny`` for the embedded world's pool.  Rows of a path that have all of the
        history's covariates as columns, such as ``hes``, are not scored: the means of these are the state.
    scorer, rater : str
        As in :class:`causalmix.data.recipes.Recipe`, for a pool given by its path; empty means the embedded world's.
    domain_column : str
        Column of such a pool that holds the domain.
    max_rows : int
        Most rows that are taken of a pool that is not a study's; 0 for all.
    state : Path, optional
        CSV table of one row, or JSON object, with ``x_<covariate>``: taken for the pool's state, nothing is scored.
    outcome : str
        Column of the history to raise.
    n_samples : int, optional
        Rows of the training set; by default as many as the history's runs have (1000 if it does not say).
    repeats_allowed : bool
        Whether a domain that runs out may give rows again; otherwise shares are held within its rows.
    seed : int
        Of the estimate, of the candidates of CausalMix-S, and of the sample.
    method : {"A", "S"}
        Whose training set is written.
    out : Path, optional
        New or empty folder for the training set; without one nothing is written.
    trees : int
        Trees of each causal forest.
    """

    history: Path
    pool: str
    scorer: str = ""
    rater: str = ""
    domain_column: str = ""
    max_rows: int = 0
    state: Path | None = None
    outcome: str = "y_dev"
    n_samples: int | None = None
    repeats_allowed: bool = False
    seed: int = 0
    method: str = "A"
    out: Path | None = None
    trees: int = 500


@dataclass(frozen=True, eq=False)
class Recommendation:
    """Mixtures for a pool, and all that is needed to draw a training set.

    Attributes
    ----------
    request : Request
    effects : Effects
    target : Target
        The pool's state and rows.
    pool : Dataset
        ``row_id, domain, messages`` and more.
    scored : ScoredPool
        The same rows, domains in the history's order.
    scored_by : dict
        Models that measured the state, each ``name`` and ``sha256`` (empty for one on a hub); empty when none did.
    table : DataFrame
        One row a method: the columns of ``mixtures.csv``, ``n_<domain>`` rows, ``gain_over_pool…`` (over the
        pool's own proportions), ``repeats_<domain>`` rows drawn again, ``x_<covariate>`` and the
        ``share_of_runs_below_`` each.
    """

    request: Request
    effects: Effects
    target: Target
    pool: Dataset
    scored: ScoredPool
    scored_by: dict[str, dict[str, str]]
    table: pd.DataFrame

    @property
    def history(self) -> History:
        """The sweep."""
        return self.effects.history
