"""What trials say: every method's mixture, trained with several fresh seeds that no method has seen, against Equal.

What trains is imported where it does: tables of trials are read, for page one for instance, without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau, rankdata, spearmanr

from causalmix.core import direction
from causalmix.core.errors import InputError
from causalmix.core.intervals import adjusted_verdict, holm, mean_interval, mean_p
from causalmix.core.tables import read_table
from causalmix.core.wording import counted
from causalmix.methods.variants import DESIGNED

if TYPE_CHECKING:
    from causalmix.study.parts import Trial
    from causalmix.train.ledger import Ledger

REFERENCE = "Equal"
METHOD = "CausalMix-A"  # the method that trained variants are held against
GROUP = ["pool", "model", "n_samples"]  # trials that agree in these are compared among themselves
MEAN = ("mean", "ci_low", "ci_high")
DIFFERENCE = ("difference", "difference_low", "difference_high")
MODELS = {"target": "target model", "longcot": "model of long chains"}  # what some roles are called
NOT_TRAINED = (
    "These trials have not been trained yet, so nothing is told of them; `causalmix sweep --trials` trains them."
)


def recorded_or_trained(
    trials: Sequence[Trial], ledger: Ledger, train_missing: bool, needed: bool = True
) -> tuple[list[Trial], list[dict]]:
    """Trials with their records: all, trained where the ledger lacks them, or those (some, if ``needed``) on record."""
    if train_missing:
        from causalmix.train.one_run import train
        from causalmix.train.sweep import run_sweep

        return list(trials), run_sweep([t.spec for t in trials], ledger, train)
    finished = ledger.finished()
    kept = [t for t in trials if t.spec.run_id in finished]
    if needed and not kept:
        raise InputError(
            f"Expected recorded runs of these mixtures in {ledger.path.name}, found none; set train_missing."
        )
    return kept, [t.spec.recorded(finished) for t in kept]


def coverage(kept: Sequence[Trial], planned: Sequence[Trial]) -> pd.DataFrame:
    """How many of the planned trials are on record: ``pool, model, n_samples, planned, recorded``."""
    group = lambda trial: (trial.pool, trial.role, trial.spec.n_samples)  # noqa: E731
    there = Counter(map(group, kept))
    rows = [(*key, count, there[key]) for key, count in Counter(map(group, planned)).items()]
    return pd.DataFrame(rows, columns=[*GROUP, "planned", "recorded"])


def trial_table(trials: Iterable[Trial], records: Iterable[dict]) -> pd.DataFrame:
    """The contract's ``targets.csv``: one row for each trial, with its outcomes; InputError when a run failed."""
    from causalmix.train.records import lower_of, outcomes_of

    rows = []
    for trial, record in zip(trials, records):
        if record["status"] != "finished":
            raise InputError(
                f"Expected a finished run of {trial.method}, found {record['error']}; sweep again with --retry-failed."
            )
        spec, outcomes = trial.spec, outcomes_of(record)
        rows.append(
            {"method": trial.method, "pool": trial.pool, "model": trial.role, "n_samples": spec.n_samples}
            | {"seed": spec.seed, "run_id": spec.run_id}
            | {f"w_{d}": w for d, w in zip(spec.domains, spec.weights)}
            | outcomes
            | lower_of(outcomes)
        )
    return pd.DataFrame(rows)


def compare(table: pd.DataFrame, outcome: str = "y_dev", reference: str = REFERENCE) -> pd.DataFrame:
    """Mean outcome of each method and its paired difference to the reference, with intervals over seeds.

    Every group of pool, model and size is compared by itself; ``p_holm`` is adjusted for the methods of the group.
    """
    rows = []
    for key, group in table.groupby(GROUP, sort=False):
        wide = group.pivot(index="seed", columns="method", values=outcome)
        for method in group["method"].unique():
            values = wide[method].dropna()
            gaps = (wide[method] - wide[reference]).dropna() if reference in wide and method != reference else ()
            difference = (*mean_interval(gaps), mean_p(gaps)) if len(gaps) else (np.nan,) * 4
            rows.append((*key, method, len(values), *mean_interval(values), *difference))
    compared = pd.DataFrame(rows, columns=[*GROUP, "method", "seeds", *MEAN, *DIFFERENCE, "p"])
    return compared.assign(p_holm=compared.groupby(GROUP, sort=False)["p"].transform(holm))


def standings(compared: pd.DataFrame) -> pd.DataFrame:
    """Whom the paired differences of each group (of :func:`compare`) put where, in points, adjusted (Holm)."""
    rows = []
    for key, group in compared.groupby(GROUP, sort=False):
        found: dict[str, list[str]] = {"better": [], "worse": [], "open": []}
        for row in group.dropna(subset=["difference"]).itertuples():
            found[adjusted_verdict(row.difference, row.p_holm)].append(f"{row.method} ({100 * row.difference:+.1f})")
        best = group.loc[group["mean"].idxmax()]
        told = {word: ", ".join(who) or "none" for word, who in found.items()}
        rows.append(dict(zip(GROUP, key)) | told | {"best": f"{best['method']} ({100 * best['mean']:.1f})"})
    return pd.DataFrame(rows)


