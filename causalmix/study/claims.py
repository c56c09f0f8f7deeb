"""Claims of the paper and questions of its critics beside ours: reported numbers, our intervals, and verdicts by rule.

A claim is a difference that is said to be positive.  It *holds* here where our difference is above zero and its
p-value, adjusted for the family of claims that it belongs to, is below 0.05; it *does not hold* where the difference is
below zero and the p-value likewise; otherwise we *cannot tell*; and what no run was made for is *not tried*.  A claim
about several rivals, regions or domains is one claim, as strong as its hardest part.  A family is one question that is
asked several times, of other sizes, models or pools: its claims share trials, and some are nearly one fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from causalmix.core import direction
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
from causalmix.methods.ask import CAUTIOUS, NEAR, OURS, WITH_SCALE, WITHOUT_X
from causalmix.methods.baselines import dmo
from causalmix.methods.variants import WITHOUT_ORTHOGONALISATION
from causalmix.study.questions import NOT_TRIED, grown, paired
from causalmix.study.trials import GROUP, REFERENCE, name_of

WORDS = {"better": "holds", "worse": "does not hold", "open": "cannot tell", NOT_TRIED: NOT_TRIED}
PUBLISHED = "published/{}.csv"  # of the folder results
REGIONS = "regions.csv"  # returns where Figure 3 speaks of them
TABLES = ("targets", "methods", "variants_trained", "longcot", "held_out", "ablations", "assignment", "covariates")
IN_WORDS = (np.nan, "claimed in words")
ASKED = (np.nan, "asked by its critics")
PAPER, CRITICS = "the paper", "its critics"  # who says so

#: Questions that claims answer; those of one are adjusted for each other. The first are the paper's.
FAMILIES = DEV, DEV_NEAR, NEEDED, UNSEEN, SHIFTED, CHAINS, CHAINS_NEAR, PREDICTED, WHERE = (
    "Which mixture is best on Dev?", "Which is best on Dev, near Equal?", "Are all parts needed?",
    "Which is best on unseen tasks?", "Which is best where the state has shifted?",
    "Which is best on long chains of thought?", "Which is best on long chains of thought, near Equal?",
    "What predicts held-out runs?", "Where does a domain help? (Figure 3)",
)  # fmt: skip
CRITICAL = SCALED, STRONGER, FLATTERED, ESTIMATOR = (
    "Does a mixture have to know the scale?", "Could the baselines be stronger?", "Do promises flatter?",
    "Is the estimator more than is needed?",
)  # fmt: skip

#: The paper's models and the roles that play them here.
ROLES = {"Qwen2.5-0.5B": "proxy", "Qwen2.5-7B": "target"}

#: Our forms of each policy that the paper reports: as it is, and near Equal; the form of its trust region is unknown.
FORMS = {name: ((name, DEV), (near, DEV_NEAR)) for name, near in zip(OURS, NEAR)}

SIZES = (800_000, 400_000, 100_000)  # rows of the paper's pools

#: Parts of the method that are reported to be needed: what the variant is called, and the subject that trained it.
PARTS = {"X": (WITHOUT_X, "target"), "Orthogonalisation": (WITHOUT_ORTHOGONALISATION, "ablations")}

#: The paper's reading of its tree of effects (Figure 3): the claim, the region, the domains, and the sign of returns.
LEAVES = "leaf: "
FIGURE_3 = (
    ("Instruction data help in every region", LEAVES, ("instruction",), 1),
    ("Knowledge data hurt where loss and complexity are high", "loss and HES high", ("knowledge",), -1),
    ("Math, coding and safety data hurt where style and complexity are low", "style and HES low",
     ("math", "coding", "safety"), -1),
    ("Math, coding and safety data help together in the middle range", "style and HES in the middle",
     ("math", "coding", "safety"), 1),
)  # fmt: skip
THIRDS = {
    "loss and HES high": {"normalized_loss": "high", "hes": "high"},
    "style and HES low": {"writing_style": "low", "hes": "low"},
    "style and HES in the middle": {"writing_style": "middle", "hes": "middle"},
}


class Part(NamedTuple):
    """One part of a claim: its name, our difference with its own 95% interval, and its p-value."""

    name: str
    ours: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan


def hardest(parts: Sequence[Part]) -> Part:
    """The part by which a claim of several stands or falls, with the p-value of the whole claim.

    Where all parts are above zero the claim is as sure as the least sure of them, and needs no adjustment for their
    number; where one is below, the lowest refutes the claim, at its p-value times their number (Bonferroni).
    """
    if any(part.ours < 0 for part in parts):
        lowest = min(parts, key=lambda part: part.ours)
        return lowest._replace(p=min(1.0, len(parts) * lowest.p))
    return max(parts, key=lambda part: (np.isnan(part.p), part.p))


def row_of(
    text: str, family: str, who: str, parts: Sequence[Part], lacking: Sequence[str], reported: float, source: str,
    where: str, unit: str = "points",
) -> dict[str, object]:  # fmt: skip
    """A row of the table of claims without its verdict, which takes the other claims of its family; see :func:`judged`.

    ``lacking`` names the parts that were not tried: without them a claim can fail, and cannot hold.
    """
    found = hardest(parts) if parts else Part("")
    if lacking:
        where = f"{where} ({', '.join(lacking)} not tried)"
        found = found._replace(p=found.p if found.ours < 0 else np.nan)
    numbers = {"reported": reported, "ours": found.ours, "ci_low": found.low, "ci_high": found.high, "p": found.p}
    told = {"unit": unit, "hardest part": found.name if len(parts) + len(lacking) > 1 else ""}
    return {"claim": text, "asked by": who, "family": family} | numbers | told | {
        "measured in": where, "reported where": source}  # fmt: skip


def beats(
    text: str, trials: pd.DataFrame, one: str, others: dict[str, float], source: str, where: str, family: str,
    who: str = PAPER, measure: str = "y_dev",
) -> dict[str, object]:  # fmt: skip
    """The claim that a method beats others, of which ``others`` has the reported gaps, in points (NaN: in words).

    Differences are of trials of one group, paired by seed.
    """
    gaps = {name: paired(trials, one, name, measure) * 100 if measure in trials else () for name in others}
    parts = [Part(name, *mean_interval(gap), mean_p(gap)) for name, gap in gaps.items() if len(gap)]
    lacking = [name for name, gap in gaps.items() if not len(gap)]
    known = len(trials) and one in set(trials["method"])
    reported = min(others.values())
    return row_of(text, family, who, parts, lacking if known else [one], reported, source, where)


def predicts(
    text: str, table: pd.DataFrame | None, one: str, other: str, source: tuple, where: str, family: str, who: str,
    measure: str,
) -> dict[str, object]:  # fmt: skip
    """The claim that one way to estimate predicts held-out runs better than another, paired by splits."""
    wide = pd.DataFrame() if table is None or measure not in table else table.pivot_table(
        index="split", columns="variant", values=measure)  # fmt: skip
    lacking, parts = [name for name in (one, other) if name not in wide], []
    if not lacking:
        gaps, ratio = (wide[one] - wide[other]).dropna(), held_out_ratio(table)
        parts = [Part("", *split_interval(gaps, ratio), split_p(gaps, ratio))]
    return row_of(text, family, who, parts, lacking, *source, where, measure)


def judged(claims: list[dict]) -> pd.DataFrame:
    """The table of claims: to each its p-value adjusted within its family (Holm), ``p_holm``, and the ``verdict``."""
    table = pd.DataFrame(claims)
    adjusted = table.groupby("family")["p"].transform(holm)
    told = zip(table["ours"], adjusted)
    words = [NOT_TRIED if np.isnan(ours) else WORDS[adjusted_verdict(ours, p)] for ours, p in told]
    place = table.columns.get_loc("p") + 1
    table.insert(place, "p_holm", adjusted)
    table.insert(place + 1, "verdict", words)
    return table


def by_family(table: pd.DataFrame) -> pd.DataFrame:
    """How many claims each family has, and how many of them have each verdict."""
    groups = table.groupby("family", sort=False)["verdict"]
    found = groups.agg(claims="size")
    for word in WORDS.values():
        found[word] = groups.apply(lambda told, word=word: int((told == word).sum()))
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
    """Claims of the paper and of its critics, held against the tables of a study in a folder.

    ``claim, asked by, family, reported, ours, ci_low, ci_high, p, p_holm, verdict, unit, hardest part, measured in,
    reported where``: where it was measured is the subject of a notebook, with what was not tried.  The interval is of
    our number alone; ``p_holm``, and with it the verdict, is adjusted for the claims of its family.
    """
    targets, variants = (_read(folder, name) for name in ("targets", "variants_trained"))
    lower = _dev_is_a_loss(folder)
    targets, variants = (t if t is None else direction.upward(t, "y_dev", lower) for t in (targets, variants))
    both = targets if targets is None or variants is None else pd.concat([targets, variants], ignore_index=True)
    whole = _group(both, pool="whole")
    claims = [row for n_samples in SIZES for row in _of_size(whole, n_samples)]
    claims += _unseen(_sized(whole, "target", 800_000)[0])
    claims += _shifts(targets) + long_chains(_group(_read(folder, "longcot")))
    claims += estimator_claims(folder) + region_claims(_read(folder, REGIONS.removesuffix(".csv")))
    claims += _scaled(whole) + _stronger(whole) + _flattered(whole, _read(folder, "methods"))
    return judged(claims)


def _of_size(whole: pd.DataFrame, n_samples: int) -> list[dict]:
    """Who beats all others on Dev at one of the paper's sizes, and what the method loses without one of its parts."""
    tables = [published(name).assign(table=name) for name in ("dev", "dev_averages")]
    dev, ablation, claims = pd.concat(tables, ignore_index=True), published("ablation"), []
    for model, role in ROLES.items():
        reported = dev[(dev["model"] == model) & (dev["n_samples"] == n_samples)]
        trials, where = _sized(whole, role, n_samples)
        rivals = [name for name in reported["method"] if name not in OURS]
        tables_of = " and ".join(PUBLISHED.format(name) for name in reported["table"].unique())
        source = f"{tables_of}, {model}, {n_samples // 1000}K"
        for policy in (name for name in OURS if name in set(reported["method"])):
            gaps = {rival: reported_gap(reported, policy, rival) for rival in rivals}
            for form, family in FORMS[policy]:
                text = f"{form} beats {_listed(rivals)} on Dev ({where})"
                claims.append(beats(text, trials, form, gaps, source, "target", family))
        parts = ablation[(ablation["model"] == model) & (ablation["n_samples"] == n_samples)]
        for part, (name, subject) in PARTS.items() if len(parts) else ():
            text = f"{part} is needed: CausalMix-A beats itself {name.removeprefix('CausalMix-A ')} ({where})"
            gap = reported_gap(parts, "CausalMix-A", name.removeprefix("CausalMix-A "), label="variant")
            where_from = f"{PUBLISHED.format('ablation')}, {model}"
            claims.append(beats(text, trials, "CausalMix-A", {name: gap}, where_from, subject, NEEDED))
    return claims


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _unseen(trials: pd.DataFrame) -> list[dict]:
    """Who is ahead on axes which no mixture was chosen by; claims in the direction that the paper's numbers have."""
    gap, claims = reported_gap(published("unseen"), "CausalMix-A", REFERENCE), []
    for form, _ in FORMS["CausalMix-A"]:
        one, other = (form, REFERENCE) if gap > 0 else (REFERENCE, form)
        text, numbers = f"{one} beats {other} on Unseen (target model)", {other: abs(gap)}
        where = PUBLISHED.format("unseen"), "target", UNSEEN, PAPER, "y_unseen"
        claims.append(beats(text, trials, one, numbers, *where))
    return claims


