"""Every predictor of an outcome from a mixture, side by side on the published sweeps.

``python benchmarks/bench_published.py`` prints the tables and keeps them as ``results/validity/published.csv``
(Spearman's correlation on test mixtures, by how many runs are learnt from) and ``published_gains.csv`` (the gain that
the project's stages promise of the mixture they like best, beside two independent judges).
"""

from __future__ import annotations

import argparse
import warnings

from predictors import optimum_table, predictors_table

from causalmix.core import paths
from causalmix.core.tables import write_table


def main() -> None:
    """Compute, print and keep both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="draws of fewer runs, and of folds")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")  # a variance at its bound
    folder = paths.RESULTS / "validity"
    gains = optimum_table()
    write_table(folder / "published_gains.csv", gains)
    print(gains.round(3).to_string(index=False), flush=True)
    found = predictors_table(repeats=options.repeats, tell=lambda line: print(*line.values(), flush=True))
    write_table(folder / "published.csv", found)
    at = found.pivot_table(index=["sweep", "n", "predictor"], columns="judged_at", values="spearman", sort=False)
    print(at.round(3).to_string())


if __name__ == "__main__":
    main()
