"""Mixtures that change while a run trains: the update rules of DoReMi and ODM, and their place in the trainer.

A *mixer* is the trainer's sampler and computes the loss of each batch, from which it learns.  The trainer fetches
batches ahead of their use, so a mixer keeps those that it has handed out in a queue.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from scipy.special import softmax
from torch.utils.data import Sampler

from causalmix.core.errors import InputError
from causalmix.train.spec import MIXERS

POINTS = 50  # of a trajectory that are kept


def doremi_update(alpha: np.ndarray, excess: np.ndarray, eta: float, smoothing: float) -> np.ndarray:
    """One step of DoReMi's domain weights, shape (K,) (Xie et al. 2023, arXiv:2305.10429, algorithm 1).

    ``excess`` is the mean over each domain's tokens of max(loss of the proxy - loss of the reference, 0), in nats.
    """
    moved = softmax(np.log(alpha) + eta * np.asarray(excess, float))
    return (1 - smoothing) * moved + smoothing / len(moved)


def odm_floor(step: int, k: int) -> float:
    """Exploration share of each domain at a step counted from 1 (Albalak et al. 2023, arXiv:2312.02406)."""
    return min(1 / k, np.sqrt(np.log(k) / (k * step)))


def odm_policy(rewards: np.ndarray, step: int, form: str = "paper") -> np.ndarray:
    """ODM's sampling shares at a step counted from 1, shape (K,), from moving averages of the rewards.

    ``paper``: exponential weights at the rate of the last floor; ``official_repo``: linear in averages of exp(loss).
    """
    k, floor = len(rewards), odm_floor(step, len(rewards))
    if form == "paper":
        shares = softmax(odm_floor(max(step - 1, 1), k) * rewards)
    else:
        shares = rewards / rewards.sum()
    return (1 - k * floor) * shares + floor


def odm_reward(reward: float, loss: float, share: float, memory: float, form: str = "paper") -> float:
    """The moving average of one domain's reward after a batch with the mean loss ``loss`` (nats)."""
    gained = loss / share if form == "paper" else np.exp(loss)
    return memory * reward + (1 - memory) * gained


