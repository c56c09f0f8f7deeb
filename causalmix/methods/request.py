"""What is asked of ``causalmix recommend``, and what it answers."""

from __future__ import annotations

import json
import shlex
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalmix.core.errors import InputError
from causalmix.core.study_file import Study, read_study

if TYPE_CHECKING:  # the command line reads the options without loading what estimates
    import numpy as np
    import pandas as pd
    from datasets import Dataset

    from causalmix.core.history import History
    from causalmix.core.sweep_files import Sweep
    from causalmix.data.states import ScoredPool
    from causalmix.effects.interface import Effects
    from causalmix.methods.limits import Caution
    from causalmix.methods.objective import Objective
    from causalmix.methods.target import Target

KAPPA = 0.2  # as of causalmix.methods.limits, which needs numpy
BY_LETTER = {"cautious": "Cautious", "A": "CausalMix-A", "S": "CausalMix-S"}


TYPES = {"FILE": Path, "PATH": Path, "FOLDER": Path, "N": int, "X": float}  # of an option, by what stands for its value


def _option(help: str, default: Any, form: str = "", **further: Any) -> Any:
    """A field whose metadata are its option on the command line; ``form`` is what stands for its value there."""
    told = ({"metavar": form} if form else {}) | ({"type": TYPES[form]} if form in TYPES else {})
    return field(default=default, metadata={"help": help} | told | further)


@dataclass(frozen=True)
class Request:
    """What a practitioner asks; the fields are the options of ``causalmix recommend``, and say what they mean.

    Rows of a path that have all of the history's covariates as columns are not scored: their means are the state.
    """

    history: Path | None = _option(
        "the sweep: a table of run_id, w_<domain>, x_<covariate>, y_<axis>, or a tracker's export", None, "FILE"
    )
    pool: str = _option("rows as a file or folder, a recipe as a YAML file, a study, or tiny", "")
    ratios: Path | None = _option(
        "instead of --history: the table of each run's shares, as RegMix and olmix write it", None, "FILE"
    )
    metrics: Path | None = _option(
        "beside --ratios: the table of each run's scores, or a folder of results of lm-evaluation-harness", None, "PATH"
    )
    map: Sequence[str] | None = _option(
        "new name of a column of the sweep, or of a domain of it; may be repeated", None, "OLD=NEW", action="append"
    )
    pool_map: Sequence[str] | None = _option(
        "new name of a domain of the pool, such as the sweep's for it; domains of one name become one; may be repeated",
        None, "OLD=NEW", action="append",
    )  # fmt: skip
    parts: Sequence[str] = _option(
        "parts of a study's history to learn from: design, scale (runs over sizes), confounded; default: design",
        ("design",), "PART", nargs="+",
    )  # fmt: skip
    domain: str = _option(
        "what tells the domain of a row: a column (the default), or the file that it comes from", "",
        choices=("column", "file"),
    )  # fmt: skip
    domain_column: str = _option("column of the rows that holds the domain; default: domain", "", "NAME")
    source_map: str = _option(
        "YAML or JSON file of the domain of each source; null leaves a source out", "", "FILE", type=str
    )
    source_column: str = _option("column of the source; default: source", "", "NAME")
    messages_column: str = _option(
        "column of the conversation where it has a name of its own, or of plain texts to learn", "", "NAME"
    )
    id_column: str | None = _option(
        "column of the rows' names, or empty to number them; default: row_id or id", None, "NAME"
    )
    on_bad: str = _option(
        "rows that cannot be used: refuse them (the default), or skip and list them", "", choices=("refuse", "skip")
    )
    max_rows: int = _option("most rows of the pool; default: all", 0, "N")
    scorer: str = _option(
        "must be the model that scored the history's pools; default: the embedded world's proxy", "", "MODEL"
    )
    rater: str = _option("of Writing_Style, likewise; default: the one that ships", "", "MODEL")
    state: Path | None = _option("x_<covariate> of the pool as CSV or JSON, instead of scoring it", None, "FILE")
    outcome: str = _option(
        "column to raise, or the end of several names for their mean; default: %(default)s", "y_dev", "NAME",
        flags=("--outcome-column",),
    )  # fmt: skip
    n_samples: int | None = _option(
        "rows of the training set; default: as many as the history's runs, 1000 where it does not say", None, "N"
    )
    model_size: float | None = _option(
        "parameters of the model to train, where these differ in the history; default: its largest", None, "N",
        type=float,
    )  # fmt: skip
    repeats_allowed: bool = _option(
        "let a domain that runs out give rows again, without end", False, action="store_true"
    )
    max_repeats: float = _option("how often a row may come again; default: never", 0.0, "R", type=float)
    lower_is_better: Sequence[str] | None = _option(
        "outcomes that are better when they are lower, such as losses; without a name the one that is asked for",
        None, "NAME", nargs="*", action="extend",
    )  # fmt: skip
    higher_is_better: Sequence[str] | None = _option(
        "outcomes that are better when they are higher, whatever their names and values say", None, "NAME", nargs="+",
        action="extend",
    )  # fmt: skip
    objective: str = _option(
        "weights of outcomes, such as y_math=2,y_code=1, or mean (standardised, of all axes), or worst (the axis that "
        "gains least); default: the outcome alone", "", "WHAT",
    )  # fmt: skip
    kappa: float = _option("standard deviations that Cautious takes off a gain; default: %(default)s", KAPPA, "X")
    floor: str | float = _option(
        "least share, one for all domains or some by name; default: the 5th percentile of each domain's share among "
        "the runs (at least 0.01), at most the pool's own", "", "SHARE|NAME=SHARE,…",
    )  # fmt: skip
    trust_region: str = _option(
        "Cautious stays near the reference: tv bounds the share of rows that change domain, kl the divergence in nats",
        "", choices=("tv", "kl"),
    )  # fmt: skip
    radius: float | None = _option("of the trust region", None, "X")
    reference: str = _option(
        "mixture that Cautious has to beat: equal, pool (its own proportions), shares as math=0.6,code=0.4, or a CSV "
        "or JSON file of w_<domain>; default: the study's, or equal, and without evidence for a move from equal the "
        "pool's proportions where runs are near these", "", "WHAT",
    )  # fmt: skip
    keep: Sequence[str] | None = _option(
        "outcome whose one-sided 95%% bound Cautious keeps at the reference's, or at most a margin below: y_safety or "
        "y_safety=0.01; may be repeated", None, "OUTCOME", action="append",
    )  # fmt: skip
    force: bool = _option(
        "go on where the pool lies far outside of the history's, or other models scored it: no gain is promised then",
        False, action="store_true",
    )  # fmt: skip
    seed: int = _option("default: %(default)s", 0, "N")
    trees: int = _option("of each causal forest; default: %(default)s", 500, "N")
    method: str = _option("whose training set is written; default: %(default)s", "cautious", choices=tuple(BY_LETTER))
    out: Path | None = _option(
        "new folder for the training set, trainers' settings, the answer, a page and a manifest; default: none",
        None, "FOLDER",
    )  # fmt: skip
    rows_format: str = _option("of the training set; default: %(default)s", "jsonl", choices=("jsonl", "parquet"))


