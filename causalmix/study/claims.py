"""Claims of the paper beside ours: each reported number, our interval, and a verdict that follows from it.

A claim is a difference that the paper reports as positive.  It *holds* here where our difference is above zero and
its p-value, adjusted for the family of claims that it belongs to, is below 0.05; it *does not hold* where the
difference is below zero and the p-value likewise; and otherwise we *cannot tell*.  A family is one question that is
asked several times, of other rivals, sizes, models or pools: its claims share trials, and some are nearly one fact.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.intervals import (
    adjusted_verdict,
    held_out_ratio,
    holm,
    mean_interval,
    mean_p,
    split_interval,
    split_p,
)
from causalmix.core.paths import RESULTS

WORDS = {"better": "holds", "worse": "does not hold", "open": "cannot tell"}
PUBLISHED = "published/{}.csv"  # of the folder results
TABLES = ("targets", "variants_trained", "longcot", "held_out", "ablations", "assignment", "covariates")  # of a study
IN_WORDS = (np.nan, "claimed in words")
ASKED = (np.nan, "not claimed; asked by its critics")

#: Questions that claims answer; those of one are adjusted for each other.
FAMILIES = DEV, NEEDED, UNSEEN, SHIFTED, CHAINS, PREDICTED = (
    "Which mixture is best on Dev?", "Are all parts needed?", "Which is best on unseen tasks?",
    "Which is best where the state has shifted?", "Which is best on long chains of thought?",
    "What predicts held-out runs?",
)  # fmt: skip

#: The paper's models and the roles that play them here.
ROLES = {"Qwen2.5-0.5B": "proxy", "Qwen2.5-7B": "target"}

#: Who is reported to beat whom.
RIVALS = [("CausalMix-A", "Equal"), ("CausalMix-S", "Equal")]
RIVALS += [("CausalMix-A", other) for other in ("DMO", "RegMix", "DoReMi")]

SIZES = (800_000, 400_000, 100_000)  # rows of the paper's pools

#: Parts of the method that are reported to be needed: what the variant is called, and the subject that trained it.
PARTS = {"X": ("without X", "target"), "Orthogonalisation": ("without orthogonalisation", "ablations")}


def paired_claim(
    text: str, reported: float, source: str, table: pd.DataFrame, one: str, other: str, where: str, family: str,
    measure: str = "y_dev",
) -> dict[str, object]:  # fmt: skip
    """That one beats the other: methods by trials that share their seeds, variants by splits of the held-out runs.

    A row of the table of claims without its verdict, which takes the other claims of its family; see :func:`judged`.
    """
    trained = measure.startswith("y_")
    index, columns, tried = ("seed", "method", "trained") if trained else ("split", "variant", "fitted")
    wide, ours, unit = pd.DataFrame(), (np.nan,) * 4, "points" if trained else measure
    if len(table) and measure in table:
        wide = table.pivot_table(index=index, columns=columns, values=measure)
    if missing := [name for name in (one, other) if name not in wide]:
        where = f"{where} ({missing[0]} was not {tried})"
    else:
        gaps = (wide[one] - wide[other]).dropna()
        ratio, gaps = (0.0, 100 * gaps) if trained else (held_out_ratio(table), gaps)
        interval, p = (mean_interval, mean_p) if trained else (split_interval, split_p)
        ours = *interval(gaps, ratio=ratio), p(gaps, ratio)
    numbers = {"reported": reported} | dict(zip(("ours", "ci_low", "ci_high", "p"), ours)) | {"unit": unit}
    return {"claim": text, "family": family} | numbers | {"measured in": where, "reported where": source}


def judged(claims: list[dict]) -> pd.DataFrame:
    """The table of claims: to each its p-value adjusted within its family (Holm), ``p_holm``, and the ``verdict``."""
    table = pd.DataFrame(claims)
    adjusted = table.groupby("family")["p"].transform(holm)
    words = [WORDS[adjusted_verdict(*row)] for row in zip(table["ours"], adjusted)]
    place = table.columns.get_loc("p") + 1
    table.insert(place, "p_holm", adjusted)
    table.insert(place + 2, "verdict", words)
    return table


def by_family(table: pd.DataFrame) -> pd.DataFrame:
    """How many claims each family has, how many of them were tried, and how many have each verdict."""
    tried = table.assign(tried=table["p"].notna())
    found = tried.groupby("family", sort=False)["tried"].agg(["size", "sum"]).set_axis(["claims", "tried"], axis=1)
    for word in WORDS.values():
        found[word] = (tried["verdict"] == word).groupby(tried["family"]).sum()
    return found.reset_index()


def published(name: str) -> pd.DataFrame:
    """One of the paper's tables as reported by secondary sources."""
    return pd.read_csv(RESULTS / "published" / f"{name}.csv")


