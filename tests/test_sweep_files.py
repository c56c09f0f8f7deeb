"""Sweeps as others keep them: the same runs in every form, and what cannot be known is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from causalmix.core.errors import InputError, brief, plain
from causalmix.core.history import check_history
from causalmix.core.sweep_files import read_results, read_sweep
from causalmix.core.tables import read_table

NAMES = ("prose", "code", "proofs")
N = 24


@pytest.fixture(scope="module")
def runs():
    """Shares, shape (24, 3), and two scores: an accuracy and a loss."""
    rng = np.random.default_rng(8)
    T = rng.dirichlet(np.ones(3), N).round(4)
    T[:, 2] = 1 - T[:, :2].sum(axis=1)
    return pd.DataFrame(T, columns=NAMES).round(4), pd.Series(T[:, 1].round(4)), pd.Series((3 - T[:, 0]).round(4))


def same(sweep, runs, outcome):
    """Whether a sweep has the runs and this outcome."""
    assert set(sweep.history.domains) == set(NAMES) and len(sweep.history) == N
    T = sweep.history.frame[[f"w_{name}" for name in NAMES]].to_numpy()
    return np.allclose(T, runs[0], atol=1e-3) and np.allclose(sweep.history.y(sweep.outcome), outcome)


def test_two_tables_as_regmix_writes_them(runs, tmp_path):
    """Shares named after training data, losses after validation data; runs in another order, one without losses."""
    shares, _, loss = runs
    shares.add_prefix("train_the_pile_").assign(index=range(1, N + 1)).to_csv(tmp_path / "m.csv", index=False)
    losses = pd.DataFrame({"index": range(1, N + 1), "metric/the_pile_a_val_loss": loss, "metric/b_val_loss": loss + 1})
    losses.iloc[::-1].to_csv(tmp_path / "l.csv", index=False)
    sweep = read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "l.csv")
    assert same(sweep, runs, loss + 0.5) and "loss" in sweep.outcome and len(sweep.paths) == 2
    assert any("is the mean of" in told for told in sweep.told)
    one = read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "l.csv", outcome="metric/b_val_loss")
    assert same(one, runs, loss + 1)
    losses.iloc[:21].to_csv(tmp_path / "l.csv", index=False)
    short = read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "l.csv")
    assert len(short.history) == 21 and any("3 of 24 runs of m.csv" in told for told in short.told)


def test_two_tables_as_olmix_writes_them(runs, tmp_path):
    """Bare names of domains, an index without a name; one kind of score is meant as its mean."""
    shares, _, loss = runs
    names = pd.DataFrame(
        {"run": [f"r{i}" for i in range(N)], "name": [f"swarm-{i}" for i in range(N)], "index": range(N)}
    )
    pd.concat([names, shares], axis=1).to_csv(tmp_path / "ratios.csv")
    pd.concat([names, pd.DataFrame({"arc/bpb": loss, "gsm/bpb": loss + 2})], axis=1).to_csv(tmp_path / "metrics.csv")
    sweep = read_sweep(ratios=tmp_path / "ratios.csv", metrics=tmp_path / "metrics.csv")
    assert same(sweep, runs, loss + 1) and sweep.outcome == "y_mean_bpb"
    assert same(
        read_sweep(ratios=tmp_path / "ratios.csv", metrics=tmp_path / "metrics.csv", outcome="gsm/bpb"), runs, loss + 2
    )


@pytest.mark.parametrize("front", ["", "run-"])
def test_runs_that_are_counted_from_other_numbers_are_not_paired(runs, tmp_path, front):
    """All but one would be found, each with the score of another run."""
    shares, _, loss = runs
    ours, theirs = ([f"{front}{i + first}" for i in range(N)] for first in (1, 0))
    shares.assign(index=ours).to_csv(tmp_path / "m.csv", index=False)
    pd.DataFrame({"index": theirs, "loss": loss}).to_csv(tmp_path / "l.csv", index=False)
    with pytest.raises(InputError, match="1 to 24 in m.csv and 0 to 23 in l.csv, as if each counted"):
        read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "l.csv", outcome="loss")


def test_two_sets_of_shares_are_asked_about(runs, tmp_path):
    """What was asked for beside what was drawn; a set that is the same, or that does not change, is no other."""
    frame, path = tracked(runs), tmp_path / "history.csv"
    drawn = runs[0].iloc[::-1].reset_index(drop=True).add_prefix("config.realised_ratio.")
    frame.join(drawn).to_csv(path, index=False)
    with pytest.raises(InputError, match="one set of shares in history.csv, found config.realised_ratio.prose"):
        read_sweep(path, outcome="eval/acc")
    ours = {f"config.mixture.{name}": f"w_{name}" for name in NAMES}
    assert same(read_sweep(path, outcome="eval/acc", renamed=ours), runs, runs[1])
    fixed = {"config.split_ratio.train": 0.9, "config.split_ratio.val": 0.1}
    frame.join(runs[0].add_prefix("config.realised_ratio.")).assign(**fixed).to_csv(path, index=False)
    assert same(read_sweep(path, outcome="eval/acc"), runs, runs[1])


def tracked(runs):
    shares, accuracy, loss = runs
    frame = pd.DataFrame({"Name": [f"calm-sea-{i}" for i in range(N)], "State": "finished", "Runtime": 60})
    frame = pd.concat([frame, shares.add_prefix("config.mixture.")], axis=1)
    return frame.assign(**{"config.lr": 1e-4, "eval/acc": accuracy, "eval/loss": loss, "_wandb": ""})


def test_export_of_a_tracker(runs, tmp_path):
    """The outcome has to be named where several kinds are there; what crashed is left out and told; empty is none."""
    frame = tracked(runs)
    frame.to_csv(tmp_path / "history.csv", index=False)
    with pytest.raises(InputError, match="several kinds .y_acc, y_loss.*--outcome"):
        read_sweep(tmp_path / "history.csv")
    assert same(read_sweep(tmp_path / "history.csv", outcome="eval/acc"), runs, runs[1])
    assert same(read_sweep(tmp_path / "history.csv", outcome="y_loss"), runs, runs[2])
    frame.loc[2, "State"] = "crashed"
    frame.rename(columns={"State": "state"}).to_csv(tmp_path / "h.csv", index=False)  # as its interface calls it
    assert len(read_sweep(tmp_path / "h.csv", outcome="eval/acc").history) == N - 1
    frame.loc[5, "config.mixture.code"], frame.loc[5, "config.mixture.prose"] = np.nan, 1 - runs[0]["proofs"][5]
    frame.loc[[7], [f"config.mixture.{name}" for name in NAMES]] = np.nan
    frame.to_csv(tmp_path / "h.csv", index=False)
    sweep = read_sweep(tmp_path / "h.csv", outcome="acc")
    told = " ".join(sweep.told)
    assert len(sweep.history) == N - 2 and "1 of 24 runs is left out, with the State crashed" in told
    assert "1 of 23 runs is left out, without shares" in told and "Empty shares are taken for none" in told
    assert sweep.history.frame.set_index("run_id").loc["calm-sea-5", "w_code"] == 0
    renamed = read_sweep(tmp_path / "history.csv", renamed={"eval/acc": "y_dev", "code": "programs"})
    assert renamed.outcome == "y_dev" and "programs" in renamed.history.domains
    merged = read_sweep(tmp_path / "history.csv", renamed={"code": "proofs"}, outcome="acc")
    assert merged.history.domains == ("prose", "proofs") and any("counted as proofs" in told for told in merged.told)
    swapped = read_sweep(tmp_path / "history.csv", renamed={"code": "prose", "prose": "code"}, outcome="acc").history
    assert swapped.domains == ("code", "prose", "proofs") and np.allclose(swapped.T[:, 1], runs[0]["code"], atol=1e-3)


@pytest.mark.parametrize("names", ["config.mixture.{}", "{}", "w_{}"])
@pytest.mark.parametrize("share", [None, 0.0])
def test_a_share_that_is_no_number_is_named(runs, tmp_path, names, share):
    """Also where most runs have none of the domain, and the others' shares sum to 1 without it."""
    shares = runs[0].rename(columns=names.format).assign(run=[f"r{i}" for i in range(N)])
    code, prose = names.format("code"), names.format("prose")
    if share is not None:
        shares.loc[5:, prose] += shares.loc[5:, code]
        shares.loc[5:, code] = share
    shares.astype({code: object}).replace({code: {shares[code][3]: "oops"}}).to_csv(tmp_path / "m.csv", index=False)
    pd.DataFrame({"run": shares["run"], "eval/acc": runs[1]}).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(InputError, match=f"oops in {code} of run r3, which has to be a number"):
        read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "s.csv")


