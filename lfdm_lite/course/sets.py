"""Problem sets as they lie on disk: notebooks with nbgrader's metadata, read into exercises with their tests.

A set begins with given cells (locked, without points). An exercise is a cell to be answered (`solution`) with the
locked cells behind it that have points (`grade`): its tests, in stages. What nobody can test, a written answer, is a
Markdown cell with points of its own, which a person marks.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files.reading import regular_file

Cell = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A test, and what it is worth."""

    name: str  # nbgrader's grade_id
    points: float
    source: str


@dataclass(frozen=True)
class Exercise:
    """A cell to be answered, and its tests."""

    name: str  # nbgrader's grade_id of the cell
    answer: str  # the instructor's
    stages: tuple[Stage, ...]

    @property
    def points(self) -> float:
        return sum(stage.points for stage in self.stages)


@dataclass(frozen=True)
class ProblemSet:
    """A set as the instructor wrote it."""

    name: str  # of its file, without the ending
    cells: tuple[Cell, ...]
    given: tuple[str, ...]  # code cells that are neither answered nor tests, in their order
    exercises: tuple[Exercise, ...]
    written: tuple[tuple[str, float], ...]  # names and points of what a person marks


class SetError(ValueError):
    """A notebook that is no problem set, or no answer to one; one line says why."""


def read_cells(path: Path) -> tuple[Cell, ...]:
    """The cells of a notebook, or of one in percent format (.py), as dictionaries with source and metadata.

    Raises:
        SetError: the file is neither.
    """
    import jupytext

    regular_file(path, "a notebook", error=SetError)  # a pipe among submissions would be waited for
    try:
        notebook = jupytext.read(path) if path.suffix == ".py" else json.loads(path.read_text(encoding="utf-8"))
        cells = notebook["cells"]
        found = tuple(
            {"kind": c["cell_type"], "source": "".join(c["source"]), "metadata": dict(c.get("metadata", {}))}
            for c in cells
        )
    except OSError as error:
        raise SetError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SetError(f"{path.name} is no notebook: expected JSON with cells, as Jupyter saves it") from None
    return found


def marking(cell: Cell) -> dict[str, Any]:
    """nbgrader's metadata of a cell, or nothing."""
    found = cell["metadata"].get("nbgrader")
    return found if isinstance(found, dict) else {}


def name_of(cell: Cell) -> str | None:
    return marking(cell).get("grade_id")


def is_answer(cell: Cell) -> bool:
    """Code that a student writes."""
    return cell["kind"] == "code" and bool(marking(cell).get("solution"))


def is_test(cell: Cell) -> bool:
    about = marking(cell)
    return cell["kind"] == "code" and bool(about.get("grade")) and not about.get("solution")


def read_set(path: Path) -> ProblemSet:
    """The instructor's version of a set.

    Raises:
        SetError: not a set: no exercise, a name that occurs twice, a test without points or before any exercise.
    """
    cells = read_cells(path)
    names = [name for cell in cells if (name := name_of(cell))]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise SetError(f"{path.name}: the names {', '.join(sorted(twice))} occur more than once")
    given, exercises, written = [], [], []
    for cell in cells:
        if is_answer(cell):
            exercises.append([name_of(cell), cell["source"], []])
        elif is_test(cell):
            points = marking(cell).get("points", 0)
            if not exercises or not points > 0:
                raise SetError(f"{path.name}: the test {name_of(cell)} has no points, or no exercise before it")
            exercises[-1][2].append(Stage(str(name_of(cell)), float(points), cell["source"]))
        elif cell["kind"] == "code":
            if exercises and not marking(cell).get("locked"):
                continue  # a picture or a trial between exercises: no test needs it
            given.append(cell["source"])
        elif marking(cell).get("grade"):
            written.append((str(name_of(cell)), float(marking(cell).get("points", 0))))
    if not exercises:
        raise SetError(f"{path.name} has no cell to be answered: this is no problem set")
    made = tuple(Exercise(name, answer, tuple(stages)) for name, answer, stages in exercises)
    return ProblemSet(path.stem, cells, tuple(given), made, tuple(written))
