"""Mixtures as points of the simplex, in the last axis of arrays: sampling, log-ratios and rounding to row counts."""

from collections.abc import Sequence

import numpy as np

from causalmix.core.errors import InputError
from causalmix.core.history import ROUNDING

HALVINGS = 60  # of an interval, after which floats do not tell its ends apart


def check_mixture(w: Sequence[float], domains: Sequence[str]) -> np.ndarray:
    """One mixture, shape (K,), divided by its sum, which has to be within 0.005 of 1; InputError for anything else."""
    w = np.asarray(w, dtype=float)
    if w.shape != (len(domains),):
        raise InputError(f"Expected one weight for each of {', '.join(domains)}, found {w.size}; give {len(domains)}.")
    off = ~np.isfinite(w) | (w < 0)
    if off.any():
        i = int(np.argmax(off))
        raise InputError(f"Expected weights of at least 0, found {w[i]:g} for {domains[i]}; give a share in [0, 1].")
    if abs(w.sum() - 1) > ROUNDING:
        raise InputError(f"Expected weights that sum to 1, found a sum of {w.sum():.6g}; divide them by their sum.")
    return w / w.sum()


def sample_dirichlet(n: int, alpha: np.ndarray | float, k: int, seed: int) -> np.ndarray:
    """Draw n mixtures, shape (n, k); alpha is a positive concentration, one for all or each domain; 1 is uniform."""
    alpha = np.asarray(alpha, dtype=float)
    if alpha.shape not in ((), (k,)) or not np.all(np.isfinite(alpha) & (alpha > 0)):
        raise InputError(f"Expected one positive concentration or {k} of them, found {alpha.tolist()}; correct alpha.")
    return np.random.default_rng(seed).dirichlet(np.broadcast_to(alpha, k), size=n)


def log_treatment(T: np.ndarray, eps: float) -> np.ndarray:
    """The treatment of the causal model, ``log(T + eps)``, for shares of any shape (..., K).

    A coefficient is a return to a relative change of a share; eps, a share, keeps domains that are left out finite.
    """
    if not eps > 0:
        raise InputError(f"Expected a positive offset eps, found {eps}; choose for instance 0.01.")
    return np.log(np.asarray(T, dtype=float) + eps)


def clr(T: np.ndarray) -> np.ndarray:
    """Centred log-ratio of positive parts (..., K) (Aitchison 1982, doi:10.1111/j.2517-6161.1982.tb01195.x)."""
    T = np.asarray(T, dtype=float)
    if not (T > 0).all():
        raise InputError(f"Expected positive parts, found {T.min():g}; add a small offset before taking log-ratios.")
    logs = np.log(T)
    return logs - logs.mean(axis=-1, keepdims=True)


def nearest(W: np.ndarray, floors: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """The nearest mixtures (Euclidean) within floors and caps, shape (n, K): one shift of all shares, then cut."""
    low, high = (W - caps).min(axis=1), (W - floors).max(axis=1)  # all at their caps; all at their floors
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        more = np.clip(W - middle[:, None], floors, caps).sum(axis=1) > 1
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return np.clip(W - high[:, None], floors, caps)


def to_counts(w: Sequence[float], n: int) -> np.ndarray:
    """Round a mixture of ``n`` rows to whole rows by largest remainder; ties go to the first domain."""
    exact = np.asarray(w, dtype=float) * n / np.sum(w)
    counts = np.floor(exact).astype(int)
    # Rounded, so that the last bit of a float does not decide between equal remainders.
    order = np.argsort(-(exact - counts).round(9), kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts
