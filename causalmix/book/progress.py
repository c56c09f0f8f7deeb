"""What the terminal shows while notebooks run: chapter, cell, how much is done of what, time left."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TextIO

LOG_SECONDS = 20  # between lines, where the output is not a terminal


class Told:
    """A terminal, or another stream, on which a thread tells how far something is; subclasses know what there is."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.terminal, self.logged = self.stream.isatty(), time.monotonic()
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self._look(time.monotonic() - self.logged > LOG_SECONDS)

    def _write(self, line: str, end: str) -> None:
        with self._lock:
            self.logged = time.monotonic()
            print(f"\r\033[K{line}" if self.terminal else line, end=end, file=self.stream, flush=True)


class Lines(Told):
    """Tells on the terminal how far a computation is; elsewhere in a line at least every 20 seconds, come what may."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.news, self.began = None, (0, 0.0)

    def tell(self, done: int, total: int, what: str, left: float | None = None) -> None:
        """As :func:`causalmix.core.progress.tell`; the seconds left are reckoned where they are not told."""
        now = time.monotonic()
        if self.news is None or self.news[2] != what:
            self.began = done, now
        if left is None and done > self.began[0]:
            left = (now - self.began[1]) / (done - self.began[0]) * (total - done)
        self.news = done, total, what, left, now
        if self.terminal or done == total:
            self._write(self.line(), "\n" if done == total else "")

    def line(self) -> str:
        """What there is to say now."""
        done, total, what, left, when = self.news
        left = None if left is None or done == total else max(0.0, left - (time.monotonic() - when))
        return f"{_done(done, total, what)}{_left(left)}"

    def _look(self, due: bool) -> None:
        if self.news and self.news[0] < self.news[1] and due:
            self._write(self.line(), "" if self.terminal else "\n")


class Chapter:
    """A notebook while it runs: its number from 1, its name, its cells, its own channel, and what it usually takes."""

    def __init__(self, number: int, name: str, cells: int, channel: Path, usual: float) -> None:
        self.number, self.name, self.cells, self.channel, self.usual = number, name, cells, channel, usual
        self.cell, self.since = 0, time.monotonic()

    def at_cell(self, cell: int) -> None:
        """A cell begins, counted from 1; what an earlier one told is over."""
        self.channel.unlink(missing_ok=True)
        self.cell = cell

    def told(self) -> tuple[str, float | None]:
        """Where it is, and the seconds left, by what it usually takes and by what it tells."""
        words, lefts = f"{self.name}, cell {self.cell} of {self.cells}", []
        with suppress(FileNotFoundError):
            *done, left = json.loads(self.channel.read_text())
            words, lefts = f"{words}, {_done(*done)}", [] if left is None else [left]
        if self.usual:
            lefts.append(max(self.usual - (time.monotonic() - self.since), 0))
        return words, max(lefts, default=None)


class Display(Told):
    """Shows how far the notebooks are, from a thread of its own, while they run: those of so many minutes."""

    def __init__(self, scratch: Path, minutes: list[float], stream: TextIO = sys.stderr) -> None:
        super().__init__(stream)
        self.scratch, self.seconds, self.shown, self.logged = scratch, [60 * m for m in minutes], "", 0.0
        self.running: list[Chapter] = []
        self.waiting = set(range(len(minutes)))

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._write("", end="")

    @contextmanager
    def chapter(self, index: int, name: str, cells: int) -> Iterator[Chapter]:
        """A chapter, as long as it runs: its index from 0, its name, how many cells it has."""
        chapter = Chapter(index + 1, name, cells, self.scratch / name, self.seconds[index])
        self.waiting.discard(index)
        self.running, self.logged = [*self.running, chapter], 0.0
        try:
            yield chapter
        finally:
            self.running = [other for other in self.running if other is not chapter]

    def line(self) -> str:
        """What there is to say now: the time left is that of the slowest chapter that runs, and of those to come."""
        running = self.running
        words, lefts = zip(*(chapter.told() for chapter in running)) if running else ((), ())
        known = [left for left in lefts if left is not None]
        left = max(known) + sum(self.seconds[n] for n in self.waiting) / len(running) if known else None
        numbers = "+".join(str(chapter.number) for chapter in running)
        return f"[{numbers}/{len(self.seconds)}] {'; '.join(words)}{_left(left)}"

    def _look(self, due: bool) -> None:
        started = any(chapter.cell for chapter in self.running)
        if started and (due or self.terminal) and (line := self.line()) != self.shown:
            self.shown = line
            self._write(line, end="" if self.terminal else "\n")


def _done(done: int, total: int, what: str) -> str:
    return f"{done:,} of {total:,} {what}"


def _left(seconds: float | None) -> str:
    """The time left in words that change seldom enough to be read."""
    if seconds is None:
        return ""
    return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {10 * max(round(seconds / 10), 1)} s left"
