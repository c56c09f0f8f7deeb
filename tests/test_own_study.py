"""Four commands from a folder of one's own rows to a mixture, with the embedded proxy and without a hub."""

import io
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import yaml
from chapters import command, sweep_here
from datasets import Dataset
from real_rows import own_cache, turns, write_lines  # noqa: F401 (a fixture)
from user_files import few_draws  # noqa: F401 (a fixture)

from causalmix.book import progress
from causalmix.core import direction
from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.core.scratch import SCRATCH
from causalmix.core.study_file import read_study
from causalmix.core.tables import read_table
from causalmix.data.families import KINDS
from causalmix.data.pools import local
from causalmix.data.recipes import Recipe
from causalmix.data.scored_pools import held_out, load_named, load_real
from causalmix.study.init import Asked, init
from causalmix.train import announce, records
from causalmix.train.ledger import Ledger
from causalmix.train.spec import RunSpec

WORDS = "anvil basket candle dune ember flint grove harbour iris jetty".split()


def write_rows(folder, counts={"sums": 60, "lists": 90}):
    """A file for each domain: sums that are told, lists that are put in order."""
    rng = np.random.default_rng(0)
    for domain, count in counts.items():
        rows = []
        for i in range(count):
            chosen = rng.choice(WORDS, 4).tolist()
            said = (
                (f"{i} and {i} make ?", f"{2 * i}")
                if domain == "sums"
                else (", ".join(chosen), ", ".join(sorted(chosen)))
            )
            rows.append({"domain": domain, "messages": turns(*said)})
        write_lines(folder / f"{domain}.jsonl", rows)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder of rows, a small study of them, and what each command said."""
    root, patched = tmp_path_factory.mktemp("own"), pytest.MonkeyPatch()
    (root / "rows").mkdir()
    write_rows(root / "rows")
    run_sweep = records.run_sweep
    patched.setattr(records, "run_sweep", lambda *given, client, **options: sweep_here(run_sweep, *given, **options))
    study = root / "mine.yaml"
    said = {"init": command(root, "init", root / "rows", "--out", study, "--runs", 20)}
    said["plan"] = command(root, "plan", "--study", study)
    said["sweep"] = command(root, "sweep", "--study", study, "--workers", 1)
    said["recommend"] = command(
        root, "recommend", "--study", study, "--trees", 24, "--out", root / "mixture", "--format", "json"
    )
    yield root, study, said
    patched.undo()


def test_four_commands_end_with_a_mixture(own):
    """None needs the file to be edited; the training set has rows of the folder in the shares that are told."""
    root, _, said = own
    assert {
        name: (done.returncode, done.stderr[-300:] * done.returncode) for name, done in said.items()
    } == dict.fromkeys(said, (0, ""))
    answer = json.loads(said["recommend"].stdout)
    manifest = json.loads((root / "mixture/manifest.json").read_text())
    lines = [json.loads(line) for line in (root / "mixture/train.jsonl").read_text().splitlines()]
    counts = pd.Series([line["domain"] for line in lines]).value_counts()
    assert len(lines) == answer["n_samples"] == sum(counts)
    assert {d: one["rows"] for d, one in manifest["mixture"].items()} == counts.reindex(manifest["mixture"]).fillna(
        0
    ).to_dict()
    assert answer["lower_is_better"] is True, "y_dev is a loss"
    by = {check["outcome"]: check["lower_is_better"] for check in answer["checks"]}
    assert by == dict.fromkeys(("y_unseen", "y_loss_sums_unseen", "y_loss_lists_unseen"), True) or answer["withheld"]


def test_the_file_tells_what_was_found(own):
    """Rows, domains and tokens are those of the folder; every line that is a choice has a comment."""
    root, study, said = own
    found = read_study(str(study)).parameters
    assert found["pool"]["options"] == {"path": str(root / "rows")} and set(found["pool"]["domains"]) == {
        "sums",
        "lists",
    }
    shares = {"sums": 54 / 135, "lists": 81 / 135}
    assert found["assignment"] == "designed" and found["reference"] == pytest.approx(shares)
    assert found["candidates"] == (60 - 6) // 2 and found["n_runs"] == 20 and found["models"] == {"proxy": "proxy"}
    assert "sums 60" in said["init"].stderr and "lists 90" in study.read_text()
    chosen = [line for line in study.read_text().splitlines() if line.startswith("  ") and ":" in line]
    assert sum("#" in line for line in chosen) > 15


def test_a_study_is_not_written_among_the_rows(tmp_path, monkeypatch):
    """Its results lie beside it, and would be read as rows the next time."""
    monkeypatch.chdir(tmp_path)
    done = command(tmp_path, "init", ".")
    assert done.returncode == 2 and "outside of the folder of rows" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "columns, by, why",
    [
        ({"source": lambda d, i: "mine"}, "file", "the column source, which tells no two domains apart"),
        (
            {"source": lambda d, i: f"{i:02d}"},
            "file",
            "the column source, for most of its 60 values have fewer than 20",
        ),
        (
            {"source": lambda d, i: f"{i:02d}", "topic": lambda d, i: d},
            "the column topic",
            "the column source, for most",
        ),
        ({"domain": lambda d, i: "even odd".split()[i % 2]}, "the column domain", ""),
    ],
)
def test_what_tells_no_domains_gives_way_to_what_does(tmp_path, columns, by, why):
    """A column of one value, or of one for each row; a file without rows, or of none, does not count."""
    (tmp_path / "rows").mkdir()
    for domain in ("sums", "lists"):
        rows = [{"messages": turns(f"{i} {domain}", "a")} for i in range(60)]
        rows = [row | {name: told(domain, i) for name, told in columns.items()} for i, row in enumerate(rows)]
        write_lines(tmp_path / "rows" / f"{domain}.jsonl", rows)
    (tmp_path / "rows/empty.jsonl").touch()
    (tmp_path / "rows/settings.json").write_text('{"rate": 1}')
    said: list[str] = []
    asked = Asked(tmp_path / "rows", tmp_path / "s.yaml", read_as={"on_bad": "skip"})
    init(asked, said.append)
    assert f"by {by}: " in next(told for told in said if told.startswith("Found")) and (why in said[0] or not why)


def test_a_small_domain_that_makes_all_runs_small_is_told(tmp_path):
    """And what is counted is what is left of the rows once those that are held out, and their copies, are gone."""
    rows = [
        {"domain": d, "messages": turns(f"{d} {i}", "a")} for d, n in (("few", 25), ("many", 600)) for i in range(n)
    ]
    path = Path(write_lines(tmp_path / "rows.jsonl", [*rows, *rows[25:325]]))
    init(Asked(path, tmp_path / "s.yaml"), (said := []).append)
    assert any(told.startswith("Runs will have 50 rows, for the smallest domain, few, has 25: ") for told in said)
    kept = yaml.safe_load((tmp_path / "s.yaml").read_text())["hardware"]["assumptions"]["rows"]["value"]
    pool = local.load_pool(str(path))
    assert kept == len(held_out(pool, 0)[0]) < len(pool) - 2 - 60


def test_what_is_cut_off_a_row_counts_in_no_plan(tmp_path):
    """One row as long as a book would else be most of what a study is said to cost; a long prompt leaves no answer."""
    rows = [{"domain": "ab"[i % 2], "messages": turns(f"{i}", "a " * (9000 if i == 7 else 9))} for i in range(60)]
    rows[3]["messages"] = turns("a " * 3000, "b")
    init(Asked(Path(write_lines(tmp_path / "rows.jsonl", rows)), tmp_path / "s.yaml"), (said := []).append)
    assert any(one.startswith("1 of 60 rows that were looked at has no part of an answer within 512") for one in said)
    found = yaml.safe_load((tmp_path / "s.yaml").read_text())
    tokens = found["hardware"]["assumptions"]["tokens_per_row"]["value"]
    assert tokens < found["parameters"]["training"]["max_length"] / 5


def test_a_column_of_a_value_for_each_row_is_told_in_short(tmp_path):
    rows = [{"source": f"page {i}", "messages": turns(f"{i}", "a")} for i in range(300)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InputError, match=r"\(1 of 1\) and 290 more; add rows, .*--domain-column") as refused:
        init(Asked(Path(path), tmp_path / "s.yaml"))
    assert len(str(refused.value)) < 500


def test_what_is_judged_by_is_never_trained_on(own):
    """The history's outcomes are the losses on rows that no run could draw."""
    root, _, _ = own
    history = pd.read_csv(root / "results/mine/history.csv")
    assert np.allclose(history["y_dev"], history[["y_loss_sums", "y_loss_lists"]].mean(axis=1), atol=1e-4)
    assert np.allclose(
        history["y_unseen"], history[["y_loss_sums_unseen", "y_loss_lists_unseen"]].mean(axis=1), atol=1e-4
    )
    assert history["y_dev"].nunique() > 10 and len(history) == 20 and history["w_sums"].round(6).iloc[0] == 0.4
    first = next(iter(Ledger(root / "results/mine/runs.jsonl").finished().values()))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CAUSALMIX_CACHE", str(root / ".cache"))
        world = load_named(RunSpec.from_dict(first["spec"]).world_name)
        trained, judged = ({str(m) for m in rows["messages"]} for rows in (world.pool, world.validation()))
    assert judged and not trained & judged


