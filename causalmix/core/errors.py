"""The one exception that bad input raises, and how text from outside is shown."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

DEEP = "more levels than can be read"
LONGEST = 200  # characters of what was found that a sentence repeats

#: Control characters but tabs and ends of lines, and marks that turn the direction of writing.
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class InputError(ValueError):
    """Bad input, in one sentence: what was expected, what was found, what to do; a command exits with code 2."""


class TooFewRuns(InputError):
    """A stage needs more runs or mixtures than a history has; another stage may do with them."""


@contextmanager
def refused(expected: str, advice: str, *kinds: type[BaseException]) -> Iterator[None]:
    """Tell in one sentence what was expected, why it could not be had, and what to do; by default of any exception."""
    try:
        yield
    except InputError:
        raise
    except kinds or Exception as error:
        raise InputError(f"Expected {expected}, found {one_line(error)}; {advice}.") from error


def one_line(error: BaseException) -> str:
    """What was raised, or what the library that raised it had met, without its end where it is long.

    Names of classes stand where the text alone may say little (``KeyError: 'a'``), not before sentences.
    """
    cause = error.__cause__ or error
    if isinstance(cause, RecursionError):
        return DEEP
    told = str(cause) if isinstance(cause, (ValueError, OSError)) else ""
    return " ".join((told or f"{type(cause).__name__}: {cause}").split())[:300].rstrip(".")


def brief(found: object) -> str:
    """What was found in one line, cut where it is long."""
    text = " ".join(str(found).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def plain(text: object) -> str:
    """Text that a terminal shows and does not obey: control characters as JSON writes them."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text))
