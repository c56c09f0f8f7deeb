"""Sentences of the first chapters: each turns round with what it tells, in the box above and in solutions below."""

import re
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from chapter_cells import NOTEBOOKS, said

from causalmix.book import words
from causalmix.data import summaries
from causalmix.effects.simulate import simulate_history
from causalmix.methods import policy
from causalmix.train import audit

CHECKED = ["01_featurize", "02_proxy_sft", "03_outcomes", "04_effects", "05_mixture"]


def test_what_scores_see_is_said_of_each_domain():
    """A sign that turns round, or goes, takes its domain elsewhere; no domain is said to be seen where none is."""
    checks = pd.DataFrame(
        {"domain": ["math", "code", "safety"], "style_auc": [0.9, 0.2, 0.55], "loss_auc": [0.7, 0.5, 0.3],
         "loss_level_rank_correlation": [0.3, 0.0, -0.2], "hes_level_rank_correlation": [0.0, 0.05, 0.0]}
    )  # fmt: skip
    told = words.sight(checks)
    assert "in math wrong rows are those of sloppy writers; in code they are those of polished ones" in told
    assert "in safety it says nothing" in told and "HES rises in none, and falls in none." in told
    assert "As rows get harder, Normalized_Loss rises in math, and falls in safety;" in told
    turned = words.sight(checks.assign(style_auc=[0.1, 0.8, 0.9]))
    assert "in code and safety wrong rows are those of sloppy" in turned and "says nothing." not in turned


def of_outcomes(movement, reliability, values=(0.2, 0.3, 0.6), base=0.25):
    """What chapter 3 says of outcomes, and in its box."""
    names = {"audit": SimpleNamespace(movement=lambda *_: movement), "history": pd.DataFrame({"y_dev": values})}
    told = {"outcome_names": None, "reliability": reliability, "base": {"y_dev": base}, "words": words}
    return said("03_outcomes", "in_short.answer", **names, **told)


def test_an_outcome_that_is_stuck_or_noisy_is_named():
    """The chapter's main failure mode is told where it is there, and not where it is not."""
    movement = pd.DataFrame({"outcome": ["y_dev", "y_math"], "spread": [0.3, 0.03]})
    reliability = pd.DataFrame(
        {"outcome": ["y_dev", "y_math"], "reliability": [0.95, 0.04], "ci_low": [0.9, -0.1], "ci_high": [0.98, 0.26]}
    )
    told = of_outcomes(movement, reliability)
    assert "less than 0.1: `y_math`." in told and "noise as signal of `y_math` (0.04 [-0.10, 0.26])" in told
    sound = of_outcomes(movement.assign(spread=0.2), reliability.assign(ci_low=0.6))
    edge = of_outcomes(movement.assign(spread=0.2375 - 0.1375), reliability)  # shown as 0.100, a hair less as a float
    assert "Every outcome moves by 0.1 or more" in edge
    assert "Every outcome moves" in sound and "more signal than noise of every outcome" in sound


@pytest.mark.parametrize(("base", "count"), [(0.7, "None of the 3"), (0.1, "All of the 3"), (0.45, "1 of the 3")])
def test_runs_are_counted_against_their_base(base, count):
    """Whether fine-tuning helped or harmed is the first thing said; an unknown base is said to be unknown."""
    assert words.above_base(pd.Series([0.3, 0.4, 0.5]), base).startswith(count)
    assert "is not known" in words.above_base(pd.Series([0.3]), float("nan"))


def test_what_the_mixture_explains_has_its_interval():
    """The covariate that is explained most after mixing, by the large-sample interval of its share."""
    names = {"covariate": ["x_a", "x_b"], "measured_before_mixing": [0.01, -0.02], "measured_after_mixing": [0.36, 0.1]}
    told = said("01_featurize", "in_short.answer", overlap=pd.DataFrame(names), n_states=100)
    assert "up to 36% [21%, 51%] of a covariate's variance (`x_a`); measured before, at most 1%" in told


def test_the_box_of_outcomes_turns_with_reliability_and_base():
    """A noisy outcome, or a base that no run reaches, is what a reader takes away."""
    table = pd.DataFrame({"outcome": ["y_dev"], "reliability": [0.9], "ci_low": [0.8], "ci_high": [0.95]})
    still = pd.DataFrame({"outcome": ["y_dev"], "spread": [0.4]})
    sure, noisy = of_outcomes(still, table), of_outcomes(still, table.assign(ci_low=0.1), base=0.9)
    assert " 2 of the 3" in sure and "**90%** [80%, 95%]" in sure and sure.endswith("can be read.")
    assert " None of the 3" in noisy and noisy.endswith("more noise than signal.")


