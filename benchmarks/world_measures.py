"""Measures of the embedded world, from its pilots, against thresholds that were written down first.

``python benchmarks/world_measures.py`` trains the last pilots (rows of one domain; mixtures that the pilots choose),
prints the table and keeps it as ``results/laptop/pilot.csv``.  With ``--recorded`` nothing is trained, and a measure
that lacks its runs has no value.  Intervals are bootstrap percentiles over mixtures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
import world_pilots as pilots
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalmix.core.history import History, check_history
from causalmix.core.intervals import holm, mean_interval
from causalmix.core.paths import results_dir
from causalmix.core.simplex import sample_dirichlet
from causalmix.core.tables import write_table
from causalmix.data.families import KINDS
from causalmix.data.named_models import load_model
from causalmix.data.scored_pools import World
from causalmix.data.tiny.shapes import DOMAINS, FINETUNING
from causalmix.lm.outcomes import score_tasks
from causalmix.lm.tasks import axis_scores
from causalmix.train import records
from causalmix.train.audit import allowed
from causalmix.train.design import world_for
from causalmix.train.sft import finetune

DRAWS = 400
FEWEST = 8  # mixtures whose order can be compared
AXES = (*DOMAINS, "reasoning")


def measures() -> Iterator[tuple[str, str, float, float, float]]:
    """Every measure: its name, threshold, value, and the ends of its interval."""
    sets = {name: pilots.trained(specs) for name, specs in pilots.sets()}
    base = records.base_outcomes({"proxy": "proxy"}, KINDS["tiny"])["y_dev"].iloc[0]
    yield "base, mean Dev", "<=.30", base, base, base
    equal = np.array([dev(record) for record in sets["Equal"]]).reshape(len(pilots.SIZES), -1)
    yield "Equal at 1,500 rows over the base", ">=.15", *mean_interval(equal[0] - base)
    yield "Equal at 6,000 rows over 1,500", ">=0", *mean_interval(equal[1] - equal[0])
    yield "Equal at 12,000 rows over 6,000", ">=0", *mean_interval(equal[2] - equal[1])
    for domain, gains in own_rows(world_for(pilots.DESIGN)).items():
        yield f"{domain}, 750 own clean rows over 15", ">=0", *mean_interval(gains)
    history = check_history(records.history(sets["design"]))
    for axis in AXES:
        y = history.y(f"y_{axis}")
        yield f"{axis}, 10th percentile", ">=.05", *resampled(lambda r: np.quantile(y[r], 0.1), len(y))
        yield f"{axis}, 90th percentile", "<=.95", *resampled(lambda r: np.quantile(y[r], 0.9), len(y))
        yield f"{axis}, 90th less 10th", ">=.10", *resampled(lambda r: np.ptp(np.quantile(y[r], [0.1, 0.9])), len(y))
    panel = cells(sets["design"], sets["panel"])
    for outcome, least in (("y_dev", ".85"), ("y_unseen", ".60")):
        values = panel[outcome]
        yield f"reliability of {outcome}", f">={least}", *resampled(lambda r: reliability(values[r]), len(values))
    yield from explained(history)
    opposed = np.array([dev(record) for record in sets["opposed"]]).reshape(2, 2, -1)  # mixtures, states, seeds
    turned = (opposed[0, 1] - opposed[0, 0]) - (opposed[1, 1] - opposed[1, 0])
    yield "opposed mixtures in opposed states, difference of differences", ">=.18", *mean_interval(turned)
    alike = [*sets["design"], *sets["panel"], *sets["Equal"][: len(equal[0])], *sets["opposed"]]
    alike = records.history(alike).drop(columns="model_size", errors="ignore")  # not all records tell it
    yield from retrained(check_history(alike))
    sizes = np.array([dev(record) for record in sets["sizes"]]).reshape(2, -1)
    target = np.array([dev(record) for record in sets["target"]])
    for name, other in (("1,500 and 12,000 rows", sizes[1]), ("proxy and target", target)):
        first, second = np.stack([sizes[0], other])[:, np.isfinite(other)]
        rank = lambda r: spearmanr(first[r], second[r]).statistic  # noqa: E731
        found = resampled(rank, len(first)) if len(first) >= FEWEST else [np.nan] * 3
        yield f"order of mixtures, {name}", "between .30 and .95", *found
    yield "scores that move some return", ">=2", *[float(movers(history))] * 3
    yield from long_chains(sets)


def dev(record: dict | None, axis: str = "dev", kind: str = "tiny") -> float:
    """Mean Dev accuracy of a record, or that of one axis; NaN of none."""
    return axis_scores(record["scores"], KINDS[kind].tasks())[f"y_{axis}"] if record else np.nan


def long_chains(sets: dict[str, list]) -> Iterator[tuple[str, str, float, float, float]]:
    """What fine-tuning gains on long chains at their own rate, and what each axis owes to its own rows."""
    base = records.base_outcomes({"longcot": "longcot"}, KINDS["longcot"])["y_dev"].iloc[0]
    chosen = pilots.LONG_RATES.index(FINETUNING["longcot"]["learning_rate"])
    equal = [dev(record, kind="longcot") for record in sets["long rates"]]
    yield "Equal at 1,500 rows of long chains over the base", ">=.15", *mean_interval(equal[3 * chosen :][:3] - base)
    for axis, sign in (("math", 1), ("coding", -1)):
        few, many = np.array([dev(r, axis, "longcot") for r in sets["long shares"]]).reshape(2, -1)
        yield f"long chains: {axis}, .9 of the rows its own less .1", ">=.10", *mean_interval(sign * (many - few))


def own_rows(world: World, rows: tuple[int, int] = (15, 750), seeds: int = 3) -> dict[str, np.ndarray]:
    """What each domain's own axis gains from many clean rows over few, one number a seed; kept beside the pilots."""
    kept = pilots.ledger().path.with_name("own_rows.json")
    found = json.loads(kept.read_text()) if kept.exists() else {}
    if found.get("world") != world.name:
        torch.set_num_threads(1)
        pool, found = world.pool.to_pandas(), {"world": world.name}
        for domain in DOMAINS:
            clean = np.flatnonzero((pool["domain"] == domain) & ~pool["spoiled"])
            found[domain] = [[_own(world, clean, domain, n, seed) for n in rows] for seed in range(seeds)]
            kept.write_text(json.dumps(found))
    return {domain: np.diff(np.array(found[domain]), axis=1).ravel() for domain in DOMAINS}


