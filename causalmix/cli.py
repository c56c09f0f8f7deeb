"""The command line; exit codes are 0 for success, 1 for a failed run or book, 2 for bad input, told in one sentence."""

import argparse
import builtins
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from causalmix.book import stamps
from causalmix.book.run import ChapterError, Job, jobs_of, run, wanted_sources
from causalmix.core import paths
from causalmix.core.errors import InputError, plain
from causalmix.core.parameters import SUBJECTS, FitParameters, declaration, read, subject_of
from causalmix.core.study_file import PLACES, read_study
from causalmix.core.wording import counted
from causalmix.methods.request import OF_ROWS, add_fields, add_options, read_as, request_of


def print(*values: object, **how) -> None:
    """Show values; all that the commands say passes here, and a terminal obeys nothing that was read from a file."""
    builtins.print(*map(plain, values), **how)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.do(options)
    except InputError as error:
        print(f"causalmix: {error}", file=sys.stderr)
        return 2
    except (ChapterError, ConnectionError) as error:
        print(f"causalmix: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder of another user, a file where a folder should be
        where = f" at {error.filename}" if error.filename else ""
        told = f"causalmix: Expected a place to read and write{where}, found {error.strerror or error}; make room there"
        print(f"{told} or name another, and give the command again: what had ended is kept.", file=sys.stderr)
        return 2
    except MemoryError as error:
        how = f" ({error})" if str(error) else ""
        told = f"causalmix: Expected room in memory for what was asked, found too little{how}; ask for fewer rows."
        print(told, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="causalmix", description="Mixtures of training data as causal inference.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Callable[[argparse.Namespace], int], help: str, study: bool = False) -> Callable:
        """A further command; returns what adds its options."""
        made = commands.add_parser(name, help=help)
        made.set_defaults(do=do)
        if study:
            told = "a name, or a YAML file; default: %(default)s"
            made.add_argument("--study", default=stamps.COMMITTED, help=told)
        return made.add_argument

    formats = {"choices": ("table", "json", "csv"), "default": "table", "help": "default: %(default)s"}
    option = command("init", _init, "write a study's file for a folder of your own rows")
    option("rows", type=Path, metavar="FOLDER", help="a folder or a file of conversations")
    option("--out", type=Path, default=Path("study.yaml"), metavar="FILE", help="default: %(default)s")
    option("--model", default="proxy", help="the proxy: a folder or a name; default: the embedded one")
    option("--tasks", type=Path, metavar="FOLDER", help="your tasks, as lm-evaluation-harness has them")
    add_fields(commands.choices["init"], OF_ROWS)
    option("--runs", type=_positive, default=0, metavar="N", help="mixtures to try; default: by domains")
    option("--force", action="store_true", help="write over a file that is there")

    option = command("run", _run, "execute the chapters of a study into pages", study=True)
    option("chapters", nargs="*", metavar="CHAPTER", help="such as effects; all by default")
    option("--notebook", action="append", default=[], metavar="CHAPTER", help="the same, as an option")
    option("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    option("--help-parameters", action="store_true", help="list the parameters that there are, and stop")

    command("status", _status, "tell which pages are fresh, and why others are not")

    command("book", _book, "render the pages to HTML")
    option = commands.choices["book"].add_mutually_exclusive_group().add_argument
    option("--check", action="store_true", help="only check the pages and the rendered book")
    option("--student", action="store_true", help="the edition without solutions, below book/_build/student")
    option("--pdf", action="store_true", help="the whole book as one PDF, by Chromium")
    option("--slides", action="store_true", help="ten slides of the argument, one HTML file")

    option = command("check-answer", _check_answer, "tell whether an answer is right, by the tables", study=True)
    option("chapter", nargs="?", metavar="CHAPTER", help="such as effects; without one, all questions")
    option("number", nargs="?", type=_positive, metavar="NUMBER", help="of the question")
    option("answer", nargs="?", metavar="ANSWER", help="a number, or a word")

    option = command("sweep", _sweep, "train the runs that a study's ledger lacks", study=True)
    option("--limit", type=_positive, metavar="N", help="only the first N runs")
    told = "processes of the local cluster, default: one per GPU, or per core where there is none; or jobs of Slurm"
    option("--workers", type=_positive, metavar="N", help=told)
    told = "local (the default), slurm:FILE.yaml, or a Dask scheduler's tcp://HOST:PORT"
    option("--cluster", "--scheduler", default="local", metavar="WHERE", help=told)
    told = "further tries of a run that its machine failed; default: %(default)s"
    option("--retries", type=partial(_positive, least=0), default=0, metavar="N", help=told)
    option("--trials", action="store_true", help="the trials that compare methods instead: hours")
    option("--retry-failed", action="store_true", help="train failed runs again; those that met a full disk always are")

    command("design", _design, "propose the mixtures, states and sizes of a sweep's next runs")
    _add_design(commands.choices["design"])

    option = command("plan", _plan, "tell what a study costs: runs, tokens, hours, memory, disk and money", study=True)
    option("--format", **formats)

    option = command("recommend", _recommend, "tell the mixture for a new pool of rows, by a sweep that is there")
    add_options(commands.choices["recommend"])
    option("--format", **formats)
    option("--no-cache", action="store_true", help="keep nothing of the pool but what --out gets")

    option = command("world", _world, "rebuild the base models of the embedded world (half an hour or so)")
    place = {"default": paths.ASSETS / "tiny"} if paths.CHECKOUT else {"required": True}
    option("--out", type=Path, help="folder to write to; default: the checkout's own", **place)
    option = command(
        "completion", lambda options: _completion(options, commands.choices),
        'complete these in a shell: eval "$(causalmix completion bash)"',
    )  # fmt: skip
    option("shell", choices=("bash", "zsh"))
    return parser


def _add_design(parser: argparse.ArgumentParser) -> None:
    where, option = parser.add_mutually_exclusive_group(required=True).add_argument, parser.add_argument
    where("--domains", metavar="A,B,C", help="names of the domains, for the first runs of a sweep")
    where("--history", type=Path, metavar="FILE", help="runs that are there: the next ones are proposed")
    where("--study", metavar="NAME", help="a study's history, or its domains where it has none yet")
    option("--runs", type=int, required=True, metavar="N", help="runs to propose")
    told = "ranges of what a run's data can be; default: those of the history"
    option("--covariates", default="", metavar="NAME=LOW:HIGH,…", help=told)
    option("--sizes", default="", metavar="N,…", help="rows of a training set; default: the history's")
    for bound, default, which in (("floor", "0", "smallest"), ("cap", "1", "largest")):
        told = f"{which} share, one for all or by domain; default: %(default)s"
        option(f"--{bound}", default=default, metavar="SHARE|NAME=SHARE,…", help=told)
    told = "what gains are over; default: the study's reference, or Equal"
    option("--reference", default="", metavar="NAME=SHARE,…", help=told)
    told = "learn all, or the gains; default: D, with a history I"
    option("--criterion", default="", metavar="D|I", help=told)
    option("--target", default="", metavar="NAME=VALUE,…", help="state that the gain is for; default: all")
    option("--outcome", default="", metavar="NAME", help="of the history; default: the study's, or y_dev")
    one_way = parser.add_mutually_exclusive_group().add_argument
    for better, way in (("lower", True), ("higher", False)):
        told = f"the outcome is better when it is {better}; default: by its name, where that tells"
        one_way(f"--{better}-is-better", dest="lower_is_better", nargs="?", metavar="NAME", help=told, const=(way, ""),
                type=lambda name, way=way: (way, name))  # fmt: skip
    told = "of runs at the reference and the present optimum; default: %(default)s"
    option("--anchors", type=float, default=0.1, metavar="SHARE", help=told)
    option("--noise", type=float, metavar="SD", help="of an outcome between equal runs")
    told = "tell how many runs this half-width of the 95%% interval of the gain takes"
    option("--half-width", type=float, metavar="WIDTH", help=told)
    option("--seed", type=int, metavar="N", help="default: the study's, or 0")
    option("--out", type=Path, metavar="FILE", help="new CSV file; default: the terminal")


def _completion(options: argparse.Namespace, commands: Mapping[str, argparse.ArgumentParser]) -> int:
    """Print the script by which a shell completes commands and options; other words are names of files."""
    words = {name: " ".join(re.findall(r"--[a-z-]+", command.format_usage())) for name, command in commands.items()}
    lines = [f'    {name}) words="{options} --help";;' for name, options in words.items()]
    zsh = "autoload -U +X bashcompinit && bashcompinit\n" * (options.shell == "zsh")
    print(f"""{zsh}_causalmix() {{
  local words="{" ".join(words)}"
  [ "$COMP_CWORD" -gt 1 ] && case "${{COMP_WORDS[1]}}" in
{chr(10).join(lines)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _causalmix causalmix""")
    return 0


def _positive(text: str, least: int = 1) -> int:
    """A whole number, of an option."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least}, found {text!r}")
    return int(text)


def _init(options: argparse.Namespace) -> int:
    from causalmix.study.init import Asked, init

    given = {field.name: getattr(options, field.name) for field in fields(Asked) if field.name != "read_as"}
    asked = Asked(**given, read_as=read_as(options))
    path = init(asked, tell=partial(print, file=sys.stderr))
    print(f"{path} is written. Its cost: causalmix plan --study {path}; its training: causalmix sweep --study {path}")
    return 0


def _run(options: argparse.Namespace) -> int:
    chapters = [*options.chapters, *options.notebook]
    if options.help_parameters:
        for chapter in wanted_sources(chapters):
            model = SUBJECTS[subject_of(chapter)]
            lines = (declaration(model, name) for name in model.model_fields if name not in PLACES)
            print(chapter, *lines, sep="\n  ")
        return 0
    for text in options.parameter:
        if "=" not in text:
            raise InputError(f"Expected a parameter as name=value, found {text!r}; write for instance -p seed=1.")
    given = _from_root(options, dict(text.split("=", 1) for text in options.parameter))
    jobs = jobs_of(options.study, chapters, given)
    from causalmix.study.plan import needs

    _check_outcomes(paths.results_dir(options.study) / "history.csv", jobs)
    study = read_study(options.study)
    injected = {name: value for job in jobs for name, value in job.parameters.items()}
    needs.check(replace(study, parameters=study.parameters | injected), [subject_of(job.source.stem) for job in jobs])
    for names in {job.parameters["methods"] for job in jobs if job.parameters.get("methods")}:
        from causalmix.methods.ask import names_of

        names_of(names)
    for page in run(jobs, study.minutes):
        print(_told(page))
    return 0


def _check_outcomes(own: Path, jobs: Sequence[Job]) -> None:
    """Refuse an outcome that a history lacks, or of which nothing tells the better way, before a kernel starts.

    So is a history that is not there, unless it is the study's ``own`` and these notebooks write it.
    """
    subjects = {subject_of(job.source.stem): job.parameters for job in jobs}
    for name, given in subjects.items():
        path, asked = Path(given.get("history", own)), read(SUBJECTS[name], given)
        if not isinstance(asked, FitParameters) or path == own and "outcomes" in subjects:
            continue
        if {"history", "outcome"} & given.keys() or not path.is_file():
            from causalmix.core import direction
            from causalmix.core.history import read_history

            direction.is_lower_better(read_history(path), asked.outcome, {asked.outcome: asked.lower_is_better})


def _from_root(options: argparse.Namespace, given: dict[str, str] = {}) -> dict[str, str]:
    """Work in the root of the repository, as kernels and workers do; files found from here keep their meaning."""
    if paths.is_file(options.study):
        options.study = str(Path(options.study).resolve())
    there = [name for name in ("history", "target") if Path(given.get(name) or "?").exists()]
    files = {name: str(Path(given[name]).resolve()) for name in there}
    os.chdir(paths.ROOT)
    return given | files


def _status(_: argparse.Namespace) -> int:
    """One line a chapter; returns 1 unless every page is fresh."""
    root = paths.ROOT
    stale = False
    for name, source in stamps.sources(root).items():
        try:
            state, why = stamps.state(root / "book" / "chapters" / source.name, root)
        except InputError as error:  # of one page; the others are told all the same
            state, why = "broken", [str(error)]
        stale |= state != "fresh"
        print(f"{name}: {state}{' (' + ', '.join(why) + ')' if why else ''}")
    return int(stale)


def _book(options: argparse.Namespace) -> int:
    from causalmix.book import build, slides

    stamps.sources()  # refuses where there is no book
    try:
        if options.pdf or options.slides:
            print(_told(build.print_book() if options.pdf else slides.write()))
            return 0
        if options.check and (findings := build.check()):
            raise build.BookError(findings)
        if not options.check:
            print(f"The book lies at {_told(build.build(student=options.student))}.")
    except build.BookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _check_answer(options: argparse.Namespace) -> int:
    """Lists the questions, or returns 1 unless the answer is right."""
    from causalmix.book import answers, data_files

    read_study(options.study)  # refuses one that there is none of
    if options.answer is None:
        print(data_files.markdown(*answers.listed((options.chapter,) if options.chapter else ())), end="")
        return 0
    right, told = answers.check(options.chapter, options.number, options.answer, paths.results_dir(options.study))
    print(told)
    return int(not right)


def _told(path: Path) -> str:
    """A path as it is read from the root of the repository."""
    return path.relative_to(paths.ROOT).as_posix() if path.is_relative_to(paths.ROOT) else str(path)


def _sweep(options: argparse.Namespace) -> int:
    """Returns 1 when a run is on record as failed."""
    from causalmix.study.plan import needs
    from causalmix.train import clusters

    if options.trials and options.limit:
        raise InputError("Expected --limit for a study's own runs, found it beside --trials; leave out one of the two.")
    _from_root(options)
    paths.check_writable(paths.results_dir(options.study))
    clusters.check(options.cluster)
    found, elsewhere = read_study(options.study), options.cluster != "local"
    if not elsewhere:
        needs.check_gpus(found, needs.TRIALS if options.trials else needs.SWEEP)
    needs.check(found, needs.trials(found) if options.trials else needs.SWEEP, elsewhere)
    if options.trials:
        from causalmix.core.history import read_history

        read_history(paths.results_dir(options.study) / "history.csv")  # refuses one that is not there
    settings = {"client": options.cluster, "n_workers": options.workers, "retry_failed": options.retry_failed,
                "retries": options.retries}  # fmt: skip
    from causalmix.book.progress import Lines
    from causalmix.core import progress

    with Lines() as lines, progress.listening(lines.tell):
        return _trials(options.study, settings) if options.trials else _own_runs(options, settings)


def _own_runs(options: argparse.Namespace, settings: dict) -> int:
    """Train a study's own runs, told before and while it works; a study of a file gets its history then."""
    from causalmix.core.history import MIN_ROWS, read_history
    from causalmix.methods.checks import outcome_lines
    from causalmix.train import announce, records

    tell, here = partial(print, file=sys.stderr), settings["client"] == "local"
    asked = read_study(options.study).of("proxy_sft")
    tell(announce.before_scoring(asked, options.limit))
    before = lambda missing, world: tell(announce.before_training(missing, world, options.workers, here))  # noqa: E731
    found = records.sweep(options.study, limit=options.limit, before=before, **settings)
    code = _count(found)
    designed = sum(record["status"] == "finished" for record in found[: asked.n_runs])  # these come first
    if paths.is_file(options.study) and designed >= MIN_ROWS:
        path = records.write_history(options.study)
        lines = outcome_lines(read_history(path), records.between_seeds(found))
        print(f"Their history is {_told(path)}.", *lines, sep="\n")
    return code


def _trials(study: str, settings: dict) -> int:
    """Train what methods are compared by; returns 1 when a run is on record as failed."""
    from causalmix.study.campaign import Campaign

    code = 0
    for part, records in Campaign.of_study(study).train(**settings):
        print(f"{part}: ", end="")
        code = max(code, _count(records))
    return code


def _count(records: list[dict]) -> int:
    failed = [record for record in records if record["status"] == "failed"]
    print(f"{counted(len(records) - len(failed), 'run')} finished, {len(failed)} failed.")
    for record in failed:
        print(f"{record['run_id']}: {record['error']}", file=sys.stderr)
    if failed:
        print("Sweep again with --retry-failed to train these.", file=sys.stderr)
    return int(bool(failed))


def _design(options: argparse.Namespace) -> int:
    from causalmix.core.tables import write_table
    from causalmix.methods import design_answer

    proposal, told = design_answer.answer(options)
    print(*told, sep="\n", file=sys.stderr)
    if options.out is None:
        print(proposal.table.to_csv(index=False, float_format="%.6g"), end="")
        return 0
    write_table(options.out, proposal.table)
    print(options.out)
    return 0


def _plan(options: argparse.Namespace) -> int:
    study = read_study(options.study)
    from causalmix.study.plan import needs

    needs.said(study)  # before what takes seconds to load
    from causalmix.study.plan import cost

    print(cost.told(cost.plan(study), options.format))
    return 0


def _recommend(options: argparse.Namespace) -> int:
    from causalmix.methods.refusals import checked

    if options.study and not {"history", "ratios", "objective"} & vars(options).keys():
        from causalmix.study.plan import needs

        if not (study := read_study(options.study)).history.is_file():  # before its runs are asked for
            needs.check_outcomes(study, getattr(options, "outcome", ""))
    request = request_of(options)
    checked(request)  # before what takes seconds to load
    from causalmix.methods.new_pools import find_source

    find_source(request)  # likewise
    from causalmix.book.progress import Lines
    from causalmix.core import progress
    from causalmix.methods.recommend import recommend
    from causalmix.methods.training_set import shown

    with Lines() as lines, progress.listening(lines.tell), paths.cache_for(not options.no_cache):
        found = recommend(request, tell=partial(print, file=sys.stderr))
    print(shown(found, options.format), end="")
    return 0


def _world(options: argparse.Namespace) -> int:
    from causalmix.data.tiny import build

    build.build(options.out)
    return 0
