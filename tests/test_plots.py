"""Figures of effects and mixtures, for names that nobody foresaw."""

import itertools
import warnings
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from chapter_cells import drawn
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from causalmix.book.plots import effects, style, trials as trial_plots
from causalmix.core import direction
from causalmix.core.paths import RESULTS
from causalmix.effects.estimator import STAGES
from causalmix.methods import ask
from causalmix.methods.policy import Proposal
from causalmix.methods.variants import DESIGNED, WITHOUT_ORTHOGONALISATION
from causalmix.study import claims, trials

NAMES = {
    "long": tuple(f"a domain of thirty-three letters {i}" for i in range(5)),
    "two dozen": tuple(f"domain number {i}" for i in range(24)),
    "many": tuple(f"d{i}" for i in range(64)),
}


@pytest.fixture
def axis():
    """A function from a size to an axis in the style of all figures; what matplotlib warns of is an error."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        style.use()
        yield lambda width=6.5, height=2.2: FigureCanvasAgg(Figure(figsize=(width, height))).figure.subplots()


def even(names):
    """One mixture of equal shares."""
    return {"Equal": Proposal(np.full(len(names), 1 / len(names)))}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_legends_fit_their_figure(axis, names):
    """As many columns as fit, and a figure that grows by their rows, so that the bars keep their room."""
    ax = effects.mixtures(even(names), names, axis())
    ax.figure.canvas.draw()
    legend, bars = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= ax.figure.bbox.width and legend.y1 <= ax.figure.bbox.height
    assert bars.height / ax.figure.dpi > 1
    assert ax.figure.get_figheight() > 2.2


def test_few_short_names_take_one_row(axis):
    """Their figure keeps its size."""
    assert effects.mixtures(even("abcde"), "abcde", axis()).figure.get_figheight() == 2.2


def test_every_domain_looks_different(axis):
    """Beyond nine colours the bars are hatched."""
    ax = effects.mixtures(even(NAMES["many"]), NAMES["many"], axis())
    looks = {(bar.get_facecolor(), bar.get_hatch()) for bar in ax.patches}
    assert len(looks) == 64


def test_dollars_are_no_mathematics(axis):
    """A name with two dollars is drawn as it is."""
    names = ("cost_in_$_per_$", r"$\\nonsense{$")
    effects.mixtures(even(names), names, axis()).figure.canvas.draw()


def test_numbers_on_a_logarithmic_axis_are_numbers(axis):
    """As dollars are no mathematics, what matplotlib writes there by itself would be shown as it stands."""
    parts = pd.DataFrame({"part": ["a", "b"], "role": "proxy", "hours": [0.5, 4000.0]})
    found = SimpleNamespace(parts=parts, hardware=SimpleNamespace(unit="GPU"))
    (ax,) = drawn("10_at_scale", "sns.barplot(known", found=found)
    ax.figure.canvas.draw()
    shown = {label.get_text() for label in ax.get_xticklabels()}
    assert {"1", "1000"} <= shown and not any("$" in number for number in shown)


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_trees_of_many_domains_are_drawn(axis, names):
    """A leaf lists the twelve largest returns at most."""
    returns = {f"theta_{name}": [0.01 * i, -0.01 * i] for i, name in enumerate(names)}
    leaves = pd.DataFrame({"state": ["x ≤ 1", "x > 1"], "runs": [30, 30]} | returns)
    splits = {"question": "x ≤ 1", "yes": "x ≤ 1", "no": "x > 1"}
    (ax,) = drawn("04_effects", "def draw", tree_splits=lambda *_: splits, leaves=leaves, model=None, tree=None)
    ax.figure.canvas.draw()
    told = next(text.get_text() for text in ax.texts if text.get_text().startswith("30 runs")).splitlines()
    assert len(told) == min(len(names), 13) + 1
    assert told[min(12, len(names))] == f"{names[-1]} {0.01 * (len(names) - 1):+.3f}"


def test_designed_runs_are_dashed_in_the_colour_of_random_ones(axis):
    """So that a method is one colour, and how its runs were chosen the kind of its line."""
    names = ["A", "B", "A" + DESIGNED, "B" + DESIGNED]
    rows = [{"method": m, "n_runs": n, "seed": s, "y": 0.1 * s} for m in names for n in (32, 64) for s in (0, 1)]
    lines = trial_plots.learning_curve(pd.DataFrame(rows), "y", axis(), "y").get_legend_handles_labels()[0]
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--", "--"]
    assert [line.get_color() for line in lines] == [style.of_method(name)[0] for name in ("A", "B")] * 2


@pytest.mark.parametrize("along", ["x", "y"])
def test_a_base_far_below_is_a_number_and_does_not_press_the_data_flat(axis, along):
    """A near one is a line; of a far one the legend tells the level."""
    for value, near in ((0.5, True), (0.0, False)):
        ax = axis()
        ax.plot([0.6, 0.65], [0.6, 0.65])
        style.base_level(ax, value, along=along)
        low = (ax.get_xlim if along == "x" else ax.get_ylim)()[0]
        assert (low <= value) == near
        assert ax.get_legend_handles_labels()[1] == ["base" if near else "base: 0, off the axis"]


def test_a_bridge_is_drawn_with_an_interval_for_each_outcome_that_moves(axis):
    """A point for each mixture beside it; what a model never moves is left out."""
    y = np.arange(8) / 10
    table = pd.DataFrame({"outcome": ["y_dev", "y_math", "y_flat"], "spearman": [0.5, 0.1, np.nan],
                          "spearman_low": [0.2, -0.3, np.nan], "spearman_high": [0.7, 0.4, np.nan]})  # fmt: skip
    both = {"of_proxy": pd.DataFrame({"y_dev": y}), "of_real": pd.DataFrame({"y_dev": y[::-1]})}
    axes = drawn("06_target", "real model, 135M", alike=table, **both)
    assert len(axes[0].lines[0].get_xdata()) == 8
    assert [label.get_text() for label in axes[1].get_yticklabels()] == ["y_dev", "y_math"]


def test_every_method_has_a_look_of_its_own():
    """Colour and mark together tell a method, and none is left to chance."""
    names = [*ask.METHODS, *STAGES, WITHOUT_ORTHOGONALISATION]
    assert set(names) <= set(style.LOOKS)
    assert len(set(style.LOOKS.values())) == len(style.LOOKS)


def test_a_method_looks_alike_in_every_figure(axis):
    """In a triangle, in a scatter of two groups and in a row of gains, in whatever order it comes."""
    names = ["Grid", "CausalMix-S", "Equal"]
    mixtures = pd.DataFrame({"method": names, "w_a": [0.2, 0.5, 0.3], "w_b": [0.3, 0.3, 0.3], "w_c": [0.5, 0.2, 0.4]})
    rows = [{"method": m, "seed": s, "pool": "whole", "model": "proxy", "n_samples": n, "y_dev": 0.1 * s + 1e-4 * n}
            for m in reversed(names) for n in (10, 20) for s in (0, 1)]  # fmt: skip
    groups = trials.groups_of(table := pd.DataFrame(rows))
    corner, scatter = (
        {"chosen": mixtures, "domains": tuple("abc"), "history": SimpleNamespace(T=np.eye(3))},
        {"whole": table},
    )
    scatter |= {"outcome": "y_dev", "groups": groups, "campaign": SimpleNamespace(lower=False)}
    for part, names_ in (("corners, points =", corner), ("by_method =", scatter)):
        (ax,) = drawn("06_target", part, **names_)
        marks, told = ax.get_legend_handles_labels()
        assert {n: m.get_markerfacecolor() for n, m in zip(told, marks)} == {n: style.of_method(n)[0] for n in names}
        assert {n: m.get_marker() for n, m in zip(told, marks)} == {n: style.of_method(n)[1] for n in names}


def test_no_claim_runs_into_the_next_one(axis):
    """In the figure of the committed record; three lines of a claim would be higher than its row."""
    judged = pd.read_csv(RESULTS / "laptop" / "claims.csv")
    figure = trial_plots.claims(judged[judged["asked by"] == claims.PAPER], "points")
    figure.canvas.draw()
    for ax in figure.axes:
        ends = sorted((box.y0, box.y1) for box in (t.get_window_extent() for t in ax.get_yticklabels()))
        assert all(below <= above for (_, below), (above, _) in itertools.pairwise(ends))
    plt.close(figure)


def test_a_base_model_is_a_line_beside_outcomes(axis):
    """Each model that was trained has one, in points; differences have nought."""
    told = {"pool": "whole", "model": "proxy", "n_samples": 10}
    rows = [told | {"method": m, "seed": s, "y_dev": 0.1 * s + len(m)} for m in ("Equal", "Grid") for s in (0, 1)]
    compared = trials.compare(pd.DataFrame(rows))
    both = (trials.MEAN, {"proxy": 0.625, "target": 0.7}), (trials.DIFFERENCE, None)
    found = [trial_plots.means(compared, axis(), "y_dev", columns, base).lines for columns, base in both]
    assert [{x for line in lines for x in line.get_xdata()} for lines in found] == [{62.5}, {0}]


@pytest.mark.parametrize(
    ("outcome", "lower", "told"),
    [("y_math", False, "y_math, points of accuracy"), ("y_loss_math", True, "minus y_loss_math, hundredths of a nat"),
     ("y_dev", True, "minus y_dev, hundredths of a nat"), ("y_refusals", True, "minus y_refusals, points of accuracy")],
)  # fmt: skip
def test_axes_name_outcome_unit_and_direction(axis, outcome, lower, told):
    """Of a loss, which is drawn with its sign turned, no axis says that it is an accuracy."""
    points, where = direction.in_points(outcome, lower), {"pool": "whole", "model": "proxy"}
    rows = [where | {"method": m, "seed": s, "n_samples": n, "n_runs": n, outcome: 0.1 * s + len(m) + 1e-4 * n}
            for m in ("Equal", "Grid", "ODM") for s in (0, 1) for n in (10, 20)]  # fmt: skip
    table = pd.DataFrame(rows)
    compared, groups = trials.compare(table, outcome), trials.groups_of(table)
    shown = [trial_plots.means(compared, axis(), points, columns) for columns in (trials.MEAN, trials.DIFFERENCE)]
    scatter = {"whole": table, "outcome": outcome, "groups": groups, "campaign": SimpleNamespace(lower=lower)}
    shown += drawn("06_target", "by_method =", **scatter)
    labels = [ax.get_xlabel().replace("\n", " ") for ax in shown]
    labels += [trial_plots.learning_curve(table, outcome, axis(), points).get_ylabel()]
    assert all(told in label and "better" in label for label in labels), labels
    names = {"method": ["Grid"], "predicted_gain": [0.1], "gain_ci_low": [0.0], "gain_ci_high": [0.2]}
    (ax,) = drawn(
        "05_mixture", "predicted gain over Equal, in", mixtures=pd.DataFrame(names), outcome=outcome, lower=lower
    )
    assert direction.drawn(outcome, lower) in ax.get_xlabel()


def test_an_outcome_that_never_moves_is_drawn(axis):
    """As a stroke, beside the base model's mark."""
    history = pd.DataFrame({"y_dev": [0.1, 0.2, 0.4], "y_a": [0.0, 0.0, 0.0], "y_a_unseen": [0.1, 0.1, 0.2]})
    (ax,) = drawn("03_outcomes", "accuracies = history.drop", history=history, base={"y_a": 0.5})
    ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["dev", "a", "a, unseen"]
    assert ax.collections[-1].get_offsets().tolist() == [[0.5, 1.0]]
