"""What tables of the first chapters say, in words: each sentence is chosen by the numbers that it tells."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from causalmix.core.wording import counted, listed

CLEAR = 0.1  # of a chance, from one half; of a rank correlation, from nought; of an accuracy, over runs


def sight(checks: pd.DataFrame) -> str:
    """What the scores see of wrong and of hard rows, of a table of ``causalmix.data.tiny.pool.what_scores_see``."""
    style = {
        "wrong rows are those of sloppy writers": checks["style_auc"] >= 0.5 + CLEAR,
        "they are those of polished ones": checks["style_auc"] <= 0.5 - CLEAR,
        "it says nothing": (checks["style_auc"] - 0.5).abs() < CLEAR,
    }
    loss = {
        "wrong rows have the higher one": checks["loss_auc"] >= 0.5 + CLEAR,
        "they have the lower one": checks["loss_auc"] <= 0.5 - CLEAR,
        "it does not tell them": (checks["loss_auc"] - 0.5).abs() < CLEAR,
    }
    follows = {"Normalized_Loss": "loss_level_rank_correlation", "HES": "hes_level_rank_correlation"}
    clear = lambda ranks: listed(checks["domain"][ranks >= CLEAR])  # noqa: E731
    hard = [f"{n} rises in {clear(checks[c])}, and falls in {clear(-checks[c])}" for n, c in follows.items()]
    return (
        f"Writing_Style: {_by_domain(checks, style)}. Normalized_Loss: {_by_domain(checks, loss)}. As rows get "
        f"harder, {'; '.join(hard)}. Chances within {CLEAR} of one half, and correlations within {CLEAR} of "
        "nought, count as nothing."
    )


def _by_domain(checks: pd.DataFrame, groups: Mapping[str, pd.Series]) -> str:
    return "; ".join(f"in {listed(checks['domain'][which])} {what}" for what, which in groups.items() if which.any())


def stuck(movement: pd.DataFrame, reliability: pd.DataFrame) -> str:
    """Outcomes that hardly move over the runs, and those of which a single run may tell more noise than signal."""
    still = [f"`{name}`" for name in movement.loc[movement["spread"].round(3) < CLEAR, "outcome"]]
    moves = f"Hardly any movement over the runs, less than {CLEAR}: {listed(still)}."
    noisy = [
        f"`{row.outcome}` ({row.reliability:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}])"
        for row in reliability[reliability["ci_low"] < 0.5].itertuples()
    ]
    blurred = f"By its reliability, a single run may tell as much noise as signal of {listed(noisy)}."
    return (
        f"{moves if still else f'Every outcome moves by {CLEAR} or more over the runs.'} "
        f"{blurred if noisy else 'By their reliability, a single run tells more signal than noise of every outcome.'}"
    )


def above_base(values: pd.Series, base: float | None) -> str:
    """How many runs end above the model that they started from."""
    if base is None or not np.isfinite(base):
        return "What the base model can do before fine-tuning is not known."
    above = int((values > base).sum())
    count = {0: "None", len(values): "All"}.get(above, f"{above}")
    start = "ends above the model that it" if above == 1 else "end above the model that they"
    return f"{count} of the {counted(len(values), 'run')} {start} started from, whose `y_dev` is {base:.3f}."


def explained(shares: Mapping[str, tuple[float, float]], n_states: int) -> str:
    """How much of a covariate the mixture explains when it is measured before and after mixing; shares by covariate.

    The interval is that of a squared multiple correlation by its large-sample variance, 4 R² (1 - R²)² / n.
    """
    name, (before, after) = max(shares.items(), key=lambda item: item[1][1])
    r2 = min(max(after, 0.0), 1.0)
    half = 1.96 * 2 * np.sqrt(r2) * (1 - r2) / np.sqrt(n_states)
    most = max(before for before, _ in shares.values())
    return (
        f"measured after mixing, the mixture itself explains up to {r2:.0%} [{max(r2 - half, 0):.0%}, "
        f"{min(r2 + half, 1):.0%}] of a covariate's variance ({name}); measured before, at most {max(most, 0):.0%}"
    )