def test_the_history_has_all_parts_and_covariates_as_the_study_measures_them(tmp_path, monkeypatch):
    """Runs over sizes as well, and X where `covariates_on` says."""
    asked, world = [], SimpleNamespace(name="w", scored=SimpleNamespace(domains=("a", "b")))
    table = {"run_id": ["r"], "w_a": [1.0], "y_dev": [0.5], "part": ["scale"]}
    monkeypatch.setattr(records, "results_dir", lambda study: tmp_path)
    monkeypatch.setattr(records, "world_for", lambda design: world)
    monkeypatch.setattr(records, "whole_history", lambda *given: asked.append(given) or pd.DataFrame(table))
    (tmp_path / "s.yaml").write_text("parameters: {covariates_on: mixed, scale_runs: 7}")
    assert read_table(records.write_history(str(tmp_path / "s.yaml")))["part"].tolist() == ["scale"]
    ((folder, design, *rest),) = asked
    assert (folder, design.scale_runs, rest) == (tmp_path, 7, ["w", ("a", "b"), "mixed"])


def test_rows_that_another_model_scores_are_refused(own):
    """The history says which models measured the state of its pools."""
    root, study, _ = own
    asked = ("recommend", "--history", root / "results/mine/history.csv", "--pool", root / "rows", "--trees", 8)
    refused = command(root, *asked, "--scorer", "target")
    assert refused.returncode == 2 and "the scorer the embedded world's target@" in refused.stderr, refused.stderr
    assert command(root, *asked).returncode == 0


