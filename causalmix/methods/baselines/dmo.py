"""DMO: a scaling law of each domain's loss, minimised at the target's size (Li, Liu, Xing 2025, PMLR 267:35419).

L_i(w) = c_i (N_i + gamma_i (N - N_i)^alpha_i)^(-beta_i) + e_i with N_i = w_i N rows of domain i among N in all; losses
are in nats per scored token.

The authors perturb one domain at a time and fit in two steps, beta first.  So does this, but by Huber's loss over all
runs of the design: their ratios of loss differences divide noise by noise where losses differ by hundredths of a nat.
Their loss is one perplexity over all domains, ours each domain's own; no downstream score is seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import least_squares, minimize

from causalmix.core.errors import InputError
from causalmix.core.history import ROUNDING
from causalmix.methods.policy import check_caps
from causalmix.methods.question import Answer, ProxyRun, Question

FACTORS = (1 / 3, 1 / 2, 2.0, 3.0)  # of a domain's rows, the others as they are; the base point besides
HUBER = 1e-3  # nats, the authors'
BETAS = (1e-3, 1.0)
LEAST_TRANSFER = 1e-9  # of the others' rows: a logarithm needs some
LEAST_POSITIVE = 1e-12
LEAST = 1e-6  # share that SLSQP leaves a domain: without transfer the law is infinitely steep at none
CLOSE = 3e-5  # nats for each domain that the mixture may miss of the smallest sum of losses
SAME = 1e-10  # of a fit's cost: what rounding makes of equal fits
TABLE_FIT = "DMO (table-fit)"


@dataclass(frozen=True)
class Law:
    """Parameters of every domain's law, arrays of shape (K,); losses in nats, sizes in rows of training data."""

    beta: np.ndarray
    c: np.ndarray
    gamma: np.ndarray
    alpha: np.ndarray
    e: np.ndarray

    def losses(self, sizes: np.ndarray) -> np.ndarray:
        """Losses of each domain, nats, for rows by domain; both of shape (..., K)."""
        sizes = np.asarray(sizes, float)
        return self.c * self._effective(sizes) ** (-self.beta) + self.e

    def slopes(self, sizes: np.ndarray) -> np.ndarray:
        """Change of each domain's loss, nats per row, as it gets a row that another gives up; shape (..., K)."""
        sizes = np.asarray(sizes, float)
        lost = self.gamma * self.alpha * _others(sizes) ** (self.alpha - 1)
        return -self.beta * self.c * self._effective(sizes) ** (-self.beta - 1) * (1 - lost)

    def _effective(self, sizes: np.ndarray) -> np.ndarray:
        return np.maximum(sizes + self.gamma * _others(sizes) ** self.alpha, LEAST_POSITIVE)


def _others(sizes: np.ndarray) -> np.ndarray:
    return np.maximum(sizes.sum(axis=-1, keepdims=True) - sizes, LEAST_POSITIVE)


