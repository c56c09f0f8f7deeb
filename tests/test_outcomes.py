"""Outcomes: teacher forcing against generation, and the columns made of accuracies."""

import numpy as np
import pytest
import torch
from language_models import chat_tokenizer, row, tiny_model

from causalmix.core.errors import InputError
from causalmix.lm.conversations import tokenize
from causalmix.lm.outcomes import exact_match, generate, score_tasks
from causalmix.lm.tasks import Task, axis_scores
from causalmix.train.sft import SFTSettings, finetune

PROMPTS = tuple(f"what is the opposite of {word} ?" for word in ("cold", "dark", "small", "early", "wet")) + (
    "cold",
    "wet ?",
)
TAUGHT = ("hot", "light", "large 1 2", "late", "dry", "0 1 2 3", "4")
GOLDS = ("hot", "dark", "large 1", "late", "dry 5", "0 1 2 3", "4")  # taught, other, too short, …, too long, …


@pytest.fixture(scope="module")
def tokenizer():
    return chat_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    """A model that has learned TAUGHT by heart."""
    model = tiny_model(hidden=64)
    rows = tokenize([row(prompt, answer) for prompt, answer in zip(PROMPTS, TAUGHT)], tokenizer)
    finetune(model, tokenizer, rows, SFTSettings(learning_rate=5e-3, epochs=40, batch_size=7), seed=0)
    return model


def task(golds=GOLDS, check=None, **changes):
    return Task(
        **{"name": "t", "axis": "a", "split": "dev", "prompts": PROMPTS, "golds": golds, "check": check} | changes
    )


def test_exact_match_equals_greedy_generation(model, tokenizer):
    """Teacher forcing finds the very prompts whose greedy answer is the gold one, hits and misses alike."""
    generated = np.array([text == gold for text, gold in zip(generate(model, tokenizer, PROMPTS), GOLDS)])
    hits = exact_match(model, tokenizer, task(), batch_size=3)
    assert hits.tolist() == generated.tolist()
    assert hits.tolist() == [True, False, False, True, False, True, True]


def test_exact_match_equals_generation_on_a_half_trained_model(tokenizer):
    """The two also agree where the model is unsure of itself."""
    model = tiny_model(hidden=64)
    prompts = tuple(f"{i} {j}" for i in range(10) for j in range(10))
    golds = tuple(str((i + j) % 3) for i in range(10) for j in range(10))
    rows = tokenize([row(prompt, gold) for prompt, gold in zip(prompts, golds)], tokenizer)
    finetune(model, tokenizer, rows, SFTSettings(learning_rate=3e-3, epochs=8, batch_size=20), seed=0)
    hits = exact_match(model, tokenizer, task(prompts=prompts, golds=golds))
    texts = generate(model, tokenizer, prompts, max_new_tokens=8)
    assert 10 < hits.sum() < 90
    assert hits.tolist() == [text == gold for text, gold in zip(texts, golds)]


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_batches_do_not_change_answers(model, tokenizer, batch_size):
    """Padding on either side is invisible to the model."""
    assert exact_match(model, tokenizer, task(), batch_size).tolist() == exact_match(model, tokenizer, task()).tolist()
    assert generate(model, tokenizer, PROMPTS, batch_size=batch_size) == list(TAUGHT)


def test_the_end_of_turn_must_be_predicted(model, tokenizer):
    """A gold answer the model would go on from is a miss."""
    assert not exact_match(model, tokenizer, task(golds=tuple(text[:-2] or text for text in TAUGHT)))[5]


def test_generation_stops_at_the_limit(model, tokenizer):
    """An answer is cut at max_new_tokens."""
    assert generate(model, tokenizer, [PROMPTS[5]], max_new_tokens=1) == ["0"]


def test_score_tasks_uses_golds_or_the_check(model, tokenizer):
    """Accuracies per task, with a check that sees the prompt's index and the answer."""
    tasks = [task(name="gold"), task(name="check", golds=None, check=lambda i, text: text == TAUGHT[i] and i < 2)]
    assert score_tasks(model, tokenizer, tasks) == {"gold": pytest.approx(4 / 7), "check": pytest.approx(2 / 7)}


def test_axis_scores_are_plain_means():
    """y_dev weighs axes, not tasks; an axis without unseen tasks does not count for y_unseen."""
    tasks = [
        task(name="m1", axis="math"), task(name="m2", axis="math"), task(name="m3", axis="math", split="unseen"),
        task(name="s1", axis="safety"),
    ]  # fmt: skip
    scores = {"m1": 0.2, "m2": 0.4, "m3": 0.1, "s1": 0.9}
    expected = {"y_dev": 0.6, "y_unseen": 0.1, "y_math": 0.3, "y_safety": 0.9, "y_math_unseen": 0.1}
    assert axis_scores(scores, tasks) == pytest.approx(expected)
    assert list(axis_scores(scores, tasks)) == list(expected)


def test_a_task_without_score_is_an_error():
    """A missing task is named."""
    with pytest.raises(InputError, match="m2"):
        axis_scores({"m1": 1.0}, [task(name="m1"), task(name="m2")])


def test_exact_match_needs_golds(model, tokenizer):
    """A task with a check cannot be scored by teacher forcing."""
    with pytest.raises(InputError, match="check"):
        exact_match(model, tokenizer, task(golds=None, check=lambda i, text: True))


def test_scoring_leaves_the_weights_alone(model, tokenizer):
    """Inference builds no graph and changes nothing."""
    before = [p.detach().clone() for p in model.parameters()]
    exact_match(model, tokenizer, task())
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, model.parameters()))
