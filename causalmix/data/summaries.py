"""Tables that tell what a pool holds, what state it is in and what models are asked."""

import numpy as np
import pandas as pd
from datasets import Dataset

from causalmix.core.intervals import explained
from causalmix.data import states
from causalmix.data.scored_pools import World
from causalmix.data.scores import SCORES, flatten
from causalmix.lm import benchmarks, outcomes


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Rows, mean tokens and mean and standard deviation of each score, domain by domain."""
    groups = table.groupby("domain", sort=False)
    parts = {"rows": groups.size(), "tokens": groups["n_tokens"].mean()}
    for name in SCORES:
        parts |= {f"{name}_mean": groups[name].mean(), f"{name}_sd": groups[name].std()}
    return pd.DataFrame(parts).reset_index()


def overlap_table(before: np.ndarray, after: np.ndarray, mixtures: np.ndarray) -> pd.DataFrame:
    """Share of each covariate's variance explained by the mixture, X before and after mixing."""
    shares = {
        f"measured_{when}_mixing": explained(x, mixtures[:, :-1]) for when, x in (("before", before), ("after", after))
    }
    return pd.DataFrame({"covariate": [f"x_{s}" for s in SCORES]} | shares)


def target_state(world: World, n_samples: int) -> pd.DataFrame:
    """The state of a whole pool as it is, and the rows that each domain has for a target run, in one row."""
    scored, rows = world.scored, np.bincount(world.scored.codes, minlength=len(world.scored.domains))
    state = states.candidate_covariates(scored, np.arange(len(scored.codes)))
    counts = {f"rows_{d}": int(n) for d, n in zip(scored.domains, rows)}
    return pd.DataFrame([{"pool": "whole", "n_samples": n_samples} | state | counts])


def task_table(world: World) -> pd.DataFrame:
    """What models that were trained on a pool are asked."""
    tasks = world.kind.tasks()
    public = all(isinstance(task, benchmarks.Benchmark) for task in tasks)
    return (benchmarks.benchmark_table if public else outcomes.task_table)(tasks)


def measure_states(
    world: World, tilts: np.ndarray, mixtures: np.ndarray, candidates: int, n_samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Covariates of many states before and after mixing, each of shape (n_states, n_scores); nothing is trained.

    Before: of the candidates; after: of a sample of each state's mixture.
    """
    before, after = [], []
    for i, (tilt, weights) in enumerate(zip(tilts, mixtures)):
        chosen = states.draw_candidates(world.scored, tilt, candidates, seed + i)
        sample, _ = states.draw_sample(world.scored, chosen, weights, n_samples, seed + i)
        before.append(list(states.candidate_covariates(world.scored, chosen).values()))
        after.append(list(states.mixed_covariates(world.scored, sample).values()))
    return np.array(before), np.array(after)


def examples(pool: Dataset, per_domain: int, seed: int) -> pd.DataFrame:
    """A few rows of each domain with their scores, for reading."""
    table = pool.to_pandas()
    rows = table.groupby("domain", sort=False).sample(per_domain, random_state=seed)
    turns = pd.DataFrame([flatten(messages) for messages in rows["messages"]], columns=["prompt", "completion"])
    return pd.concat([rows[["domain", *SCORES]].reset_index(drop=True), turns], axis=1)
