"""A mixture for a new pool of rows, from a sweep that is there; what can be checked is, before a row is scored."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset

from causalmix.core.errors import InputError, TooFewRuns
from causalmix.core.history import DESIGN, History
from causalmix.core.paths import is_file, results_dir
from causalmix.core.simplex import nearest, to_counts
from causalmix.core.wording import counted, some_of
from causalmix.data.scores import SCORES
from causalmix.data.states import ScoredPool, domain_means
from causalmix.effects.estimator import fit_effects
from causalmix.effects.interface import Effects
from causalmix.methods import causal, reach
from causalmix.methods.ask import CAUTIOUS, METHODS, OURS
from causalmix.methods.checks import checked_by
from causalmix.methods.delivery import write
from causalmix.methods.new_pools import find_source
from causalmix.methods.policy import domain_caps, mixtures_table
from causalmix.methods.question import Answer, Question
from causalmix.methods.refusals import Asked, check_outside, checked
from causalmix.methods.request import BY_LETTER, Recommendation, Request
from causalmix.methods.target import Target, scale_of

STRAY = 12  # times the usual residual (the median, two thirds of a standard deviation): a run that stands alone
BYTES = 4  # of a token, about: four letters of English, or one and a third characters of Chinese


def recommend(request: Request, tell: Callable[[str], None] = lambda _: None, **settings) -> Recommendation:
    """Score a pool, measure its state, and find the mixtures for it; writes the training set where ``out`` is given.

    ``tell`` hears what takes time; settings are of :func:`causalmix.effects.estimator.fit_effects`.
    """
    asked = checked(request)
    history, given, outcome = asked.history, asked.measured, asked.objective.column
    source = find_source(request)
    if request.out is not None:
        check_outside(Path(request.out), source.place)
    n_samples = history.usual_rows if request.n_samples is None else request.n_samples
    reach.doubts(strange := reach.beyond(history, n_samples, request.model_size), request.force)
    tell(f"Loading {source.name}.")
    pool = source.load(() if given is not None else history.measured)
    counts, way = Counter(map(str, pool["domain"][:])), _way(given, history, pool)
    same, new, warnings = reach.shared_domains(history, counts)
    if not request.repeats_allowed:
        domain_caps(list(counts.values()), n_samples, request.max_repeats)  # refuses a pool of too few rows
        _check_floors(asked.floor, {d: counts[d] * (1 + request.max_repeats) / n_samples for d in same})
    if way == "scored":
        source.require()
        strange += reach.strangers(history, source.identities)
        reach.doubts(strange, request.force)
    tell(f"Estimating returns from {len(history)} runs.")
    paper, lacking = _paper(request, history, outcome, settings)
    if way == "scored":
        tell(f"Scoring {len(pool):,} rows, unless the cache has them.")
        pool = source.scored(pool)  # a study's is a little smaller now
        warnings += _of_another_study(request, history)
    names = history.measured if way in ("columns", "scored") else ()
    columns = pool.select_columns(["domain", *names]).to_pandas()
    columns[list(names)] = columns[list(names)].apply(pd.to_numeric, errors="coerce")
    scored = ScoredPool.from_table(columns, (*same, *new), names)
    measured = domain_means(scored, np.arange(len(pool)))[: len(same)].mean(axis=0) if given is None else given
    measured = reach.to_range(history, measured)
    x, rows = history.state(measured, n_samples, request.model_size), np.bincount(scored.codes)
    target = Target(source.name, x, n_samples, rows, "")
    doubts = reach.doubts([*strange, *reach.far(history, x)], request.force)
    question = _question(request, asked, target, same, paper)
    judge = question.posterior()
    table, choice = mixtures(question, judge, target, scored.domains, withheld=bool(doubts))
    table = pd.concat([table, _amounts(table, target, scored.domains, pool)], axis=1)
    if doubts:
        warnings.insert(0, f"No gain is promised, for what is asked is not like the history: {'; '.join(doubts)}")
    elif not choice.evidence:
        warnings.append(choice.note[0].upper() + choice.note[1:])
    warnings += [*lacking, *reach.of_models(history), *reach.stray(history)]
    warnings += [*_stray(judge, asked.lower), *_without_rows(table, request.method, scored.domains)]
    scored_by = source.identities if way == "scored" else {}
    checks = () if doubts else _checks(question, asked, table, request.method)
    reference = causal.allowed(question).reference
    found = Recommendation(request, asked, reference, judge, paper, target, pool, scored, scored_by, table,
                           tuple(warnings), bool(doubts), checks)  # fmt: skip
    if request.out is not None:
        for file, why in write(found, request.out)["left_out"].items():
            tell(f"No {file}: {why}.")
        tell(f"Wrote {request.out}; report.html in it is a page to read.")
    return found


def _paper(request: Request, history: History, outcome: str, settings: dict) -> tuple[Effects | None, list[str]]:
    """The stage that the paper's methods follow; None, and what has to be said, where it alone has too few runs."""
    try:
        return fit_effects(history, outcome, n_trees=request.trees, seed=request.seed, **settings), []
    except TooFewRuns as error:
        if BY_LETTER[request.method] in OURS:
            raise InputError(f"{str(error)[:-1]}, or choose --method cautious.") from error
        return None, [f"{' and '.join(OURS)} are left out: e{str(error)[1:].partition(';')[0]}"]


