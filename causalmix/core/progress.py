"""Who is told how far a long computation is: what computes tells, whoever listens shows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int, int, str], None]  # done, in all, of what
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let a function hear of what is computed within the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(done: int, total: int, what: str = "rows") -> None:
    """Tell how much is done of a computation; nothing happens where nobody listens."""
    if listener := _listener.get():
        listener(done, total, what)
