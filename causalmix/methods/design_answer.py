"""What ``causalmix design`` answers: its options checked before anything is computed, and the proposal in sentences."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from causalmix.core import direction, paths
from causalmix.core.direction import differing
from causalmix.core.errors import InputError
from causalmix.core.history import DESIGN, LARGEST_SIZE, ROUNDING, History
from causalmix.core.parameters import check_name
from causalmix.core.simplex import check_mixture
from causalmix.core.study_file import Study, read_study
from causalmix.core.sweep_files import meant, read_sweep
from causalmix.core.tables import LARGEST
from causalmix.core.wording import check_apart, counted
from causalmix.methods.limits import limits
from causalmix.methods.next_runs import FEWEST_AGAIN, Proposal, Room, propose, replicate_noise
from causalmix.methods.objective import pairs

CRITERIA = ("D", "I")
ROWS = 1000  # of a training set, where nothing says how many


def answer(options: Namespace) -> tuple[Proposal, list[str]]:
    """The proposal for a command line, and what it tells in sentences; an option that cannot be is refused first."""
    _check_numbers(options)
    options.lower_is_better, said_of = options.lower_is_better or (None, "")
    study = read_study(options.study) if options.study else None
    if study:
        _take(options, study)
    options.outcome, options.seed = options.outcome or "y_dev", options.seed or 0
    history, domains, rows, told = _given(options, study)
    if said_of and meant(said_of, history.outcomes if history else ()) != options.outcome:
        raise InputError(
            f"Expected the better way of the outcome {options.outcome}, found that of {said_of}; name that one as "
            "--outcome as well, or leave its name out."
        )
    lacking = history.lacking([options.outcome]) if history and options.outcome in history.outcomes else []
    history = history and history.complete([options.outcome])
    room = _room(options, history, domains, rows, study.of("proxy_sft").reference if study else {})
    aim = pairs(options.target, "--target", "NAME=VALUE")
    for name in aim:
        check_name(name, room.covariates, "covariate")
    # Covariates that are not named are half-way between their bounds.
    half_way = {name: np.mean(bounds) for name, bounds in room.covariates.items()}
    target = np.array(list((half_way | aim).values())) if aim else None
    if history is not None:
        differing(history, options.outcome)
        stated = {options.outcome: options.lower_is_better}
        options.lower_is_better = direction.is_lower_better(history, options.outcome, stated)
    if study:
        _take_noise(options, study)
    if options.half_width is not None and history is None and options.noise is None:
        raise InputError("Expected the noise of an outcome for a half-width, found no history; give --noise.")
    names = ("runs", "outcome", "lower_is_better", "criterion", "anchors", "noise", "half_width", "seed")
    proposal = propose(room, history=history, target=target, **{name: getattr(options, name) for name in names})
    if not options.sizes and not study and (history is None or "n_samples" not in history.frame):
        told = [*told, f"A run is taken to have {ROWS} rows: --sizes says otherwise."]
    told = [*told, *_of_sizes(room, history)]
    off = [name for name, (low, high) in room.covariates.items() if not low <= aim.get(name, low) <= high]
    told = [*told, *(f"No run can be in the target's {name}: all that is told of it is extrapolated." for name in off)]
    note = [f"{room.note[:1].upper()}{room.note[1:]}."] * bool(room.note)
    return proposal, [*told, *note, *lacking, *_told(proposal, options, history)]


def _take(options: Namespace, study: Study) -> None:
    """What the command line leaves open and a study says or knows: outcome, better way, seed."""
    said = study.of("mixture")
    if not options.outcome:
        options.outcome = said.outcome
        options.lower_is_better = said.lower_is_better if options.lower_is_better is None else options.lower_is_better
    options.seed = said.seed if options.seed is None else options.seed


def _take_noise(options: Namespace, study: Study) -> None:
    """What the study's own runs tell of the noise between seeds, where it is not given."""
    ledger = paths.results_dir(study.name) / "runs.jsonl"
    if options.noise is None and ledger.is_file() and study.history.parent == ledger.parent:
        from causalmix.train.records import Ledger, between_seeds  # takes seconds to load

        with suppress(InputError):  # of a pool that this machine has never seen
            noise, again = between_seeds(Ledger(ledger).finished().values()).get(options.outcome, (0.0, 0))
            options.noise = noise if again >= FEWEST_AGAIN and noise > 0 else None


