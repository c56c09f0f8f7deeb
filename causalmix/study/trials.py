"""Trials: every method's mixture trained with several fresh seeds, and what the comparison says.

What a method promises is the maximum of a noisy surface, and flatters (the winner's curse); what
counts is the score of runs that no method has seen.  All methods share their seeds, so that a
difference to the reference is a paired one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, spearmanr

from causalmix.core.errors import InputError
from causalmix.core.intervals import mean_interval
from causalmix.core.tables import read_table
from causalmix.data.families import kind_of
from causalmix.lm.outcomes import axis_scores
from causalmix.train.design import Design, spec_of
from causalmix.train.ledger import Ledger
from causalmix.train.one_run import train
from causalmix.train.spec import RunSpec
from causalmix.train.sweep import run_sweep

REFERENCE = "Equal"
DIFFERENCE = ("difference", "difference_low", "difference_high")
FIRST_SEED = 90_000  # of a design's hundred thousand; its own runs count from 0


@dataclass(frozen=True)
class Trial:
    """One method's mixture in one pool, the run that tries it, and the role of its model."""

    method: str
    pool: str
    spec: RunSpec
    role: str = "proxy"


def trials_of(
    design: Design,
    world: str,
    mixtures: pd.DataFrame,
    *,
    pool: str,
    state: Sequence[float],
    candidates: int,
    n_samples: int,
    seeds: int,
    role: str = "proxy",
) -> list[Trial]:
    """Runs that try mixtures in one pool.

    Parameters
    ----------
    design : Design
        Gives the hyper-parameters.
    world : str
        Identity of the world.
    mixtures : DataFrame
        ``method, w_<domain>…``.
    pool : str
        What the pool is called.
    state : sequence of float
        Its tilt λ; zeros for the pool as it is.
    candidates : int
        Rows of each domain to draw from; as many as the pool has for all of it.
    n_samples, seeds : int
        Rows of a training sample, and runs of each mixture.
    role : {"proxy", "target", "longcot"}
        Whose model is trained.
    """
    weights = [c for c in mixtures if c.startswith("w_")]
    domains = tuple(c.removeprefix("w_") for c in weights)
    return [
        Trial(
            row["method"],
            pool,
            spec_of(design, world, row[weights].astype(float), state, design.seed * 100_000 + FIRST_SEED + j,
                    role=role, n_samples=n_samples, candidates=candidates, domains=domains),
            role,
        )
        for _, row in mixtures.iterrows()
        for j in range(seeds)
    ]  # fmt: skip


def trial_table(trials: Iterable[Trial], records: Iterable[dict]) -> pd.DataFrame:
    """The contract's ``targets.csv``: one row for each trial, with its outcomes.

    Parameters
    ----------
    trials : iterable of Trial
    records : iterable of dict
        The ledger's record of each trial's run, in the same order.

    Raises
    ------
    InputError
        When a run failed.
    """
    rows = []
    for trial, record in zip(trials, records):
        if record["status"] != "finished":
            raise InputError(
                f"Expected a finished run of {trial.method} in {trial.pool}, found {record['error']}; "
                "sweep again with --retry-failed."
            )
        spec = trial.spec
        rows.append(
            {"method": trial.method, "pool": trial.pool, "model": trial.role, "n_samples": spec.n_samples}
            | {"seed": spec.seed, "run_id": spec.run_id}
            | {f"w_{d}": w for d, w in zip(spec.domains, spec.weights)}
            | axis_scores(record["scores"], kind_of(spec.world).tasks())
        )
    return pd.DataFrame(rows)


def compare(
    table: pd.DataFrame, outcome: str = "y_dev", reference: str = REFERENCE, level: float = 0.95
) -> pd.DataFrame:
    """Mean outcome of each method and its paired difference to the reference, with intervals over seeds.

    Parameters
    ----------
    table : DataFrame
        From :func:`trial_table`; every group of pool, model and size is compared by itself.
    outcome : str
        A ``y_`` column.
    reference : str
        The method that differences are to.
    level : float
        Nominal coverage of each interval by itself; they are not adjusted for their number.

    Returns
    -------
    DataFrame
        ``pool, model, n_samples, method, seeds, mean, ci_low, ci_high, difference, difference_low,
        difference_high``.
    """
    rows = []
    for key, group in table.groupby(["pool", "model", "n_samples"], sort=False):
        wide = group.pivot(index="seed", columns="method", values=outcome)
        for method in group["method"].unique():
            mean, low, high = mean_interval(wide[method].dropna(), level)
            row = dict(zip(("pool", "model", "n_samples"), key)) | {
                "method": method,
                "seeds": int(wide[method].notna().sum()),
            }
            row |= {"mean": mean, "ci_low": low, "ci_high": high}
            gap = (wide[method] - wide[reference]).dropna() if reference in wide else pd.Series(dtype=float)
            known = method != reference and len(gap)
            rows.append(row | dict(zip(DIFFERENCE, mean_interval(gap, level) if known else (np.nan,) * 3)))
    return pd.DataFrame(rows)