def standing_words(compared: pd.DataFrame, base: Mapping[str, float] | None = None) -> list[str]:
    """A sentence for each group of :func:`compare`: how many methods are where, and who is highest."""
    said = []
    for key, group in compared.groupby(GROUP, sort=False):
        where, tried = dict(zip(GROUP, key)), group.dropna(subset=["difference"])
        words = [adjusted_verdict(*row) for row in zip(tried["difference"], tried["p_holm"])]
        best = group.loc[group["mean"].idxmax()]
        level = (base or {}).get(where["model"])
        above = "" if level is None else f", {100 * (best['mean'] - level):+.1f} from the model before training"
        ours = against(compared, METHOD, where)
        said.append(
            f"**{place_of(where)}**: ahead of {REFERENCE} {words.count('better')} of "
            f"{counted(len(words), 'method')}, behind it {words.count('worse')}, open {words.count('open')}. "
            f"The highest mean is that of {best['method']} ({100 * best['mean']:.1f} points{above})."
            f"{f' {METHOD}: {ours}.' if ours else ''}"
        )
    return said


def above_base(compared: pd.DataFrame, before: pd.DataFrame, outcome: str) -> pd.DataFrame:
    """How many mixtures end above their base, by model and size; ``before`` says what the base of each role can do."""
    levels = compared.merge(before[["model", outcome]].rename(columns={outcome: "base"}), on="model")
    groups = levels.assign(above=levels["mean"] > levels["base"]).groupby(GROUP[1:], sort=False)
    return groups.agg(base=("base", "first"), above=("above", "sum"), mixtures=("above", "size")).reset_index()


def axis_table(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Mean of each outcome by method ``±`` half of the 95% interval, as text in points, where it was asked."""

    def cell(values: pd.Series) -> str:
        mean, low, high = mean_interval(values.to_numpy())
        return f"{100 * mean:.1f}" + (f" ± {50 * (high - low):.1f}" if np.isfinite(low) else "")

    grouped = table.groupby("method", sort=False)
    return pd.DataFrame({c.removeprefix("y_"): grouped[c].apply(cell) for c in columns if c in table}).reset_index()


def against(compared: pd.DataFrame, method: str, group: dict) -> str:
    """How far a method is from the reference in one group, in words; empty where it was not tried there."""
    row = in_group(compared, group).query("method == @method").dropna(subset=["difference"])
    return f"{points_of(row.iloc[0])} against {REFERENCE} ({name_of(group)})" if len(row) else ""


def points_of(row: Mapping) -> str:
    """A difference in points with its interval, as far as there are such."""
    gap, low, high = (100 * row[name] for name in DIFFERENCE)
    interval = "" if np.isnan(low) else f" [{low:+.1f}, {high:+.1f}]"
    return "" if np.isnan(gap) else f"{gap:+.1f} points{interval}"


def groups_of(table: pd.DataFrame) -> list[dict]:
    """The groups of trials that are compared among themselves, in order: values of pool, model and size."""
    return [dict(zip(GROUP, row)) for row in table[GROUP].drop_duplicates().itertuples(index=False)]


def name_of(group: dict) -> str:
    """What a group of trials is called."""
    return f"{MODELS.get(group['model'], group['model'])}, {group['n_samples']:,} rows"


def place_of(group: dict) -> str:
    """The same with its pool, unless that is the whole one."""
    return ("" if group["pool"] == "whole" else f"{group['pool']}, ") + name_of(group)


def in_group(table: pd.DataFrame, group: dict) -> pd.DataFrame:
    """The trials of one group."""
    return table[np.logical_and.reduce([table[name] == value for name, value in group.items()])]


def rank_agreement(
    table: pd.DataFrame, one: dict, other: dict, outcome: str = "y_dev", draws: int = 2000, seed: int = 0
) -> dict[str, float]:
    """How alike two groups of trials order the methods, NaN of fewer than 3; a bootstrap draws seeds anew."""
    by_method = [in_group(table, group).groupby("method", sort=False)[outcome] for group in (one, other)]
    groups = [{method: values.to_numpy() for method, values in grouped} for grouped in by_method]
    methods = [m for m in groups[0] if m in groups[1]]
    names = ("spearman", "spearman_low", "spearman_high", "kendall")
    if len(methods) < 3:
        return {"methods": len(methods)} | dict.fromkeys(names, np.nan)
    means = [np.array([g[m].mean() for m in methods]) for g in groups]
    rng = np.random.default_rng([seed, 70])
    again = [[[rng.choice(g[m], len(g[m])).mean() for m in methods] for g in groups] for _ in range(draws)]
    drawn = spearman_by_row(*np.swapaxes(again, 0, 1))
    single = any(len(values) < 2 for group in groups for values in group.values())
    low, high = (np.nan, np.nan) if single else np.nanquantile(drawn, [0.025, 0.975])
    numbers = (spearmanr(*means)[0], low, high, kendalltau(*means)[0])
    return {"methods": len(methods)} | {name: float(value) for name, value in zip(names, numbers)}


def spearman_by_row(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of two arrays of shape (n, m), shape (n,); NaN where a row is constant."""
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (rankdata(side, axis=1) for side in (one, other)))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))


