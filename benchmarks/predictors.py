"""Every predictor of an outcome from a mixture side by side, on sweeps that others published."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from fetch_sweeps import PARAMETERS
from lightgbm import LGBMRegressor
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalmix.core.errors import InputError
from causalmix.core.history import History
from causalmix.core.simplex import log_treatment
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import EPS, Effects
from causalmix.effects.public_sweeps import published
from causalmix.methods.baselines import regmix

FOLDS = 5
Predictor = Callable[[np.ndarray], np.ndarray]
Learner = Callable[[History, str, int], Predictor]


def _stage(name: str) -> Learner:
    """An estimator of the project, by what it predicts of the outcome."""

    def learn(history: History, outcome: str, seed: int) -> Predictor:
        effects = fit_effects(history, outcome, name, seed=seed)
        return lambda T: effects.predict(np.zeros((1, 0)), T)

    return learn


def _regmix(history: History, outcome: str, seed: int) -> Predictor:
    return regmix.fit(history.T, history.y(outcome), seed)


def _trees(history: History, outcome: str, seed: int) -> Predictor:
    """Boosted trees, as many as are asked for."""
    fitted = LGBMRegressor(n_estimators=500, learning_rate=0.05, min_child_samples=5, random_state=seed, n_jobs=1,
                           verbose=-1)  # fmt: skip
    return fitted.fit(history.T, history.y(outcome)).predict


def _ridge(history: History, outcome: str, seed: int) -> Predictor:
    phi = lambda T: np.hstack([T, np.sqrt(T)])  # noqa: E731
    fitted = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-4, 3, 30))).fit(phi(history.T), history.y(outcome))
    return lambda T: fitted.predict(phi(T))


def _process(history: History, outcome: str, seed: int) -> Predictor:
    """A Gaussian process with a linear and a smooth kernel."""
    phi = lambda T: np.hstack([T, log_treatment(T, EPS)])  # noqa: E731
    size = lambda: ConstantKernel(1, (1e-3, 1e3))  # noqa: E731
    kernel = size() * DotProduct(1, (1e-3, 1e3)) + size() * RBF(1, (0.1, 100)) + WhiteKernel(0.01, (1e-5, 1))
    regressor = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
    fitted = make_pipeline(StandardScaler(), regressor).fit(phi(history.T), history.y(outcome))
    return lambda T: fitted.predict(phi(T))


#: What learns an outcome from the mixtures of a history.
PREDICTORS: dict[str, Learner] = {
    "linear stage": _stage("linear"),
    "bayesian stage": _stage("bayesian"),
    "RegMix": _regmix,
    "LightGBM, 500 trees": _trees,
    "ridge on [w, sqrt w]": _ridge,
    "GP on [w, log w]": _process,
}
JUDGES = ("LightGBM, 500 trees", "GP on [w, log w]")  # of a gain that the project's stage predicts


def predictors_table(
    runs: Sequence[int] = (32, 64, 128, 512), repeats: int = 3, outcome: str = "y_pile_cc",
    predictors: Sequence[str] = tuple(PREDICTORS), tell: Callable[[dict], None] = lambda line: None,
) -> pd.DataFrame:  # fmt: skip
    """Compare predictors on the sweeps of RegMix and olmix.

    ``runs`` at 1M of RegMix are learnt from; fewer than all are drawn ``repeats`` times.  ``outcome`` is RegMix's; that
    of olmix is the mean of all tasks, out of fold.  ``tell`` is given each row as soon as it is there.

    Rows are ``sweep, predictor, n, judged_at, repeats, spearman, error``: the mean of Spearman's correlation with the
    outcomes of test mixtures, and the standard error of that mean; none where there is one repeat, or where the
    predictor refuses so few runs.
    """
    sweep, scales, lines = published("regmix_1m"), published("regmix_scales"), []
    tests = {scale: scales.take(np.flatnonzero(scales.frame["model"] == scale)) for scale in PARAMETERS}
    for n in runs:
        draws = [
            np.random.default_rng([n, i]).permutation(len(sweep))[:n] for i in range(1 if n >= len(sweep) else repeats)
        ]
        for name in predictors:
            fits = [_fitted(PREDICTORS[name], _alone(sweep, rows), outcome, seed) for seed, rows in enumerate(draws)]
            for scale, test in tests.items():
                found = [_spearman(predict(test.T), test.y(outcome)) for predict in fits]
                lines.append(_line("RegMix", name, len(draws[0]), scale, found))
                tell(lines[-1])
    olmix = published("olmix_dclm")
    for name in predictors:
        forecasts = [_out_of_fold(olmix, "y_dev", PREDICTORS[name], seed) for seed in range(repeats)]
        found = [_spearman(predicted, olmix.y("y_dev")) for predicted in forecasts]
        lines.append(_line("olmix DCLM", name, len(olmix), "out of fold", found))
        tell(lines[-1])
    return pd.DataFrame(lines)


def _fitted(learn: Learner, history: History, outcome: str, seed: int) -> Predictor:
    """What was learnt, or what knows nothing, where a predictor asks for more runs."""
    try:
        return learn(history, outcome, seed)
    except InputError:
        return lambda T: np.full(len(T), np.nan)


def _alone(history: History, rows: np.ndarray) -> History:
    """Some runs, as if there had been no others."""
    part = history.take(rows)
    return History(part.frame, part.domains, part.covariates, part.axes)


def _spearman(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Zero where all forecasts are the same, for they order nothing; none where there is no forecast."""
    if np.isnan(predicted).any():
        return np.nan
    return float(spearmanr(predicted, truth)[0]) if np.ptp(predicted) > 0 else 0.0