class Mixer(Sampler[int]):
    """Hands out ``n_rows`` rows, whose domains are ``codes``, by shares that start at ``weights``, (K,).

    Each kind says how to ``choose`` domains of the next n rows, what ``loss`` to descend, from the loss of each scored
    token and the row of the batch that it belongs to, and which static ``mixture`` the run speaks for.
    """

    def __init__(self, codes: np.ndarray, weights: np.ndarray, n_rows: int, batch_size: int, seed: int) -> None:
        self.codes, self.weights = np.asarray(codes), np.asarray(weights, float)
        absent = np.flatnonzero(np.bincount(self.codes, minlength=len(self.weights)) == 0)
        if len(absent):
            raise InputError(
                f"Expected rows of every domain to mix while training, found none of domain {absent[0] + 1} of "
                f"{len(self.weights)}; leave it out, or give it rows that can be trained on."
            )
        self.n_rows, self.batch_size = n_rows, batch_size
        self.rng = np.random.default_rng([seed, 60])
        self.streams = [self._stream(np.flatnonzero(self.codes == k)) for k in range(len(self.weights))]
        self.pending: deque[list[int]] = deque()
        self.handed = np.zeros(len(self.weights), int)
        self.path: list[np.ndarray] = []

    def __len__(self) -> int:
        return self.n_rows

    def __iter__(self) -> Iterator[int]:
        left = self.n_rows
        while left:
            domains = self.choose(min(self.batch_size, left))
            rows = [next(self.streams[k]) for k in domains]
            self.handed += np.bincount(domains, minlength=len(self.handed))
            self.pending.append(rows)
            left -= len(rows)
            yield from rows

    def _stream(self, rows: np.ndarray) -> Iterator[int]:
        """Rows of one domain in random order, again and again."""
        while True:
            yield from reversed(self.rng.permutation(rows).tolist())

    def found(self) -> dict:
        """What to record: the mixture, up to 50 points of the way there, and rows that were seen again."""
        every = -(-len(self.path) // POINTS)
        return {
            "weights": [float(w) for w in self.mixture()],
            "trajectory": [[round(float(w), 5) for w in point] for point in self.path[::every]],
            "updates": len(self.path),
            "new_epochs": np.maximum((self.handed - 1) // np.bincount(self.codes), 0).tolist(),
        }


class DoReMi(Mixer):
    """Group DRO over domains against the losses of a reference model (Xie et al. 2023, arXiv:2305.10429).

    A token's loss counts alpha / weight of its domain.  The excess over ``reference``, nats by row and token, is
    clipped token by token; a domain that is absent from a batch keeps its last one, at first log(vocabulary).
    """

    def __init__(self, *args, reference: Sequence[np.ndarray], vocabulary: int, eta: float, smoothing: float) -> None:
        super().__init__(*args)
        self.reference, self.eta, self.smoothing = reference, eta, smoothing
        self.alpha = np.full(len(self.weights), 1 / len(self.weights))
        self.excess = np.full(len(self.weights), np.log(vocabulary))
        self.path = [self.alpha]

    def choose(self, n: int) -> Sequence[int]:
        """Every domain once where the batch has room for that, the others by their weights."""
        k = len(self.weights)
        fixed = np.arange(k if n >= k else 0)
        return np.concatenate([fixed, self.rng.choice(k, n - len(fixed), p=self.weights)])

    def loss(self, losses: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
        rows = self.pending.popleft()
        domain = self.codes[rows][owner.cpu().numpy()]
        reference = np.concatenate([self.reference[row] for row in rows])
        gaps = np.maximum(losses.detach().double().cpu().numpy() - reference, 0.0)
        for k in np.unique(domain):
            self.excess[k] = gaps[domain == k].mean()
        self.alpha = doremi_update(self.alpha, self.excess, self.eta, self.smoothing)
        self.path.append(self.alpha)
        drawn = np.bincount(self.codes[rows], minlength=len(self.alpha)) / len(rows)
        scale = (self.alpha / np.maximum(drawn, 1e-12))[domain]
        scale = torch.as_tensor(scale, dtype=losses.dtype, device=losses.device)
        return (scale * losses).sum() / scale.sum()

    def mixture(self) -> np.ndarray:
        """Mean of alpha over all steps, the first included."""
        return np.mean(self.path, axis=0)


class ODM(Mixer):
    """A bandit over domains whose reward is the training loss (Albalak et al. 2023, arXiv:2312.02406).

    A moving average keeps the share ``memory`` of the old reward; the share ``warmup`` of batches goes by the weights.
    """

    def __init__(self, *args, form: str, memory: float, warmup: float) -> None:
        super().__init__(*args)
        self.form, self.memory = form, memory
        self.rewards = np.zeros(len(self.weights))
        self.policy, self.steps = self.weights / self.weights.sum(), 0
        self.warm = int(warmup * -(-self.n_rows // self.batch_size))
        self.path = [self.policy]

    def choose(self, n: int) -> Sequence[int]:
        """One domain for the whole batch, as in the authors' trainer."""
        return np.full(n, self.rng.choice(len(self.policy), p=self.policy))

    def loss(self, losses: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
        k = int(self.codes[self.pending.popleft()[0]])
        loss, self.steps = losses.mean(), self.steps + 1
        # By the share of now: the batch was drawn a few steps ago, when the trainer fetched it.
        self.rewards[k] = odm_reward(self.rewards[k], float(loss.detach()), self.policy[k], self.memory, self.form)
        # Linear shares of rewards that are still zero would never visit some domains again.
        if self.steps > self.warm and (self.form == "paper" or (self.rewards > 0).all()):
            self.policy = odm_policy(self.rewards, self.steps, self.form)
            self.path.append(self.policy)
        return loss

    def mixture(self) -> np.ndarray:
        """Shares of the rows that were handed out."""
        return self.handed / self.handed.sum()


def make_mixer(settings: Mapping[str, object], codes: np.ndarray, weights: np.ndarray, n_rows: int, batch_size: int,
               seed: int, **known) -> Mixer:  # fmt: skip
    """The mixer of a ``method`` with settings of :data:`MIXERS`; DoReMi must know ``reference`` and ``vocabulary``."""
    given = dict(settings)
    method = given.pop("method", None)
    if method not in MIXERS or set(given) - set(MIXERS[method]):
        raise InputError(f"Expected mixing by one of {MIXERS}, found {dict(settings)}; correct the specification.")
    given = MIXERS[method] | given
    weights = np.asarray(weights, float) / np.sum(weights)  # six digits of a specification may not sum to 1
    return {"doremi": DoReMi, "odm": ODM}[method](codes, weights, n_rows, batch_size, seed, **given, **known)