def _own(world: World, clean: np.ndarray, domain: str, n: int, seed: int) -> float:
    model, tokenizer = load_model("proxy")
    drawn = np.random.default_rng([902, seed]).choice(clean, n, replace=False)
    finetune(model, tokenizer, world.tokens("proxy", tokenizer).select(drawn), pilots.DESIGN.settings_of("proxy"), seed)
    own = [task for task in world.kind.tasks() if task.name == f"{domain}_dev"]
    return score_tasks(model, tokenizer, own)[f"{domain}_dev"]


def cells(design: list[dict], panel: list[dict]) -> dict[str, np.ndarray]:
    """Outcomes of the noise panel, shape (cells, seeds)."""
    n, again = pilots.DESIGN.noise_specs, pilots.DESIGN.noise_seeds - 1
    first, others = records.history(design[:n]), records.history(panel)
    return {
        y: np.column_stack([first[y].to_numpy(), others[y].to_numpy().reshape(n, again)]) for y in ("y_dev", "y_unseen")
    }


def reliability(values: np.ndarray) -> float:
    """Share of the variance of single runs that is between cells, by the analysis of variance; (cells, seeds)."""
    within = values.var(axis=1, ddof=1).mean()
    between = values.mean(axis=1).var(ddof=1) - within / values.shape[1]
    return between / (between + within)


def features(history: History) -> dict[str, np.ndarray]:
    """What a regression is told: the state, the mixture with its roots, and their products."""
    X = StandardScaler().fit_transform(history.X)
    T = np.hstack([history.T, np.sqrt(history.T)])
    products = (X[:, :, None] * T[:, None, :]).reshape(len(X), -1)
    both = np.hstack([X, X**2, T])
    return {"X": both[:, : 2 * X.shape[1]], "X + Z": both, "X + Z + XZ": np.hstack([both, products])}