def axis_table(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Mean of each outcome by method ``±`` half of the 95% interval, as text in points, where it was asked."""

    def cell(values: pd.Series) -> str:
        mean, low, high = mean_interval(values.to_numpy())
        return f"{100 * mean:.1f}" + (f" ± {50 * (high - low):.1f}" if np.isfinite(low) else "")

    grouped = table.groupby("method", sort=False)
    there = [c for c in columns if c in table]
    return pd.DataFrame({c.removeprefix("y_"): grouped[c].apply(cell) for c in there}).reset_index()


def differences_table(table: pd.DataFrame, outcomes: Sequence[str]) -> pd.DataFrame:
    """Paired differences to the reference in several outcomes, points, with 95% intervals, for one group of trials.

    Returns
    -------
    DataFrame
        ``method, seeds``, and for each outcome ``<outcome>, <outcome>_low, <outcome>_high``.
    """
    found = None
    for outcome in (o for o in outcomes if o in table):
        part = compare(table, outcome).dropna(subset=["difference"])
        named = dict(zip(DIFFERENCE, (outcome, f"{outcome}_low", f"{outcome}_high")))
        points = (100 * part[list(DIFFERENCE)]).rename(columns=named)
        own = part[["method", "seeds"]].join(points)
        found = own if found is None else found.merge(own.drop(columns="seeds"), on="method")
    return pd.DataFrame(columns=["method", "seeds"]) if found is None else found


def in_points(gap: float, low: float, high: float) -> str:
    """A difference and its interval in points, for a sentence; without an interval where there is none."""
    return f"{100 * gap:+.1f}" + (f" [{100 * low:+.1f}, {100 * high:+.1f}]" if np.isfinite(low) else "")


def verdict(low: float, high: float) -> str:
    """What an interval of a difference says: above zero, below zero, or neither."""
    if not np.isfinite([low, high]).all():
        return "unknown (a single seed has no interval)"
    return "above zero" if low > 0 else "below zero" if high < 0 else "not told apart from zero"


def comparison_sentence(compared: pd.DataFrame) -> str:
    """Which methods differ from the reference by their intervals, for one group of :func:`compare`."""
    rivals = compared.dropna(subset=["difference"])
    if rivals.empty:
        return "Only one method was trained, so there is nothing to compare."
    told = {"above zero": [], "below zero": [], "not told apart from zero": []}
    for row in rivals.itertuples():
        said = verdict(row.difference_low, row.difference_high)
        told.setdefault(said, []).append(f"{row.method} ({100 * row.difference:+.1f} points)")
    parts = [f"{what}: {', '.join(who)}" for what, who in told.items() if who]
    best = compared.loc[compared["mean"].idxmax()]
    return (
        f"Paired difference to {REFERENCE} {'; '.join(parts)}. "
        f"The highest mean is that of **{best['method']}** ({100 * best['mean']:.1f} points)."
    )


def growth_sentence(table: pd.DataFrame, outcome: str = "y_dev") -> str:
    """What each method's mixture gained from the smallest to the largest number of runs, by paired differences.

    Parameters
    ----------
    table : DataFrame
        ``method, n_runs, seed, <outcome>``.
    outcome : str
    """
    few, many, told = table["n_runs"].min(), table["n_runs"].max(), []
    for method, part in table.groupby("method", sort=False):
        wide = part.pivot(index="seed", columns="n_runs", values=outcome)
        gap, low, high = mean_interval((wide[many] - wide[few]).dropna())
        between = f" [{100 * low:+.1f}, {100 * high:+.1f}]" if np.isfinite(low) else ""
        told.append(f"{method} {100 * gap:+.1f}{between}, {verdict(low, high)}")
    return f"From {few} to {many} runs, points: " + "; ".join(told) + "."


def join(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of trials or of comparisons, one below the other."""
    return pd.concat(tables, ignore_index=True)


def name_of(group: dict) -> str:
    """What a group of trials is called."""
    model = {"target": "target model"}.get(group["model"], group["model"])
    return f"{model}, {group['n_samples']:,} rows"


def base_sentence(compared: pd.DataFrame, before: pd.DataFrame, outcome: str) -> str:
    """Whether any mixture of :func:`compare` ends above the model that it started from.

    Parameters
    ----------
    compared : DataFrame
    before : DataFrame
        ``model, <outcome>``: what the base of each role can do.
    outcome : str
    """
    start, told = before.set_index("model")[outcome], []
    for (model, n_samples), part in compared.groupby(["model", "n_samples"], sort=False):
        above = int((part["mean"] > start[model]).sum())
        name = name_of({"model": model, "n_samples": n_samples})
        told.append(f"{name}: {above} of {len(part)} mixtures end above its base ({100 * start[model]:.1f} points)")
    return "; ".join(told) + "."


def promised(mixtures: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Each method's cost and promise beside what its runs gained.

    Parameters
    ----------
    mixtures : DataFrame
        The contract's ``mixtures.csv``.
    compared : DataFrame
        From :func:`compare`; its smallest size with the proxy is held against the promise.

    Returns
    -------
    DataFrame
        ``method, proxy_runs_used, seeds, in_support, predicted_gain, gain_ci_low, gain_ci_high,
        mean, ci_low, ci_high, difference, difference_low, difference_high``.
    """
    proxy = compared[compared["model"] == "proxy"]
    proxy = proxy[proxy["n_samples"] == proxy["n_samples"].min()]
    ours = ["method", "proxy_runs_used", "in_support", "predicted_gain", "gain_ci_low", "gain_ci_high"]
    theirs = ["method", "seeds", "mean", "ci_low", "ci_high", "difference", "difference_low", "difference_high"]
    return mixtures[ours].merge(proxy[theirs], on="method", how="left").astype({"seeds": "Int64"})


def state_sentence(
    table: pd.DataFrame, outcome: str = "y_dev", moving: str = "CausalMix-A", still: str = "CausalMix-A without X"
) -> str:
    """Whether the state-dependent mixture beats the one without the state, pool by pool, by paired differences."""
    told = []
    for pool, part in table.groupby("pool", sort=False):
        wide = part.pivot(index="seed", columns="method", values=outcome)
        if {moving, still} <= set(wide):
            gap, low, high = mean_interval((wide[moving] - wide[still]).dropna())
            told.append(f"{pool} {in_points(gap, low, high)} ({verdict(low, high)})")
    if not told:
        return f"{moving} and {still} were not both trained, so the use of the state cannot be told."
    return f"{moving} minus {still}, points: " + "; ".join(told) + "."


METHOD = "CausalMix-A"  # the method that trained variants are held against


def read_trained(folder: Path, names: Sequence[str]) -> pd.DataFrame | None:
    """Trials of the whole pool from tables of a study, one below the other, or None where one of them is missing."""
    if not all((Path(folder) / name).is_file() for name in names):
        return None
    table = pd.concat([read_table(Path(folder) / name, ["method", "pool"]) for name in names], ignore_index=True)
    return table[table["pool"] == "whole"]


def variants_compared(tried: pd.DataFrame, outcome: str) -> pd.DataFrame:
    """Trained variants of CausalMix-A and forms of DMO, with their paired differences to CausalMix-A."""
    shown = tried["method"].str.startswith((f"{METHOD} ", "DMO")) | (tried["method"] == METHOD)
    return compare(tried[shown], outcome, reference=METHOD).drop(columns="pool")


def aim_sentence(aim: str, outcome: str) -> str:
    """Which outcome mixtures were chosen for, and whether it is the one that they are scored by."""
    scored = "which also scores them" if aim == outcome else f"not for `{outcome}`, which scores them"
    return f"Methods that maximise an outcome chose their mixtures here for `{aim}`, {scored}."


def groups_of(table: pd.DataFrame) -> list[dict]:
    """The groups of trials that are compared among themselves, in order: values of pool, model and size."""
    keys = ["pool", "model", "n_samples"]
    return [dict(zip(keys, row)) for row in table[keys].drop_duplicates().itertuples(index=False)]


def rank_agreement(
    table: pd.DataFrame, one: dict, other: dict, outcome: str = "y_dev", draws: int = 2000, seed: int = 0
) -> dict[str, float]:
    """How far two groups of trials order the methods alike.

    Parameters
    ----------
    table : DataFrame
        From :func:`trial_table`.
    one, other : dict
        Values of ``pool, model, n_samples`` that pick each group.
    outcome : str
    draws, seed : int
        Of a bootstrap over the seeds of each method.

    Returns
    -------
    dict
        ``methods, spearman, spearman_low, spearman_high, kendall``; the interval holds the middle
        95% of the bootstrap, in which seeds are drawn anew within each method and group.  NaN where
        fewer than 3 methods are in both groups, the interval also where a method has one seed alone.
    """
    groups = []
    for choice in (one, other):
        mask = np.logical_and.reduce([table[name] == value for name, value in choice.items()])
        groups.append({m: part[outcome].to_numpy() for m, part in table[mask].groupby("method", sort=False)})
    methods = [m for m in groups[0] if m in groups[1]]
    if len(methods) < 3:
        return {"methods": len(methods)} | dict.fromkeys(
            ("spearman", "spearman_low", "spearman_high", "kendall"), np.nan
        )
    means = [np.array([g[m].mean() for m in methods]) for g in groups]
    rng, drawn = np.random.default_rng([seed, 70]), []
    for _ in range(draws):
        again = [[rng.choice(g[m], len(g[m])).mean() for m in methods] for g in groups]
        drawn.append(spearmanr(*again)[0])
    single = any(len(values) < 2 for group in groups for values in group.values())
    low, high = (np.nan, np.nan) if single else np.nanquantile(drawn, [0.025, 0.975])
    return {
        "methods": len(methods),
        "spearman": float(spearmanr(*means)[0]),
        "spearman_low": float(low),
        "spearman_high": float(high),
        "kendall": float(kendalltau(*means)[0]),
    }


def agreement_table(table: pd.DataFrame, groups: Sequence[dict], outcome: str = "y_dev") -> pd.DataFrame:
    """Rank agreement of the first group with each other one, and of two models at one size."""
    pairs = [(groups[0], other) for other in groups[1:]]
    same_size = [(a, b) for a in groups for b in groups if a["model"] < b["model"] and a["n_samples"] == b["n_samples"]]
    pairs += [pair for pair in same_size if pair not in pairs]
    rows = [{"one": name_of(a), "other": name_of(b)} | rank_agreement(table, a, b, outcome) for a, b in pairs]
    columns = ["one", "other", "methods", "spearman", "spearman_low", "spearman_high", "kendall"]
    return pd.DataFrame(rows, columns=columns)


def agreement_sentence(table: pd.DataFrame) -> str:
    """Whether the order of methods carries over, pair by pair of :func:`agreement_table`, by the intervals."""
    words = {"above zero": "much the same order", "below zero": "an order that is turned around"}
    told = []
    for row in table.dropna(subset=["spearman"]).itertuples():
        said = words.get(verdict(row.spearman_low, row.spearman_high), "no order that can be told from chance")
        told.append(f"{row.one} and {row.other}: {said} (Spearman {row.spearman:+.2f})")
    return "; ".join(told) + "." if told else "Too few methods were tried in two groups to compare their order."


def recorded_or_trained(
    trials: Sequence[Trial], ledger: Ledger, train_missing: bool, progress=None
) -> tuple[list[Trial], list[dict]]:
    """Trials with their records: all of them, trained where need be, or only those on record.

    Parameters
    ----------
    trials : sequence of Trial
    ledger : Ledger
    train_missing : bool
        Whether what the ledger lacks is trained now.
    progress : callable, optional
        See :func:`causalmix.train.sweep.run_sweep`.

    Raises
    ------
    InputError
        When none is on record and none may be trained.
    """
    if train_missing:
        return list(trials), run_sweep([t.spec for t in trials], ledger, train, progress=progress)
    finished = ledger.finished()
    kept = [t for t in trials if t.spec.run_id in finished]
    if not kept:
        raise InputError(
            f"Expected recorded runs of these mixtures in {ledger.path.name}, found none; "
            f"set train_missing to train {len(trials)}."
        )
    return kept, [finished[t.spec.run_id] for t in kept]


def coverage_sentence(kept: Sequence[Trial], trials: Sequence[Trial]) -> str:
    """How many of the planned trials are on record, and which groups are short of some."""
    if len(kept) == len(trials):
        return f"All {len(trials)} trials are on record."
    group = lambda t: f"{t.role} with {t.spec.n_samples:,} rows in {t.pool}"  # noqa: E731
    planned, there = Counter(map(group, trials)), Counter(map(group, kept))
    short = "; ".join(f"{name}: {there[name]} of {n}" for name, n in planned.items() if there[name] < n)
    return (
        f"{len(kept)} of {len(trials)} trials are on record ({short}). What follows is of these; "
        "`causalmix sweep --trials` trains the others."
    )
