"""Whether the proxy orders mixtures as a real pretrained model does: by runs of both that share mixture and state."""

import numpy as np
import pandas as pd

from causalmix.core.intervals import verdict
from causalmix.study.trials import spearman_by_row
from causalmix.train.ledger import Ledger

STUDY = "bridge"  # whose proxy is the real model
FEWEST = 8  # mixtures: of fewer the order says nothing
SPEARMAN = ("spearman", "spearman_low", "spearman_high")
GIVEN_STATE = ("given_state", "given_state_low", "given_state_high")
WORDS = {
    "better": "is like the proxy's, more than by chance",
    "worse": "runs against the proxy's",
    "open": "has no likeness to the proxy's that can be told from chance",
}


def ledger() -> Ledger:
    """The record of the real model's runs; it may be empty."""
    from causalmix.train.records import ledger_of  # which imports what trains

    return ledger_of(STUDY)


def shared(proxy: Ledger, real: Ledger) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Histories of two records' runs of one pool, mixture, state and seed, row by row; seeds are averaged."""
    from causalmix.train.records import history

    finished = [{_same(record["spec"]): record for record in one.finished().values()} for one in (proxy, real)]
    tables = (history([found[key] for key in finished[1] if key in finished[0]]) for found in finished)
    mean = lambda table: table.groupby(list(table.filter(regex="^w_")), sort=False).mean(numeric_only=True)  # noqa: E731
    return tuple(mean(table).reset_index() if len(table) else table for table in tables)


def _same(spec: dict) -> tuple:
    return spec["world"], *spec["weights"], *spec["state"], spec["seed"]


def agreement(proxy: pd.DataFrame, real: pd.DataFrame, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Spearman's correlation of each outcome in two histories, and of what a linear function of the state leaves.

    Intervals hold the middle 95% of a bootstrap over mixtures; NaN for an outcome that a model never moves.
    """
    n, rows = len(real), []
    drawn = np.vstack([np.arange(n), np.random.default_rng([seed, 71]).integers(n, size=(draws, n))]) if n else None
    axes = [name for name in real if name.startswith("y_") and not name.endswith("_unseen") and name != "y_dev"]
    outcomes = [*sorted({"y_dev", "y_unseen"} & set(real)), *axes]
    for outcome in outcomes if n >= FEWEST else ():
        plain, left, row = [table[outcome].to_numpy(float) for table in (proxy, real)], [], [outcome, n]
        for table, values in zip((proxy, real), plain):
            states = np.column_stack([np.ones(n), table.filter(regex="^x_")])
            left.append((values - states @ np.linalg.lstsq(states, values, rcond=None)[0]).round(9))
        moved = all(map(np.ptp, plain))
        for sides in (plain, left):
            found = spearman_by_row(*(side[drawn] for side in sides)) if moved else np.empty(0)
            row += (found[0], *np.nanquantile(found, [0.025, 0.975])) if moved else [np.nan] * 3
        rows.append(row)
    return pd.DataFrame(rows, columns=["outcome", "mixtures", *SPEARMAN, *GIVEN_STATE])


def said(table: pd.DataFrame, outcome: str = "y_dev") -> str:
    """One sentence on an outcome's line of :func:`agreement`, or that nothing is on record."""
    if (lines := table[table["outcome"] == outcome].dropna(subset=["spearman"])).empty:
        return "With a real pretrained model this was not tried yet: too few of its runs are on record."
    line, told = lines.iloc[0], []
    for mean, low, high in (lines.iloc[0][[*names]] for names in (SPEARMAN, GIVEN_STATE)):
        told.append((WORDS[verdict(low, high)], f"(Spearman's correlation {mean:.2f} [{low:.2f}, {high:.2f}])"))
    (first, number), (then, other) = told
    again = "this stays so" if then == first else f"it {then}"
    return (
        f"Over {line['mixtures']} mixtures, each in a state of its own, the real model's order of `{outcome}` {first} "
        f"{number}; once what the state does is taken out of both, {again} {other}."
    )
