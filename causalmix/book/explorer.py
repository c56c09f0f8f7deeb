"""The explorer: what the package says of many states, and the page on which a reader moves among them.

``explorer.csv`` has one row a state, of a grid; the sliders stop at these alone, so that every number on the page is
the package's own.  The page gets the table packed, two letters a number, and opens as a file like the others.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from causalmix.book import stamps
from causalmix.book.plots import style
from causalmix.core import direction, paths
from causalmix.core.history import SCALES, History, read_history
from causalmix.core.study_file import read_study
from causalmix.core.tables import read_table, write_table
from causalmix.effects.estimator import fit_effects
from causalmix.methods.cautious import cautious
from causalmix.methods.limits import limits
from causalmix.methods.policy import nearest_runs, neighbours, support
from causalmix.methods.target import WORDS, equal, scale_of, sized

TABLE = "explorer.csv"
ROOM = 16_000  # numbers of the table, so that with its script, style and runs it takes less than 60 KB
LEVELS, SIZES = 7, 4  # places of a slider, at most, of a covariate and of a size
SPAN = (0.05, 0.95)  # quantiles of a covariate among the runs between which it moves
NEAREST = 3  # runs that are told for each state
LETTERS = "".join(chr(c) for c in range(35, 127) if chr(c) not in "\\<")
MOST = len(LETTERS) ** 2 - 1  # the largest number of two letters


def grid(history: History, room: int = ROOM) -> list[np.ndarray]:
    """Values of each covariate at which its slider stops, increasing; their product has at most ``room`` numbers."""
    columns = list(zip(history.covariates, history.X.T))
    places = [min(len(np.unique(x)), SIZES if name in SCALES else LEVELS) for name, x in columns]
    while np.prod(places) * (4 * len(history.domains) + 6 + NEAREST) > room and max(places) > 1:
        places[max(range(len(places)), key=lambda j: (places[j], j))] -= 1
    return [_levels(x, n, name in SCALES) for (name, x), n in zip(columns, places)]


def _levels(x: np.ndarray, n: int, is_size: bool) -> np.ndarray:
    if is_size and len(np.unique(x)) == n:
        return np.unique(x)
    at = np.quantile(x, np.linspace(*SPAN, n) if n > 1 else [0.5])
    return np.unique([float(f"{value:.4g}") for value in at])


def table(history: History, outcome: str = "y_dev", radius: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """What the Bayesian stage and the cautious policy say of the states of a grid, one row a state.

    ``x_<covariate>``; ``theta_<domain>`` with its 95% interval; ``w_<domain>``, the best move from Equal within the
    trust region, and its ``gain`` with a 95% interval; ``evidence``, whether that lies above zero (the cautious policy
    keeps Equal otherwise); ``seen``, whether the history has runs in such states, and ``in_support``, with such
    mixtures; ``near_1`` and on, positions of the nearest runs.
    """
    model = fit_effects(history, outcome, "bayesian", seed=seed)
    X = np.array(list(itertools.product(*grid(history))))
    allowed = limits(equal(history), trust_region="tv", radius=radius)
    found = [cautious(model, x, allowed, seed=seed) for x in X]
    W, (low, high) = np.stack([one.best for one in found]), model.interval(X)
    parts = {f"x_{name}": X[:, j] for j, name in enumerate(history.covariates)}
    for k, domain in enumerate(history.domains):
        ends = {f"theta_{domain}_low": low[:, k], f"theta_{domain}_high": high[:, k]}
        parts |= {f"theta_{domain}": model.theta(X)[:, k]} | ends
    parts |= {f"w_{domain}": W[:, k] for k, domain in enumerate(history.domains)}
    parts |= {name: [getattr(one, name) for one in found] for name in ("gain", "low", "high", "evidence")}
    parts |= {"seen": neighbours(history.X, X) <= 0.95}
    parts |= {"in_support": [support(w, x, history).inside for w, x in zip(W, X)]}
    near = nearest_runs(W, X, history, NEAREST)
    parts |= {f"near_{i + 1}": near[:, i] for i in range(NEAREST)}
    return pd.DataFrame(parts).rename(columns={"low": "gain_low", "high": "gain_high"})


def publish(made: pd.DataFrame, history: History, outcome: str, folder: Path, lower: bool = False) -> None:
    """Write what the page loads: the packed table as a script, and a figure for readers without scripts."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(packed(made, history, outcome, lower), separators=(",", ":"), ensure_ascii=False)
    (folder / "explorer_data.js").write_text(f"window.causalmixExplorer={text};\n", encoding="utf-8")
    _figure(made, history, direction.drawn(outcome, lower)).savefig(
        folder / "explorer.png", dpi=120, metadata={"Software": None}
    )