def _shifts(targets: pd.DataFrame | None) -> list[dict]:
    """That a mixture which knows the state wins where the state has shifted, pool by pool and size by size."""
    moved = _group(targets).query("pool != 'whole'")
    text = "A state-dependent mixture beats one without the state in the shifted pool “{}” ({:,} rows)"
    known = moved.groupby(["pool", "n_samples"], sort=False)
    if not len(moved):
        known = [(("…", 0), moved)]
        text = "A state-dependent mixture beats one without the state in shifted pools"
    return [
        beats(text.format(*where), trials, "CausalMix-A", {WITHOUT_X: np.nan}, IN_WORDS[1], "target", SHIFTED)
        for where, trials in known
    ]


def long_chains(trials: pd.DataFrame) -> list[dict]:
    """Who is beaten on long chains of thought; which of its policies the paper means is unknown, so each is asked."""
    table, rivals = published("longcot"), ("Equal", "Grid", "RegMix", "DMO")
    gaps = {other: reported_gap(table, "CausalMix", other) for other in rivals}
    return [
        beats(f"CausalMix (here {form}) beats {_listed(rivals)} on long chains of thought", trials, form, gaps,
              PUBLISHED.format("longcot"), "longcot", CHAINS if family == DEV else CHAINS_NEAR)
        for forms in FORMS.values() for form, family in forms
    ]  # fmt: skip


