"""The book: gates on its executed pages, the status page, and the build.

``causalmix book`` checks the chapters, renders ``book/`` into ``book/_build/html`` and checks what
came out; ``--check`` only checks, and ``--pdf`` prints the book as one file.  Nothing is executed and
nothing is fetched: the chapters are committed pages with a stamp, and MathJax is copied out of the
PyPI package sphinx-mathjax-offline.

The module is also a Sphinx extension (see :func:`setup`), so a plain
``jb build book --config _config.yml -W -n --keep-going`` renders the same book.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html import unescape
from importlib.metadata import distribution
from pathlib import Path

from docutils import nodes

from causalmix.book import answers, data_files, explorer, stamps
from causalmix.book.gates import chapters, check_chapters, check_html
from causalmix.core.errors import InputError
from causalmix.core.paths import ROOT

STUDENT = "CAUSALMIX_STUDENT"  # environment variable of a rendering without solutions
MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"  # SVG output needs no font files


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Time is the page's own, in milliseconds: mathematics has to be set before a page is printed.
PRINTING = ("--headless", "--virtual-time-budget=120000", "--no-pdf-header-footer", "--generate-pdf-document-outline")
CAPTION = re.compile(r"<table[^>]*><caption>(.*?)</caption>", re.S)


class BookError(RuntimeError):
    """The book may not be published as it is."""

    def __init__(self, findings: list[str]) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


def check(root: Path = ROOT) -> list[str]:
    """Findings on the executed pages and on the rendered book; an empty list means that both are sound."""
    return check_chapters(root) + check_html(root / "book" / "_build" / "html")


def build(strict: bool = True, root: Path = ROOT, student: bool = False) -> Path:
    """Render the book from the committed pages; the students' edition has no solutions, and a folder of its own."""
    before = check_chapters(root)
    if strict and before:
        raise BookError(before)
    out = root / "book" / "_build" / "student" if student else root / "book"
    html = out / "_build" / "html"
    shutil.rmtree(html, ignore_errors=True)  # a page that left the table of contents must not linger
    _render(root, strict, out, {STUDENT: "1"} if student else {})
    after = check_html(html)
    if strict and after:
        raise BookError(after)
    return html / "index.html"


def print_book(strict: bool = True, root: Path = ROOT) -> Path:
    """Render the book as one page, links among chapters included, and print it to ``book/_build/causalmix.pdf``.

    InputError where there is no Chromium, by which pages are printed.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise InputError(
            "Expected Chromium to print the book, found none of "
            f"{', '.join(BROWSERS)}; install it, or print pages of the rendered book from any browser."
        )
    before = check_chapters(root)
    if strict and before:
        raise BookError(before)
    _render(root, False, root / "book", {}, "singlehtml")
    page, out = root / "book" / "_build" / "singlehtml" / "index.html", root / "book" / "_build" / "causalmix.pdf"
    page.write_text(page.read_text(encoding="utf-8").replace('"../_static/', '"_static/'), encoding="utf-8")
    out.unlink(missing_ok=True)
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root may not use it
    subprocess.run([browser, *PRINTING, *sandbox, f"--print-to-pdf={out}", page.as_uri()], capture_output=True)
    if not out.is_file():
        raise BookError([f"Expected {browser} to print {page}, found no file of it; print that page by hand."])
    return out


def _render(root: Path, strict: bool, out: Path, settings: dict[str, str], builder: str = "html") -> None:
    """Run jupyter-book; its talk goes to ``book/_build/build.log`` and only complaints come back."""
    renderer = str(Path(sys.executable).with_name("jb"))
    command = [renderer, "build", "book", "--config", "_config.yml", "--path-output", str(out), "--all", "--keep-going"]
    command += ["--builder", builder]
    path = os.pathsep.join(p for p in (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")) if p)
    env = os.environ | {"CAUSALMIX_ROOT": str(root), "PYTHONPATH": path} | settings
    done = subprocess.run(command + ["-W", "-n"] * strict, cwd=root, env=env, capture_output=True, text=True)
    log = root / "book" / "_build" / "build.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    talk = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)  # without the terminal's colours
    log.write_text(talk, encoding="utf-8")
    if done.returncode:
        complaints = [line for line in talk.splitlines() if re.search(r"WARNING|ERROR|Error\b", line)]
        raise BookError(
            complaints or [f"Expected jupyter-book to end well, found exit code {done.returncode}; read {log}."]
        )


def write_status(root: Path = ROOT) -> Path:
    """Write the table of the status page, one row a chapter, from the stamps to ``book/_build/status.md``."""
    head = "| Chapter | Study | Parameters | Source | Code | Data | State |\n|---|---|---|---|---|---|---|\n"
    path = root / "book" / "_build" / "status.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "".join(_status_row(page, root) for page in chapters(root)), encoding="utf-8")
    return path


def _status_row(page: Path, root: Path) -> str:
    found, why = stamps.state(page, root)
    stamp = stamps.read_notebook(page)["metadata"].get(stamps.KEY, {}) if page.exists() else {}
    parameters = "<br>".join(f"`{name} = {value!r}`" for name, value in stamp.get("parameters", {}).items())
    inputs = "<br>".join(f"{Path(name).name} `{value}`" for name, value in stamp.get("inputs", {}).items())
    hashes = [f"`{stamp[name]}`" if stamp else "" for name in ("source", "code")]
    cells = [
        f"{{doc}}`chapters/{page.stem}`",
        stamp.get("study", ""),
        parameters or "as in the notebook",
        *hashes,
        inputs,
        ", ".join([found, *why]),
    ]
    return f"| {' | '.join(cells)} |\n"


def write_questions(root: Path = ROOT) -> Path:
    """Write the table of the questions that students check alone to ``book/_build/questions.md``."""
    path = root / "book" / "_build" / "questions.md"
    path.write_text(answers.listed(), encoding="utf-8")
    return path


def setup(app: object) -> dict[str, bool]:
    """Hook into Sphinx: tables of status and questions, and page one, before pages are read, MathJax beside them."""
    app.connect("config-inited", _without_sources)
    app.connect("doctree-read", _without_solutions)
    app.connect("doctree-read", _number_tables)
    app.add_enumerable_node(CaptionedTable, "table", lambda table: table["caption"], html=(_write_table, None))
    app.connect("builder-inited", lambda app: write_status(Path(app.srcdir).parent))
    app.connect("builder-inited", lambda app: data_files.write_sheet(Path(app.srcdir).parent))
    app.connect("builder-inited", _write_page_one)
    app.connect("builder-inited", lambda app: write_questions(Path(app.srcdir).parent))
    app.connect("html-page-context", _without_thebe, priority=900)
    app.connect("build-finished", _copy_mathjax)
    app.connect("build-finished", _publish_explorer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_page_one(app: object) -> None:
    """Write what page one says and shows, from the record."""
    from causalmix.book import front  # imported here, for checking pages must not wait for what reads trials

    front.publish(Path(app.srcdir).parent)


def _without_sources(app: object, config: object) -> None:
    """Leave out of the students' edition the sources to download, for they hold the solutions."""
    if STUDENT in os.environ:
        config.html_copy_source = False
        config.html_theme_options = {**config.html_theme_options, "use_download_button": False}