def _check_numbers(options: Namespace) -> None:
    """What needs no file but the place of the answer."""
    if options.criterion:
        check_name(options.criterion, CRITERIA, "criterion")
    bounds = f"above 0 (from {1 / LARGEST:g} to {LARGEST:g})"
    above = bounds, lambda value: 1 / LARGEST <= value <= LARGEST  # it is squared
    wanted = {"runs": ("from 1 to 100000", lambda value: 1 <= value <= 100_000), "noise": above, "half_width": above,
              "anchors": ("in [0, 1]", lambda value: 0 <= value <= 1),
              "seed": ("of at least 0", lambda value: value >= 0)}  # fmt: skip
    for name, (bounds, fine) in wanted.items():
        if (value := getattr(options, name)) is not None and not fine(value):
            raise InputError(f"Expected --{name.replace('_', '-')} {bounds}, found {value}; give such a number.")
    if options.out is not None and (options.out.exists() or not options.out.absolute().parent.is_dir()):
        found = "a file there" if options.out.exists() else "no such folder"
        raise InputError(f"Expected a new file at {options.out}, found {found}; name another, nothing is written over.")


def _given(options: Namespace, study: Study | None) -> tuple[History | None, Sequence[str], list[int], Sequence[str]]:
    """The history if there is one, the domains, rows that a training set may have, and what was done to read them."""
    path, rows, domains = options.history, [ROWS], ()
    if study:
        runs = study.of("proxy_sft")
        path, rows = study.history, [runs.n_samples]
        if not path.is_file():
            from causalmix.data.recipes import Recipe  # takes seconds to load
            from causalmix.data.tiny.shapes import DOMAINS

            path, domains = None, Recipe.of(runs.pool).domains if runs.pool else DOMAINS
            if not domains:
                raise InputError(f"Expected domains in the recipe of {runs.study}, found none; give --domains.")
    if path is not None:
        sweep = read_sweep(path, outcome=options.outcome)
        history, options.outcome = sweep.history.parts((DESIGN,)), sweep.outcome  # by its column from here on
        several = "log2_n_samples" in history.covariates
        rows = sorted(set(map(int, history.frame["n_samples"]))) if several else [history.usual_rows]
        return history, history.domains, rows, sweep.told
    domains = domains or [name.strip() for name in options.domains.split(",")]
    if len(domains) < 2 or len(set(domains)) < len(domains) or not all(domains):
        raise InputError(f"Expected two or more names of domains, each once, found {options.domains!r}; correct them.")
    check_apart(domains, "")
    return None, tuple(domains), rows, ()


def _room(
    options: Namespace, history: History | None, domains: Sequence[str], rows: list[int], named: Mapping[str, float]
) -> Room:
    """Where the runs can be made; a reference is given, else named by a study, else Equal."""
    floor, cap = _shares(options.floor, domains, "--floor", 0), _shares(options.cap, domains, "--cap", 1)
    reference = np.full(len(domains), 1 / len(domains))
    if options.reference:
        reference = check_mixture(_shares(options.reference, domains, "--reference", 0), domains)
    elif named:
        reference = check_mixture(_by_domain(named, domains, 0), domains)
    held = limits(reference, floor, cap)
    if np.abs(held.inside(np.eye(len(domains))) - held.reference).max() < ROUNDING:
        raise InputError("Expected floors and caps that leave mixtures to choose from, found one mixture; widen them.")
    named_sizes = filter(None, map(str.strip, options.sizes.split(",")))
    sizes = sorted({int(part) if part.isdecimal() else 0 for part in named_sizes}) or rows
    if options.sizes and not 1 <= sizes[0] <= sizes[-1] <= LARGEST_SIZE:
        raise InputError(
            f"Expected whole numbers from 1 to {LARGEST_SIZE:g} for --sizes, found {options.sizes!r}; write for "
            "instance 1000,4000."
        )
    several = history is not None and "log2_model_size" in history.covariates
    models = tuple(sorted(set(history.frame["model_size"]))) if several else ()
    ranges = _ranges(options.covariates, history)
    return Room(tuple(domains), ranges, tuple(sizes), models, floor, cap, held.reference, held.note)


