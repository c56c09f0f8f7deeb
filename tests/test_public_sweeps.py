"""The published sweeps: their schema, their fetching, and how well RegMix orders its held-out mixtures."""

import hashlib
import io
import urllib.error
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected

import fetch_sweeps
import numpy as np
import pandas as pd
import predictors
import pytest
from scipy.stats import spearmanr

from causalmix.core.errors import InputError
from causalmix.core.history import check_history, read_history
from causalmix.effects import public_sweeps
from causalmix.methods.baselines import regmix

DOMAINS = ("arxiv", "pile_cc", "github")
VALIDATED = ("arxiv", "pile_cc")


def files(n=24):
    """Small files of the published schema, as text by name."""
    rng, made = np.random.default_rng(0), {}
    for part, scales in fetch_sweeps.PARTS.items():
        for scale in scales:
            index = np.arange(1, n + 1)
            T = pd.DataFrame(rng.dirichlet(np.ones(3), n).round(3), index, [f"train_the_pile_{d}" for d in DOMAINS])
            names = [f"metric/the_pile_{d}_val_loss" for d in VALIDATED]
            losses = pd.DataFrame(rng.uniform(2, 7, (n, 2)), index, names)
            made[f"regmix_{part}_mixture_{scale}.csv"] = T.to_csv(index_label="index")
            made[f"regmix_{part}_pile_loss_{scale}.csv"] = losses.to_csv(index_label="index")
    named = pd.DataFrame({"run": [f"r{i}" for i in range(n)], "name": "olmix", "index": range(n)})
    tasks = [f"{begin}{i}" for family in fetch_sweeps.FAMILIES.values() for begin in family for i in range(2)]
    ratios = pd.DataFrame(rng.dirichlet(np.ones(3), n), columns=["games", "health", "politics"])
    made["olmix_dclm_ratios.csv"] = pd.concat([named, ratios], axis=1).to_csv()
    metrics = pd.DataFrame(rng.uniform(1, 4, (n, len(tasks))), columns=tasks)
    made["olmix_dclm_metrics.csv"] = pd.concat([named, metrics], axis=1).to_csv()
    return made