def region_claims(regions: pd.DataFrame | None) -> list[dict]:
    """What the paper reads from its tree of effects, by returns in regions (``regions.csv``), points per doubling."""
    scale, claims = 100 * np.log(2), []
    for text, region, domains, sign in FIGURE_3:
        found = pd.DataFrame(columns=["region", "domain"]) if regions is None else regions
        found = found[found["region"].str.startswith(region) & found["domain"].isin(domains)]
        parts = []
        for row in found.to_dict("records"):
            low, high = sorted(sign * scale * row[end] for end in ("ci_low", "ci_high"))
            name = ", ".join([row["domain"]] * (len(domains) > 1) + [row["region"]] * (region == LEAVES))
            parts.append(Part(name, sign * scale * row["theta"], low, high, row["p"]))
        lacking = sorted(set(domains) - set(found["domain"]))
        unit = "points per doubling"
        claims.append(row_of(text, WHERE, PAPER, parts, lacking, *IN_WORDS, "paper_and_ours", unit))
    return claims


def estimator_claims(folder: Path) -> list[dict]:
    """Claims about the estimator, held against held-out runs, for :func:`judged`.

    Variants that lack the level m0(X) are compared by their R-score, which looks at the returns alone.
    """
    checks, fits, assigned, subsets = (
        _read(folder, name) for name in ("held_out", "ablations", "assignment", "covariates")
    )
    checks = checks if checks is None else checks.rename(columns={"predictor": "variant"})
    subsets = subsets if subsets is None else subsets.rename(columns={"covariates": "variant"})
    every, rival = _best_subsets(subsets)
    orthogonal, known = "without orthogonalisation", "ablations"
    claimed, asked = (PREDICTED, PAPER), (ESTIMATOR, CRITICS)
    return [
        predicts(text, table, one, other, IN_WORDS if family is PREDICTED else ASKED, where, family, who, measure)
        for text, table, one, other, where, measure, (family, who) in (
            ("Returns depend on the state: theta(x) predicts held-out runs better than a constant theta",
             checks, "theta(x)", "constant theta", "effects", "spearman", claimed),
            ("All covariates together predict held-out runs better than the next best subset (Figure 2)",
             subsets, every, rival, known, "spearman", claimed),
            ("Orthogonalisation helps the returns of held-out runs",
             fits, "full", orthogonal, known, "r_score", claimed),
            ("Orthogonalisation helps the returns where mixtures followed the state",
             assigned, "confounded", f"confounded, {orthogonal}", known, "r_score", asked),
            ("The forest knows the returns of held-out runs better than a linear final stage",
             fits, "full", "linear", known, "r_score", asked),
        )
    ]  # fmt: skip


