"""What the study of methods trains: which mixtures, in which pools, of which size, with which seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from causalmix import states
from causalmix.baselines import Question, dmo, regmix, ridge
from causalmix.design import Design, specs_of
from causalmix.effects import fit_effects
from causalmix.errors import InputError
from causalmix.ledger import Ledger
from causalmix.methods import OURS, WITHOUT_X, rounded, state_dependent
from causalmix.policy import Proposal, causalmix_a, causalmix_s, domain_caps, mixtures_table
from causalmix.pools.tiny_items import DOMAINS
from causalmix.runs import RunSpec
from causalmix.sweep import run_sweep
from causalmix.tables import MIN_ROWS, History
from causalmix.training import train
from causalmix.trials import FIRST_SEED, Trial, trials_of
from causalmix.validation import split_history
from causalmix.worlds import World

AS_IT_IS = (0.0, 0.0, 0.0)
#: Tilts λ of pools whose state has shifted: two within the range of states that runs were drawn
#: from (each component in [-1, 1]), one beyond it. Order: HES, Normalized_Loss, Writing_Style.
SHIFTS = {"clean": (0.6, -0.6, 0.8), "sloppy": (-0.6, 0.6, -0.8), "sloppier than seen": (-1.0, 1.0, -2.0)}
RUN_COUNTS = (32, 64, 128, 256, 512)  # of the learning curve
CONFOUNDED_RUNS = 256
WITHOUT_ORTHOGONALISATION = "CausalMix-A without orthogonalisation"


def confounded(design: Design, n_runs: int = CONFOUNDED_RUNS) -> Design:
    """The same design with mixtures that follow the state, and other seeds."""
    return replace(
        design, assignment="confounded", n_runs=min(n_runs, design.n_runs), noise_specs=2, seed=design.seed + 1
    )


def confounded_specs(
    design: Design, world: str, domains: tuple[str, ...] = DOMAINS, n_runs: int = CONFOUNDED_RUNS
) -> list[RunSpec]:
    """Runs of the second history, in which practice looked at the data before it chose a mixture."""
    return specs_of(confounded(design, n_runs), world, domains)


def scales_up_to(largest: int) -> list[int]:
    """The sizes that are tried, in rows per row of a proxy run: one, half of the largest, the largest."""
    return sorted({1, max(1, largest // 2), largest})


def size_trials(
    design: Design, base: World, mixtures: pd.DataFrame, scales: Sequence[int], seeds: int, target_seeds: int
) -> list[Trial]:
    """Every mixture in the whole pool: the proxy at each scale, the target model at the largest.

    Parameters
    ----------
    design : Design
    base : World
    mixtures : DataFrame
        ``method, w_<domain>…``.
    scales : sequence of int
        Rows of a training sample per row of a proxy run.
    seeds, target_seeds : int
        Runs of each mixture with the proxy (at each scale) and with the target model.
    """
    shared = {"pool": "whole", "state": AS_IT_IS, "candidates": len(base.scored.codes)}
    trials = []
    for scale in scales:
        trials += trials_of(design, base.name, mixtures, **shared, n_samples=design.n_samples * scale, seeds=seeds)
    largest = design.n_samples * max(scales)
    return trials + trials_of(
        design, base.name, mixtures, **shared, n_samples=largest, seeds=target_seeds, role="target"
    )


def shifted_state(base: World, tilt: Sequence[float], candidates: int, seed: int = FIRST_SEED) -> np.ndarray:
    """Covariates of a shifted pool, shape (d,): those of one draw of its candidates."""
    drawn = states.draw_candidates(base.scored, np.array(tilt), candidates, seed)
    return np.array(list(states.candidate_covariates(base.scored, drawn).values()))


def shift_trials(design: Design, base: World, mixtures: pd.DataFrame, seeds: int) -> list[Trial]:
    """Every method's mixture in every shifted pool, at the size of a proxy run.

    Parameters
    ----------
    mixtures : DataFrame
        ``method, pool, w_<domain>…``; pools are keys of :data:`SHIFTS`.
    """
    trials = []
    for pool, table in mixtures.groupby("pool", sort=False):
        trials += trials_of(design, base.name, table, pool=pool, state=SHIFTS[pool], candidates=design.candidates,
                            n_samples=design.n_samples, seeds=seeds)  # fmt: skip
    return trials


def shift_table(mixtures: pd.DataFrame, states_of: dict[str, np.ndarray], history: History) -> pd.DataFrame:
    """The shifted pools: where their covariates lie among the runs', and what CausalMix-A does there.

    Returns
    -------
    DataFrame
        ``pool``, each covariate with the share of runs below it, whether all of them lie within the
        range of the runs, CausalMix-A's mixture there and how many of the methods' mixtures are in support.
    """
    rows = []
    low, high = history.X.min(axis=0), history.X.max(axis=0)
    for pool, x in states_of.items():
        part = mixtures[mixtures["pool"] == pool].set_index("method")
        row: dict[str, object] = {"pool": pool}
        for j, name in enumerate(history.covariates):
            row |= {name: x[j], f"runs below in {name}": float((history.X[:, j] < x[j]).mean())}
        row |= {"state within the range of the runs": "yes" if ((low <= x) & (x <= high)).all() else "no"}
        row |= {f"w_{d}": part.loc["CausalMix-A", f"w_{d}"] for d in history.domains}
        rows.append(row | {"methods in support": f"{int(part['in_support'].sum())} of {len(part)}"})
    return pd.DataFrame(rows)


def support_table(mixtures: pd.DataFrame) -> pd.DataFrame:
    """Whether each method's mixture is in support, with one column for each pool."""
    flags = mixtures.pivot(index="method", columns="pool", values="in_support")
    return flags.loc[mixtures["method"].unique(), mixtures["pool"].unique()].rename_axis(columns=None)


