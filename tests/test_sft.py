"""Fine-tuning: masks, loss, determinism, divergence, and what a run leaves behind."""

import json
import os
import sys
import tempfile
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from language_models import chat_tokenizer, row, tiny_model
from torch.nn.utils.rnn import pad_sequence
from transformers import SchedulerType, TrainerCallback
from transformers.integrations import integration_utils
from trl import SFTConfig, SFTTrainer
from trl.chat_template_utils import is_chat_template_stop_token_trained

from causalmix.core.errors import InputError
from causalmix.lm.conversations import labelled, tokenize
from causalmix.lm.losses import completion_loss, padded, row_losses, token_losses
from causalmix.study.plan import needs
from causalmix.study.plan.memory import shape_of
from causalmix.train import sft, sft_settings
from causalmix.train.design import Design
from causalmix.train.sft import GroupedSampler, SFTSettings, finetune
from causalmix.train.spec import training_of

ROWS = [row(f"what is {n} ?", " ".join(str(n) * (1 + n % 4))) for n in range(24)]
QUICK = SFTSettings(learning_rate=3e-3, epochs=1, batch_size=8)


@pytest.fixture(scope="module")
def tokenizer():
    return chat_tokenizer()


@pytest.fixture(scope="module")
def tokens(tokenizer):
    return tokenize(ROWS, tokenizer)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def scored_text(tokenized, tokenizer):
    return tokenizer.decode([i for i, m in zip(tokenized["input_ids"], tokenized["completion_mask"]) if m])


def test_mask_covers_the_assistant_and_its_end_token(tokenizer):
    """Every assistant turn of a conversation is scored with its end token, and nothing else is."""
    tokenized = tokenize([row("cold", "hot"), row("dark", "light", "wet", "dry")], tokenizer)
    assert scored_text(tokenized[0], tokenizer) == "hot<|im_end|>"
    assert scored_text(tokenized[1], tokenizer) == "light<|im_end|>dry<|im_end|>"


def test_adapters_are_trained_and_merged(tokens, tokenizer, tmp_path, monkeypatch):
    """All linear maps move, and nothing else; as many weights as a plan says; equal seeds give equal weights."""
    trained, fit = [], sft.Trainer.train
    count = lambda self: trained.append(self.get_num_trainable_parameters()) or fit(self)  # noqa: E731
    monkeypatch.setattr(sft.Trainer, "train", count)
    model, again = tiny_model(), tiny_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    for one in (model, again):
        finetune(one, tokenizer, tokens, replace(QUICK, lora_rank=2), seed=0)
    after = model.state_dict()
    assert list(after) == list(before) and all(after[n].equal(w) for n, w in again.state_dict().items())
    assert {n for n in after if not after[n].equal(before[n])} == {n for n in after if "_proj.weight" in n}
    learnt, raw = (np.concatenate(row_losses(one, tokenizer, tokens)).mean() for one in (model, tiny_model()))
    assert learnt < raw
    for one in (model, tokenizer):
        one.save_pretrained(tmp_path)
    assert trained == [shape_of(str(tmp_path)).adapters(2)] * 2


def test_adapters_that_cannot_be_are_refused(monkeypatch):
    """For a study's models before anything is trained; runs that are older than the setting keep their identity."""
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match="library peft for lora_rank, found none; pip install"):
        needs._check_models(Design(training={"lora_rank": 8}), {"proxy"})
    launched = {"target": {"name": "x", "launch": {"config": "fsdp2", "processes": 8}, "lora_rank": 8}}
    with pytest.raises(InputError, match="leave out lora_rank or launch"):
        needs._check_models(Design(models=launched), {"target"})
    assert "lora_rank" not in training_of(asdict(SFTSettings()), {}, {})
    assert training_of(asdict(SFTSettings(lora_rank=8)), {}, {})["lora_rank"] == 8


