"""Figures of trials and of claims: methods against each other, by the runs behind them, and where they land."""

import textwrap
from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalmix.book.plots import style
from causalmix.book.plots.style import GREY, colour, dots, legend_above, level, looks, of_method
from causalmix.core.intervals import mean_interval
from causalmix.methods.variants import DESIGNED
from causalmix.study.trials import MEAN, MODELS, name_of, place_of

#: A panel's label by the units that it holds.
UNITS = {("points",): "difference in {}", ("points per doubling",): "{} per doubling of a share",
         ("spearman", "r_score"): "difference in Spearman's correlation or R-score"}  # fmt: skip
VERDICTS = {
    "palette": {"holds": colour(2), "does not hold": colour(1), "cannot tell": GREY},
    "markers": {"holds": "o", "does not hold": "s", "cannot tell": "D"},
}
WIDE = 44  # letters of a label below one of two panels, in a figure of 8.5 inches
CLAIM = 58  # letters of a line of a claim, of which two have room in a row
BASE_LINES = {"proxy": ":", "target": "--"}  # of a model's level before it was trained


def means(
    compared: pd.DataFrame, ax: Axes, points: str, columns: tuple[str, str, str] = MEAN,
    base: Mapping[str, float] | None = None,
) -> Axes:  # fmt: skip
    """A dot and its 95% interval for each method of a :func:`causalmix.study.trials.compare`, a look for each group.

    ``columns`` are centre and ends; :data:`causalmix.study.trials.DIFFERENCE` draws differences.  ``base`` has the
    level of each model before it was trained, in the unit of the outcome.  Here and below ``points`` names outcome and
    unit, as :func:`causalmix.core.direction.in_points` does.
    """
    methods = list(dict.fromkeys(compared["method"]))  # the reference too, so that panels share their rows
    name = place_of if compared["pool"].nunique() > 1 else name_of
    groups = pd.Series(map(name, compared.to_dict("records")), compared.index)
    if compared["pool"].nunique() > 1 and len(compared[["model", "n_samples"]].drop_duplicates()) == 1:
        groups = compared["pool"]  # which is all that they differ in
    table = compared.assign(group=groups, **{c: 100 * compared[c] for c in columns}).dropna(subset=[columns[0]])
    dots(table, ax, "method", columns, "group", looks(list(groups.unique())), methods)
    width = round(WIDE * ax.figure.get_figwidth() / 8.5)
    ax.set_xlabel(textwrap.fill(f"{'' if columns == MEAN else 'over Equal: '}{points} (right is better)", width))
    if columns != MEAN:
        level(ax, 0)
    for role, value in (base or {}).items():
        if role in set(table["model"]):
            style.base_level(ax, 100 * value, f"base, {MODELS.get(role, role)}", BASE_LINES.get(role, "-."))
    named = len(ax.get_legend_handles_labels()[1])
    if named > 1:
        legend_above(ax, named, 2)
    return ax


def learning_curve(table: pd.DataFrame, outcome: str, ax: Axes, points: str, base: float | None = None) -> Axes:
    """Outcome of each method's mixture against the number of runs behind it: mean and 95% interval over seeds.

    A method from designed runs is dashed, in the colour that it has from random ones; ``table`` has
    ``method, n_runs, seed, <outcome>``.  ``base`` is the outcome of the model before training.
    """
    methods = list(dict.fromkeys(table["method"]))
    looks = [of_method(method.removesuffix(DESIGNED)) for method in methods]
    sns.pointplot(
        table.assign(points=100 * table[outcome]), x="n_runs", y="points", hue="method", hue_order=methods, dodge=0.3,
        palette=[colour for colour, _ in looks], markers=[mark for _, mark in looks], markersize=5, linewidth=1.2,
        linestyles=["--" if method.endswith(DESIGNED) else "-" for method in methods],
        errorbar=lambda values: mean_interval(values)[1:], ax=ax,
    )  # fmt: skip
    ax.set(xlabel="recorded runs that the mixture was made from", ylabel=f"{points} (higher is better)")
    if base is not None:
        style.base_level(ax, 100 * base, along="y")
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.15), ncols=2, fontsize="small")
    return ax


def claims(table: pd.DataFrame, points: str) -> Figure:
    """Reported and own differences of :func:`causalmix.study.claims.paper_claims`; colour and mark are the verdict.

    A panel for each unit; what was not tried is left out.
    """
    tried = table[table["ours"].notna()]
    panels = [
        (part, label.format(points)) for units, label in UNITS.items() if len(part := tried[tried["unit"].isin(units)])
    ]
    heights = [len(part) + 1 for part, _ in panels] or [1]
    fig, axes = plt.subplots(len(heights), 1, figsize=(7, 0.4 * sum(heights)), height_ratios=heights, squeeze=False)
    for ax, (part, label) in zip(axes[:, 0], panels):
        _claims(part, ax, label)
    if panels:
        axes[0, 0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4)
    return fig


def _claims(table: pd.DataFrame, ax: Axes, label: str) -> None:
    rows = [textwrap.fill(claim, CLAIM) for claim in table["claim"]]
    ours = table.assign(claim=rows)
    dots(ours, ax, "claim", ("ours", "ci_low", "ci_high"), "verdict", VERDICTS, rows, apart=0)
    sns.scatterplot(x=table["reported"], y=range(len(rows))[::-1], marker="X", color="black", label="reported", ax=ax)
    ax.set_xlabel(label)
    ax.locator_params(axis="x", nbins=6)
    level(ax, 0)
