"""Who is told how far a long computation is: what computes tells, whoever listens shows.

A notebook's kernel has no terminal, and nothing of this may reach its page: where the runner has started
it, it tells through a small file that the runner looks at.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from causalmix.core.paths import RUNNER, write_whole

Listener = Callable[[int, int, str, float | None], None]  # done, in all, of what, seconds left (None: unknown)
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let a function hear of what is computed within the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(done: int, total: int, what: str = "rows", left: float | None = None) -> None:
    """Tell how much is done of a computation; nothing happens where nobody listens."""
    if listener := _listener.get():
        listener(done, total, what, left)
    elif channel := os.environ.get(RUNNER):
        write_whole(Path(channel), json.dumps([done, total, what, left]))
