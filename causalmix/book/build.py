"""The book: gates on its executed pages, the status page, and the build.

``causalmix book`` checks the chapters, renders ``book/`` into ``book/_build/html`` and checks what came out; with
``--check`` it only checks, and ``--pdf`` prints the book as one file.  Nothing is executed and nothing is fetched: the
chapters are committed pages with a stamp, and MathJax is copied out of the PyPI package sphinx-mathjax-offline.  As a
Sphinx extension it lets a plain ``jb build book --config _config.yml -W -n --keep-going`` render the same book.
"""

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
from causalmix.core.paths import ROOT, write_whole

STUDENT = "CAUSALMIX_STUDENT"  # environment variable of a rendering without solutions
MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"  # SVG output needs no font files

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Time is the page's own, in milliseconds: mathematics has to be set before a page is printed.
PRINTING = ("--headless", "--virtual-time-budget=120000", "--no-pdf-header-footer", "--generate-pdf-document-outline")
CAPTION = re.compile(r"<table[^>]*><caption>(.*?)</caption>", re.S)


class BookError(RuntimeError):
    """The book may not be published as it is."""

    def __str__(self) -> str:
        return "\n".join(*self.args)  # its findings


def check(root: Path = ROOT) -> list[str]:
    """Findings on the executed pages and on the rendered book; an empty list means that both are sound."""
    return check_chapters(root) + check_html(root / "book" / "_build" / "html")


def build(root: Path = ROOT, student: bool = False) -> Path:
    """Render the book from the committed pages; the students' edition has no solutions, and a folder of its own."""
    out = root / "book" / "_build" / "student" if student else root / "book"
    html = _render(root, "html", out, {STUDENT: "1"} if student else {})
    if after := check_html(html):
        raise BookError(after)
    return html / "index.html"


def print_book(root: Path = ROOT) -> Path:
    """Render the book as one page, links among chapters included; Chromium prints ``book/_build/causalmix.pdf``."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise InputError(
            "Expected Chromium to print the book, found none of "
            f"{', '.join(BROWSERS)}; install it, or print pages of the rendered book from any browser."
        )
    page, out = _render(root, "singlehtml", root / "book", {}) / "index.html", root / "book/_build/causalmix.pdf"
    page.write_text(page.read_text(encoding="utf-8").replace('"../_static/', '"_static/'), encoding="utf-8")
    out.unlink(missing_ok=True)
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root may not use it
    subprocess.run([browser, *PRINTING, *sandbox, f"--print-to-pdf={out}", page.as_uri()], capture_output=True)
    if not out.is_file():
        raise BookError([f"Expected {browser} to print {page}, found no file of it; print that page by hand."])
    return out


def _render(root: Path, builder: str, out: Path, settings: dict[str, str]) -> Path:
    """Run jupyter-book on sound chapters; its talk goes to ``book/_build/build.log``; returns the folder of pages."""
    if findings := check_chapters(root):
        raise BookError(findings)
    made = out / "_build" / builder
    shutil.rmtree(made, ignore_errors=True)  # a page that left the table of contents must not linger
    command = [str(Path(sys.executable).with_name("jb")), "build", "book", "--config", "_config.yml", "--all"]
    command += ["--path-output", str(out), "--builder", builder, "--keep-going"]
    command += ["-W", "-n"] * (builder == "html")
    path = os.pathsep.join(p for p in (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")) if p)
    env = os.environ | {"CAUSALMIX_ROOT": str(root), "PYTHONPATH": path} | settings
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    log = root / "book" / "_build" / "build.log"
    talk = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)  # without the terminal's colours
    write_whole(log, talk)
    if done.returncode:
        complaints = [line for line in talk.splitlines() if re.search(r"WARNING|ERROR|Error\b", line)]
        ended = f"Expected jupyter-book to end well, found exit code {done.returncode}; read {log}."
        raise BookError(complaints or [ended])
    return made


def write_status(root: Path = ROOT) -> Path:
    """Write the table of the status page, one row a chapter, from the stamps to ``book/_build/status.md``."""
    head = ("Chapter", "Study", "Parameters", "Source", "Code", "Data", "State")
    return data_files.write_table(root, "status", head, [_status_row(page, root) for page in chapters(root)])


def _status_row(page: Path, root: Path) -> list[str]:
    found, why = stamps.state(page, root)
    stamp = stamps.stamp_of(page)
    changed = [f"`{name} = {value!r}`" for name, value in stamp.get("parameters", {}).items()]
    read = [f"{Path(name).name} `{value}`" for name, value in stamp.get("inputs", {}).items()]
    hashes = [f"`{stamp[name]}`" if stamp else "" for name in ("source", "code")]
    told = "<br>".join(changed) or "as in the notebook", *hashes, "<br>".join(read), ", ".join([found, *why])
    return [f"{{doc}}`chapters/{page.stem}`", stamp.get("study", ""), *told]


def setup(app: object) -> dict[str, bool]:
    """Hook into Sphinx: what pages include is written before they are read, and what they load when they are."""
    if STUDENT in os.environ:
        app.connect("config-inited", _without_sources)
        app.connect("doctree-read", _without_solutions)
    app.connect("builder-inited", _as_on_pages)
    app.connect("builder-inited", _write_included)
    app.connect("doctree-read", _number_tables)
    app.connect("html-page-context", _without_thebe, priority=900)
    app.connect("build-finished", _publish)
    app.add_enumerable_node(CaptionedTable, "table", lambda table: table["caption"], html=(_write_table, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _as_on_pages(app: object) -> None:
    """Let one long page draw what pages do: where any extension writes for it alone, Sphinx forgets all the others."""
    handlers = app.registry.translation_handlers
    handlers["singlehtml"] = {**handlers.get("html", {}), **handlers.get("singlehtml", {})}


def _write_included(app: object) -> None:
    """Write what page one says and shows, and the tables of status, files and questions."""
    from causalmix.book import front  # imported here, for checking pages must not wait for what reads trials

    root = Path(app.srcdir).parent
    front.publish(root)
    write_status(root)
    data_files.write_sheet(root)
    data_files.write_table(root, "questions", *answers.listed())


def _without_sources(app: object, config: object) -> None:
    """Leave out of the students' edition the sources to download, for they hold the solutions."""
    config.html_copy_source = False
    config.html_theme_options = {**config.html_theme_options, "use_download_button": False}


def _without_solutions(app: object, doctree: object) -> None:
    """Leave solutions out of the students' edition, before anything is written or put into the search's index."""
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


def _publish(app: object, error: Exception | None) -> None:
    """Put the explorer's table, the archive of data and the one file of MathJax beside the pages."""
    if error is None:
        static, root = Path(app.outdir) / "_static", Path(app.srcdir).parent
        data_files.write_archive(static, root)
        explorer.publish_book(static, root)
        (static / app.config.mathjax_path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(distribution("sphinx-mathjax-offline").locate_file(MATHJAX), static / app.config.mathjax_path)