def test_a_file_that_was_changed_after_its_sweep_is_told(own):
    """Its history is of other runs than it asks for; more mixtures, asked for later, change none of those."""
    root, study, said = own
    assert "says now" not in said["recommend"].stdout
    text = study.read_text()
    try:
        for old, new, n in (("n_runs: 20", "n_runs: 40", 0), ("epochs: 1", "epochs: 2", 20)):
            study.write_text(text.replace(old, new, 1))
            done = command(root, "recommend", "--study", study, "--trees", 8, "--format", "json")
            warnings = " ".join(json.loads(done.stdout)["warnings"])
            assert (f"{n} of 20 runs of the history are not as mine.yaml says now" in warnings) == bool(n), warnings
    finally:
        study.write_text(text)


def test_a_sweep_tells_what_it_takes_and_goes_on_where_it_was(own):
    """Runs, rows, tokens and minutes before it trains; a second one trains nothing."""
    root, study, said = own
    told = said["sweep"].stderr
    assert "25 runs, 20 mixtures and 5 of them again" in told and "tokens" in told and " minute" in told
    assert told.index(" minute") < told.index("25 of 25 runs") and "135 of 135 rows" in told
    again = command(root, "sweep", "--study", study)
    assert again.returncode == 0 and " minute" not in again.stderr and "25 runs finished" in again.stdout
    listed = dict(line.strip().split(": ") for line in again.stdout.splitlines() if line.startswith("  y_"))
    history = pd.read_csv(root / "results/mine/history.csv")
    assert set(listed) == {name for name in history if name.startswith("y_")}
    for name, told in listed.items():
        start = f"{history[name].min():.4g} to {history[name].max():.4g}, lower is better; between seeds ±"
        assert told.startswith(start) and "(5 runs again)" in told, told
        assert told.endswith("only checks") == name.endswith("_unseen")


def test_the_next_runs_count_on_the_noise_between_seeds(own):
    """Not on what a design's model leaves of twenty runs, which is next to nothing."""
    root, study, _ = own
    told = command(root, "design", "--study", study, "--runs", 2).stderr
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CAUSALMIX_CACHE", str(root / ".cache"))
        between = records.between_seeds(Ledger(root / "results/mine/runs.jsonl").finished().values())["y_dev"][0]
    assert f"Noise of a run: {between:.3g}, as it is given, or known" in told, told


