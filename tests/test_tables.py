"""Validated tables."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from causalmix.core.errors import InputError
from causalmix.core.history import check_history, read_history
from causalmix.core.paths import results_dir
from causalmix.core.tables import read_table, write_table


@pytest.fixture
def frame():
    """A valid history of 24 runs: two domains, one covariate, two axes."""
    rng = np.random.default_rng(0)
    w = rng.uniform(size=24)
    return pd.DataFrame(
        {"run_id": [f"{i:04d}" for i in range(24)], "seed": 0, "w_math": w, "w_safety": 1 - w}
        | {name: rng.uniform(size=24) for name in ("x_hes", "y_dev", "y_unseen", "y_math", "y_safety", "y_math_unseen")}
    )


def test_history_gives_arrays(frame):
    """T, X and y are the columns of their prefix, in the order of the table."""
    history = check_history(frame)
    assert (history.domains, history.covariates, history.axes) == (("math", "safety"), ("hes",), ("math", "safety"))
    assert len(history) == 24 and history.T.shape == (24, 2) and history.X.shape == (24, 1)
    np.testing.assert_array_equal(history.y("y_math"), frame["y_math"])
    with pytest.raises(InputError, match="among y_dev, y_unseen, .*found 'y_code'"):
        history.y("y_code")


def test_history_without_covariates(frame):
    """A sweep without X is valid, and X then has no columns."""
    history = check_history(frame.drop(columns="x_hes"))
    assert history.covariates == () and history.X.shape == (24, 0)


def test_rounded_weights_are_renormalised(frame):
    """Weights of a public sweep, a little off 1, sum to 1 again; the caller's table is untouched."""
    frame["w_math"] = frame["w_math"] + 0.004
    before = frame.copy()
    np.testing.assert_allclose(check_history(frame).T.sum(axis=1), 1, atol=1e-15)
    pd.testing.assert_frame_equal(frame, before)


def test_percentages_are_shares(frame, tmp_path):
    """Where they sum to 100 in every run; the chapters read a file as the commands do."""
    write_table(tmp_path / "h.csv", frame.assign(w_math=100 * frame["w_math"], w_safety=100 * frame["w_safety"]))
    assert read_history(tmp_path / "h.csv").T == pytest.approx(check_history(frame).T, abs=1e-5)


@pytest.mark.parametrize(("weights", "fits"), [((0.33, 0.33, 0.33), True), ((0.33, 0.33, 0.32), False)])
def test_hundredths_may_miss_the_sum_by_half_of_one_each(weights, fits):
    """As thirds in a spreadsheet do."""
    table = pd.DataFrame([(i, *weights, i) for i in range(20)], columns=["run_id", "w_a", "w_b", "w_c", "y_dev"])
    with nullcontext() if fits else pytest.raises(InputError, match="found the sum 0.98"):
        assert check_history(table).T[0] == pytest.approx([1 / 3] * 3)


def test_many_rounded_shares_miss_the_sum_by_less_than_half_of_one_each():
    """Errors of 64 domains cancel: whatever is honestly rounded passes, and a sum of 1.2 does not."""
    names = [f"w_{k}" for k in range(64)]
    T = np.concatenate([np.random.default_rng(0).dirichlet(np.full(64, a), 4_000) for a in (0.1, 0.5, 1, 4)]).round(2)
    table = pd.DataFrame(T, columns=names).assign(run_id=range(len(T)), y_dev=0.5)
    assert check_history(table).T.shape == T.shape and np.ptp(T.sum(axis=1)) > 0.15
    table.loc[7, "w_3"] += 1.2 - T[7].sum()
    with pytest.raises(InputError, match="found the sum 1.2 in run 7;"):
        check_history(table.round(2))


