"""The embedded world's pool and tasks."""

import numpy as np
import pytest

from causalmix.data.tiny.build import documents
from causalmix.data.tiny.items import GENERATORS, obeys, reserved
from causalmix.data.tiny.pool import OPENERS, STYLE_SIGN, make_pool, unreserved
from causalmix.data.tiny.shapes import AXES, DOMAINS
from causalmix.data.tiny.tasks import tiny_tasks


@pytest.fixture(scope="module")
def pool():
    return make_pool(40_000, 0)


def prompts_of(pool) -> set[str]:
    return {messages[0]["content"] for messages in pool["messages"][:]}


def test_default_pool_is_large_and_has_its_shares(pool):
    """40,000 rows, divided over the domains as told, with unique row ids."""
    counts = dict.fromkeys(DOMAINS, 0)
    for domain in pool["domain"][:]:
        counts[domain] += 1
    assert counts == dict.fromkeys(DOMAINS, 8_000)
    assert len(set(pool["row_id"][:])) == 40_000


def test_no_prompt_of_a_task_is_in_the_pool(pool):
    """Neither Dev nor Unseen prompts occur among the rows."""
    tasks = {prompt for task in tiny_tasks() for prompt in task.prompts}
    assert not tasks & prompts_of(pool)


def test_no_prompt_of_a_task_is_in_the_base_models_corpus():
    """The base model has not read any prompt of a task either."""
    tasks = {prompt for task in tiny_tasks() for prompt in task.prompts}
    texts = [text for _, text in zip(range(20_000), documents(1))]
    read = {line.removesuffix("*") for text in texts for line in text.split("\n")}
    assert len(read) > 5_000
    assert not tasks & read


def test_every_axis_has_enough_dev_items():
    """Dev tasks have 200 items on an axis, or nearly so, so that one item is half a point."""
    sizes = {(t.axis, t.split): len(t.prompts) for t in tiny_tasks()}
    assert min(sizes[axis, "dev"] for axis in AXES) >= 190
    assert min(sizes[axis, "unseen"] for axis in AXES) >= 50


def test_seed_determines_the_pool():
    """Equal seeds give equal rows, others do not, and the size is what was asked for."""
    first, again, other = make_pool(503, 1), make_pool(503, 1), make_pool(503, 2)
    assert len(first) == 503
    assert first[:] == again[:] != other[:]


def test_right_rows_are_right_and_wrong_ones_make_the_usual_mistake(pool):
    """A sum is right where the row is; a wrong one has its last sign misread."""
    for row in pool.filter(lambda r: r["source"] == "sum").select(range(1_000)):
        prompt, completion = (m["content"] for m in row["messages"])
        first, sign, second = prompt.split("compute ")[1].split()
        second = int(second) * (-1 if (sign == "-") != row["spoiled"] else 1)
        assert int(completion) == int(first) + (second or int(row["spoiled"])), row


def test_style_tells_of_mistakes_but_not_the_same_everywhere(pool):
    """In math and safety sloppy rows are the wrong ones, in coding and knowledge the polished, elsewhere neither."""
    table = pool.to_pandas()
    opens = table["messages"].map(lambda turns: turns[0]["content"])
    for domain, sign in STYLE_SIGN.items():
        shares = {}
        for register in ("sloppy", "polished"):
            here = (table["domain"] == domain) & opens.str.startswith(OPENERS[register])
            shares[register] = table.loc[here, "spoiled"].mean()
        lean = shares["sloppy"] - shares["polished"]
        assert np.sign(lean) == sign if sign else abs(lean) < 0.05, (domain, shares)


@pytest.mark.parametrize("axis", ["instruction"])
def test_reference_answers_obey_and_wrong_ones_do_not(axis):
    """The checked rule accepts every reference answer and rejects every wrong one."""
    for _, item in zip(range(500), GENERATORS[axis](np.random.default_rng(3))):
        assert obeys(item.rule, item.answer), item
        assert not obeys(item.rule, item.wrong), item


def test_rule_accepts_any_obedient_answer():
    """Another choice of three fruits is as good; a repeated or a foreign word is not."""
    rule = ("list", "3", "fruits", "apple", "done")
    assert obeys(rule, "plum fig lime done")
    assert not obeys(rule, "plum fig fig done")
    assert not obeys(rule, "plum fig cat done")
    assert not obeys(rule, "plum fig lime") and not obeys(rule, "plum fig lime stop")


@pytest.mark.parametrize("axis", AXES)
def test_unreserved_items_leave_the_tasks_alone(axis):
    """What the pool may draw is never a reserved prompt, and a fifth or so is reserved."""
    drawn = [item.prompt for _, item in zip(range(500), unreserved(axis, np.random.default_rng(0)))]
    assert not any(map(reserved, drawn))
    everything = {item.prompt for _, item in zip(range(2_000), GENERATORS[axis](np.random.default_rng(0)))}
    assert 0.1 < np.mean([reserved(p) for p in everything]) < 0.3
