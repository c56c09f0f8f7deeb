"""The models of the embedded world: tokenizer, base checkpoints and style rater, and how to rebuild them.

``causalmix world`` runs :func:`build`; the result ships with the package (safetensors and JSON).
The base is pre-trained on statements and quizzes of the same world: well-known facts more often than obscure ones,
refusals for some kinds of harm only, a few dialogues in plain text, and never the tokens of a chat.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from causalmix.core.paths import ASSETS
from causalmix.data.tiny.items import SAFETY, Item
from causalmix.data.tiny.models import ARCHITECTURES
from causalmix.data.tiny.pool import OPENERS, REGISTERS, unreserved
from causalmix.data.tiny.shapes import AXES, CHECKPOINTS, DOMAINS, SHAPES
from causalmix.lm.raters import StyleRater

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

#: Tokens of pre-training by role (ours): base skills half learned, so that fine-tuning matters.  The target
#: is grown from the proxy's checkpoint, so its tokens come on top of the proxy's.
PRETRAINING = {"proxy": 3_300_000, "target": 1_200_000, "longcot": 3_000_000}
PEAK_RATE = {"proxy": 3e-3, "target": 1.5e-3, "longcot": 3e-3}  # ours, of pre-training
CORPUS_SHARES = {"coding": 0.2, "instruction": 0.2, "math": 0.16, "knowledge": 0.24, "safety": 0.06, "reasoning": 0.14}
RATED_PAIRS = 3_000
TWINS_APART = 0.02  # noise, as a share of each matrix's own deviation
KNOWN_HARMS = SAFETY["harmful verbs"][:6]  # what the base has seen refused
DIALOGUE_SHARE = 0.12  # of the quizzes as dialogues in plain text, speakers starred; the chat tokens are never seen
OPENER_SHARE = 0.3  # of the corpus opens as people write
QUIZ_SHARE = 0.45  # of the corpus: questions with their answers, as pages for learners have them; never in chat form
BLOCK, BATCH = 128, 16  # tokens in one training sequence, and sequences in a step
VOCABULARY = 768


def documents(seed: int) -> Iterator[str]:
    """Endless plain-text documents of the base model's corpus: statements and some quizzes, never chat."""
    rng = np.random.default_rng(seed)
    streams = {axis: unreserved(axis, np.random.default_rng([seed, i]), "corpus") for i, axis in enumerate(AXES)}
    openers = [o for register in REGISTERS for o in OPENERS[register]]
    while True:
        axis = str(rng.choice(AXES, p=[CORPUS_SHARES[a] for a in AXES]))
        item = next(streams[axis])
        unknown = item.kind == "refuse" and not any(f" {verb} " in item.prompt for verb in KNOWN_HARMS)
        unusual = item.kind in ("capitals", "careful")
        if unknown or (unusual and rng.random() < 0.85):
            continue
        text = f"{item.prompt}\n{item.answer}" if rng.random() < QUIZ_SHARE else item.plain
        text = f"{rng.choice(openers)} {text}" if rng.random() < OPENER_SHARE else text
        if "\n" in text and rng.random() < DIALOGUE_SHARE:
            prompt, answer = text.split("\n")
            text = f"*user\n{prompt}*\n*assistant\n{answer}*"
        yield text


def build_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE that keeps digits apart (so that a number is read digit by digit)."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(r" ?\d| ?[^\s\d]+|\s"), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=list(SPECIAL_TOKENS), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
    texts = ["user\nassistant\n"] * 500
    for axis in AXES:
        items = zip(range(4_000), unreserved(axis, np.random.default_rng(seed)))
        texts += [f"{item.prompt}\n{item.answer}\n{item.plain}" for _, item in items]
    texts += [f"{o} {o}" for register in REGISTERS for o in OPENERS[register]] * 200
    tokenizer.train_from_iterator(texts, trainer)
    chat = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    chat["chat_template"] = (ASSETS / "chatml.jinja").read_text()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **chat)