def _check_floors(floor: float | dict[str, float] | None, most: dict[str, float]) -> None:
    """Refuse, before anything is fitted or scored, a least share of a domain that its rows do not allow."""
    given = dict.fromkeys(most, floor) if isinstance(floor, float) else floor or {}
    for name, share in given.items():
        if share > (largest := min(most.get(name, 1), 1)) + 1e-9:
            raise InputError(
                f"Expected a floor of at most {largest:.4g} for {name}, which has no more rows, found {share:g}; lower "
                "it, take fewer rows (--n-samples), or allow repeats (--max-repeats)."
            )


def _of_another_study(request: Request, history: History) -> list[str]:
    """What has to be said of a study's own history where its file was changed after its sweep."""
    study = request.pool
    if not is_file(study) or request.history != results_dir(study) / "history.csv":
        return []
    from causalmix.train.records import trained_otherwise  # loads what trains

    runs = history.frame["run_id"][history.part == DESIGN]
    if not (n := trained_otherwise(study, runs)):
        return []
    return [
        f"{some_of(n, len(runs), 'runs of the history')} not as {Path(study).name} says now, for its rows, its model "
        "or its settings have changed since: the mixture is for what they were (causalmix sweep trains anew)"
    ]


def _question(request: Request, asked: Asked, target: Target, same: tuple[str, ...], paper: Effects | None) -> Question:
    """What methods are asked: of the domains that the history knows, for their part of the training set."""
    history, caution, rows = asked.history, asked.caution, np.asarray(target.rows)[: len(same)]
    places = [history.domains.index(d) for d in same]
    wanted = None if isinstance(caution.reference, str) else np.array(caution.reference)
    floors = reach.least_shares(history, rows, places, asked.floor, wanted)
    n = int(np.ceil(target.n_samples * rows.sum() / np.sum(target.rows)))  # fewer would leave room for a row too many
    return Question(history, n, rows, asked.objective.column, request.seed, x=target.x, domains=same, fitted=paper,
                    repeats_allowed=request.repeats_allowed, max_repeats=request.max_repeats,
                    caution=replace(caution, floor=tuple(floors)))  # fmt: skip


def _checks(question: Question, asked: Asked, table: pd.DataFrame, method: str) -> tuple[dict, ...]:
    """The chosen mixture, in what the history knows of the pool, by Unseen outcomes."""
    line = table.set_index("method").loc[BY_LETTER[method], [f"w_{d}" for d in question.domains]].to_numpy(float)
    whole, over = question.whole(line / line.sum()), causal.allowed(question).reference
    by = (*asked.objective.outcomes, *asked.caution.keep)
    return checked_by(question, asked.sweep.history, asked.stated, whole, over, by)


def _way(given: np.ndarray | None, history: History, pool: Dataset) -> str:
    """Where the state comes from: unused, given, columns of the pool, or scored."""
    if not history.measured:
        return "unused"
    if given is not None:
        return "given"
    if set(history.measured) <= set(pool.column_names):
        return "columns"
    if other := [name for name in history.measured if name not in SCORES]:
        raise InputError(
            f"Expected covariates among {', '.join(SCORES)} or the pool's columns, found {', '.join(other)} in the "
            "history; give the pool's values of x_<covariate> as a state file."
        )
    return "scored"