def test_template_is_plain_chatml_and_the_row_ends_with_its_last_scored_token(tokenizer):
    """No system prompt is injected, and the newline after the last turn is left out."""
    tokenized = tokenize([row("cold", "hot")], tokenizer)[0]
    expected = "<|im_start|>user\ncold<|im_end|>\n<|im_start|>assistant\nhot<|im_end|>"
    assert tokenizer.decode(tokenized["input_ids"]) == expected


def test_template_trains_the_stop_token(tokenizer):
    """TRL's own check finds the end-of-turn token inside the generation markers."""
    assert is_chat_template_stop_token_trained(tokenizer)


@pytest.mark.parametrize("rows", [[], [row("cold")]])
def test_rows_without_anything_to_learn_are_refused(tokenizer, rows):
    """No row at all, or a row without an assistant turn, is bad input."""
    with pytest.raises(InputError, match="Expected"):
        tokenize(rows, tokenizer)


def test_loss_and_gradient_equal_those_of_trl(tokenizer, tokens, tmp_path):
    """Skipping masks and unscored positions changes neither the loss nor its gradient."""
    ids = [torch.tensor(i) for i in tokens["input_ids"][:6]]
    labels = [i.where(torch.tensor(m).bool(), -100) for i, m in zip(ids, tokens["completion_mask"][:6])]
    batch = {
        "input_ids": pad_sequence(ids, batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
        "attention_mask": pad_sequence([torch.ones_like(i) for i in ids], batch_first=True),
    }
    ours, theirs = tiny_model(), tiny_model()
    completion_loss(ours, batch, None).backward()
    config = SFTConfig(str(tmp_path), use_cpu=True, bf16=False, activation_checkpointing=False, report_to="none")
    trainer = SFTTrainer(theirs, config, train_dataset=tokens, processing_class=tokenizer)
    trainer.compute_loss(theirs, batch).backward()
    assert completion_loss(ours, batch, None).item() == pytest.approx(
        trainer.compute_loss(theirs, batch).item(), rel=1e-5
    )
    for a, b in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)


def test_packed_rows_give_the_same_loss(tokenizer, tokens):
    """A bin of packed rows is as good as the same rows side by side."""
    one_step = {"epochs": 1, "batch_size": len(ROWS), "max_length": 1024}
    side_by_side = finetune(tiny_model(), tokenizer, tokens, SFTSettings(**one_step), 0)
    packed = finetune(tiny_model(), tokenizer, tokens, SFTSettings(**one_step, packing=True), 0)
    assert packed["steps"] == side_by_side["steps"] == 1
    assert packed["loss"] == pytest.approx(side_by_side["loss"], rel=1e-5)


def test_training_lowers_the_loss_and_counts_its_work(tokenizer, tokens):
    """Stats report the tokens of all epochs without padding, and the loss falls."""
    model, start = tiny_model(), tiny_model()
    stats = finetune(model, tokenizer, tokens, SFTSettings(learning_rate=3e-3, epochs=3, batch_size=8), 0)
    again = finetune(start, tokenizer, tokens, QUICK, 0)
    assert stats["loss"] < again["loss"]
    assert (stats["steps"], stats["rows"]) == (9, len(ROWS))
    assert stats["tokens"] == 3 * sum(map(len, tokens["input_ids"]))


@pytest.mark.filterwarnings("error:Detected call of")
@pytest.mark.parametrize("change", [{}, {"gradient_accumulation": 2}, {"bf16": True}, {"weight_decay": 0.1}])
def test_what_a_step_is_spared_changes_no_bit(tokenizer, tokens, monkeypatch, change):
    """The same weights as by the trainer's own way; the model walks over its modules again when it is trained."""
    results = []
    for own in (False, True):
        if own:
            for name in ("_run_epoch", "_clip_grad_norm", "get_decay_parameter_names"):
                monkeypatch.delattr(sft.Trainer, name)
        model = tiny_model()
        finetune(model, tokenizer, tokens, replace(QUICK, epochs=2, max_grad_norm=0.1, **change), 0)
        results.append(weights(model))
        assert not model.model.layers[0].training and model.train().model.layers[0].training
        assert not {"train", "zero_grad"} & set(vars(model)) and "lomo_optim" not in sys.modules
    assert torch.equal(*results) and not torch.equal(results[0], weights(tiny_model()))


