"""What determines one training run, and the identity that follows from it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property

from causalmix.core.errors import InputError, refused
from causalmix.core.simplex import check_mixture
from causalmix.data.fingerprints import by_content
from causalmix.data.world_name import WorldName

REPORT = "report_to"  # the setting that changes no run
SILENT = {REPORT: "none", "lora_rank": 0}  # settings that a spec leaves out at these values: it is older than they are
MIXING, LAUNCH = "mixing_", "launch_"  # begin the names of what in a run's training is no hyper-parameter

ODM_FORMS = ("paper", "official_repo")
#: Ways to change a mixture while a run trains, and their settings where a run says no others.
MIXERS = {"doremi": {"eta": 0.01, "smoothing": 1e-3}, "odm": {"form": "paper", "memory": 0.9, "warmup": 0.05}}


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines one run: equal specs are the same run.

    Values get their plain type and weights six digits, so that a spec read back from a ledger equals the written one.
    """

    world: str  # identity of the pool, its scores, the base models and the tasks (WorldName)
    model: str  # base model that is fine-tuned
    domains: tuple[str, ...]  # length K
    weights: tuple[float, ...]  # mixture T: the share of each domain in the training sample, length K
    state: tuple[float, ...]  # tilt λ of the candidate pool, one component for each score
    n_samples: int  # rows of the training sample
    epochs: int  # passes over it
    seed: int  # of the candidate draw, the sample and the training
    # Further hyper-parameters by name (a mapping is accepted), sorted; see training_of.
    training: tuple[tuple[str, object], ...] = ()

    def __post_init__(self) -> None:
        check_mixture(self.weights, self.domains)
        plain = {
            "domains": tuple(self.domains),
            # Adding 0.0 turns -0.0 into 0.0, which JSON would tell apart.
            "weights": tuple(round(float(w), 6) + 0.0 for w in self.weights),
            "state": tuple(float(v) + 0.0 for v in self.state),
            "training": tuple(sorted(dict(self.training).items())),
        } | {name: int(getattr(self, name)) for name in ("n_samples", "epochs", "seed")}
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @cached_property
    def run_id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the canonical JSON of :meth:`identifying`."""
        with refused("finite numbers, texts or booleans in a run", "correct it", TypeError, ValueError):
            text = json.dumps(self.identifying(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def identifying(self) -> dict:
        """What tells a run from all others: neither where a model's files lie nor who is told of losses."""
        values = self.as_dict() | {"model": by_content(self.model)}
        values["training"].pop(REPORT, None)
        return values

    def recorded(self, records: Mapping[str, dict]) -> dict:
        """Its record among those of a ledger, by run_id; who trains it again finds its model where this spec has it."""
        return records[self.run_id] | {"spec": self.as_dict()}

    @property
    def world_name(self) -> WorldName:
        """The pool that ``world`` names, and how many candidates of each domain are drawn from it."""
        return WorldName.read(self.world)

    @property
    def settings(self) -> dict[str, object]:
        """Hyper-parameters, as :class:`causalmix.train.sft_settings.SFTSettings` has them."""
        return {name: value for name, value in self.training if not name.startswith((MIXING, LAUNCH))}

    @property
    def mixing(self) -> dict[str, object]:
        """How the mixture changes while the run trains; empty where it does not."""
        return self._named(MIXING)

    @property
    def launch(self) -> dict[str, object]:
        """How the run is launched on several devices; empty where it trains on one."""
        return self._named(LAUNCH)

    def _named(self, prefix: str) -> dict[str, object]:
        return {name.removeprefix(prefix): value for name, value in self.training if name.startswith(prefix)}

    def as_dict(self) -> dict:
        """The spec as a dictionary that JSON gives back as it was: tuples are lists, ``training`` is a dictionary."""
        values = asdict(self) | {"training": dict(self.training)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict) -> "RunSpec":
        """The inverse of :meth:`as_dict`; InputError when a field is missing or unknown."""
        names = {field.name for field in fields(cls)}
        if off := sorted(names ^ set(values)):
            raise InputError(
                f"Expected the fields {', '.join(sorted(names))} in a run, found {', '.join(off)} amiss; correct it."
            )
        return cls(**values)


def training_of(settings: Mapping, mixing: Mapping, launch: Mapping) -> dict[str, object]:
    """A spec's ``training``, which :attr:`RunSpec.settings`, ``mixing`` and ``launch`` tell apart again."""
    settings = {name: value for name, value in settings.items() if SILENT.get(name) != value}
    parts = {"": settings, MIXING: mixing, LAUNCH: launch}
    return {prefix + name: value for prefix, values in parts.items() for name, value in values.items()}
