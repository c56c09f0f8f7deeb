"""One run of a study: its sample drawn, its model trained, its outcomes scored."""

import gc
import os
import tempfile
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from datasets import Dataset

from causalmix.data import states
from causalmix.data.named_models import load_model, load_tokenizer, place
from causalmix.data.scored_pools import World, load_named, one_thread
from causalmix.lm import conversations, losses
from causalmix.lm.tasks import SPLITS
from causalmix.train.launch import finetune_distributed
from causalmix.train.online import make_mixer
from causalmix.train.sft import finetune
from causalmix.train.sft_settings import SFTSettings
from causalmix.train.spec import RunSpec

#: What a record calls losses on held-out rows, by their split.
LOSSES = dict(zip(SPLITS, ("validation_loss", "unseen_loss")))


@one_thread()
def train(spec: dict) -> dict:
    """Train and score one run, a :class:`RunSpec` as a dictionary; what the sweep sends to its workers."""
    if torch.cuda.is_available():  # what the run before, or the scoring of a pool, held: another process may need it
        gc.collect()
        torch.cuda.empty_cache()
    spec = RunSpec.from_dict(spec)
    world, settings = load_named(spec.world_name), SFTSettings.of(spec.settings)
    candidates = states.draw_candidates(world.scored, spec.state, spec.world_name.candidates, spec.seed)
    sample, repeats = states.draw_sample(world.scored, candidates, spec.weights, spec.n_samples, spec.seed)
    if spec.launch:
        training, model, tokenizer = _train_launched(world, sample, spec, settings)
    else:
        # In full precision: where a study asks for half, the trainer computes in it.
        model, tokenizer = load_model(spec.model)
        tokens = world.tokens(spec.model, tokenizer)
        if spec.mixing:
            training = _train_mixing(world.scored.codes, tokens, candidates, sample, spec, settings, model, tokenizer)
        else:
            training = finetune(model, tokenizer, tokens.select(sample), settings, spec.seed)
    parameters = model.num_parameters()
    if settings.bf16:
        model = model.to(torch.bfloat16)
    mixed = {f"{name}_mixed": v for name, v in states.mixed_covariates(world.scored, sample).items()}
    return {
        "scores": world.kind.evaluate(model, tokenizer),
        "covariates": states.candidate_covariates(world.scored, candidates) | mixed,
        "training": training
        | {"repeats": repeats, "parameters": parameters}
        | _held_out_losses(world, spec.model, model, tokenizer),
    }


def _train_mixing(codes: np.ndarray, tokens: Dataset, candidates: np.ndarray, sample: np.ndarray, spec: RunSpec,
                  settings: SFTSettings, model, tokenizer) -> dict:  # fmt: skip
    """Train with a mixer on all candidates; DoReMi trains its reference model on the same weights first."""
    # Not packed: a mixer chooses single rows, and only those that have something to learn within the length.
    settings = replace(settings, packing=False)
    candidates = candidates[conversations.scorable(tokens.select(candidates), settings.max_length)]
    rows, known = tokens.select(candidates), {}
    if spec.mixing["method"] == "doremi":
        reference, _ = load_model(spec.model)
        finetune(reference, tokenizer, tokens.select(sample), settings, spec.seed)
        reference_losses = losses.row_losses(reference, tokenizer, rows, settings.max_length)
        known = {"reference": reference_losses, "vocabulary": len(tokenizer)}
    total, weights = spec.n_samples * spec.epochs, np.array(spec.weights)
    mixer = make_mixer(spec.mixing, codes[candidates], weights, total, settings.batch_size, spec.seed, **known)
    training = finetune(model, tokenizer, rows, replace(settings, epochs=1), spec.seed, mixer)
    return training | {"mixing": mixer.found()}


def _train_launched(world: World, sample: np.ndarray, spec: RunSpec, settings: SFTSettings) -> tuple:
    """Train on several devices in processes of their own, and load what they leave."""
    with tempfile.TemporaryDirectory(prefix="causalmix-launch-") as scratch:
        out, rows = os.path.join(scratch, "model"), world.pool.select(sample)
        training = finetune_distributed(place(spec.model), rows, out, settings, spec.seed, **spec.launch)
        model, tokenizer = load_model(out)
    return training, model, tokenizer


def _held_out_losses(world: World, name: str, model, tokenizer) -> dict[str, dict[str, float]]:
    """Loss on held-out rows by split and domain, nats per scored token; empty where the pool's family has none."""
    found: dict[str, dict[str, float]] = {LOSSES["dev"]: {}}
    for (split, domain), rows in _held_out_tokens(world, name).items():
        found.setdefault(LOSSES[split], {})[domain] = losses.validation_loss(model, tokenizer, rows)
    return found


@lru_cache(maxsize=4)
def _held_out_tokens(world: World, model: str) -> dict[tuple[str, str], Dataset]:
    """Held-out rows by split and domain as tokens of a model, by its name: each run loads a tokenizer of its own."""
    rows, parts, tokenizer = world.validation(), {}, load_tokenizer(model)
    for row in rows if rows is not None else ():
        parts.setdefault((row["split"], row["domain"]), []).append(row)
    return {part: conversations.tokenize(chosen, tokenizer) for part, chosen in parts.items()}
