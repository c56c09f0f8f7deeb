"""The explorer: its page shows the package's own numbers, moves by keyboard, fits a phone, and stays small."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from browser import ask
from test_book import needs_chromium

from causalmix.book import explorer
from causalmix.core.history import check_history
from causalmix.core.paths import ROOT
from causalmix.core.study_file import read_study
from causalmix.effects.estimator import fit_effects
from causalmix.effects.simulate import simulate_history
from causalmix.methods.cautious import cautious
from causalmix.methods.limits import limits

ASSETS = ROOT / "book" / "_assets"
#: Sets the sliders to one state and reads what the page then shows of it.
LOOK = """
  const sliders = [...document.querySelectorAll('.explorer input')];
  const look = (at) => {
    at.forEach((value, j) => { sliders[j].value = value; sliders[j].dispatchEvent(new Event('input')); });
    const cells = [...document.querySelectorAll('.explorer table.same tbody tr')].map(
      (row) => [...row.children].map((cell) => cell.textContent));
    const near = [...document.querySelectorAll('.explorer table.runs td')].map((cell) => cell.textContent);
    return { cells, near, verdict: document.querySelector('.verdict').textContent };
  };
"""


def numbers(text):
    return [float(n.replace("\N{MINUS SIGN}", "-")) for n in re.findall(r"[+\N{MINUS SIGN}]?\d+\.\d+", text)]


@pytest.fixture(scope="module")
def sizes():
    """A history in which the rows of a training set differ."""
    frame = simulate_history(n=160, covariates=("difficulty", "style"), seed=3).history.frame
    return check_history(frame.assign(n_samples=np.where(frame["seed"] % 2, 500, 4000)))


@pytest.fixture(scope="module")
def made(sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explorer, "LEVELS", 3)
        return explorer.table(sizes)


@pytest.fixture(scope="module")
def page(made, sizes, tmp_path_factory):
    """Address of a page with the explorer and nothing else."""
    folder = tmp_path_factory.mktemp("explorer")
    explorer.publish(made, sizes, "y_dev", folder / "_static")
    for path in ASSETS.glob("explorer.*"):
        shutil.copy(path, folder / "_static")
    (block,) = re.findall(r"```\{raw\} html\n(.*?)```", (ROOT / "book" / "explore.md").read_text(), re.S)
    head = '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>x</title>'
    (folder / "explore.html").write_text(f"{head}<body><article><h1>x</h1>{block}</article>", encoding="utf-8")
    return (folder / "explore.html").as_uri()


@needs_chromium
def test_the_page_shows_what_the_package_says_at_ten_states(page, made, sizes):
    """Returns, intervals, shares and the gain over Equal, each as it would round."""
    levels = [np.sort(made[f"x_{name}"].unique()) for name in sizes.covariates]
    states = np.random.default_rng(1).permutation(list(np.ndindex(*map(len, levels))))[:10]
    told = ask(page, f"{LOOK} return {states.tolist()}.map(look);")
    model = fit_effects(sizes, "y_dev", "bayesian")
    allowed = limits(np.full(5, 0.2), trust_region="tv", radius=1.0)
    for at, shown in zip(states, told, strict=True):
        x = np.array([values[i] for i, values in zip(at, levels)])
        found, (low, high) = cautious(model, x, allowed), model.interval(x)
        expected = np.column_stack([model.theta(x)[0], low[0], high[0], 100 * found.best])
        seen = np.array([numbers(" ".join(cells[1:])) for cells in shown["cells"]])
        digits = len(shown["cells"][0][1].split(".")[1])
        assert np.abs(seen[:, :3] - expected[:, :3]).max() < 0.51 * 10**-digits  # six digits are in the table
        assert np.abs(seen[:, 3] - expected[:, 3]).max() < 0.051
        gain = [found.gain, found.low, found.high]
        assert np.abs(np.subtract(numbers(shown["verdict"])[:3], gain)).max() < 0.51 * 10**-digits
        near = [float(cell.strip("%")) for cell in shown["near"]]
        assert near == [float(f"{value:.3g}") for value in near]
        assert ("keep Equal" in shown["verdict"]) == (not found.evidence)


@needs_chromium
def test_a_size_has_a_slider_where_runs_differ_in_it(page):
    """Two covariates and the rows; the two sizes are told as rows, not as logarithms."""
    script = """const found = [...document.querySelectorAll('.explorer label')];
      const rows = found[2].querySelector('input'); rows.value = 0; rows.dispatchEvent(new Event('input'));
      return found.map((label) => label.textContent);"""
    difficulty, style, rows = ask(page, script)
    assert difficulty.startswith("difficulty ") and style.startswith("style ") and rows.startswith("rows 500, above 0%")


@needs_chromium
def test_a_phone_shows_all_of_it_and_a_script_less_reader_a_figure(page):
    """No page is wider than its window; each slider has a name and tells its value in words."""
    script = """return [document.documentElement.scrollWidth, document.querySelectorAll('.explorer svg text').length,
      [...document.querySelectorAll('.explorer input')].every(
        (one) => one.labels.length && one.getAttribute('aria-valuetext').includes('of the runs')),
      document.querySelector('noscript').innerHTML.includes('explorer.png')]"""
    width, texts, named, figure = ask(page, script, width=390, dark=True)
    assert (width, texts) == (390, 22)
    assert named and figure


def test_what_the_page_loads_is_small(tmp_path):
    """Script, style and the table of the book's own study, if there is one."""
    path = ROOT / "results" / "laptop" / explorer.TABLE
    history = explorer.read_history(path.with_name("history.csv")).parts(read_study("laptop").of("mixture").parts)
    explorer.publish(pd.read_csv(path), history, "y_dev", tmp_path)
    loaded = [*ASSETS.glob("explorer.*"), tmp_path / "explorer_data.js"]
    assert sum(len(file.read_bytes()) for file in loaded) <= 60_000
    assert not re.search(r"fetch|import\b|XMLHttp|https?://(?!www\.w3\.org)", (ASSETS / "explorer.js").read_text())


def test_more_sizes_leave_fewer_places(sizes):
    """The table keeps to its room, and a slider that has one place left stays at the median."""
    few = [len(values) for values in explorer.grid(sizes, room=29 * 12)]
    assert few[-1] == 2 and np.prod(few) <= 12
    assert [values.tolist() for values in explorer.grid(sizes, room=1)][0] == [
        pytest.approx(np.median(sizes.X[:, 0]), rel=1e-3)
    ]


def test_a_state_beyond_the_runs_is_called_so(made, sizes):
    """The middle of the runs is seen; a grid that reaches past them says so."""
    assert made.iloc[len(made) // 2]["seen"]
    far = explorer.neighbours(sizes.X, sizes.X.mean(axis=0)[None] + 9)
    assert far[0] > 0.95
