"""What a page of the book may not be: broken, out of order, stale, of a reduced study, or fetching from a network.

Rendering alone passes over each of these in silence, hence the gates.  All return findings, one
sentence each; an empty list means that everything is sound.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat

from causalmix.book.run import faults
from causalmix.book.stamps import COMMITTED, state
from causalmix.core.paths import ROOT
from causalmix.core.yaml_file import read_yaml

FETCHING = {
    "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "embed": "src",
    "object": "data", "link": "href",
}  # fmt: skip

LAZY_LINKS = {"canonical", "next", "prev", "search", "author", "license", "copyright", "index", "genindex"}
REMOTE = re.compile(r"^\s*(https?:)?//", re.I)

REMOTE_TEXT = re.compile(
    r"""(?:url\(\s*["']?|@import\s+["']|\b(?:from|import)\s*\(?\s*["'])((?:https?:)?//[^"')\s]+)""", re.I
)


def chapters(root: Path = ROOT) -> list[Path]:
    """Executed pages named in the table of contents, in reading order; a page may be missing."""
    toc = read_yaml(root / "book" / "_toc.yml", "a table of contents")
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [root / "book" / f"{file}.ipynb" for file in files if file.startswith("chapters/")]


def check_chapters(root: Path = ROOT) -> list[str]:
    """What is wrong with the executed pages, before anything is rendered."""
    findings = []
    for page in chapters(root):
        found, why = state(page, root)
        if found != "fresh":
            findings.append(
                f"{page.name}: expected a fresh page of the study {COMMITTED}, found it {found} ({', '.join(why)}); "
                f"run `causalmix run {page.stem}`."
            )
        if page.exists():
            wrong = faults(nbformat.read(page, as_version=4))
            findings += [
                f"{page.name}: expected a page without faults, but {fault}; mend the notebook and run it again."
                for fault in wrong
            ]
    return findings


def check_html(html: Path) -> list[str]:
    """What is wrong with the rendered pages."""
    if not (html / "index.html").exists():
        return [f"Expected the rendered book in {html}, found none; run `make book`."]
    findings = []
    for page in sorted(html.rglob("*.html")):
        if "_static" in page.relative_to(html).parts:
            continue
        seen = _Page(page.read_text(encoding="utf-8"))
        name = page.relative_to(html)
        if seen.headings != 1 and name.name not in ("search.html", "genindex.html"):
            findings.append(
                f"{name}: expected one first-level heading, found {seen.headings}; keep the first and lower the others."
            )
        findings += [
            f"{name}: expected only files of the book, found the remote asset {url}; ship it or leave it out."
            for url in seen.remote
        ]
    for sheet in sorted(html.rglob("*.css")):
        remote = REMOTE_TEXT.findall(sheet.read_text(encoding="utf-8"))
        findings += [
            f"{sheet.relative_to(html)}: expected only files of the book, found the remote asset {url}; "
            "ship it or leave it out."
            for url in remote
        ]
    return findings


class _Page(HTMLParser):
    """First-level headings of a page and the addresses it would fetch over a network on opening."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings, self.remote, self._article, self._tag = 0, [], False, ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a heading, and an address that the tag makes a browser fetch."""
        values = {name: value or "" for name, value in attrs}
        self._tag = tag
        self._article |= tag == "article"  # the theme repeats the title outside of it, for printing
        self.headings += self._article and tag == "h1"
        lazy = tag == "link" and set(values.get("rel", "").lower().split()) <= LAZY_LINKS
        addresses = [values.get(FETCHING.get(tag, ""), ""), *re.split(r"[\s,]+", values.get("srcset", ""))]
        self.remote += [address for address in addresses if REMOTE.match(address) and not lazy]
        self.remote += REMOTE_TEXT.findall(values.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        """Note where the page's own text ends."""
        self._tag = ""
        self._article &= tag != "article"

    def handle_data(self, data: str) -> None:
        """Note what a script or a style sheet inside the page would fetch."""
        if self._tag in ("script", "style"):
            self.remote += REMOTE_TEXT.findall(data)