@pytest.mark.parametrize(("scale", "names"), [(1, "train_{}"), (1, "domain {}"), (100, "train_{}")])
def test_shares_in_hundredths_are_found(tmp_path, scale, names):
    """Of many domains, where rounding brings few sums to 1 exactly; also of percentages."""
    T = np.random.default_rng(0).dirichlet(np.ones(24), N).round(2)
    shares = pd.DataFrame(T * scale, columns=[names.format(f"d{k}") for k in range(24)])
    shares.assign(run=range(N)).to_csv(tmp_path / "m.csv", index=False)
    pd.DataFrame({"run": range(N), "eval/acc": 0.5}).to_csv(tmp_path / "s.csv", index=False)
    found = read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "s.csv").history
    assert found.T == pytest.approx(T / T.sum(axis=1, keepdims=True)) and (np.abs(T.sum(axis=1) - 1) > 0.005).any()


def test_folder_of_an_evaluation_harness(runs, tmp_path):
    """Files lie below a folder named after the run, or name its model; a group stands for its parts."""
    shares, accuracy, loss = runs
    shares.assign(run=[f"run{i}" for i in range(N)]).to_csv(tmp_path / "m.csv", index=False)
    for i in range(N):
        place = tmp_path / "out" / (f"run{i}" if i % 2 else f"my__models__run{i}")
        place.mkdir(parents=True)
        values = {"acc,none": accuracy[i], "acc_stderr,none": 0.1, "alias": "arc"}
        results = {
            "arc": values,
            "wiki": {"word_perplexity,none": loss[i]},
            "part": values,
            "all": {"acc,none": accuracy[i]},
        }
        better = {"arc": {"acc": True}, "wiki": {"word_perplexity": False}}
        (place / "results_2026-01-01.json").write_text(
            json.dumps({"results": results, "higher_is_better": better, "group_subtasks": {"all": ["part"]}})
        )
    sweep = read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "out", outcome="acc")
    assert same(sweep, runs, accuracy) and "y_part/acc" not in sweep.history.outcomes
    loss_too = read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "out", outcome="wiki/word_perplexity")
    assert loss_too.history.frame["lower_is_better"].unique().tolist() == ["y_wiki/word_perplexity"]
    with pytest.raises(InputError, match="several kinds"):
        read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "out")
    shares.assign(run=[f"other{i}" for i in range(N)]).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(InputError, match="24 files, none of a run of the ratios"):
        read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "out")


