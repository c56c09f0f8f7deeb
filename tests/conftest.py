"""What several test modules share."""

import os

# Before anything imports torch: the tests share their cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from causalmix.core.paths import ROOT
from causalmix.effects.public_sweeps import FOLDER
from causalmix.train.spec import RunSpec

# Where the published sweep lies beside the repository, it need not be fetched.
if (beside := ROOT.parent / "shared" / "data" / "public_sweeps").is_dir():
    os.environ.setdefault(FOLDER, str(beside))


@pytest.fixture
def make_spec():
    """A function from a seed to a small valid spec; keywords replace its fields."""

    def make(seed=0, **changes):
        values = {
            "world": "w", "model": "m", "domains": ("math", "safety"), "weights": (0.25, 0.75), "state": (0.5, -1.0),
            "n_samples": 10, "epochs": 1, "seed": seed, "training": {"learning_rate": 1e-3, "batch_size": 8},
        }  # fmt: skip
        return RunSpec(**values | changes)

    return make