def reported_gap(table: pd.DataFrame, one: str, other: str, label: str = "method") -> float:
    """Difference of two averages of a published table, points; refuses where a row is missing."""
    values = table.set_index(label)["average"]
    if missing := [row for row in (one, other) if row not in values]:
        raise InputError(f"Expected the rows {one} and {other}, found no {missing[0]}; look at results/published.")
    return float(values[one] - values[other])


def uneven_rows(table: pd.DataFrame, parts: list[str], tolerance: float = 0.06) -> pd.DataFrame:
    """Rows of a published table whose average is not that of its parts (``recomputed``), within rounding."""
    recomputed = table[parts].mean(axis=1)
    off = (recomputed - table["average"]).abs() > tolerance
    return table[off].assign(recomputed=recomputed[off].round(2))


def paper_claims(folder: Path) -> pd.DataFrame:
    """The paper's claims with its reported numbers, held against the tables of a study in a folder.

    ``claim, family, reported, ours, ci_low, ci_high, p, p_holm, unit, verdict, measured in, reported where``: where it
    was measured is the subject of a notebook, with the reason if there is no number, as where a table is not there.
    The interval is of this claim alone; ``p_holm``, and with it the verdict, is adjusted for the claims of its family.
    """
    targets, variants = (_read(folder, name) for name in ("targets", "variants_trained"))
    both = targets if targets is None or variants is None else pd.concat([targets, variants], ignore_index=True)
    whole = _group(both, pool="whole")
    claims = [row for n_samples in SIZES for row in _of_size(whole, n_samples)]
    claims.append(_unseen(_sized(whole, "target", 800_000)[0]))
    claims += _shifts(targets) + _long_chains(_group(_read(folder, "longcot"))) + estimator_claims(folder)
    return judged(claims)


def _of_size(whole: pd.DataFrame, n_samples: int) -> list[dict]:
    """Who beats whom on Dev at one of the paper's sizes, and what the method loses without one of its parts."""
    tables = [published(name).assign(table=name) for name in ("dev", "dev_averages")]
    dev, ablation, claims = pd.concat(tables, ignore_index=True), published("ablation"), []
    for model, role in ROLES.items():
        reported = dev[(dev["model"] == model) & (dev["n_samples"] == n_samples)]
        stands = dict(zip(reported["method"], reported["table"]))
        trials, where = _sized(whole, role, n_samples)
        for one, other in RIVALS:
            if {one, other} <= set(stands):
                source = f"{PUBLISHED.format(stands[other])}, {model}, {n_samples // 1000}K"
                gap = reported_gap(reported, one, other)
                claims.append(
                    paired_claim(
                        f"{one} beats {other} on Dev ({where})", gap, source, trials, one, other, "target", DEV
                    )
                )
        parts = ablation[(ablation["model"] == model) & (ablation["n_samples"] == n_samples)]
        for part, (name, subject) in PARTS.items() if len(parts) else ():
            text = f"{part} is needed: CausalMix-A beats itself {name} ({where})"
            gap, source = reported_gap(parts, "CausalMix-A", name, label="variant"), PUBLISHED.format("ablation")
            pair = ("CausalMix-A", f"CausalMix-A {name}")
            claims.append(paired_claim(text, gap, f"{source}, {model}", trials, *pair, subject, NEEDED))
    return claims


def _unseen(trials: pd.DataFrame) -> dict:
    """Who is ahead on axes which no mixture was chosen by; a claim in the direction that the paper's numbers have."""
    gap = reported_gap(published("unseen"), "CausalMix-A", "Equal")
    one, other = ("CausalMix-A", "Equal") if gap > 0 else ("Equal", "CausalMix-A")
    text = f"{one} beats {other} on Unseen (target model)"
    return paired_claim(text, abs(gap), PUBLISHED.format("unseen"), trials, one, other, "target", UNSEEN, "y_unseen")


def _shifts(targets: pd.DataFrame | None) -> list[dict]:
    """That a mixture which knows the state wins where the state has shifted, pool by pool and size by size."""
    moved = _group(targets).query("pool != 'whole'")
    text = "A state-dependent mixture beats one without the state in the shifted pool “{}” ({:,} rows)"
    pair = ("CausalMix-A", "CausalMix-A without X")
    return [
        paired_claim(text.format(*where), *IN_WORDS, trials, *pair, "target", SHIFTED)
        for where, trials in moved.groupby(["pool", "n_samples"], sort=False)
    ]