def packed(made: pd.DataFrame, history: History, outcome: str, lower: bool = False) -> dict:
    """The table, and the runs that it names, as the page's script reads them."""
    near = [f"near_{i + 1}" for i in range(NEAREST)]
    names, numbers = np.unique(made[near], return_inverse=True)
    made = made.assign(**dict(zip(near, numbers.reshape(len(made), NEAREST).T)))
    domains, covariates = list(history.domains), list(history.covariates)
    axes = []
    for j, name in enumerate(covariates):
        values, column = np.sort(made[f"x_{name}"].unique()), history.X[:, j]
        size, below = name in SCALES, [float((column < v).mean().round(3)) for v in values]
        shown = [round(2**v) if size else float(f"{v:.3g}") for v in values]
        axes.append({"name": WORDS[name] if size else name.replace("_", " "), "values": shown, "below": below})
    returns = [f"theta_{d}{end}" for d in domains for end in ("", "_low", "_high")] + ["gain", "gain_low", "gain_high"]
    flags = made["evidence"] * 1 + made["seen"] * 2 + made["in_support"] * 4
    parts = made[[*returns, *(f"w_{d}" for d in domains)]].assign(flags=flags, **{c: made[c] for c in near})
    digits = [_digits(made[returns].to_numpy())] * len(returns) + [3] * len(domains) + [0] * (1 + NEAREST)
    X, y = history.X[names], history.y(outcome)[names]
    X = [2.0**x if name in SCALES else x for name, x in zip(covariates, X.T)]
    runs = np.column_stack([history.T[names], *X, y])
    sizes = scale_of(np.array([made[f"x_{c}"].iloc[0] for c in covariates]), history)[:2]
    return {
        "outcome": direction.drawn(outcome, lower), "count": len(history), "domains": domains, "axes": axes,
        "size": "" if set(covariates) & set(SCALES) else sized(*sizes), "near": NEAREST, "letters": LETTERS,
        "states": _pack(parts.to_numpy(float), digits),
        "runs": _pack(runs, [3] * len(domains) + [_digits(column) for column in (*X, y)]),
        "names": [str(history.frame["run_id"].iloc[i])[:8] for i in names],
    }  # fmt: skip


def _digits(values: np.ndarray) -> int:
    """Decimals with which the values fit into two letters; negative where not even whole numbers do."""
    span = float(np.ptp(values))
    return min(5, int(np.floor(np.log10((MOST - 1) / span)))) if span > 0 else 3


def _pack(values: np.ndarray, digits: list[int]) -> dict:
    """Columns of numbers as whole ones above the least, two letters each, row by row."""
    whole = np.round(values * 10.0 ** np.array(digits)).astype(int)
    least = whole.min(axis=0)
    text = "".join(LETTERS[v // len(LETTERS)] + LETTERS[v % len(LETTERS)] for v in (whole - least).ravel())
    return {"digits": digits, "least": least.tolist(), "text": text}


def _figure(made: pd.DataFrame, history: History, outcome: str) -> Figure:
    """The middle state: returns with intervals, and the shares that follow."""
    style.use()
    row, domains = made.iloc[len(made) // 2], history.domains
    figure = Figure(figsize=(6.5, 0.9 + 0.28 * len(domains)), layout="constrained")
    left, right = figure.subplots(1, 2)
    columns = [np.array([row[f"theta_{d}{end}"] for d in domains], float) for end in ("", "_low", "_high")]
    table = pd.DataFrame(dict(zip(("theta", "low", "high"), columns)) | {"domain": domains, "state": "middle"})
    style.dots(table, left, "domain", ("theta", "low", "high"), "state")
    style.level(left, 0)
    left.set_xlabel(f"return ({outcome} per unit of log share)")
    weights = [row[f"w_{d}"] if row["evidence"] else 1 / len(domains) for d in domains]
    sns.barplot(x=weights, y=list(domains), color=style.colour(0), ax=right)
    style.level(right, 1 / len(domains))
    right.set_xlabel("share that is recommended; the line is Equal")
    return figure


def publish_book(out: Path, root: Path = paths.ROOT) -> None:
    """Put the explorer's files into the folder of a rendered book's assets, where the book has its page.

    The study's table is made again where its history, its parameters or the code have changed.
    """
    if not (root / "book" / "explore.md").is_file():
        return
    path = root / "results" / stamps.COMMITTED / TABLE
    asked, record = read_study(stamps.COMMITTED).of("mixture"), path.with_name("history.csv")
    stated = {asked.outcome: asked.lower_is_better}
    history = read_history(record).parts(asked.parts)
    lower = direction.is_lower_better(history, asked.outcome, stated)
    history = direction.turned(history, [asked.outcome], stated)
    code = stamps.code_hash({"cells": [{"cell_type": "code", "source": f"import {__name__}"}]})
    made_from = stamps.digest(record.read_bytes(), str(asked), code)
    if not path.is_file() or set(read_table(path).get("made_from", ())) != {made_from}:
        made = table(history, asked.outcome, asked.radius, asked.seed)
        write_table(path, made.assign(made_from=made_from))
    publish(read_table(path), history, asked.outcome, out, lower)
