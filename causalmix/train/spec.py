"""What determines one training run, and the identity that follows from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property

from causalmix.core.errors import InputError
from causalmix.core.simplex import check_mixture


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines one run: equal specs are the same run.

    Lists become tuples, numbers their plain Python type and weights are rounded to six digits,
    so that a spec read back from a ledger equals the one that was written.

    Attributes
    ----------
    world : str
        Identity of the pool, its scores, the base models and the tasks.
    model : str
        Base model that is fine-tuned.
    domains : tuple of str, length K
        Domain names.
    weights : tuple of float, length K
        Mixture T: the share of each domain in the training sample.
    state : tuple of float
        Tilt λ of the candidate pool, one component for each score.
    n_samples, epochs : int
        Rows of the training sample and passes over it.
    seed : int
        Seed of the candidate draw, the sample and the training.
    training : tuple of (str, value) pairs
        Further hyper-parameters (a mapping is accepted), sorted by name.

    Raises
    ------
    InputError
        When the weights are not a mixture of the domains.
    """

    world: str
    model: str
    domains: tuple[str, ...]
    weights: tuple[float, ...]
    state: tuple[float, ...]
    n_samples: int
    epochs: int
    seed: int
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
        """First 16 hexadecimal digits of the SHA-256 of the spec's canonical JSON.

        Raises
        ------
        InputError
            When a value has no JSON form, or is not finite.
        """
        try:
            text = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Expected a run's values to be finite numbers, text or booleans, found {error}; correct the spec."
            ) from error
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def as_dict(self) -> dict:
        """The spec as a dictionary that JSON gives back as it was.

        Returns
        -------
        dict
            One entry a field; tuples are lists and ``training`` is a dictionary.
        """
        lists = {name: list(value) for name, value in vars(self).items() if isinstance(value, tuple)}
        return asdict(self) | lists | {"training": dict(self.training)}

    @classmethod
    def from_dict(cls, values: dict) -> RunSpec:
        """The spec of a dictionary, the inverse of :meth:`as_dict`.

        Parameters
        ----------
        values : dict
            One entry a field.

        Returns
        -------
        RunSpec

        Raises
        ------
        InputError
            When a field is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            off = ", ".join(sorted(names ^ set(values)))
            raise InputError(
                f"Expected the fields {', '.join(sorted(names))} in a run, found {off} amiss; correct them."
            )
        return cls(**values)