def new_model(role: str, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """A randomly initialised model of the architecture and shape that ``role`` has."""
    torch.manual_seed(seed)
    tokens = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    tokens["vocab_size"] = math.ceil(len(tokenizer) / 64) * 64
    shape = SHAPES[role] | {"max_position_embeddings": 512, "tie_word_embeddings": True}
    shape["num_key_value_heads"] = shape["num_attention_heads"]
    return AutoModelForCausalLM.from_config(ARCHITECTURES[role](**shape, **tokens))


@torch.no_grad()
def grow(small: PreTrainedModel, model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Give a model of twice the width, and more layers, the function of a small one (Net2Net, arXiv:1511.05641).

    Every unit is doubled and what reads it halved; the layers on top begin as the identity.  A little noise, as a
    share of each matrix's own deviation, tells the twins apart, so that training can use them.  Both have tied
    embeddings and heads of the same size; ``model`` is changed in place.
    """
    generator, given = torch.Generator().manual_seed(seed), small.state_dict()
    for name, weight in model.named_parameters():
        source = given.get(name)
        if source is None:  # a layer that the small model lacks
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
            continue
        if source.dim() == 2:
            rows = 1 if "embed_tokens" in name else 2
            doubled = source.repeat(rows, 2) / rows
            doubled = doubled + TWINS_APART * doubled.std() * torch.randn(doubled.shape, generator=generator)
        else:  # tied logits add up both twins
            doubled = source.repeat(2) / (2 if name == "model.norm.weight" else 1)
        weight.copy_(doubled)
    return model


def _blocks(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[torch.Tensor]:
    """Endless (BATCH, BLOCK) blocks of documents joined by the end-of-text token."""
    stream, buffer = documents(seed), []
    while True:
        while len(buffer) < BATCH * BLOCK:
            texts = [text for _, text in zip(range(256), stream)]
            for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]:
                buffer += [*ids, tokenizer.pad_token_id]
        yield torch.tensor(buffer[: BATCH * BLOCK]).view(BATCH, BLOCK)
        buffer = buffer[BATCH * BLOCK :]


def pretrain(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tokens: int, seed: int, learning_rate: float
) -> float:
    """Pre-train by next-token prediction on the corpus (AdamW, warm-up then cosine); the last loss in nats."""
    steps = tokens // (BATCH * BLOCK)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.1, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1, (s + 1) / 100) * (0.05 + 0.95 * (1 + math.cos(math.pi * s / steps)) / 2)
    )
    model.train()
    for _, block in zip(range(steps), _blocks(tokenizer, seed)):
        loss = model(input_ids=block, labels=block, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def build(out: Path = CHECKPOINTS, seed: int = 1, tokens: Mapping[str, int] = PRETRAINING) -> None:
    """Rebuild everything that ships with the package; about half an hour on two cores.

    ``out`` gets ``tokenizer/``, ``rater/`` and one checkpoint for each role in ``tokens`` (of pre-training).
    """
    tokenizer = build_tokenizer(seed)
    tokenizer.save_pretrained(out / "tokenizer")
    train_rater(seed).save(out / "rater")
    for role, count in tokens.items():
        model = new_model(role, tokenizer, seed)
        if role == "target":
            grow(AutoModelForCausalLM.from_pretrained(out / "proxy", dtype=torch.float32), model, seed)
        pretrain(model, tokenizer, count, seed, PEAK_RATE[role])
        if role != "proxy":  # half of the bytes to ship; :func:`load_base` computes in float32 all the same
            model = model.half()
        model.save_pretrained(out / role, safe_serialization=True)


def train_rater(seed: int) -> StyleRater:
    """Train the style rater on pairs of a better and a worse register of the same question."""
    rng = np.random.default_rng([seed, 99])
    preferred, rejected = [], []
    for axis in DOMAINS:
        for _, item in zip(range(RATED_PAIRS // len(DOMAINS)), unreserved(axis, rng)):
            worse, better = sorted(rng.choice(len(REGISTERS), 2, replace=False))
            preferred.append(_in_register(item, REGISTERS[better], rng))
            rejected.append(_in_register(item, REGISTERS[worse], rng))
    return StyleRater().fit(list(zip(preferred, rejected)), seed=seed)


def _in_register(item: Item, register: str, rng: np.random.Generator) -> str:
    """A question with its answer as writers of a register open it; no opener at all reads as a neutral one."""
    bare = register == "neutral" and rng.random() < 0.6
    return f"{'' if bare else f'{rng.choice(OPENERS[register])} '}{item.prompt}\n{item.answer}"
