"""The one exception that bad input raises, and how text from outside is shown."""

import re

LONGEST = 200  # characters of what was found that a sentence repeats

#: Control characters but tabs and ends of lines, and marks that turn the direction of writing.
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class InputError(ValueError):
    """Bad input, in one sentence: what was expected, what was found, what to do; a command exits with code 2."""


def brief(found: object) -> str:
    """What was found in one line, cut where it is long."""
    text = " ".join(str(found).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def plain(text: object) -> str:
    """Text that a terminal shows and does not obey: control characters as JSON writes them."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text))