def proxies(k: int, n_samples: int, seed: int) -> list[ProxyRun]:
    """The runs that DMO asks for: 4k + 1 sizes with the next two seeds each; an equal run is the base point."""
    if (n0 := n_samples // k) < 3:
        raise InputError(f"Expected at least 3 rows of each domain at DMO's base point, found {n0}; raise n0.")
    sizes = [np.full(k, n0)]
    for domain in range(k):
        sizes += [np.where(np.arange(k) == domain, round(n0 * factor), n0) for factor in FACTORS]
    return [ProxyRun(tuple(rows / rows.sum()), int(rows.sum()), seed + j) for rows in sizes for j in (1, 2)]


def fit(sizes: np.ndarray, losses: np.ndarray, domains: Sequence[str] = ()) -> Law:
    """The law of every domain from rows and validation losses (nats per scored token), both of shape (n, K)."""
    sizes, losses = np.asarray(sizes, float), np.asarray(losses, float)
    if not np.ptp(losses, axis=0).any():
        raise InputError("Expected validation losses that differ between DMO's runs, found the same; vary mixtures.")
    # What rounding of shares makes of one number of rows is not a design.
    stuck = np.flatnonzero(np.ptp(sizes, axis=0) <= 2 * ROUNDING * sizes.max(axis=0))
    if len(stuck):
        name = domains[stuck[0]] if len(domains) else f"domain {stuck[0]}"
        raise InputError(
            f"Expected rows of each domain that differ between DMO's runs, found about {sizes[0, stuck[0]]:.0f} "
            f"of {name} in all {len(sizes)}; vary its share."
        )
    fitted = [_fit_domain(*columns) for columns in zip(sizes.T, _others(sizes).T, losses.T)]
    return Law(*np.array(fitted).T)


def _fit_domain(own: np.ndarray, others: np.ndarray, loss: np.ndarray) -> tuple[float, ...]:
    """beta, c, gamma, alpha, e of one domain; within, sizes count in units of the mean own rows."""
    unit, most = float(own.mean()), float(others.mean())
    # Transfer is written as a share of the others' rows, so that it never exceeds them at their mean.
    starts = [(b, a) for b in (0.05, 0.2, 0.5) for a in (0.01, 0.1, 0.5)]
    limits = ((BETAS[0], 0.0), (BETAS[1], 1.0))
    beta, share = _best(lambda p: ((own + p[1] * most) / unit, p[0]), loss, starts, limits)[:2]

    def effective(p: np.ndarray) -> np.ndarray:
        return (own + np.exp(p[0]) * most * (others / most) ** p[1]) / unit

    level = np.log(max(share, LEAST_TRANSFER))
    limits = ((np.log(LEAST_TRANSFER), 0.0), (0.0, 1.0))
    level, alpha, c, e = _best(lambda p: (effective(p), beta), loss, [(level, a) for a in (0.1, 0.5, 0.9)], limits)
    return beta, c * unit**beta, np.exp(level) * most ** (1 - alpha), alpha, e


def _best(form: Callable, loss: np.ndarray, starts: Sequence, limits: tuple) -> np.ndarray:
    """The best of fits, each from p and its c and e of least squares, of loss = c M^-beta + e, (M, beta) = form(p)."""

    def residuals(q: np.ndarray) -> np.ndarray:
        effective, beta = form(q[:-2])
        return q[-2] * np.maximum(effective, LEAST_POSITIVE) ** (-beta) + q[-1] - loss

    bounds = ((*limits[0], 0.0, 0.0), (*limits[1], np.inf, np.inf))
    fits = []
    for start in starts:
        start = np.clip(start, *limits)
        first = (*start, *_linear(*form(start), loss))
        # Losses differ by hundredths of a nat: without a scale of its own Huber's loss would be all quadratic.
        options = {"loss": "huber", "f_scale": HUBER, "x_scale": "jac", "max_nfev": 300}
        fits.append(least_squares(residuals, first, bounds=bounds, **options))
    # In runs of one size, transfer that grows with the others' rows (alpha 1) and one that never does (0) are one law
    # up to rounding, and foretell other sizes apart: of equals the larger exponent is taken, on every machine.
    return max((f for f in fits if f.cost <= (1 + SAME) * min(f.cost for f in fits)), key=lambda f: f.x[1]).x


def _linear(effective: np.ndarray, beta: float, loss: np.ndarray) -> tuple[float, float]:
    """c and e, both at least 0, of loss = c effective^-beta + e by least squares."""
    feature = np.maximum(effective, LEAST_POSITIVE) ** (-beta)
    centred = feature - feature.mean()
    spread = float(centred @ centred)
    c = max(float(centred @ loss) / spread, 0.0) if spread > 0 else 0.0
    return c, max(float(loss.mean() - c * feature.mean()), 0.0)


def optimal_weights(law: Law, n: float, caps: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """The mixture of ``n`` rows within largest shares with the smallest sum of losses, (K,), and that sum."""
    k = len(law.beta)
    upper = np.minimum(check_caps(caps, k), 1.0)
    even = law.losses(np.full(k, n / k)).sum()
    start = np.minimum(1 / k, upper)
    # SLSQP stops by absolute change, and here the whole gain may be thousandths of a nat.
    unit = max(float(np.ptp(law.slopes(start * n) * n)), LEAST_POSITIVE)

    def downhill(w: np.ndarray) -> np.ndarray:
        """Gradient of the sum of losses in w / sum(w), shape (K,)."""
        slopes = law.slopes(w * n / w.sum()) * n
        return (slopes - slopes @ w / w.sum()) / w.sum() / unit

    found = minimize(
        lambda w: float(law.losses(w * n / w.sum()).sum() - even) / unit, start,
        jac=downhill, method="SLSQP", bounds=list(zip(np.minimum(upper, LEAST), upper)),
        options={"ftol": 1e-12, "maxiter": 1000},
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
    )  # fmt: skip
    weights = np.clip(found.x, 0, None)
    weights = np.minimum(weights / weights.sum(), upper)
    # Judged by what is left to gain, not by SLSQP's own word: its line search often ends at rounding error.
    left, total = _left_to_gain(law.slopes(weights * n) * n, weights, upper), float(law.losses(weights * n).sum())
    if not left < CLOSE * k:
        raise InputError(
            f"Expected DMO within {CLOSE * k:.2g} nats of its minimum, found {left:.2g} left; ask for more rows."
        )
    return weights, total


def _left_to_gain(gradient: np.ndarray, w: np.ndarray, upper: np.ndarray) -> float:
    """Bound on what a convex function can still lose below its value at ``w``: the gap of Frank and Wolfe."""
    order, best = np.argsort(gradient), np.empty_like(w)
    best[order] = np.diff(np.minimum(np.cumsum(upper[order]), 1.0), prepend=0.0)
    return float(gradient @ (w - best))


def mixture(question: Question) -> Answer:
    """DMO by its own runs, two seeds of each (the authors have one); details ``law`` and ``predicted``, in nats."""
    runs = proxies(question.k, question.history.usual_rows, question.seed)
    losses = validation_losses(question.trained("DMO", runs), question.history.domains)
    sizes = np.array([np.array(run.weights) * run.n_samples for run in runs])
    law = fit(sizes, losses, question.history.domains)
    return _answer(question, law, len(runs), f"{len(runs)} runs of its own design")


def validation_losses(records: Sequence[dict], domains: Sequence[str]) -> np.ndarray:
    """Validation losses of recorded runs, nats, shape (n, K); refuses a run without one of each domain."""
    found = [record["training"].get("validation_loss", {}) for record in records]
    if missing := sorted({d for row in found for d in domains if d not in row}):
        raise InputError(f"Expected validation losses for DMO, found none of {', '.join(missing)}; train on such rows.")
    return np.array([[row[d] for d in domains] for row in found], float)


def table_fit(question: Question, losses: np.ndarray) -> Answer:
    """The same law fitted to the history's runs, not the authors' design, by their validation losses, nats, (n, K)."""
    history = question.history
    sizes = history.T * history.frame["n_samples"].to_numpy(float)[:, None]
    law = fit(sizes, losses, history.domains)
    return _answer(question, law, len(losses), f"{TABLE_FIT}: not the authors' design")


def _answer(question: Question, law: Law, runs: int, note: str) -> Answer:
    weights, total = optimal_weights(law, question.n_samples, question.caps)
    even = law.losses(question.n_samples * question.even).sum()
    told = pd.DataFrame({"mixture": ["found", "Equal"], "sum_of_losses": [total, even]})
    laws = pd.DataFrame({"domain": question.history.domains} | vars(law))
    return Answer(weights, runs, note, {"law": laws, "predicted": told})