def agreement_table(table: pd.DataFrame, groups: Sequence[dict], outcome: str = "y_dev") -> pd.DataFrame:
    """Rank agreement of the first group with each other one, and of two models at one size."""
    pairs = [(groups[0], other) for other in groups[1:]]
    same_size = [(a, b) for a in groups for b in groups if a["model"] < b["model"] and a["n_samples"] == b["n_samples"]]
    pairs += [pair for pair in same_size if pair not in pairs]
    rows = [{"one": name_of(a), "other": name_of(b)} | rank_agreement(table, a, b, outcome) for a, b in pairs]
    columns = ["one", "other", "methods", "spearman", "spearman_low", "spearman_high", "kendall"]
    return pd.DataFrame(rows, columns=columns)


def read_trained(folder: Path, names: Sequence[str], outcome: str, lower: bool) -> pd.DataFrame | None:
    """Trials of the whole pool from tables of a study, one below the other, or None where one of them is missing."""
    if not all((Path(folder) / name).is_file() for name in names):
        return None
    table = pd.concat([read_table(Path(folder) / name, ["method", "pool"]) for name in names], ignore_index=True)
    return direction.upward(table[table["pool"] == "whole"], outcome, lower)


def variants_compared(tried: pd.DataFrame, outcome: str) -> pd.DataFrame:
    """Trained variants of CausalMix-A and forms of DMO, with their paired differences to CausalMix-A."""
    shown = tried["method"].str.startswith((f"{METHOD} without", "DMO")) | (tried["method"] == METHOD)
    compared = compare(tried[shown], outcome, reference=METHOD)
    return compared[compared["method"] != METHOD].drop(columns="pool").reset_index(drop=True)


def growth(table: pd.DataFrame, outcome: str = "y_dev") -> pd.DataFrame:
    """What each method's mixture gained from the fewest to the most runs (``n_runs``), paired by seed."""
    few, many = table["n_runs"].min(), table["n_runs"].max()
    wide = table.pivot(index="seed", columns=["method", "n_runs"], values=outcome)
    gaps = {(m, few, many): wide[m, many] - wide[m, few] for m in table["method"].unique()}
    return _gained(gaps, ["method", "fewest_runs", "most_runs"])


def designed_gains(table: pd.DataFrame, outcome: str = "y_dev") -> pd.DataFrame:
    """What designed runs gained over as many random ones, paired by seed, where they are not all the runs."""
    wide, most = table.pivot(index="seed", columns=["method", "n_runs"], values=outcome), table["n_runs"].max()
    pairs = [(m, n) for m, n in wide.columns if (m + DESIGNED, n) in wide and n < most]
    return _gained({(m, n): wide[m + DESIGNED, n] - wide[m, n] for m, n in pairs}, ["method", "n_runs"])


def _gained(gaps: Mapping[tuple, pd.Series], names: Sequence[str]) -> pd.DataFrame:
    """Mean differences with their intervals, and verdicts that are adjusted for the number of rows (Holm)."""
    rows = [(*row, *mean_interval(gap.dropna()), mean_p(gap.dropna())) for row, gap in gaps.items()]
    table = pd.DataFrame(rows, columns=[*names, *DIFFERENCE, "p"])
    told = zip(table["difference"], holm(table.pop("p")))
    return table.assign(verdict=[adjusted_verdict(*row) for row in told])


def spread(table: pd.DataFrame, outcome: str = "y_dev") -> pd.DataFrame:
    """How far a method's mixture and its score depend on the history that it was given, a ``refit`` each.

    ``apart`` is the mean total variation distance of two mixtures; ``sd_history`` is between mixtures and ``sd_seed``
    between runs of one beyond what all share, from the two-way analysis of variance.
    """
    weights, rows = [c for c in table if c.startswith("w_")], []
    for method, part in table.groupby("method", sort=False):
        scores = part.pivot(index="refit", columns="seed", values=outcome).to_numpy()
        means, (refits, seeds) = scores.mean(axis=1), scores.shape
        left = scores - means[:, None] - scores.mean(axis=0) + scores.mean()
        noise = (left**2).sum() / max((refits - 1) * (seeds - 1), 1)
        history = max(means.var(ddof=1) - noise / seeds, 0)
        apart = pdist(part.drop_duplicates("refit")[weights], "cityblock").mean() / 2
        rows.append((method, refits, seeds, apart, *mean_interval(means), history**0.5, noise**0.5))
    return pd.DataFrame(rows, columns=["method", "refits", "seeds", "apart", *MEAN, "sd_history", "sd_seed"])
