"""What is asked of ``causalmix recommend``, and what it answers."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line reads the options without loading what estimates
    import pandas as pd
    from datasets import Dataset

    from causalmix.core.history import History
    from causalmix.data.states import ScoredPool
    from causalmix.effects.interface import Effects
    from causalmix.methods.target import Target


BY_LETTER = {"A": "CausalMix-A", "S": "CausalMix-S"}


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
    repeats_allowed: bool = _option("let a domain that runs out give rows again", False, action="store_true")
    seed: int = _option("default: %(default)s", 0, type=int, metavar="N")
    trees: int = _option("of each causal forest; default: %(default)s", 500, type=int, metavar="N")
    method: str = _option("whose training set is written; default: CausalMix-%(default)s", "A", choices=("A", "S"))
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
    proportions), ``repeats_<domain>`` rows drawn again, ``x_<covariate>`` and the ``share_of_runs_below_`` each.
    """

    request: Request
    effects: Effects
    target: Target
    pool: Dataset  # row_id, domain, messages and more
    scored: ScoredPool  # the same rows, domains in the history's order
    scored_by: dict[str, dict[str, str]]  # name and sha256 (empty for one on a hub) of models that measured the state
    table: pd.DataFrame

    @property
    def history(self) -> History:
        """The sweep."""
        return self.effects.history
