"""Page one: what was found, in four sentences and two figures that are made from the record when the book is built.

No conclusion is written down here: every clause is chosen by the verdict of its comparison.
"""

from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import matplotlib
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.intervals import adjusted_verdict, holm, verdict
from causalmix.core.tables import read_table
from causalmix.core.wording import counted
from causalmix.study import bridge, claims, questions
from causalmix.study.trials import DIFFERENCE, GROUP, REFERENCE, compare, name_of, points_of

OUTCOME = "y_dev"
PAPERS, RIVAL = "CausalMix-A", "RegMix"
OURS = ("Cautious with scale", "Cautious")  # the first of them that was tried
TABLES = {
    "targets": ["method", *GROUP, "seed", OUTCOME],
    "before_training": ["model", "parameters", OUTCOME],
    "claims": ["verdict", "p"],
    "history": [OUTCOME],
    "score_checks": ["domain", "wrong_share", "style_auc"],
    "bridge": ["outcome", "mixtures", *bridge.SPEARMAN, *bridge.GIVEN_STATE],
}
SAID = {
    "better": "beats equal shares",
    "worse": "falls behind equal shares",
    "open": "is not told apart from equal shares",
}
WITHOUT = "Without X a method does not see the state, and has one mixture for all pools."
ALONE = {"better": "is ahead of", "worse": "is behind"}  # by an interval that does not stand when adjusted


def publish(root: Path) -> list[Path]:
    """Write page one's sentences below ``book/_build`` and, with all tables, figures into ``book/_assets``."""
    folder, book = root / "results" / "laptop", root / "book"
    texts, images = {"front": "The record is not complete yet.", "world": ""}, {}
    with suppress(InputError):
        tables = {name: read_table(folder / f"{name}.csv", columns) for name, columns in TABLES.items()}
        compared = against_equal(tables["targets"])
        texts = {"front": "\n\n".join(sentences(tables, compared)), "world": world_told(tables)}
        images = figures(tables, compared)
    files = {book / "_build" / f"{name}.md": f"{text}\n".encode() for name, text in texts.items()}
    files |= {book / "_assets" / f"{name}.svg": image for name, image in images.items()}
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(files)


def against_equal(targets: pd.DataFrame) -> pd.DataFrame:
    """The shown methods' paired differences to equal shares in every ``setting`` that was tried.

    Lines of :func:`causalmix.study.trials.compare`, but adjusted for all of them together (Holm), with ``verdict``.
    """
    tried = set(targets["method"])
    shown = (PAPERS, *[name for name in OURS if name in tried][:1], RIVAL)  # the rival never looks at the state
    found = compare(pd.concat([targets[targets["method"] == name] for name in (REFERENCE, *shown)]), OUTCOME)
    found = found.dropna(subset=["p"]).reset_index(drop=True)
    pools = ["" if pool == "whole" else f", {pool}" for pool in found["pool"]]
    settings = [name_of(group) + pool for group, pool in zip(found[GROUP].to_dict("records"), pools)]
    found = found.assign(setting=settings, p_holm=holm(found["p"]))
    return found.assign(verdict=[adjusted_verdict(*row) for row in zip(found["difference"], found["p_holm"])])


def sentences(tables: Mapping[str, pd.DataFrame], compared: pd.DataFrame) -> list[str]:
    """What was found, how sure that is, where it fails, and what it does not mean."""
    chosen = [name for name in compared["method"].unique() if name != RIVAL]
    fails = (compared.loc[compared["method"].isin(chosen), "verdict"] == "worse").any()
    state, scale = (_answered(tables["targets"], question) for question in (questions.STATE_WINS, questions.SCALE_WINS))
    real = "SmolLM2-135M-Instruct, a real pretrained model, was trained beside the proxy." * bool(len(tables["bridge"]))
    told = {
        "What was found": [_found(tables, compared), state, WITHOUT * bool(state)],
        "How sure that is": [_sure(tables["claims"], compared)],
        "Where it fails" if fails else "How far it holds": [*(_far(compared, name) for name in chosen), scale],
        "What it does not mean": [_not_meant(tables["before_training"]), real, bridge.said(tables["bridge"])],
    }
    return [f"**{title}.** {' '.join(filter(None, parts))}" for title, parts in told.items()]


def _found(tables: Mapping[str, pd.DataFrame], compared: pd.DataFrame) -> str:
    """Each method at the size of the runs that it learned from."""
    home = compared[(compared["pool"] == "whole") & (compared["model"] == "proxy")]
    home = home[home["n_samples"] == home["n_samples"].min()]
    notes = {PAPERS: "the paper's policy", OURS[0]: "our own, which learns from runs of other sizes as well"}
    notes |= {RIVAL: "which never looks at the state of the data"}
    told = [f"{row['method']}, {notes.get(row['method'], 'our own')}, {_said(row)}" for _, row in home.iterrows()]
    runs, rows = len(design_runs(tables["history"])), home["n_samples"].min()
    return (
        f"From {runs} small training runs each method chooses a mixture, which is then trained on {rows:,} rows, as "
        f"many as those runs had; differences are in points of accuracy. {'; '.join(told)}."
    )


def _said(*rows: pd.Series) -> str:
    """What one or more differences of the same verdict say, with their numbers."""
    numbers = "; ".join(points_of(row).replace(" points", "") for row in rows)  # the unit of the whole page
    return f"{_verb(rows[0])} ({numbers})"