def _best_subsets(subsets: pd.DataFrame | None) -> tuple[str, str]:
    """All covariates, and the best subset of the others by mean Spearman; words where there is no such."""
    if subsets is None:
        return "all covariates", "the next best subset"
    means = subsets.groupby("variant", sort=False)["spearman"].mean()
    every = max(means.index, key=lambda name: len(name.split(" + ")), default="all covariates")
    others = means.drop(every, errors="ignore")
    return every, others.idxmax() if others.notna().any() else "the next best subset"


def _scaled(whole: pd.DataFrame) -> list[dict]:
    """That a mixture made for its size beats one that is the same for all, wherever rows or the model have grown."""
    text, groups = (
        "A mixture made for its size beats the same policy without the scale{}",
        whole[GROUP].drop_duplicates(),
    )
    larger = groups[grown(groups)].to_dict("records")
    known = [(f" ({name_of(group)})", _group(whole, **group)) for group in larger] or [("", whole.iloc[:0])]
    return [
        beats(text.format(where), trials, WITH_SCALE, {CAUTIOUS: np.nan}, ASKED[1], "target", SCALED, CRITICS)
        for where, trials in known
    ]


def _stronger(whole: pd.DataFrame) -> list[dict]:
    """That another form of a baseline beats the one that stands for it, at the size of the recorded runs."""
    trials = _smallest(whole)
    forms = {"RegMix-ridge": ("RegMix", "target"), "ODM (official repo)": ("ODM", "target"),
             dmo.TABLE_FIT: ("DMO", "ablations")}  # fmt: skip
    return [
        beats(f"{form} beats {plain}", trials, form, {plain: np.nan}, ASKED[1], where, STRONGER, CRITICS)
        for form, (plain, where) in forms.items()
    ]


def _flattered(whole: pd.DataFrame, mixtures: pd.DataFrame | None) -> list[dict]:
    """That a policy gained less than it promised, at the size of the recorded runs (the winner's curse)."""
    trials, claims = _smallest(whole), []
    known = pd.Series(dtype=float) if mixtures is None else mixtures.set_index("method")["predicted_gain"]
    for form in (*OURS, *NEAR):
        gaps = 100 * (known.get(form, np.nan) - paired(trials, form, REFERENCE, "y_dev"))
        parts = [Part("", *mean_interval(gaps), mean_p(gaps))] if len(gaps) and form in known else []
        text = f"{form} promised more over Equal than came"
        claims.append(row_of(text, FLATTERED, CRITICS, parts, [] if parts else [form], *ASKED, "target"))
    return claims


def _smallest(whole: pd.DataFrame) -> pd.DataFrame:
    """The proxy's trials at the size of the recorded runs."""
    proxies = whole[whole["model"] == "proxy"]
    return proxies[proxies["n_samples"] == proxies["n_samples"].min()]


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
    return [
        *(Path(folder) / f"{name}.csv" for name in (*TABLES, "history")),
        *sorted((RESULTS / "published").glob("*.csv")),
    ]


def _dev_is_a_loss(folder: Path) -> bool:
    """Whether the study's history says that lower values of ``y_dev`` are better."""
    history = _read(folder, "history")
    said = "" if history is None or direction.LOWER not in history else str(history[direction.LOWER].iloc[0])
    return "y_dev" in said.split()


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
