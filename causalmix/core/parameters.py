"""The schema of a study: what its file and the parameters cells of chapters may say; nothing numerical is imported."""

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from causalmix.core.errors import InputError, brief
from causalmix.core.yaml_file import parse_yaml

#: Subjects of a study, in the order of its work; a chapter is named by its place and its subject.
SUBJECTS: dict[str, type["Subject"]] = {}

KINDS = {"integer": int, "number": float, "string": str, "boolean": bool, "array": list, "object": dict}


class Subject(BaseModel):
    """What every subject is told: whose tables it reads and writes."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    study: str = Field("laptop", description="name or file of the study")
    results_dir: str = Field("", description="folder of the results; empty means the study's own")

    def __init_subclass__(cls, subject: str = "", **how: object) -> None:
        super().__init_subclass__(**how)
        SUBJECTS.update({subject: cls} if subject else {})


class PoolParameters(Subject):
    """A pool of rows, and the samples that are drawn from it."""

    pool_rows: int = Field(40_000, ge=500, le=1_000_000, description="rows in the pool")
    pool_seed: int = Field(0, ge=0, le=1_000_000, description="seed of the pool")
    candidates: int = Field(2_000, ge=10, le=100_000, description="candidate rows per domain in one state")
    n_samples: int = Field(1_500, ge=50, le=100_000, description="rows of one training sample")
    tilt: dict[str, Annotated[float, Field(ge=0, le=5)]] = Field(
        {"hes": 0.5, "normalized_loss": 0.25, "writing_style": 2.0},
        description="half-width of the range of each component of a state, by score; 1 of one that is not named",
    )
    seed: int = Field(0, ge=0, le=1_000_000, description="seed of mixtures and states")
    pool: dict[str, Any] = Field({}, description="recipe of a real pool; empty means the embedded world's")


class FeaturizeParameters(PoolParameters, subject="featurize"):
    """Scores of rows, and states of candidate pools."""

    n_states: int = Field(200, ge=20, le=2_000, description="states drawn for the figures")
    largest_scale: int = Field(8, ge=1, le=64, description="rows of the largest sample per row of a proxy run")


class RunsParameters(PoolParameters):
    """The proxy runs of a study."""

    n_runs: int = Field(512, ge=2, le=100_000, description="proxy runs")
    epochs: int = Field(1, ge=1, le=20, description="passes over the sample")
    learning_rate: float = Field(1.5e-4, ge=1e-7, le=0.1, description="peak learning rate")
    batch_size: int = Field(8, ge=1, le=4_096, description="rows per step")
    concentration: float = Field(1.0, ge=0.05, le=100, description="Dirichlet concentration of the mixtures")
    assignment: Literal["randomized", "designed", "confounded"] = Field("randomized", description="how T is drawn")
    reference: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {}, description="mixture of the first run, by domain; empty: none named"
    )
    noise_specs: int = Field(24, ge=2, le=1_000, description="runs of the noise panel")
    noise_seeds: int = Field(4, ge=2, le=8, description="seeds of each run in the noise panel")
    scale_runs: int = Field(192, ge=0, le=10_000, description="further runs over sizes of sample and model")
    models: dict[str, Any] = Field({}, description="models by role; a role that is absent is the embedded world's")
    training: dict[str, Any] = Field({}, description="further training settings")


class ProxySFTParameters(RunsParameters, subject="proxy_sft"):
    """Training the proxy runs, and training some of them again."""

    n_audit: int = Field(4, ge=1, le=100, description="recorded runs trained again")
    audit_seed: int = Field(0, ge=0, le=1_000_000, description="which runs are trained again")


class OutcomesParameters(RunsParameters, subject="outcomes"):
    """From records to the history."""

    covariates_on: Literal["candidate", "mixed"] = Field("candidate", description="where X is measured")


class FitParameters(Subject):
    """A fit to a history."""

    outcome: str = Field("y_dev", description="column of the history that is the outcome")
    lower_is_better: bool | None = Field(
        None, description="whether a lower outcome is better; None: as its name and values tell"
    )
    n_trees: int = Field(500, ge=8, le=5_000, description="trees of each causal forest")
    seed: int = Field(0, ge=0, le=1_000_000, description="seed of everything random")


class HistoryParameters(FitParameters):
    """A fit to any history of the contract."""

    history: str = Field("", description="path of another history of the contract; empty means the study's own")
    parts: list[Literal["design", "scale", "confounded"]] = Field(
        ["design"], min_length=1, description="parts of the history that are fitted"
    )


class EstimateParameters(HistoryParameters):
    """A fit to any history of the contract, by either final stage."""

    stage: Literal["forest", "linear", "bayesian"] = Field("forest", description="final stage")
    cv_folds: int = Field(5, ge=2, le=10, description="folds of the cross-fitting")
    n_repeats: int = Field(5, ge=1, le=100, description="repeats with other folds and trees")


class EffectsParameters(EstimateParameters, subject="effects"):
    """Returns of the domains."""

    n_test: int = Field(64, ge=5, le=10_000, description="runs held out in each split")
    n_splits: int = Field(10, ge=2, le=100, description="random splits of the held-out check")


class MixtureParameters(EstimateParameters, subject="mixture"):
    """From returns to a mixture."""

    target: str = Field(
        "", description="path of a table with the target's state; empty means the study's own, or the history's mean"
    )
    n_candidates: int = Field(100_000, ge=100, le=5_000_000, description="random mixtures of the search")
    top: int = Field(100, ge=1, le=100_000, description="best candidates that are averaged")
    radius: float = Field(1.0, ge=0, le=1, description="trust region, total variation distance to Equal; 1 means none")
    repeats_allowed: bool = Field(False, description="whether a domain may repeat its rows")


class TrialsParameters(FitParameters):
    """Mixtures that are trained and compared."""

    methods: str = Field("", description="names of static methods, by commas; empty means all")
    seeds: int = Field(5, ge=2, le=100, description="runs of each mixture with the proxy, at each size")
    train_missing: bool = Field(False, description="whether trials that are not on record are trained now (hours)")
    n_audit: int = Field(2, ge=1, le=100, description="recorded trials trained again")


class TargetParameters(TrialsParameters, subject="target"):
    """Every method's mixture at larger sizes, on a larger model, on shifted pools."""

    largest_scale: int = Field(8, ge=1, le=64, description="rows of the largest sample per row of a proxy run")
    target_seeds: int = Field(5, ge=2, le=100, description="runs of each mixture with the target model")
    shift_seeds: int = Field(5, ge=2, le=100, description="runs of each mixture in each shifted pool")


