"""Points and comments by hand stay when a test of a set changes and everybody is marked again."""

import json

import pytest

from lfdm_lite.course.release import make_course, nbgrader_of

from .small_set import ANSWER, RIGHT, body, write
from .test_nbgrader import SET, WHY, hand_in, import_seconds, nbgrader, points_of, scores

pytestmark = pytest.mark.assignments
COMMENT = "Which border does torch repeat?"


def test_marks_by_hand_stay_when_a_test_changes_and_all_are_marked_again(tmp_path):
    """The walk of 'When a test changes after handing out', number by number."""
    from nbgrader.api import Gradebook

    folder, source = tmp_path / "course", write(tmp_path / "sets" / f"{SET}.ipynb", ANSWER.format(RIGHT), why=WHY)
    make_course(folder, [source], seconds=max(30, 5 * import_seconds()))
    hand_in(folder, "ann", ANSWER.format(RIGHT))
    hand_in(folder, "bob", body("return image.roll(dx, 1)"))
    nbgrader_of(folder)
    assert nbgrader(folder, "autograde", SET).returncode == 0
    assert nbgrader(folder, "generate_feedback", SET).returncode == 0
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        for student, name, points in (("ann", "shift-why", 3), ("bob", "shift-why", 1), ("bob", "shift-1", 0.5)):
            grade = book.find_grade(name, SET, SET, student)
            grade.manual_score, grade.needs_manual_grade = points, False
        book.find_comment("shift-why", SET, SET, "bob").manual_comment = COMMENT
        book.db.commit()
    page = folder / "feedback" / "bob" / SET / f"{SET}.html"
    for more, told in (([], False), (["--force"], True)):  # what is there is skipped, unless it is forced
        assert nbgrader(folder, "generate_feedback", SET, *more).returncode == 0
        assert (COMMENT in page.read_text(encoding="utf-8")) == told
    assert scores(folder) == {"ann": (6, 6), "bob": (2.5, 6)}
    changed = json.loads(source.read_text())
    for cell in changed["cells"]:
        about = cell["metadata"].get("nbgrader", {})
        if about.get("grade_id") == "shift-1":  # wraps around are right now
            cell["source"], about["points"] = "hold(shift(picture, 1), picture.roll(1, 1))", 4
    source.write_text(json.dumps(changed))
    make_course(folder, [source])
    assert scores(folder) == {"ann": (6, 8), "bob": (2.5, 8)}
    again = nbgrader(folder, "autograde", SET)
    assert again.returncode == 0 and "skipping" in again.stderr.lower()
    assert scores(folder) == {"ann": (6, 8), "bob": (2.5, 8)}
    assert nbgrader(folder, "autograde", SET, "--force").returncode == 0
    assert scores(folder) == {"ann": (4, 8), "bob": (2.5, 8)}
    assert points_of(folder, "bob")["shift-1"] == 0.5  # by hand, and it wins over the 4 points of the test
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        assert all(book.find_grade("shift-why", SET, SET, student).needs_manual_grade for student in ("ann", "bob"))
        assert book.find_comment("shift-why", SET, SET, "bob").comment == COMMENT
