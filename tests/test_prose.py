"""Sentences stay sentences: no line of prose begins by chance with what Markdown takes for something else."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

CHAPTERS = Path(__file__).parents[1] / "chapters"
PAGES = [*sorted(CHAPTERS.glob("[0-9]*.ipynb")), *sorted(CHAPTERS.rglob("*.md"))]
MARKDOWN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
STARTS = {"ordered_list_open": "a list", "bullet_list_open": "a list", "heading_open": "a heading", "hr": "a rule"}


def swallowed(text: str) -> Iterator[str]:
    """Lines that end a paragraph in the middle of its sentence: `1.` and `+` begin a list, `%` is a comment of MyST."""
    lines = text.splitlines()
    for token in MARKDOWN.parse(text):
        if token.type in STARTS and token.map and (first := token.map[0]):
            if lines[first - 1].strip() and not re.match(r"\s*([-+*]\s|>|\d+[.)]\s|<|:::|```)", lines[first - 1]):
                yield f"begins {STARTS[token.type]}: {lines[first]}"
        if token.type == "inline" and token.map:
            yield from (f"is a comment: {line}" for line in token.content.splitlines() if line.startswith("%"))


def texts(page: Path) -> list[str]:
    if page.suffix == ".md":
        return [page.read_text(encoding="utf-8")]
    return [cell.source for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_of_prose_begins_a_list_or_a_comment_by_chance(page):
    assert not [found for text in texts(page) for found in swallowed(text)]


@pytest.mark.parametrize(
    "text, found",
    [
        ("targets of size about\n1. A random answer", 1),
        ("It is at $x / W\n- 1$, as you know.", 1),
        ("The sum is\n0. It is small.\n\n* one\n* two\n\nTwo of them:\n\n1. one", 0),
        ("if its 95\n% interval and that of the", 1),
        ("the formula $(1 - s)\n+ s'$ has", 1),
        ("In three steps:\n\n1. first\n2. second\n   - below\n3. third", 0),
        ("$$a\n+ b$$", 0),
        ("the size is\n10 pixels", 0),
    ],
)
def test_a_line_that_markdown_would_take_for_something_else_is_noticed(text, found):
    assert len(list(swallowed(text))) == found
