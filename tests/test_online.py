"""Mixtures that change while a run trains: the rules against known trajectories, and the place in the trainer."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from causalmix.core.errors import InputError
from causalmix.train import online
from causalmix.train.spec import ODM_FORMS


def doremi_path(eta: float) -> np.ndarray:
    """Mean weights of four domains whose excess .30/.10/.05/0 decays over 60 steps, after 200 steps."""
    alpha, path = np.full(4, 0.25), [np.full(4, 0.25)]
    for step in range(200):
        alpha = online.doremi_update(alpha, np.array([0.3, 0.1, 0.05, 0.0]) * np.exp(-step / 60), eta, 1e-4)
        path.append(alpha)
    return np.mean(path, axis=0)


def test_doremi_collapses_with_a_large_step_and_not_with_a_small_one():
    """What matters is eta times the steps: eta 1 ends on one domain, eta 0.01 stays near uniform."""
    assert doremi_path(1.0)[0] > 0.9
    assert np.abs(doremi_path(0.01) - 0.25).max() < 0.025
    assert doremi_path(0.1) == pytest.approx([0.47, 0.21, 0.17, 0.15], abs=0.03)


def test_doremi_update_is_a_smoothed_softmax():
    """One step by hand."""
    alpha, excess = np.array([0.5, 0.3, 0.2]), np.array([1.0, 0.0, 0.5])
    by_hand = 0.9 * softmax([np.log(0.5) + 0.2, np.log(0.3), np.log(0.2) + 0.1]) + 0.1 / 3
    assert online.doremi_update(alpha, excess, 0.2, 0.1) == pytest.approx(by_hand)


def odm_path(form: str, steps: int) -> np.ndarray:
    """Policy after so many updates of all of four arms with the constant losses .6/.9/1.4/2.0."""
    losses, rewards, policy = (0.6, 0.9, 1.4, 2.0), np.zeros(4), np.full(4, 0.25)
    for step in range(1, steps + 1):
        rewards = np.array([online.odm_reward(r, loss, p, 0.9, form) for r, loss, p in zip(rewards, losses, policy)])
        policy = online.odm_policy(rewards, step, form)
    return policy


@pytest.mark.parametrize(
    "form, steps, expected",
    [
        ("paper", 50, [0.23, 0.23, 0.26, 0.28]),
        ("paper", 1000, [0.24, 0.25, 0.25, 0.26]),
        ("official_repo", 200, [0.14, 0.16, 0.26, 0.44]),
    ],
)
def test_odm_forms_go_where_they_are_known_to_go(form, steps, expected):
    """The paper's form drifts back to uniform, the official class stays proportional to perplexity."""
    assert odm_path(form, steps) == pytest.approx(expected, abs=0.02)


CODES = np.repeat([0, 1, 2], 10)


def drive(mixer: online.Mixer, losses: tuple[float, ...]) -> None:
    """Hand out all rows in batches; every token of a domain has that domain's loss."""
    batch = []
    for row in mixer:
        batch.append(row)
        if len(batch) == mixer.batch_size:
            values = torch.tensor([losses[CODES[r]] for r in batch for _ in range(2)], requires_grad=True)
            owner = torch.tensor([i for i in range(len(batch)) for _ in range(2)])
            mixer.loss(values, owner).backward()
            batch = []


def doremi(eta: float = 0.1, seed: int = 0) -> online.DoReMi:
    """A mixer whose reference model has the loss 1 everywhere."""
    settings = {"method": "doremi", "eta": eta}
    known = {"reference": [np.ones(2)] * 30, "vocabulary": 100}
    return online.make_mixer(settings, CODES, np.full(3, 1 / 3), 320, 8, seed, **known)


def test_doremi_moves_weight_to_the_domain_that_lags():
    """The domain whose loss exceeds the reference gains weight, one below the reference does not."""
    mixer = doremi()
    drive(mixer, (1.5, 1.0, 0.5))
    weights = mixer.mixture()
    assert weights[0] > 0.4 > weights[1]
    assert weights[1] == pytest.approx(weights[2])


def test_odm_prefers_the_domain_with_the_larger_loss():
    """Both forms take more rows from the domain with the largest loss, and every batch is of one domain."""
    for form in ODM_FORMS:
        mixer = online.make_mixer({"method": "odm", "form": form}, CODES, np.full(3, 1 / 3), 1600, 8, 0)
        drive(mixer, (0.5, 1.0, 3.0))
        assert np.argmax(mixer.found()["trajectory"][-1]) == 2
        assert mixer.mixture().sum() == pytest.approx(1)
        assert (mixer.handed % 8 == 0).all()


def test_domains_that_run_out_begin_again_and_are_counted():
    """Ten rows a domain and 1,600 handed out: every domain was gone through many times."""
    mixer = online.make_mixer({"method": "odm"}, CODES, np.full(3, 1 / 3), 1600, 8, 0)
    rows = list(mixer)
    assert min(mixer.found()["new_epochs"]) > 10
    first = [r for r in rows if CODES[r] == 0][:10]
    assert sorted(first) == list(range(10)), "no row twice before every other once"


def test_one_seed_gives_one_trajectory():
    """Equal seeds agree to the last bit, others do not."""
    found = []
    for seed in (0, 0, 1):
        mixer = online.make_mixer({"method": "odm"}, CODES, np.full(3, 1 / 3), 400, 8, seed)
        drive(mixer, (0.5, 1.0, 3.0))
        found.append(mixer.found())
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("settings", [{"method": "doge"}, {"method": "odm", "eta": 1}, {}])
def test_unknown_mixing_is_refused(settings):
    """A misspelt method or setting is named before anything is trained."""
    with pytest.raises(InputError, match="Expected mixing by one of"):
        online.make_mixer(settings, CODES, np.full(3, 1 / 3), 80, 8, 0)


def test_a_domain_without_rows_is_refused():
    """Whatever its weight, for exploration visits every domain."""
    for weights in (np.full(4, 0.25), np.array([0.5, 0.25, 0.25, 0.0])):
        with pytest.raises(InputError, match="found none of domain 4 of 4"):
            online.make_mixer({"method": "odm"}, CODES, weights, 80, 8, 0)


def test_a_batch_with_just_enough_room_has_every_domain():
    """Three rows, three domains; in larger batches too."""
    for n in (3, 5):
        assert set(doremi().choose(n)) == {0, 1, 2}


@pytest.mark.parametrize("points", [1, 49, 50, 51, 99, 100, 189])
def test_trajectories_keep_fifty_points_at_most(points):
    """From the first on, evenly."""
    mixer = doremi()
    mixer.path = [np.full(3, i) for i in range(points)]
    kept = mixer.found()["trajectory"]
    assert 25 <= len(kept) <= 50 or len(kept) == points
    assert kept[0] == [0, 0, 0]
