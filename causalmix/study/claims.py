"""Claims of the paper and questions of its critics beside ours: reported numbers, our intervals, and verdicts.

A family is one question that is asked several times: its claims share trials, and some are nearly one fact.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core import direction
from causalmix.core.errors import InputError
from causalmix.core.intervals import adjusted_verdict, holm, mean_interval, mean_p
from causalmix.core.paths import ASSETS, RESULTS
from causalmix.core.wording import listed
from causalmix.core.yaml_file import read_yaml
from causalmix.methods.ask import CAUTIOUS, NEAR, OURS, WITH_SCALE, WITHOUT_X
from causalmix.methods.baselines import dmo
from causalmix.methods.variants import WITHOUT_ORTHOGONALISATION
from causalmix.study.questions import NOT_TRIED, grown, paired
from causalmix.study.trials import GROUP, REFERENCE, in_group, name_of
from causalmix.study.verdicts import ASKED, CRITICS, PAPER, WORDS, Claim, Part, beats, predicts, row_of

PUBLISHED = "published/{}.csv"  # of the folder results
TABLES = ("targets", "methods", "variants_trained", "longcot", "held_out", "ablations", "assignment", "covariates")
NOTHING = ["method", *GROUP, "seed", "y_dev", "y_unseen", "variant", "split", "region", "domain"]  # of a missing table

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

#: What the paper reads from its tree of effects, the regions that it names, and claims about the estimator.
FIGURE_3, THIRDS, ESTIMATORS = read_yaml(ASSETS / "claims.yaml", "claims").values()
LEAVES = "leaf: "
EVERY, RIVAL = "all covariates", "the next best subset"  # of Figure 2, where no table tells which these are

#: Other forms of a baseline: what they may beat at the size of the recorded runs, and the subject that trains them.
STRONG = {"RegMix-ridge": ("RegMix", "target"), "ODM (official repo)": ("ODM", "target"),
          dmo.TABLE_FIT: ("DMO", "ablations")}  # fmt: skip


def judged(claims: list[dict]) -> pd.DataFrame:
    """The table of claims: to each its p-value adjusted within its family (Holm), ``p_holm``, and the ``verdict``."""
    table = pd.DataFrame(claims)
    adjusted = table.groupby("family")["p"].transform(holm)
    told = zip(table["ours"], adjusted)
    words = [NOT_TRIED if np.isnan(ours) else WORDS[adjusted_verdict(ours, p)] for ours, p in told]
    return table.assign(p_holm=adjusted, verdict=words)


def by_family(table: pd.DataFrame) -> pd.DataFrame:
    """How many claims each family has, and how many of them have each verdict."""
    groups = table.groupby("family", sort=False)["verdict"]
    counts = {word: groups.apply(lambda told, word=word: int((told == word).sum())) for word in WORDS.values()}
    return groups.agg(claims="size").assign(**counts).reset_index()


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

    The interval is of our number alone; ``p_holm``, and with it the verdict, is adjusted for the claims of its family.
    ``measured in`` names the subject of a notebook, with what was not tried.
    """
    lower, chains = direction.says_lower(_read(folder, "history"), "y_dev"), _read(folder, "longcot")
    tables = [direction.upward(_read(folder, name), "y_dev", lower) for name in ("targets", "variants_trained")]
    chains = direction.upward(chains, "y_dev", len(chains) > 0 and direction.says_lower(chains, "y_dev"))
    targets = tables[0]
    both = pd.concat([table for table in tables if len(table)] or [targets], ignore_index=True)
    whole = both[both["pool"] == "whole"]
    claims = [row for n_samples in SIZES for row in _of_size(whole, n_samples)]
    claims += _unseen(_sized(whole, "target", 800_000)[0])
    claims += _shifts(targets) + long_chains(chains)
    claims += estimator_claims(folder) + region_claims(_read(folder, "regions")) + _scaled(whole)
    for form, (plain, where) in STRONG.items():
        claim = Claim(f"{form} beats {plain}", STRONGER, where, CRITICS, ASKED)
        claims.append(beats(claim, _smallest(whole), form, [plain]))
    return judged(claims + _flattered(whole, _read(folder, "methods")))


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
            least = min(reported_gap(reported, policy, rival) for rival in rivals)
            for form, family in FORMS[policy]:
                text = f"{form} beats {listed(rivals)} on Dev ({where})"
                claims.append(beats(Claim(text, family, "target", PAPER, source, least), trials, form, rivals))
        parts = ablation[(ablation["model"] == model) & (ablation["n_samples"] == n_samples)]
        for part, (name, subject) in PARTS.items() if len(parts) else ():
            short, source = name.removeprefix("CausalMix-A "), f"{PUBLISHED.format('ablation')}, {model}"
            text = f"{part} is needed: CausalMix-A beats itself {short} ({where})"
            gap = reported_gap(parts, "CausalMix-A", short, label="variant")
            claims.append(beats(Claim(text, NEEDED, subject, PAPER, source, gap), trials, "CausalMix-A", [name]))
    return claims


