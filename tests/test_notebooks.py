"""The source notebooks: parameters that papermill and the runner read alike, and one style."""

import ast
import re
import shlex
from dataclasses import fields
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml

from causalmix import cli
from causalmix.book import run, stamps
from causalmix.core import paths
from causalmix.core.parameters import SUBJECTS, declaration, subject_of
from causalmix.train.design import Design

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))
STUDIES = sorted(path.stem for path in paths.STUDIES.glob("*.yaml"))


@pytest.fixture(params=SOURCES, ids=lambda path: path.stem)
def source(request):
    """Each source notebook."""
    return request.param


def code_of(source):
    """Code cells after the parameters cell."""
    cells = [cell for cell in nbformat.read(source, as_version=4).cells if cell.cell_type == "code"]
    return [cell.source for cell in cells if "parameters" not in cell.metadata.get("tags", [])]


def test_every_chapter_of_the_book_has_its_source():
    """The notebooks are those of the table of contents."""
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    assert [Path(name).name for name in files if name.startswith("chapters/")] == [path.stem for path in SOURCES]


def cell_lines(source):
    """Lines of a parameters cell."""
    return stamps.parameters_cell(stamps.read_notebook(source)).splitlines()


def test_a_parameters_cell_is_what_the_schema_declares(source):
    """Names, types, defaults, helps and ranges, word for word; papermill infers the same names and types.

    It cannot read a type that allows None as well.
    """
    model = SUBJECTS[subject_of(source.stem)]
    declared = {name: declaration(model, name) for name in model.model_fields}
    assert sorted(cell_lines(source)) == sorted(declared.values())
    inferred = {name: found["inferred_type_name"] for name, found in papermill.inspect_notebook(source).items()}
    types = {name: line.partition(": ")[2].partition(" = ")[0] for name, line in declared.items()}
    assert inferred == {name: kind for name, kind in types.items() if " | " not in kind}


@pytest.mark.parametrize("model", SUBJECTS.values(), ids=SUBJECTS)
def test_every_number_has_a_range_and_every_parameter_a_help(model):
    """Out of range can only be refused where a range is told; there is no second ``=``, which papermill misreads."""
    for name in model.model_fields:
        line = declaration(model, name)
        assert line.count("=") == 1 and len(line.split("# ")[1]) > 8, line
        assert line.split()[1] not in ("int", "float") or line.endswith("]"), line


def test_what_is_imported_is_never_replaced(source):
    """A later cell, or a folded one that moves, would call a number."""
    nodes = [node for code in code_of(source) for node in ast.walk(ast.parse(code))]
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {alias.asname or alias.name for node in imports for alias in node.names}
    inner = {id(name) for node in nodes if isinstance(node, ast.comprehension) for name in ast.walk(node.target)}
    bound = [node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    assert not imported & {node.id for node in bound if id(node) not in inner}


def test_every_parameter_is_read_and_never_replaced(source):
    """A parameter that nothing reads, or that a cell binds anew, would be given in vain."""
    names = [line.partition(":")[0] for line in cell_lines(source)]
    nodes = [node for code in code_of(source) for node in ast.walk(ast.parse(code))]
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    stored |= {
        (alias.asname or alias.name)
        for node in nodes
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    if any("from_parameters(globals())" in code for code in code_of(source)):
        used |= {field.name for field in fields(Design)}
    assert [name for name in names if name not in used] == []
    assert [name for name in names if name in stored] == []


def test_sources_are_clean(source):
    """Valid, of the kernel python3, without outputs or counts, no two cells of one id."""
    notebook = nbformat.read(source, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_one_heading_of_the_first_level(source):
    """A second one would make a second entry of the sidebar without a warning."""
    text = "\n".join(cell.source for cell in nbformat.read(source, as_version=4).cells if cell.cell_type == "markdown")
    text = re.sub(r"^(`{3,}|~{3,}).*?^\1", "", text, flags=re.M | re.S)
    assert len(re.findall(r"^# ", text, flags=re.M)) == 1


def test_cells_are_short_and_plain(source):
    """At most 35 lines, no line for a shell or for IPython, no function longer than 15 lines."""
    for code in code_of(source):
        assert len([line for line in code.splitlines() if line.strip()]) <= 35, code
        assert not re.search(r"^\s*[!%]", code, flags=re.M), code
        functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
        assert all(node.end_lineno - node.lineno < 15 for node in functions), code


def test_every_figure_and_table_has_a_caption(source):
    """So that the book can number it; a caption is a sentence, not a name."""
    for cell in nbformat.read(source, as_version=4).cells:
        if cell.cell_type == "code":
            calls = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
            named = [(ast.unparse(call.func), {word.arg for word in call.keywords}) for call in calls]
            assert all("caption" in words for name, words in named if name == "report.show"), cell.source
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            drawn = any(name == "plt.show" for name, _ in named)
            assert not drawn or len(figure.get("caption", "")) > 20 and figure.get("name"), cell.source


def test_the_last_cell_tells_what_the_page_was_made_from(source):
    """Without the footer a page's stamp knows no inputs, and with a name that a loop took up it knows others."""
    *cells, footer = code_of(source)
    assert "report.provenance(globals()" in footer
    loops = [node.target for cell in cells for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.For)]
    taken = {name.id for target in loops for name in ast.walk(target) if isinstance(name, ast.Name)}
    named = [node for node in ast.walk(ast.parse(footer)) if isinstance(node, ast.Name)]
    assert not taken & ({node.id for node in named} - {node.id for node in named if isinstance(node.ctx, ast.Store)})


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_fits_the_notebooks(study):
    """Each name exists and each value is allowed."""
    assert len(run.jobs_of(study, root=ROOT)) == len(SOURCES)


def test_the_default_study_injects_nothing():
    """A page of the book is the notebook as it stands."""
    assert [job.parameters for job in run.jobs_of("laptop", root=ROOT)] == [{} for _ in SOURCES]


def commands():
    """Every command line for the runner that a reader is told."""
    texts = [ROOT / "README.md", *(ROOT / "book").glob("*.md"), *SOURCES]
    for path in texts:
        yield from (
            (path.name, found)
            for found in re.findall(r"causalmix run\b[^`\n#|\\\"]*", path.read_text(encoding="utf-8"))
        )


def test_every_command_that_is_told_is_accepted():
    """Names and values in README, book and notebooks are those that there are."""
    for where, command in commands():
        options = cli._parser().parse_args(shlex.split(command)[1:])
        chapters, given = [*options.chapters, *options.notebook], dict(p.split("=", 1) for p in options.parameter)
        if "NAME" not in command and "STUDY" not in command:
            assert run.jobs_of(options.study, chapters, given, root=ROOT) is not None, where


def names(code, kind):
    """Names that a cell reads (``ast.Load``) or binds (``ast.Store``); those of a comprehension are its own."""
    tree = ast.parse(code)
    own = [g.target for node in ast.walk(tree) for g in getattr(node, "generators", [])]
    inner = {n.id for target in own for n in ast.walk(target) if isinstance(n, ast.Name)}
    found = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, kind)}
    return found - inner


def test_a_boxed_answer_reads_names_that_one_cell_binds(source):
    """A name that two cells before it bind may be the other's: such a box began with a sentence on something else."""
    cells = code_of(source)
    (place,) = [i for i, code in enumerate(cells) if "in_short.answer(" in code]
    read = names(cells[place], ast.Load) - names(cells[place], ast.Store)
    binding = [names(code, ast.Store) for code in cells[:place]]
    assert [name for name in sorted(read) if sum(name in bound for bound in binding) > 1] == []