def test_too_few_runs_for_a_history_are_told_before_training():
    """Of mixtures, not of runs: the noise panel makes no history."""
    asked = read_study("quick").of("proxy_sft")
    assert "A history needs 20" not in announce.before_scoring(asked, None)
    sized = asked.model_copy(update={"scale_runs": 12, "n_samples": 100, "epochs": 1})
    assert "A sweep of 47 runs, 32 mixtures and 3 of them again" in announce.before_scoring(sized, None)
    assert f"12 more of half to four times as many: {3500 + 2250:,} rows" in announce.before_scoring(sized, None)
    assert "A sweep of 33 runs, 32 mixtures and 1 of them again" in announce.before_scoring(sized, 33)
    assert "A history needs 20" in announce.before_scoring(asked, 19)
    assert "A history needs 20" in announce.before_scoring(asked.model_copy(update={"n_runs": 18}), None)


def test_runs_of_the_noise_panel_make_no_history(tmp_path, monkeypatch):
    """A sweep of too few mixtures ends as it said it would, not with a refusal."""
    monkeypatch.setattr(records, "sweep", lambda *_, **__: [{"status": "finished"}] * 23)
    monkeypatch.setattr(records, "write_history", lambda _: pytest.fail("18 mixtures make no history"))
    (tmp_path / "s.yaml").write_text("parameters: {n_runs: 18, noise_specs: 5, noise_seeds: 2, scale_runs: 0}")
    done = command(tmp_path, "sweep", "--study", tmp_path / "s.yaml")
    assert (done.returncode, done.stdout) == (0, "23 runs finished, 0 failed.\n"), done.stderr
    assert "A history needs 20 mixtures" in done.stderr


def test_nothing_is_written_over_unasked(own):
    """The file stays, byte for byte, until it is asked for."""
    root, study, _ = own
    before = study.read_text()
    refused = command(root, "init", root / "rows", "--out", study)
    assert refused.returncode == 2 and "--force" in refused.stderr and study.read_text() == before
    assert command(root, "init", root / "rows", "--out", study, "--runs", 20, "--force").returncode == 0
    assert yaml.safe_load(study.read_text())["parameters"] == yaml.safe_load(before)["parameters"]


@pytest.mark.parametrize(
    "rows, out, told",
    [
        ("nowhere", "s.yaml", "found nothing at"),
        ("rows", "s.txt", "ends in .yaml"),
        ("few", "s.yaml", "at least 20 rows"),
        ("copies", "s.yaml", "found fewer in copied (1 of 30); add"),
        ("spoilt", "s.yaml", "leave such rows out with on_bad: skip (--on-bad skip)"),
    ],
)
def test_what_cannot_be_a_study_is_refused_in_a_sentence(tmp_path, rows, out, told):
    for name, count in {"rows": 30, "few": 4, "copies": 30, "spoilt": 30}.items():
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name, {"sums": count, "lists": 30})
    one = {"domain": "copied", "messages": turns("Again?", "Again.")}
    write_lines(tmp_path / "copies/copied.jsonl", [one | {"id": i} for i in range(30)])
    write_lines(tmp_path / "spoilt/more.jsonl", [{"domain": "sums", "messages": turns("Nothing?", "")}])
    done = command(tmp_path, "init", tmp_path / rows, "--out", tmp_path / out)
    assert done.returncode == 2 and told in done.stderr and not (tmp_path / out).exists()
    few = command(tmp_path, "init", tmp_path / "rows", "--out", tmp_path / out, "--runs", 19)
    assert few.returncode == 2 and "at least 20 mixtures" in few.stderr
    assert not [path for path in tmp_path.iterdir() if "draft" in path.name]


def test_files_of_several_forms_are_domains(tmp_path):
    """Where no column tells the domain, each file is one; the file says so, and the loader reads it again."""
    (tmp_path / "rows").mkdir()
    write_lines(tmp_path / "rows/asked.jsonl", [{"question": f"{i} ?", "answer": f"{i}"} for i in range(24)])
    write_lines(tmp_path / "rows/told.jsonl", [{"messages": turns(f"tell {i}", f"{i} !")} for i in range(30)])
    done = command(tmp_path, "init", tmp_path / "rows", "--out", tmp_path / "s.yaml")
    assert done.returncode == 0 and "by file: asked 24, told 30" in done.stderr, done.stderr
    assert read_study(str(tmp_path / "s.yaml")).parameters["pool"]["options"]["domain"] == "file"


