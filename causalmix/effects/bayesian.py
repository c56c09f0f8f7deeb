"""Returns that vary with the state as much as the runs say, in one Bayesian model of the outcome.

    y = g(x) + sum_k sum_m phi_m(T_k) beta_km(x) + h(T) + e

The level g and every coefficient beta_km are sums of lines, quadratic forms, bumps, steps and corners of the state: a
varying-coefficient model (Hastie and Tibshirani 1993, doi:10.1111/j.2517-6161.1993.tb01939.x) under horseshoe priors.
phi says how the outcome answers to a share: by its logarithm, or with a bend where left-out runs ask for one; h is
smooth in the whole mixture.  Models whose returns depend on the state not at all, in one way, or in all of them, are
averaged by how well each predicts runs that are left out.  Runs of one mixture share an error of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from scipy.linalg import block_diag
from scipy.spatial.distance import cdist
from sklearn.linear_model import RidgeCV

from causalmix.core.parameters import check_name
from causalmix.core.simplex import log_treatment
from causalmix.effects import horseshoe
from causalmix.effects.interface import Effects, Normal, Problem
from causalmix.effects.state_basis import KINDS, StateBasis, state_basis

#: How the outcome may answer to shares, the simplest first: functions of each, and whether h is added.
RESPONSES: dict[str, tuple[tuple[str, ...], bool]] = {
    "log": (("log",), False),
    "share and log": (("share", "log"), False),
    "share and root": (("share", "root"), False),
    "smooth": (("root",), True),
}
IN_WORDS = {
    "share and log": "shares and their logarithms",
    "share and root": "shares and their roots",
    "smooth": "roots of shares and a smooth function of the whole mixture",
}
FUNCTIONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "log": log_treatment,
    "share": lambda T, eps: T,
    "root": lambda T, eps: np.sqrt(np.maximum(T, 0)),
}
#: How returns may depend on the state: the kinds of columns that each model has.
DEPENDENCE = {
    "not at all": ("constant",),
    "by lines": ("constant", "line"),
    "by forms": ("constant", "line", "quadratic"),
    "by curves": ("constant", "curve"),
    "by steps": ("constant", "line", "step"),
    "freely": KINDS[:-1],
}
LEVEL = ("line", "quadratic", "smooth")  # kinds of columns of g
ROOM, LESS = 600, 250  # columns that all returns together may take; the same where responses are compared
SURE, LEAD = 2.0, 2.0  # standard errors, and nats, by which a bend has to predict better: chance gives a nat
USUAL = 0.3  # prior scale of what may well be there, in units of the outcome's spread
STEP = 0.1  # in log share, of the difference that a return is
WIDTH, MOST_SMOOTH = 2.0, 250  # squared width of h in units of the mixtures' spread, and its columns
UNEVEN = 0.03  # share of the log squared residuals' variance that their forecast must explain


@dataclass(frozen=True)
class Response:
    """Columns of the mixture, standardised over the runs; made by :func:`_response`."""

    functions: tuple[str, ...]
    eps: float
    basis: np.ndarray  # directions of the functions of shares, shape (p, K)
    runs: np.ndarray  # mixtures, shape (n, K)
    centre: np.ndarray | float = 0.0  # of each function and direction, shape (m, p)
    spread: np.ndarray | float = 1.0  # of each function, shape (m, 1)
    smooth: np.ndarray | None = None  # from kernels with the runs to columns of h, shape (n, q)

    def main(self, T: np.ndarray) -> np.ndarray:
        """Functions of the shares, shape (n, m, p)."""
        raw = np.stack([FUNCTIONS[f](T, self.eps) @ self.basis.T for f in self.functions], axis=1)
        return (raw - self.centre) / self.spread

    def joint(self, T: np.ndarray) -> np.ndarray:
        """Columns of h, shape (n, q)."""
        return np.empty((len(T), 0)) if self.smooth is None else self.kernel(T) @ self.smooth

    def kernel(self, T: np.ndarray) -> np.ndarray:
        """Squared-exponential in shares and log shares, each standardised over all domains of the runs."""
        ways = [FUNCTIONS[f] for f in ("share", "log")]
        spread = [np.sqrt(way(self.runs, self.eps).var(axis=0).mean()) for way in ways]
        a, b = (np.hstack([way(M, self.eps) / s for way, s in zip(ways, spread)]) for M in (T, self.runs))
        return np.exp(-0.5 * cdist(a, b, "sqeuclidean") / (WIDTH * a.shape[1]))


def _response(name: str, problem: Problem, basis: np.ndarray) -> Response:
    functions, joint = RESPONSES[name]
    bare = Response(functions, problem.eps, basis, problem.history.T)
    raw = bare.main(bare.runs)
    found = replace(bare, centre=raw.mean(axis=0), spread=raw.std(axis=0).mean(axis=1, keepdims=True))
    if not joint:
        return found
    values, vectors = np.linalg.eigh(bare.kernel(bare.runs))
    strong = np.flatnonzero(values > 1e-6 * values[-1])[-MOST_SMOOTH:]
    return replace(found, smooth=vectors[:, strong] / np.sqrt(values[strong]))


@dataclass(frozen=True)
class Columns:
    """The model's columns for any states and mixtures, and what is believed of them; made by :func:`_columns`."""

    level: StateBasis
    returns: StateBasis
    response: Response
    several: np.ndarray  # clusters of more than one run
    names: tuple[str, ...] = ()  # of the kinds
    prior: horseshoe.Prior | None = None

    def __call__(self, X: np.ndarray, T: np.ndarray, clusters: np.ndarray | None = None) -> np.ndarray:
        """Shape (n, P); new runs are of no cluster.  The mean of all returns has columns of its own."""
        own = np.einsum("nmp,nq->nmpq", self.response.main(T), self.returns(X)).reshape(len(X), -1)
        same = np.zeros((len(X), len(self.several)))
        if clusters is not None:
            same = (clusters[:, None] == self.several).astype(float)
        return np.hstack([self.level(X), self.response.main(T).sum(axis=2), own, self.response.joint(T), same])

    def of_mixture(self, T: np.ndarray) -> np.ndarray:
        """What the model sees of mixtures alone, shape (n, Q): the functions of their shares, and the columns of h."""
        return np.hstack([self.response.main(T).reshape(len(T), -1), self.response.joint(T)])

    def in_state(self, x: np.ndarray) -> np.ndarray:
        """From columns of mixtures to the model's in one state x, shape (Q, P); the level is left out."""
        m, p = len(self.response.functions), len(self.response.basis)
        returns = np.hstack([np.repeat(np.eye(m), p, axis=0), np.kron(np.eye(m * p), self.returns(x[None]))])
        joint = np.eye(self.response.joint(self.response.runs[:1]).shape[1])
        beside = (self.level(x[None]).shape[1], len(self.several))
        return np.pad(block_diag(returns, joint), ((0, 0), beside))


