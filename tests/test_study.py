"""Designs, training of one run, and the history that runs make."""

import json
from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset

from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.core.study_file import Study
from causalmix.data import scored_pools, summaries
from causalmix.data.tiny.shapes import DOMAINS
from causalmix.data.tiny.tasks import tiny_tasks
from causalmix.effects.optimal_design import Belief, Features
from causalmix.train.design import Design, confounded_specs, noise_panel, scale_specs, specs_of
from causalmix.train.ledger import Ledger
from causalmix.train.one_run import train
from causalmix.train.records import history, whole_history

SMALL = Design(pool_rows=600, candidates=60, n_runs=24, n_samples=48, noise_specs=2, noise_seeds=3, scale_runs=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUSALMIX_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("causalmix.data.tiny.tasks.ITEMS", {"dev": 60, "unseen": 30})
        scored_pools.load_world.cache_clear()
        tiny_tasks.cache_clear()
        yield scored_pools.load_world(SMALL.pool_rows, SMALL.pool_seed)
        scored_pools.load_world.cache_clear()
        tiny_tasks.cache_clear()


@pytest.fixture(scope="module")
def records(world):
    specs = specs_of(SMALL, world.name)[:2]
    return [{"run_id": s.run_id, "spec": s.as_dict(), "status": "finished"} | train(s.as_dict()) for s in specs]


def test_equal_designs_give_equal_runs_and_other_seeds_other_runs():
    """A design determines its runs; each run has an identity of its own."""
    ids = [s.run_id for s in specs_of(SMALL, "w")]
    assert ids == [s.run_id for s in specs_of(SMALL, "w")]
    assert len(set(ids)) == 24
    assert not set(ids) & {s.run_id for s in specs_of(replace(SMALL, seed=1), "w")}
    assert not set(ids) & {s.run_id for s in specs_of(SMALL, "another world")}


def test_noise_panel_differs_from_the_study_in_seeds_only():
    """Each panel specification has its remaining seeds, and nothing else changes."""
    specs = specs_of(SMALL, "w")
    panel = noise_panel(SMALL, specs)
    assert len({s.run_id for s in [*panel, *specs]}) == 24 + 2 * 2
    assert {(s.weights, s.state) for s in panel} == {(s.weights, s.state) for s in specs[:2]}


def test_confounded_mixtures_follow_the_state_and_randomized_ones_do_not():
    """Regressing T on the state explains something only where assignment is confounded."""
    shares = {}
    for assignment in ("randomized", "confounded"):
        specs = specs_of(replace(SMALL, n_runs=600, assignment=assignment), "w")
        tilts = np.column_stack([np.ones(600), [s.state for s in specs]])
        weights = np.array([s.weights for s in specs])
        fitted = tilts @ np.linalg.lstsq(tilts, weights, rcond=None)[0]
        shares[assignment] = fitted.var(axis=0).sum() / weights.var(axis=0).sum()
    assert shares["randomized"] < 0.03 < 0.1 < shares["confounded"]


def test_designed_runs_tell_more_than_random_ones_wherever_a_sweep_stops():
    """The reference comes first, in the pool as it is; the first runs are the same whatever their number."""
    shares = dict(zip("abc", (0.7, 0.2, 0.1)))
    made = {a: specs_of(replace(SMALL, n_runs=80, assignment=a, reference=shares), "w", tuple("abc"))
            for a in ("designed", "randomized")}  # fmt: skip
    assert all(specs[0].weights == (0.7, 0.2, 0.1) and specs[0].state == (0, 0, 0) for specs in made.values())
    few = specs_of(replace(SMALL, n_runs=20, assignment="designed", reference=shares), "w", tuple("abc"))
    assert few == made["designed"][:20] and len({s.run_id for s in made["designed"]}) == 80
    places = {
        a: [np.array([getattr(s, name) for s in specs]) for name in ("weights", "state")] for a, specs in made.items()
    }
    features, rng = Features.of(*places["randomized"]), np.random.default_rng(5)
    T, S = rng.dirichlet(np.ones(3), 200), rng.uniform(-1, 1, (200, 3)) * SMALL.widths
    gains = features(T, S) - features(np.array([[0.7, 0.2, 0.1]]), S)
    for n in (10, 20, 40, 80):
        rows = [features(T[:n], S[:n]) for T, S in places.values()]
        designed, random = (Belief.prior(F.shape[1]).given(F).half_width(gains) for F in rows)
        assert designed < 0.9 * random, n


@pytest.mark.parametrize("reference, told", [({"maps": 1.0}, "domain of the reference"), ({"a": 0.4}, "sum of 0.4")])
def test_reference_that_is_no_mixture_of_the_domains_is_refused(reference, told):
    with pytest.raises(InputError, match=told):
        specs_of(replace(SMALL, reference=reference), "w", tuple("abc"))


def test_unknown_assignment_and_study_are_refused():
    """One sentence each, naming what is possible."""
    with pytest.raises(InputError, match="randomized, designed or confounded"):
        specs_of(replace(SMALL, assignment="random"), "w")
    with pytest.raises(InputError, match="laptop"):
        Design.of_study("lapdog")


def test_a_run_trains_scores_and_measures(records):
    """A run has an accuracy for each task and its covariates before and after mixing."""
    for record in records:
        assert set(record["scores"]) == {t.name for t in tiny_tasks()}
        assert all(0 <= v <= 1 for v in record["scores"].values())
        assert len(record["covariates"]) == 6
        assert record["training"]["tokens"] > 500


def test_the_same_spec_trains_to_the_same_scores(records):
    """Training again from the spec alone gives the same record, to the last item and the last digit of a loss."""
    again = train(records[0]["spec"])
    assert again["scores"] == records[0]["scores"]
    assert again["covariates"] == records[0]["covariates"]
    assert all(again["training"][part] == records[0]["training"][part] for part in ("loss", "validation_loss"))


def test_history_is_a_valid_input_of_the_estimation(records):
    """The history satisfies the contract; the other reading of X changes only X."""
    many = [records[i % 2] | {"run_id": str(i)} for i in range(24)]
    frame, mixed = history(many), history(many, "mixed")
    assert check_history(frame, "test").domains == DOMAINS
    different = {c for c in frame if not frame[c].equals(mixed[c])}
    assert different == {"x_hes", "x_normalized_loss", "x_writing_style"}


def test_the_whole_history_tells_what_a_run_was_made_for(records, tmp_path):
    """Designed runs and those over sizes from one ledger, confounded ones from that of trials; panels stay out."""
    design = replace(SMALL, scale_runs=3)
    world = records[0]["spec"]["world"].rpartition("/")[0]
    specs, sizes, confounded = (make(design, world) for make in (specs_of, scale_specs, confounded_specs))
    for name, trained in {"runs": [*specs, *noise_panel(design, specs), *sizes], "trials": confounded[:5]}.items():
        ledger = Ledger(tmp_path / f"{name}.jsonl")
        with ledger.writer():
            for spec in trained:
                ledger.append(records[0] | {"run_id": spec.run_id, "spec": spec.as_dict(), "error": None})
    found = check_history(whole_history(tmp_path, design, world))
    assert found.part.value_counts().to_dict() == {"design": 24, "confounded": 5, "scale": 3}
    assert found.parts(["design"]).frame["run_id"].tolist() == [spec.run_id for spec in specs]
    assert set(found.parts(["design", "scale"]).frame["n_samples"]) == {24, 48}


def test_a_record_of_another_world_is_not_trained(records):
    """A spec written for other content is refused, not silently trained on this one."""
    spec = records[0]["spec"] | {"world": "tiny/600/0/000000000000/60"}
    with pytest.raises(InputError, match="Expected the world 000000000000"):
        train(spec)


def test_examples_read_conversations_of_any_length():
    """A system turn, or a second question, belongs to the prompt."""
    turns = [
        ("system", "be brief"),
        ("user", "cold ?"),
        ("assistant", "hot"),
        ("user", "dark ?"),
        ("assistant", "light"),
    ]
    messages = [{"role": role, "content": content} for role, content in turns]
    rows = [
        {"domain": "math", "messages": m, **dict.fromkeys(("hes", "normalized_loss", "writing_style"), 0.0)}
        for m in (messages, messages[1:3])
    ]
    shown = summaries.examples(Dataset.from_list(rows), per_domain=2, seed=0)
    assert set(zip(shown["prompt"], shown["completion"])) == {
        ("be brief\ncold ?\nhot\ndark ?", "light"),
        ("cold ?", "hot"),
    }


def test_the_design_of_a_changed_run_is_what_its_sweep_was_given(tmp_path):
    """What a later chapter trains follows the run's own values, read with their types; other chapters' do not count."""
    told = {"proxy_sft": {"n_samples": 3000}, "target": {"seed": 5}}
    (tmp_path / "parameters.json").write_text(json.dumps(told))
    design, usual = Design.of_study("laptop", tmp_path), Design.of_study("laptop")
    assert design == replace(usual, n_samples=3000)
    typed = Study(
        "own", {"learning_rate": "1e-3", "models": {"proxy": {"name": "proxy", "learning_rate": "2e-4"}}}, {}, {}, {}
    )
    own = Design.of_study(typed)
    assert own.learning_rate == 1e-3 and own.settings_of("proxy").learning_rate == 2e-4
