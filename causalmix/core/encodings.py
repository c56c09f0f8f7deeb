"""Texts of files whose encoding nothing tells."""

import codecs
import re

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
CALLED = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8", "utf-16": "UTF-16", "cp1252": "Windows-1252", "latin-1": "Latin-1"}


def decoded(raw: bytes) -> tuple[str, str]:
    """A text, and its encoding: what a mark says, else UTF-8, else one where each byte is a letter.

    ValueError where it is none of the West, whose accents stand alone: GBK or Cyrillic would be read as other letters.
    """
    marked = [encoding for mark, encoding in MARKS.items() if raw.startswith(mark)]
    for encoding in (*marked, "utf-8", "cp1252"):
        if encoding == "cp1252" and _is_foreign(raw):
            raise ValueError("neither UTF-8 nor a Western encoding: write it as UTF-8")
        try:
            return raw.decode(encoding), CALLED[encoding]
        except UnicodeDecodeError:
            pass
    return raw.decode("latin-1"), CALLED["latin-1"]


def _is_foreign(raw: bytes) -> bool:
    """Whether a quarter of the bytes beyond ASCII stand in runs of several different ones, or one is zero."""
    runs = re.findall(b"[\x80-\xff]+", raw)
    return b"\0" in raw or 4 * sum(len(run) for run in runs if len(run) > 3 and len(set(run)) > 2) > sum(map(len, runs))