def _columns(
    problem: Problem, X: np.ndarray, basis: np.ndarray, response: str, room: int, ways: Sequence[str]
) -> Columns:  # fmt: skip
    shape, clusters = _response(response, problem, basis), problem.history.clusters
    each = len(shape.functions) * len(basis)
    level, returns = state_basis(X, LEVEL, room), state_basis(X, ways, room // each)
    found = Columns(level, returns, shape, np.flatnonzero(np.bincount(clusters) > 1))
    (of_level, groups), (of_return, more) = level.labels(), returns.labels()
    single = np.arange(found(X[:1], shape.runs[:1]).shape[1])  # columns that are groups by themselves, at first
    names = [f"level {kind}" for kind in of_level] + ["mean return"] * len(shape.functions)
    names += [f"{f} {kind}" for f in shape.functions for _ in basis for kind in of_return]
    names += ["joint"] * shape.joint(shape.runs[:1]).shape[1] + ["cluster"] * len(found.several)
    single[: len(groups)] = groups
    start, size = len(groups) + len(shape.functions), len(more)
    single[start : start + each * size] = (start + np.arange(each)[:, None] * size + more).ravel()
    kinds, kind = np.unique(names, return_inverse=True)
    free = np.isin(kinds, ["level constant", "mean return"])
    sparse = np.array([name.split()[-1] in KINDS[1:] for name in kinds])
    own = int(np.flatnonzero(kinds == "cluster")[0]) if len(found.several) else -1
    # What mixtures have of their own and, without covariates, what domains' returns differ by, are no exceptions.
    usual = np.array([name == "cluster" or name.endswith(" constant") and not X.shape[1] for name in kinds])
    scale = np.where(usual, USUAL, horseshoe.SCALE)
    prior = horseshoe.Prior(np.unique(single, return_inverse=True)[1], kind, free, sparse, scale, own)
    return replace(found, names=tuple(kinds), prior=prior)


@dataclass(frozen=True)
class Bayesian(Effects):
    """A fitted model; made by :func:`fit`."""

    columns: Columns | None = None
    known: horseshoe.Posterior | None = None  # in units of the outcome's spread
    response: str = "log"  # how the outcome answers to shares, a key of RESPONSES
    bends: tuple[tuple[str, float, float], ...] = ()  # each response, log density of left-out runs above log's, error
    dependence: tuple[tuple[str, float], ...] = ()  # how returns depend on the state, and its weight

    def posterior(self, X: np.ndarray) -> Normal:
        """Of the change of the outcome per unit of log share, at the runs' mean mixture where that matters."""
        usual, steps = np.tile(self.history.T.mean(axis=0), (len(X), 1)), []
        for k in range(usual.shape[1]):
            ends = [usual.copy(), usual.copy()]
            for end, sign in zip(ends, (-1, 1)):
                end[:, k] = np.maximum((usual[:, k] + self.eps) * np.exp(sign * STEP) - self.eps, 0)
            apart = np.subtract(*(log_treatment(end[0, k], self.eps) for end in ends[::-1]))
            steps.append((self._at(X, ends[1]) - self._at(X, ends[0])) / apart)
        D = np.stack(steps, axis=1)
        half = D @ self._root
        covariance = self.scale**2 * np.einsum("nkp,nlp->nkl", half, half, optimize=True)
        return Normal(self.scale * (D @ self.known.mean)[None], covariance[None])

    def moments(self, X: np.ndarray, T_from: np.ndarray, T_to: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`causalmix.effects.interface.Effects`; whatever the response."""
        X, T0, T1 = self._rows(X, T_from, T_to)
        if (X == X[0]).all():  # as where a policy compares many mixtures for one pool
            mean, root = self._in_state(X[0].tobytes())
            D = self.columns.of_mixture(T1) - self.columns.of_mixture(T0)
        else:
            mean, root, D = self.known.mean, self._root, self._at(X, T1) - self._at(X, T0)
        return self.scale * D @ mean, self.scale * np.linalg.norm(D @ root, axis=1)

    def predict(self, X: np.ndarray, T: np.ndarray) -> np.ndarray:
        """Expected outcome, shape (n,), in its own units."""
        X, T = self._rows(X, T)
        return self.y.mean() + self.scale * self._at(X, T) @ self.known.mean

    def nuisances(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected outcome at the runs' mean log treatment, and that, in every state."""
        usual = np.tile(self.Z.mean(axis=0), (len(X), 1))
        return self.predict(X, np.exp(usual) - self.eps), usual

    @cached_property
    def scale(self) -> float:
        """Standard deviation of the outcome."""
        return float(self.y.std())

    @cached_property
    def _root(self) -> np.ndarray:
        return np.linalg.cholesky(self.known.covariance + 1e-12 * np.eye(len(self.known.mean)))

    @cached_property
    def _in_state(self) -> Callable[[bytes], tuple[np.ndarray, np.ndarray]]:
        """Mean and root of the covariance of what mixtures are multiplied by in a state; the last few are kept."""

        @lru_cache(maxsize=8)
        def known(state: bytes) -> tuple[np.ndarray, np.ndarray]:
            A = self.columns.in_state(np.frombuffer(state)[list(self.varying)])
            return A @ self.known.mean, np.linalg.qr((A @ self._root).T, mode="r").T

        return known

    def _at(self, X: np.ndarray, T: np.ndarray) -> np.ndarray:
        return self.columns(X[:, list(self.varying)], T)


def fit(
    problem: Problem, responses: Sequence[str] = (*RESPONSES,), n_trees: int = 0, cv_folds: int = 0, n_repeats: int = 0
) -> Bayesian:
    """Fit the model, with "log" or one of the ``responses``.

    There are no trees, folds or repeats here, so what other stages are told of them is not used.
    """
    X, T, clusters = problem.history.X[:, list(problem.varying)], problem.history.T, problem.history.clusters
    moved = problem.directions()  # refuses a history in which some do not vary
    basis = np.eye(len(problem.history.domains)) if problem.treatment == "log" else moved
    y = (problem.y - problem.y.mean()) / problem.y.std()
    response, bends, residuals = _bend(problem, X, y, basis, responses)
    weight = _weights(X, problem.Z, residuals)
    columns = _columns(problem, X, basis, response, ROOM, KINDS)
    D = columns(X, T, clusters) * weight[:, None]
    ways = _models(columns)
    models = [
        (where, horseshoe.sample(D[:, where], y * weight, columns.prior.part(where), clusters, problem.seed))
        for where in ways.values()
    ]
    shares = horseshoe.model_weights(np.array([found.left_out for _, found in models]), problem.seed)
    note = "" if response == "log" else (
        f"The outcome bends in the shares: {IN_WORDS[response]} predict left-out runs better than logarithms of shares."
    )  # fmt: skip
    return Bayesian(
        **vars(problem), stage="bayesian", note=note, columns=columns, response=response, bends=bends,
        known=horseshoe.average(models, shares, D.shape[1]),
        dependence=tuple(zip(ways, shares.tolist())) if len(models) > 1 else (),
    )  # fmt: skip


def _bend(
    problem: Problem, X: np.ndarray, y: np.ndarray, basis: np.ndarray, responses: Sequence[str]
) -> tuple[str, tuple, np.ndarray]:  # fmt: skip
    """How the outcome answers to shares, each response's lead over logarithms and its error, and the residuals."""
    names = dict.fromkeys(("log", *responses)) if problem.treatment == "log" else ("log",)
    for name in names:
        check_name(name, RESPONSES, "response")
    quick = {name: _quick(problem, X, y, basis, name) for name in names}
    response, leads = _chosen({name: density for name, (density, _) in quick.items()})
    if response != "log" and X.shape[1]:  # a curve of the state that the quick model lacks can look like a bend
        ways = [DEPENDENCE[way] for way in ("freely", "by curves")]
        best = lambda name: max((_quick(problem, X, y, basis, name, way, True)[0] for way in ways), key=np.sum)  # noqa: E731
        response, again = _chosen({name: best(name) for name in ("log", response)})
        leads |= again
    return response, tuple((name, *lead) for name, lead in leads.items()), quick[response][1]


def _quick(
    problem: Problem, X: np.ndarray, y: np.ndarray, basis: np.ndarray, response: str,
    ways: Sequence[str] = DEPENDENCE["freely"], exact: bool = False,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Log densities of left-out clusters, and residuals, by a model of fewer columns and draws."""
    columns = _columns(problem, X, basis, response, LESS, ways)
    clusters = problem.history.clusters
    D = columns(X, problem.history.T, clusters)
    found = horseshoe.sample(D, y, columns.prior, clusters, problem.seed, burn=100, keep=100, exact=exact)
    return found.left_out, y - D @ found.mean


def _chosen(compared: dict[str, np.ndarray]) -> tuple[str, dict[str, tuple[float, float]]]:
    """The best response, the plain one where none is clearly better; each one's lead over that, and its error."""
    lead = lambda one, other: (float((one - other).sum()), float((one - other).std() * np.sqrt(len(one))))  # noqa: E731
    best = max(compared.values(), key=np.sum)
    leads = {name: lead(density, compared["log"]) for name, density in compared.items()}
    behind = {name: lead(best, density) for name, density in compared.items()}
    gap, error = behind["log"]
    return "log" if gap <= max(LEAD, SURE * error) else min(behind, key=lambda name: behind[name][0]), leads


def _weights(X: np.ndarray, Z: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """One over each run's relative noise, shape (n,): ones, unless the squared residuals follow state or mixture."""
    features, size = np.column_stack([X, Z]), np.log(residuals**2 + 1e-6)
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-12)
    found = RidgeCV(np.logspace(0, 4, 20)).fit(features, size)  # its score is that of left-out runs
    if 1 + found.best_score_ / size.var() <= UNEVEN:
        return np.ones(len(residuals))
    weight = np.exp(-0.5 * found.predict(features))
    return weight / np.sqrt((weight**2).mean())


def _models(columns: Columns) -> dict[str, np.ndarray]:
    """The columns of each model of how returns depend on the state, of one alone where two have the same."""
    names, found = [name.split() for name in columns.names], {}
    for way, kinds in DEPENDENCE.items():
        away = [i for i, name in enumerate(names) if name[0] in FUNCTIONS and name[1] not in kinds]
        where = np.flatnonzero(~np.isin(columns.prior.kind, away))
        if not any(np.array_equal(where, other) for other in found.values()):
            found[way] = where
    return found
