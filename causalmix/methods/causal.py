"""CausalMix-A and CausalMix-S, and the two of their variants that are tried: the returns in the pool's state decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from causalmix.methods.policy import causalmix_a, causalmix_s
from causalmix.methods.question import Answer, Question


def analytical(question: Question) -> Answer:
    """CausalMix-A."""
    found = causalmix_a(question.theta, caps=question.caps)
    return Answer(found.weights, len(question.history), found.note)


def search(question: Question) -> Answer:
    """CausalMix-S."""
    found = causalmix_s(question.theta, eps=question.effects.eps, seed=question.seed, caps=question.caps)
    return Answer(found.weights, len(question.history), found.note)


def without_covariates(question: Question) -> Answer:
    """CausalMix-A of the same runs without their covariates, the paper's ablation "w/o X"."""
    bare = replace(question.history, covariates=())
    return analytical(replace(question, history=bare, x=np.empty(0), fitted=None))


def without_orthogonalisation(question: Question) -> Answer:
    """CausalMix-A with plain means in the place of the nuisance models."""
    settings = {**question.settings, "orthogonalise": False}
    return analytical(replace(question, settings=settings, fitted=None))