@pytest.mark.parametrize(
    "how", [{"sep": "\t"}, {"sep": ";"}, {"sep": ";", "decimal": ","}, {"sep": "\t", "encoding": "utf-16"},
            {"encoding": "utf-8-sig"}],
)  # fmt: skip
def test_separators_and_decimal_commas(runs, tmp_path, how):
    """What spreadsheets write is read, and told."""
    frame = runs[0].add_prefix("w_").assign(run_id=[f"0{i}" for i in range(N)], y_dev=runs[1])
    frame.to_csv(tmp_path / "h.csv", index=False, **how)
    sweep = read_sweep(tmp_path / "h.csv")
    assert same(sweep, runs, runs[1]) and sweep.history.frame["run_id"][3] == "03"
    assert ("semicolons" in " ".join(sweep.told)) == (how.get("sep") == ";")
    assert ("decimal commas" in " ".join(sweep.told)) == ("decimal" in how)
    file, encoding = tmp_path / "h.csv", how.get("encoding", "utf-8")
    file.write_text(f"sep={how.get('sep', ',')}\n{file.read_text(encoding=encoding)}", encoding=encoding)
    assert same(read_sweep(file), runs, runs[1]), "a spreadsheet says itself what parts its cells"


@pytest.mark.parametrize(
    "encoding, domain, called", [("cp1252", "café", "Windows-1252"), ("latin-1", "caf\xe9\x81x", "Latin-1")]
)
def test_old_encodings_are_read_as_those_of_pools(runs, tmp_path, encoding, domain, called):
    """And told; what would be read as other letters is refused, and what to do is said."""
    frame = runs[0].rename(columns={"code": domain}).add_prefix("w_").assign(run_id=range(N), y_dev=runs[1])
    frame.to_csv(tmp_path / "h.csv", index=False, encoding=encoding)
    sweep = read_sweep(tmp_path / "h.csv")
    assert domain in sweep.history.domains and f"letters of {called}" in sweep.told[0]
    frame.rename(columns={f"w_{domain}": "w_代码程序"}).to_csv(tmp_path / "h.csv", index=False, encoding="gbk")
    with pytest.raises(InputError, match="table in h.csv, found .*neither UTF-8 nor .*; correct the file, or"):
        read_sweep(tmp_path / "h.csv")


