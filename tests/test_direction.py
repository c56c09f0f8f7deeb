"""Which way an outcome is better, and objectives of several outcomes."""

from dataclasses import replace

import numpy as np
import pytest
from known_effects import NO_STATE, runs

from causalmix.core import direction
from causalmix.core.errors import InputError
from causalmix.methods.ask import METHODS
from causalmix.methods.objective import read_objective
from causalmix.methods.question import Question


def outcomes(**columns):
    """A history with more outcomes."""
    n = 60
    rng = np.random.default_rng(2)
    return runs(3, n=n, **{f"y_{name}": scale * rng.uniform(size=n) + low for name, (low, scale) in columns.items()})


@pytest.mark.parametrize(
    "name", ["val_loss", "nll_code", "perplexity", "code_ppl", "pile_bpb", "error_rate", "Loss", "wer", "test_rmse"]
)
def test_a_name_that_speaks_of_losses_is_lower_better_unless_its_sign_may_be_turned(name):
    """Losses are not below zero; some write them with their sign turned, and then the name does not tell."""
    assert direction.is_lower_better(outcomes(**{name: (0, 1)}), f"y_{name}")
    history = outcomes(**{name: (-1, 1)})
    with pytest.raises(InputError, match=f"--lower-is-better y_{name}"):
        direction.is_lower_better(history, f"y_{name}")
    assert direction.is_lower_better(history, f"y_{name}", {f"y_{name}": True})
    assert not direction.is_lower_better(history, f"y_{name}", {f"y_{name}": False})


def test_values_above_one_have_to_be_stated_and_accuracies_need_not():
    """An accuracy has values up to 1; what is stated wins even there."""
    history = outcomes(score=(1.5, 1), partly=(0.5, 1), math=(0, 1), glossary=(0, 1), acc_norm=(20, 30))
    assert not direction.is_lower_better(history, "y_acc_norm")  # in percent
    with pytest.raises(InputError, match="has 'loss' in it"):
        direction.is_lower_better(history, "y_glossary")
    with pytest.raises(InputError, match="all above 1"):
        direction.is_lower_better(history, "y_score")
    assert not direction.is_lower_better(history, "y_partly") and not direction.is_lower_better(history, "y_math")
    assert direction.is_lower_better(history, "y_math", {"y_math": True})
    with pytest.raises(InputError, match="y_maths"):
        direction.turned(history, ["y_math"], {"y_maths": True})


@pytest.mark.parametrize(
    "name",
    "toxicity refusal_rate over_refusal err latency_s hallucinated unsafe_rate asr incorrect mean_rank".split(),
)
def test_what_some_count_and_others_score_by_its_absence_is_asked_about(name):
    """Raised by mistake, it would be a mixture for harm; an accuracy is none, nor is a word that only looks alike."""
    history = outcomes(**{name: (0, 1), f"{name}_acc": (0, 1), "answers": (0, 1), "harmless": (0, 1)})
    with pytest.raises(InputError, match=f"--lower-is-better y_{name}"):
        direction.is_lower_better(history, f"y_{name}")
    assert not any(direction.is_lower_better(history, f"y_{one}") for one in (f"{name}_acc", "answers", "harmless"))


def test_a_mean_of_losses_is_a_loss():
    """Its name says nothing, and its values may be below 1."""
    a, b = np.random.default_rng(0).uniform(size=(2, 60))
    losses = {"y_loss_a": a, "y_nll_b": b, "y_unseen": a + b, "y_loss_a_unseen": a}
    assert direction.is_lower_better(runs(3, n=60, **losses | {"y_dev": (a + b) / 2}), "y_dev")
    assert not direction.is_lower_better(runs(3, n=60, **losses | {"y_dev": 1 - a}), "y_dev")
    minus = {name: -values for name, values in losses.items()}
    with pytest.raises(InputError, match="--lower-is-better y_dev"):
        direction.is_lower_better(runs(3, n=60, **minus | {"y_dev": -(a + b) / 2}), "y_dev")


