"""RegMix-ridge: RegMix with ridge regression on shares and their logarithms in place of trees (ours).

On RegMix's public sweep it orders held-out mixtures better than the trees do below some 256 runs.
"""

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalmix.core.history import MIN_ROWS
from causalmix.methods.baselines import regmix
from causalmix.methods.question import Answer, Question

OFFSET = 1e-3  # added to a share before its logarithm
PENALTIES = np.logspace(-4, 3, 15)


def fit(T: np.ndarray, y: np.ndarray, seed: int = 0) -> regmix.Predictor:
    """Ridge on ``[T, log(T + 0.001)]``, its penalty chosen by leave-one-out; ``seed`` is not used."""
    model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(_features(T), np.asarray(y, float))
    return lambda mixtures: model.predict(_features(mixtures))


def _features(T: np.ndarray) -> np.ndarray:
    T = np.asarray(T, float)
    return np.hstack([T, np.log(T + OFFSET)])


def mixture(question: Question) -> Answer:
    """As :func:`causalmix.methods.baselines.regmix.mixture`."""
    y = question.outcomes("RegMix-ridge", MIN_ROWS)
    return regmix.answer(question, fit(question.history.T, y), len(y))
