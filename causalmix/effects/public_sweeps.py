"""Sweeps that others published, as histories: RegMix, 512 mixtures and larger models, and olmix, 24 topics of DCLM."""

from causalmix.core import paths
from causalmix.core.errors import InputError
from causalmix.core.history import History, read_history
from causalmix.core.parameters import check_name

SWEEPS = ("regmix_1m", "regmix_scales", "olmix_dclm")
FOLDER = paths.RESULTS / "published" / "sweeps"  # written by benchmarks/fetch_sweeps.py, which says where they are from


def published(name: str) -> History:
    """A history that others published, by a name in :data:`SWEEPS`, as a checkout has it: no network is asked."""
    check_name(name, SWEEPS, "published sweep")
    path = FOLDER / f"{name}.csv"
    if not path.is_file():
        raise InputError(f"Expected the sweep at {path}, found no such file; take it from a checkout of causalmix.")
    return read_history(path)