@pytest.mark.parametrize("other", ["y_nll", "y_toxicity"])
def test_a_mean_of_what_is_better_either_way_is_asked_about(other):
    """Its name says nothing, and raised it would raise both."""
    a, b = np.random.default_rng(0).uniform(size=(2, 60))
    with pytest.raises(InputError, match=f"mean of y_math, {other}; state it as --lower-is-better y_dev"):
        direction.is_lower_better(runs(3, n=60, y_math=a, **{other: b, "y_dev": (a + b) / 2}), "y_dev")
    assert not direction.is_lower_better(runs(3, n=60, y_math=a, **{other: b, "y_dev": a}), "y_dev")


def test_a_loss_is_turned_and_its_worst_mixture_is_not_proposed():
    """The same answer as for minus the loss; the others stay, and so does the table that a part was taken from."""
    history = runs(3, n=120)
    loss = 3 - np.log(history.T + 0.01) @ [0.3, 0.1, -0.1]
    told = replace(history, frame=history.frame.assign(y_loss=loss), whole=history.whole.assign(y_loss=loss))
    turned = direction.turned(told, ["y_loss"], {"y_loss": True})
    assert np.array_equal(turned.y("y_loss"), -loss) and np.array_equal(turned.whole["y_loss"], -loss)
    assert np.array_equal(turned.y(), history.y()) and direction.turned(told, ["y_dev"]) is told
    answer = METHODS["Cautious"](Question(turned, 100, outcome="y_loss", x=NO_STATE))
    worst = METHODS["Cautious"](Question(told, 100, outcome="y_loss", x=NO_STATE))
    assert answer.weights[0] > 0.6 and worst.weights[2] > 0.6
    assert "lower is better" in direction.called("y_loss", True) and direction.called("y_dev", False) == "y_dev"
    assert direction.is_lower_better(told, "y_loss", {"y_loss": None}), "nothing is stated"


def test_objectives_are_one_outcome_of_the_right_weights():
    """Weights sum to one, a standardised mean weighs axes by their spread, and the worst axis names its outcomes."""
    history = outcomes(math=(0, 1), code=(0, 0.1))
    weighted = read_objective("y_math=3, y_code=1", "y_dev", history)
    derived = weighted.derived(history)
    assert derived.y(weighted.column) == pytest.approx(0.75 * history.y("y_math") + 0.25 * history.y("y_code"))
    assert "0.75 y_math" in weighted.told()
    mean = read_objective("mean", "y_dev", history)
    found = mean.derived(history).y(mean.column)
    scores = [(y - y.mean()) / y.std() for y in (history.y("y_math"), history.y("y_code"))]
    assert found == pytest.approx(np.mean(scores, axis=0))
    worst = read_objective("worst", "y_dev", history)
    assert worst.worst and worst.outcomes == ("y_math", "y_code") and "gains least" in worst.told()
    alone = read_objective("", "y_code", history)
    assert alone.column == "y_code" and alone.derived(history) is history and alone.told() == ""


@pytest.mark.parametrize(
    "text, message",
    [("y_maths=1", "y_maths"), ("y_math=-1", "positive weights"), ("y_math", "an objective such as y_math=2"),
     ("y_math=inf", "an objective such as"), ("y_math=x", "an objective such as")],
)  # fmt: skip
def test_objectives_that_mean_nothing_are_refused(text, message):
    """One sentence each."""
    with pytest.raises(InputError, match=message):
        read_objective(text, "y_dev", outcomes(math=(0, 1), code=(0, 1)))


def test_objectives_over_axes_need_axes_that_differ():
    """Two of them at least, and none that is the same in all runs."""
    with pytest.raises(InputError, match="two or more axes"):
        read_objective("mean", "y_dev", runs(3))
    still = outcomes(math=(0, 1), code=(0.5, 0))
    with pytest.raises(InputError, match="found y_code at 0.5 in all"):
        read_objective("worst", "y_dev", still).derived(still)
