"""How far an estimate can be believed: what benchmarks/bench_validity.py has measured where the truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core import paths

MEASURES = ("cover_theta", "cover_gain", "regret")
FEWER = 0.75  # of the fewest runs that were tried: from fewer, priors say more than runs do


def files() -> list[Path]:
    """The benchmark's table of all worlds and stages; none where this copy lacks it."""
    path = paths.RESULTS / "validity" / "coverage.csv"
    return [path] if path.is_file() else []


def table() -> pd.DataFrame:
    """What the benchmark has measured; without rows where nothing is at hand."""
    found = files()
    return pd.read_csv(found[0]) if found else pd.DataFrame(columns=["world", "n", "stage", *MEASURES])


def told(stage: str, n: int) -> str:
    """How often a stage's intervals have covered, in words, by histories of the size that is nearest to n runs."""
    found = table().query("stage == @stage")
    if found.empty:
        return f"How often 95% intervals of the {stage} stage cover has not been measured in this copy."
    size = min(found["n"].unique(), key=lambda known: abs(np.log(known / n)))
    part = found[found["n"] == size]
    least, most = part.loc[part["cover_theta"].idxmin()], part.loc[part["cover_theta"].idxmax()]
    few = f" As few runs as here, {n}, were not tried." if n < FEWER * found["n"].min() else ""
    return (
        f"In worlds of known truth, 95% intervals of the {stage} stage from {size} runs held the return in "
        f"{least['cover_theta']:.0%} of cases in the worst kind of world ({least['world']}) and in "
        f"{most['cover_theta']:.0%} in the best ({most['world']}), and the gain of a random mixture in "
        f"{part['cover_gain'].min():.0%} to {part['cover_gain'].max():.0%}.{few}"
    )
