"""How far a history reaches: whether its runs can speak for a pool, for which of its domains, down to what share."""

from collections.abc import Mapping, Sequence

import numpy as np

from causalmix.core.errors import InputError, brief
from causalmix.core.history import SCALES, History
from causalmix.core.wording import check_apart, folded
from causalmix.data import fingerprints
from causalmix.effects.interface import EPS
from causalmix.methods.target import WORDS

FAR = 0.5  # times the range of the runs: a state that far beyond it is another world
STRAY = 20.0  # times the range of eight runs in ten: a covariate that far off hides what the others tell
ROUNDED = 1e-5  # relative, of numbers that a table keeps in six digits
RARE = 0.05  # quantile of a domain's share among the runs below which runs say little


def to_range(history: History, x: np.ndarray) -> np.ndarray:
    """Measured covariates, shape (d,), at the end of the runs' range where they miss it by the digits of a table."""
    X = history.X[:, : len(history.measured)]
    held = np.clip(x, X.min(axis=0), X.max(axis=0))
    return np.where(np.abs(x - held) <= ROUNDED * np.abs(held), held, x)


def stray(history: History) -> list[str]:
    """What has to be said of covariates that are a world apart in a few runs, as where -999 stands for none."""
    found = []
    for name, column in zip(history.measured, history.X.T):
        low, high = np.quantile(column, (0.1, 0.9))
        off = np.abs(column - np.median(column))
        if 0 < STRAY * (high - low) < off.max():
            run = int(np.argmax(off))
            found.append(
                f"x_{name} is {column[run]:.4g} in {history.frame['run_id'].iloc[run]} against {low:.4g} to {high:.4g} "
                "in most runs: beside it all other states look alike, so leave that run out if the number stands for "
                "none"
            )
    return found


def of_models(history: History) -> list[str]:
    """What has to be said of runs of several models where nothing tells what makes these differ."""
    if "model" not in history.frame or "model_size" in history.frame or history.frame["model"].nunique() < 2:
        return []
    names = brief(", ".join(sorted(set(history.frame["model"].dropna().map(str)))))
    return [
        f"The history's runs are of several models ({names}) whose sizes nothing tells, so returns are taken to be the "
        "same in all: tell each run's parameters as model_size, or give the runs of one model alone"
    ]


def stray_told(history: History) -> str:
    """The same, and that, as sentences that go on after another; empty where there is nothing to say."""
    return "".join(f" {found}." for found in (*of_models(history), *stray(history)))


def far(history: History, x: np.ndarray) -> list[str]:
    """What of a state, shape (d,), lies far outside of the runs', a sentence's part each."""
    found = []
    for name, value, column in zip(history.measured, x, history.X.T):
        low, high = column.min(), column.max()
        if max(low - value, value - high) > FAR * (high - low):
            found.append(f"x_{name} at {value:.4g} against {low:.4g} to {high:.4g} in the history's runs")
    return found


def beyond(history: History, n_samples: int, model_size: float | None) -> list[str]:
    """Which sizes that are asked for are farther from the runs', in logs, than these are apart, a part each."""
    x, found = history.state(np.zeros(len(history.measured)), n_samples, model_size), []
    for name, value, column in zip(history.covariates, x, history.X.T):
        low, high = column.min(), column.max()
        if name in SCALES and max(low - value, value - high) > high - low:
            found.append(f"{2**value:.4g} {WORDS[name]} against {2**low:.4g} to {2**high:.4g} in the history's runs")
    return found


def strangers(history: History, identities: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Models, by name or hash, that score a pool and are not those of the history's columns, in words."""
    found = []
    for role, model in identities.items():
        known, label = set(map(str, history.frame.get(role, ()))), fingerprints.label(model)
        if len(known) == 1:
            wanted = {*known, *fingerprints.of_model(role, told := known.pop()).values()} - {""}
            if not wanted & {label, *model.values()}:
                found.append(f"the {role} {label} against {told} of the history's pools")
    return found


def doubts(found: Sequence[str], force: bool) -> tuple[str, ...]:
    """The same, where it is forced; raises InputError else."""
    if found and not force:
        raise InputError(
            f"Expected a pool and sizes like those of the history's runs, found {'; '.join(found)}; have the pool "
            "scored by the models that scored theirs, take a history of such pools and sizes, or go on with --force, "
            "without a promise of gains."
        )
    return tuple(found)


def shared_domains(history: History, rows: Mapping[str, int]) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Domains of a pool that the history knows (InputError of fewer than two), others, and what has to be said."""
    same = tuple(d for d in history.domains if rows.get(d))
    new, gone = tuple(sorted(set(rows) - set(same))), [d for d in history.domains if d not in same]
    if len(same) < 2:
        raise InputError(
            f"Expected two or more of the history's domains {', '.join(history.domains)} in the pool, found "
            f"{', '.join(sorted(rows))}; name them alike, the sweep's with --map OLD=NEW or the pool's with --pool-map "
            "OLD=NEW."
        )
    known = {folded(d): d for d in history.domains}
    if twins := [(d, known[folded(d)]) for d in new if folded(d) in known]:
        (mine, theirs), *_ = twins
        raise InputError(
            f"Expected domains under one name each, found {mine!r} in the pool and {theirs!r} in the history; say that "
            f"they are the same (--pool-map '{mine}={theirs}'), or give the pool's a name that is not so much alike."
        )
    check_apart(new, ", or give both one name (--pool-map OLD=NEW)")
    told = []
    if new:
        share = sum(rows[d] for d in new) / sum(rows.values())
        told.append(
            f"The history knows nothing of {', '.join(new)}: {'it keeps its' if len(new) == 1 else 'they keep their'} "
            f"own {share:.1%} of the rows, and every gain and interval is that of the other rows alone"
        )
    if gone:
        usual = history.T[:, [history.domains.index(d) for d in gone]].sum(axis=1)
        told.append(
            f"The pool has no rows of {', '.join(gone)}, of which the history's runs have {usual.min():.1%} to "
            f"{usual.max():.1%}: gains are for mixtures without, and rest on the model's form where no run is like that"
        )
    return same, new, told


def least_shares(
    history: History, rows: np.ndarray, kept: Sequence[int], given: float | Mapping[str, float] | None,
    reference: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Least share of each of the history's domains, (K,): ``given`` for all, or by name, else as the history supports.

    That is the 5th percentile among the runs (at least eps), at most the pool's own, an even one, and a reference's.
    """
    floors = np.zeros(len(history.domains))
    if isinstance(given, float):
        floors[list(kept)] = given
        return floors
    usual = np.maximum(np.quantile(history.T[:, list(kept)], RARE, axis=0), EPS)
    floors[list(kept)] = np.minimum.reduce([usual, rows / rows.sum(), np.full(len(rows), 1 / len(rows))])
    floors = floors if reference is None else np.minimum(floors, reference)
    for name, share in (given or {}).items():
        floors[history.domains.index(name)] = share
    return floors
