"""Sweeps as others keep them, read as histories; what is done on the way is told, what cannot be known is refused.

RegMix and olmix write one table of mixtures and one of scores, joined by run; Weights & Biases exports one table with
``config.…`` and ``eval/…`` columns; lm-evaluation-harness leaves ``results_*.json`` below a folder for each run.
"""

import ast
import json
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core import direction
from causalmix.core.errors import InputError, brief, refused
from causalmix.core.history import SIZES, History, check_history, sum_to_one
from causalmix.core.json_text import parse_json
from causalmix.core.tables import LARGEST, columns_with, read_table
from causalmix.core.wording import counted, some_of

RESULTS = "results*.json"  # of lm-evaluation-harness
DEFAULT = "y_dev"  # the outcome where none is named
IDS = ("run_id", "run", "index", "ID", "id", "Name", "name", "run_name")  # columns that may name runs
KEPT = ("seed", "model", "adaptive", "scorer", "rater", direction.LOWER, *SIZES)  # columns that are kept as they are
ODD = ["NaN", "Infinity", "-Infinity"]  # numbers of a run that diverged, as a tracker's summaries have them
PERCENT = "Shares were read as percentages."
#: What begins the names of columns of shares, and of scores, in others' tables; whole up to a separator.
SHARES = re.compile(r"w_|train_the_pile_|(?:train|config|mixture|mix|weights?|ratios?|shares?|proportions?)[./_]")
MEASURES = re.compile(
    r"(?:summary[./])?(?:y_|eval[/._]|eval_results[/.]|metrics?[/.]|val[/._]|test[/._]|benchmarks?[/.])"
)


@dataclass(frozen=True)
class Sweep:
    """A sweep that was read."""

    history: History
    outcome: str  # the one that is asked for, by the name of its column
    told: tuple[str, ...] = ()  # what was done on the way
    paths: tuple[Path, ...] = ()  # the files


def read_sweep(
    history: Path | None = None, ratios: Path | None = None, metrics: Path | None = None,
    renamed: Mapping[str, str] = {}, outcome: str = DEFAULT, others: Iterable[str] = (),
) -> Sweep:  # fmt: skip
    """Read a sweep from one table, or from one of mixtures and one of scores (or a folder of ``results_*.json``).

    ``history`` is of the contract of :func:`causalmix.core.history.check_history`, or a tracker's export.  ``renamed``
    has new names of columns or domains; domains that get one name are added up.  ``outcome`` is a ``y_`` column, a
    score in the files, or the end of several names, whose mean is meant; ``others`` are further ones that are asked
    for.  InputError when a file is no such table, runs cannot be told apart or joined, or an outcome be known.
    """
    named_as = {"history": history, "ratios": ratios, "metrics": metrics}
    given = {name: Path(path) for name, path in named_as.items() if path is not None}
    if tuple(given) not in (("history",), ("ratios", "metrics")):
        found = ", ".join(f"--{name}" for name in given) or "none"
        raise InputError(
            f"Expected a sweep as --history, or as --ratios and --metrics, found {found}; give one or the other two."
        )
    said: list[str] = []
    waiting, source = dict(renamed), next(iter(given.values())).name
    if history:
        frame = _read(given["history"], renamed, waiting, said)
    else:
        frame, source = _joined(*given.values(), renamed, waiting, said), f"{source} and its metrics"
    wanted = {text for name in (outcome, *others) for text in (name, named(name))}
    if not (columns_with(frame, "w_") and "run_id" in frame and columns_with(frame, "y_")):
        frame = _as_history(frame, source, wanted, not history, said)
    else:
        frame = frame.rename(columns={name: one_word(name) for name in columns_with(frame, "y_")})
        shares = frame[[name for name in columns_with(frame, "w_") if _is_numeric(frame[name])]].to_numpy(float)
        said += [PERCENT] * bool(shares.size and sum_to_one(shares / 100).all())
        beside = [name for name in frame.columns if name not in (*IDS, *KEPT, "part") and _is_numeric(frame[name])]
        _tell_unused([name for name in beside if not name.startswith(("w_", "x_", "y_"))], frame, source, said)
    frame = _merged(frame, waiting, said)
    frame, column = _outcome(frame, outcome, said)
    if column:  # what nobody asks for may hold anything
        idle = [name for name in columns_with(frame, "y_") if name not in (column, *map(named, others))]
        numbers = frame[idle].apply(pd.to_numeric, errors="coerce").astype(float)
        frame = frame.assign(**numbers.where(np.abs(numbers) < LARGEST))
    files = [file for path in given.values() for file in (sorted(path.rglob(RESULTS)) if path.is_dir() else [path])]
    return Sweep(check_history(frame, source), column, tuple(said), tuple(files))


