"""Which claims the paper makes: where each number stands, and which of a study's tables answers it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.paths import RESULTS
from causalmix.trials import join
from causalmix.verdicts import Claim, published, reported_gap, split_claim, trial_claim

PUBLISHED = "published/{}.csv"  # of the folder results
TABLES = ("targets", "variants_trained", "longcot", "held_out", "ablations", "assignment")  # of a study
IN_WORDS = (np.nan, "claimed in words")
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
#: Parts of the method that are reported to be needed: what the variant is called, and where it was trained.
PARTS = {"X": ("without X", "06_target"), "Orthogonalisation": ("without orthogonalisation", "08_ablations")}


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
    sizes = whole["n_samples"] if len(whole) else pd.Series([0])
    largest = {model: _group(whole, model=role, n_samples=sizes.max()) for model, role in ROLES.items()}
    claims = [claim for model, trials in largest.items() for claim in model_claims(model, trials, sizes.max())]
    claims.append(unseen_claim(largest["Qwen2.5-7B"]))
    claims.append(smallest_claim(_group(whole, model="proxy", n_samples=sizes.min()), sizes.min()))
    claims += shift_claims(targets)
    return claims + longcot_claims(_group(_read(folder, "longcot"))) + estimator_claims(folder)


def model_claims(model: str, trials: pd.DataFrame, n_samples: int) -> list[Claim]:
    """Who beats whom on Dev with one of the paper's models, and what the method loses without one of its parts."""
    dev, ablation = (table[table["model"] == model] for table in (published("dev"), published("ablation")))
    role = f"{ROLES[model].replace('target', 'target model')}, {n_samples:,} rows"
    claims = []
    for one, other in RIVALS:
        if {one, other} <= set(dev["method"]):
            reported = (reported_gap(dev, one, other), f"{PUBLISHED.format('dev')}, {model}, 800K")
            claims.append(
                trial_claim(f"{one} beats {other} on Dev ({role})", *reported, trials, one, other, "06_target")
            )
    for part, (name, chapter) in PARTS.items():
        reported = (
            reported_gap(ablation, "CausalMix-A", name, label="variant"),
            f"{PUBLISHED.format('ablation')}, {model}",
        )
        text = f"{part} is needed: CausalMix-A beats itself {name} ({role})"
        claims.append(trial_claim(text, *reported, trials, "CausalMix-A", f"CausalMix-A {name}", chapter))
    return claims


def unseen_claim(trials: pd.DataFrame) -> Claim:
    """Who is ahead on axes which no mixture was chosen by; a claim in the direction that the paper's numbers have."""
    gap = reported_gap(published("unseen"), "CausalMix-A", "Equal")
    one, other = ("CausalMix-A", "Equal") if gap > 0 else ("Equal", "CausalMix-A")
    text = f"{one} beats {other} on Unseen (target model)"
    return trial_claim(text, abs(gap), PUBLISHED.format("unseen"), trials, one, other, "06_target", "y_unseen")


def smallest_claim(trials: pd.DataFrame, n_samples: int) -> Claim:
    """The smallest size that the paper reports."""
    pair, averages = ("CausalMix-A", "DoReMi"), published("dev_averages")
    reported = (reported_gap(averages[averages["n_samples"] == 100_000], *pair), PUBLISHED.format("dev_averages"))
    text = f"CausalMix-A beats DoReMi on Dev (proxy, {n_samples:,} rows; smallest size)"
    return trial_claim(text, *reported, trials, *pair, "06_target")


def shift_claims(targets: pd.DataFrame | None) -> list[Claim]:
    """That a mixture which knows the state wins where the state has shifted, pool by pool."""
    pools = [] if targets is None else [pool for pool in targets["pool"].unique() if pool != "whole"]
    text = "A state-dependent mixture beats one without the state in the shifted pool “{}”"
    pair = ("CausalMix-A", "CausalMix-A without X")
    return [trial_claim(text.format(p), *IN_WORDS, _group(targets, pool=p), *pair, "06_target") for p in pools]


def longcot_claims(trials: pd.DataFrame) -> list[Claim]:
    """Who is beaten on long chains of thought."""
    table, source = published("longcot"), PUBLISHED.format("longcot")
    text = "CausalMix beats {} on long chains of thought"
    return [
        trial_claim(
            text.format(other),
            reported_gap(table, "CausalMix", other),
            source,
            trials,
            "CausalMix-A",
            other,
            "07_longcot",
        )
        for other in ("Equal", "Grid", "RegMix", "DMO")
    ]


def estimator_claims(folder: Path) -> list[Claim]:
    """Claims about the estimator, held against held-out runs (chapters 04 and 08)."""
    empty = pd.DataFrame({"variant": [], "split": [], "spearman": [], "r_score": []})
    checks, fits, assigned = (_read(folder, name) for name in ("held_out", "ablations", "assignment"))
    checks = empty if checks is None else checks.rename(columns={"predictor": "variant"})
    fits, assigned = (empty if table is None else table for table in (fits, assigned))
    asked = (
        ("Returns depend on the state: theta(x) predicts held-out runs better than a constant theta",
         checks, "theta(x)", "constant theta", "04_effects"),
        ("Orthogonalisation helps where mixtures followed the state (returns, R-score)",
         assigned, "confounded", "confounded, without orthogonalisation", "08_ablations", "r_score"),
        ("X is needed to predict held-out runs", fits, "full", "without X", "08_ablations"),
        ("Orthogonalisation helps to predict held-out runs", fits, "full", "without orthogonalisation", "08_ablations"),
        ("The forest predicts held-out runs better than a linear final stage", fits, "full", "linear", "08_ablations"),
    )  # fmt: skip
    return [split_claim(text, *IN_WORDS, *where) for text, *where in asked]


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