def test_the_box_of_effects_turns_with_its_splits():
    """Better, worse and open are told apart, and without covariates there is nothing to follow."""
    gaps, straight = pd.Series([0.02, 0.021, 0.019, 0.02, 0.022]), SimpleNamespace(response="log")
    fits, meet = dict.fromkeys(("forest", "linear", "bayesian"), straight), pd.DataFrame({"meet": [True, False, True]})
    met = said("04_effects", "There is no other final stage", fits=fits, stages=meet)
    assert met.endswith("of the final stages forest, linear and bayesian meet in 2.") and met.startswith("Of 3 gains")
    tell = lambda ahead, varying=(0,): said(  # noqa: E731
        "04_effects", "in_short.answer", in_words="It raises y.", ahead=ahead, ratio=1 / 7, met=met,
        model=SimpleNamespace(varying=varying),
    )  # fmt: skip
    assert "predict runs that were left out better" in tell(gaps) and "left out worse" in tell(-gaps)
    assert "do not settle" in tell(gaps - gaps.mean()) and "cannot follow" in tell(gaps, ())
    assert tell(gaps).endswith(met)


def test_a_bend_is_told_where_it_parts_the_stages():
    """What the stages say of each other where the Bayesian one is held to the others' response."""
    bent, tried = SimpleNamespace(response="smooth", note="It bends."), []
    names = {
        "fits": {"forest": None, "bayesian": bent}, "typical": {}, "runs": None, "outcome": "y_dev", "seed": 0,
        "estimator": SimpleNamespace(fit_effects=lambda *_, responses, **__: tried.append(responses) or "straight"),
        "diagnostics": SimpleNamespace(agreement=lambda fits, _: {"meet": np.full(3, fits["bayesian"] != bent)}),
    }  # fmt: skip
    apart = pd.DataFrame({"meet": [True, False, True]})
    told = said("04_effects", "There is no other final stage", stages=apart, **names)
    assert told.endswith("It bends. Held to logarithms, that stage's intervals meet the others' in 3.")
    assert tried == [("log",)]
    together = said("04_effects", "There is no other final stage", stages=pd.DataFrame({"meet": [True]}), **names)
    assert "It bends" not in together


def test_the_box_of_the_mixture_turns_with_its_evidence():
    """Equal is said to stay where it stays, and a gain that no run backs is said to rest on a form."""
    row = {"method": "Cautious", "predicted_gain": 0.05, "gain_ci_low": 0.02, "gain_ci_high": 0.08, "in_support": True}
    runs = SimpleNamespace(domains=("math", "code"), y=lambda _: np.array([0.2, 0.6]))
    names = {
        "careful": policy.Proposal(np.array([0.25, 0.75])), "runs": runs,
        "outcome": "y_dev",
    }  # fmt: skip
    tell = lambda equal=True, **changes: said(  # noqa: E731
        "05_mixture", "in_short.answer", mixtures=pd.DataFrame([row | {"gain_rows": 500} | changes]),
        base=SimpleNamespace(in_support=equal), **names,
    )  # fmt: skip
    assert "takes 25% math, 75% code, and expects **+5.0** [+2.0, +8.0] points" in tell() and "rests on them" in tell()
    assert "only training can tell" in tell(in_support=False) and "lie near equal shares, so" in tell(equal=False)
    assert "no evidence for moving" in tell(predicted_gain=0.0, gain_ci_low=0.0, gain_ci_high=0.0)


@pytest.mark.parametrize(("inside", "word"), [("no", "1 lies outside of"), ("yes", "0 lie outside of")])
def test_the_box_of_long_chains_says_how_far_its_records_reach(inside, word):
    """Where the new state is beyond the runs', the box says what to do instead; else it does not."""
    where = pd.DataFrame({"inside_the_range": ["yes", inside]})
    group = {"pool": ["long-CoT"], "model": "longcot", "n_samples": 50, "method": "CausalMix-A"}
    compared = pd.DataFrame(group | {"difference": -0.1, "difference_low": -0.2, "difference_high": -0.05})
    names = {"compared": compared, "table": compared, "claimed": pd.DataFrame({"verdict": ["does not hold"]})}
    told = said("07_longcot", "in_short.answer", done=[1], where=where, **names)
    assert "is -10.0 points [-20.0, -5.0] against Equal (model of long chains, 50 rows)" in told
    assert f"Of 2 scores of the new pool {word}" in told and ("safer ground" in told) == (inside == "no")


def test_the_box_of_known_truth_compares_stages_in_the_same_worlds():
    """A world in which one stage alone was tried says nothing of the others; without a table, that is said."""
    rows = [("easy", "forest", 0.9), ("easy", "linear", 0.8), ("hard", "forest", 0.2)]
    table = pd.DataFrame(rows, columns=["world", "stage", "cover_theta"]).assign(n=512)
    told = said("11_known_truth", "in_short.answer", measured=table)
    assert "over 1 kind of worlds in which all stages" in told and "**90%** of cases by the forest stage, 90%" in told
    assert "not in this copy" in said("11_known_truth", "in_short.answer", measured=table.iloc[:0])