def mixtures(
    question: Question, judge: Effects, target: Target, domains: tuple[str, ...], withheld: bool = False
) -> tuple[pd.DataFrame, causal.Choice]:
    """The table of a :class:`Recommendation`, and what Cautious chose; all gains come from ``judge``.

    Domains of the pool that the question does not know keep their own shares, and gains are those of the others.
    """
    x, allowed = target.x, causal.allowed(question)
    judged = replace(question, fitted=judge)
    choice = causal.choice(judged)
    if not choice.evidence and question.caution.fall_back:
        choice = causal.without_evidence(judged, choice)
    answers = {name: METHODS[name](question) for name in ("Equal", "Proportional")}
    answers[CAUTIOUS] = Answer(question.of_pool(choice.weights), len(question.history), "" if withheld else choice.note)
    for name in OURS if question.fitted else ():  # too few runs for their stage
        found = METHODS[name](question)
        held = question.of_pool(nearest(question.whole(found.weights)[None], allowed.floors, allowed.caps)[0])
        moved = np.abs(held - found.weights).max() > 1e-9
        note = "; ".join(filter(None, [found.note, "held at the least shares" * bool(moved)]))
        answers[name] = replace(found, weights=held, note=note)
    whole = {name: replace(answer, weights=question.whole(answer.weights)) for name, answer in answers.items()}
    W = np.stack([one.weights for one in whole.values()])
    table = mixtures_table(judge, x, target.pool, whole, question.whole(question.even), question.n_samples)
    own = question.whole(question.proportions)
    for name, mixture in (("pool", own), ("reference", allowed.reference)):
        columns = (f"gain_over_{name}{end}" for end in ("", "_ci_low", "_ci_high"))
        table = table.assign(**dict(zip(columns, judge.gain(x, mixture, W))))
    gains = [name for name in table if name.startswith(("gain_", "predicted_gain"))]
    if withheld:
        table[gains] = np.nan
    rows, model, inside = scale_of(x, question.history)
    table = table.assign(gain_rows=rows, gain_model=model or "not told", extrapolated=not inside)
    for row in target.table(question.history).head(len(x)).itertuples():
        table = table.assign(
            **{row.quantity: row.target, f"share_of_runs_below_{row.quantity}": row.share_of_runs_below}
        )
    return _of_pool(table, np.stack([answer.weights for answer in answers.values()]), target, domains), choice


def _of_pool(table: pd.DataFrame, W: np.ndarray, target: Target, domains: tuple[str, ...]) -> pd.DataFrame:
    """The table with the shares and rows of the pool's domains, those that the history does not know at their own."""
    own = np.asarray(target.rows) / np.sum(target.rows)
    new = np.broadcast_to(own[W.shape[1] :], (len(W), len(domains) - W.shape[1]))
    W = np.column_stack([W * (1 - new.sum(axis=1, keepdims=True)), new])
    counts = np.stack([to_counts(w, target.n_samples) for w in W])
    first, rest = ["method", "pool"], [name for name in table.columns[2:] if not name.startswith(("w_", "n_"))]
    shares, rows = (pd.DataFrame(v, columns=[f"{p}_{d}" for d in domains]) for p, v in (("w", W), ("n", counts)))
    return pd.concat([table[first], shares, table[rest], rows], axis=1)


def _stray(judge: Effects, lower: Collection[str]) -> list[str]:
    """What has to be said of runs that the others do not explain: one of them can make a gain, or hide it."""
    found = judge.predict(judge.history.X, judge.history.T)
    off = np.abs(judge.y - found)
    far = np.flatnonzero(off > max(STRAY * np.median(off), judge.y.std()))
    if not len(far):
        return []
    first, sign = far[np.argmax(off[far])], -1 if judge.outcome in lower else 1
    some = "one run alone" if len(far) == 1 else f"{len(far)} runs, most of all one"
    return [
        f"The {judge.outcome} of {some} is far from what the others suggest, {sign * judge.y[first]:.4g} in "
        f"{judge.history.frame['run_id'].iloc[first]} against {sign * found[first]:.4g}: see whether it went as it "
        "should, for it may make a gain or hide it"
    ]


def _without_rows(table: pd.DataFrame, method: str, domains: tuple[str, ...]) -> list[str]:
    """What has to be said of a training set of so few rows that a domain with a share gets none."""
    line = table.set_index("method").loc[BY_LETTER[method]]
    if not (without := [d for d in domains if line[f"w_{d}"] > 0 and line[f"n_{d}"] == 0]):
        return []
    rows = counted(int(sum(line[f"n_{d}"] for d in domains)), "row")
    return [f"The training set has no row of {', '.join(without)}, whose share of {rows} is less than one row"]


def _amounts(table: pd.DataFrame, target: Target, domains: tuple[str, ...], pool: Dataset) -> pd.DataFrame:
    """Rows drawn again, how often rows come, and about how many tokens they have, for each method and domain."""
    counts = table[[f"n_{d}" for d in domains]].to_numpy()
    lengths = [sum(len(str(turn["content"] or "").encode()) for turn in turns) / BYTES for turns in pool["messages"]]
    length = pd.Series(lengths).groupby(list(map(str, pool["domain"][:]))).mean().reindex(list(domains)).to_numpy()
    rows = np.asarray(target.rows)
    parts = {"repeats": np.maximum(counts - rows, 0), "epochs": counts / rows, "tokens": np.round(counts * length)}
    return pd.DataFrame({f"{what}_{d}": part[:, k] for what, part in parts.items() for k, d in enumerate(domains)})
