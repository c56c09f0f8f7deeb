"""How well each final stage foretold what trials show of mixtures that none of them was fitted to."""

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd

from causalmix.effects.interface import Effects
from causalmix.methods.ask import STATIC
from causalmix.methods.policy import PROMISE
from causalmix.study.trials import DIFFERENCE, REFERENCE, spearman_by_row

ENDS, MEASURES = ("", "_low", "_high"), ("spearman", "error", "lead")
ALL, BASELINES = "All mixtures", "Those of baselines alone"  # that stages are judged by


def foretold(
    fits: Mapping[str, Effects], mixtures: pd.DataFrame, states: Mapping[str, np.ndarray], compared: pd.DataFrame
) -> pd.DataFrame:
    """The gain over Equal that each stage foretells of every mixture, beside the difference that its trials show.

    ``mixtures`` is a table of the contract, ``states`` has the covariates of its pools, and ``compared`` is of
    ``trials.compare`` at the size of the runs that were fitted.  A mixture that is Equal, or that another method has as
    well, is left out.  Columns ``stage, pool, method, predicted_gain, gain_ci_low, gain_ci_high``, in the outcome's
    unit, and those of the difference.
    """
    weights = [column for column in mixtures if column.startswith("w_")]
    parts = []
    for pool, x in states.items():
        here = mixtures[mixtures["pool"] == pool].drop_duplicates(weights)  # Equal is the first
        equal = here.loc[here["method"] == REFERENCE, weights].to_numpy(float)
        here = here[here["method"] != REFERENCE].merge(compared[compared["pool"] == pool], on=["method", "pool"])
        here = here.dropna(subset=[DIFFERENCE[0]])
        for stage, fit in fits.items() if len(here) else ():
            gains = dict(zip(PROMISE, fit.gain(x, equal[0], here[weights].to_numpy(float))))
            parts.append(here[["pool", "method", *DIFFERENCE]].assign(stage=stage, **gains))
    columns = ["stage", "pool", "method", *PROMISE, *DIFFERENCE]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def foretold_table(table: pd.DataFrame, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How near each stage came: of all mixtures, and of those of methods that ask no stage.

    Columns ``mixtures, stage, n, spearman, error`` (root of the mean square, in the outcome's unit), ``lead`` (of
    Spearman's correlation over the first stage's) with their 95% intervals, and ``meet``, the share of foretold
    intervals that meet that of the trials.  A bootstrap draws methods, each with its mixtures in every pool.
    """
    rows = []
    for name, part in ((ALL, table), (BASELINES, table[table["method"].isin(STATIC)])):
        stages = list(part["stage"].unique())
        wide = part.pivot(index=["method", "pool"], columns="stage", values=PROMISE[0])
        if len(wide) < 3:
            continue
        foretells = wide[stages].to_numpy(float).T
        came = part.drop_duplicates(["method", "pool"]).set_index(["method", "pool"])[DIFFERENCE[0]].loc[wide.index]
        measures = _drawn(foretells, came.to_numpy(float), pd.factorize(wide.index.get_level_values(0))[0], draws, seed)
        meets = (part[PROMISE[1]] <= part[DIFFERENCE[2]]) & (part[PROMISE[2]] >= part[DIFFERENCE[1]])
        for i, stage in enumerate(stages):
            found = {f"{m}{end}": v[i] for m, values in measures.items() for end, v in zip(ENDS, values)}
            share = float(meets[part["stage"] == stage].mean())
            rows.append({"mixtures": name, "stage": stage, "n": len(wide)} | found | {"meet": share})
    columns = ["mixtures", "stage", "n", *(f"{m}{end}" for m in MEASURES for end in ENDS), "meet"]
    return pd.DataFrame(rows, columns=columns)


def _drawn(foretells: np.ndarray, came: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> dict[str, np.ndarray]:
    """Each measure with the ends of its interval, shape (3, stages), for groups of mixtures drawn anew."""
    rng, members = np.random.default_rng([seed, 71]), [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]
    chosen = [np.arange(len(came))]
    chosen += [
        np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))]) for _ in range(draws)
    ]
    each = np.broadcast_to(came, foretells.shape)
    ranks = np.array([spearman_by_row(foretells[:, rows], each[:, rows]) for rows in chosen])
    errors = np.array([np.sqrt(((foretells[:, rows] - came[rows]) ** 2).mean(axis=1)) for rows in chosen])
    found = dict(zip(MEASURES, (ranks, errors, ranks - ranks[:, :1])))
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # what is constant has no order
        return {name: np.vstack([v[0], *np.nanquantile(v[1:], [0.025, 0.975], axis=0)]) for name, v in found.items()}
