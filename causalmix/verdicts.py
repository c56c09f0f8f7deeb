"""The paper's claims beside ours: each with its reported number, our interval, and a verdict by rule.

A claim is a difference that the paper reports as positive.  It *holds* here where the interval of
our difference lies above zero, *does not hold* where it lies below, and otherwise we *cannot tell*.
No verdict is typed in anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.errors import InputError
from causalmix.paths import RESULTS
from causalmix.trials import join, mean_interval

WORDS = ("holds", "does not hold", "cannot tell")


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes
    ----------
    text : str
        The claim in words.
    reported : float
        The difference that the paper reports, points; NaN where it reports none.
    source : str
        Where the number stands.
    ours : float
        Our difference, points.
    low, high : float
        Its 95% interval; NaN where there is none.
    chapter : str
        Where ours was measured.
    unit : str
        Of both differences: points of accuracy, or a measure of prediction.
    """

    text: str
    reported: float
    source: str
    ours: float
    low: float
    high: float
    chapter: str
    unit: str = "points"

    @property
    def verdict(self) -> str:
        """In words, by the rule of this module."""
        if not np.isfinite([self.low, self.high]).all():
            return "cannot tell"
        return "holds" if self.low > 0 else "does not hold" if self.high < 0 else "cannot tell"


def published(name: str) -> pd.DataFrame:
    """One of the paper's tables as reported by secondary sources."""
    return pd.read_csv(RESULTS / "published" / f"{name}.csv")


def reported_gap(table: pd.DataFrame, one: str, other: str, column: str = "average", label: str = "method", **where) -> float:
    """Difference of two rows of a published table, points.

    Raises
    ------
    InputError
        When a row is missing.
    """
    for name, value in where.items():
        table = table[table[name] == value]
    values = table.set_index(label)[column]
    if missing := [row for row in (one, other) if row not in values]:
        raise InputError(f"Expected the rows {one} and {other}, found no {missing[0]}; look at results/published.")
    return float(values[one] - values[other])


def trial_claim(text: str, reported: float, source: str, trials: pd.DataFrame, one: str, other: str, chapter: str, outcome: str = "y_dev") -> Claim:
    """A claim that one method beats another, held against trials that share their seeds.

    Parameters
    ----------
    trials : DataFrame
        One group of trials: ``method, seed, <outcome>``.
    one, other : str
        The method that should win, and its rival.
    """
    wide = trials.pivot(index="seed", columns="method", values=outcome) if outcome in trials else pd.DataFrame()
    if missing := [m for m in (one, other) if m not in wide]:
        return Claim(text, reported, source, np.nan, np.nan, np.nan, f"{chapter} ({missing[0]} was not trained)")
    ours, low, high = mean_interval(100 * (wide[one] - wide[other]).dropna())
    return Claim(text, reported, source, ours, low, high, chapter)


