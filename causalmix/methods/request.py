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
from causalmix.core.paths import ASSETS
from causalmix.core.study_file import Study, read_study
from causalmix.core.yaml_file import read_yaml

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

#: What stands for the value of each option, and what it means, by the name of its field.
TOLD = read_yaml(ASSETS / "recommend.yaml", "options of a recommendation")
#: What argparse makes of an option, by the annotation of its field.
KINDS = {"Path": {"type": Path}, "int": {"type": int}, "float": {"type": float}, "bool": {"action": "store_true"}}


@dataclass(frozen=True)
class Request:
    """What a practitioner asks: the options of ``causalmix recommend``, as assets/recommend.yaml has them in words.

    Rows of a path that have all of the history's covariates as columns are not scored: their means are the state.
    """

    history: Path | None = None
    pool: str = ""
    ratios: Path | None = None
    metrics: Path | None = None
    map: Sequence[str] | None = None
    pool_map: Sequence[str] | None = None
    parts: Sequence[str] = ("design",)
    domain: str = ""
    domain_column: str = ""
    source_map: str = ""
    source_column: str = ""
    messages_column: str = ""
    id_column: str | None = None
    on_bad: str = ""
    max_rows: int = 0
    scorer: str = ""
    rater: str = ""
    state: Path | None = None
    outcome: str = "y_dev"
    n_samples: int | None = None
    model_size: float | None = None
    repeats_allowed: bool = False
    max_repeats: float = 0.0
    lower_is_better: Sequence[str] | None = None
    higher_is_better: Sequence[str] | None = None
    objective: str = ""
    kappa: float = KAPPA
    floor: str | float = ""
    trust_region: str = ""
    radius: float | None = None
    reference: str = ""
    keep: Sequence[str] | None = None
    force: bool = False
    seed: int = 0
    trees: int = 500
    method: str = "cautious"
    out: Path | None = None
    rows_format: str = "jsonl"


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
        told = TOLD[one.name] | KINDS.get(one.type.removesuffix(" | None"), {})
        told["help"] = told["help"].replace("%(default)s", str(one.default))
        flags = (f"--{one.name.replace('_', '-')}", *told.pop("flags", ()))
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
        if value is True or value == []:
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