def _tell_unused(idle: list[str], frame: pd.DataFrame, source: str, said: list[str]) -> None:
    """Columns of numbers that nothing is made of: a size under another name would be taken for noise."""
    if idle:
        told = "" if "n_samples" in frame else "; a run's rows are called n_samples (--map OLD=n_samples)"
        said.append(f"Not used of {source}: {brief(', '.join(idle))}{told}.")


def _read(path: Path, renamed: Mapping[str, str], waiting: dict[str, str], said: list[str]) -> pd.DataFrame:
    """A table of a sweep, its columns under their new names; those of domains wait until these are known."""
    frame = read_table(path, required=None, as_text={*IDS, *(old for old, new in renamed.items() if new in IDS)})
    said += frame.attrs.pop("told", ())
    frame = frame.loc[:, [not str(name).startswith("Unnamed:") for name in frame.columns]]
    for name in frame.select_dtypes(["object", "str"]):
        cells = frame[name].dropna().astype(str)
        if len(cells) and cells.str.startswith("{").all():
            with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
                nested = pd.json_normalize(list(map(_mapping, cells))).set_index(cells.index).add_prefix(f"{name}.")
                frame = frame.drop(columns=name).join(nested.replace(ODD, np.nan).infer_objects())
    for old in frame:
        waiting.pop(old, None)
    here = {old: new for old, new in renamed.items() if old in frame}
    if clash := [new for new in here.values() if new in frame]:
        raise InputError(_taken(clash[0]))
    return frame.rename(columns=here)


def _taken(name: str) -> str:
    return f"Expected new names in --map, found the column {name} there already; choose another."


def _mapping(text: str) -> dict:
    """Names with values in a cell, as JSON or as Python writes them: a tracker's interface gives such settings."""
    try:
        return json.loads(text)
    except ValueError:
        found = ast.literal_eval(re.sub(r"\b(nan|inf)\b", "None", text))
    if not isinstance(found, dict):
        raise ValueError("no names")
    return found


