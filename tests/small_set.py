"""A problem set of one exercise with two tests (1 and 2 points) and a written answer (3), to try the graders on."""

import json
from pathlib import Path

GIVEN = """import torch
from lfdm_lite.course.checks import hold

picture = torch.arange(6.0).view(2, 3)


def rows(*numbers, brightness=1.0):
    return brightness * torch.tensor(numbers)"""
RIGHT = "columns = (torch.arange(3) - dx).clamp(0, 2)\n    return image[:, columns]"
ANSWER = "def shift(image, dx):\n    ### BEGIN SOLUTION\n    {}\n    ### END SOLUTION"
WRAPS = "It wraps around: chapter 03"
TESTS = {
    "shift-0": (1, 'hold(shift(picture, 0), picture, what="a picture moved by 0")'),
    "shift-1": (
        2,
        "right = rows([0, 0, 1], [3, 3, 4])\n"
        f'hold(shift(picture, 1), right, {{"{WRAPS}": picture.roll(1, 1)}})\n'
        "### BEGIN HIDDEN TESTS\n"
        "hold(shift(picture, -1), rows([1, 2, 2], [4, 5, 5]), what='one to the left')\n"
        "### END HIDDEN TESTS",
    ),
}


def cell(kind: str, source: str, **about) -> dict:
    made = {"cell_type": kind, "source": source, "metadata": {}}
    if kind == "code":
        made |= {"outputs": [], "execution_count": None}
    if about:
        about = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3} | about
        made["metadata"]["nbgrader"] = about
    return made


def write(path: Path, answer: str, before: str = "", why: str = "") -> Path:
    """The set, or an answer to it, as a notebook; with a cell of one's own before, with a written answer behind."""
    cells = [cell("markdown", "# Shifts"), cell("code", GIVEN, grade_id="given", locked=True)]
    cells += [cell("code", before)] if before else []
    cells.append(cell("code", answer, grade_id="shift", solution=True))
    cells += [
        cell("code", source, grade_id=name, grade=True, locked=True, points=points)
        for name, (points, source) in TESTS.items()
    ]
    cells += [cell("markdown", why, grade_id="shift-why", grade=True, solution=True, points=3)] if why else []
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(book), encoding="utf-8")
    return path


def body(code: str) -> str:
    return "def shift(image, dx):\n    " + code
