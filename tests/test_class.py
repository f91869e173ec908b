"""A class of twenty hands in, and every student gets the mark that was expected; with nbgrader and without.

`pytest -m assignments tests/test_class.py --whole-class` marks all problem sets so; else the shortest stands for them.
"""

import csv
import json
import os
import subprocess
import sys

import pytest

from lfdm_lite.course.__main__ import Grade
from lfdm_lite.course.release import make_course, nbgrader_of
from lfdm_lite.course.sets import read_set

from .assignments import SETS
from .class_of_twenty import LIMITS, class_of_twenty, hand_in, handed_out

pytestmark = [
    pytest.mark.assignments,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of time and memory need forks"),
]
SHORT = "ps2_warping"
WITH_NBGRADER = ("by_the_book", "first_half", "wrong_0")  # the other half is blank


def chosen(config) -> list[str]:
    return [path.stem for path in SETS if config.getoption("--whole-class") or path.stem == SHORT]


def pytest_generate_tests(metafunc):
    metafunc.parametrize("name", chosen(metafunc.config), scope="module")


@pytest.fixture(scope="module")
def lesson(name, tmp_path_factory):
    """A set, its course directory, the notebook handed out, the class, and a file that nobody may touch."""
    top = tmp_path_factory.mktemp("lesson")
    (path,) = (path for path in SETS if path.stem == name)
    problem_set = read_set(path)
    (released,) = make_course(top / "course", [path.with_suffix(".ipynb")])
    sentinel = top / "of_no_value"
    sentinel.write_text("as it was")
    assert handed_out(released, problem_set)
    return problem_set, top / "course", released, class_of_twenty(problem_set, sentinel), sentinel


def test_twenty_submissions_get_their_marks(lesson, tmp_path):
    problem_set, course, released, students, sentinel = lesson
    for one in students:
        hand_in(one, released, tmp_path / "in" / one.student / f"{problem_set.name}.ipynb")
    source = course / "source" / problem_set.name / f"{problem_set.name}.ipynb"
    limits = {"seconds": LIMITS.seconds, "megabytes": LIMITS.megabytes}
    Grade(source, (tmp_path / "in",), out=tmp_path / "marks", workers=2, **limits).run()
    assert len(students) == 20
    for one in students:
        mark = json.loads((tmp_path / "marks" / f"{one.student}-{problem_set.name}.json").read_text(encoding="utf-8"))
        given = {e["name"]: sum(stage["points"] for stage in e["stages"]) for e in mark["exercises"]}
        assert given == one.points, f"{one.student}: {mark}"
        assert mark["points"] == sum(one.points.values())
    assert sentinel.read_text() == "as it was"


def test_nbgrader_gives_the_same_marks(lesson, tmp_path):
    problem_set, course, released, students, _ = lesson
    few = [one for one in students if one.student in WITH_NBGRADER]
    for one in few:
        place = course / "submitted" / one.student / problem_set.name / f"{problem_set.name}.ipynb"
        hand_in(one, released, place)
    api = nbgrader_of(course)
    for one in few:
        result = api.autograde(problem_set.name, one.student)
        assert result["success"], result
    given = {found["student"]: found["score"] for found in api.get_submissions(problem_set.name)}
    expected = {one.student: sum(one.points.values()) for one in few}
    assert given == expected
    exported = [sys.executable, "-m", "nbgrader", "export", "--to", str(tmp_path / "marks.csv")]
    subprocess.run(exported, cwd=course, check=True, capture_output=True, env=os.environ)  # PATH is nbgrader_of's
    with (tmp_path / "marks.csv").open(encoding="utf-8", newline="") as lines:
        assert {row["student_id"]: float(row["score"]) for row in csv.DictReader(lines)} == expected
