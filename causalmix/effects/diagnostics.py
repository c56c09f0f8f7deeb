"""What a statistician asks of estimated returns: are they calibrated, what carries them, what would overturn them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import norm, t as t_distribution

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.core.simplex import log_treatment
from causalmix.effects import double_ml
from causalmix.effects.estimator import STAGES, effects_table, fit_effects
from causalmix.effects.held_out import residuals_of
from causalmix.effects.interface import Effects, normal_quantile

LEVEL = 0.95  # of a joint band
DRAWS = 100_000  # of the largest deviation, for a joint band
FLAT = 1e-6  # of what returns explain: where the state changes less of it, returns do not depend on the state
MEAN, DIFFERENTIAL = "mean prediction", "differential prediction"


def calibration(effects: Effects, n_folds: int = 5, **settings) -> pd.DataFrame:
    """Whether returns, and their differences between states, are as large as they are said to be.

    Out of fold, what is left of the outcome is regressed on what the mean returns predict, bar(theta)'Z~, and on what
    the differences of returns add, (theta(X) - bar(theta))'Z~: the test of calibration of grf (Athey and Wager 2019,
    doi:10.1353/obs.2019.0001), after Chernozhukov et al. (2018, arXiv:1712.04802).  Both coefficients are 1 where the
    predictions are right; a differential one above nought says that there are differences and that they were found.

    The stage is fitted again, with the ``settings``, to the other runs of each of ``n_folds`` folds of the mixtures.
    Two rows ``term, coefficient, coefficient_low, coefficient_high, p``: 95% intervals robust to dependence within
    mixtures, one-sided p-values; the second is NaN where no predicted return depends on the state.
    """
    parts = _out_of_fold(effects, n_folds, settings)
    y, mean, differential, clusters = np.concatenate(parts, axis=1)
    flat = np.sqrt(np.mean(differential**2)) <= FLAT * np.sqrt(np.mean(mean**2))
    design = np.column_stack([mean] if flat else [mean, differential])
    found, terms = double_ml.clustered(y, design, clusters.astype(int)), (MEAN, DIFFERENTIAL)
    columns = dict(zip(("coefficient_low", "coefficient_high"), found.conf_int().T))
    columns = {"coefficient": found.params} | columns | {"p": t_distribution.sf(found.tvalues, int(clusters.max()))}
    return pd.DataFrame(columns, index=terms[: design.shape[1]]).reindex(terms).rename_axis("term").reset_index()


def _out_of_fold(effects: Effects, n: int, settings: Mapping) -> list[np.ndarray]:
    """For each fold what is left of the outcome, what mean returns and their differences predict, and clusters."""
    history, found = effects.history, []
    for _, test in double_ml.folds(history.clusters, n, effects.seed):
        rest = history.take(np.setdiff1d(np.arange(len(history)), test))
        fitted = _again(effects, rest, stage=effects.stage, **settings)
        level, usual = fitted.nuisances(history.X[test])
        y, z = effects.y[test] - level, effects.Z[test] - usual
        mean = fitted.theta(history.X).mean(axis=0)
        more = np.einsum("nk,nk->n", z, fitted.theta(history.X[test]) - mean)
        found.append(np.stack([y, z @ mean, more, history.clusters[test]]))
    return found


def _again(effects: Effects, history: History, **settings) -> Effects:
    """The same question, asked of another history."""
    return fit_effects(
        history, effects.outcome, eps=effects.eps, treatment=effects.treatment, seed=effects.seed, **settings
    )


def effective_runs(effects: Effects) -> pd.DataFrame:
    """How many runs the return of each domain rests on.

    By Frisch, Waugh and Lovell a return weighs each run by what is left of the log share when the state and the other
    log shares are taken out.  Of the squares of these weights, the effective number is that of Kish (1965, Survey
    Sampling, section 11.7): (sum v^2)^2 / sum v^4, which is n where all runs weigh the same, n/3 where weights are
    normal, and about 1 where one run decides.

    Rows are ``domain, runs`` that have any of it, ``effective_runs``, and ``effective_mixtures``, where all runs of one
    mixture count as one.
    """
    weights, T = _weights(effects.left[1], np.eye(len(effects.history.domains))), effects.history.T
    kish = [_kish(weights[:, k], effects.history.clusters) for k in range(weights.shape[1])]
    table = pd.DataFrame({"domain": effects.history.domains, "runs": (T > 0).sum(axis=0)})
    return table.assign(**dict(zip(("effective_runs", "effective_mixtures"), np.transpose(kish))))


def _weights(z: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Weight of each run in the return along each direction, a column of ``directions``: z (z'z)^+ c."""
    return z @ np.linalg.pinv(z.T @ z, hermitian=True) @ directions


