"""The figure of claims: what is reported and what was found here, claim by claim."""

import textwrap

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalmix.book.plots.style import COLOURS, GREY, dots, level

#: A panel's label by the units that it holds.
UNITS = {("points",): "difference, points of accuracy", ("points per doubling",): "points per doubling of a share",
         ("spearman", "r_score"): "difference in Spearman's correlation or R-score"}  # fmt: skip
VERDICTS = {
    "palette": {"holds": COLOURS[2], "does not hold": COLOURS[1], "cannot tell": GREY},
    "markers": {"holds": "o", "does not hold": "s", "cannot tell": "D"},
}


def claims(table: pd.DataFrame) -> Figure:
    """Reported and own differences of :func:`causalmix.study.claims.paper_claims`; colour and mark are the verdict.

    A panel for each unit; what was not tried is left out.
    """
    tried = table[table["ours"].notna()]
    panels = [(part, label) for units, label in UNITS.items() if len(part := tried[tried["unit"].isin(units)])]
    heights = [len(part) + 1 for part, _ in panels] or [1]
    fig, axes = plt.subplots(len(heights), 1, figsize=(7, 0.4 * sum(heights)), height_ratios=heights, squeeze=False)
    for ax, (part, label) in zip(axes[:, 0], panels):
        _claims(part, ax, label)
    if panels:
        axes[0, 0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4)
    return fig


def _claims(table: pd.DataFrame, ax: Axes, label: str) -> None:
    rows = [textwrap.fill(claim, 52) for claim in table["claim"]]
    ours = table.assign(claim=rows)
    dots(ours, ax, "claim", ("ours", "ci_low", "ci_high"), "verdict", VERDICTS, rows, apart=0)
    sns.scatterplot(x=table["reported"], y=range(len(rows))[::-1], marker="X", color="black", label="reported", ax=ax)
    ax.set_xlabel(label)
    level(ax, 0)
