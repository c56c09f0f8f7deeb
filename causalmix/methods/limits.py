"""Which mixtures are allowed, and how cautiously one is chosen; nothing here loads what estimates."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import rel_entr

from causalmix.core.errors import InputError, brief
from causalmix.core.parameters import check_name
from causalmix.core.simplex import HALVINGS, check_mixture, nearest

KAPPA = 0.2  # standard deviations; in worlds of known truth more loses more than it saves
NOTHING = 1e-12  # a share that is none
TRUST_REGIONS = ("tv", "kl")


@dataclass(frozen=True)
class Limits:
    """What a mixture of K domains keeps to; made by :func:`limits`."""

    reference: np.ndarray  # within floors and caps, shape (K,)
    floors: np.ndarray  # least shares, shape (K,)
    caps: np.ndarray  # largest shares, shape (K,)
    trust_region: str = ""  # one of TRUST_REGIONS, or none
    radius: float = np.inf  # largest distance to the reference: a share of rows by "tv", nats by "kl"
    note: str = ""  # what was done to the reference; empty where nothing was

    def distance(self, W: np.ndarray) -> np.ndarray:
        """From the reference, shape (n,): total variation, or the divergence KL(W || reference) in nats."""
        if self.trust_region == "kl":
            return rel_entr(W, self.reference).sum(axis=1)
        return np.abs(W - self.reference).sum(axis=1) / 2

    def slope(self, w: np.ndarray) -> np.ndarray:
        """Derivative of the divergence at a mixture, shape (K,)."""
        held = self.reference > NOTHING
        return np.where(held, np.log(np.maximum(w, NOTHING)) - np.log(np.where(held, self.reference, 1)), 0.0)

    def inside(self, W: np.ndarray) -> np.ndarray:
        """Mixtures moved within floors and caps, then straight towards the reference into the trust region."""
        W = nearest(W, self.floors, self.caps)
        low, high = np.zeros(len(W)), np.ones(len(W))
        far = self.distance(W) > self.radius
        for _ in range(HALVINGS if far.any() else 0):
            middle = (low + high) / 2
            fits = self.distance(self.reference + middle[:, None] * (W - self.reference)) <= self.radius
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        return np.where(far[:, None], self.reference + low[:, None] * (W - self.reference), W)


def limits(
    reference: np.ndarray, floors: np.ndarray | float = 0.0, caps: np.ndarray | None = None, trust_region: str = "",
    radius: float | None = None,
) -> Limits:  # fmt: skip
    """Least and largest shares, (K,), and a trust region, "tv" (a radius in [0, 1]) or "kl" (nats), of a reference.

    The reference is moved to the nearest mixture within; InputError when no mixture keeps to all of this.
    """
    given = check_mixture(reference, [f"domain {k}" for k in range(len(reference))])
    k = len(given)
    caps = np.ones(k) if caps is None else np.minimum(np.asarray(caps, float), 1.0)
    floors = np.broadcast_to(np.asarray(floors, float), k)
    check_trust_region(trust_region, radius)
    check_room(floors, caps)
    fits = (given >= floors).all() and (given <= caps).all()
    held = given if fits else nearest(given[None], floors, caps)[0]
    note = ""
    if np.abs(held - given).max() > 1e-6:
        note = "the reference breaks the floors or the caps, so the nearest mixture within them stands for it"
    if trust_region == "kl":  # no mixture at a finite divergence has what the reference lacks
        caps = np.where(held > NOTHING, caps, 0.0)
    return Limits(held, floors, caps, trust_region, np.inf if radius is None else float(radius), note)


def check_trust_region(trust_region: str, radius: float | None) -> None:
    """Raise InputError unless a distance and a radius of it are given, or neither."""
    if trust_region:
        check_name(trust_region, TRUST_REGIONS, "trust region")
    if bool(trust_region) != (radius is not None):
        found = f"only the trust region {trust_region}" if trust_region else f"only the radius {radius}"
        raise InputError(f"Expected a trust region together with its radius, found {found}; give both or neither.")
    most = 1 if trust_region == "tv" else np.inf
    if radius is not None and not 0 <= radius <= most:
        raise InputError(f"Expected a radius in [0, {most}] for {trust_region}, found {radius}; correct it.")


def check_room(floors: np.ndarray, caps: np.ndarray) -> None:
    """Raise InputError unless least and largest shares, shapes (K,), leave a mixture."""
    few = 1e-9  # caps of a pool that is used up may fall short of 1 by their last digits
    if caps.shape != floors.shape or not ((floors >= 0).all() and (caps >= 0).all()):
        raise InputError(
            f"Expected {len(floors)} floors and caps of at least 0, found {brief(floors)} and {brief(caps)}; give them."
        )
    above = int((floors > caps + few).sum())
    if above or floors.sum() > 1 + few or caps.sum() < 1 - few:
        raise InputError(
            f"Expected floors below caps that leave a mixture, found floors that sum to {floors.sum():.4g} ({above} "
            f"above their caps) and caps that sum to {caps.sum():.4g}; lower floors, allow repeats or take fewer rows."
        )


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
        check_least("kappa", self.kappa)
        check_trust_region(self.trust_region, self.radius)
        for outcome, margin in self.keep.items():
            check_least(f"a margin for {outcome}", margin)


def check_least(what: str, value: float) -> None:
    """Raise InputError unless it is a finite number of at least 0."""
    if not 0 <= value < np.inf:
        raise InputError(f"Expected {what} of at least 0, found {value}; give such a number.")