def _long_chains(trials: pd.DataFrame) -> list[dict]:
    """Who is beaten on long chains of thought; which of its policies the paper means is not known, here it is A."""
    table, source, text = published("longcot"), PUBLISHED.format("longcot"), "CausalMix (here A) beats {} on {}"
    return [
        paired_claim(text.format(other, "long chains of thought"), reported_gap(table, "CausalMix", other), source,
                    trials, "CausalMix-A", other, "longcot", CHAINS)
        for other in ("Equal", "Grid", "RegMix", "DMO")
    ]  # fmt: skip


def estimator_claims(folder: Path) -> list[dict]:
    """Claims about the estimator, held against held-out runs, for :func:`judged`.

    Variants that lack the level m0(X) are compared by their R-score, which looks at the returns alone.
    """
    empty = pd.DataFrame({"variant": [], "split": [], "spearman": [], "r_score": []})
    found = (_read(folder, name) for name in ("held_out", "ablations", "assignment", "covariates"))
    checks, fits, assigned, subsets = (empty if table is None else table for table in found)
    checks, subsets = checks.rename(columns={"predictor": "variant"}), subsets.rename(columns={"covariates": "variant"})
    every, rival = _best_subsets(subsets)
    orthogonal, known = "without orthogonalisation", "ablations"
    asked = (
        ("Returns depend on the state: theta(x) predicts held-out runs better than a constant theta", *IN_WORDS,
         checks, "theta(x)", "constant theta", "effects", "spearman"),
        ("All covariates together predict held-out runs better than the next best subset (Figure 2)", *IN_WORDS,
         subsets, every, rival, known, "spearman"),
        ("X is needed for the returns of held-out runs", *IN_WORDS, fits, "full", "without X", known, "r_score"),
        ("Orthogonalisation helps the returns of held-out runs", *IN_WORDS, fits, "full", orthogonal, known, "r_score"),
        ("Orthogonalisation helps the returns where mixtures followed the state", *ASKED,
         assigned, "confounded", f"confounded, {orthogonal}", known, "r_score"),
        ("The forest knows the returns of held-out runs better than a linear final stage", *ASKED,
         fits, "full", "linear", known, "r_score"),
    )  # fmt: skip
    return [paired_claim(*question, PREDICTED, measure) for *question, measure in asked]


def _best_subsets(subsets: pd.DataFrame) -> tuple[str, str]:
    """All covariates, and the best subset of the others by mean Spearman; "none" where there is no such."""
    means = subsets.groupby("variant", sort=False)["spearman"].mean()
    every = max(means.index, key=lambda name: len(name.split(" + ")), default="none")
    others = means.drop(every, errors="ignore")
    return every, others.idxmax() if len(others) else "none"


def _sized(whole: pd.DataFrame, role: str, n_samples: int) -> tuple[pd.DataFrame, str]:
    """Our trials that stand for a role at one of the paper's sizes, and what they are called.

    The largest and the smallest size stand for the paper's, and one between them for the middle.
    """
    sizes, name = sorted(whole["n_samples"].unique()), "target model" if role == "target" else role
    ours = {SIZES[2]: sizes[0], SIZES[0]: sizes[-1]} if len(sizes) > 1 else {SIZES[0]: size for size in sizes}
    ours |= {SIZES[1]: sizes[1]} if len(sizes) == 3 else {}
    if n_samples in ours:
        return _group(whole, model=role, n_samples=ours[n_samples]), f"{name}, {ours[n_samples]:,} rows"
    return whole.iloc[:0], f"{name}, for the paper's {n_samples // 1000}K rows"


def files(folder: Path) -> list[Path]:
    """What the claims are read from: the tables of a study, and the published ones."""
    return [*(Path(folder) / f"{name}.csv" for name in TABLES), *sorted((RESULTS / "published").glob("*.csv"))]


def _read(folder: Path, name: str) -> pd.DataFrame | None:
    """A table of a study, or None where nothing has written it."""
    path = Path(folder) / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else None


def _group(trials: pd.DataFrame | None, **where) -> pd.DataFrame:
    """The trials of one group; an empty table where they are not recorded."""
    if trials is None:
        return pd.DataFrame(columns=["method", "pool", "model", "n_samples", "seed", "y_dev", "y_unseen"])
    for name, value in where.items():
        trials = trials[trials[name] == value]
    return trials
