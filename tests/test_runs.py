"""Identity of runs."""

import json

import numpy as np
import pytest

from causalmix.core.errors import InputError
from causalmix.train.spec import RunSpec, training_of


def test_round_trip_through_json(make_spec):
    """A spec read back from JSON is the same run, and its weights are not rounded twice."""
    spec = make_spec(weights=(1 / 3, 2 / 3), state=np.array([0.1, -2]))
    again = RunSpec.from_dict(json.loads(json.dumps(spec.as_dict())))
    assert again == spec and again.run_id == spec.run_id
    assert spec.weights == (0.333333, 0.666667)


def test_run_id_is_stable(make_spec):
    """The identity does not change between versions: a recorded sweep stays findable."""
    assert make_spec().run_id == "16866fcc0150ae71"


def test_run_id_ignores_what_does_not_matter(make_spec):
    """Order of hyper-parameters, list or tuple, number type and sign of zero are no part of a run."""
    one = make_spec(training=[("a", 1), ("b", 2)], state=(0.0, 1))
    two = make_spec(training={"b": 2, "a": 1}, state=[-0.0, np.float64(1)], seed=np.int64(0))
    assert one == two and one.run_id == two.run_id


@pytest.mark.parametrize(
    "change",
    [{"world": "v"}, {"model": "n"}, {"domains": ("math", "code")}, {"weights": (0.3, 0.7)}, {"state": (0.5, 1.0)},
     {"n_samples": 11}, {"epochs": 2}, {"seed": 1}, {"training": {"learning_rate": 2e-3, "batch_size": 8}}],
)  # fmt: skip
def test_every_field_is_part_of_the_identity(make_spec, change):
    """Changing any one field gives another run."""
    assert make_spec(**change).run_id != make_spec().run_id


def test_bad_specs_are_refused(make_spec):
    """Weights off the simplex, missing or unknown fields, and values without a JSON form are errors."""
    with pytest.raises(InputError, match="sum of 0.9"):
        make_spec(weights=(0.2, 0.7))
    with pytest.raises(InputError, match="found extra, seed amiss"):
        values = make_spec().as_dict() | {"extra": 1}
        RunSpec.from_dict({name: value for name, value in values.items() if name != "seed"})
    with pytest.raises(InputError, match="finite numbers"):
        make_spec(state=(float("nan"), 0)).run_id


def test_what_training_names_is_told_apart_again(make_spec):
    """Hyper-parameters, how the mixture changes and how a run is launched share one mapping, and come back."""
    settings, mixing, launch = {"batch_size": 8}, {"method": "odm", "memory": 0.9}, {"config": "fsdp2", "processes": 2}
    spec = make_spec(training=training_of(settings, mixing, launch))
    assert set(dict(spec.training)) == {
        "batch_size", "mixing_method", "mixing_memory", "launch_config", "launch_processes",
    }  # fmt: skip
    assert (spec.settings, spec.mixing, spec.launch) == (settings, mixing, launch)
    assert make_spec().mixing == make_spec().launch == {}