@pytest.fixture
def small(monkeypatch, tmp_path):
    """An empty cache, no user's folder, no network, and the checksums of the small files."""
    made = files()
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in made.items()}
    monkeypatch.setattr(fetch_sweeps, "SHA256", sums)
    monkeypatch.setenv("CAUSALMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(fetch_sweeps.LOCAL, raising=False)

    monkeypatch.setattr(fetch_sweeps.urllib.request, "urlopen", offline)
    return made


@pytest.fixture
def cached(small, tmp_path):
    """The small files in the cache."""
    folder = tmp_path / "cache" / "public_sweeps"
    folder.mkdir(parents=True)
    for name, text in small.items():
        (folder / name).write_bytes(text.encode())
    return folder


def test_a_table_is_a_history_in_which_higher_is_better(cached, small):
    """Rounded weights sum to 1, outcomes are minus the losses, y_dev is their mean."""
    frame = fetch_sweeps.regmix_history()
    history = check_history(frame)
    assert history.domains == DOMAINS and history.covariates == () and history.axes == VALIDATED
    assert frame[[f"w_{d}" for d in DOMAINS]].sum(axis=1).to_numpy() == pytest.approx(np.ones(24), abs=1e-12)
    losses = pd.read_csv(io.StringIO(small["regmix_train_pile_loss_1m.csv"]))
    assert frame["y_pile_cc"].to_numpy() == pytest.approx(-losses["metric/the_pile_pile_cc_val_loss"].to_numpy())
    assert frame["y_dev"].to_numpy() == pytest.approx((frame["y_arxiv"] + frame["y_pile_cc"]).to_numpy() / 2)


def test_scales_are_stacked_with_the_size_as_a_covariate(cached):
    """Three sizes, distinct run_ids."""
    history = check_history(fetch_sweeps.regmix_scales())
    assert len(history) == 72 and history.covariates == ("log2_model_size",)
    assert sorted(set(2 ** history.X[:, 0])) == pytest.approx([1e6, 6e7, 1e9])


def test_the_tasks_of_olmix_become_one_mean_and_one_of_each_family(cached, small):
    """Bits per byte turned to higher is better; every task counts once in the mean and in one family."""
    frame = fetch_sweeps.olmix_dclm()
    history = check_history(frame)
    assert history.domains == ("games", "health", "politics") and history.axes == tuple(fetch_sweeps.FAMILIES)
    tasks = pd.read_csv(io.StringIO(small["olmix_dclm_metrics.csv"])).iloc[:, 4:]
    assert frame["y_dev"].to_numpy() == pytest.approx(-tasks.mean(axis=1).to_numpy())
    math = [name for name in tasks if name.startswith("minerva_math_")]
    assert len(math) == 2 and frame["y_math"].to_numpy() == pytest.approx(-tasks[math].mean(axis=1).to_numpy())


def test_files_are_written_as_histories(cached, monkeypatch, tmp_path):
    """Under the names by which the package reads them."""
    monkeypatch.setattr("sys.argv", ["fetch_sweeps.py", "--out", str(tmp_path / "out")])
    fetch_sweeps.main()
    written = [tmp_path / "out" / f"{name}.csv" for name in public_sweeps.SWEEPS]
    assert [len(read_history(p)) for p in written] == [24, 72, 24]


def test_offline_without_a_copy_names_the_file_and_the_folder(small, tmp_path):
    """Both, so that it can be put there."""
    with pytest.raises(InputError) as refused:
        fetch_sweeps.find("regmix_train_mixture_1m.csv")
    told = str(refused.value)
    assert "regmix_train_mixture_1m.csv" in told and str(tmp_path / "cache" / "public_sweeps") in told


def test_a_file_is_fetched_once_from_the_pinned_commit(small, monkeypatch):
    """Its name there has no prefix; the second time no network is asked."""
    asked = []

    def urlopen(url, timeout):
        asked.append((url, timeout))
        return io.BytesIO(small["regmix_" + url.rsplit("/", 1)[1]].encode())

    monkeypatch.setattr(fetch_sweeps.urllib.request, "urlopen", urlopen)
    path = fetch_sweeps.find("regmix_test_mixture_1B.csv")
    assert fetch_sweeps.find("regmix_test_mixture_1B.csv") == path
    assert path.read_text() == small["regmix_test_mixture_1B.csv"] and len(asked) == 1
    url, timeout = asked[0]
    assert url.endswith(f"sail-sg/regmix/{fetch_sweeps.COMMITS['regmix']}/data/test_mixture_1B.csv") and timeout == 20


@pytest.mark.parametrize(
    "error", [IncompleteRead(b"half", 9), BadStatusLine("nonsense"), RemoteDisconnected("gone"), TimeoutError()]
)
def test_a_broken_connection_gets_one_sentence(small, monkeypatch, error):
    """Wherever it breaks."""

    def urlopen(url, timeout):
        raise error

    monkeypatch.setattr(fetch_sweeps.urllib.request, "urlopen", urlopen)
    with pytest.raises(InputError, match=r"found neither \(.+\); go online"):
        fetch_sweeps.find("regmix_test_mixture_1B.csv")


def test_a_changed_file_is_refused_wherever_it_comes_from(cached, monkeypatch):
    """In the cache, and from the network, which then leaves nothing behind."""
    name = "regmix_train_mixture_1m.csv"
    (cached / name).write_text("changed")
    with pytest.raises(InputError, match="Expected SHA-256"):
        fetch_sweeps.find(name)
    (cached / name).unlink()
    monkeypatch.setattr(fetch_sweeps.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"changed"))
    with pytest.raises(InputError, match="Expected SHA-256"):
        fetch_sweeps.find(name)
    assert not (cached / name).exists()


def test_the_users_folder_comes_first(cached, small, monkeypatch, tmp_path):
    """Before the cache."""
    name = "regmix_train_mixture_1m.csv"
    (tmp_path / name).write_bytes(small[name].encode())
    monkeypatch.setenv(fetch_sweeps.LOCAL, str(tmp_path))
    assert fetch_sweeps.find(name) == tmp_path / name


def test_unknown_names_files_and_schemas_are_refused(cached, monkeypatch):
    """A file, a table that was never published, a file without its columns, two that do not match."""
    with pytest.raises(InputError, match="Expected a file among"):
        fetch_sweeps.find("../secret.csv")
    with pytest.raises(InputError, match="Expected one of train at 1m"):
        fetch_sweeps.regmix_history("60m", "train")

    def replaced(name, content):
        (cached / name).write_bytes(content)
        monkeypatch.setitem(fetch_sweeps.SHA256, name, hashlib.sha256(content).hexdigest())

    for name, other, read, fewer, foreign in (
        ("regmix_train_pile_loss_1m.csv", b"index,loss\n1,2\n", fetch_sweeps.regmix_history,
         "the same runs in both files", "Expected columns index and metric/the_pile_"),
        ("olmix_dclm_metrics.csv", b",run,loss\n0,a,2\n", fetch_sweeps.olmix_dclm,
         "the same runs in both files of olmix", "Expected run, name and index in olmix_dclm_metrics"),
    ):  # fmt: skip
        whole = (cached / name).read_bytes()
        for content, told in ((b"\n".join(whole.splitlines()[:-1]), fewer), (other, foreign)):
            replaced(name, content)
            with pytest.raises(InputError, match=told):
                read()


def offline(*_, **__):
    raise urllib.error.URLError("tests fetch nothing")


@pytest.mark.parametrize(("name", "shape"), [("regmix_1m", (512, 17, 13)), ("regmix_scales", (576, 17, 13)),
                                             ("olmix_dclm", (127, 24, 7))])  # fmt: skip