def learning_mixtures(
    question: Question, x: np.ndarray, counts: Sequence[int] = RUN_COUNTS, **settings
) -> pd.DataFrame:
    """Mixtures of four methods from random parts of the history.

    Returns
    -------
    DataFrame
        ``method, n_runs, w_<domain>…``; counts that the history does not reach are left out.
    """
    rows, n = [], len(question.history)
    for count in (c for c in counts if c <= n):
        part = question.history if count == n else split_history(question.history, n - count, question.seed)[0]
        asked, effects = (
            replace(question, history=part),
            fit_effects(part, question.outcome, seed=question.seed, **settings),
        )
        found = {name: p.weights for name, p in state_dependent(effects, x, None, question.seed).items()}
        found |= {"RegMix": regmix.mixture(asked).weights, "RegMix-ridge": ridge.mixture(asked).weights}
        for method, weights in found.items():
            rows.append(
                {"method": method, "n_runs": count} | {f"w_{d}": w for d, w in zip(part.domains, rounded(weights))}
            )
    return pd.DataFrame(rows)


def learning_trials(design: Design, base: World, mixtures: pd.DataFrame, seeds: int) -> list[Trial]:
    """The mixtures of :func:`learning_mixtures` in the whole pool, at the size of a proxy run."""
    named = mixtures.assign(method=mixtures["method"] + "/" + mixtures["n_runs"].astype(str)).drop(columns="n_runs")
    return trials_of(design, base.name, named, pool="whole", state=AS_IT_IS, candidates=len(base.scored.codes),
                     n_samples=design.n_samples, seeds=seeds)  # fmt: skip


def variant_mixtures(question: Question, x: np.ndarray, losses: np.ndarray, **settings) -> pd.DataFrame:
    """Mixtures that no method of the comparison gives: CausalMix-A from plain means, and DMO's law fitted to runs.

    Parameters
    ----------
    question : Question
    x : ndarray, shape (d,)
        Covariates of the pool.
    losses : ndarray, shape (n, K)
        Validation losses of the history's runs, nats.
    **settings
        Of :func:`causalmix.effects.fit_effects`.

    Returns
    -------
    DataFrame
        ``method, w_<domain>…``.
    """
    caps = None if question.rows is None else domain_caps(question.rows, question.n_samples)
    effects = fit_effects(question.history, question.outcome, seed=question.seed, orthogonalise=False, **settings)
    found = {
        WITHOUT_ORTHOGONALISATION: causalmix_a(effects.theta(np.atleast_2d(x))[0], caps=caps).weights,
        dmo.TABLE_FIT: dmo.table_fit(question, losses).weights,
    }
    rows = [
        {"method": m} | {f"w_{d}": w for d, w in zip(question.history.domains, rounded(weights))}
        for m, weights in found.items()
    ]
    return pd.DataFrame(rows)


