"""Where things are: the checkout or the folder at hand, what ships with the package, the cache."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from platformdirs import user_cache_path

from causalmix.core.errors import InputError
from causalmix.core.scratch import scratch_folder

PACKAGE = Path(__file__).resolve().parents[1]
ASSETS = PACKAGE / "assets"
STUDIES = ASSETS / "studies"  # those that are known by name

#: Whether the package lies in a checkout of the repository, beside the book.
CHECKOUT = (PACKAGE.parent / "pyproject.toml").is_file()

#: Where results go: CAUSALMIX_ROOT, else the checkout, else the folder at hand.
ROOT = Path(os.environ.get("CAUSALMIX_ROOT") or (PACKAGE.parent if CHECKOUT else Path.cwd()))
RESULTS = ROOT / "results"

#: Folders of ``results`` that belong to no study.
RESERVED = ("published", "runs", "validity")

#: Environment variable that is set where the runner executes a chapter; it names a file for progress.
RUNNER = "CAUSALMIX_PROGRESS"


def is_file(study: str) -> bool:
    """Whether a study is given as the path of its file, and not by the name of one that ships."""
    return Path(study).suffix in (".yaml", ".yml")


def study_file(study: str) -> Path:
    """The file of a study, given as its path or by name; it need not exist."""
    return Path(study).absolute() if is_file(study) else STUDIES / f"{study}.yaml"


def results_dir(study: str) -> Path:
    """Folder of a study's tables and ledger, ``results/laptop`` or ``results/<its name>`` beside a file; may not exist.

    InputError when the name is not that of a folder directly below ``results``, or is taken there.
    """
    if (name := Path(study).stem if is_file(study) else study) in RESERVED:
        raise InputError(f"Expected a study's own name, found {name!r}, which results has for others; rename the file.")
    if is_file(study):
        return study_file(study).parent / "results" / Path(study).stem
    if not study or study in (".", "..") or Path(study).name != study:
        raise InputError(f"Expected a study's plain name such as laptop, found {study!r}; leave out folders.")
    return RESULTS / study


def check_writable(folder: Path) -> None:
    """Raise InputError unless files can be written to a folder that is there or can be made."""
    above = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"Expected a folder that can be made, found that {above} takes no folder; name another place.")


def out_dir(study: str, results: str = "") -> Path:
    """Where a chapter reads and writes: the folder ``results`` where one is given.

    Where none is, the runner's pages use the study's own, and a chapter that is executed by hand (by papermill or in an
    editor) a copy, so that it cannot change the record.
    """
    if results:
        return Path(results)
    own = results_dir(study)
    if RUNNER in os.environ:
        return own
    # Named by its contents: a record that has changed since is copied anew, and what was made from the old one stays.
    content = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in record(own)))
    return copied(own, own.parent / "runs" / f"by_hand_{own.name}_{content.hexdigest()[:8]}")


def record(results: Path) -> list[Path]:
    """Files of a study that later steps read."""
    return sorted(p for p in results.rglob("*") if p.suffix in (".csv", ".json", ".jsonl") and p.name != "run.json")


def copied(results: Path, to: Path) -> Path:
    """A copy of a study's record, made once and as a whole."""
    if to.exists():
        return to
    with scratch_folder(to.parent) as scratch:  # one's own, for another may copy at the same time
        (draft := Path(scratch, to.name)).mkdir()
        for path in record(results):
            target = draft / path.relative_to(results)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        if not to.exists():
            draft.rename(to)
    return to


def write_whole(path: Path, text: str) -> None:
    """Write a text file, so that a reader sees the old one or the new one, and never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8", newline="\n")
    draft.replace(path)


def cache_dir() -> Path:
    """Folder for what can be computed again: CAUSALMIX_CACHE, a checkout's ``.cache``, or the user's; may not exist."""
    own = ROOT / ".cache" if CHECKOUT else user_cache_path("causalmix")
    return Path(os.environ.get("CAUSALMIX_CACHE") or own)


@contextmanager
def cache_for(kept: bool) -> Iterator[None]:
    """The cache as it is, or an empty one that is gone at the end."""
    with scratch_folder(Path(tempfile.gettempdir())) as folder:
        with patch.dict(os.environ, {} if kept else {"CAUSALMIX_CACHE": folder}):
            yield
