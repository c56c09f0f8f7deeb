"""Data states: tilted candidate pools, the covariates X measured on them, and training samples.

A state is a tilt λ in R^d, a component for each score: candidates of a domain are drawn without replacement with
probability proportional to exp(λ·s), s standardised within the domain.  X is measured on them *before* mixing, so it is
pre-treatment by construction; after mixing is the paper's other possible reading (:func:`mixed_covariates`).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from causalmix.core.errors import InputError
from causalmix.core.parameters import check_name
from causalmix.core.simplex import check_mixture, to_counts
from causalmix.data.scores import SCORES


def tilt(**components: float) -> tuple[float, ...]:
    """A state by the names of the scores that it tilts; without any the pool is left as it is."""
    for name in components:
        check_name(name, SCORES, "score")
    return tuple(float(components.get(name, 0.0)) for name in SCORES)


@dataclass(frozen=True)
class ScoredPool:
    """The part of a pool that sampling needs."""

    domains: tuple[str, ...]  # in the order of every mixture
    codes: np.ndarray  # index of each row's domain, shape (n_rows,)
    scores: np.ndarray  # raw, shape (n_rows, n_scores)
    names: tuple[str, ...] = tuple(SCORES)

    @classmethod
    def from_table(cls, table: pd.DataFrame, domains: tuple[str, ...], names: tuple[str, ...] | None = None) -> Self:
        """Read a pool's table: ``domain`` and the scores, by default all of :data:`SCORES`."""
        names = tuple(SCORES if names is None else names)
        if missing := [c for c in ("domain", *names) if c not in table]:
            expected = f"the columns domain, {', '.join(names)}"
            raise InputError(f"Expected {expected}, found no {', '.join(missing)}; score it.")
        scores = table[list(names)].to_numpy(float)
        if nan := (~np.isfinite(scores)).sum():
            raise InputError(
                f"Expected finite scores, found {nan} NaN or infinite; score those rows again or drop them."
            )
        codes = table["domain"].map({d: i for i, d in enumerate(domains)}).to_numpy(int)
        return cls(tuple(domains), codes, scores, names)

    def standardised(self) -> np.ndarray:
        """Scores with mean 0 and standard deviation 1 in each domain, shape (n_rows, n_scores)."""
        standard = np.empty_like(self.scores)
        for code in range(len(self.domains)):
            part = self.scores[self.codes == code]
            spread = part.std(axis=0)
            standard[self.codes == code] = (part - part.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return standard


def draw_candidates(pool: ScoredPool, state: np.ndarray, per_domain: int, seed: int) -> np.ndarray:
    """Candidate rows of a state, without replacement (Gumbel top-k within each domain).

    ``state`` is the tilt λ, shape (n_scores,), per standard deviation of each score in its domain; zeros leave the pool
    as it is.  Row positions in the pool, domain after domain: ``per_domain`` of each, or all that it has.
    """
    state = np.asarray(state, float)
    if state.shape != (pool.scores.shape[1],) or not np.isfinite(state).all():
        raise InputError(
            f"Expected a state of {pool.scores.shape[1]} finite numbers, found {state.tolist()}; "
            f"give one tilt for each of {', '.join(pool.names)}."
        )
    keys = pool.standardised() @ state + np.random.default_rng([seed, 1]).gumbel(size=len(pool.codes))
    chosen = []
    for code in range(len(pool.domains)):
        rows = np.flatnonzero(pool.codes == code)
        # In the pool's order: keys that differ in their last digits between machines must not reorder a sample.
        chosen.append(np.sort(rows[np.argsort(-keys[rows], kind="stable")[:per_domain]]))
    return np.concatenate(chosen)


def candidate_covariates(pool: ScoredPool, candidates: np.ndarray) -> dict[str, float]:
    """X before mixing: each score's mean over the candidates, domains weighted equally."""
    means = domain_means(pool, candidates)
    return {f"x_{name}": float(means[:, j].mean()) for j, name in enumerate(pool.names)}


def mixed_covariates(pool: ScoredPool, sample: np.ndarray) -> dict[str, float]:
    """X after mixing: each score's mean over the training sample; a function of T, hence a mediator."""
    return {f"x_{name}": float(v) for name, v in zip(pool.names, pool.scores[sample].mean(axis=0))}


def domain_means(pool: ScoredPool, rows: np.ndarray) -> np.ndarray:
    """Mean of each score in each domain over the given rows, shape (n_domains, n_scores)."""
    codes = pool.codes[rows]
    return np.stack([pool.scores[rows[codes == k]].mean(axis=0) for k in range(len(pool.domains))])


def draw_sample(
    pool: ScoredPool, candidates: np.ndarray, weights: np.ndarray, n_samples: int, seed: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Draw a training sample of a mixture from the candidates, shape (n_samples,); rows drawn again by domain."""
    weights = check_mixture(weights, pool.domains)
    rng, codes = np.random.default_rng([seed, 2]), pool.codes[candidates]
    drawn, repeats = [], {}
    for code, count in enumerate(to_counts(weights, n_samples)):
        rows = candidates[codes == code]
        if count > len(rows):
            repeats[pool.domains[code]] = int(count - len(rows))
        # Whole epochs over the domain first, so that no row is repeated twice before another once.
        rounds = [rng.permutation(rows) for _ in range(-(-int(count) // len(rows)))]
        drawn += [np.concatenate(rounds)[:count]] if rounds else []
    return np.concatenate(drawn), repeats
