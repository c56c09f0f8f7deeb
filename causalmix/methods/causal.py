"""CausalMix-A and CausalMix-S, the two of their variants that are tried, and the cautious policy that stands beside."""

from dataclasses import replace

import numpy as np

from causalmix.core.errors import InputError
from causalmix.methods.cautious import LEAST, Choice, Keep, cautious, kept_by
from causalmix.methods.limits import Limits, limits
from causalmix.methods.policy import Proposal, causalmix_a, causalmix_s, support
from causalmix.methods.question import Answer, Question


def analytical(question: Question, radius: float | None = None) -> Answer:
    """CausalMix-A, within a radius of Equal where one is given."""
    return _answer(question, causalmix_a(question.theta, radius=radius, caps=question.caps))


def search(question: Question, radius: float | None = None) -> Answer:
    """CausalMix-S, likewise."""
    eps, caps = question.effects.eps, question.caps
    return _answer(question, causalmix_s(question.theta, eps=eps, seed=question.seed, radius=radius, caps=caps))


def _answer(question: Question, found: Proposal) -> Answer:
    return Answer(found.weights, len(question.history), found.note)


def without_covariates(question: Question) -> Answer:
    """CausalMix-A of the same runs without their covariates, the paper's ablation "w/o X"."""
    bare = replace(question.history, covariates=())
    return analytical(replace(question, history=bare, x=np.empty(0), fitted=None))


def without_orthogonalisation(question: Question) -> Answer:
    """CausalMix-A with plain means in the place of the nuisance models."""
    settings = {**question.settings, "orthogonalise": False}
    return analytical(replace(question, settings=settings, fitted=None))


def careful(question: Question) -> Answer:
    """The cautious policy."""
    judge = question.posterior()
    found = choice(replace(question, fitted=judge))
    return Answer(question.of_pool(found.weights), len(question.history), found.note, judge=judge)


def choice(question: Question) -> Choice:
    """The cautious mixture of the history's domains; those that the pool lacks get nothing."""
    if question.x is None:
        raise InputError("Expected the state of the pool for Cautious, found none; give its covariates as `x`.")
    caution = question.caution
    goals = [question.posterior(name) for name in caution.worst or (question.outcome,)]
    keep = _keep(question)
    own = None if question.rows is None else question.whole(question.proportions)
    return cautious(goals, question.x, allowed(question), caution.kappa, keep, own, question.seed)


def without_evidence(question: Question, found: Choice) -> Choice:
    """A choice without evidence, moved to the pool's own proportions where runs reach these and nothing is against."""
    limit, whole = allowed(question), question.whole(question.proportions)
    own = limit.inside(whole[None])[0]
    falls = [
        one.effects.outcome for one in _keep(question) if kept_by(one, question.x, found.weights)(own[None])[0] < 0
    ]
    goals = map(question.posterior, question.caution.worst or (question.outcome,))
    high = min(float(np.ravel(goal.gain(question.x, found.weights, own)[2])[0]) for goal in goals)
    if support(own, question.x, question.history).inside and high >= 0 and not falls:
        near = "" if np.abs(own - whole).max() < LEAST else ", or what is allowed that is nearest to them,"
        return replace(found, weights=own, note=f"{found.told}: the pool's own proportions{near} are proposed")
    why = "no run is near the pool's own proportions" if high >= 0 else "runs speak against the pool's own proportions"
    why = f"the pool's own proportions may not keep {', '.join(falls)}" if falls else why
    equal = "Equal" if not limit.note else "the mixture nearest to Equal that rows and floors allow"
    return replace(found, note=f"{found.told}: {equal} is proposed, for {why}")


def _keep(question: Question) -> list[Keep]:
    return [Keep(question.posterior(name), margin) for name, margin in question.caution.keep.items()]


def allowed(question: Question) -> Limits:
    """The limits that a question sets, for mixtures of the history's domains."""
    caution, has = question.caution, question.whole(np.ones(question.k))
    caps = has if question.caps is None else question.whole(question.caps)
    if (named := caution.reference) in ("equal", "pool"):
        reference = question.even if named == "equal" else question.proportions
    else:
        reference = question.of_pool(np.array(named, float))
    floors = np.multiply(caution.floor, has)
    return limits(question.whole(reference), floors, caps, caution.trust_region, caution.radius)
