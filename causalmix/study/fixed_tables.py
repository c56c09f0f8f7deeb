"""Tables of mixtures that are fixed before any of them is tried."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from causalmix.core.tables import read_table, write_table


def fixed(path: Path, question: dict, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A table of mixtures that was fixed for a question (all that determines it, in plain values), or a new one."""
    digest = digest_of(question)
    if not (path.exists() and set(read_table(path).get("question", [])) == {digest}):
        write_table(path, make().assign(question=digest))
    return read_table(path).drop(columns="question")


def digest_of(question: dict) -> str:
    """Twelve digits that stand for a question: of its canonical JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(question, sort_keys=True, allow_nan=False).encode()).hexdigest()[:12]
