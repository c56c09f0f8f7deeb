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


def above_base(values: pd.Series, base: float | None) -> str:
    """How many runs end above the model that they started from."""
    if base is None or not np.isfinite(base):
        return "What the base model can do before fine-tuning is not known."
    above = int((values > base).sum())
    count = {0: "None", len(values): "All"}.get(above, f"{above}")
    start = "ends above the model that it" if above == 1 else "end above the model that they"
    return f"{count} of the {counted(len(values), 'run')} {start} started from, whose `y_dev` is {base:.3f}."
