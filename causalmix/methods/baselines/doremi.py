"""DoReMi: domain weights of group DRO on excess loss (Xie et al. 2023, arXiv:2305.10429).

A reference model is fine-tuned on equal shares, then a second one while group DRO moves weights to the domains where
it lags behind the reference; the mixture is the mean of these weights.  What matters is the step size eta times the
number of steps: with eta = 1, the authors' default, weights collapse onto one domain, so several are reported.
"""

import numpy as np
import pandas as pd

from causalmix.methods.question import Answer, ProxyRun, Question
from causalmix.train.spec import MIXERS

ETAS = (MIXERS["doremi"]["eta"], 0.1, 1.0)  # per nat
RUNS = 2  # a reference and a proxy


def proxies(k: int, n_samples: int, seed: int) -> list[ProxyRun]:
    """The runs that DoReMi asks for among ``k`` domains: one for each step size."""
    even, smoothing = tuple(np.full(k, 1 / k)), MIXERS["doremi"]["smoothing"]
    mixings = [(("method", "doremi"), ("eta", eta), ("smoothing", smoothing)) for eta in ETAS]
    return [ProxyRun(even, n_samples, seed, mixing) for mixing in mixings]


def mixture(question: Question) -> Answer:
    """The mixture for the first step size; details ``etas``, what each gives, and ``trajectory``."""
    runs = proxies(question.k, question.history.usual_rows, question.seed)
    found = [record["training"]["mixing"] for record in question.trained("DoReMi", runs)]
    names = [f"w_{d}" for d in question.history.domains]
    tried = pd.DataFrame({"eta": ETAS, "updates": [f["updates"] - 1 for f in found]})
    tried["eta_times_updates"] = tried["eta"] * tried["updates"]
    tried[names] = [f["weights"] for f in found]
    eta, chosen = ETAS[0], found[0]
    note = f"eta {eta:g} over {chosen['updates'] - 1} updates (eta times updates: {eta * (chosen['updates'] - 1):g})"
    trajectory = pd.DataFrame(chosen["trajectory"], columns=names)
    return Answer(np.array(chosen["weights"]), RUNS, note, {"etas": tried, "trajectory": trajectory})
