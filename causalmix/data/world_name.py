"""The name of a scored pool, in which everything is said that its content depends on."""

from typing import NamedTuple, Self


class WorldName(NamedTuple):
    """What identifies a scored pool, written ``family/rows/seed/digest``; a run adds its candidates per domain."""

    family: str
    rows: int
    seed: int
    digest: str
    candidates: int | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """The parts of a name."""
        family, rows, seed, digest, *candidates = text.split("/")
        return cls(family, int(rows), int(seed), digest, *map(int, candidates))

    def __str__(self) -> str:
        return "/".join(str(part) for part in self if part is not None)