def _line(sweep: str, name: str, n: int, judged_at: str, found: list[float]) -> dict:
    error = np.std(found, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.nan
    return {"sweep": sweep, "predictor": name, "n": n, "judged_at": judged_at, "repeats": len(found),
            "spearman": np.mean(found), "error": error}  # fmt: skip


def _out_of_fold(history: History, outcome: str, learn: Learner, seed: int) -> np.ndarray:
    predicted = np.empty(len(history))
    for inner, outer in KFold(FOLDS, shuffle=True, random_state=seed).split(history.T):
        predicted[outer] = learn(history.take(inner), outcome, seed)(history.T[outer])
    return predicted


def optimum_table(stages: Sequence[str] = ("linear", "bayesian"), seed: int = 0) -> pd.DataFrame:
    """The gain over a sweep's mean mixture that a stage promises of the run it likes best, beside independent judges.

    Both are where there are runs; Equal is not, for these sweeps are sparse, and there the judges contradict each
    other.  Rows are ``sweep, stage, gain, ci_low, ci_high, judge, judged, inside``.
    """
    lines = []
    for sweep, outcome in (("regmix_1m", "y_pile_cc"), ("olmix_dclm", "y_dev")):
        history = published(sweep)
        mean = history.T.mean(axis=0, keepdims=True)
        judges = {name: PREDICTORS[name](history, outcome, seed) for name in JUDGES}
        for stage in stages:
            gain, low, high, best = _best(fit_effects(history, outcome, stage, seed=seed), mean)
            for name, judge in judges.items():
                judged = float((judge(best) - judge(mean))[0])
                line = {"sweep": sweep, "stage": stage, "gain": gain, "ci_low": low, "ci_high": high}
                lines.append(line | {"judge": name, "judged": judged, "inside": low <= judged <= high})
    return pd.DataFrame(lines)


def _best(effects: Effects, mean: np.ndarray) -> tuple[float, float, float, np.ndarray]:
    """Gain, its interval, and the mixture of the history that has most."""
    gain, low, high = effects.gain(np.zeros((1, 0)), mean, effects.history.T)
    best = int(np.argmax(gain))
    return float(gain[best]), float(low[best]), float(high[best]), effects.history.T[[best]]
