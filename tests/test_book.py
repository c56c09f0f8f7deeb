"""The book: its gates bite, its pages need no network, and what its prose names exists."""

import base64
import re
import shutil
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import nbformat
import pandas as pd
import pytest
from browser import CHROMIUM, ask, visit
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from causalmix import cli
from causalmix.book import build, data_files, gates, report, stamps, takeaway
from causalmix.core import paths
from causalmix.core.errors import InputError
from causalmix.core.paths import ROOT

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; apt-get install chromium")
BOOK = ROOT / "book"
TEN_SCREENS = 9000  # pixels of a laptop's browser: a longer chapter is not read to its end
#: Contrast of the last paragraph in the box with what is behind it.
CONTRAST = """
  const text = document.querySelector(".takeaway p:last-child");
  let behind = text;
  while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0.05);
  const both = [light(getComputedStyle(text).color), light(getComputedStyle(behind).backgroundColor)];
  return Math.max(...both) / Math.min(...both)"""


def table(caption):
    """What a cell has shown by ``report.show``, of the given caption."""
    with pytest.MonkeyPatch.context() as patch:
        shown = []
        patch.setattr(report, "display", shown.append)
        report.show(pd.DataFrame({"a": [1]}), caption=caption)
    return new_output("display_data", {"text/html": shown[0].data})


def write_page(root, edit=lambda page: None, study=stamps.COMMITTED):
    """Write a small notebook, and its executed page with a true stamp after ``edit`` has changed it."""
    text = new_markdown_cell("# Small\n\nA formula $x^2$ and\n\n$$ y = \\theta(x)'z $$ (eq-small)\n")
    parameters = new_code_cell(
        "seed: int = 0  # seed of everything random [0, 1000000]", metadata={"tags": ["parameters"]}
    )
    source = new_notebook(cells=[text, parameters, new_code_cell("print(seed)"), new_code_cell("")])
    source.metadata.update(kernelspec={"name": "python3", "display_name": "Python 3"}, language_info={"name": "python"})
    nbformat.write(source, root / "notebooks" / "05_mixture.ipynb")
    page = nbformat.from_dict(source)
    for count, cell in enumerate(page.cells[1:3], 1):
        cell.execution_count = count
    box = new_output("display_data", {"text/html": takeaway._box("Yes.").data})
    page.cells[2].outputs = [new_output("stream", text="0\n"), *map(table, ("First", "Second & last")), box]
    edit(page)
    page.metadata[stamps.KEY] = stamps.make_stamp(
        source, page, study, {}, stamps.input_hashes(["results/small.csv"], root)
    )
    nbformat.write(page, root / "book" / "chapters" / "05_mixture.ipynb")


@pytest.fixture(scope="module")
def small_book(tmp_path_factory):
    """Root of a book of two pages, rendered with the repository's own configuration."""
    root = tmp_path_factory.mktemp("small")
    for folder in ("book/chapters", "notebooks", "results"):
        (root / folder).mkdir(parents=True)
    (root / "results/small.csv").write_text("a\n1\n")
    shutil.copytree(BOOK / "_assets", root / "book" / "_assets")
    shutil.copy(BOOK / "references.bib", root / "book")
    shutil.copy(ROOT / "_config.yml", root)
    toc = "format: jb-book\nroot: index\nparts:\n- numbered: true\n  chapters:\n  - file: chapters/05_mixture\n"
    (root / "book" / "_toc.yml").write_text(toc)
    doors = "::::{grid} 1 1 2 2\n:::{grid-item-card} Read\nHere.\n:::\n::::\n"
    status = "::::{table} Pages\n```{include} _build/status.md\n```\n::::\n"
    (root / "book" / "index.md").write_text(f"# Index\n\n$e^x$\n\n{doors}\n## Words\n\n{status}")
    write_page(root)
    build.build(root=root)
    return root


