"""Bayesian linear regression whose coefficients are mostly next to nothing: horseshoe priors, by Gibbs sampling.

    y = D b + e,   b_j ~ N(0, lambda_g^2 tau_t^2),   lambda_g, tau_t ~ half-Cauchy,   Var e = sigma^2,

where column j is of group g and kind t: tau_t says how much there is of a kind at all, lambda_g lets single groups
stand out (Carvalho, Polson and Scott 2010, doi:10.1093/biomet/asq017).  Half-Cauchy variables are mixtures of inverse
gammas (Makalic and Schmidt 2016, doi:10.1109/LSP.2015.2503725), so every step draws from a known distribution.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import lapack, solve_triangular

FLAT = 10.0  # prior variance of free coefficients, in units of the outcome's
SCALE = 1e-3  # of the half-Cauchy prior of tau of what need not be there
NOISE = (1.5, 0.03)  # shape and rate of the inverse gamma prior of sigma^2
BOUNDS = (1e-8, 1e8)  # of every variance, against overflow
EVERY = 4  # sweeps after which the conditional covariance is taken into the mean


@dataclass(frozen=True)
class Prior:
    """What is believed of each of P coefficients before the data."""

    group: np.ndarray  # number of its group, shape (P,)
    kind: np.ndarray  # number of its group's kind, shape (P,)
    free: np.ndarray  # kinds that are not shrunk, shape (kinds,)
    sparse: np.ndarray  # kinds whose groups have scales of their own, shape (kinds,)
    scale: np.ndarray  # of the half-Cauchy prior of each kind's tau, shape (kinds,)
    own: int = -1  # the kind of columns that tell one cluster each; -1 where there is none

    def part(self, where: np.ndarray) -> Self:
        """Of some of the coefficients."""
        kinds, kind = np.unique(self.kind[where], return_inverse=True)
        group = np.unique(self.group[where], return_inverse=True)[1]
        own = int(np.flatnonzero(kinds == self.own)[0]) if self.own in kinds else -1
        return Prior(group, kind, self.free[kinds], self.sparse[kinds], self.scale[kinds], own)


@dataclass(frozen=True)
class Posterior:
    """What is known of the coefficients: moments over all draws of the variances."""

    mean: np.ndarray  # shape (P,)
    covariance: np.ndarray  # shape (P, P)
    noise: float  # sigma^2
    left_out: np.ndarray  # log density of each cluster's outcomes by all other runs, shape (clusters,)


def sample(
    D: np.ndarray, y: np.ndarray, prior: Prior, clusters: np.ndarray, seed: int, burn: int = 200, keep: int = 400,
    exact: bool = False,
) -> Posterior:  # fmt: skip
    """Draw the variances, and average what the coefficients are given them, which is known exactly (Rao-Blackwell).

    So are densities of left-out clusters, where ``exact``: dearer, and right where columns are as many as runs.
    """
    rng, (n, p) = np.random.default_rng(seed), D.shape
    groups, kinds = prior.group.max() + 1, len(prior.free)
    size, kind_of = np.bincount(prior.group), np.zeros(groups, int)
    kind_of[prior.group] = prior.kind
    columns, sparse, free = np.bincount(prior.kind, minlength=kinds), prior.sparse[kind_of], prior.free[prior.kind]
    inverse_gamma = lambda shape, rate: np.clip(1 / rng.gamma(shape, 1 / rate), *BOUNDS)  # noqa: E731
    gram, moment, square = D.T @ D, D.T @ y, y @ y
    local, local_rate, tau, tau_rate = np.ones(groups), np.ones(groups), np.full(kinds, prior.scale**2), np.ones(kinds)
    noise, diagonal = 0.3, np.diag_indices(p)
    means, within, noises, densities = [], np.zeros((p, p)), [], []
    own, alone = prior.own, np.where(prior.kind == prior.own, 0.0, 1.0)
    for sweep in range(burn + keep):
        weight = np.where(free, 1 / FLAT, 1 / (local[prior.group] * tau[prior.kind]))
        A, given = gram / noise, noise
        A[diagonal] += weight
        L, _ = lapack.dpotrf(A, lower=1)
        mean = lapack.dpotrs(L, moment / noise, lower=1)[0]
        b = mean + lapack.dtrtrs(L, rng.normal(size=p), lower=1, trans=1)[0]
        missed = square - 2 * b @ moment + b @ gram @ b
        noise = float(inverse_gamma(NOISE[0] + n / 2, NOISE[1] + max(missed, 0) / 2))
        energy = np.bincount(prior.group, b**2)
        local = inverse_gamma((size + 1) / 2, 1 / local_rate + energy / tau[kind_of] / 2)
        local = np.where(sparse, local, 1.0)
        local_rate = inverse_gamma(1, 1 + 1 / local)
        spread = np.bincount(kind_of, energy / local, minlength=kinds)
        tau = inverse_gamma((columns + 1) / 2, 1 / tau_rate + spread / 2)
        tau_rate = inverse_gamma(1, 1 / prior.scale**2 + 1 / tau)
        if sweep >= burn:
            means.append(mean), noises.append(noise)
            shared = tau[own] if own >= 0 else 0.0
            if not exact:
                densities.append(_log_density(y - D @ (b * alone), clusters, noise, shared))
            elif sweep % EVERY == 0:
                densities.append(_without(D, y - D @ mean, L, given, clusters))
            if sweep % EVERY == 0:
                within += lapack.dpotri(L, lower=1)[0]
    within = np.tril(within) + np.tril(within, -1).T
    means = np.array(means)
    covariance = within / (keep // EVERY) + np.cov(means.T)
    return Posterior(means.mean(axis=0), covariance, float(np.mean(noises)), _left_out(np.array(densities)))


def _log_density(left: np.ndarray, clusters: np.ndarray, noise: float, shared: float) -> np.ndarray:
    """Of each cluster's residuals, with covariance noise on the diagonal and a shared variance all over."""
    size, total, square = (np.bincount(clusters, v) for v in (np.ones(len(left)), left, left**2))
    together = noise + size * shared
    logdet = (size - 1) * np.log(noise) + np.log(together)
    return -0.5 * (size * np.log(2 * np.pi) + logdet + (square - shared * total**2 / together) / noise)