def explained(history: History) -> Iterator[tuple[str, str, float, float, float]]:
    """What mixtures add to the state, and what their products add, to the R2 of ten-fold predictions."""
    y, folds = history.y(), KFold(10, shuffle=True, random_state=0)
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 25)))
    left = {name: y - cross_val_predict(ridge, F, y, cv=folds) for name, F in features(history).items()}
    r2 = lambda name, r: 1 - (left[name][r] ** 2).mean() / y[r].var()  # noqa: E731
    for (less, more), threshold in zip((("X", "X + Z"), ("X + Z", "X + Z + XZ")), (">=.15", ">=.05")):
        gain = lambda r: r2(more, r) - r2(less, r)  # noqa: E731
        yield f"R2 of y_dev: {more} less {less}", threshold, *resampled(gain, len(y))


def retrained(history: History) -> Iterator[tuple[str, str, float, float, float]]:
    """In two opposed states, the mixture of a ridge with products less the constant one, each trained with 5 seeds."""
    mixtures = chosen_mixtures(history)
    runs = np.array([dev(r) for r in pilots.trained(pilots.chosen(mixtures))]).reshape(len(mixtures), -1)
    values = dict(zip(mixtures, runs))
    for state in ("polished", "careless"):
        gain = values[f"{state}, by state"] - values[f"{state}, constant"]
        yield f"{state}: mixture by state less the constant one", ">=.02", *mean_interval(gain)


def chosen_mixtures(history: History) -> dict[str, tuple]:
    """The best of 5,000 mixtures by one ridge on all pilots of a run's size: in each state, and on average."""
    candidates, y = sample_dirichlet(5_000, 1.0, 5, 903), history.y()
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 25))).fit(features(history)["X + Z + XZ"], y)
    mean, spread = history.X.mean(axis=0), history.X.std(axis=0)

    def predicted(x: np.ndarray) -> np.ndarray:
        X, T = np.tile((x - mean) / spread, (len(candidates), 1)), np.hstack([candidates, np.sqrt(candidates)])
        return ridge.predict(np.hstack([X, X**2, T, (X[:, :, None] * T[:, None, :]).reshape(len(X), -1)]))

    constant = candidates[np.argmax(np.mean([predicted(x) for x in history.X[::4]], axis=0))]
    found = {}
    for name, state, side in (("polished", pilots.POLISHED, 0.9), ("careless", pilots.CARELESS, 0.1)):
        x = mean.copy()
        style = history.covariates.index("writing_style")
        x[style] = np.quantile(history.X[:, style], side)
        found |= {
            f"{name}, by state": (candidates[np.argmax(predicted(x))], state),
            f"{name}, constant": (constant, state),
        }
    return found


def movers(history: History) -> int:
    """How many scores move some return: products with all shares, tested jointly by permutation of the score, Holm."""
    y, rng, p = history.y(), np.random.default_rng(904), []
    X, T = StandardScaler().fit_transform(history.X), history.T[:, :-1]
    plain = np.column_stack([np.ones(len(y)), X, X**2, T, np.sqrt(history.T)])
    residual = y - plain @ np.linalg.lstsq(plain, y, rcond=None)[0]

    def explained_by(score: np.ndarray) -> float:
        more = np.column_stack([plain, score[:, None] * T])
        return (residual**2).sum() - np.linalg.lstsq(more, y, rcond=None)[1].sum()

    for j in range(X.shape[1]):
        drawn = [explained_by(rng.permutation(X[:, j])) for _ in range(DRAWS)]
        p.append((1 + np.sum(np.array(drawn) >= explained_by(X[:, j]))) / (DRAWS + 1))
    return int((holm(p) < 0.05).sum())


def resampled(statistic: Callable[[np.ndarray], float], n: int) -> tuple[float, float, float]:
    """A statistic of row numbers: its value, and its 95% bootstrap interval over rows."""
    rng = np.random.default_rng(905)
    draws = [statistic(rng.integers(n, size=n)) for _ in range(DRAWS)]
    return float(statistic(np.arange(n))), *map(float, np.nanquantile(draws, [0.025, 0.975]))


def main() -> None:
    """Print the table and keep it."""
    if "--recorded" in sys.argv:
        recorded = pilots.ledger().finished()
        pilots.trained = lambda specs: [recorded.get(spec.run_id) for spec in specs]
    table = pd.DataFrame(measures(), columns=["measure", "threshold", "value", "low", "high"])
    least, most = np.array([allowed(threshold) for threshold in table["threshold"]]).T
    table = table.assign(met=table["value"].between(least, most)).round(4)
    write_table(results_dir("laptop") / "pilot.csv", table)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
