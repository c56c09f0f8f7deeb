"""Which claims the paper makes: where each number stands, and which of a study's tables answers it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.paths import RESULTS
from causalmix.study.trials import join
from causalmix.study.verdicts import Claim, published, reported_gap, split_claim, trial_claim

PUBLISHED = "published/{}.csv"  # of the folder results
TABLES = ("targets", "variants_trained", "longcot", "held_out", "ablations", "assignment", "covariates")  # of a study
IN_WORDS = (np.nan, "claimed in words")
ASKED = (np.nan, "not claimed; asked by its critics")

#: The paper's models and the roles that play them here.
ROLES = {"Qwen2.5-0.5B": "proxy", "Qwen2.5-7B": "target"}

#: Who is reported to beat whom.
RIVALS = (
    ("CausalMix-A", "Equal"),
    ("CausalMix-S", "Equal"),
    ("CausalMix-A", "DMO"),
    ("CausalMix-A", "RegMix"),
    ("CausalMix-A", "DoReMi"),
)

SIZES = (800_000, 400_000, 100_000)  # rows of the paper's pools

#: Parts of the method that are reported to be needed: what the variant is called, and where it was trained.
PARTS = {"X": ("without X", "target"), "Orthogonalisation": ("without orthogonalisation", "ablations")}


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
    targets, variants = (_read(folder, name) for name in ("targets", "variants_trained"))
    whole = _group(targets if targets is None or variants is None else join([targets, variants]), pool="whole")
    claims = [claim for n_samples in SIZES for claim in size_claims(whole, n_samples)]
    claims.append(unseen_claim(_sized(whole, "target", 800_000)[0]))
    claims += shift_claims(targets)
    return claims + longcot_claims(_group(_read(folder, "longcot"))) + estimator_claims(folder)


def size_claims(whole: pd.DataFrame, n_samples: int) -> list[Claim]:
    """Who beats whom on Dev at one of the paper's sizes, and what the method loses without one of its parts.

    Parameters
    ----------
    whole : DataFrame
        Our trials of the whole pool.
    n_samples : int
        One of :data:`SIZES`.
    """
    dev, claims = published("dev").assign(table="dev"), []
    dev = join([dev, published("dev_averages").assign(table="dev_averages")])
    for model, role in ROLES.items():
        reported = dev[(dev["model"] == model) & (dev["n_samples"] == n_samples)]
        tables = dict(zip(reported["method"], reported["table"]))
        trials, where = _sized(whole, role, n_samples)
        for one, other in RIVALS:
            if {one, other} <= set(tables):
                source = f"{PUBLISHED.format(tables[other])}, {model}, {n_samples // 1000}K"
                text = f"{one} beats {other} on Dev ({where})"
                claims.append(
                    trial_claim(text, reported_gap(reported, one, other), source, trials, one, other, "target")
                )
        parts = published("ablation")
        parts = parts[(parts["model"] == model) & (parts["n_samples"] == n_samples)]
        for part, (name, chapter) in PARTS.items() if len(parts) else ():
            text = f"{part} is needed: CausalMix-A beats itself {name} ({where})"
            gap, source = reported_gap(parts, "CausalMix-A", name, label="variant"), PUBLISHED.format("ablation")
            rival = f"CausalMix-A {name}"
            claims.append(trial_claim(text, gap, f"{source}, {model}", trials, "CausalMix-A", rival, chapter))
    return claims


def unseen_claim(trials: pd.DataFrame) -> Claim:
    """Who is ahead on axes which no mixture was chosen by; a claim in the direction that the paper's numbers have."""
    gap = reported_gap(published("unseen"), "CausalMix-A", "Equal")
    one, other = ("CausalMix-A", "Equal") if gap > 0 else ("Equal", "CausalMix-A")
    text = f"{one} beats {other} on Unseen (target model)"
    return trial_claim(text, abs(gap), PUBLISHED.format("unseen"), trials, one, other, "target", "y_unseen")


def shift_claims(targets: pd.DataFrame | None) -> list[Claim]:
    """That a mixture which knows the state wins where the state has shifted, pool by pool."""
    pools = [] if targets is None else [pool for pool in targets["pool"].unique() if pool != "whole"]
    text = "A state-dependent mixture beats one without the state in the shifted pool “{}”"
    pair = ("CausalMix-A", "CausalMix-A without X")
    return [trial_claim(text.format(p), *IN_WORDS, _group(targets, pool=p), *pair, "target") for p in pools]


def longcot_claims(trials: pd.DataFrame) -> list[Claim]:
    """Who is beaten on long chains of thought; which of its policies the paper means is not known, here it is A."""
    table, source = published("longcot"), PUBLISHED.format("longcot")
    claims = []
    for other in ("Equal", "Grid", "RegMix", "DMO"):
        text = f"CausalMix (here A) beats {other} on long chains of thought"
        gap = reported_gap(table, "CausalMix", other)
        claims.append(trial_claim(text, gap, source, trials, "CausalMix-A", other, "longcot"))
    return claims


def estimator_claims(folder: Path) -> list[Claim]:
    """Claims about the estimator, held against held-out runs (chapters 04 and 08).

    Variants that lack the level m0(X) are compared by their R-score, which looks at the returns alone.
    """
    empty = pd.DataFrame({"variant": [], "split": [], "spearman": [], "r_score": []})
    names = ("held_out", "ablations", "assignment", "covariates")
    found = (_read(folder, name) for name in names)
    checks, fits, assigned, subsets = (empty if table is None else table for table in found)
    checks = checks.rename(columns={"predictor": "variant"})
    subsets = subsets.rename(columns={"covariates": "variant"})
    every, rival = _best_subsets(subsets)
    orthogonal, known = "without orthogonalisation", "ablations"
    asked = (
        ("Returns depend on the state: theta(x) predicts held-out runs better than a constant theta", *IN_WORDS,
         checks, "theta(x)", "constant theta", "effects"),
        ("All covariates together predict held-out runs better than the next best subset (Figure 2)", *IN_WORDS,
         subsets, every, rival, known),
        ("X is needed for the returns of held-out runs", *IN_WORDS, fits, "full", "without X", known, "r_score"),
        ("Orthogonalisation helps the returns of held-out runs", *IN_WORDS, fits, "full", orthogonal, known, "r_score"),
        ("Orthogonalisation helps the returns where mixtures followed the state", *ASKED,
         assigned, "confounded", f"confounded, {orthogonal}", known, "r_score"),
        ("The forest knows the returns of held-out runs better than a linear final stage", *ASKED,
         fits, "full", "linear", known, "r_score"),
    )  # fmt: skip
    return [split_claim(*question) for question in asked]


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
    sizes, name = sorted(whole["n_samples"].unique()), {"target": "target model"}.get(role, role)
    places = (
        {len(sizes) - 1: SIZES[0]}
        | ({0: SIZES[2]} if len(sizes) > 1 else {})
        | ({1: SIZES[1]} if len(sizes) == 3 else {})
    )
    for place, paper in places.items():
        if sizes and paper == n_samples:
            return _group(whole, model=role, n_samples=sizes[place]), f"{name}, {sizes[place]:,} rows"
    return whole.iloc[:0], f"{name}, for the paper's {n_samples // 1000}K rows"


def files(folder: Path) -> list[Path]:
    """What the claims are read from: the tables of a study, and the published ones."""
    return [*(Path(folder) / f"{name}.csv" for name in TABLES), *sorted((RESULTS / "published").glob("*.csv"))]


def _read(folder: Path, name: str) -> pd.DataFrame | None:
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