def test_rows_are_read_as_the_command_line_says(tmp_path):
    """What refuses rows names options that `init` has; they stand in the study's file."""
    (tmp_path / "rows").mkdir()
    write_rows(tmp_path / "rows")
    write_lines(tmp_path / "rows/more.jsonl", [{"domain": "sums", "messages": turns("Nothing?", "")}])
    (tmp_path / "map.yaml").write_text("lists: words\nsums: sums\nmore: sums\n")
    given = ("--on-bad", "skip", "--source-map", tmp_path / "map.yaml", "--id-column", "")
    done = command(tmp_path, "init", tmp_path / "rows", "--out", tmp_path / "s.yaml", *given)
    assert done.returncode == 0 and "150 rows of 2 domains, by source: words 90, sums 60" in done.stderr, done.stderr
    options = read_study(str(tmp_path / "s.yaml")).parameters["pool"]["options"]
    assert options == {"path": str(tmp_path / "rows"), "on_bad": "skip", "source_to_domain": str(tmp_path / "map.yaml"),
                       "id_column": ""}  # fmt: skip


def test_noise_is_that_between_seeds_alone():
    """Of runs that share mixture, state and size; others have none to tell."""
    world = "tiny/600/0/c2466f41e364/60"
    tasks = [task.name for task in KINDS["tiny"].tasks()]

    def run(weights, score, seed, **more):
        spec = {"world": world, "weights": weights, "state": [0.0], "n_samples": 9, "model": "m", "seed": seed} | more
        return {"status": "finished", "spec": spec, "scores": dict.fromkeys(tasks, score), "training": {}}

    runs = [
        run([1, 0], 0.1, 0),
        run([1, 0], 0.3, 1),
        run([0, 1], 0.5, 0),
        run([0, 1], 0.5, 1),
        run([1, 0], 9, 2, n_samples=8),
    ]
    found = records.between_seeds([*runs, {"status": "failed", "spec": {}}])
    assert found["y_dev"] == (pytest.approx(0.1), 2)
    assert records.between_seeds(runs[-1:]) == {}


def test_domains_that_no_loss_tells_of_are_told():
    """A domain of copies has no held-out row, and so no say in a mean of losses."""
    held_out = {"domain": ["a", "a", "b"], "split": ["dev", "unseen", "unseen"]}
    scored = SimpleNamespace(domains=("a", "b", "c"))
    world = SimpleNamespace(validation=lambda: held_out, scored=scored)
    assert announce.not_judged(world).startswith("No held-out loss tells of b, c, and a mixture by losses ignores them")
    assert (
        announce.not_judged(SimpleNamespace(validation=lambda: held_out, scored=SimpleNamespace(domains=("a",)))) == ""
    )
    assert announce.not_judged(SimpleNamespace(validation=lambda: None, scored=scored)) == ""


def test_the_name_of_a_domain_writes_no_lines_of_the_file(tmp_path):
    """Whatever ends a line in YAML ends none there."""
    odd = "sums\nminutes: {}\u2028x\x85y\x7f\ufeff😀é"
    (tmp_path / "rows").mkdir()
    write_rows(tmp_path / "rows", {"lists": 30})
    write_lines(tmp_path / "rows/odd.jsonl", [{"domain": odd, "messages": turns(f"{i}?", f"{i}")} for i in range(30)])
    done = command(tmp_path, "init", tmp_path / "rows", "--out", tmp_path / "s.yaml")
    assert done.returncode == 0, done.stderr
    found = read_study(str(tmp_path / "s.yaml"))
    assert set(found.parameters["pool"]["domains"]) == {"lists", odd} == set(found.parameters["reference"])
    assert not found.minutes


def test_own_tasks_are_axes(tmp_path):
    """Each task file is a benchmark of its own; y_dev is their mean then."""
    (tmp_path / "rows").mkdir()
    write_rows(tmp_path / "rows")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/riddles.yaml").write_text("task: riddles\nmetric_list: [{metric: exact_match}]\n")
    done = command(tmp_path, "init", tmp_path / "rows", "--out", tmp_path / "s.yaml", "--tasks", tmp_path / "tasks")
    assert done.returncode == 0, done.stderr
    (task,) = read_study(str(tmp_path / "s.yaml")).parameters["pool"]["evaluation"]["own"]
    assert (task["axis"], task["metric"]) == ("riddles", "exact_match,none")