def test_parts_of_a_history_are_chosen(frame):
    """Sizes are covariates where the chosen runs differ in them; parts that are not there are refused."""
    part = ["design"] * 20 + ["scale"] * 4
    frame = frame.assign(part=part, n_samples=[100] * 20 + [50, 100, 200, 400], model_size=[5] * 22 + [9] * 2)
    whole = check_history(frame)
    assert (
        whole.covariates == ("hes", "log2_n_samples", "log2_model_size") and whole.parts(["scale", "design"]) is whole
    )
    designed = whole.parts(["design"])
    assert len(designed) == len(designed.whole) == 20 and designed.covariates == ("hes",)
    with pytest.raises(InputError, match="among design, scale, found confounded"):
        whole.parts(["design", "confounded"])
    with pytest.raises(InputError, match="at least 20 runs in scale of the history, found 4"):
        whole.parts(["scale"])
    others = check_history(frame.assign(part="train"))  # a column of another meaning
    assert others.parts(["design"]) is others and check_history(frame.drop(columns="part")).parts(["design"])


def put(column, row, value):
    """A change of one cell."""
    return lambda frame: frame.assign(**{column: frame[column].astype(object).where(frame.index != row, value)})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("w_math", 3, 0.99), "found the sum 1.97347 in run 0003; give shares, not percentages or counts."),
        (lambda f: f.rename(columns={"w_math": "w_1", "w_safety": "w_1.0"}), "found '1' and '1.0'; write them"),
        (put("w_math", 3, -0.5), "found the weight -0.5 in run 0003; give shares, not percentages or counts."),
        (put("x_hes", 5, np.nan), "finite numbers in x_hes of h.csv, found nan in run 0005; correct the value or drop"),
        (put("w_math", 5, np.nan), "finite numbers in w_math of h.csv, found nan in run 0005; correct the value"),
        (put("y_dev", 5, "high"), "finite numbers in y_dev of h.csv, found high in run 0005; correct the value"),
        (put("y_dev", 5, np.inf), "finite numbers in y_dev of h.csv, found inf in run 0005; correct the value or drop"),
        (put("run_id", 5, "0001"), "each run_id once in h.csv, found 0001 2 times; keep one row per run."),
        (put("run_id", 5, None), "a run_id in every row of h.csv, found none in row 6; name each run."),
        (lambda f: put("n_samples", 5, 0)(f.assign(n_samples=9)), "n_samples of at least 1 in h.csv, found 0 in run"),
        (lambda f: put("n_samples", 5, 1e16)(f.assign(n_samples=9.0)), "n_samples of at most 1e+15 in h.csv, found 1e"),
        (lambda f: put("n_samples", 5, "many")(f.assign(n_samples=9)), "finite numbers in n_samples of h.csv, found m"),
        (lambda f: put("n_samples", 5, np.nan)(f.assign(n_samples=9)), "finite numbers in n_samples of h.csv, found n"),
        (lambda f: f.drop(columns="run_id"), "the columns run_id in h.csv, found only seed, w_math"),
        (lambda f: f.drop(columns=["w_math", "w_safety"]), "the columns w_* in h.csv, found only run_id, seed"),
        (lambda f: f[["run_id", "w_math", "w_safety"]], "the columns y_* in h.csv, found only run_id, w_math"),
        (lambda f: f.drop(columns="w_math"), "two or more w_ columns in h.csv, found only w_safety; add the others."),
        (lambda f: f.head(19), "at least 20 runs in h.csv, found 19; add runs."),
    ],
)  # fmt: skip
def test_bad_histories_are_refused(frame, change, sentence):
    """Each fault is told in one sentence: expected, found, what to do."""
    with pytest.raises(InputError) as caught:
        check_history(change(frame), "h.csv")
    text = str(caught.value)
    assert text.startswith("Expected ") and sentence in text and "; " in text and "\n" not in text


def test_files_round_trip(frame, tmp_path):
    """A written history reads back to six digits, its run_id as the text it was."""
    path = tmp_path / "new" / "history.csv"
    frame["run_id"] = [f"{i}e{i}" for i in range(10, 34)]
    write_table(path, frame)
    history = read_history(path)
    assert history.frame["run_id"].tolist() == frame["run_id"].tolist()
    np.testing.assert_allclose(history.y("y_dev"), frame["y_dev"], rtol=1e-5)
    assert path.read_bytes().count(b"\r") == 0


