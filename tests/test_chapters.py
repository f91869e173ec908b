"""The form that every chapter keeps: metadata, captions, checks, symbols, exercises, and what equals the library."""

import ast
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import jupytext
import nbformat
import pytest

from .chapter_counts import is_bare, printed
from .chapter_pairs import CHAPTERS, RECORD, code_only, pairs
from .chapter_times import sentence
from .exercises import AT_LEAST, checks, wrong_answers

NOTEBOOKS = sorted(CHAPTERS.glob("[0-9]*.ipynb"))
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/svg+xml")

# TeX that names no quantity: layout, operators, functions, brackets.
NOT_SYMBOLS = set(
    """frac dfrac tfrac sqrt left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr sum prod int lim log exp
    sin cos tan min max arg operatorname mathrm mathbf mathbb mathcal text textstyle displaystyle begin end quad
    qquad cdot cdots dots ldots times div pm mp approx equiv sim propto le leq ge geq ne neq ll gg in notin to
    mapsto rightarrow Rightarrow iff infty partial nabla mid vert Vert lvert rvert lVert rVert langle rangle
    lfloor rfloor lceil rceil hat bar tilde vec dot ddot overline underbrace overbrace odot oplus otimes circ
    top bot prime star ast setminus cup cap subset forall exists det tr diag space hspace phantom limits
    nonumber tag label bf rm it mathop boxed color substack stackrel not middle hbox mbox boldsymbol cases
    aligned align array matrix pmatrix bmatrix vphantom smash ln coloneqq triangleq longrightarrow""".split()
)


def stem(path: Path) -> str:
    return path.stem


