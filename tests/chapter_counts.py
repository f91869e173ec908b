"""What every chapter asks of a reader, counted: `python -m tests.chapter_counts [NN ...]` prints a table.

Words, equations and lines of code come from the text, figures, panels and printed lines from the stored outputs. A
section is left out of a first reading where its heading, or the line below it, says "may be skipped".

Panels are counted in what `lfdm_lite.viz` drew: players, dials and videos say how high they are shown; of stills the
white gutters tell the panels apart. Not counted: the axes of a matplotlib figure, which leave no trace in its PNG, and
the clips within one player.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
import numpy as np

from .chapter_pairs import CHAPTERS
from .exercises import checks, wrong_answers
from .pictures import KINDS, pictures

# Minutes of an attentive reader; the first is the middle of what is measured for prose, the others are our estimate.
WORDS_A_MINUTE = 220
MINUTES_AN_EQUATION = 1.0
MINUTES_A_FIGURE = 0.5
CODE_LINES_A_MINUTE = 12

PANEL = 256  # pixels of height that a panel should have
LETTERS = 16  # pixels of height that a line of text has at most
TAIL = "Exercises"  # the heading from which on a chapter is exercises and tail


class Part(NamedTuple):
    """A piece of a chapter under one heading: a paragraph or more of text, or a cell of code."""

    text: str
    code: bool
    figures: int
    tail: bool  # exercises and what follows
    skipped: bool  # on a first reading


def shows_picture(cell: nbformat.NotebookNode) -> bool:
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return any("<img" in html(d) or "lfdm-" in html(d) or set(KINDS) & set(d) for d in data)


def html(data: dict) -> str:
    return "".join(data.get("text/html", ""))


def parts(notebook: nbformat.NotebookNode) -> Iterator[Part]:
    """A chapter in its order, each piece with the state of the headings above it."""
    tail, depth = False, None  # depth: of the heading that may be skipped
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield Part(cell.source, True, int(shows_picture(cell)), tail, depth is not None)
            continue
        fenceless = re.sub(r"(?ms)^```.*?^```\s*$", "", cell.source)
        for piece in re.split(r"(?m)^(?=#{1,6} )", fenceless):
            heading = re.match(r"(#+) (.*)", piece)
            if heading:
                level, (title, *below) = len(heading[1]), [line for line in piece.splitlines() if line.strip()]
                if depth is not None and level <= depth:
                    depth = None
                if depth is None and "may be skipped" in " ".join([title, *below[:1]]).lower():
                    depth = level
                tail = tail or heading[2].strip() == TAIL
            yield Part(piece, False, piece.count("!["), tail, depth is not None)


def words(text: str) -> int:
    """Of prose: display equations, markup and addresses left out; a formula in the line is one word."""
    text = re.sub(r"(?s)\$\$.*?\$\$", " ", text)
    text = re.sub(r"\$[^$]+\$", " formula ", text)
    text = re.sub(r"\]\([^)]*\)|<[^>]+>", " ", text)
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def equations(text: str) -> int:
    return len(re.findall(r"(?s)\$\$.+?\$\$", text))


def code_lines(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())


def minutes(found: list[Part]) -> float:
    """To read these parts, by the constants above."""
    text, code = [part.text for part in found if not part.code], [part.text for part in found if part.code]
    return (
        sum(map(words, text)) / WORDS_A_MINUTE
        + sum(map(equations, text)) * MINUTES_AN_EQUATION
        + sum(part.figures for part in found) * MINUTES_A_FIGURE
        + sum(map(code_lines, code)) / CODE_LINES_A_MINUTE
    )


# ---------------------------------------------------------------- what a chapter prints


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """Lines of the stored outputs that are text: what is printed, and values that show themselves as nothing else."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stdout":
                texts.append(output.text)
            elif set(output.get("data", {})) == {"text/plain"}:
                texts.append("".join(output.data["text/plain"]))
    return [line.strip() for text in texts for line in text.splitlines() if line.strip()]


def is_bare(line: str) -> bool:
    """Whether a line says True or False in place of a number: without any, or as its last word, after a claim."""
    says = re.search(r"\b(True|False)\b", line)
    return bool(says and not re.search(r"\d", line) or re.search(r"\b(True|False)\W*$", line))


# ---------------------------------------------------------------- what a chapter shows


def runs(filled: np.ndarray, gap: int) -> list[tuple[int, int]]:
    """Where a row of yes and no is yes, (start, end), holes of fewer than `gap` closed."""
    places = np.flatnonzero(filled)
    if not len(places):
        return []
    cuts = np.flatnonzero(np.diff(places) > gap)
    return list(zip(places[np.r_[0, cuts + 1]], places[np.r_[cuts, len(places) - 1]] + 1, strict=True))


