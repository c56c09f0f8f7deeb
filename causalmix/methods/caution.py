"""What a cautious method is told, checked at once: nothing here loads what estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from causalmix.core.errors import InputError
from causalmix.methods.limits import check_trust_region

KAPPA = 0.2  # standard deviations; in worlds of known truth more loses more than it saves


@dataclass(frozen=True)
class Caution:
    """How cautiously a mixture is chosen; :mod:`causalmix.methods.cautious` says what follows from it."""

    kappa: float = KAPPA  # standard deviations that are taken off an expected gain
    floor: float | tuple[float, ...] = 0.0  # least share of each of the pool's domains, or of the history's, one each
    trust_region: str = ""  # "tv" or "kl"
    radius: float | None = None  # of it
    reference: str | tuple[float, ...] = "equal"  # or "pool", its own proportions, or shares of the history's domains
    fall_back: bool = False  # whether Equal gives way to the pool's own proportions where there is no evidence
    keep: Mapping[str, float] = field(default_factory=dict)  # outcomes that must not fall, each with its margin
    worst: tuple[str, ...] = ()  # outcomes of which the one that gains least counts; by default the question's own

    def __post_init__(self) -> None:
        check_kappa(self.kappa)
        check_trust_region(self.trust_region, self.radius)
        if not all(0 <= share <= 1 for share in np.ravel(self.floor)):
            raise InputError(f"Expected a floor in [0, 1], found {self.floor}; it is the least share of each domain.")
        for outcome, margin in self.keep.items():
            check_margin(outcome, margin)


def check_kappa(kappa: float) -> None:
    """Raise InputError unless it is a number of standard deviations."""
    if not (np.isfinite(kappa) and kappa >= 0):
        raise InputError(f"Expected kappa of at least 0, found {kappa}; give for instance {KAPPA}.")


def check_margin(outcome: str, margin: float) -> None:
    """Raise InputError unless an outcome may fall by that."""
    if not (np.isfinite(margin) and margin >= 0):
        raise InputError(f"Expected a margin of at least 0 for {outcome}, found {margin}; say by how much it may fall.")