def test_a_line_comes_though_nothing_ends(monkeypatch):
    """The time left goes on falling between two runs."""
    now = iter(range(0, 10_000, 30))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    lines = progress.Lines(io.StringIO())
    lines.tell(0, 3_800, "rows")
    lines.tell(1_200, 3_800, "rows")
    first, second = lines.line(), lines.line()
    assert first.startswith("1,200 of 3,800 rows, ") and first != second


def test_domains_of_several_words_have_outcomes_that_a_list_can_name(monkeypatch):
    """A file may be called `customer support.jsonl`, and the names of losses are told with spaces between them."""
    monkeypatch.setattr(records, "kind_of", lambda world: SimpleNamespace(tasks=tuple))
    monkeypatch.setattr(records, "_scored_by", lambda world: {})
    kept = {"validation_loss": {"customer support": 2.0, "sums": 1.0}}
    spec = {
        "world": "real/0/0/c2466f41e364/60",
        "seed": 0,
        "n_samples": 9,
        "model": "m",
        "domains": [*kept["validation_loss"]],
    }
    x = {f"x_{name}": 0.0 for name in records.SCORES}
    runs = [{"run_id": str(i), "status": "finished", "spec": spec | {"weights": [i / 30, 1 - i / 30]}, "scores": {},
             "training": kept, "covariates": x} for i in range(30)]  # fmt: skip
    found = check_history(records.history(runs))
    assert "customer support" in found.domains and {"y_loss_customer_support", "y_dev"} <= set(direction.told(found))


def test_domains_that_are_written_in_two_ways_are_refused(tmp_path):
    """They would be two in every mixture."""
    (tmp_path / "rows").mkdir()
    write_rows(tmp_path / "rows", {"lists": 30, "Lists ": 30})
    done = command(tmp_path, "init", tmp_path / "rows", "--out", tmp_path / "s.yaml")
    assert done.returncode == 2 and "'Lists '" in done.stderr and "'lists'" in done.stderr, done.stderr
    with pytest.raises(InputError, match="'Lists ' and 'lists'; write them alike, or map sources"):
        load_real(Recipe("local", {"path": str(tmp_path / "rows")}), 500, 0)


def test_what_the_driver_writes_while_it_measures_goes_with_a_folder_that_a_later_sweep_removes(
    tmp_path, make_spec, monkeypatch
):
    """A short run is trained before the sweep; a driver that is killed then leaves what the next one finds."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{SCRATCH}dead" / "causalmix-sft-x").mkdir(parents=True)
    seen = []

    def train(_):
        seen.extend(tmp_path.iterdir())
        assert Path(tempfile.mkdtemp(prefix="causalmix-sft-")).parent == seen[0]
        return {"training": {"seconds": 0.0}}

    announce.measured(make_spec(), train)
    assert len(seen) == 1 and seen[0].name.startswith(SCRATCH) and not list(tmp_path.iterdir())


def test_a_short_run_that_fails_leaves_the_telling_to_the_sweep(make_spec, monkeypatch):
    """Its error stands in the place of minutes, and not as a traceback; what the machine or the input lacks ends it."""
    world = SimpleNamespace(pool=Dataset.from_dict({"n_tokens": [3, 5]}), validation=lambda: None)
    fails = Mock(side_effect=[FloatingPointError("the loss is nan"), OSError(28, "full")])
    monkeypatch.setattr(announce.measured, "__defaults__", (fails,))
    told = announce.before_training([make_spec()], world, 1, True)
    assert told.startswith("1 run is left: 10 rows, about 40 tokens") and told.endswith("Error: the loss is nan.")
    with pytest.raises(OSError, match="full"):
        announce.before_training([make_spec()], world, 1, True)


def test_tokens_that_runs_cut_off_are_not_announced(make_spec):
    pool = Dataset.from_dict({"n_tokens": [10, 10**6]})
    for spec, longest in ((make_spec(), 4096), (make_spec(training=(("max_length", 90),)), 90)):
        told = announce.before_training([spec], SimpleNamespace(pool=pool, validation=lambda: None), None, False)
        assert f"about {spec.n_samples * spec.epochs * (10 + longest) / 2:,.0f} tokens" in told