@pytest.mark.parametrize("cell, read", [("1,500", None), ("0,500", 0.5), ("1,50", 1.5)])
def test_what_may_be_thousands_is_no_decimal(tmp_path, cell, read):
    """1,500 rows are not one and a half; where commas part cells, nobody can know."""
    (tmp_path / "t.csv").write_text(f'run_id,n\na,950\nb,"{cell}"\n')
    assert read_table(tmp_path / "t.csv")["n"].tolist() == (["950", cell] if read is None else [950, read])
    (tmp_path / "t.csv").write_text(f"run_id;n\na;950\nb;{cell}\n")
    assert read_table(tmp_path / "t.csv")["n"].tolist() == [950, float(cell.replace(",", "."))]


def test_gaps_in_what_is_not_asked_for(runs, tmp_path):
    """They are no reason to refuse; runs that lack what is asked for can be left out, if enough remain."""
    frame = runs[0].add_prefix("w_").assign(run_id=range(N), y_dev=runs[1], y_math=runs[1].where(runs[1].index > 2))
    frame.assign(y_note="diverged").to_csv(tmp_path / "h.csv", index=False)
    sweep = read_sweep(tmp_path / "h.csv")
    assert same(sweep, runs, runs[1])
    with pytest.raises(InputError, match="found none in 3 of 24 runs, the first 0"):
        sweep.history.y("y_math")
    known = sweep.history.complete(["y_math"])
    assert len(known) == len(known.whole) == N - 3 and sweep.history.complete(["y_dev"]) is sweep.history
    with pytest.raises(InputError, match="at least 20 runs, found it in 4 of 24"):
        check_history(frame.assign(y_math=runs[1].where(runs[1].index > 19))).complete(["y_math"])


def write(folder, **tables):
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "found none; give one or the other two"),
        ({"ratios": "a"}, "found --ratios; give"),
        ({"history": "a", "ratios": "a", "metrics": "a"}, "found --history, --ratios, --metrics"),
        ({"ratios": "a", "metrics": "b"}, "names each run once in both a.csv and b.csv"),
        ({"ratios": "a", "metrics": "c"}, "runs of the same run in a.csv and c.csv, found 1, 2 … and 7, 8"),
        ({"history": "d"}, "columns of shares that sum to 1 in d.csv"),
        ({"history": "e"}, "columns of scores such as y_"),
    ],
)
def test_what_is_no_sweep_is_refused(tmp_path, given, told):
    """In one sentence."""
    write(tmp_path, a="run,x,y\n1,.5,.5\n2,.2,.8\n", b="who,z\na,1\na,2\n", c="run,z\n7,1\n8,2\n",
          d="run_id,p_a,p_b,eval/acc\n1,3,4,.5\n", e="run_id,w_a,w_b\n1,.5,.5\n")  # fmt: skip
    with pytest.raises(InputError, match=told) as refusal:
        read_sweep(**{what: tmp_path / f"{name}.csv" for what, name in given.items()})
    assert "\n" not in str(refusal.value)


def test_what_is_echoed_is_short_and_harmless(tmp_path):
    """JSON under the name of a table is not repeated whole, and a terminal obeys nothing that was read."""
    (tmp_path / "rows.csv").write_text(json.dumps({f"key {i}": "value " * 50 for i in range(50)}))
    with pytest.raises(InputError) as refusal:
        read_table(tmp_path / "rows.csv", ["run_id"])
    assert len(str(refusal.value)) < 400
    assert len(brief("a" * 999)) == 201 and brief("a\n b") == "a b"
    assert plain("a\x1b[31m\x9b\u202eb\n\tc") == "a\\u001b[31m\\u009b\\u202eb\n\tc"


def test_numbers_that_cannot_be_squared_are_refused():
    """1e308 is finite, and nothing can be estimated with it."""
    T = np.random.default_rng(0).dirichlet(np.ones(3), N)
    frame = pd.DataFrame(T, columns=["w_a", "w_b", "w_c"]).assign(run_id=range(N), y_dev=T[:, 0])
    with pytest.raises(InputError, match="finite numbers in y_dev of h.csv, found 1e.308 in run 3"):
        check_history(frame.assign(y_dev=frame["y_dev"].where(frame.index != 3, 1e308)), "h.csv")