#: Options that say how a path of rows is read, and what the loader calls them.
OF_ROWS = {name: name for name in ("domain", "domain_column", "source_map", "source_column", "messages_column",
                                   "id_column", "on_bad")} | {"source_map": "source_to_domain"}  # fmt: skip


def read_as(given: object) -> dict[str, str]:
    """What is given of :data:`OF_ROWS`, as options of the loader; an empty ``id_column`` says something."""
    values = {called: getattr(given, name, None) for name, called in OF_ROWS.items()}
    return {called: value for called, value in values.items() if value or (called, value) == ("id_column", "")}


def add_options(parser: ArgumentParser) -> None:
    """Give a command line the options of a :class:`Request`."""
    told = "a study's file: its history, its pool and what it says of the fit, unless something else is given here"
    parser.add_argument("--study", default="", help=told)
    add_fields(parser, [one.name for one in fields(Request)])
    told = "hold shares within the rows that there are (the default)"
    parser.add_argument("--no-repeats", dest="repeats_allowed", action="store_false", default=SUPPRESS, help=told)


def add_fields(parser: ArgumentParser, names: Iterable[str]) -> None:
    """Give a command line some of these options; one that is not given is left open."""
    for one in (one for one in fields(Request) if one.name in names):
        told = {name: value for name, value in one.metadata.items() if name != "flags"}
        told["help"] = told["help"].replace("%(default)s", str(one.default))
        flags = (f"--{one.name.replace('_', '-')}", *one.metadata.get("flags", ()))
        parser.add_argument(*flags, dest=one.name, default=SUPPRESS, **told)