def _of_sizes(room: Room, history: History | None) -> list[str]:
    """What has to be said where no run has been as small or as large as those that gains are told for."""
    if history is None or "n_samples" not in history.frame:
        return []
    low, high, most = history.frame["n_samples"].min(), history.frame["n_samples"].max(), max(room.sizes)
    several = f"{low:g} to {high:g}" if low < high else f"{low:g}"
    told = f"Runs so far have {several} rows: what is told of gains, which are for {most:g}, is extrapolated."
    return [told] * (not low <= most <= high)


def _ranges(text: str, history: History | None) -> dict[str, tuple[float, float]]:
    """Ranges of the covariates: those of the history, and what is given beside or instead."""
    found: dict = {}
    if history is not None:
        found = {name: (float(x.min()), float(x.max())) for name, x in zip(history.measured, history.X.T)}
    bounds_of = lambda value: tuple(map(float, value.split(":")))  # noqa: E731
    given = pairs(text, "--covariates", "NAME=LOW:HIGH", read=bounds_of)
    for name, bounds in given.items():
        if history is not None:
            check_name(name, found, "covariate")
        if len(bounds) != 2 or not -LARGEST < bounds[0] < bounds[1] < LARGEST:
            raise InputError(f"Expected --covariates as NAME=LOW:HIGH, found {text!r}; give the lower bound first.")
    return found | given


def _shares(text: str, domains: Sequence[str], option: str, rest: float) -> np.ndarray:
    """One share for every domain, or some by name and the rest as told."""
    if "=" in text:
        found = _by_domain(pairs(text, option, "NAME=SHARE"), domains, rest)
    else:
        found = np.full(len(domains), pairs([f"all={text}"], option, "0.1, or NAME=SHARE")["all"])
    if not ((found >= 0) & (found <= 1)).all():
        raise InputError(f"Expected shares in [0, 1] for {option}, found {text!r}; correct them.")
    return found


def _by_domain(given: Mapping[str, float], domains: Sequence[str], rest: float) -> np.ndarray:
    for name in given:
        check_name(name, domains, "domain")
    return np.array([given.get(name, rest) for name in domains])


def _told(proposal: Proposal, options: Namespace, history: History | None) -> list[str]:
    """Sentences on the runs, the noise and the interval."""
    roles = proposal.table["role"].value_counts()
    kind = options.criterion or ("I" if history is not None else "D")
    designed, again = (int(roles.get(role, 0)) for role in ("design", "anchor"))
    told = [f"{counted(designed, f'{kind}-optimal run')} and {counted(again, 'repeat')} at anchors."]
    unit = " times the noise of one run" if history is None and options.noise is None else ""
    what = "a mixture at random (root mean square)"
    if history is not None:
        shares = sorted(zip(proposal.optimum, history.domains), reverse=True)
        told.append("Best by the runs so far: " + ", ".join(f"{n} {w:.0%}" for w, n in shares if w >= 0.005) + ".")
        what = "the present optimum"
        repeats = replicate_noise(history, options.outcome)
        told.append(f"Noise of a run: {proposal.noise:.3g}" + (
            f"; {repeats[0]:.3g} between equal runs ({repeats[1]} degrees of freedom)." if repeats else
            ", as it is given, or known from the study's runs that differ in their seed alone." if options.noise else
            ", what the design's model leaves unexplained; the history has hardly any equal runs."))  # fmt: skip
    told.append(
        f"95% interval of the gain of {what} over the reference: ±{proposal.half_width_now:.3g}{unit} now, "
        f"±{proposal.half_width:.3g}{unit} with these runs."
    )
    if proposal.needed is not None:
        follows = any(name.startswith("x_") for name in proposal.table)  # after few runs that is known less than here
        wider = "; that of recommend may be wider, for its returns may follow the state in more ways" if follows else ""
        told.append(f"±{options.half_width:g} takes about {counted(proposal.needed, 'further run')} in all{wider}.")
    return told
