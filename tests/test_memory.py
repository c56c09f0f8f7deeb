"""What training holds in memory: counted for a shape, and as torch holds it."""

import math
from dataclasses import replace

import pytest
import torch
from language_models import chat_tokenizer, row, tiny_model
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import AutoConfig, AutoModelForCausalLM

from causalmix.core.errors import InputError
from causalmix.lm import conversations
from causalmix.study.plan.memory import SHAPES, Shape, shape_of, training_memory
from causalmix.train import sft
from causalmix.train.launch import launcher_of


def test_a_model_in_a_folder_has_the_shape_of_its_configuration(tmp_path):
    """Only the configuration is read; the weights are a file's worth of nothing here."""
    tiny_model().save_pretrained(tmp_path)
    chat_tokenizer().save_pretrained(tmp_path)
    assert shape_of(str(tmp_path)).parameters == sum(p.numel() for p in tiny_model().parameters())


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_a_model_of_other_layers_is_refused(tmp_path, family):
    """Their memory is not what is counted here."""
    small = AutoConfig.for_model(family, hidden_size=32, num_attention_heads=2, num_hidden_layers=1, vocab_size=320)
    AutoModelForCausalLM.from_config(small).save_pretrained(tmp_path)
    chat_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"Expected a model with layers as Llama's .* of the type {family}; choose"):
        shape_of(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("Qwen/Qwen2.5-0.5B", 494_032_768),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("Qwen/Qwen3-4B-Base", 4_022_468_096),
        ("Qwen/Qwen3-8B", 8_190_735_360),
        ("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1_711_376_384),
        ("smollm2", 134_515_008),
    ],
)
def test_real_sizes_and_what_sharding_leaves_of_them(name, published):
    """Published numbers of parameters; sixteen bytes each in float32, an eighth of it on each of eight GPUs."""
    shape = shape_of(name)
    assert shape.parameters == published
    settings = sft.SFTSettings(bf16=True, batch_size=1, max_length=128, packing=True)
    used = training_memory(shape, settings, {"config": "fsdp2", "processes": 8}, 128)
    assert used["weights"] + used["gradients"] + used["optimiser"] == 16 * published / 8


def test_the_launchers_files_are_read_as_they_are():
    """Sharding, checkpointing and the number of processes come from accelerate's configuration."""
    assert launcher_of({"config": "fsdp2_longcot", "processes": 4}) == {
        "processes": 4,
        "sharded": True,
        "checkpointing": True,
    }
    assert launcher_of({"config": "single_gpu"}) == {"processes": 1, "sharded": False, "checkpointing": False}


@pytest.mark.parametrize("bf16", [False, True])
def test_weights_gradients_and_optimiser_are_what_training_holds(bf16):
    """Counted while a model trains: 16 bytes a parameter, also where it computes in bfloat16."""
    held, model = {}, tiny_model()

    def count(optimizer, *_):
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        moments = [t for state in optimizer.state.values() for t in state.values() if t.ndim]
        size = lambda tensors: sum(t.numel() * t.element_size() for t in tensors)  # noqa: E731
        held.update(weights=size(weights), gradients=size([w.grad for w in weights]), optimiser=size(moments))

    settings = sft.SFTSettings(bf16=bf16, epochs=1, batch_size=2)
    tokens = conversations.tokenize([row("what is cold ?", "hot"), row("what is wet ?", "dry")], chat_tokenizer())
    hook = register_optimizer_step_post_hook(count)
    try:
        sft.finetune(model, chat_tokenizer(), tokens, settings, seed=0)
    finally:
        hook.remove()
    shape = replace(shape_of("Qwen/Qwen2.5-0.5B"), parameters=sum(p.numel() for p in model.parameters()))
    used = training_memory(shape, settings, {}, 32, gpu=False)
    assert held == {name: used[name] for name in held} and set(held) == {"weights", "gradients", "optimiser"}
    assert sum(held.values()) == 16 * shape.parameters


def saved_bytes(config, layers: int, weights: int, compute: int) -> float:
    """Bytes for each token that autograd keeps of a model's forward pass, its weights aside."""
    config.num_hidden_layers = layers
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(
        torch.bfloat16 if weights == 2 else torch.float32
    )
    own, sizes, kept = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}, []

    def keep(tensor):
        kept.append(tensor)  # or its storage would be given to the next one
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=compute == 2),
    ):
        model.base_model(input_ids=torch.zeros(2, 256, dtype=torch.long), use_cache=False)
    return sum(sizes.values()) / (2 * 256)


@pytest.mark.parametrize("kind", ["Qwen/Qwen2.5-0.5B", "Qwen/Qwen3-4B-Base"])
@pytest.mark.parametrize(("weights", "compute"), [(4, 4), (2, 2), (4, 2)])
def test_activations_are_the_tensors_that_autograd_saves(kind, weights, compute):
    """What one more layer makes autograd keep, to the byte (casts of its weights aside, which count elsewhere)."""
    small = {
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 320,
    }
    config = AutoConfig.for_model(**SHAPES[kind] | small | ({"head_dim": 16} if "Qwen3" in kind else {}))
    shape = Shape(0, 0, 1, 64, 160, 320, 64, 32, 4, 2, "Qwen3" in kind, False)
    more = saved_bytes(config, 3, weights, compute) - saved_bytes(config, 2, weights, compute)
    casts = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160) / 512 if (weights, compute) == (4, 2) else 0
    assert more == shape.activations(weights, compute) + casts


def test_checkpointing_and_shorter_batches_take_less():
    """Memory falls with checkpointing, with the batch and with the rows; and is finite."""
    shape, plain = shape_of("Qwen/Qwen2.5-0.5B"), sft.SFTSettings(bf16=True, batch_size=8)
    total = lambda settings, longest=4096: sum(training_memory(shape, settings, {}, longest).values())  # noqa: E731
    assert total(replace(plain, activation_checkpointing=True)) < total(plain, 2048) < total(plain) < math.inf
    assert total(replace(plain, batch_size=4)) < total(plain)