def restricted(weights: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """A mixture of some of the domains alone: their shares, divided by their sum."""
    part = np.asarray(weights, float)[list(kept)]
    return part / part.sum() if part.sum() > 0 else np.full(len(kept), 1 / len(kept))


def transfer_mixtures(
    table: pd.DataFrame,
    question: Question,
    x: np.ndarray,
    pool: str,
    domains: Sequence[str],
    rows: Sequence[int],
    **settings,
) -> pd.DataFrame:
    """Mixtures for a pool that holds only some of the history's domains, with another outcome.

    Methods that learn from records learn again from ``question.outcome`` and search among
    mixtures of the kept domains, Proportional asks the pool itself, and the others keep their
    mixture's shares of them.

    Parameters
    ----------
    table : DataFrame
        Mixtures over all domains, from :func:`causalmix.methods.ask`.
    question : Question
        With the outcome that the pool is for.
    x : ndarray, shape (d,)
        Covariates of the pool.
    pool : str
    domains : sequence of str
        The domains that the pool has.
    rows : sequence of int
        Its rows of each.
    **settings
        Of :func:`causalmix.effects.fit_effects`.

    Returns
    -------
    DataFrame
        As the contract's ``mixtures.csv``; domains that the pool lacks have share 0.
    """
    history, names = question.history, list(question.history.domains)
    kept = [names.index(d) for d in domains]
    whole = lambda part: np.eye(len(names))[kept].T @ np.asarray(part)  # noqa: E731
    effects = fit_effects(history, question.outcome, seed=question.seed, **settings)
    theta = effects.theta(np.atleast_2d(x))[0]
    bare = fit_effects(replace(history, covariates=()), question.outcome, seed=question.seed, **settings)
    part = {
        name: restricted(row[[f"w_{d}" for d in names]], kept)
        for name, row in table.set_index("method").iterrows()
        if name not in (*OURS, WITHOUT_X)
    }
    part["Equal"] = np.full(len(kept), 1 / len(kept))
    part["Proportional"] = np.asarray(rows, float) / np.sum(rows)
    best = history.T[int(np.argmax(question.outcomes("Grid", MIN_ROWS)))]
    part["Grid"] = restricted(best, kept)
    for name, method in {"RegMix": regmix, "RegMix-ridge": ridge}.items():
        predict = method.fit(history.T, history.y(question.outcome), question.seed)
        part[name] = regmix.search(_on_face(predict, kept, len(names)), len(kept), question.seed)
    part |= {name: p.weights for name, p in _policies(theta[kept], effects.eps, question.seed).items()}
    part[WITHOUT_X] = _policies(bare.theta(np.empty((1, 0)))[0][kept], effects.eps, question.seed)[
        "CausalMix-A"
    ].weights
    runs = dict(zip(table["method"], table["proxy_runs_used"]))
    proposals = {name: Proposal(whole(rounded(weights))) for name, weights in part.items() if name in runs}
    found = mixtures_table(effects, x, pool, proposals, whole(np.full(len(kept), 1 / len(kept))), question.n_samples)
    return found.assign(proxy_runs_used=[runs[m] for m in found["method"]])


def _policies(theta: np.ndarray, eps: float, seed: int) -> dict[str, Proposal]:
    return {"CausalMix-A": causalmix_a(theta), "CausalMix-S": causalmix_s(theta, eps=eps, seed=seed)}


def _on_face(
    predict: Callable[[np.ndarray], np.ndarray], kept: Sequence[int], k: int
) -> Callable[[np.ndarray], np.ndarray]:
    """A predictor of whole mixtures as one of mixtures of some domains, the others at zero."""

    def predicted(part: np.ndarray) -> np.ndarray:
        full = np.zeros((len(part), k))
        full[:, list(kept)] = part
        return predict(full)

    return predicted


def recorded_or_trained(
    trials: Sequence[Trial], ledger: Ledger, train_missing: bool, progress=None
) -> tuple[list[Trial], list[dict]]:
    """Trials with their records: all of them, trained where need be, or only those on record.

    Parameters
    ----------
    trials : sequence of Trial
    ledger : Ledger
    train_missing : bool
        Whether what the ledger lacks is trained now.
    progress : callable, optional
        See :func:`causalmix.sweep.run_sweep`.

    Raises
    ------
    InputError
        When none is on record and none may be trained.
    """
    if train_missing:
        return list(trials), run_sweep([t.spec for t in trials], ledger, train, progress=progress)
    finished = ledger.finished()
    kept = [t for t in trials if t.spec.run_id in finished]
    if not kept:
        raise InputError(
            f"Expected recorded runs of these mixtures in {ledger.path.name}, found none; "
            f"set train_missing to train {len(trials)}."
        )
    return kept, [finished[t.spec.run_id] for t in kept]


def coverage_sentence(kept: Sequence[Trial], trials: Sequence[Trial]) -> str:
    """How many of the planned trials are on record, and which groups are short of some."""
    if len(kept) == len(trials):
        return f"All {len(trials)} trials are on record."
    group = lambda t: f"{t.role} with {t.spec.n_samples:,} rows in {t.pool}"  # noqa: E731
    planned, there = Counter(map(group, trials)), Counter(map(group, kept))
    short = "; ".join(f"{name}: {there[name]} of {n}" for name, n in planned.items() if there[name] < n)
    return (
        f"{len(kept)} of {len(trials)} trials are on record ({short}). What follows is of these; "
        "`causalmix sweep --trials` trains the others."
    )
