"""RegMix: boosted trees from mixture to outcome, and the mean of the best candidates.

After Liu et al. (2024, arXiv:2407.01492), with the settings of the official code, but for one thing: there trees stop
early on the held-out mixtures, which leaks them into the fit; here on a part of the training rows.

RegMix-ridge has ridge regression on shares and their logarithms in place of trees (ours): on RegMix's public sweep it
orders held-out mixtures better than the trees do below some 256 runs.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from lightgbm import Dataset, early_stopping, log_evaluation, train
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from causalmix.core.history import MIN_ROWS
from causalmix.core.simplex import sample_dirichlet
from causalmix.methods.policy import capped, check_caps
from causalmix.methods.question import Answer, Question

FOLDS = 7  # about 15% of the rows stop the trees of each fold; the folds' forecasts are averaged

SETTINGS = {
    "objective": "regression", "boosting": "gbdt", "learning_rate": 0.01, "metric": "l2", "seed": 42,
    "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
}  # fmt: skip

TREES, PATIENCE = 1000, 3
OFFSET, PENALTIES = 1e-3, np.logspace(-4, 3, 15)  # of the ridge: added to a share before its logarithm; to choose of
SPARSE = 0.1  # share of zeros in the runs' mixtures above which candidates are not of the runs' design
Predictor = Callable[[np.ndarray], np.ndarray]


def fit(T: np.ndarray, y: np.ndarray, seed: int = 0) -> Predictor:
    """Boosted trees from mixtures to the outcome: the mean of one fit for each fold, so that every row trains most."""
    T, y = np.asarray(T, float), np.asarray(y, float)
    fits = []
    for inner, stop in KFold(FOLDS, shuffle=True, random_state=seed).split(T):
        rows = Dataset(T[inner], y[inner])
        fits.append(train(SETTINGS, rows, TREES, [Dataset(T[stop], y[stop], reference=rows)],
                          callbacks=[early_stopping(PATIENCE, verbose=False), log_evaluation(0)]))  # fmt: skip
    return lambda mixtures: np.mean([f.predict(np.asarray(mixtures, float)) for f in fits], axis=0)


def fit_ridge(T: np.ndarray, y: np.ndarray, seed: int = 0) -> Predictor:
    """Ridge on ``[T, log(T + 0.001)]``, its penalty chosen by leave-one-out; ``seed`` is not used."""
    features = FunctionTransformer(lambda T: np.hstack([T, np.log(T + OFFSET)]))
    return make_pipeline(features, StandardScaler(), RidgeCV(PENALTIES)).fit(T, y).predict


def search(
    predict: Predictor, k: int, seed: int = 0, caps: np.ndarray | None = None, n_candidates: int = 100_000,
    top: int = 128,
) -> np.ndarray:  # fmt: skip
    """The mean of those uniform candidates within caps that have the highest prediction, shape (k,)."""
    caps, candidates = check_caps(caps, k), sample_dirichlet(n_candidates, 1.0, k, seed)
    inside = (candidates <= caps).all(axis=1)
    # Where hardly any mixture fits, those that do are chance; then all are moved to the border, as for CausalMix-S.
    candidates = candidates[inside] if inside.sum() >= top else capped(candidates, caps)
    return candidates[np.argsort(-predict(candidates), kind="stable")[:top]].mean(axis=0)


def mixture(question: Question, fit: Callable[..., Predictor] = fit, method: str = "RegMix") -> Answer:
    """RegMix on the history; detail ``predicted``: what the fit expects of the mixture and of Equal."""
    y = question.outcomes(method, MIN_ROWS)
    predict = fit(question.history.T, y, question.seed)
    of_pool = lambda mixtures: predict(question.whole(mixtures))  # noqa: E731
    weights = search(of_pool, question.k, question.seed, question.caps)
    told = pd.DataFrame({"mixture": ["found", "Equal"], "predicted": of_pool(np.stack([weights, question.even]))})
    # Trees need some 40 runs before they split at all; what they then say of every mixture is the mean.
    flat = np.ptp(of_pool(sample_dirichlet(1000, 1.0, question.k, question.seed))) == 0
    absent = float((question.history.T == 0).mean())
    notes = ["the fit sees no difference between mixtures: too few runs"] * bool(flat)
    if absent > SPARSE:
        notes.append(f"candidates have rows of every domain, unlike the runs, whose shares are {absent:.0%} zeros")
    return Answer(weights, len(y), "; ".join(notes), {"predicted": told})


ridge = partial(mixture, fit=fit_ridge, method="RegMix-ridge")