def test_the_solution_on_a_larger_sample_follows_the_shares():
    """It says that little moves where little does, and something else where a share moves."""
    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.ones(3), 200)
    before, noise = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
    after, larger = before + mixtures[:, :1] + noise, before + 9 * mixtures[:, :1]
    overlap = summaries.overlap_table(before, after, mixtures)
    names = {"overlap": overlap, "before": before, "mixtures": mixtures, "n_samples": 100, "seed": 0, "world": None,
             "tilts": None, "candidates": 10}  # fmt: skip

    def tell(then):
        fake = SimpleNamespace(measure_states=lambda *_: (before, then), overlap_table=summaries.overlap_table)
        return said("01_featurize", "_, larger =", summaries=fake, **names)

    assert "little noise to take away" in tell(after) and "No share moves by more than 0.00" in tell(after)
    assert "averages out" in tell(larger) and "little noise" not in tell(larger)


def test_the_solution_on_few_specifications_follows_their_reliability():
    """Its interval is that of the package on the first four, and its width beside the whole panel's."""
    rng = np.random.default_rng(0)
    spec = np.repeat(np.arange(12), 4)
    panel = pd.DataFrame({"spec": spec, "y_dev": 0.05 * (spec % 2) + rng.normal(0, 0.05, len(spec))})
    found = pd.Series(audit.reliability(panel["spec"], panel["y_dev"]))
    few = audit.reliability(spec[:16], panel["y_dev"][:16])
    told = said("03_outcomes", "few = audit.reliability", panel=panel, found=found)
    ratio = (few["ci_high"] - few["ci_low"]) / (found["ci_high"] - found["ci_low"])
    assert f"[{few['ci_low']:.2f}, {few['ci_high']:.2f}]" in told and f"{ratio:.1f} times as wide" in told


def test_the_solution_on_signs_follows_the_returns():
    """Turned-around returns turn the shares of A; where none is positive it keeps Equal, and says so."""
    runs = simulate_history(n=20, seed=0).history
    theta = np.array([0.02, -0.01, 0.01, -0.03, 0.0])
    names = {"theta": theta, "runs": runs, "n_candidates": 500, "top": 5, "model": SimpleNamespace(eps=0.01), "seed": 0}
    told = said("05_mixture", "Returns turned around", **names)
    assert "Returns turned around: A proposes 25% instruction, 75% knowledge; S proposes" in told
    assert "A proposes 20% coding, 20% instruction" in told and "so the reference mixture is kept" in told


CLAIMS = (
    r"\d|\b(?:narrow|wid|larg|small|high|low|ris|fall|shrink|grow|more than|less than|better|worse)(?:er|e?s|ing)?\b"
)


@pytest.mark.parametrize("chapter", CHECKED)
def test_a_solution_that_states_a_number_or_a_direction_is_code(chapter):
    """What is left as prose explains; a quantity in it would be checked by nobody."""
    cells = nbformat.read(NOTEBOOKS / f"{chapter}.ipynb", 4).cells
    prose = "\n".join(cell.source if cell.cell_type == "markdown" else "CODE" for cell in cells)
    solutions = re.findall(r"```\{solution-start\}[^\n]*\n.*?```\n(.*?)```\{solution-end\}", prose, re.S)
    assert len(solutions) == prose.count("{exercise-start}") > 1
    told = [text for text in solutions if "CODE" not in text]
    assert [text for text in told if re.search(CLAIMS, text)] == []


@pytest.mark.parametrize("chapter", CHECKED)
def test_every_box_is_answered(chapter):
    """It stands under the question, before anything else, and one later cell fills it."""
    cells = nbformat.read(NOTEBOOKS / f"{chapter}.ipynb", 4).cells
    assert "takeaway.place()" in cells[1].source and cells[0].source.rstrip().endswith("?")
    (answer,) = [cell for cell in cells if "in_short.answer(" in cell.source]
    assert "results" in answer.metadata.tags


@pytest.mark.parametrize(("lost", "word"), [(0.2, "knows **less** of"), (-0.2, "knows **more** of")])
def test_the_box_of_ablations_turns_with_what_a_part_is_worth(lost, word):
    """Without a part that helps the method knows less, without one that harms it knows more."""
    splits = pd.DataFrame({"split": range(10), "fitted": 400, "held_out": 100, "spearman": 0.5})
    noise = np.random.default_rng(0).normal(0, 0.005, 10)
    parts = {"full": splits.assign(r_score=0.5), "without X": splits.assign(r_score=0.5 - lost + noise)}
    scores = pd.concat([part.assign(variant=name) for name, part in parts.items()], ignore_index=True)
    told = said("08_ablations", "in_short.answer", scores=scores, others=["without X"], curve=None)
    assert told.startswith("Without X the method") and word in told and f"({-lost:+.2f}"[:4] in told
