"""What is counted in a chapter, on a small one whose counts are known."""

import subprocess
import sys
from base64 import b64encode

import nbformat
import pytest
import torch

from lfdm_lite import viz

from . import chapter_counts as counts

PAGE = """# A chapter

Five words and **one** [link](https://example.org/a/b).

$$x = 1$$

## Aside (may be skipped on a first reading)

One two three $a + b$ four.

### Deeper

$$y = 2$$ $$z = 3$$

## Back

```python
# not a heading
```

Two words.

## Exercises

Here are four more.

## Further reading

A tail.
"""


def shown(thing) -> nbformat.NotebookNode:
    data = {"text/plain": repr(thing)}
    if hasattr(thing, "_repr_html_"):
        data["text/html"] = thing._repr_html_()
    else:
        data["image/png"] = b64encode(thing._repr_png_()[0]).decode()
    return nbformat.v4.new_output("display_data", data)


def cell(code: str, *outputs: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(code, outputs=list(outputs))


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    before, after = PAGE.split("### Deeper")
    clip = torch.rand(3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    cells = [
        nbformat.v4.new_markdown_cell(before),
        cell("a = 1\n\nassert a", shown(viz.player(clip, scale=2))),
        nbformat.v4.new_markdown_cell("### Deeper" + after),
        cell("a", shown(viz.image_row(list(clip[:, :3].unbind(1)), ["left", "middle", "right"], scale=4))),
        cell("a", shown(viz.dial(lambda k: clip * k, k=[0, 1], alt="x")), shown(viz.slider(clip, list("abcd")))),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def test_words_equations_and_lines_of_code(notebook):
    found = list(counts.parts(notebook))
    text = [part for part in found if not part.code]
    assert sum(counts.words(p.text) for p in text if not p.tail) == 2 + 5 + 8 + 5 + 1 + 1 + 2
    assert sum(counts.words(p.text) for p in text if p.tail) == 1 + 4 + 2 + 2
    assert sum(counts.equations(p.text) for p in text) == 3
    assert sum(counts.code_lines(p.text) for p in found if p.code) == 4
    assert sum(p.figures for p in found) == 3


def test_what_may_be_skipped_ends_at_the_next_heading_that_is_not_below_it(notebook):
    found = list(counts.parts(notebook))
    skipped = [part.text.split("\n")[0] for part in found if part.skipped and part.text.strip()]
    assert skipped == ["## Aside (may be skipped on a first reading)", "a = 1", "### Deeper"]


def test_minutes_are_those_of_the_formula():
    part = counts.Part("one two " * 220 + "$$x$$", False, 1, False, False)
    assert counts.minutes([part]) == pytest.approx(2 + 1 + 0.5)
    assert counts.minutes([counts.Part("a = 1\n" * 24, True, 0, False, False)]) == pytest.approx(2)


def test_panels_have_the_height_at_which_they_are_shown(notebook):
    assert counts.panels(notebook) == [128, 256, 256, 256, 256, 192]
    assert counts.moving(notebook) == (1, 1, 1)


@pytest.mark.parametrize(
    "line, bare",
    [
        ("the loss fell: True", True),
        ("below 3 % of the best: True", True),
        ("tensor([True, False])", True),
        ("loss 0.12, best 0.11", False),
        ("True for 12 of 13 seeds", False),
        ("Truely said", False),
        ("found coarse to fine: True (error 0.1)", False),
    ],
)
def test_a_line_is_bare_where_true_stands_for_a_number(line, bare):
    assert counts.is_bare(line) is bare


def test_lines_are_what_is_printed_and_values_that_are_only_text():
    outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="one\n\ntwo\n"),
        nbformat.v4.new_output("execute_result", {"text/plain": "3"}, execution_count=1),
        shown(viz.Picture(torch.zeros(3, 4, 4), "black")),
    ]
    assert counts.printed(nbformat.v4.new_notebook(cells=[cell("a", *outputs)])) == ["one", "two", "3"]


def test_the_command_prints_a_row_a_chapter():
    done = subprocess.run([sys.executable, "-m", "tests.chapter_counts", "15"], capture_output=True, text=True)
    assert done.returncode == 0 and "15_full_scale" in done.stdout and "/ 220" in done.stdout, done.stderr
    assert len([line for line in done.stdout.splitlines() if line[:2].isdigit()]) == 1
