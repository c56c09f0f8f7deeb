"""Raters of writing style, by Bradley-Terry logits: a bag of words that ships, or any sequence classifier."""

import json
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel, PreTrainedTokenizerBase

STYLE_CHUNK = 512  # tokens
BATCH = 16  # chunks in one pass of a classifier
LEARNING_RATE, DECAY = 0.1, 1e-4


def chunked_scores(
    documents: Sequence[Sequence[Any]], logits: Callable[[list[Sequence[Any]]], np.ndarray]
) -> np.ndarray:
    """Token-weighted mean over chunks of each document's ``logits``, shape (n,); 0 for one without tokens."""
    pieces = [[doc[i : i + STYLE_CHUNK] for i in range(0, len(doc), STYLE_CHUNK)] for doc in documents]
    flat = [piece for doc in pieces for piece in doc]
    scored = iter(logits(flat) if flat else ())
    weights = [[len(piece) for piece in doc] for doc in pieces]
    return np.array([_mean([next(scored) for _ in doc], doc) for doc in weights])


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    """Their weighted mean, 0 of none; one value, as most documents have, is its own."""
    return float(np.average(values, weights=weights) if len(values) > 1 else sum(values))


class StyleRater:
    """A small Bradley-Terry rater of style, trained on pairs (the idea of QuRating, arXiv 2402.09739).

    A chunk's logit is linear in the mean of its hashed token n-grams (words and punctuation, n = 1, 2).
    """

    def __init__(self, n_buckets: int = 2**14) -> None:  # one weight each
        self.weights = torch.zeros(n_buckets)

    def fit(self, pairs: Sequence[tuple[str, str]], seed: int = 0, epochs: int = 20) -> Self:
        """Maximise the Bradley-Terry likelihood that the first text of each pair is preferred; returns itself."""
        sides = [[self._features(_words(text)) for text in side] for side in zip(*pairs)]
        self.weights = torch.zeros(len(self.weights), requires_grad=True)
        optimizer = torch.optim.Adam([self.weights], lr=LEARNING_RATE)
        order = torch.Generator().manual_seed(seed)
        for _ in range(epochs):
            for chosen in torch.randperm(len(pairs), generator=order).split(256):
                better, worse = (self._linear([side[i] for i in chosen.tolist()]) for side in sides)
                loss = -logsigmoid(better - worse).mean() + DECAY * self.weights.square().sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self.weights = self.weights.detach()
        return self

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Log-odds of style, shape (n,): token-weighted over chunks of 512 tokens."""
        logits = lambda chunks: self._linear(map(self._features, chunks)).numpy()  # noqa: E731
        return chunked_scores([_words(text) for text in texts], logits)

    def save(self, folder: str | Path) -> None:
        """Write ``weights.safetensors`` and ``rater.json`` into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights}, folder / "weights.safetensors")
        (folder / "rater.json").write_text(json.dumps({"n_buckets": len(self.weights)}) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what :meth:`save` wrote."""
        folder = Path(folder)
        rater = cls(**json.loads((folder / "rater.json").read_text()))
        rater.weights = load_file(folder / "weights.safetensors")["weights"]
        return rater

    def _features(self, words: Sequence[str]) -> list[int]:
        """Bucket of each uni- and bigram; crc32 because Python's own hash changes between processes."""
        grams = [*words, *(f"{a} {b}" for a, b in zip(words, words[1:]))]
        n = len(self.weights)  # asked once: a tensor takes its time to tell
        return [zlib.crc32(gram.encode()) % n for gram in grams]

    def _linear(self, features: Iterable[list[int]]) -> torch.Tensor:
        """Mean weight of each bag of features, shape (m,)."""
        bags = list(features)
        offsets = torch.tensor([0, *map(len, bags[:-1])]).cumsum(0)
        flat = torch.tensor([bucket for bag in bags for bucket in bag], dtype=torch.long)
        return torch.nn.functional.embedding_bag(flat, self.weights[:, None], offsets, mode="mean").squeeze(1)


class ClassifierRater:
    """A Hugging Face sequence classifier as rater by its first head, as princeton-nlp/QuRater-1.3B has style."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        if tokenizer.pad_token_id is None:  # as Llama's; which token fills up does not matter, only that it is known
            tokenizer.pad_token_id = 0
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Logits of the head, shape (n,): token-weighted over chunks of 512 tokens."""
        ids = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return chunked_scores(ids, self._logits)

    @torch.inference_mode()
    def _logits(self, chunks: list[Sequence[int]]) -> np.ndarray:
        parts = []
        for start in range(0, len(chunks), BATCH):
            batch = self.tokenizer.pad({"input_ids": chunks[start : start + BATCH]}, return_tensors="pt")
            parts.append(self.model(**batch.to(self.model.device)).logits[:, 0].float().cpu())
        return torch.cat(parts).numpy()


Rater = StyleRater | ClassifierRater


def _words(text: str) -> list[str]:
    """Words and single punctuation marks; case is style and stays."""
    return re.findall(r"\w+|[^\w\s]", text)
