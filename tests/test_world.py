"""The models that ship with the package, and the command that rebuilds them."""

import numpy as np
import pytest
import torch

from causalmix.data.tiny import build, models, shapes
from causalmix.data.tiny.items import GENERATORS
from causalmix.data.tiny.pool import REGISTERS, unreserved
from causalmix.data.tiny.tasks import tiny_tasks
from causalmix.lm import outcomes


def test_numbers_are_read_digit_by_digit():
    """The tokenizer never merges digits, so that 45 is a four and a five."""
    tokens = models.world_tokenizer().tokenize("compute 45 - 307")
    assert [t.strip("Ġ") for t in tokens[1:]] == ["4", "5", "-", "3", "0", "7"]


def test_chat_template_marks_what_the_assistant_says():
    """Masks cover the assistant's words and its end-of-turn token, nothing else."""
    tokenizer = models.world_tokenizer()
    turns = [{"role": "user", "content": "say cat 2 times"}, {"role": "assistant", "content": "cat cat"}]
    encoded = tokenizer.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    said = [t for t, m in zip(encoded["input_ids"], encoded["assistant_masks"]) if m]
    assert tokenizer.decode(said) == "cat cat<|im_end|>"


def test_base_knows_its_world_and_no_chat():
    """As a chat it answers next to nothing, so fine-tuning can only help; its corpus has no token of a chat."""
    dev = [t for t in tiny_tasks() if t.split == "dev" and t.check is None]
    model, tokenizer = models.load_base(), models.world_tokenizer()
    assert all(outcomes.exact_match(model, tokenizer, t).mean() < 0.3 for t in dev)
    assert not any("<|im_" in text for _, text in zip(range(5_000), build.documents(1)))
    sums = (item for item in GENERATORS["math"](np.random.default_rng(5), hard=0) if item.kind == "sum")
    known = []  # sums as statements, whose last word before the full stop is the answer
    for _, item in zip(range(100), sums):
        ids = tokenizer(item.plain, return_tensors="pt")["input_ids"]
        answer = len(tokenizer(f" {item.answer} .")["input_ids"])
        written = model(input_ids=ids).logits[0, -answer - 1 : -1].argmax(-1)
        known.append(bool((written == ids[0, -answer:]).all()))
    assert np.mean(known) > 0.5


def test_rater_ranks_registers_whatever_the_answer():
    """On questions it has not seen, polished openers rank above sloppy ones nearly always."""
    rng, rater, wins = np.random.default_rng(123), models.world_rater(), []
    for axis in ("coding", "math", "knowledge"):
        for _, item in zip(range(100), unreserved(axis, rng)):
            sloppy, polished = rater.score([build._in_register(item, r, rng) for r in (REGISTERS[0], REGISTERS[2])])
            wins.append(polished > sloppy)
    assert np.mean(wins) > 0.95


def test_a_target_is_at_least_five_times_a_proxy():
    """The target's shape holds at least five times the proxy's parameters."""
    tokenizer = models.world_tokenizer()
    sizes = {role: build.new_model(role, tokenizer, 0).num_parameters() for role in shapes.SHAPES}
    assert sizes["target"] >= 5 * sizes["proxy"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_rebuilding_writes_what_the_package_loads(tmp_path, monkeypatch):
    """A build in miniature leaves a tokenizer, a checkpoint without pickles and a rater that load."""
    build.build(tmp_path, tokens=dict.fromkeys(shapes.SHAPES, 3 * 16 * build.BLOCK))
    files = {p.suffix for p in tmp_path.rglob("*") if p.is_file()}
    assert files <= {".json", ".jinja", ".safetensors"}
    monkeypatch.setattr(build, "CHECKPOINTS", tmp_path)
    model = models.load_base()
    assert torch.isfinite(model(input_ids=torch.tensor([[5, 6, 7]])).logits).all()
    assert np.isfinite(models.world_rater().score(["a b c"])).all()