def _verb(row: pd.Series) -> str:
    if not row[[*DIFFERENCE]].any():  # the same mixture, trained with the same seeds
        return "keeps equal shares"
    alone = ALONE.get(verdict(*row[[*DIFFERENCE[1:]]])) if row["verdict"] == "open" else None
    return f"{alone} equal shares, but not when adjusted for all comparisons" if alone else SAID[row["verdict"]]


def _answered(targets: pd.DataFrame, question: questions.Question) -> str:
    """One of the paper's central questions with its answer for each pair of methods that was tried."""
    found = questions.answers(targets, questions.differences(targets, targets, OUTCOME, [question]), OUTCOME)
    tried = [row for row in found.to_dict("records") if row["answer"] != questions.NOT_TRIED]
    return questions.short(tried) if tried else ""


def _sure(judged: pd.DataFrame, compared: pd.DataFrame) -> str:
    """How many comparisons stand when they are adjusted for their number, here and among the paper's claims."""
    clear, judged = (compared["verdict"] != "open").sum(), judged.dropna(subset=["p"])["verdict"]
    holds, fails, is_open = ((judged == claims.WORDS[word]).sum() for word in ("better", "worse", "open"))
    return (
        "Every mixture was fixed before it was trained, with fresh seeds that all methods share; intervals are of 95%. "
        f"Of {counted(len(compared), 'difference')} in the figure {counted(clear, 'is', 'are')} told apart from nought "
        f"when adjusted for their number. Of {counted(len(judged), 'claim')} that could be tried, the paper's and "
        f"those that its critics ask for, {counted(holds, 'holds', 'hold')} here, {counted(fails, 'does', 'do')} not, "
        f"and for {is_open} it cannot be told."
    )


def _far(compared: pd.DataFrame, method: str) -> str:
    """One method with more rows, with the larger model and in shifted pools."""
    mine, alike = compared[compared["method"] == method], {}
    whole = mine[mine["pool"] == "whole"]
    for model, where in {"proxy": "on {:,} rows", "target": "with the larger model"}.items():
        there = whole[(whole["model"] == model) & (whole["n_samples"] > whole["n_samples"].min())]
        for _, row in there.tail(1).iterrows():
            alike.setdefault(_verb(row), {})[where.format(row["n_samples"])] = row
    told = [f"{' and '.join(places)} it {_said(*places.values())}" for places in alike.values()]
    moved = mine.loc[mine["pool"] != "whole", "verdict"]
    if len(moved):
        ahead, behind, is_open = ((moved == word).sum() for word in ("better", "worse", "open"))
        told.append(
            f"where the state of the pool has shifted it is ahead of equal shares in {ahead} of "
            f"{counted(len(moved), 'comparison')}, behind in {behind}, and for {is_open} it cannot be told"
        )
    return f"{method}: {', '.join(told[:-1])}{', and ' if told[1:] else ''}{told[-1]}." if told else ""


def _not_meant(before: pd.DataFrame) -> str:
    sizes = " and ".join(f"{n / 1e6:.1f}" for n in before["parameters"])
    return (
        f"The models have {sizes} million parameters, and their world is invented. No share of a domain, no size of a "
        "gain and no order of methods is advice for a model of billions of parameters; what carries over is how to "
        "find out, and what can go wrong."
    )


def design_runs(history: pd.DataFrame) -> pd.DataFrame:
    """The runs that the methods learn from, without those of other sizes."""
    return history[history["part"] == "design"] if "part" in history else history


def world_told(tables: Mapping[str, pd.DataFrame]) -> str:
    """Where the base stands before fine-tuning, and where the runs end."""
    runs, base = 100 * design_runs(tables["history"])[OUTCOME], 100 * _base(tables)[OUTCOME]
    low, middle, high = runs.quantile([0.05, 0.5, 0.95])
    return (
        f"Before fine-tuning the base answers {base:.0f} of a hundred questions rightly, averaged over the axes; after "
        f"it, half of the {len(runs)} runs answer more than {middle:.0f}, and nine in ten between {low:.0f} and "
        f"{high:.0f}. {'All' if (runs > base).all() else f'{(runs > base).sum():,}'} of them end above the base."
    )


def _base(tables: Mapping[str, pd.DataFrame]) -> pd.Series:
    return tables["before_training"].set_index("model").loc["proxy"]


def figures(tables: Mapping[str, pd.DataFrame], compared: pd.DataFrame) -> dict[str, bytes]:
    """The two figures as SVG, the same to the last byte each time."""
    from matplotlib import pyplot as plt

    from causalmix.book.plots import front, style

    runs = design_runs(tables["history"])
    axes = [c for c in runs if c.startswith("y_") and not c.endswith("unseen") and c != OUTCOME]
    names = {OUTCOME: "mean"} | {c: c.removeprefix("y_") for c in axes}
    with matplotlib.rc_context({"svg.hashsalt": "causalmix", "svg.fonttype": "path"}):
        style.use()
        after, before = runs[list(names)].rename(columns=names), _base(tables).rename(names)
        drawn = {"headline": front.headline(compared), "world": front.world(after, before, tables["score_checks"])}
        files = {name: BytesIO() for name in drawn}
        for name, figure in drawn.items():
            figure.savefig(files[name], format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
            plt.close(figure)
    return {name: file.getvalue() for name, file in files.items()}
