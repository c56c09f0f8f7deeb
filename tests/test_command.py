"""How the command ends when what is around it fails, or when it is interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from real_rows import turns, write_lines

from causalmix import __main__, cli
from causalmix.core import paths


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_one_sentence(sent, monkeypatch, capsys):
    """Also the one of a batch system; without a handler it would end the tests."""
    monkeypatch.setattr(cli, "main", lambda: signal.raise_signal(sent))
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        assert __main__.main() == 130
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
    out, told = capsys.readouterr()
    assert out == "" and told.startswith("\ncausalmix: Stopped. What had ended is kept; the same command goes on")


def test_an_interrupt_while_rows_are_scored(tmp_path):
    """It says that they are scored anew, and nothing of them stays in the cache."""
    rows = [{"domain": "ab"[i % 2], "messages": turns(f"{i} ? " * 50, f"{i} ! " * 50)} for i in range(4_000)]
    pool = {"loader": "local", "options": {"path": write_lines(tmp_path / "rows.jsonl", rows)},
            "evaluation": {"benchmarks": []}}  # fmt: skip
    given = {"parameters": {"pool": pool, "models": {"proxy": "proxy"}, "n_runs": 20}}
    (tmp_path / "s.yaml").write_text(json.dumps(given))
    often = "import sys; from causalmix.__main__ import main; from causalmix.book import progress; "
    often += "progress.LOG_SECONDS = 1; sys.exit(main())"  # seconds between its lines
    command = [sys.executable, "-c", often, "sweep", "--study", "s.yaml"]
    place = {"CAUSALMIX_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background may not hear it
    with subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | place, stdout=-1, stderr=-1, text=True, preexec_fn=heard
    ) as running:
        said = next((line for line in running.stderr if " of 3," in line and "rows" in line), "")
        running.send_signal(signal.SIGINT)
        out, rest = running.communicate(timeout=300)
    assert (running.returncode, out, bool(said)) == (130, "", True) and "Traceback" not in rest
    assert rest.strip().endswith("and scores rows anew that it was scoring.") and rest.count("\n") <= 3
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    "error, told",
    [
        (OSError(28, "No space left on device"), "found No space left on device; make room there"),
        (PermissionError(13, "Permission denied", "results/x"), "at results/x, found Permission denied;"),
        (FileExistsError(17, "File exists", "results"), "at results, found File exists;"),
        (OSError("something else"), "found something else;"),
        (MemoryError(), "found too little; ask for fewer rows"),
        (MemoryError("Unable to allocate 7 TiB"), "found too little (Unable to allocate 7 TiB);"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(monkeypatch, capsys, error, told):
    def refused(_):
        raise error

    monkeypatch.setattr(cli, "_status", refused)
    assert cli.main(["status"]) == 2
    assert told in (line := capsys.readouterr().err) and line.count("\n") == 1


def test_a_results_folder_that_is_a_file(tmp_path, monkeypatch, capsys):
    """It is refused before a pool is scored."""
    (tmp_path / "results").write_text("")
    (tmp_path / "own.yaml").write_text("parameters: {n_runs: 4}")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sweep", "--study", "own.yaml"]) == 2
    assert f"found that {tmp_path / 'results'} takes no folder" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash on this machine")
@pytest.mark.parametrize(
    "typed, found", [("rec", "recommend"), ("plan --stu", "--study"), ("nonesuch --x", ""), ("plan rows", "")]
)
def test_a_shell_completes_commands_and_options(capsys, typed, found):
    assert cli.main(["completion", "bash"]) == 0
    line = f'COMP_WORDS=(causalmix {typed}); COMP_CWORD={typed.count(" ") + 1}; _causalmix; echo "${{COMPREPLY[*]}}"'
    script = f"{capsys.readouterr().out}\n{line}"
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout == f"{found}\n"


@pytest.mark.parametrize("before", [None, "own"])
def test_a_cache_that_is_not_kept(monkeypatch, before):
    """It is another folder, gone at the end with all that was in it, also after an error; the usual one is back."""
    monkeypatch.setenv("CAUSALMIX_CACHE", before) if before else monkeypatch.delenv("CAUSALMIX_CACHE", raising=False)
    usual = paths.cache_dir()
    with pytest.raises(OSError), paths.cache_for(kept=False):
        (used := paths.cache_dir()).joinpath("rows").write_text("private")
        raise OSError
    assert used != usual and not used.exists() and paths.cache_dir() == usual
    with paths.cache_for(kept=True):
        assert paths.cache_dir() == usual


def test_the_book_is_asked_for_one_thing(capsys, monkeypatch):
    """Of two the other would be left out unsaid."""
    monkeypatch.setattr("causalmix.book.build.print_book", lambda: pytest.fail("printed"))
    with pytest.raises(SystemExit, match="2"):
        cli.main(["book", "--pdf", "--check"])
    assert "not allowed with argument" in capsys.readouterr().err
