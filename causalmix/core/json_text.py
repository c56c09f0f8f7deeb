"""The one way in which JSON from outside is read: each name once."""

import json
from collections import Counter
from typing import Any

from causalmix.core.errors import DEEP


def parse_json(text: str) -> Any:
    """The value of a JSON text; ValueError where it has none, or names something twice."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError(DEEP) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names stand once: of two, JSON's readers would take the last and lose the other in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        again = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name {again!r} twice in an object")
    return found
