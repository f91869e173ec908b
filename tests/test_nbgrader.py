"""What `chapters/instructors/marking.md` says of both graders, tried on a small set with made-up students.

Their deeds are harmless: loops end by themselves, the file that is written is an empty one in the test's own folder.
"""

import contextlib
import csv
import io
import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from lfdm_lite.course.__main__ import Grade
from lfdm_lite.course.release import make_course, nbgrader_of

from .small_set import ANSWER, RIGHT, WRAPS, body, write

pytestmark = pytest.mark.assignments
SET = "ps9_shifts"
WHY = "Which border does the picture get, and why?"
HIDDEN = "one to the left"  # stands in a hidden test alone
SLOW = """if dx == 1:
        import time
        until = time.time() + {}
        while time.time() < until:
            {}
"""
IGNORES = "try:\n                time.sleep(0.1)\n            except KeyboardInterrupt:\n                pass"


class Course(NamedTuple):
    folder: Path
    seconds: int  # that a cell may take
    written: Path  # by a student, where nobody should
    autograde: subprocess.CompletedProcess


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """A command, as an instructor types it; whatever its exit code."""
    command = [sys.executable, "-m", "nbgrader", *words]  # it finds alembic in the PATH that nbgrader_of has set
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ)


def nbgrader(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """The same, in this process: another one takes seconds to import what is imported here."""
    from jupyter_core.application import NoStart
    from nbgrader.apps import NbGraderApp

    log, code, app = io.StringIO(), 0, NbGraderApp.instance()
    with contextlib.chdir(folder):
        try:
            app.initialize(list(words))
            app.init_logging(logging.StreamHandler, [log], color=False, subapps=True)
            with contextlib.suppress(NoStart):  # what it raises when the subcommand is done
                app.start()
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            app.reset()
    return subprocess.CompletedProcess(["nbgrader", *words], code, "", log.getvalue())


def hand_in(folder: Path, student: str, code: str, **more: str) -> Path:
    return write(folder / "submitted" / student / SET / f"{SET}.ipynb", code, why="*My answer.*", **more)


def without_test(path: Path, name: str, source: str | None) -> None:
    """Put something in place of a test, or take its cell out."""
    book = json.loads(path.read_text())
    (place,) = (i for i, c in enumerate(book["cells"]) if c["metadata"].get("nbgrader", {}).get("grade_id") == name)
    if source is None:
        del book["cells"][place]
    else:
        book["cells"][place]["source"] = source
    path.write_text(json.dumps(book))


def points_of(folder: Path, student: str) -> dict[str, float]:
    """Points of each test that nbgrader has given."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        notebook = book.find_submission_notebook(SET, SET, student)
        return {grade.name: grade.score for grade in notebook.grades if grade.cell.cell_type == "code"}


def scores(folder: Path) -> dict[str, tuple[float, float]]:
    """Of each student, and the maximum, as exported."""
    assert nbgrader(folder, "export").returncode == 0
    with (folder / "grades.csv").open(encoding="utf-8", newline="") as lines:
        return {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(lines)}


def import_seconds() -> int:
    """What importing PyTorch takes here and now: a cell's limit must leave room for it."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import lfdm_lite.course.checks"], check=True)
    return round(time.monotonic() - began)


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Course:
    """All students but one, marked by one command."""
    top = tmp_path_factory.mktemp("nbgrader")
    folder, elsewhere, seconds = top / "course", top / "elsewhere", max(10, 5 * import_seconds())
    elsewhere.mkdir()
    make_course(folder, [write(top / "sets" / f"{SET}.ipynb", ANSWER.format(RIGHT), why=WHY)], seconds=seconds)
    hand_in(folder, "ann", "torch.leak = 5\n" + ANSWER.format(RIGHT))
    hand_in(folder, "bob", body("return image.roll(dx, 1)"))
    hand_in(folder, "carl", "def hold(*args, **kwargs):\n    pass\n\n" + body("return image + 1"))
    hand_in(folder, "dora", body(SLOW.format(3 * seconds, "time.sleep(0.1)") + f"    {RIGHT}"))
    hand_in(folder, "emil", body(f"open({str(elsewhere / 'of_no_value')!r}, 'w').close()\n    {RIGHT}"))
    without_test(hand_in(folder, "fay", body("return image.roll(dx, 1)")), "shift-1", "pass")
    without_test(hand_in(folder, "gil", ANSWER.format(RIGHT)), "shift-1", None)
    hand_in(folder, "ida", body(f"assert hasattr(torch, 'leak')\n    {RIGHT}"))
    hand_in(folder, "jon", f"picture.zero_()\n\n\n{body(RIGHT)}")
    hand_in(folder, "kay", body("rows.__code__ = (lambda *numbers, brightness: picture).__code__\n    return picture"))
    nbgrader_of(folder)
    return Course(folder, seconds, elsewhere / "of_no_value", typed(folder, "autograde", SET))


def test_one_command_marks_everybody_and_what_it_exports_says_so(course):
    assert course.autograde.returncode == 0, course.autograde.stderr[-3000:]
    expected = dict(ann=3, bob=1, carl=3, dora=1, emil=3, fay=1, gil=1, ida=0, jon=1, kay=3)
    assert scores(course.folder) == {student: (points, 6) for student, points in expected.items()}


def test_the_instructors_tests_are_put_back(course):
    assert points_of(course.folder, "fay") == {"shift-0": 1, "shift-1": 0}
    autograded = json.loads((course.folder / "autograded" / "fay" / SET / f"{SET}.ipynb").read_text())
    assert any(HIDDEN in "".join(cell["source"]) for cell in autograded["cells"])


def test_the_points_of_a_deleted_test_are_lost_without_a_word(course):
    assert points_of(course.folder, "gil") == {"shift-0": 1, "shift-1": 0}
    said = dict(re.findall(r"(?s)student with ID '(\w+)'(.*?)(?=student with ID|\Z)", course.autograde.stderr))
    assert "shift-1" in said["fay"], "a test that was changed is told"
    assert "shift-1" not in said["gil"]


def test_a_redefined_name_of_the_tests_counts(course):
    assert points_of(course.folder, "carl") == {"shift-0": 1, "shift-1": 2}


def test_a_given_function_that_is_rewritten_counts_and_given_data_stays_changed(course):
    assert points_of(course.folder, "kay") == {"shift-0": 1, "shift-1": 2}
    assert points_of(course.folder, "jon") == {"shift-0": 1, "shift-1": 0}


def test_a_cell_that_runs_too_long_is_interrupted_and_the_others_count(course):
    assert points_of(course.folder, "dora") == {"shift-0": 1, "shift-1": 0}


def test_files_are_written_elsewhere(course):
    assert points_of(course.folder, "emil") == {"shift-0": 1, "shift-1": 2} and course.written.exists()


def test_one_student_does_not_see_what_another_left(course):
    assert points_of(course.folder, "ann") == {"shift-0": 1, "shift-1": 2}
    assert points_of(course.folder, "ida") == {"shift-0": 0, "shift-1": 0}


def test_pages_for_students_hold_no_hidden_test_and_autograded_copies_do(course):
    assert nbgrader(course.folder, "generate_feedback", SET).returncode == 0
    pages = {path.parts[-3]: path.read_text(encoding="utf-8") for path in course.folder.glob("feedback/*/*/*.html")}
    assert set(pages) == {"ann", "bob", "carl", "dora", "emil", "fay", "gil", "ida", "jon", "kay"}
    assert not [student for student, page in pages.items() if HIDDEN in page or "HIDDEN" in page]
    assert WRAPS in pages["bob"] and "KeyboardInterrupt" in pages["dora"]
    copies = {path.parts[-3]: json.loads(path.read_text()) for path in course.folder.glob("autograded/*/*/*.ipynb")}
    assert set(copies) == set(pages)
    with_hidden = [s for s, copy in copies.items() if any(HIDDEN in "".join(c["source"]) for c in copy["cells"])]
    assert set(with_hidden) == set(pages) - {"gil"}  # he has deleted the cell
    outputs = [output for cell in copies["bob"]["cells"] for output in cell.get("outputs", [])]
    assert HIDDEN in json.dumps(outputs), "a traceback quotes hidden tests: this is why ours are shortened"


def test_what_reacts_to_no_interrupt_leaves_the_whole_submission_without_marks(course):
    hand_in(course.folder, "hal", body(SLOW.format(course.seconds + 30, IGNORES) + f"    {RIGHT}"))
    found = nbgrader(course.folder, "autograde", SET, "--student", "hal")
    assert found.returncode != 0 and "There was an error processing assignment" in found.stderr
    assert not (course.folder / "autograded" / "hal" / SET).exists()
    assert scores(course.folder)["hal"][0] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of time and memory need forks")
def test_the_plain_grader_gives_the_same_students_what_the_page_says(course, tmp_path):
    before, seconds = course.written.stat().st_mtime_ns, float(max(6, course.seconds // 3))
    path = course.folder / "source" / SET / f"{SET}.ipynb"
    Grade(path, (course.folder / "submitted",), out=tmp_path, seconds=seconds).run()
    marks = {file.stem.partition("-")[0]: json.loads(file.read_text()) for file in tmp_path.iterdir()}
    points = {student: mark["points"] for student, mark in marks.items() if student != "hal"}
    assert points == dict(ann=3, bob=1, carl=0, dora=0, emil=0, fay=1, gil=3, ida=0, jon=3, kay=0)
    assert course.written.stat().st_mtime_ns == before
    assert all(dict(mark["written"]) == {"shift-why": 3} for mark in marks.values())
