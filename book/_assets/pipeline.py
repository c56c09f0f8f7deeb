"""The pipeline figure of the book, drawn by ``python book/_assets/pipeline.py``.

It shows the shape of the work and no result, so it needs no study; it is committed as an SVG whose
letters are outlines, which makes it look the same in every browser.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

LANES = (
    ("1  Featurize", "#4477aa"),
    ("2  Proxy SFT", "#228833"),
    ("3  Outcomes", "#b8860b"),
    ("4  Effects", "#aa3377"),
    ("5  Mixture", "#cc5533"),
)

# name: (lane, row from the bottom, heading, line below it)
BOXES = {
    "pool": (0, 3, "Pool", "rows, each of one domain"),
    "scored": (0, 2, "Scored pool", "complexity, difficulty, style"),
    "candidates": (0, 1, "Candidates $C(\\lambda)$", "tilted by the state $\\lambda$"),
    "x": (0, 0, "Covariates $X$", "means, before any mixing"),
    "t": (1, 3, "Mixture $T$", "drawn on the simplex"),
    "sample": (1, 2, "Training sample", "rows per domain by $T$"),
    "sft": (1, 1, "Proxy model", "fine-tuned on the sample"),
    "tasks": (2, 3, "Tasks", "six axes, Dev and Unseen"),
    "y": (2, 2, "Outcome $Y$", "accuracy on each axis"),
    "ledger": (2, 1, "Ledger", "specification and scores"),
    "history": (2, 0, "History", "one row $(X, T, Y)$ a run"),
    "residuals": (3, 0, "Residuals", "cross-fitted $\\tilde Y$, $\\tilde Z$"),
    "theta": (3, 1, "Returns $\\theta(x)$", "forest, with intervals"),
    "tree": (3, 2, "Tree and checks", "what the forest found"),
    "policy": (4, 1, "Policy A, policy S", "from returns to weights"),
    "mixtures": (4, 2, "Proposed mixture", "gain, interval, support"),
}

ARROWS = (
    "pool scored",
    "scored candidates",
    "candidates x",
    "candidates sample",
    "t sample",
    "sample sft",
    "sft y",
    "tasks y",
    "y ledger",
    "ledger history",
    "x history",
    "history residuals",
    "residuals theta",
    "theta tree",
    "theta policy",
    "policy mixtures",
)

WIDTH, HEIGHT, LANE, ROW = 1.72, 0.62, 2.0, 0.95


def _centre(name: str) -> tuple[float, float]:
    """Middle of a box, in inches from the lower left."""
    lane, row = BOXES[name][:2]
    return LANE * (lane + 0.5), ROW * (row + 0.5)


def _box(ax: Axes, name: str) -> None:
    """One box: a heading in its lane's colour over one plain line."""
    x, y = _centre(name)
    _, _, heading, line = BOXES[name]
    colour = LANES[BOXES[name][0]][1]
    style = "round,pad=0,rounding_size=0.08"
    ax.add_patch(
        FancyBboxPatch((x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle=style, fc="white", ec=colour, lw=1.2)
    )
    ax.text(x, y + 0.12, heading, ha="center", va="center", fontsize=10.5, color=colour, weight="bold")
    ax.text(x, y - 0.14, line, ha="center", va="center", fontsize=8, color="#333333")


def _arrow(ax: Axes, start: str, end: str) -> None:
    """An arrow from the edge of one box to the edge of another: along a row, along a lane, or across."""
    (x0, y0), (x1, y1) = _centre(start), _centre(end)
    if x0 == x1:
        side = 1 if y1 > y0 else -1
        ends = (x0, y0 + side * HEIGHT / 2), (x1, y1 - side * HEIGHT / 2)
    else:
        ends = (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1)
    ax.add_patch(
        FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=11, lw=1.1, color="#555555", shrinkA=1, shrinkB=1)
    )


def draw_pipeline(ax: Axes) -> Axes:
    """Draw the way from a pool of rows to a mixture, one lane for each chapter."""
    top = ROW * 4
    for lane, (title, colour) in enumerate(LANES):
        ax.axvspan(LANE * lane + 0.05, LANE * (lane + 1) - 0.05, color=colour, alpha=0.07, lw=0)
        ax.text(
            LANE * (lane + 0.5), top + 0.2, title, ha="center", va="center", fontsize=11.5, color=colour, weight="bold"
        )
    for pair in ARROWS:
        _arrow(ax, *pair.split())
    for name in BOXES:
        _box(ax, name)
    ax.set(xlim=(0, LANE * len(LANES)), ylim=(0, top + 0.42), aspect="equal")
    ax.set_axis_off()
    return ax


def write_pipeline(path: Path) -> Path:
    """Write the figure as an SVG that is byte for byte the same each time; returns ``path``."""
    with matplotlib.rc_context({"svg.hashsalt": "causalmix", "svg.fonttype": "path", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(LANE * len(LANES), ROW * 4 + 0.42), facecolor="white")
        draw_pipeline(figure.add_axes((0, 0, 1, 1)))
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return path


if __name__ == "__main__":
    print(write_pipeline(Path(__file__).with_name("pipeline.svg")))
