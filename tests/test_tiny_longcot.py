"""The long-CoT pool and its tasks: reasoning that is right where it is clean, answers judged by what follows it."""

import numpy as np
import pytest

from causalmix.data.tiny import longcot as tiny_longcot
from causalmix.data.tiny.tasks import ends_with, longcot_tasks


@pytest.fixture(scope="module")
def pool():
    return tiny_longcot.make_pool(2_000, 0)


def test_clean_reasoning_leads_to_the_right_answer(pool):
    """The answer after the think tag solves the prompt, and the steps before it end there."""
    clean = pool.filter(lambda r: not r["spoiled"] and not r["careless"])
    for row in clean.select(range(200)):
        prompt, completion = (m["content"] for m in row["messages"])
        thought, answer = completion.removeprefix("<think> ").split(f" {tiny_longcot.CLOSE} ")
        if row["domain"] == "math":
            assert int(answer) == eval(prompt.removeprefix("think and compute "))
            assert thought.endswith(f"= {answer}")
        else:
            numbers = [int(v) for v in prompt.split("[")[1].strip(" ]").split()]
            assert [int(v) for v in answer.split()] == sorted(numbers)


def test_careless_rows_are_wrong(pool):
    """A chain that was given up half-way ends in another answer, nearly always."""
    rows = pool.filter(lambda r: r["careless"] and not r["spoiled"] and r["domain"] == "math")
    wrong = [
        int(r["messages"][1]["content"].split()[-1])
        != eval(r["messages"][0]["content"].removeprefix("think and compute "))
        for r in rows
    ]
    assert np.mean(wrong) > 0.9


def test_no_prompt_of_a_task_is_in_the_pool(pool):
    """Tasks hold reserved prompts only; each has 150."""
    prompts = {m[0]["content"] for m in pool["messages"][:]}
    for task in longcot_tasks():
        assert len(task.prompts) == 150
        assert not prompts & set(task.prompts)


def test_only_the_final_answer_counts():
    """Whatever the reasoning says; but reasoning that never ends is wrong."""
    assert ends_with("7", "<think> 1 + 1 = 3 </think> 7")
    assert ends_with("7", "<think> a </think> b </think>  7 ")
    assert not ends_with("7", "<think> 3 + 4 = 7")
    assert not ends_with("7", "<think> 3 + 4 = 7 </think> 7 lol")


def test_seed_and_size(pool):
    """Equal seeds give equal rows, others do not."""
    assert tiny_longcot.make_pool(2_000, 0)[:] == pool[:]
    assert tiny_longcot.make_pool(2_000, 1)["messages"][:] != pool["messages"][:]
