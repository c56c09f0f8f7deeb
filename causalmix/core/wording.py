"""Numbers and names in sentences."""

import math
import re
import unicodedata
from collections.abc import Iterable

from causalmix.core.errors import InputError


def counted(n: int, one: str, many: str = "", form: str = "{:,} {}") -> str:
    """A number with what is counted, and the verb if there is one, as they go with it: ``1 run ends``, ``2 runs end``.

    ``many`` is ``one`` with an s where it is not given; ``form`` may put marks or words between the two.
    """
    return form.format(n, one if n == 1 else many or f"{one}s")


def some_of(n: int, whole: int, what: str, one: str = "is", many: str = "are") -> str:
    """So many of all, with the verb as it goes with them: ``1 of 24 runs is``."""
    return counted(n, one, many, f"{{:,}} of {whole:,} {what} {{}}")


def listed(names: Iterable[str]) -> str:
    """Names as a list in a sentence."""
    *first, last = list(names) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def signed_as(numbers: Iterable[float]) -> str:
    """The form of numbers with their signs: four decimals, unless the largest is too small or large for these."""
    largest = max(map(abs, numbers), default=0.0)
    return "{:+z.4g}" if 1e-15 < largest < 1e-3 or largest >= 1e4 else "{:+z.4f}"  # below are last digits


def folded(name: str) -> str:
    """A name as people read it: without differences in case, in what parts its words, in how letters are composed.

    Where a column of numbers has gaps, pandas makes 1.0 of 1.
    """
    words = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()
    return re.sub(r"^(\d+)[.]0$", r"\1", words)


def check_apart(domains: Iterable[str], advice: str) -> None:
    """Raise InputError where two names of domains would be one to those who read them."""
    met: dict[str, str] = {}
    for name in domains:
        if (other := met.setdefault(folded(name), name)) != name:
            raise InputError(
                f"Expected names of domains that differ in more than case and spaces, found {other!r} and {name!r}; "
                f"write them alike{advice}."
            )


def p_told(p: float) -> str:
    """A p-value in a sentence; how far below a thousandth it lies is nobody's business."""
    return f"p = {p:.2g}" if not p < 0.001 else "p < 0.001"


def short(value: float, digits: int = 3) -> str:
    """A float for reading: plain notation unless it is very large or small; what is whole keeps all of its digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:zg}"
    value = value if value % 1 == 0 else float(f"{value:.{digits - 1}e}")  # before its size is taken: .9996 is 1.00
    size = math.floor(math.log10(abs(value)))
    return f"{value:,.{max(digits - 1 - size, 0)}f}" if -6 <= size < 6 else f"{value:.{digits - 1}e}"
