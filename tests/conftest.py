"""What several test modules share, and how workers share out the modules."""

import os

# Before anything imports torch: the tests share their cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Commands, kernels and workers that tests start read the package compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest
from hypothesis import HealthCheck, settings

from causalmix.core.paths import ROOT
from causalmix.train.spec import RunSpec

# Where the published sweep lies beside the repository, it need not be fetched.
if (beside := ROOT.parent / "shared" / "data" / "public_sweeps").is_dir():
    os.environ.setdefault("CAUSALMIX_PUBLIC_SWEEPS", str(beside))

# The suite tries a few inputs, always the same ones; `make fuzz` others, and many.
ANY = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("suite", derandomize=True, **ANY)
settings.register_profile("large", max_examples=700, print_blob=True, **ANY)
settings.load_profile("suite")

#: Modules that take longest, the longest first, so that no worker is left with one of them at the end.
LONGEST = (
    "test_studies", "test_real_book", "test_book", "test_wheel", "test_sweep", "test_one_page", "test_diagnostics",
    "test_own_study", "test_recommend", "test_models", "test_launch", "test_bayesian", "test_validity",
    "test_real_study", "test_clusters", "test_slurm", "test_command", "test_methods", "test_ablations", "test_pilots",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Workers take whole modules, in this order: what a module's tests share is made once."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One worker for each core that this process may use, as far as memory goes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)


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