def test_numbers_that_are_not_used_are_named(runs, tmp_path):
    """Sizes under another name would be noise."""
    frame = runs[0].add_prefix("w_").assign(run_id=range(N), y_dev=runs[1], rows_seen=900, seed=1, note="x")
    frame.to_csv(tmp_path / "h.csv", index=False)
    assert read_sweep(tmp_path / "h.csv").told == (
        "Not used of h.csv: rows_seen; a run's rows are called n_samples (--map OLD=n_samples).",
    )
    mapped = read_sweep(tmp_path / "h.csv", renamed={"rows_seen": "n_samples"})
    assert not mapped.told and mapped.history.usual_rows == 900
    with pytest.raises(InputError, match="a domain of the sweep in --map, found 'rows' instead of "):
        read_sweep(tmp_path / "h.csv", renamed={"rows": "n_samples"})
    frame.rename(columns={"y_dev": "eval/acc"}).to_csv(tmp_path / "h.csv", index=False)
    assert "Not used of h.csv: rows_seen;" in read_sweep(tmp_path / "h.csv").told[0]


def test_results_on_the_way_to_which_two_runs_are_named_are_refused(tmp_path):
    """As where runs and their seeds are numbers; a part of a name is no other run."""
    for place in ("a", "a__b/org__a__b", "org__c"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "results_1.json").write_text('{"results": {"task": {"acc,none": 1.0}}}')
    assert set(read_results(tmp_path, ["a", "a__b", "c"])[0].index) == {"a", "a__b", "c"}
    (tmp_path / "a/c").mkdir()
    (tmp_path / "a/results_1.json").rename(tmp_path / "a/c/results_1.json")
    with pytest.raises(InputError, match="at a/c/results_1.json, found the names of a and c;"):
        read_results(tmp_path, ["a", "a__b", "c"])


@pytest.mark.parametrize("name", ["RunName", "name"])
def test_runs_are_paired_by_names_where_numbers_only_count_rows(runs, tmp_path, name):
    """Scores that were sorted and counted anew would each be those of another run."""
    ids = pd.DataFrame({name: [f"swarm-{i}" for i in range(N)], "index": range(N)})
    pd.concat([ids, runs[0]], axis=1).to_csv(tmp_path / "r.csv", index=False)
    scores = ids.assign(acc=runs[1], day=[f"monday {i}" for i in range(N)]).sort_values("acc")
    scores.assign(index=range(N)).to_csv(tmp_path / "m.csv", index=False)
    assert same(read_sweep(ratios=tmp_path / "r.csv", metrics=tmp_path / "m.csv", outcome="acc"), runs, runs[1])
    scores.assign(index=np.arange(N)[::-1] * 3).to_csv(tmp_path / "m.csv", index=False)
    pd.concat([ids.assign(index=np.arange(N) * 3), runs[0]], axis=1).to_csv(tmp_path / "r.csv", index=False)
    with pytest.raises(InputError, match="index and (Run)?[nN]ame pair alike"):
        read_sweep(ratios=tmp_path / "r.csv", metrics=tmp_path / "m.csv", outcome="acc")


def test_new_names_of_outcomes_have_to_be_new(tmp_path):
    """Else nothing would happen; one's own name is no news, and domains of one name are added up."""
    shares = pd.DataFrame(np.random.default_rng(0).dirichlet(np.ones(2), 20), columns=["w_a", "w_b"])
    frame = shares.assign(run_id=range(20), y_dev=0.5, y_b=shares["w_a"])
    frame.to_csv(tmp_path / "h.csv", index=False)
    with pytest.raises(InputError, match="found the column y_b there already"):
        read_sweep(tmp_path / "h.csv", renamed={"dev": "b"})
    assert read_sweep(tmp_path / "h.csv", renamed={"a": "a", "dev": "dev"}).history.domains == ("a", "b")