@pytest.fixture
def copy_of(small_book, tmp_path):
    """A copy of the small book that a test may break."""
    return shutil.copytree(small_book, tmp_path / "copy")


def test_a_sound_book_has_no_findings(small_book):
    """Neither the pages nor the rendered book give a finding."""
    assert build.check(small_book) == []


def captions(page):
    """What stands above the tables of a rendered page."""
    found = re.findall(r"<caption[^>]*>(.*?)</caption>", page, re.S)
    return [re.sub("<.*?>", "", caption).rstrip("#\N{PILCROW SIGN}\n") for caption in found]


def test_tables_are_numbered_within_their_chapter(small_book):
    """The number stands in the table's own caption, and a wide table scrolls in its box."""
    text = (small_book / "book/_build/html/chapters/05_mixture.html").read_text()
    assert re.findall(r'<div class="output text_html" id="(table-\d)">\s*<table', text) == [
        "table-1",
        "table-2",
    ]
    assert captions(text) == ["Table 1.1 First", "Table 1.2 Second &amp; last"]


def test_the_files_behind_the_pages_can_be_taken_away(small_book):
    """The sheet and the archive have what a page has read, at its place below the root."""
    sheet = (small_book / "book/_build/data.md").read_text().splitlines()
    assert sheet[2:] == ["| `results/small.csv` | 1 | `a` |  | {doc}`chapters/05_mixture` |"]
    with zipfile.ZipFile(small_book / "book/_build/html/_static" / data_files.ARCHIVE) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"results/small.csv": b"a\n1\n"}


def test_the_states_of_the_explorer_are_among_the_files(tmp_path, monkeypatch):
    """Numbers of its page come from there, though no chapter reads it."""
    monkeypatch.setattr(data_files, "chapters", lambda root: [])
    assert data_files.files(tmp_path) == {}
    path = tmp_path / "results" / "laptop" / "explorer.csv"
    path.parent.mkdir(parents=True)
    path.write_text("x_a\n1\n")
    assert "`causalmix book` | {doc}`explore` |" in data_files.write_sheet(tmp_path).read_text()


def test_the_sheet_tells_what_kind_of_file_each_is(tmp_path, monkeypatch):
    """The columns of a table; of records and of names, how they are written."""
    kinds = {"t.csv": "a,b\n1,2\n", "r.jsonl": "{}\n{}\n", "n.yaml": "a: 1\n"}
    for name, text in kinds.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(data_files, "files", lambda root: dict.fromkeys(kinds, {"outputs": ["x"], "inputs": []}))
    told = [line.split(" | ")[1:3] for line in data_files.write_sheet(tmp_path).read_text().splitlines()[2:]]
    assert told == [["1", "`a`, `b`"], ["2", "one record a line, as JSON"], ["1", "names and sizes, as YAML"]]


@needs_chromium
def test_the_book_is_printed_as_one_file(copy_of):
    """All pages are in it, and the reader's program gets an outline."""
    printed = build.print_book(root=copy_of).read_bytes()
    page = (copy_of / "book/_build/singlehtml/index.html").read_text()
    assert printed.startswith(b"%PDF") and b"/Outlines" in printed
    assert [word for word in ("Index", "Small", "Read") if word not in page] == []
    assert captions(page) == ["Table 1 Pages", "Table 1.1 First", "Table 1.2 Second &amp; last"]
    assert '"../_static/' not in page


