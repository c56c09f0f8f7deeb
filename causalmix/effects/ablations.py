"""What each part of the method is worth, from recorded runs alone: nothing here trains a model of language."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.direction import upward
from causalmix.core.errors import InputError
from causalmix.core.history import CONFOUNDED, DESIGN, MIN_ROWS, History, read_history
from causalmix.core.simplex import log_treatment, sample_dirichlet
from causalmix.core.tables import read_table
from causalmix.effects.double_ml import fewest
from causalmix.effects.estimator import fit_effects
from causalmix.effects.held_out import MEASURES, Variant, most_held_out

FULL = "full"
WITHOUT_LEVEL = ("without X", "without orthogonalisation")  # they predict without m0(X), which what they lack explains

#: Most covariates of which all subsets are fitted; of more only singles, leave-one-out and all.
ALL_SUBSETS = 4

#: What stands for all tables below when the history is not the study's own.
OTHER_HISTORY = "Another history was given, so all that this chapter reads from the study's other tables is left out."

#: The command that makes each table that a study may lack.
MADE_BY = {
    "history_mixed.csv": "causalmix run outcomes",
    "learning_trained.csv": "causalmix sweep --trials",
    "refits_trained.csv": "causalmix sweep --trials",
    "targets.csv": "causalmix run target",
    "variants_trained.csv": "causalmix sweep --trials",
}


def method_variants(history: History, n_test: int) -> list[Variant]:
    """The full method and the same with one part left out or replaced, as far as the runs and covariates allow."""
    known, n = history.covariates, len(history.designed) - most_held_out(history.designed, n_test)
    found = [Variant("full method", FULL, known)]
    if known:
        found.append(Variant("covariates", "without X", ()))
        found.append(Variant("orthogonalisation", "without orthogonalisation", known, {"orthogonalise": False}))
    if known and n > fewest("linear", history, len(known)):
        found.append(Variant("final stage", "linear", known, {"stage": "linear"}))
    return [*found, Variant("treatment", "log-ratios (ILR)", known, {"treatment": "ilr"})]


def subset_variants(history: History) -> list[Variant]:
    """The full method with each subset of the covariates, none included; of many only singles, all but one, and all."""
    known = history.covariates
    sizes = range(len(known) + 1) if len(known) <= ALL_SUBSETS else (0, 1, len(known) - 1, len(known))
    subsets = [chosen for size in sizes for chosen in combinations(known, size)]
    return [Variant("subset", " + ".join(chosen) or "none", chosen) for chosen in subsets]


def covariates_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of the subsets as ``covariates, split, fitted, held_out, spearman, r2, r_score``."""
    part = scores[scores["ablation"] == "subset"].rename(columns={"variant": "covariates"})
    return part[["covariates", "split", "fitted", "held_out", *MEASURES]].reset_index(drop=True)


def clr_gap(history: History, outcome: str, n: int = 200, seed: int = 0) -> tuple[float, float]:
    """How far gains by centred log-ratios (CLR) are from those by isometric ones (ILR), from the same residuals.

    Over n moves from one random mixture to another, each in the state of a random run: the largest difference of two
    gains, and the largest gain by ILR.  Coefficients of CLR are those of least norm; the final stage is linear in x.
    """
    effects = fit_effects(history, outcome, stage="linear", treatment="ilr", n_repeats=1, seed=seed)
    with_one = lambda X: np.column_stack([np.ones(len(X)), X])  # noqa: E731
    (y, z), K = effects.residuals[0], len(history.domains)
    design = np.einsum("np,nk->npk", with_one(history.X), z).reshape(len(y), -1)
    theta = np.linalg.lstsq(design, y, rcond=None)[0].reshape(-1, K)
    X = history.X[np.random.default_rng([seed, 13]).integers(len(history), size=n)]
    T_from, T_to = np.split(sample_dirichlet(2 * n, 1.0, K, seed), 2)
    step = log_treatment(T_to, effects.eps) - log_treatment(T_from, effects.eps)
    by_clr = np.einsum("np,pk,nk->n", with_one(X), theta, step - step.mean(axis=1, keepdims=True))
    by_ilr = effects.gain(X, T_from, T_to)[0]
    return float(np.abs(by_clr - by_ilr).max()), float(np.abs(by_ilr).max())


def read_second(path: Path, like: History, parts: Sequence[str] = (DESIGN,)) -> History | None:
    """A second history of the same world, or None where there is no such file; refuses other domains or covariates."""
    if not Path(path).is_file():
        return None
    found = read_history(path).parts(parts)
    for what in ("domains", "covariates"):
        if (have := getattr(found, what)) != (want := getattr(like, what)):
            raise InputError(
                f"Expected the {what} {', '.join(want) or 'none'} in {Path(path).name}, found "
                f"{', '.join(have) or 'none'}; give a history of the same world."
            )
    return found


def confounded_runs(whole: History) -> History | None:
    """The runs of a whole history in which mixtures follow the state, or None where fewer than 20 are on record."""
    return whole.parts((CONFOUNDED,)) if (whole.part == CONFOUNDED).sum() >= MIN_ROWS else None


def base_level(folder: Path, outcome: str, lower: bool = False) -> float | None:
    """What the proxy scores before it is trained, of ``before_training.csv``; None where no chapter has written it."""
    path = Path(folder) / "before_training.csv"
    found = read_table(path).set_index("model") if path.is_file() else pd.DataFrame()
    if outcome not in found or "proxy" not in found.index:
        return None
    return float(upward(found, outcome, lower).loc["proxy", outcome])


def missing_sentence(folder: Path, names: Sequence[str], method: str = "") -> str:
    """Which tables of a study are not there, and what makes each; where all are, that a method is not in them."""
    lost = [f"no `{name}` (`{MADE_BY[name]}` makes it)" for name in names if not (Path(folder) / name).is_file()]
    lost = lost or [f"no {method} in {' or '.join(f'`{name}`' for name in names)}"]
    return f"There is {' and '.join(lost)} in this study, so nothing is said here."