def _joined(
    ratios: Path, metrics: Path, renamed: Mapping[str, str], waiting: dict[str, str], said: list[str]
) -> pd.DataFrame:
    """Shares and scores of the runs that have both."""
    left = _read(ratios, renamed, waiting, said)
    if metrics.is_dir():
        name = next((name for name in IDS if name in left and left[name].is_unique), left.columns[0])
        left = left.assign(**{name: left[name].astype(str)})
        right, lower, told = read_results(metrics, set(left[name]))
        said.append(told)
        right = right.rename_axis(name).reset_index()
        right = right.assign(**{direction.LOWER: " ".join(map(named, lower))} if lower else {})
    else:
        right = _read(metrics, renamed, waiting, said)
    texts = left.select_dtypes(["object", "str"])
    both = [name for name in dict.fromkeys((*IDS, *left.columns[:1], *texts)) if name in left and name in right]
    keys = [name for name in both if left[name].is_unique and right[name].is_unique]
    if not keys:
        raise InputError(
            f"Expected a column that names each run once in both {ratios.name} and {metrics.name}, such as run or "
            f"index, found {brief(', '.join(map(str, left)))} and {brief(', '.join(map(str, right)))}; add one."
        )
    key = _sure(keys, left, right)
    left, right = (one.assign(**{key: one[key].astype(str)}) for one in (left, right))
    numbers = [_as_number(one[key]) for one in (left, right)]
    if all(one.is_unique for one in numbers) and numbers[0].isin(numbers[1]).sum() > left[key].isin(right[key]).sum():
        left, right = left.assign(**{key: numbers[0]}), right.assign(**{key: numbers[1]})
    again = [name for name in right if name in left and name != key]
    frame = left.merge(right.drop(columns=again), on=key)
    for one, path, other in ((left, ratios, metrics), (right, metrics, ratios)):
        if alone := one.loc[~one[key].isin(frame[key]), key].tolist():
            told = some_of(len(alone), len(one), f"runs of {path.name}")
            said.append(f"{told} not in {other.name} and left out ({brief(', '.join(alone))}).")
    if frame.empty:
        raise InputError(
            f"Expected runs of the same {key} in {ratios.name} and {metrics.name}, found "
            f"{brief(', '.join(left[key].head(3)))} … and {brief(', '.join(right[key].head(3)))} …; give runs the same "
            "names in both."
        )
    _check_counted(key, {ratios.name: left[key], metrics.name: right[key]})
    shares = [name for name in left if name not in (*IDS, *KEPT, key) and _is_numeric(left[name])]
    bare = shares and not all(map(SHARES.match, shares))
    if bare and any(sum_to_one(left[shares].to_numpy(float) / scale).all() for scale in (1, 100)):
        frame = frame.rename(columns={name: f"w_{name}" for name in shares})  # bare names of domains, as olmix has them
    return frame.rename(columns={key: "run_id"})


def _check_counted(key: str, runs: Mapping[str, pd.Series]) -> None:
    """Refuse two tables of as many runs of which one counts from 0, the other from 1: all scores would be others'."""
    numbers = {name: pd.to_numeric(one.str.extract(r"(\d+)$")[0]) for name, one in runs.items()}
    ours, theirs = numbers.values()
    if (
        len(ours) == len(theirs)
        and ours.min() != theirs.min()
        and ours.min() - theirs.min() == ours.max() - theirs.max()
    ):
        found = " and ".join(f"{one.min():g} to {one.max():g} in {name}" for name, one in numbers.items())
        raise InputError(
            f"Expected runs of the same {key}, found {found}, as if each counted its rows from another number; number "
            "runs alike in both, or leave out those that only one has."
        )


def _sure(keys: list[str], left: pd.DataFrame, right: pd.DataFrame) -> str:
    """The column that pairs runs: the first, unless it counts the rows of each table and names pair these otherwise."""
    named = {key: [_as_number(one[key].astype(str)) for one in (left, right)] for key in keys}
    at = {key: pd.Series(range(len(right)), theirs).reindex(ours).to_numpy() for key, (ours, theirs) in named.items()
          if theirs.is_unique}  # fmt: skip
    first = at.get(keys[0], np.full(len(left), np.nan))
    counts = lambda names: (pd.to_numeric(names, errors="coerce").diff()[1:] == 1).all()  # noqa: E731
    other = [
        key for key in keys[1:] if (np.isfinite(first - at.get(key, np.nan)) & (first != at.get(key, first))).any()
    ]
    sure = [key for key in (keys[0], *other) if not all(map(counts, named[key]))]
    if other and len(sure) > 1:
        raise InputError(
            f"Expected runs that {' and '.join(sure)} pair alike, found that they do not; leave out what names no runs."
        )
    return sure[0] if other and sure else keys[0]


def _as_number(names: pd.Series) -> pd.Series:
    """Names of runs that are numbers without what one table may write and another not: 0007, 7 and 7.0 are one."""
    return names.str.replace(r"^0+(?=\d)|[.]0+$", "", regex=True)


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) and column.notna().any()


def named(outcome: str) -> str:
    """The column of an outcome that may be called by another's name for it, such as eval/acc."""
    bare = outcome.strip()
    return f"y_{one_word(bare[found.end() :] if (found := MEASURES.match(bare)) else bare)}"