class LongCoTParameters(TrialsParameters, subject="longcot"):
    """The mixtures of another kind of pool: long chains of thought."""

    longcot_rows: int = Field(12_000, ge=500, le=1_000_000, description="rows in the long-CoT pool")
    longcot_pool: dict[str, Any] = Field(
        {}, description="recipe of a real pool of long reasoning; empty means the embedded world's"
    )
    seeds: int = Field(5, ge=2, le=100, description="runs of each mixture")
    n_audit: int = Field(1, ge=1, le=100, description="recorded trials trained again")


class AblationsParameters(HistoryParameters, subject="ablations"):
    """The method with one part taken out."""

    n_test: int = Field(64, ge=5, le=10_000, description="runs held out in each split")
    n_splits: int = Field(10, ge=2, le=100, description="random splits")
    n_trees: int = Field(100, ge=8, le=5_000, description="trees of each causal forest")


class PaperAndOursParameters(Subject, subject="paper_and_ours"):
    """Claims beside results."""

    n_trees: int = Field(500, ge=8, le=5_000, description="trees of each causal forest")
    seed: int = Field(0, ge=0, le=1_000_000, description="seed of everything random")


class AtScaleParameters(Subject, subject="at_scale"):
    """A plan, and a recommendation for one's own rows."""

    planned: str = Field("paper", description="study whose cost is told")
    sizes: list[Annotated[int, Field(ge=1, le=100_000_000)]] = Field(
        [100_000, 400_000, 800_000], description="rows of a training set, for the largest shares"
    )
    own_rows: int = Field(1_500, ge=500, le=100_000, description="rows of the file that stands for your own")
    own_samples: int = Field(1_000, ge=50, le=100_000, description="rows of the training set that is drawn from it")
    n_trees: int = Field(200, ge=8, le=5_000, description="trees of each causal forest")
    seed: int = Field(0, ge=0, le=1_000_000, description="seed of the forests and of the sample")


