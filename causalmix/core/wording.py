"""Numbers and names in sentences."""

import re
import unicodedata


def counted(n: int, one: str, many: str = "", form: str = "{:,} {}") -> str:
    """A number with what is counted, and the verb if there is one, as they go with it: ``1 run ends``, ``2 runs end``.

    ``many`` is ``one`` with an s where it is not given; ``form`` may put marks or words between the two.
    """
    return form.format(n, one if n == 1 else many or f"{one}s")


def folded(name: str) -> str:
    """A name as people read it: without differences in case, in what parts its words, in how letters are composed."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()