def request_of(options: Namespace) -> Request:
    """The request of a command line; InputError unless it tells a sweep and a pool, by a study or one by one."""
    given = {one.name: getattr(options, one.name) for one in fields(Request) if hasattr(options, one.name)}
    for one, other in (("outcome", "objective"), ("repeats_allowed", "max_repeats")):
        if given.get(one) and given.get(other):
            told = f"--{one} or --{other}".replace("_", "-")
            raise InputError(f"Expected {told}, found both, which say different things; leave out one.")
    if options.study:
        given = _of_study(read_study(options.study), given)
    sweep = given.get("history") or given.get("ratios") or given.get("metrics")
    if missing := ["--history"] * (not sweep) + ["--pool"] * (not given.get("pool")):
        raise InputError(
            f"Expected --study, or --history (or --ratios and --metrics) and --pool, found no "
            f"{' and no '.join(missing)}; add it."
        )
    return Request(**given)


def _of_study(study: Study, given: dict[str, Any]) -> dict[str, Any]:
    """What is given, and what a study says beside it; its outcome only where none is given, nor an objective.

    The mixture that it names as its reference is what has to be beaten in its own history.
    """
    said, found = study.of("mixture"), {"pool": study.name}
    found |= {
        "trees": said.n_trees,
        "seed": said.seed,
        "repeats_allowed": said.repeats_allowed and not given.get("max_repeats"),
    }
    if not given.keys() & {"history", "ratios"}:
        found |= {"history": study.history, "parts": tuple(said.parts)}
        if (named := study.of("proxy_sft").reference) and not given.get("map"):
            found["reference"] = json.dumps(named, ensure_ascii=False)
        if not study.history.is_file():
            raise InputError(
                f"Expected the history of the study {study.name} at {study.history}, found none; "
                f"train it first (causalmix sweep --study {study.name})."
            )
    if not given.keys() & {"outcome", "objective"}:
        way = {True: "lower_is_better", False: "higher_is_better"}.get(said.lower_is_better)
        found |= {"outcome": said.outcome} | ({way: [said.outcome]} if way else {})
    return found | given


def command(request: Request) -> str:
    """The command line that asks the same, where the files lie: of absolute paths only the names are told."""
    words = ["causalmix", "recommend"]
    for one in fields(Request):
        value, option = getattr(request, one.name), f"--{one.name.replace('_', '-')}"
        if value == one.default:
            continue
        if one.metadata.get("action") == "store_true" or value == []:
            words.append(option)
            continue
        for v in value if isinstance(value, (list, tuple)) else [value]:
            words += [option, Path(v).name if isinstance(v, (str, Path)) and Path(v).is_absolute() else str(v)]
    return shlex.join(words)


@dataclass(frozen=True, eq=False)
class Asked:
    """What a request comes to."""

    sweep: Sweep  # as it was read
    history: History  # higher outcomes are better in it, and the objective is one of them; no outcome asked for lacks
    lower: tuple[str, ...]  # outcomes asked for that were better when lower, and were turned
    objective: Objective
    caution: Caution
    floor: float | dict[str, float] | None  # least shares that are asked for; None leaves them to the history
    measured: np.ndarray | None  # covariates that were given for the pool, without its sizes
    stated: dict[str, bool] = field(default_factory=dict)  # of outcomes, whether they are better when lower


@dataclass(frozen=True, eq=False)
class Recommendation:
    """Mixtures for a pool, and all that is needed to draw a training set.

    The table has one row a method: the columns of ``mixtures.csv``, gains over the pool's own and the reference,
    ``gain_rows, gain_model, extrapolated``, amounts and covariates; gains that are withheld are NaN.
    """

    request: Request
    asked: Asked  # what it comes to
    reference: np.ndarray  # what Cautious has to beat, of the history's domains, shape (K,): within limits and caps
    effects: Effects  # of the model that predicts all gains
    paper: Effects | None  # of the stage that CausalMix-A and CausalMix-S follow; None where its runs are too few
    target: Target
    pool: Dataset  # row_id, domain, messages and more
    scored: ScoredPool  # the same rows, domains in the history's order
    scored_by: dict[str, dict[str, str]]  # name and sha256 (empty for one on a hub) of models that measured the state
    table: pd.DataFrame
    warnings: tuple[str, ...] = ()  # what stands at the top: what the answer does not hold for
    withheld: bool = False  # whether no gain is promised
    checks: tuple[dict, ...] = ()  # gains of the mixture by Unseen outcomes (causalmix.methods.checks)

    @property
    def domains(self) -> tuple[str, ...]:
        """The pool's, those that the history knows first."""
        return self.scored.domains

    @property
    def history(self) -> History:
        """The sweep."""
        return self.effects.history