def panels_of_still(image: np.ndarray) -> list[int]:
    """Heights of the panels of a still: what white rows and columns of at least 4 pixels divide; letters are none."""
    ink, found = (image < 250).any(axis=2), []
    for top, bottom in runs(ink.any(axis=1), 3):
        for left, right in runs(ink[top:bottom].any(axis=0), 3):
            rows = runs(ink[top:bottom, left:right].any(axis=1), 1)
            while len(rows) > 1 and rows[0][1] - rows[0][0] <= LETTERS:  # the title above it
                del rows[0]
            height = int(rows[-1][1] - rows[0][0])
            if height > LETTERS and right - left > LETTERS:
                found.append(height)
    return found


def panels(notebook: nbformat.NotebookNode) -> list[int]:
    """Heights in pixels at which the panels of `viz` are shown, those of stills estimated by their gutters."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "".join(data.get("text/plain", "")).startswith("Picture("):
                found += [height for (image,) in pictures([output]) for height in panels_of_still(image)]
            found += shown_heights(html(data))
    return found


def shown_heights(page: str) -> list[int]:
    """Of the players, dials and videos of a page; a dial is one panel, whatever the number of its states."""
    moved = []
    for one in re.split('class="lfdm-(?:dial|player)"', page)[1:]:
        width, ratio = re.search(r"width:(\d+)px", one), re.search(r"aspect-ratio:(\d+)/(\d+)", one)
        w, h = map(int, ratio.groups()) if ratio else pictures([{"data": {"text/html": one}}])[0].shape[2:0:-1]
        moved.append(round(int(width[1]) * h / w))
    videos = [
        round(int(width) * frames.shape[1] / frames.shape[2])
        for tag, width in re.findall(r'(<img src="data:image/gif;base64,[^"]+" width="(\d+)")', page)
        for frames in pictures([{"data": {"text/html": tag}}])
    ]
    return moved + videos


def moving(notebook: nbformat.NotebookNode) -> tuple[int, int, int]:
    """Dials, sliders and players."""
    pages = [html(output.get("data", {})) for cell in notebook.cells for output in cell.get("outputs", [])]
    players = [one for page in pages for one in page.split('class="lfdm-player"')[1:]]
    play = sum("play or pause" in one for one in players)
    return sum(page.count('class="lfdm-dial"') for page in pages), len(players) - play, play


# ---------------------------------------------------------------- the table


def counts(path: Path) -> dict[str, str]:
    """A row of the table, column by column."""
    notebook = nbformat.read(path, as_version=4)
    found = list(parts(notebook))
    text, code = [part for part in found if not part.code], [part for part in found if part.code]
    heights, lines, asked = panels(notebook), printed(notebook), checks(notebook)
    bare = sum(map(is_bare, lines))
    first = [part for part in found if not part.skipped]
    return {
        "chapter": path.stem,
        "words": str(sum(words(part.text) for part in text if not part.tail)),
        "tail": str(sum(words(part.text) for part in text if part.tail)),
        "cells": f"{len(notebook.cells)}",
        "code": str(sum(code_lines(part.text) for part in code)),
        "asserts": str(sum(len(re.findall(r"(?m)^\s*assert\b|\bassert_\w+\(", part.text)) for part in code)),
        "equations": str(sum(equations(part.text) for part in text)),
        "figures": str(sum(part.figures for part in found)),
        "panels<256": f"{sum(height < PANEL for height in heights)}/{len(heights)}",
        "dials/sliders/players": "/".join(map(str, moving(notebook))),
        "bare": f"{bare}/{len(lines)}",
        "exercises": str(len(asked)),
        "wrong": str(len(wrong_answers(path.stem))),
        "kB": str(round(path.stat().st_size / 1e3)),
        "min": f"{minutes(found):.0f}",
        "min first": f"{minutes(first):.0f}",
        "of it body": f"{minutes([part for part in first if not part.tail]):.0f}",
        "says": str(notebook.metadata["book"]["minutes"]),
    }


LEGEND = f"""
words, tail: of prose before "{TAIL}" and from there on; code: lines that are not blank; asserts: lines that check.
panels<256: of the panels whose height is known; panels of matplotlib and clips within a player are not known.
bare: printed lines that say True or False in place of a number, of all. exercises: functions that a check asks for.
min = words / {WORDS_A_MINUTE} + {MINUTES_AN_EQUATION:g} an equation + {MINUTES_A_FIGURE:g} a figure + lines of code \
/ {CODE_LINES_A_MINUTE}: all; first: without sections that "may be skipped";
of it body: that without exercises and tail; says: `book.minutes` of the metadata."""


def main(wanted: list[str]) -> None:
    rows = [
        counts(path)
        for path in sorted(CHAPTERS.glob("[0-9]*.ipynb"))
        if not wanted or path.stem.startswith(tuple(wanted))
    ]
    if not rows:
        raise SystemExit(f"no chapter begins with {' or '.join(wanted)}")
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    for row in [{name: name for name in widths}, *rows]:
        print("  ".join(f"{row[name]:{'<' if name == 'chapter' else '>'}{width}}" for name, width in widths.items()))
    print(LEGEND)


if __name__ == "__main__":
    main(sys.argv[1:])