def read(path: Path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_metadata_says_what_a_reader_needs_to_know(path):
    book = read(path).metadata.get("book", {})
    assert 3 <= len(book.get("goals", [])) <= 6, "book.goals: what the reader can do at the end"
    assert book.get("prerequisites"), "book.prerequisites"
    assert 5 <= book.get("minutes", 0) <= 45, "book.minutes to read"
    assert 0 < book.get("seconds", 0) <= 180, "book.seconds: measured run time on two cores"
    assert 0 < book.get("peak_mb", 0) <= 3000, "book.peak_mb: measured peak memory"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_a_long_cell_is_the_one_that_assembles(path):
    long = [c for c in read(path).cells if c.cell_type == "code" and len(c.source.splitlines()) > 25]
    assert len(long) <= 1
    assert all("assembly" in cell.metadata.get("tags", []) and len(cell.source.splitlines()) <= 60 for cell in long)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_few_outputs_are_left_unchecked(path):
    cells = [c for c in read(path).cells if c.cell_type == "code" and c.outputs]
    ignored = [c for c in cells if {"nbval-ignore-output", "nbval-skip"} & set(c.metadata.get("tags", []))]
    assert len(ignored) <= len(cells) / 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_outputs_show_without_a_kernel_in_one_piece_and_are_not_warnings(path):
    """A widget that is kept (a progress bar, say) needs a kernel or a network to be seen."""
    notebook = read(path)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [o for o in outputs if "application/vnd.jupyter.widget-view+json" in o.get("data", {})]
    assert "widgets" not in notebook.metadata
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    for cell in notebook.cells:
        kinds = [output.get("name", output.output_type) for output in cell.get("outputs", [])]
        assert ("stdout", "stdout") not in zip(kinds, kinds[1:], strict=False), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_at_most_one_printed_line_in_ten_says_true_in_place_of_a_number(path):
    lines = printed(read(path))
    bare = [line for line in lines if is_bare(line)]
    told = "\n".join([f"{len(bare)} of {len(lines)} lines", *bare])
    assert len(bare) <= len(lines) / 10, told


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_no_list_has_run_together(path):
    texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    assert not [text for text in texts if re.search(r"[.;:)] \* \*", text)]


def html(cell) -> str:
    return "".join("".join(output.get("data", {}).get("text/html", "")) for output in cell.get("outputs", []))


def shows_picture(cell) -> bool:
    return "<img" in html(cell) or any(set(IMAGES) & set(output.get("data", {})) for output in cell.get("outputs", []))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_every_figure_has_caption_alternative_text_and_a_check(path):
    cells = read(path).cells
    for i, cell in enumerate(cells):
        if cell.cell_type != "code" or not shows_picture(cell):
            continue
        where = f"cell {i}: {cell.source[:60]!r}"
        following = cells[i + 1] if i + 1 < len(cells) else {}
        assert following.get("cell_type") == "markdown", f"{where}: no caption follows"
        assert re.match(r"\s*\*[^*\s]", following.source), f"{where}: a caption in italics must follow"
        image = cell.metadata.get("mystnb", {}).get("image", {})
        told = image.get("alt") or "alt=" in cell.source or re.search(r'alt="[^"]+"', html(cell))
        assert told, f"{where}: no alternative text"
        beside = "\n".join(c.source for c in cells[max(0, i - 1) : i + 3] if c.cell_type == "code")
        assert re.search(r"\bassert\b|assert_close|assert_equal", beside), f"{where}: no numeric check beside it"


def symbols(tex: str) -> set[str]:
    """Letters that name quantities in a formula: x, \\alpha, ... without decorations, indices' words and operators."""
    tex = re.sub(r"\\(text|mathrm|operatorname|mathsf|texttt|tag|label|begin|end)\*?\{[^}]*\}", " ", tex)
    tex = re.sub(r"\\(color|htmlClass|class)\{[^}]*\}", " ", tex)
    named = {name for name in re.findall(r"\\([A-Za-z]+)", tex) if name not in NOT_SYMBOLS}
    letters = set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", tex)))
    return named | letters


OPERATORS = re.compile(r"\\mathbb|\\mathcal|\\mathrm\{[a-zA-Z]{2}|\\varnothing|\\nabla|\\overline|\\odot|\\circ|\*")


def notation_key(symbol: str) -> tuple[int, str, int]:
    """Where a row with this symbol belongs: Latin letters, Greek ones by name, operators; small, variant, capital."""
    tex = re.search(r"\$([^$]+)\$", symbol)[1]
    if OPERATORS.search(tex.split(",")[0]):
        return 2, "", 0
    plain = re.sub(r"\\(mathbf|mathrm|bar|hat|tilde)|[{}\s]", "", tex)
    found = re.match(r"\\ell|\\[A-Za-z]+|[A-Za-z]", plain)[0]
    letter = found.replace("\\ell", "l").replace("\\var", "\\").strip("\\")
    rank = 2 if letter[0].isupper() else int(found.startswith("\\var"))
    return int(found[0] == "\\" and found != "\\ell"), letter.lower(), rank


def notation() -> list[tuple[str, set[str], str]]:
    """Rows of the notation page: symbols that are explained, chapters, the whole row."""
    lines = (CHAPTERS / "notation.md").read_text(encoding="utf-8").splitlines()
    rows = [(line.strip("| ").split(" | "), line) for line in lines if line.startswith("| $")]
    return [(cells[0], set(re.findall(r"\d\d", cells[1])), line) for cells, line in rows]


def test_the_notation_is_sorted_by_the_name_of_the_symbol():
    keys = [notation_key(symbol) for symbol, _, _ in notation()]
    assert len(keys) > 100 and keys == sorted(keys), next((a, b) for a, b in pairwise(keys) if a > b)


def test_every_row_of_the_notation_names_chapters_that_exist():
    known = {path.stem[:2] for path in NOTEBOOKS}
    for symbol, chapters, row in notation():
        assert chapters and chapters <= known, f"{symbol}: {chapters - known or row}"


def test_within_a_chapter_a_symbol_has_one_meaning():
    names = [(symbol.strip("$").split(", "), chapters) for symbol, chapters, _ in notation()]
    seen = Counter((name, chapter) for several, chapters in names for name in several for chapter in chapters)
    assert not [key for key, count in seen.items() if count > 1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_every_symbol_of_a_display_equation_is_in_the_notation_table(path):
    """In a row that names the chapter."""
    rows = [row for _, chapters, row in notation() if path.stem[:2] in chapters]
    known = {symbol for row in rows for tex in re.findall(r"\$([^$]+)\$", row) for symbol in symbols(tex)}
    known |= set("de")  # of differentials and the base of logarithms
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for tex in re.findall(r"\$\$(.+?)\$\$", cell.source, flags=re.DOTALL):
                assert symbols(tex) <= known, f"{tex.strip()[:80]}: not in notation.md: {symbols(tex) - known}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_a_chapter_ends_with_summary_exercises_and_what_the_authors_did(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    for heading in ("Summary", "Exercises", "What the authors did", "Further reading"):
        assert re.search(rf"^##+ .*{heading}", text, flags=re.MULTILINE | re.IGNORECASE), f"no section {heading!r}"
    for tier in ("Check yourself", "Code it", "Explore"):
        assert tier in text, f"no exercise {tier!r}"
    assert text.count("<summary>") >= 3, "solutions must be folded"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_neither_chapter_nor_library_changed_since_they_were_shown_to_be_equal(path):
    recorded = json.loads(RECORD.read_text(encoding="utf-8")).get(path.stem)
    assert recorded == pairs(path.with_suffix(".py")), (
        "a final version or its library symbol changed: run the chapter, whose checks compare them by numbers, "
        "then: python -m tests.chapter_pairs"
    )


def test_what_is_recorded_of_a_source_is_the_same_in_every_version_of_python():
    """`ast.dump` shows empty fields before 3.13, and 3.12 has a field more."""
    told = code_only(ast.parse("def f(x: int) -> int:\n    'Doc.'\n    return g(x)"))
    call = "Call(func=Name(id='g', ctx=Load()), args=[Name(id='x', ctx=Load())])"
    asked = "arguments(args=[arg(arg='x')])"
    assert told == f"Module(body=[FunctionDef(name='f', args={asked}, body=[Return(value={call})])])"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_every_exercise_has_wrong_answers_to_send_back(path):
    asked = checks(jupytext.read(path.with_suffix(".py")))
    known = [wrong.exercise for wrong in wrong_answers(path.stem)]
    assert not {name for name in asked if known.count(name) < AT_LEAST}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_the_first_page_says_the_measured_time(path):
    notebook = read(path)
    assert sentence(notebook.metadata["book"]) in " ".join(notebook.cells[0].source.split())


def test_the_reference_says_what_the_sources_say():
    from .reference import PAGE, page

    assert PAGE.read_text(encoding="utf-8") == page(), "docstrings changed: python -m tests.reference"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_the_readme_has_the_measured_time(path):
    seconds = read(path).metadata["book"]["seconds"]
    readme = (CHAPTERS.parent / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"(?m)^\| \[[^\]]*\]\(chapters/{path.stem}\.ipynb\) .*\| (\d+) s \|$", readme)
    assert row and int(row[1]) == round(seconds), "python -m tests.chapter_times"