def meant(name: str, outcomes: Collection[str]) -> str:
    """The same, unless it is one of the outcomes as it is."""
    return name if name in outcomes else named(name)


def one_word(name: str) -> str:
    """A name without spaces, as lists of names are parted by them."""
    return re.sub(r"\s+", "_", str(name).strip())


def _as_history(frame: pd.DataFrame, source: str, wanted: set[str], joined: bool, said: list[str]) -> pd.DataFrame:
    """Others' columns under the names of the contract: run_id, w_<domain>, y_<outcome>; what is neither is left out."""
    frame = _finished(frame, said)
    shares = _shares_of(frame, source, said)
    rest = [name for name in frame.columns if name not in (*shares.columns, *IDS, *KEPT)]
    numeric = [name for name in rest if _is_numeric(frame[name]) and not str(name).startswith("x_")]
    scores = [name for name in numeric if joined or MEASURES.match(name) or {name, named(name)} & wanted]
    if not scores:
        raise InputError(
            f"Expected columns of scores such as y_…, eval/… or metric/… in {source}, found none among "
            f"{brief(', '.join(map(str, rest)))}; name the one that counts as --outcome."
        )
    ends = {name: named(name) for name in scores}
    if len(set(ends.values())) < len(ends):  # eval/loss beside val/loss
        ends = {name: f"y_{one_word(name)}" for name in scores}
    kept = [name for name in rest if str(name).startswith("x_")] + [name for name in KEPT if name in frame]
    names = shares.rename(columns=dict(zip(shares, _domains(list(shares.columns)))))
    made = pd.concat([_run_ids(frame, said), names, frame[kept], frame[scores].rename(columns=ends)], axis=1)
    _tell_unused([name for name in numeric if name not in scores], frame, source, said)
    said.append(f"{source}: shares from {brief(', '.join(shares))}; outcomes {brief(', '.join(ends.values()))}.")
    return made[shares.notna().all(axis=1)].reset_index(drop=True)


def _finished(frame: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """The runs that a tracker does not call crashed, failed or running: their last scores are not those of the end."""
    state = frame.get("State", frame.get("state"))  # of the tracker's page, or of its interface
    if state is None:
        return frame
    ended = state.isna() | state.astype(str).str.lower().isin(("finished", "completed", "success"))
    if not ended.all():
        states = ", ".join(sorted(set(state[~ended].astype(str))))
        said.append(f"{some_of((~ended).sum(), len(frame), 'runs')} left out, with the State {brief(states)}.")
    return frame[ended].reset_index(drop=True)


def _run_ids(frame: pd.DataFrame, said: list[str]) -> pd.Series:
    for name in IDS:
        if name in frame and frame[name].notna().all() and frame[name].is_unique:
            return frame[name].astype(str).rename("run_id")
    said.append("No column names each run once, so runs are called by their places.")
    return pd.Series([f"run-{i + 1}" for i in range(len(frame))], name="run_id")


def _shares_of(frame: pd.DataFrame, source: str, said: list[str]) -> pd.DataFrame:
    """The columns of shares: of those whose names begin alike, those that sum to 1; an empty cell is none."""
    families = list(_families(frame))
    if not families or (not families[0][2].all() and _spoilt(frame, families[0][0])):
        raise InputError(
            f"Expected columns of shares that sum to 1 in {source}, such as w_…, config.mixture.… or train_…, found "
            f"none among {brief(', '.join(map(str, frame.columns)))}{_spoilt(frame)}; name each as --map "
            "COLUMN=w_DOMAIN."
        )
    begin, part, sums, scale = families[0]
    for other, further, *_ in families[1:] if begin != "w_" else ():
        alike = bool(SHARES.match(begin)) == bool(SHARES.match(other)) and not set(part) & set(further)
        if alike and further.nunique().max() > 1 and not np.array_equal(part, further, equal_nan=True):
            raise InputError(
                f"Expected one set of shares in {source}, found {brief(', '.join(part))} and "
                f"{brief(', '.join(further))}; leave one out, or name those that count as --map COLUMN=w_DOMAIN."
            )
    if len(sums) < len(frame):
        said.append(f"{some_of(len(frame) - len(sums), len(frame), 'runs')} left out, without shares.")
    if part.loc[sums.index].isna().any(axis=None):
        said.append("Empty shares are taken for none, where a run tells others.")
    said += [PERCENT] * (scale > 1)
    return (part.fillna(0) / scale).where(part.notna().any(axis=1))


def _families(frame: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame, pd.Series, int]]:
    """Columns whose names begin alike, if most runs that have any sum to one: which do, and by which scale.

    Those whose names begin as shares do in others' tables come first.
    """
    numeric = [name for name in map(str, frame.columns) if _is_numeric(frame[name])]
    begins = dict.fromkeys(name[: place.end()] for name in numeric for place in re.finditer("[./_]", name))
    for begin in sorted(begins, key=lambda text: (text != "w_", SHARES.match(text) is None, -len(text))):
        part = frame[[name for name in numeric if name.startswith(begin)]]
        some = part[part.notna().any(axis=1)]
        scale = 1 if some.sum(axis=1).median() < 2 else 100
        sums = pd.Series(sum_to_one(some.fillna(0).to_numpy(float) / scale), some.index)
        if len(part.columns) > 1 and sums.mean() > 0.5:
            yield begin, part, sums, scale


