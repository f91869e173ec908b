"""The tests of problem sets are tested: right answers get all points, wrong ones lose theirs and hear why."""

import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest
from jupytext.config import load_jupytext_config

from lfdm_lite.course.sets import ProblemSet, is_test, marking, name_of, read_set

from .assignments import SETS, Answer, Class, answers, stub

pytestmark = pytest.mark.assignments
ALL = [(path, answer) for path in SETS for answer in answers(path.stem)]
MAY_BE_LONG = {("ps7_project", "given"): "a world of clips, which is one piece as a module of it would be"}
WRONG = [(path, answer) for path, answer in ALL if not answer.right]


def named(given: tuple[Path, Answer]) -> str:
    return f"{given[0].stem}-{given[1].exercise}-{given[1].what}"


@pytest.fixture(scope="module")
def classes() -> Iterator[dict[str, Class]]:
    made: dict[str, Class] = {}
    yield made
    for one in made.values():
        one.close()


def of(classes: dict[str, Class], path: Path) -> Class:
    if path.stem not in classes:
        classes[path.stem] = Class(path)
    return classes[path.stem]


def told(mark) -> str:
    return " / ".join(f"{stage.name}: {stage.reason}" for stage in mark.stages if stage.reason)


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_solutions_get_every_point_and_stubs_none(path, classes):
    one = of(classes, path)
    for exercise in one.set.exercises:
        full = one.mark(exercise.name, exercise.answer, others="stub")
        assert full.points == exercise.points, f"{exercise.name}: {told(full)}"
        empty = one.mark(exercise.name, stub(exercise.answer))
        assert empty.points == 0 and told(empty).count("not answered yet") == len(exercise.stages), told(empty)


@pytest.mark.parametrize("given", [pair for pair in ALL if pair[1].right], ids=named)
def test_right_answers_in_another_style_get_every_point(given, classes):
    path, answer = given
    mark = of(classes, path).mark(answer.exercise, answer.code)
    assert mark.points == mark.out_of, told(mark)


@pytest.mark.parametrize("given", WRONG, ids=named)
def test_wrong_answers_lose_what_they_should_and_hear_why(given, classes):
    path, answer = given
    mark = of(classes, path).mark(answer.exercise, answer.code)
    lost = tuple(stage.name for stage in mark.stages if stage.reason)
    assert lost == answer.loses and lost, f"lost {lost}: {told(mark)}"
    assert answer.message is None or answer.message.lower() in told(mark).lower(), told(mark)


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_every_exercise_has_enough_answers_to_be_trusted(path):
    problem_set, given = read_set(path), answers(path.stem)
    assert 5 <= len(problem_set.exercises) + len(problem_set.written) <= 9
    for exercise in problem_set.exercises:
        wrong = [answer for answer in given if answer.exercise == exercise.name and not answer.right]
        right = [answer for answer in given if answer.exercise == exercise.name and answer.right]
        assert len(wrong) >= 5 and right, exercise.name
        assert {answer.exercise for answer in given} <= {e.name for e in problem_set.exercises}
    share = sum(answer.message is not None for answer in given if not answer.right) / max(
        sum(not answer.right for answer in given), 1
    )
    assert share >= 0.8, "four wrong answers in five must hear their misconception by name"


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_the_notebook_says_what_nbgrader_and_students_need(path):
    problem_set = read_set(path)
    for exercise in problem_set.exercises:
        assert "### BEGIN SOLUTION" in exercise.answer and "### END SOLUTION" in exercise.answer, exercise.name
        assert len(exercise.stages) >= 2, f"{exercise.name}: credit by stages needs at least two tests"
        assert any("### BEGIN HIDDEN TESTS" in stage.source for stage in exercise.stages), exercise.name
    check_cells(problem_set)


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_no_cell_is_too_long_to_be_read_in_one_go(path):
    lengths = {name_of(c): len(c["source"].splitlines()) for c in read_set(path).cells if c["kind"] == "code"}
    long = {name: n for name, n in lengths.items() if n > 60 and (path.stem, name) not in MAY_BE_LONG}
    assert not long, f"{path.stem}: {long} lines; what the next test alone needs can stand there"


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_both_files_of_a_set_say_the_same_and_nothing_was_run(path):
    notebook, config = path.with_suffix(".ipynb"), load_jupytext_config(str(path))
    read = jupytext.read(notebook, config=config)
    script = jupytext.writes(read, fmt="py:percent", config=config)
    assert script == path.read_text(encoding="utf-8"), f"run: jupytext --to ipynb --update {path.name}"
    assert not any(cell.get("outputs") for cell in read.cells)


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_sections_and_pictures_that_a_set_names_exist(path):
    text = re.sub(r"\n#? ?", " ", path.read_text(encoding="utf-8"))
    named = re.findall(r"""[Cc]hapter (\d\d)((?:,? (?:and )?(?:'[^']+'|"[^"]+"))+)""", text)
    assert named, "a message names the section to be read"
    for number, places in named:
        (chapter,) = path.parents[1].glob(f"{number}_*.py")
        headings = re.findall(r"(?m)^# #+ (.+?)(?: \(may be skipped.*)?$", chapter.read_text(encoding="utf-8"))
        for pair in re.findall(r"""'([^']+)'|"([^"]+)\"""", places):
            place = "".join(pair).rstrip(",")
            assert place in headings, f"chapter {number} has no section {place!r}"
    for picture in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert picture.startswith(f"figures/{path.stem}_") and (path.parent / picture).stat().st_size <= 12_000, picture


def check_cells(problem_set: ProblemSet) -> None:
    for cell in problem_set.cells:
        about = marking(cell)
        if is_test(cell):
            assert about["locked"] and about["points"] > 0, about
            visible = [line for line in cell["source"].splitlines() if line.strip()]
            assert not visible[0].startswith("###"), f"{about['grade_id']}: a test needs a part that students see"
        assert about or cell["kind"] != "code", f"without a name it is run as the student's own: {cell['source'][:60]}"
        if about:
            assert about["schema_version"] == 3, about