def test_the_committed_histories_are_those_that_the_command_writes(name, shape, monkeypatch):
    """Read without a network; where the publishers' files are at hand, the same to the six digits that are kept."""
    monkeypatch.setattr(fetch_sweeps.urllib.request, "urlopen", offline)
    history = public_sweeps.published(name)
    assert (len(history), len(history.domains), len(history.axes)) == shape
    assert (history.frame[list(history.outcomes)] < 0).all(axis=None)
    try:
        made = check_history(fetch_sweeps.HISTORIES[name]())
    except InputError as error:
        if "found neither" not in str(error):
            raise
        pytest.skip("the publishers' files are not here")
    numbers = [c for c in made.frame if c.startswith(("w_", "x_", "y_"))]
    assert list(history.frame["run_id"]) == list(made.frame["run_id"])
    assert history.frame[numbers].to_numpy() == pytest.approx(made.frame[numbers].to_numpy(), rel=6e-6, abs=6e-6)


def test_what_is_committed_is_small_and_names_its_licences():
    """Under 600 KB, each file in the list, and both licences in full."""
    folder = public_sweeps.FOLDER
    told = (folder / "README.md").read_text()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 600_000
    assert {path.stem for path in folder.glob("*.csv")} == set(public_sweeps.SWEEPS)
    assert all(name + ".csv" in told for name in public_sweeps.SWEEPS)
    assert all(commit in told for commit in fetch_sweeps.COMMITS.values())
    assert "Copyright (c) 2024 Sea AI Lab" in told and "permission notice shall be included" in told
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION" in (folder / "LICENSE-Apache-2.0.txt").read_text()


def test_a_sweep_that_is_not_here_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(public_sweeps, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="found no such file; take it from a checkout"):
        public_sweeps.published("regmix_1m")
    with pytest.raises(InputError, match="did you mean olmix_dclm"):
        public_sweeps.published("olmix")


@pytest.fixture(scope="module")
def published():
    """The real sweep, without asking the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch_sweeps.urllib.request, "urlopen", offline)
        try:
            tables = {s: fetch_sweeps.regmix_history(s, "test") for s in fetch_sweeps.PARTS["test"]}
            return fetch_sweeps.regmix_history(), tables
        except InputError as error:
            if "found neither" not in str(error):
                raise
            pytest.skip(f"the published sweep is not here: {error}")


def test_regmix_orders_held_out_mixtures_of_the_published_sweep(published):
    """Spearman's correlation on Pile-CC at the proxies' size and at 60 and 1000 times it; no test row is fitted."""
    train, tests = published
    assert len(train) == 512 and {s: len(t) for s, t in tests.items()} == {"1m": 256, "60m": 256, "1B": 64}
    weights = [c for c in train if c.startswith("w_")]
    predict = regmix.fit(train[weights].to_numpy(), train["y_pile_cc"].to_numpy(), seed=42)
    rho = {s: spearmanr(predict(t[weights].to_numpy()), t["y_pile_cc"])[0] for s, t in tests.items()}
    print({s: round(float(r), 4) for s, r in rho.items()})
    assert rho["1m"] >= 0.985 and rho["60m"] >= 0.975 and rho["1B"] >= 0.93


def test_predictors_are_compared_on_the_committed_sweeps():
    """A ridge on [w, sqrt w] does as well as others measured it; one row for each size, and olmix out of fold."""
    table = predictors.predictors_table(runs=(64, 512), repeats=2, predictors=["ridge on [w, sqrt w]"])
    rho = table.set_index(["sweep", "n", "judged_at"])["spearman"]
    assert len(rho) == 7 and rho["RegMix", 512, "1m"] > rho["RegMix", 64, "1m"] > 0.93
    assert rho["RegMix", 512, "1m"] >= 0.985 and rho["RegMix", 512, "60m"] >= 0.98 and rho["RegMix", 512, "1B"] >= 0.9
    assert rho["olmix DCLM", 127, "out of fold"] >= 0.95
    assert table["error"].isna().tolist() == [False] * 3 + [True] * 3 + [False]


def test_a_predictor_that_refuses_has_no_figure_and_one_that_sees_nothing_none_of_worth(monkeypatch):
    """Too few runs for the one, the same forecast everywhere by the other."""

    def refuses(history, outcome, seed):
        if len(history) < 64:
            raise InputError("Expected more runs, found few; add runs.")
        return lambda T: T[:, 0]

    flat = lambda history, outcome, seed: lambda T: np.zeros(len(T))  # noqa: E731
    monkeypatch.setattr(predictors, "PREDICTORS", {"refuses": refuses, "flat": flat})
    table = predictors.predictors_table(runs=(32,), repeats=1, predictors=["refuses", "flat"])
    few = table[table["n"] == 32].groupby("predictor")["spearman"]
    assert few.get_group("refuses").isna().all() and (few.get_group("flat") == 0).all()