def _spoilt(frame: pd.DataFrame, begin: str = "") -> str:
    """The first cell that makes a column of numbers one of texts, to be told; nothing where there is none."""
    for name in frame.select_dtypes(["object", "str"]):
        cells = frame[name].dropna()
        wrong = pd.to_numeric(cells, errors="coerce").isna()
        if str(name).startswith(begin) and wrong.any() and wrong.mean() < 0.5:
            row = wrong.idxmax()
            return f", and {brief(cells[row])} in {name} of run {_run_ids(frame, [])[row]}, which has to be a number"
    return ""


def _domains(names: list[str]) -> list[str]:
    """Columns of shares as w_<domain>: without what all have up to their last point or slash, or a known word."""
    begin_of = lambda name: name[: max(name.rfind("."), name.rfind("/")) + 1]  # noqa: E731
    common = begin_of(commonprefix([begin_of(name) for name in names]))
    begin = common or min((found[0] if (found := SHARES.match(name)) else "" for name in names), key=len)
    return [f"w_{one_word(name[len(begin) :])}" for name in names]


def _merged(frame: pd.DataFrame, renamed: Mapping[str, str], said: list[str]) -> pd.DataFrame:
    """Domains and outcomes under their new names; domains of one name are added up."""
    for old in renamed:
        if not {f"w_{old}", f"y_{old}"} & set(frame):
            known = brief(", ".join(map(str, frame.columns)))
            raise InputError(
                f"Expected a column or a domain of the sweep in --map, found {old!r} instead of {known}; correct it."
            )
    held = {old: f"w_{old}" if f"w_{old}" in frame else f"y_{old}" for old in renamed}
    frame = frame.rename(columns={column: f"\0{column}" for column in held.values()})  # two may change places
    for old, column in held.items():
        new = f"{column[:2]}{renamed[old]}"
        if new not in frame:
            frame = frame.rename(columns={f"\0{column}": new})
        elif new.startswith("y_"):
            raise InputError(_taken(new))
        else:
            said.append(f"The domain {old} is counted as {renamed[old]}.")
            frame = frame.assign(**{new: frame[new] + frame[f"\0{column}"]}).drop(columns=f"\0{column}")
    return frame