def _kish(weights: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """Effective numbers of runs and of clusters."""
    squares = weights**2
    return tuple(float(v.sum() ** 2 / (v**2).sum()) for v in (squares, np.bincount(clusters, squares)))


def overlap(effects: Effects, T_from: np.ndarray, T_to: np.ndarray) -> pd.DataFrame:
    """What the runs say along the way from one mixture to another, shapes (K,), in one row.

    ``spread`` is the standard deviation of the residual contrast c'(Z - e0(X)) / c'c, where c is the step of the log
    treatment and 1 the whole of it; ``beyond`` the share of runs that lie at the second mixture or beyond it along c;
    ``effective_runs`` and ``effective_mixtures`` are as of :func:`effective_runs`, in that direction.
    """
    c, z = _step(effects, T_from, T_to), effects.left[1]
    place = (effects.Z - log_treatment(T_from, effects.eps)) @ c / (c @ c)
    runs, mixtures = _kish(_weights(z, c), effects.history.clusters)
    found = {"spread": float((z @ c / (c @ c)).std()), "beyond": float((place >= 1).mean())}
    return pd.DataFrame([found | {"effective_runs": runs, "effective_mixtures": mixtures}])


def _step(effects: Effects, T_from: np.ndarray, T_to: np.ndarray) -> np.ndarray:
    """The move in log treatment, shape (K,)."""
    c = np.ravel(log_treatment(T_to, effects.eps) - log_treatment(T_from, effects.eps))
    if not c.any():
        raise InputError("Expected a move to another mixture, found none; give two mixtures that differ.")
    return c


@dataclass(frozen=True)
class Robustness:
    """How strong an unmeasured cause must be to overturn a gain; made by :func:`robustness`."""

    gain: float  # of the whole move, on average over the runs' states, units of the outcome
    error: float  # its classical standard error, on which partial R2 rest
    freedom: int  # degrees of freedom that are left
    value: float  # partial R2 with both outcome and move that brings the gain to nought
    value_95: float  # the same for its 95% interval, with errors by mixture, to reach nought
    benchmarks: pd.DataFrame  # one row for each covariate: see robustness()

    def bias(self, r2_outcome: float, r2_move: float) -> float:
        """Most by which a cause with these partial R2 can change the gain (Cinelli and Hazlett 2020, section 4.2)."""
        return float(self.error * np.sqrt(self.freedom * r2_outcome * r2_move / (1 - r2_move)))


def robustness(effects: Effects, T_from: np.ndarray, T_to: np.ndarray) -> Robustness:
    """How strong a cause of mixture and outcome that nobody measured must be to overturn a move's gain, shapes (K,).

    The move c is a treatment of its own: D = c'(Z - e0(X)) / c'c, one unit of which is the whole move.  What is left
    of the outcome is regressed on D beside all that is at right angles to c, so that the coefficient of D is the gain.
    A cause that explains the share ``value`` of what is left of both D and outcome brings that gain to nought, a
    weaker one does not (Cinelli and Hazlett 2020, doi:10.1111/rssb.12348; for double machine learning, Chernozhukov,
    Cinelli, Newey, Sharma and Syrgkanis 2022, arXiv:2112.13398).

    For comparison each covariate is left out as if it had not been measured: ``benchmarks`` have ``covariate,
    r2_outcome, r2_move``, its partial R2, at least nought; ``bias``, the most by which a cause as strong can change the
    gain; and ``gain_left`` by that.  Residuals are those of the cross-fitted nuisances of
    :mod:`causalmix.effects.double_ml`, whatever the stage, for an estimator may have no e0.
    """
    c, history = _step(effects, T_from, T_to), effects.history
    D, y, gain = _contrast(effects, c, history.covariates)
    freedom = len(history) - len(history.domains)
    error = float(np.sqrt(y @ y / freedom / (D @ D)))
    ((_, half),) = double_ml.clustered(y, D, history.clusters).conf_int()  # y has nothing along D, so this is about 0
    values = [robustness_value(max(abs(gain) - less, 0) / error, freedom) for less in (0, half)]
    found = Robustness(gain, error, freedom, *values, pd.DataFrame())
    rows = []
    for name in (history.covariates[j] for j in effects.varying):
        others = [other for other in history.covariates if other != name]
        D_without, y_without, _ = _contrast(effects, c, others)
        r2 = _partial_r2(y, y_without), _partial_r2(D, D_without)
        rows.append((name, *r2, found.bias(*r2), np.sign(gain) * (abs(gain) - found.bias(*r2))))
    columns = ["covariate", "r2_outcome", "r2_move", "bias", "gain_left"]
    return replace(found, benchmarks=pd.DataFrame(rows, columns=columns))


def _contrast(effects: Effects, c: np.ndarray, covariates: Sequence[str]) -> tuple[np.ndarray, np.ndarray, float]:
    """What is left, beside all at right angles to c, of the contrast along c and the outcome, (n,), and c's gain."""
    history = replace(effects.history, covariates=tuple(covariates))
    y, z = residuals_of(history, effects.outcome, effects.seed, eps=effects.eps)
    both, across = np.column_stack([z @ c / (c @ c), y]), z - np.outer(z @ c, c) / (c @ c)
    D, y = (both - across @ np.linalg.lstsq(across, both, rcond=None)[0]).T
    gain = D @ y / (D @ D)
    return D, y - gain * D, float(gain)


def robustness_value(t: float, freedom: int) -> float:
    """Partial R2 with both that takes t classical errors from a coefficient (Cinelli and Hazlett 2020, equation 18)."""
    f2 = t**2 / freedom
    return float((np.sqrt(f2**2 + 4 * f2) - f2) / 2)


def _partial_r2(full: np.ndarray, without: np.ndarray) -> float:
    """Share of what is left without a covariate that it explains; out of fold it may come out below nought."""
    return float(np.clip(1 - full @ full / (without @ without), 0, None))


def joint_bands(effects: Effects, states: Mapping[str, np.ndarray], seed: int = 0) -> pd.DataFrame:
    """Returns in some states, by name, with 95% intervals that hold for all domains at once, and one by one.

    The critical value is the quantile of the largest of K correlated normal deviations, drawn from the posterior's
    covariance (sup-t: Montiel Olea and Plagborg-Moller 2019, doi:10.1002/jae.2656).  Where a posterior has variances
    but no covariance, that of Bonferroni stands in, which is never too small.  Columns are ``state, domain, theta,
    ci_low, ci_high, joint_low, joint_high, critical, rule`` of the critical value, joint over the domains of one state.
    """
    table = effects_table(effects, states).drop(columns="theta_constant")
    found = pd.DataFrame([_critical(effects, x, seed) for x in states.values()], states, ["critical", "rule"])
    table = table.join(found, on="state")
    half = table["critical"] * (table["ci_high"] - table["ci_low"]) / 2 / normal_quantile(LEVEL)
    table.insert(5, "joint_low", table["theta"] - half)
    table.insert(6, "joint_high", table["theta"] + half)
    return table


def _critical(effects: Effects, x: np.ndarray, seed: int) -> tuple[float, str]:
    """Standard errors on either side of a joint band of all returns in one state, and how they were found."""
    posterior, k = effects.posterior(np.atleast_2d(x)), len(effects.history.domains)
    if not hasattr(posterior, "covariance"):
        return float(norm.isf((1 - LEVEL) / 2 / k)), "Bonferroni"
    apart = posterior.mean[:, 0] - np.median(posterior.mean[:, 0], axis=0)
    # As in a pointwise interval, the spread between repeats is a part of the error.
    covariance = (posterior.covariance[:, 0] + np.einsum("rk,rl->rkl", apart, apart)).mean(axis=0)
    values, vectors = np.linalg.eigh(covariance)
    draws = np.random.default_rng([seed, 41]).normal(size=(DRAWS, k))
    draws = draws * np.sqrt(values.clip(0)) @ vectors.T
    errors = np.sqrt(np.diag(covariance))
    largest = np.abs(draws[:, errors > 0] / errors[errors > 0]).max(axis=1)
    return float(np.quantile(largest, LEVEL)), "sup-t"


def every_stage(effects: Effects, stages: Sequence[str] = tuple(STAGES), **settings) -> dict[str, Effects]:
    """The same question, answered by each final stage, that of ``effects`` first.

    The other ``stages`` are fitted with the settings; one that another stands in for, or that needs more runs, is left
    out.
    """
    fitted = {effects.stage: effects}
    for stage in stages:
        if stage not in fitted:
            try:
                other = _again(effects, effects.history, stage=stage, **settings)
            except InputError:  # too few runs for this stage
                continue
            fitted.setdefault(other.stage, other)
    return fitted


def agreement(fits: Mapping[str, Effects], states: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """What twice as many rows of each domain gain in some states, by final stage; whether all 95% intervals meet.

    Beside the runs' mean mixture, in the outcome's unit: a level that all returns share, which some stages leave open,
    all but cancels.  All stages see the same runs, so intervals that meet are no proof; intervals that do not meet say
    that at least one stage is wrong.  Columns are ``state, domain``, for each stage ``<stage>, <stage>_low,
    <stage>_high``, and ``meet``.
    """
    found = {stage: _twice(fit, states) for stage, fit in fits.items()}
    table = next(iter(found.values()))[["state", "domain"]]
    for stage, told in found.items():
        table = table.assign(**{f"{stage}{end}": told[f"gain{end}"] for end in ("", "_low", "_high")})
    low, high = (np.stack([told[end] for told in found.values()]) for end in ("gain_low", "gain_high"))
    return table.assign(meet=low.max(axis=0) <= high.min(axis=0))


def _twice(effects: Effects, states: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Gain of twice as many rows of each domain beside as many of all others: ``state, domain, gain`` and its ends."""
    usual, domains = effects.history.T.mean(axis=0), effects.history.domains
    twice = usual * (1 + np.eye(len(usual)))
    twice /= twice.sum(axis=1, keepdims=True)
    tables = [
        pd.DataFrame(dict(zip(("gain", "gain_low", "gain_high"), effects.gain(x, usual, twice)))).assign(
            state=state, domain=domains
        )
        for state, x in states.items()
    ]
    return pd.concat(tables, ignore_index=True)