@needs_chromium
def test_on_paper_nothing_scrolls_and_no_number_is_parted(copy_of):
    """A wide table fits between the margins, its short words stay on one line, and no row leaves white around it."""
    cells = "".join(f"<td>{'several words ' * 4}</td><td>0.636</td><td>verdict</td>" for _ in range(4))

    def widen(page):
        page.cells[2].outputs[1].data["text/html"] += f"<p>a</p>\n<table class='wide'>\n<tr>{cells}</tr>\n</table>"

    write_page(copy_of, widen)
    build.build(root=copy_of)
    script = """const scrolling = [...document.querySelectorAll('article :is(.cell_output, .cell_output div, pre)')]
        .filter((box) => /auto|scroll/.test(getComputedStyle(box).overflow)).map((box) => box.className);
      const table = document.querySelector('table.wide'), above = table.previousElementSibling;
      const low = (part, of) => Math.round(parseFloat(getComputedStyle(part)[of]));
      const white = table.getBoundingClientRect().top - above.getBoundingClientRect().bottom;
      const parted = [...table.querySelectorAll('td')].filter((cell) => !/ /.test(cell.textContent)).filter((cell) => {
        const text = document.createRange();
        text.selectNodeContents(cell);
        return text.getClientRects().length > 1; }).map((cell) => cell.textContent);
      const right = document.querySelector('article').getBoundingClientRect().right;
      return [scrolling, parted, table.getBoundingClientRect().right <= right,
        Math.round(white) <= Math.max(low(above, 'marginBottom'), low(table, 'marginTop'))]"""
    address = (copy_of / "book/_build/html/chapters/05_mixture.html").as_uri()
    assert ask(address, script, width=688, media="print") == [[], [], True, True]


