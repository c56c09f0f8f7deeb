"""What methods promised over Equal, beside what came of it at every size and with every model."""

import numpy as np
import pandas as pd

from causalmix.methods.policy import PROMISE
from causalmix.study.trials import DIFFERENCE, GROUP, MEAN, REFERENCE, name_of

SIZES = GROUP[1:]


def promised(mixtures: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Each mixture's promise (``mixtures.csv``) beside what came of it (of ``trials.compare``), by size."""
    theirs = compared[["method", *SIZES, "seeds", *MEAN, *DIFFERENCE]]
    mixtures = mixtures.reindex(columns=["method", "proxy_runs_used", "in_support", *PROMISE, *SIZES])
    for_one = mixtures["model"].notna()
    somewhere = mixtures[for_one].astype({"n_samples": theirs["n_samples"].dtype})
    parts = [mixtures[~for_one].drop(columns=SIZES).merge(theirs, on="method", how="left")]
    parts += [somewhere.merge(theirs, on=["method", *SIZES])] * bool(len(somewhere))
    table = pd.concat(parts, ignore_index=True).astype({"seeds": "Int64"})
    (came, least, most), (low, high) = (table[name] for name in DIFFERENCE), (table[name] for name in PROMISE[1:])
    # By intervals that do not meet: few seeds say little of a promise.
    return table.assign(kept=np.select([came.isna(), most < low, least > high], ["", "less", "more"], "inside"))


def promise_table(promises: pd.DataFrame) -> pd.DataFrame:
    """What :func:`promised` tells, in points: one row for each method, or for each size that it made a mixture for."""
    rows: dict[str, dict[str, object]] = {}
    several = promises.groupby("method")["predicted_gain"].nunique() > 1
    for row in promises[promises["method"] != REFERENCE].to_dict("records"):
        name = f"{row['method']} ({name_of(row)})" if several[row["method"]] else row["method"]
        told = rows.setdefault(name, {"method": name} | _points(row, "promised", PROMISE))
        if pd.notna(row["model"]):
            told |= _points(row, name_of(row), DIFFERENCE)
    return pd.DataFrame(rows.values())


def _points(row: dict, called: str, names: tuple[str, ...]) -> dict[str, float]:
    return {f"{called}{end}": 100 * row[name] for end, name in zip(("", "_low", "_high"), names)}