def _without_solutions(app: object, doctree: object) -> None:
    """Leave solutions out of the students' edition, before anything is written or put into the search's index."""
    if STUDENT in os.environ:
        classes = {"solution", "tag_solution"}  # sphinx-exercise's, and that of a cell that is tagged
        for node in [n for n in doctree.findall() if classes & set(getattr(n, "attributes", {}).get("classes", ()))]:
            node.parent.remove(node)


class CaptionedTable(nodes.raw):
    """A table of a page, as HTML with a caption, that is counted like the tables which Sphinx knows."""


def _number_tables(app: object, doctree: nodes.document) -> None:
    """Let Sphinx count the tables that notebooks have shown with a caption."""
    for i, node in enumerate([n for n in doctree.findall(nodes.raw) if CAPTION.search(n.astext())]):
        caption = unescape(CAPTION.search(node.astext())[1])
        about = {"format": "html", "caption": caption, "ids": [f"table-{i + 1}"], "classes": node["classes"]}
        node.replace_self(CaptionedTable(node.rawsource, node.astext(), **about))


def _write_table(translator: object, node: CaptionedTable) -> None:
    """Write the table with its number before its caption, in the box in which a wide one scrolls."""
    before, after = node.astext().split("<caption>", 1)
    translator.body.append(translator.starttag(node, "div", f"{before}<caption>"))
    translator.add_fignumber(node)
    translator.body.append(f"{after}</div>\n")
    raise nodes.SkipNode


def _without_thebe(app: object, name: str, template: str, context: dict, doctree: object) -> None:
    """Take out thebe, which jupyter-book always adds and which would fetch a kernel's client when asked."""
    scripts = context.get("script_files", [])
    context["script_files"] = [s for s in scripts if "thebe" not in f"{s.filename} {s.attributes.get('body')}".lower()]


def _publish_explorer(app: object, error: Exception | None) -> None:
    """Put the explorer's table beside its script, and the archive of data beside both."""
    if error is None:
        data_files.write_archive(Path(app.outdir) / "_static", Path(app.srcdir).parent)
        explorer.publish_book(Path(app.outdir) / "_static", Path(app.srcdir).parent)


def _copy_mathjax(app: object, error: Exception | None) -> None:
    """Copy the one MathJax file to where ``mathjax_path`` of the configuration points."""
    if error is None:
        target = Path(app.outdir) / "_static" / app.config.mathjax_path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(distribution("sphinx-mathjax-offline").locate_file(MATHJAX)), target)