def _without(D: np.ndarray, left: np.ndarray, L: np.ndarray, noise: float, clusters: np.ndarray) -> np.ndarray:
    """Log density of each cluster's outcomes by all other runs, by its residuals and leverage, given the variances."""
    half = solve_triangular(L, D.T, lower=True, check_finite=False)
    free = 1 - (half**2).sum(axis=0) / noise
    found = np.bincount(clusters, -0.5 * (np.log(2 * np.pi * noise / free) + left**2 / (noise * free)))
    for cluster in np.flatnonzero(np.bincount(clusters) > 1):
        own = np.flatnonzero(clusters == cluster)
        inverse = np.eye(len(own)) - half[:, own].T @ half[:, own] / noise  # of the covariance, in units of the noise
        log_det = np.linalg.slogdet(inverse)[1]
        square = left[own] @ np.linalg.solve(inverse, left[own]) / noise
        found[cluster] = -0.5 * (len(own) * np.log(2 * np.pi * noise) - log_det + square)
    return found


def _left_out(densities: np.ndarray) -> np.ndarray:
    """Log density of each cluster by the others, from its log density in S draws, shape (S, clusters).

    By importance sampling with truncated weights (Ionides 2008, doi:10.1198/106186008X320456).
    """
    odd = -densities - (-densities).max(axis=0)
    weight = np.exp(odd)
    weight = np.minimum(weight, np.sqrt(len(weight)) * weight.mean(axis=0))
    top = densities.max(axis=0)
    return np.log((weight * np.exp(densities - top)).sum(axis=0) / weight.sum(axis=0)) + top


def model_weights(densities: np.ndarray, seed: int, draws: int = 1000) -> np.ndarray:
    """Weights of M models by their log densities of left-out clusters, shape (M, clusters): pseudo-BMA+ by a Bayesian
    bootstrap over clusters (Yao et al. 2018, doi:10.1214/17-BA1091, section 3.4)."""
    n = densities.shape[1]
    shares = np.random.default_rng([seed, 23]).dirichlet(np.ones(n), draws)
    logs = n * shares @ densities.T
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).mean(axis=0)


def average(models: list[tuple[np.ndarray, Posterior]], weights: np.ndarray, p: int) -> Posterior:
    """One posterior of p coefficients from those of models that each have only the given ones of them."""
    means, inside = np.zeros((len(models), p)), np.zeros((p, p))
    for mean, weight, (where, known) in zip(means, weights, models):
        mean[where] = known.mean
        inside[np.ix_(where, where)] += weight * known.covariance
    centre = weights @ means
    between = (means - centre).T * weights @ (means - centre)
    noise = float(weights @ [known.noise for _, known in models])
    return Posterior(centre, inside + between, noise, weights @ [known.left_out for _, known in models])