def _outcome(frame: pd.DataFrame, outcome: str, said: list[str]) -> tuple[pd.DataFrame, str]:
    """The table and the column that is meant in it, made as a mean where several are meant."""
    known, bare = list(columns_with(frame, "y_")), named(outcome).removeprefix("y_")
    if not outcome or f"y_{bare}" in known:
        return frame, f"y_{bare}" if outcome else ""
    meant = known if outcome == DEFAULT else [name for name in known if name.endswith((f"/{bare}", f"_{bare}"))]
    if not meant:
        raise InputError(
            f"Expected an outcome among {brief(', '.join(known))}, found {outcome!r}; choose one of these."
        )
    if len(meant) == 1:
        return frame, meant[0]
    kinds = {name.rsplit("/", 1)[-1] if "/" in name else direction.kind(name) for name in meant}
    said_lower = str(frame[direction.LOWER].iloc[0]).split() if direction.LOWER in frame else []
    down = [name for name in meant if name in said_lower]
    if (outcome == DEFAULT and len(kinds) > 1) or 0 < len(down) < len(meant):
        raise InputError(
            f"Expected one outcome to raise, found {len(meant)} of several kinds ({brief(', '.join(meant))}); name it "
            "as --outcome, or several as --objective."
        )
    kind = kinds.pop() if outcome == DEFAULT else bare
    name = f"y_mean_{kind}" if kind else DEFAULT
    said.append(f"{name} is the mean of {brief(', '.join(meant))}.")
    lower = {direction.LOWER: " ".join((*said_lower, name))} if down else {}
    return frame.assign(**{name: frame[meant].astype(float).mean(axis=1, skipna=False)} | lower), name


def read_results(folder: Path, runs: Collection[str]) -> tuple[pd.DataFrame, list[str], str]:
    """The scores of runs, whose names are those of folders on the way to a file, or the ends of models' names.

    Returns a table by run with columns task/metric, those of them that are better when lower, and what was read.
    """
    rows: dict[str, dict[str, float]] = {}
    lower: set[str] = set()
    files = sorted(folder.rglob(RESULTS), key=lambda path: (path.name, path))
    for path in files:
        unreadable = ValueError, KeyError, TypeError, AttributeError
        with refused(f"lm-evaluation-harness results in {path.name}", "correct it", *unreadable):
            found = parse_json(path.read_text(encoding="utf-8"))
            scores = dict(_scores(found["results"], found.get("group_subtasks") or {}))
            better = found.get("higher_is_better", {})
            models = [str(found.get(name) or "") for name in ("model_name", "model_name_sanitized")]
            lower |= {name for name in scores if better.get(name.split("/")[0], {}).get(name.split("/")[1]) is False}
        places = (*path.relative_to(folder).parts[:-1], *models)
        if len(named := sorted({name for place in places for name in _named_in(place, runs)})) > 1:
            raise InputError(
                f"Expected results of one run at {path.relative_to(folder)}, found the names of {' and '.join(named)}; "
                "give folders no names of other runs."
            )
        if named:
            rows.setdefault(named[0], {}).update(scores)
    if not rows:
        raise InputError(
            f"Expected {RESULTS} below a folder for each run in {folder}, found {counted(len(files), 'file')}, none "
            f"of a run of the ratios ({brief(', '.join(sorted(runs)[:5]))} …); name folders or models after the runs."
        )
    told = f"{folder.name}: {counted(len(files), 'file')} of results, of {counted(len(rows), 'run')}"
    told += "; a later file counts before others."
    return pd.DataFrame.from_dict(rows, orient="index"), sorted(lower), told


def _named_in(place: str, runs: Collection[str]) -> list[str]:
    """Runs that a folder or a model is named after: the longest end of it that is one, else all parts that are."""
    starts = [0, *(found.end() for found in re.finditer("__|/", place))]
    ends = [place[start:] for start in starts if place[start:] in runs]
    return ends[:1] or [part for part in re.split("__|/", place) if part in runs]


def _scores(results: Mapping, groups: Mapping) -> Iterable[tuple[str, float]]:
    """Names as task/metric and values of scores; a group stands for its parts."""
    within = {part for group, parts in groups.items() if results.get(group) for part in parts if part != group}
    for task, values in results.items():
        for name, value in values.items():
            metric = name.removesuffix(",none").replace(",", "/")
            if task not in within and isinstance(value, int | float) and "_stderr" not in name and name != "sample_len":
                yield f"{task}/{metric}", float(value)
