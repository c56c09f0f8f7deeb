"""What is asked of ``causalmix recommend``, and what it answers."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line reads the options without loading what estimates
    import pandas as pd
    from datasets import Dataset

    from causalmix.core.history import History
    from causalmix.data.states import ScoredPool
    from causalmix.effects.interface import Effects
    from causalmix.methods.objective import Objective
    from causalmix.methods.target import Target

KAPPA = 0.2  # as of causalmix.methods.caution, which needs numpy
BY_LETTER = {"cautious": "Cautious", "A": "CausalMix-A", "S": "CausalMix-S"}


def _option(help: str, default: Any = MISSING, **further: Any) -> Any:
    """A field whose metadata are its option on the command line."""
    return field(default=default, metadata={"help": help} | further)


@dataclass(frozen=True)
class Request:
    """What a practitioner asks; the fields are the options of ``causalmix recommend``, and say what they mean.

    ``history`` follows the contract of :func:`causalmix.core.history.check_history`, ``pool`` is what
    :func:`causalmix.methods.new_pools.find_source` takes.  Rows of a path that have all of the history's covariates
    as columns, such as ``hes``, are not scored: the means of these are the state.  ``seed`` is that of the estimate,
    of the candidates of CausalMix-S, and of the sample.
    """

    history: Path = _option("the sweep: a CSV file of run_id, w_<domain>, x_<covariate>, y_<axis>", type=Path)
    pool: str = _option("rows as a file or folder, a recipe as a YAML file, a study, or tiny")
    parts: Sequence[str] = _option(
        "parts of a study's history to learn from: design, scale (runs over sizes), confounded; default: design",
        ("design",),
        nargs="+",
        metavar="PART",
    )
    domain_column: str = _option("column of the rows that holds the domain; default: domain", "", metavar="NAME")
    max_rows: int = _option("most rows of the pool; default: all", 0, type=int, metavar="N")
    scorer: str = _option(
        "must be the model that scored the history's pools; default: the embedded world's proxy", "", metavar="MODEL"
    )
    rater: str = _option("of Writing_Style, likewise; default: the one that ships", "", metavar="MODEL")
    state: Path | None = _option(
        "x_<covariate> of the pool as CSV or JSON, instead of scoring it", None, type=Path, metavar="FILE"
    )
    outcome: str = _option("default: %(default)s", "y_dev", metavar="NAME")
    n_samples: int | None = _option(
        "rows of the training set; default: as many as the history's runs", None, type=int, metavar="N"
    )
    model_size: float | None = _option(
        "parameters of the model to train, where these differ in the history; default: its largest",
        None,
        type=float,
        metavar="N",
    )
    repeats_allowed: bool = _option(
        "let a domain that runs out give rows again, without end", False, action="store_true"
    )
    max_repeats: float = _option("how often a row may come again; default: never", 0.0, type=float, metavar="R")
    lower_is_better: Sequence[str] | None = _option(
        "outcomes that are better when they are lower, such as losses", None, nargs="+", action="extend", metavar="NAME"
    )
    higher_is_better: Sequence[str] | None = _option(
        "outcomes that are better when they are higher, whatever their names and values say",
        None,
        nargs="+",
        action="extend",
        metavar="NAME",
    )
    objective: str = _option(
        "weights of outcomes, such as y_math=2,y_code=1, or mean (standardised, of all axes), or worst (the axis that "
        "gains least); default: the outcome alone",
        "",
        metavar="WHAT",
    )
    kappa: float = _option(
        "standard deviations that Cautious takes off a gain; default: %(default)s", KAPPA, type=float, metavar="X"
    )
    floor: float = _option(
        "least share of each domain, of Cautious; default: %(default)s", 0.0, type=float, metavar="SHARE"
    )
    trust_region: str = _option(
        "Cautious stays near the reference: tv bounds the share of rows that change domain, kl the divergence in nats",
        "",
        choices=("tv", "kl"),
    )
    radius: float | None = _option("of the trust region", None, type=float, metavar="X")
    reference: str = _option(
        "mixture that Cautious has to beat: equal, pool (its own proportions), or a CSV or JSON file of w_<domain>; "
        "default: %(default)s",
        "equal",
        metavar="WHAT",
    )
    keep: Sequence[str] | None = _option(
        "outcome whose one-sided 95%% bound Cautious keeps at the reference's, or at most a margin below: y_safety or "
        "y_safety=0.01; may be repeated",
        None,
        action="append",
        metavar="OUTCOME",
    )
    seed: int = _option("default: %(default)s", 0, type=int, metavar="N")
    trees: int = _option("of each causal forest; default: %(default)s", 500, type=int, metavar="N")
    method: str = _option("whose training set is written; default: %(default)s", "cautious", choices=tuple(BY_LETTER))
    out: Path | None = _option(
        "new folder for train.jsonl and manifest.json; nothing is written without", None, type=Path, metavar="FOLDER"
    )


def add_options(parser: ArgumentParser) -> None:
    """Give a command line the options of a :class:`Request`."""
    for one in fields(Request):
        needed = {"required": True} if one.default is MISSING else {"default": one.default}
        parser.add_argument(f"--{one.name.replace('_', '-')}", **one.metadata, **needed)
    told = "hold shares within the rows that there are (the default)"
    parser.add_argument("--no-repeats", dest="repeats_allowed", action="store_false", help=told)


@dataclass(frozen=True, eq=False)
class Recommendation:
    """Mixtures for a pool, and all that is needed to draw a training set.

    The table has one row a method: the columns of ``mixtures.csv``, ``gain_over_pool…`` (over the pool's own
    proportions), ``gain_over_reference…`` (over what Cautious has to beat), all by one model, for ``gain_rows`` rows
    and the model ``gain_model``, ``extrapolated`` where no run is like that; ``repeats_<domain>`` rows drawn again,
    ``x_<covariate>`` and the ``share_of_runs_below_`` each.
    """

    request: Request
    effects: Effects  # of the model that predicts all gains
    paper: Effects  # of the stage that CausalMix-A and CausalMix-S follow
    objective: Objective
    target: Target
    pool: Dataset  # row_id, domain, messages and more
    scored: ScoredPool  # the same rows, domains in the history's order
    scored_by: dict[str, dict[str, str]]  # name and sha256 (empty for one on a hub) of models that measured the state
    table: pd.DataFrame

    @property
    def history(self) -> History:
        """The sweep."""
        return self.effects.history
