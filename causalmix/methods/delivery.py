"""What a recommendation leaves in the folder of ``--out``, and a manifest by which all of it can be checked."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

from causalmix import __version__
from causalmix.core.scratch import scratch_folder
from causalmix.data.fingerprints import of_files, of_rows
from causalmix.data.states import draw_sample
from causalmix.methods import one_page, trainer_files
from causalmix.methods.refusals import check_free, is_named
from causalmix.methods.request import BY_LETTER, Recommendation, command
from causalmix.methods.training_set import as_dict, as_json

TRAIN, MANIFEST, ANSWER, PAGE = "train", "manifest.json", "recommended.json", "report.html"
LIBRARIES = ("datasets", "econml", "lightgbm", "numpy", "pandas", "torch", "transformers", "trl")


def write(found: Recommendation, out: Path) -> dict:
    """Draw the training set and write it as a new folder with settings, answer and page; returns the manifest."""
    out, seed, ending = Path(out), found.request.seed, found.request.rows_format
    check_free(out)
    line = found.table.set_index("method").loc[BY_LETTER[found.request.method]]
    weights = line[[f"w_{d}" for d in found.domains]].to_numpy(float)
    sample, repeats = draw_sample(found.scored, np.arange(len(found.pool)), weights, found.target.n_samples, seed)
    # Some trainers read a file in its order, and the sample comes domain by domain.
    sample = np.random.default_rng([seed, 3]).permutation(sample)
    counts = np.bincount(found.scored.codes[sample], minlength=len(weights)).tolist()
    mixture = {
        d: {"share": share, "rows": n, "repeats": repeats.get(d, 0)}
        for d, share, n in zip(found.domains, weights, counts)
    }
    with scratch_folder(out.parent) as scratch:
        made = Path(scratch) / "new"
        made.mkdir()
        rows = trainer_files.prepared(found.pool.select(sample))
        trainer_files.save(rows, made / f"{TRAIN}.{ending}")
        left = trainer_files.write(made, rows, found.domains, ending, seed)
        (made / ANSWER).write_text(as_json(as_dict(found)), encoding="utf-8")
        versions = {"python": platform.python_version(), "causalmix": __version__}
        versions |= {name: version(name) for name in LIBRARIES}
        manifest = {"method": line.name, "mixture": mixture, "seed": seed, "command": command(found.request)}
        manifest |= {"inputs": _inputs(found), "left_out": left, "versions": versions, "files": _hashes(made)}
        if found.withheld:
            left[PAGE] = "the gain that it would show is withheld"
        else:
            (made / PAGE).write_text(one_page.page(found, manifest), encoding="utf-8")
        manifest["files"] = _hashes(made)
        (made / MANIFEST).write_text(as_json(manifest), encoding="utf-8")
        if out.exists():
            out.rmdir()
        os.rename(made, out)
    return manifest


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path in it."""
    inside = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): of_files([file]) for file in inside}


def _inputs(found: Recommendation) -> dict:
    files = {"state": found.request.state}
    if not is_named(found.request.reference):
        files["reference"] = found.request.reference
    named = {what: {"name": Path(f).name, "sha256": of_files([Path(f)])} for what, f in files.items() if f is not None}
    sweep = found.asked.sweep.paths
    named["history"] = {"name": ", ".join(dict.fromkeys(path.name for path in sweep)), "sha256": of_files(sweep)}
    return named | {"pool": {"name": found.target.pool, "sha256": of_rows(found.pool)}}