@pytest.mark.parametrize("bf16", [False, True])
def test_the_precision_that_is_asked_for_is_used(tokenizer, tokens, bf16):
    """On a CPU too: maps compute in bfloat16 while their weights stay whole."""
    model, seen = tiny_model(), set()
    model.model.layers[0].mlp.up_proj.register_forward_hook(lambda module, _, out: seen.add(out.dtype))
    finetune(model, tokenizer, tokens, replace(QUICK, bf16=bf16), 0)
    assert seen == {torch.bfloat16 if bf16 else torch.float32}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_equal_seeds_give_identical_weights(tokenizer, tokens):
    """One seed, one result, to the last bit; another seed, another order of rows."""
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(results))  # the state of the global generator must not matter
        model = tiny_model()
        finetune(model, tokenizer, tokens, QUICK, seed)
        results.append(weights(model))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_divergence_is_an_error(tokenizer, tokens):
    """A loss that stops being finite ends the run at once, with a clear message."""
    with pytest.raises(FloatingPointError, match="diverged at step 1:"):
        finetune(tiny_model(), tokenizer, tokens, SFTSettings(learning_rate=1e30, epochs=2, batch_size=8, warmup=0), 0)


def test_a_run_leaves_no_file_and_prints_nothing(tokenizer, tokens, tmp_path, monkeypatch, capfd):
    """Neither the working nor the temporary directory keeps anything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    finetune(tiny_model(), tokenizer, tokens, QUICK, 0)
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr().out == ""


def test_long_rows_are_cut_and_dropped_when_nothing_is_left_to_learn(tokenizer):
    """Rows keep their beginning; those whose completion lies beyond the limit do not count."""
    tokenized = tokenize([row("cold", "hot"), row("what is the opposite of " * 9, "dry")], tokenizer)
    limit = len(tokenized[0]["input_ids"])
    stats = finetune(tiny_model(), tokenizer, tokenized, SFTSettings(epochs=1, max_length=limit), 0)
    assert (stats["rows"], stats["tokens"]) == (1, limit)
    with pytest.raises(InputError, match="max_length"):
        finetune(tiny_model(), tokenizer, tokenized, SFTSettings(epochs=1, max_length=4), 0)


def test_sampler_sees_each_row_once_and_saves_padding():
    """An epoch is a permutation, epochs differ, and batches hold rows of similar length."""
    lengths = torch.randint(5, 60, (203,), generator=torch.Generator().manual_seed(0)).tolist()
    sampler = GroupedSampler(lengths, batch_size=8, seed=3)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == list(range(203)) and first != second
    padded = sum(8 * max(lengths[i] for i in first[s : s + 8]) for s in range(0, 200, 8))
    assert sum(lengths) / padded > 0.85  # in random order it is about 0.6


@pytest.mark.parametrize("change", [{"learning_rate": 0.0}, {"batch_size": 0}, {"epochs": float("nan")}])
def test_senseless_settings_are_refused(change):
    """A hyper-parameter that must be positive says so."""
    with pytest.raises(InputError, match=next(iter(change))):
        SFTSettings(**change)


def test_settings_survive_a_run_specification():
    """What a specification records gives the same settings back; an unknown name is refused."""
    settings = SFTSettings(learning_rate=2e-3, packing=True)
    assert SFTSettings.of(json.loads(json.dumps(asdict(settings)))) == settings
    with pytest.raises(InputError, match="learnig_rate"):
        SFTSettings.of({"learnig_rate": 1e-3})


def test_losses_made_piece_by_piece_are_the_same(tokenizer, monkeypatch):
    """However few logits may be held at once: equal losses, and equal gradients."""
    model, rows = tiny_model(), labelled(tokenize(ROWS, tokenizer), 64)
    found = []
    for budget in (2**26, 3 * 320):
        monkeypatch.setattr("causalmix.lm.losses.LOGIT_BUDGET", budget)
        model.zero_grad()
        losses, owner = token_losses(model, padded(rows[:8], tokenizer.pad_token_id, model.device))
        losses.sum().backward()
        found.append((losses.detach(), owner, [weight.grad.clone() for weight in model.parameters()]))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5) and torch.equal(found[0][1], found[1][1])
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(found[0][2], found[1][2]))


def test_losses_of_rows_do_not_depend_on_what_is_read_at_once(tokenizer):
    """One row at a time, or all: the same losses in the order of the rows."""
    model, rows = tiny_model(), tokenize(ROWS, tokenizer)
    whole, single = row_losses(model, tokenizer, rows), row_losses(model, tokenizer, rows, max_tokens=1)
    assert len(whole) == len(ROWS)
    for one, other in zip(whole, single, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_setting_of_another_kind_is_refused():
    """YAML reads 1e-3 as text, which is a number all the same; other text, and an unknown schedule, are refused."""
    assert SFTSettings(learning_rate="1e-3").learning_rate == 1e-3
    assert sft_settings.SCHEDULES == tuple(kind.value for kind in SchedulerType)
    for bad, told in (
        ({"learning_rate": "fast"}, "learning_rate to be float, found 'fast'"),
        ({"batch_size": 8.5}, "batch_size to be int, found 8.5"),
        ({"bf16": "yes"}, "bf16 to be bool"),
        ({"schedule": "cosin"}, "a schedule among .*cosine"),
    ):
        with pytest.raises(InputError, match=told):
            SFTSettings(**bad)


@pytest.mark.parametrize(
    "name, message", [("wandbb", "among none, wandb, mlflow"), ("mlflow", "the library mlflow .* pip install mlflow")]
)
def test_losses_are_reported_only_where_that_can_be(monkeypatch, name, message):
    """An unknown tracker, or one that is not installed, is refused before anything is trained."""
    monkeypatch.setattr(sft_settings, "_installed", list)
    with pytest.raises(InputError, match=message):
        SFTSettings(report_to=name)


def test_tensorboard_needs_a_folder_that_stays(monkeypatch):
    """A run's own folder is thrown away."""
    monkeypatch.setattr(sft_settings, "_installed", lambda: ["tensorboard"])
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    with pytest.raises(InputError, match="TENSORBOARD_LOGGING_DIR"):
        SFTSettings(report_to="tensorboard")


def test_a_tracker_is_told_the_losses_and_changes_nothing(monkeypatch, tokenizer, tokens):
    """The trainer's own way to it is taken; the weights are those of a run that tells nobody."""
    told = []

    class Tracker(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            told.append(logs)

    monkeypatch.setattr(sft_settings, "_installed", lambda: ["wandb"])
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "wandb", Tracker)
    silent, heard = tiny_model(), tiny_model()
    finetune(silent, tokenizer, tokens, replace(QUICK, epochs=4), 0)
    assert not told
    finetune(heard, tokenizer, tokens, replace(QUICK, epochs=4, report_to="wandb"), 0)
    assert any("loss" in logs for logs in told)
    assert torch.equal(weights(silent), weights(heard))


def test_who_is_told_is_no_part_of_a_run(make_spec):
    """Its identity stays, so that nothing is trained again."""
    plain, told = make_spec(), make_spec(training=make_spec().as_dict()["training"] | {"report_to": "wandb"})
    assert plain.run_id == told.run_id and told.settings["report_to"] == "wandb"
    assert training_of({"report_to": "none", "epochs": 1}, {}, {}) == {"epochs": 1}
