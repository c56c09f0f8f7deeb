"""What a page may not be: broken, stale, of a reduced study, over-exact, half rendered, or fetching from a network.

Rendering alone passes over each of these in silence, hence the gates.  All return findings, one
sentence each; an empty list means that everything is sound.
"""

import re
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

LAZY = {"canonical", "next", "prev", "search", "author", "license", "copyright", "index", "genindex"}
REMOTE = re.compile(r"^\s*(https?:)?//", re.I)

REMOTE_TEXT = re.compile(
    r"""(?:url\(\s*["']?|@import\s+["']|\b(?:from|import)\s*\(?\s*["'])((?:https?:)?//[^"')\s]+)""", re.I
)

#: A number with a point, and where it may have many digits: code, formulas, links; counts have no point.
DECIMAL = re.compile(r"(?<![\w.,:])(?<!arXiv )\d[\d,]*\.\d+(?:e[-+]?\d+)?(?!\.?\w|/)")
EXACT = "pre, code, script, style, a, .math"

#: Marks of a directive or a role that was not rendered, such as one whose backticks hold a backtick.
MARKS = re.compile(r"`{3,}|:{3,}|(?<!\w)\{[a-z]+(?::[a-z]+)?\}")


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
    from bs4 import BeautifulSoup  # comes with what renders a book

    pages = {p.relative_to(html): p for kind in ("html", "css") for p in sorted(html.rglob(f"*.{kind}"))}
    findings, remote = [], "{}: expected only files of the book, found the remote asset {}; ship it or leave it out."
    for name, path in pages.items():
        text = path.read_text(encoding="utf-8")
        if name.suffix == ".css":
            findings += [remote.format(name, url) for url in REMOTE_TEXT.findall(text)]
        elif "_static" not in name.parts:
            page = BeautifulSoup(text, "html.parser")
            headings = len(page.select("article h1"))  # the theme repeats the title outside of it, for printing
            if headings != 1 and name.name not in ("search.html", "genindex.html"):
                findings.append(
                    f"{name}: expected one first-level heading, found {headings}; keep the first and lower the others."
                )
            findings += [remote.format(name, url) for url in _fetched(page.find_all(True))]
            told = "{}: expected numbers of four digits or fewer, found {}; round it where it is shown."
            read = _read(page)
            findings += [told.format(name, number) for text in read for number in _over_exact(text)]
            raw = [f"{mark} in {text.strip()[:60]!r}" for text in read for mark in MARKS.findall(text)[:1]]
            findings += [f"{name}: expected rendered text, found {part}; mend that directive or role." for part in raw]
    return findings


def _read(page: "BeautifulSoup") -> list[str]:  # noqa: F821
    """What a page tells its readers, without code, formulas and links, which it is left without."""
    for left_out in page.select(EXACT):
        left_out.extract()
    return [text for part in page.select("article") for text in part.find_all(string=True)]


def _over_exact(text: str) -> list[str]:
    """Numbers with a point and five or more significant digits."""
    return [n for n in DECIMAL.findall(text) if len(re.sub(r"e.*|[,.]", "", n).lstrip("0")) > 4]


def _fetched(tags: list) -> list[str]:
    """Addresses that the tags of a page make a browser fetch over a network on opening."""
    tags = [tag for tag in tags if not (tag.name == "link" and {word.lower() for word in tag.get("rel", ())} <= LAZY)]
    named = [tag.get(FETCHING.get(tag.name, ""), "") for tag in tags]
    named += [part for tag in tags for part in re.split(r"[\s,]+", tag.get("srcset", ""))]
    texts = [tag.get("style", "") for tag in tags]
    texts += [tag.string or "" for tag in tags if tag.name in ("script", "style")]
    return [url for url in named if REMOTE.match(url)] + [url for text in texts for url in REMOTE_TEXT.findall(text)]