def _unseen(trials: pd.DataFrame) -> list[dict]:
    """Who is ahead on axes which no mixture was chosen by; claims in the direction that the paper's numbers have."""
    gap, claims = reported_gap(published("unseen"), "CausalMix-A", REFERENCE), []
    for form, _ in FORMS["CausalMix-A"]:
        one, other = (form, REFERENCE) if gap > 0 else (REFERENCE, form)
        text, source = f"{one} beats {other} on Unseen (target model)", PUBLISHED.format("unseen")
        claims.append(beats(Claim(text, UNSEEN, "target", PAPER, source, abs(gap)), trials, one, [other], "y_unseen"))
    return claims


def _shifts(targets: pd.DataFrame) -> list[dict]:
    """That a mixture which knows the state wins where the state has shifted, pool by pool and size by size."""
    text, moved = "A state-dependent mixture beats one without the state in ", targets[targets["pool"] != "whole"]
    named = "the shifted pool “{}” ({:,} rows)"
    known = [(named.format(*where), part) for where, part in moved.groupby(["pool", "n_samples"], sort=False)]
    return [
        beats(Claim(text + where, SHIFTED, "target"), trials, "CausalMix-A", [WITHOUT_X])
        for where, trials in known or [("shifted pools", moved)]
    ]


def long_chains(trials: pd.DataFrame) -> list[dict]:
    """Who is beaten on long chains of thought; which of its policies the paper means is unknown, so each is asked."""
    table, rivals, source = published("longcot"), ("Equal", "Grid", "RegMix", "DMO"), PUBLISHED.format("longcot")
    least = min(reported_gap(table, "CausalMix", other) for other in rivals)
    text, ends = "CausalMix (here {}) beats {} on long chains of thought", {DEV: CHAINS, DEV_NEAR: CHAINS_NEAR}
    forms, claims = [form for forms in FORMS.values() for form in forms], []
    for form, family in forms:
        claim = Claim(text.format(form, listed(rivals)), ends[family], "longcot", PAPER, source, least)
        claims.append(beats(claim, trials, form, rivals))
    return claims


def region_claims(regions: pd.DataFrame) -> list[dict]:
    """What the paper reads from its tree of effects, by returns in regions (``regions.csv``), points per doubling."""
    scale, claims = 100 * np.log(2), []
    for text, region, domains, sign in FIGURE_3:
        found = regions[regions["region"].astype(str).str.startswith(region) & regions["domain"].isin(domains)]
        parts = []
        for row in found.to_dict("records"):
            low, high = sorted(sign * scale * row[end] for end in ("ci_low", "ci_high"))
            name = ", ".join([row["domain"]] * (len(domains) > 1) + [row["region"]] * (region == LEAVES))
            parts.append(Part(name, sign * scale * row["theta"], low, high, row["p"]))
        claim = Claim(text, WHERE, "paper_and_ours", unit="points per doubling")
        claims.append(row_of(claim, parts, sorted(set(domains) - set(found["domain"]))))
    return claims