def split_claim(text: str, reported: float, source: str, table: pd.DataFrame, one: str, other: str, chapter: str, measure: str = "spearman") -> Claim:
    """A claim that one variant predicts held-out runs better, by the middle 95% of paired differences over splits.

    Parameters
    ----------
    table : DataFrame
        ``variant, split, <measure>``.
    """
    wide = table.pivot_table(index="split", columns="variant", values=measure)
    if missing := [v for v in (one, other) if v not in wide]:
        return Claim(text, reported, source, np.nan, np.nan, np.nan, f"{chapter} ({missing[0]} was not fitted)", measure)
    gap = (wide[one] - wide[other]).dropna()
    # Splits share runs, so a standard error over them would be too small; their own spread is used.
    low, high = np.quantile(gap, [0.025, 0.975])
    return Claim(text, reported, source, float(gap.mean()), float(low), float(high), chapter, measure)


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Claims as a table, verdict last."""
    return pd.DataFrame(
        [
            {
                "claim": c.text,
                "reported": c.reported,
                "reported where": c.source,
                "ours": c.ours,
                "ci_low": c.low,
                "ci_high": c.high,
                "unit": c.unit,
                "measured in": c.chapter,
                "verdict": c.verdict,
            }
            for c in claims
        ]
    )


def verdict_sentence(claims: Sequence[Claim]) -> str:
    """How many claims hold, do not hold, or stay open here."""
    counts = {word: sum(c.verdict == word for c in claims) for word in WORDS}
    return (
        f"Of {len(claims)} claims, {counts['holds']} hold in this world, {counts['does not hold']} do not, and for "
        f"{counts['cannot tell']} the intervals leave it open."
    )


def uneven_rows(table: pd.DataFrame, parts: Sequence[str], average: str = "average", tolerance: float = 0.06) -> pd.DataFrame:
    """Rows of a published table whose average is not that of its parts, within rounding."""
    recomputed = table[list(parts)].mean(axis=1)
    off = (recomputed - table[average]).abs() > tolerance
    return table[off].assign(recomputed=recomputed[off].round(2))


def read_study_table(folder: Path, name: str) -> pd.DataFrame | None:
    """A table that an earlier chapter wrote, or None where that chapter was not run."""
    path = Path(folder) / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else None


def _group(trials: pd.DataFrame | None, **where) -> pd.DataFrame:
    """The trials of one group; an empty table where they are not recorded."""
    if trials is None:
        return pd.DataFrame(columns=["method", "pool", "model", "n_samples", "seed", "y_dev", "y_unseen"])
    for name, value in where.items():
        trials = trials[trials[name] == value]
    return trials


def paper_claims(folder: Path) -> list[Claim]:
    """The paper's claims with its reported numbers, held against the tables of a study.

    Parameters
    ----------
    folder : Path
        The study's tables; what a chapter has not written yet gives a claim without our number.

    Returns
    -------
    list of Claim
    """
    dev, averages, ablation, longcot = (published(name) for name in ("dev", "dev_averages", "ablation", "longcot"))
    unseen = published("unseen")
    targets = read_study_table(folder, "targets")
    variants = read_study_table(folder, "variants_trained")
    whole = _group(targets if targets is None or variants is None else join([targets, variants]), pool="whole")
    largest = whole["n_samples"].max() if len(whole) else 0
    groups = {"Qwen2.5-0.5B": _group(whole, model="proxy", n_samples=largest), "Qwen2.5-7B": _group(whole, model="target", n_samples=largest)}
    claims = []
    for model, trials in groups.items():
        role = f"{'proxy' if model.endswith('0.5B') else 'target model'}, {largest:,} rows"
        where = f"results/published/dev.csv, {model}, 800K"
        rows = dev[dev["model"] == model]
        for one, other in (("CausalMix-A", "Equal"), ("CausalMix-S", "Equal"), ("CausalMix-A", "DMO"), ("CausalMix-A", "RegMix"), ("CausalMix-A", "DoReMi")):
            if {one, other} <= set(rows["method"]):
                claims.append(trial_claim(f"{one} beats {other} on Dev ({role})", reported_gap(rows, one, other), where, trials, one, other, "06_target"))
        for text, part, chapter in (("X is", "without X", "06_target"), ("Orthogonalisation is", "without orthogonalisation", "08_ablations")):
            gap = reported_gap(ablation[ablation["model"] == model], "CausalMix-A", part, label="variant")
            claims.append(trial_claim(f"{text} needed: CausalMix-A beats itself {part} ({role})", gap, f"results/published/ablation.csv, {model}",
                                      trials, "CausalMix-A", f"CausalMix-A {part}", chapter))  # fmt: skip
    claims.append(trial_claim("CausalMix-A beats Equal on Unseen (target model)", reported_gap(unseen, "CausalMix-A", "Equal"),
                              "results/published/unseen.csv", groups["Qwen2.5-7B"], "CausalMix-A", "Equal", "06_target", "y_unseen"))  # fmt: skip
    small = whole["n_samples"].min() if len(whole) else 0
    claims.append(trial_claim(f"CausalMix-A beats DoReMi on Dev (proxy, {small:,} rows; smallest size)",
                              reported_gap(averages[averages["n_samples"] == 100_000], "CausalMix-A", "DoReMi"), "results/published/dev_averages.csv",
                              _group(whole, model="proxy", n_samples=small), "CausalMix-A", "DoReMi", "06_target"))  # fmt: skip
    for pool in [] if targets is None else [p for p in targets["pool"].unique() if p != "whole"]:
        claims.append(trial_claim(f"A state-dependent mixture beats one without the state in the shifted pool “{pool}”", np.nan, "claimed in words",
                                  _group(targets, pool=pool), "CausalMix-A", "CausalMix-A without X", "06_target"))  # fmt: skip
    long_trials = _group(read_study_table(folder, "longcot"))
    claims += [
        trial_claim(f"CausalMix beats {other} on long chains of thought", reported_gap(longcot, "CausalMix", other), "results/published/longcot.csv",
                    long_trials, "CausalMix-A", other, "07_longcot")
        for other in ("Equal", "Grid", "RegMix", "DMO")
    ]  # fmt: skip
    return claims + estimator_claims(folder)


def estimator_claims(folder: Path) -> list[Claim]:
    """Claims about the estimator, held against held-out runs (chapters 04 and 08)."""
    held_out = read_study_table(folder, "held_out")
    ablations = read_study_table(folder, "ablations")
    empty = pd.DataFrame({"variant": [], "split": [], "spearman": [], "r_score": []})
    checks = empty if held_out is None else held_out.rename(columns={"predictor": "variant"})
    claims = [
        split_claim("Returns depend on the state: theta(x) predicts held-out runs better than a constant theta", np.nan, "claimed in words",
                    checks, "theta(x)", "constant theta", "04_effects")
    ]  # fmt: skip
    fits = empty if ablations is None else ablations
    assigned = read_study_table(folder, "assignment")
    followed = split_claim("Orthogonalisation helps where mixtures followed the state (returns, R-score)", np.nan, "claimed in words",
                           empty if assigned is None else assigned, "confounded", "confounded, without orthogonalisation", "08_ablations",
                           "r_score")  # fmt: skip
    pairs = {
        "X is needed to predict held-out runs": ("full", "without X"),
        "Orthogonalisation helps to predict held-out runs": ("full", "without orthogonalisation"),
        "The forest predicts held-out runs better than a linear final stage": ("full", "linear"),
    }
    return [*claims, followed] + [split_claim(text, np.nan, "claimed in words", fits, one, other, "08_ablations") for text, (one, other) in pairs.items()]


def uneven_sentence(rows: pd.DataFrame) -> str:
    """Which published averages are not those of their parts."""
    if rows.empty:
        return "Every reported average is that of its parts."
    told = [f"{r.method} ({r.model}, {r.n_samples:,} rows): reported {r.average:.2f}, its axes average {r.recomputed:.2f}" for r in rows.itertuples()]
    return "Reported averages that are not those of their axes: " + "; ".join(told) + "."