class KnownTruthParameters(Subject, subject="known_truth"):
    """A world whose returns are known, and every stage in it."""

    kind: Literal["constant", "linear", "steps", "quadratic", "interactions", "wavy"] = Field(
        "steps", description="how returns follow the state"
    )
    confounded: bool = Field(False, description="whether mixtures follow the state")
    simulated_runs: int = Field(256, ge=60, le=2_000, description="runs of the history")
    seed: int = Field(0, ge=0, le=1_000_000, description="seed of the world and of the estimates")


class OthersRunsParameters(Subject, subject="others_runs"):
    """Sweeps that others published."""

    sweep: Literal["regmix_1m", "olmix_dclm"] = Field("regmix_1m", description="the published sweep")
    published_outcome: str = Field("y_dev", description="column of the history that is the outcome")
    seed: int = Field(0, ge=0, le=1_000_000, description="seed of the estimate")


Model = TypeVar("Model", bound=Subject)


def subject_of(chapter: str) -> str:
    """The subject that a chapter is named by, without the number of its place."""
    number, _, rest = chapter.partition("_")
    subject = rest if number.isdecimal() else chapter
    check_name(subject, SUBJECTS, "chapter")
    return subject


def read(model: type[Model], given: Mapping[str, object]) -> Model:
    """Values of a subject, defaults included; text from a command line becomes the declared type.

    InputError when a name is not known (names the nearest one), or a value is of another type or not allowed.
    """
    schema = model.model_json_schema()["properties"]
    for name in given:
        check_name(name, schema)
    try:
        return model(**{name: _from_text(value, _kind(schema[name])) for name, value in given.items()})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise InputError(f"Expected {name} to be {allowed(schema[name])}, found {given[name]!r}; correct it.") from None


def _kind(schema: Mapping[str, Any]) -> type:
    """The type of a value, of one that may be None as well."""
    return KINDS[next(iter(schema.get("anyOf", [schema])))["type"]]


def _from_text(value: object, kind: type) -> object:
    """A text as the kind that it stands for, and as itself where it does not."""
    if not isinstance(value, str) or kind is str:
        return value
    if value == "None":  # as a parameters cell writes it
        return None
    try:
        return kind(value) if kind in (int, float) else parse_yaml(value)
    except ValueError:
        return value


def allowed(schema: Mapping[str, Any]) -> str:
    """What a value has to be, in words: ``int in [1, 20]``, ``str in {randomized, confounded}``."""
    kind, of = _kind(schema).__name__, schema.get("items", schema)
    if "anyOf" in schema:
        return f"{kind} | None"
    if "enum" in of:
        return f"{kind} in {{{', '.join(of['enum'])}}}"
    return f"{kind} in [{of['minimum']}, {of['maximum']}]" if "minimum" in of else kind


def declaration(model: type[Subject], name: str) -> str:
    """The line of a parameters cell that declares a name: ``epochs: int = 1  # passes over the sample [1, 20]``."""
    schema = model.model_json_schema()["properties"][name]
    kind, _, limits = allowed(schema).partition(" in ")
    default = json.dumps(schema["default"]) if kind == "str" else repr(schema["default"])
    return f"{name}: {kind} = {default}  # {schema['description']} {limits}".rstrip()


def check_name(name: str, known: Iterable[str], what: str = "parameter") -> None:
    """Raise InputError, with the names that there are and the nearest of them, unless the name is known."""
    if name in (known := list(known)):
        return
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}?" if near else "choose one of these."
    what = f"an {what}" if what[0] in "aeiou" else f"a {what}"
    names = ", ".join(known) or "none"
    raise InputError(f"Expected {what} among {brief(names) if near else names}, found {name!r}; {advice}")