def estimator_claims(folder: Path) -> list[dict]:
    """Claims about the estimator, held against held-out runs, for :func:`judged`."""
    names = {"predictor": "variant", "covariates": "variant"}
    tables = {table: _read(folder, table).rename(columns=names) for table in {row[1] for row in ESTIMATORS}}
    best = {}
    if len(tables["covariates"]):
        means = tables["covariates"].groupby("variant", sort=False)["spearman"].mean()
        best[EVERY] = max(means.index, key=lambda name: len(name.split(" + ")))
        others = means.drop(best[EVERY]).dropna()
        best |= {RIVAL: others.idxmax()} if len(others) else {}
    asked = {PAPER: (PREDICTED, {}), CRITICS: (ESTIMATOR, {"source": ASKED})}
    claims = []
    for text, table, one, other, where, measure, who in ESTIMATORS:
        claim = Claim(text, asked[who][0], where, who, unit=measure, **asked[who][1])
        claims.append(predicts(claim, tables[table], best.get(one, one), best.get(other, other)))
    return claims


def _scaled(whole: pd.DataFrame) -> list[dict]:
    """That a mixture made for its size beats one that is the same for all, wherever rows or the model have grown."""
    text = "A mixture made for its size beats the same policy without the scale"
    groups = whole[GROUP].drop_duplicates()
    larger = groups[grown(groups)].to_dict("records")
    known = [(f" ({name_of(group)})", in_group(whole, group)) for group in larger] or [("", whole.iloc[:0])]
    return [
        beats(Claim(text + where, SCALED, "target", CRITICS, ASKED), trials, WITH_SCALE, [CAUTIOUS])
        for where, trials in known
    ]


def _flattered(whole: pd.DataFrame, mixtures: pd.DataFrame) -> list[dict]:
    """That a policy gained less than it promised, at the size of the recorded runs (the winner's curse)."""
    trials, claims, known = _smallest(whole), [], {}
    if "predicted_gain" in mixtures:
        known = mixtures.set_index("method")["predicted_gain"]
    for form in (*OURS, *NEAR):
        gaps = 100 * (known.get(form, np.nan) - paired(trials, form, REFERENCE, "y_dev"))
        parts = [Part("", *mean_interval(gaps), mean_p(gaps))] if len(gaps) and form in known else []
        claim = Claim(f"{form} promised more over Equal than came", FLATTERED, "target", CRITICS, ASKED)
        claims.append(row_of(claim, parts, [] if parts else [form]))
    return claims


def _smallest(whole: pd.DataFrame) -> pd.DataFrame:
    """The proxy's trials at the size of the recorded runs."""
    proxies = whole[whole["model"] == "proxy"]
    return proxies[proxies["n_samples"] == proxies["n_samples"].min()]


def _sized(whole: pd.DataFrame, role: str, n_samples: int) -> tuple[pd.DataFrame, str]:
    """Our trials for a role at one of the paper's sizes, by rank (smallest, between, largest), and their name."""
    sizes, name = sorted(whole["n_samples"].unique()), "target model" if role == "target" else role
    ours = {SIZES[2]: sizes[0], SIZES[0]: sizes[-1]} if len(sizes) > 1 else {SIZES[0]: size for size in sizes}
    ours |= {SIZES[1]: sizes[1]} if len(sizes) == 3 else {}
    if n_samples in ours:
        found = in_group(whole, {"model": role, "n_samples": ours[n_samples]})
        return found, f"{name}, {ours[n_samples]:,} rows"
    return whole.iloc[:0], f"{name}, for the paper's {n_samples // 1000}K rows"


def files(folder: Path) -> list[Path]:
    """What the claims are read from: the tables of a study, and the published ones."""
    tables = [Path(folder) / f"{name}.csv" for name in (*TABLES, "history")]
    return tables + sorted((RESULTS / "published").glob("*.csv"))


def _read(folder: Path, name: str) -> pd.DataFrame:
    """A table of a study; without rows where nothing has written it."""
    path = Path(folder) / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=NOTHING)