def test_a_part_of_a_history_keeps_its_numbers_to_the_last_digit():
    """Weights that sum to 1 but for six digits are divided once, whether or not there are other parts beside them."""
    T = np.random.default_rng(0).dirichlet(np.ones(5), 48).round(6)
    frame = pd.DataFrame(T, columns=[f"w_{d}" for d in "abcde"]).assign(run_id=[f"{i}" for i in range(48)], y_dev=0.5)
    frame["part"] = np.repeat(["design", "confounded"], 24)
    alone, whole = check_history(frame[:24]), check_history(frame)
    assert alone.frame.to_csv() == whole.parts(["design"]).frame.to_csv()


def test_a_part_remembers_the_whole(frame):
    """Some runs of a history know all of them."""
    history = check_history(frame)
    part = replace(history, frame=history.frame.head(5), covariates=())
    assert history.whole is history.frame and part.whole is history.frame and len(part) == 5


def test_a_run_may_be_called_na(frame, tmp_path):
    """pandas reads such names as missing; an empty one is."""
    for name, told in (("NA", None), ("null", None), ("", "found none in row 3")):
        write_table(tmp_path / "h.csv", put("run_id", 2, name)(frame))
        if told is None:
            assert read_history(tmp_path / "h.csv").frame["run_id"][2] == name
        else:
            with pytest.raises(InputError, match=told):
                read_history(tmp_path / "h.csv")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b,a\n1,2,3\n", "Expected each column once in t.csv, found a again; rename or remove one."),
        ("a,b\n1,2,3\n4,5,6\n", "Expected a CSV table in t.csv, found .*Expected 2 fields in line 2, saw 3"),
        ("a,b\n1,2,3\n4,5\n", "Expected a CSV table in t.csv, found .*Expected 2 fields in line 2, saw 3"),
    ],
)
def test_headers_that_do_not_fit_are_refused(tmp_path, text, sentence):
    """A repeated name, and more cells than names, would otherwise shift or rename columns in silence."""
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_table(tmp_path / "t.csv")


def test_failed_write_leaves_the_old_table(frame, tmp_path):
    """A write that dies half-way changes nothing and leaves nothing behind."""

    class Bomb:
        def __str__(self):
            raise RuntimeError("disk on fire")

    path = tmp_path / "history.csv"
    write_table(path, frame)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="disk on fire"):
        write_table(path, frame.assign(seed=[*range(23), Bomb()]))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_unreadable_tables(tmp_path):
    """A missing file, an empty one and one that is no table are errors of the input."""
    with pytest.raises(InputError, match="found no such file"):
        read_history(tmp_path / "none.csv")
    for name, content in (("empty.csv", b""), ("ragged.csv", b"a\n1,2\n1,2,3\n"), ("binary.csv", b"\xff\xfe\x00")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"Expected a CSV table in {name}"):
            read_table(tmp_path / name)


@pytest.mark.parametrize(("start", "what"), [(b"PK\x03\x04", "a spreadsheet"), (b"PAR1\x15", "Parquet")])
def test_what_is_no_text_is_called_what_it_is(tmp_path, start, what):
    """Whatever its name says."""
    (tmp_path / "sweep.csv").write_bytes(start + bytes(range(256)))
    with pytest.raises(InputError, match=f"as text in sweep.csv, found that it is {what}"):
        read_table(tmp_path / "sweep.csv", None)


def test_schemas_are_checked_by_file_name(frame, tmp_path):
    """A table of a known name must have that table's columns, besides those asked for."""
    write_table(tmp_path / "mixtures.csv", pd.DataFrame({"method": ["equal"], "pool": ["tiny"], "w_math": [1.0]}))
    with pytest.raises(InputError, match="the columns predicted_gain, gain_ci_low, .* in mixtures.csv"):
        read_table(tmp_path / "mixtures.csv")
    write_table(tmp_path / "other.csv", frame)
    assert len(read_table(tmp_path / "other.csv", required=["y_dev"])) == 24
    with pytest.raises(InputError, match="the columns z in other.csv"):
        read_table(tmp_path / "other.csv", required=["z"])


def test_study_names_stay_below_results():
    """A study's name cannot lead out of the results folder."""
    assert results_dir("laptop").name == "laptop"
    for name in ("", "..", "a/b", "/tmp"):
        with pytest.raises(InputError, match="plain name"):
            results_dir(name)