def test_without_a_browser_nothing_is_rendered(small_book, monkeypatch):
    """It is refused at once, in one sentence."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="^Expected Chromium to print the book, found none"):
        build.print_book(root=small_book)


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
def test_the_box_is_legible_by_day_and_by_night(small_book, dark):
    """The theme puts what a cell has shown on a light board in the dark, and a box of its own has light letters."""
    page = small_book / "book/_build/html/chapters/05_mixture.html"
    assert ask(page.as_uri(), CONTRAST, dark=dark) > 7


def show_error(page):
    page.cells[2].outputs = [new_output("error", ename="ZeroDivisionError", evalue="", traceback=[])]


def make_noise(page):
    page.cells[2].outputs = [new_output("stream", name="stderr", text="careful\n")]


def run_out_of_order(page):
    page.cells[2].execution_count = 7


BREAKAGES = [(show_error, "cell 3 ended in ZeroDivisionError"), (make_noise, "careful"), (run_out_of_order, "in order")]


@pytest.mark.parametrize(("breakage", "finding"), BREAKAGES, ids=lambda v: getattr(v, "__name__", ""))
def test_a_broken_page_is_found_and_not_built(copy_of, breakage, finding):
    """Each breakage gives exactly its own finding, and a strict build stops before rendering."""
    write_page(copy_of, breakage)
    (found,) = gates.check_chapters(copy_of)
    assert finding in found and found.startswith("05_mixture.ipynb: expected")
    with pytest.raises(build.BookError, match=re.escape(finding)):
        build.build(root=copy_of)


def change_source(root):
    path = root / "notebooks/05_mixture.ipynb"
    path.write_text(path.read_text().replace("A formula", "The formula"))


def change_data(root):
    (root / "results/small.csv").write_text("a\n2\n")


def change_study(root):
    (root / "laptop.yaml").write_text("parameters: {seed: 1}\n")


def change_page(root):
    path = root / "book/chapters/05_mixture.ipynb"
    path.write_text(path.read_text().replace("0\\n", "1\\n"))


def lose_page(root):
    (root / "book/chapters/05_mixture.ipynb").unlink()


def reduce(root):
    write_page(root, study="quick")


CHANGES = [
    (change_source, "stale (source changed)"),
    (change_data, "stale (results/small.csv changed)"),
    (change_study, "stale (parameters changed)"),
    (change_page, "stale (page changed)"),
    (lose_page, "missing (not executed yet)"),
    (reduce, "reduced (study quick)"),
]


@pytest.mark.parametrize(("change", "finding"), CHANGES, ids=lambda v: getattr(v, "__name__", ""))
def test_a_page_that_is_not_fresh_is_found(copy_of, change, finding, monkeypatch):
    """A page that no longer shows what would come out now is named, and so is what changed."""
    (copy_of / "laptop.yaml").touch()
    monkeypatch.setattr(paths, "STUDIES", copy_of)
    change(copy_of)
    (found,) = gates.check_chapters(copy_of)
    assert f"found it {finding}; run `causalmix run 05_mixture`" in found
    assert finding.split()[0] in build.write_status(copy_of).read_text()


def test_a_book_that_was_not_built_is_found(tmp_path):
    """Checking before building says what to do."""
    assert "run `make book`" in gates.check_html(tmp_path)[0]


REMOTE = [
    '<script src="https://cdn.example.org/x.js"></script>',
    '<img src="//cdn.example.org/x.png">',
    '<img srcset="a.png 1x, https://cdn.example.org/x.png 2x">',
    '<link rel="stylesheet" href="https://cdn.example.org/x.css">',
    '<p style="background: url(https://cdn.example.org/x.png)">',
    '<script type="module">import x from "https://cdn.example.org/x.js"</script>',
]


@pytest.mark.parametrize("asset", REMOTE)
def test_a_remote_asset_on_a_page_is_found(copy_of, asset):
    """Whatever would fetch from another machine is named with its address."""
    page = copy_of / "book/_build/html/index.html"
    page.write_text(page.read_text().replace("</article>", asset + "</article>"))
    (found,) = gates.check_html(page.parent)
    assert "index.html" in found and "//cdn.example.org/x" in found


FINE = "0.001234, 28.07, 12,345 rows, 3.11.7, arXiv 2411.15124, 10.1214/18-AOS <code>0.12345</code>"


@pytest.mark.parametrize(
    "shown, end, told",
    [
        (f"<p>{FINE}; it is 1,234.5 and 0.12345.</p>", ";", ["1,234.5", "0.12345"]),
        (
            "<p>````{admonition} How <code>x</code> begins</p><p>see {doc}<code>x</code></p><pre>```{note}</pre>",
            " in ",
            ["````", "{doc}"],
        ),
    ],
    ids=["a number of too many digits", "a directive or role that was not rendered"],
)
def test_what_a_page_should_not_tell_is_found(copy_of, shown, end, told):
    """Numbers and marks in what it tells; not in its code, nor in the number of a paper, nor a count."""
    page = copy_of / "book/_build/html/index.html"
    page.write_text(page.read_text().replace("</article>", f"{shown}</article>"))
    assert [finding.split("found ")[1].split(end)[0] for finding in gates.check_html(page.parent)] == told


def test_a_remote_asset_in_a_style_sheet_is_found(copy_of):
    """Style sheets fetch, too."""
    sheet = copy_of / "book/_build/html/_static/book.css"
    sheet.write_text('@import "https://cdn.example.org/x.css";')
    assert "_static/book.css" in gates.check_html(copy_of / "book/_build/html")[0]


def test_a_link_to_another_site_is_no_remote_asset(copy_of):
    """A reader may follow a link; only what loads by itself counts."""
    page = copy_of / "book/_build/html/index.html"
    page.write_text(page.read_text().replace("</article>", '<a href="https://example.org">x</a></article>'))
    assert gates.check_html(page.parent) == []


def test_a_second_heading_is_found_and_a_warning_stops_the_build(copy_of):
    """Two first-level headings give a finding; an unresolved reference gives the renderer's own words."""

    def add_heading(page):
        page.cells.append(new_markdown_cell("# Second\n\n{ref}`nowhere`"))

    write_page(copy_of, add_heading)
    with pytest.raises(build.BookError, match="nowhere"):
        build.build(root=copy_of)
    assert "found 2; keep the first" in gates.check_html(copy_of / "book/_build/html")[0]


EXERCISE = """```{exercise-start}
:label: ex-small
```
Why is it blue?
```{exercise-end}
```
```{solution-start} ex-small
:class: dropdown
```
Because it scatters.
"""


DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # a PNG


def test_the_edition_for_students_has_exercises_and_no_solution(copy_of):
    """Neither text nor executed cells of a solution are in any file, its search, sources and pictures included."""

    def add_exercise(page):
        tagged = new_code_cell("print('refraction')", execution_count=3, metadata={"tags": ["solution"]})
        picture = new_output("display_data", {"image/png": DOT})
        tagged.outputs = [new_output("stream", text="refraction\n"), picture]
        end = "```{solution-end}\n```\n"
        page.cells += [new_markdown_cell(EXERCISE), new_markdown_cell(end), tagged]

    write_page(copy_of, add_exercise)
    index = build.build(root=copy_of, student=True)
    files = [path for path in index.parent.rglob("*") if path.is_file()]
    texts = [path.read_text("utf-8", "ignore") for path in files]
    assert not any(path.read_bytes() == base64.b64decode(DOT) for path in files)
    assert any("Why is it blue?" in text for text in texts)
    assert not any(word in text for text in texts for word in ("it scatters", "refraction"))


@needs_chromium
def test_a_search_from_files_gives_a_page_once(small_book):
    """A word that is a heading and in the text is one hit; nothing is asked for that a browser refuses."""
    address = f"{(small_book / 'book/_build/html/search.html').as_uri()}?q=words"
    script = """await new Promise((done) => setTimeout(done, 1500));
      const hits = [...document.querySelectorAll('#search-results li a')].map((hit) => hit.getAttribute('href'));
      return [hits, everyHit(...Search._parseQuery('words')).length]"""
    hits, before = ask(address, script)
    assert len(hits) == 1 < before and hits[0].startswith("index.html")
    assert not any(seen.failures for seen in visit([address]))


def test_findings_are_printed_and_give_exit_code_1(copy_of, monkeypatch, capsys):
    """The command ends with 1 and one line for each finding."""
    write_page(copy_of, show_error)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(build, "check", partial(build.check, copy_of))
    assert cli.main(["book", "--check"]) == 1
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["05_mixture.ipynb"]


def assert_offline(html, base):
    """Open every page in a browser without a network and see that nothing is missing."""
    pages = [p.relative_to(html).as_posix() for p in sorted(html.rglob("*.html")) if "_static" not in p.parts]
    formulas = 0
    for page, seen in zip(pages, visit([f"{base}/{page}" for page in pages]), strict=True):
        assert [r for r in seen.requests if not r.startswith((base, "data:", "blob:"))] == [], page
        assert (seen.failures, seen.broken, seen.unreadable) == ((), [], 0), page
        assert seen.rendered == seen.formulas, page
        assert seen.wide == [], page
        assert not page.startswith("chapters/") or seen.height <= TEN_SCREENS, page
        formulas += seen.formulas
    assert formulas > 0


@pytest.fixture
def serve():
    """A function from a folder to an address on this machine that serves it."""
    servers = []

    def start(folder):
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@needs_chromium
def test_the_small_book_opens_offline_from_a_server_and_from_files(small_book, serve):
    """Mathematics is typeset and nothing is asked of another machine, either way."""
    html = small_book / "book/_build/html"
    assert_offline(html, serve(html))
    assert_offline(html, html.as_uri())


@needs_chromium
def test_the_browser_sees_a_request_that_no_scan_would(copy_of):
    """An address that a script puts together at run time is still seen."""
    page = copy_of / "book/_build/html/index.html"
    script = "<script>fetch(['https:', '', 'cdn.example.org', 'x'].join('/')).catch(() => 0)</script>"
    page.write_text(page.read_text().replace("</article>", script + "</article>"))
    assert gates.check_html(page.parent) == []
    with pytest.raises(AssertionError, match="cdn.example.org"):
        assert_offline(page.parent, page.parent.as_uri())
