"""The one exception that bad input raises."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, told in one sentence: what was expected, what was found, what to do.

    The command line prints the sentence and exits with code 2.
    """