def test_runs_keep_the_names_that_are_written(runs, tmp_path):
    """0007 is a folder's name and no number; where two tables write one number in two ways, they mean the same run."""
    shares, accuracy, _ = runs
    shares.assign(run=[f"{i:04d}" for i in range(N)]).to_csv(tmp_path / "m.csv", index=False)
    for i in range(N):
        (tmp_path / "out" / f"{i:04d}").mkdir(parents=True)
        found = {"results": {"arc": {"acc,none": accuracy[i]}}}
        (tmp_path / "out" / f"{i:04d}" / "results.json").write_text(json.dumps(found))
    assert same(read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "out"), runs, accuracy)
    pd.DataFrame({"run": np.arange(N, dtype=float), "arc/acc": accuracy}).to_csv(tmp_path / "l.csv", index=False)
    assert same(read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "l.csv"), runs, accuracy)
    frame = shares.add_prefix("w_").assign(number=[f"00{i}e3" for i in range(N)], y_dev=accuracy)
    frame.to_csv(tmp_path / "h.csv", index=False)
    named = read_sweep(tmp_path / "h.csv", renamed={"number": "run_id"})
    assert named.history.frame["run_id"][3] == "003e3"


@pytest.mark.parametrize("write", [json.dumps, str])
def test_settings_of_a_tracker_in_one_cell(runs, tmp_path, write):
    """As its interface for Python gives them: a cell of JSON, or of what Python prints."""
    shares, accuracy, _ = runs
    frame = pd.DataFrame(
        {"name": [f"r{i}" for i in range(N)],
         "config": [write({"mixture": dict(T), "lr": 0.1, "note": "it's"}) for T in shares.to_dict("records")],
         "summary": [write({"eval/acc": acc, "train/loss": float("nan")}) for acc in accuracy]}
    )  # fmt: skip
    frame.to_csv(tmp_path / "h.csv")
    assert same(read_sweep(tmp_path / "h.csv"), runs, accuracy)
    frame.assign(note="{no mapping}", more="{1, 2}").to_csv(tmp_path / "h.csv")
    assert same(read_sweep(tmp_path / "h.csv"), runs, accuracy)
    frame.loc[3, "summary"] = write({"eval/acc": "NaN"})  # as it writes what is no number
    frame.to_csv(tmp_path / "h.csv")
    assert read_sweep(tmp_path / "h.csv").history.frame["y_acc"].isna().tolist() == [i == 3 for i in range(N)]


def test_shares_in_hundredths(runs, tmp_path):
    """Where every run sums to 100 they are divided, which is told; a sign for percent says it of itself."""
    shares, accuracy, _ = runs
    frame = (shares * 100).add_prefix("w_").assign(run_id=[f"r{i}" for i in range(N)], y_dev=accuracy)
    frame.to_csv(tmp_path / "h.csv", index=False)
    sweep = read_sweep(tmp_path / "h.csv")
    assert same(sweep, runs, accuracy) and "percentages" in sweep.told[0]
    (shares * 100).assign(run=frame["run_id"]).to_csv(tmp_path / "m.csv", index=False)
    pd.DataFrame({"run": frame["run_id"], "acc": accuracy}).to_csv(tmp_path / "l.csv", index=False)
    assert same(read_sweep(ratios=tmp_path / "m.csv", metrics=tmp_path / "l.csv"), runs, accuracy)
    signed = shares.map("{:.2%}".format).add_prefix("w_").join(frame[["run_id", "y_dev"]])
    signed.to_csv(tmp_path / "h.csv", index=False)
    assert same(read_sweep(tmp_path / "h.csv"), runs, accuracy)
    frame.iloc[3, :3] /= 100
    frame.to_csv(tmp_path / "h.csv", index=False)
    with pytest.raises(InputError, match="sum to 1 in every run of h.csv, found the sum 100 in run r0; give shares"):
        read_sweep(tmp_path / "h.csv")


def test_names_with_blanks(runs, tmp_path):
    """Blanks after separators are none of a name; within the name of an outcome they are written otherwise."""
    frame = runs[0].add_prefix("w_").assign(run_id=range(N), **{"y_my score": runs[1]})
    (tmp_path / "h.csv").write_text(frame.to_csv(index=False).replace(",", ", "))
    for called in ("my score", "y_my score"):
        assert same(read_sweep(tmp_path / "h.csv", outcome=called), runs, runs[1])


@pytest.mark.parametrize(
    ("content", "what"), [(b'{"run_id": 1}\n', "JSON"), (b'[{"run_id": 1}]', "JSON"), (b"\0" * 9, "zeros")]
)
def test_what_is_no_table_is_called_what_it_is(tmp_path, content, what):
    (tmp_path / "h.csv").write_bytes(content)
    with pytest.raises(InputError, match=f"found that it is .*{what}; save it as CSV"):
        read_table(tmp_path / "h.csv")
