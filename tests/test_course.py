"""Problem sets are read, marked and released as their instructor expects, whatever comes back."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import Queue

import jupytext
import pytest
import torch

from lfdm_lite.course import confinement, marking
from lfdm_lite.course.__main__ import Grade, notebooks
from lfdm_lite.course.__main__ import main as course_main
from lfdm_lite.course.checks import hold
from lfdm_lite.course.confinement import Limits
from lfdm_lite.course.marking import Examiner, Mark, mark_all
from lfdm_lite.course.release import CONFIG_FILE, find_sets, make_course, nbgrader_of
from lfdm_lite.course.sets import SetError, read_set

from .patience import HUNG
from .small_set import ANSWER, GIVEN, RIGHT, WRAPS, body, write

pytestmark = pytest.mark.assignments


@pytest.fixture
def shifts(tmp_path) -> Path:
    return write(tmp_path / "sets" / "ps9_shifts.ipynb", ANSWER.format(RIGHT))


@pytest.fixture(scope="module")
def kept() -> Iterator[Examiner]:
    """An examiner of that set."""
    one = Examiner([GIVEN])
    yield one
    one.close()


@pytest.fixture(autouse=True)
def one_examiner(request, monkeypatch):
    """Every test that marks asks the same one, which a class of any size would do, too; it takes seconds to start."""

    @contextmanager
    def same(given, count):
        assert given == (GIVEN,) and count == 1
        ready = Queue()
        ready.put(request.getfixturevalue("kept"))
        yield ready

    if "own_examiner" not in request.keywords:
        monkeypatch.setattr(marking, "examiners", same)


def marks(shifts: Path, answers: dict[str, str], before: str = "", **limits) -> dict[str, Mark]:
    paths = [write(shifts.parents[1] / "in" / f"{name}.ipynb", code, before) for name, code in answers.items()]
    return {mark.submission: mark for mark in mark_all(read_set(shifts), paths, Limits(**limits))}


def reasons(mark: Mark) -> str:
    return " / ".join(stage.reason or "" for exercise in mark.exercises for stage in exercise.stages)


def test_right_answers_get_all_points_in_any_style_and_wrong_ones_their_part_with_the_reason(shifts):
    loops = (
        "out = torch.empty_like(image)\n    for i in range(3):\n        out[:, i] = image[:, min(max(i - dx, 0), 2)]\n"
    )
    found = marks(
        shifts,
        {
            "right": ANSWER.format(RIGHT),
            "loops": body(loops + "    return out"),
            "wraps": body("return image.roll(dx, 1)"),
            "to_the_visible_test": body("return image if dx == 0 else torch.tensor([[0.0, 0, 1], [3, 3, 4]])"),
            "stub": body("raise NotImplementedError"),
            "nothing": body("pass"),
            "typo": body("return imagee"),
            "syntax": "def shift(image, dx:",
        },
    )
    points = {name: mark.points for name, mark in found.items()}
    assert points == {
        "right": 3, "loops": 3, "wraps": 1, "to_the_visible_test": 1, "stub": 0, "nothing": 0, "typo": 0, "syntax": 0,
    }  # fmt: skip
    assert WRAPS in reasons(found["wraps"])
    assert "one to the left is off" in reasons(found["to_the_visible_test"])
    assert reasons(found["stub"]) == "not answered yet / not answered yet"
    assert "nothing is returned" in reasons(found["nothing"])
    assert "NameError: name 'imagee' is not defined (line 2 of the cell, in shift)" in reasons(found["typo"])
    assert "an earlier cell fails: SyntaxError" in reasons(found["syntax"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of time and memory need forks")
def test_what_ends_fights_or_leaves_the_process_gets_no_marks_and_changes_nothing(shifts, tmp_path):
    """Harmless samples: the allocation is just above a low limit, the file is a sentinel."""
    sentinel, kept = tmp_path / "sentinel", tmp_path / "kept"
    kept.write_text("as it was")
    hostile = {
        "eats": ("torch.ones(90_000_000)\n    return image", "more memory"),
        "prints": ("for _ in range(3000):\n        print('x' * 50)\n    return image", "prints more than 100,000"),
        "writes": (f"open({str(sentinel)!r}, 'w')\n    {RIGHT}", "write 'sentinel', which is outside"),
        "deletes": (f"import os\n    os.remove({str(kept)!r})\n    {RIGHT}", "change 'kept', which is outside"),
        "hides it": (
            f"try:\n        open({str(sentinel)!r}, 'w')\n    except OSError:\n        pass\n    {RIGHT}",
            "write 'sentinel'",
        ),
        "calls": (f"import socket\n    socket.create_connection(('127.0.0.1', 9))\n    {RIGHT}", "reach a network"),
        "forks": (f"import os\n    os.fork()\n    {RIGHT}", "start or stop another process"),
        "runs": (f"import subprocess\n    subprocess.run(['true'])\n    {RIGHT}", "start or stop another process"),
        "leaves": ("import os\n    os._exit(0)", "ended the process"),
        "exits": ("raise SystemExit", "SystemExit"),
        "patches": (
            f"import lfdm_lite.course.checks as c, torch.testing\n    c.hold = lambda *a, **k: None\n    {RIGHT}",
            "replaced lfdm_lite.course.checks.hold",
        ),
        "rewrites": (
            "from lfdm_lite.course import checks\n    checks.differs.__code__ = (lambda *a: None).__code__",
            "replaced lfdm_lite.course.checks.differs",
        ),
        "rewrites what is given": (
            "rows.__code__ = (lambda *numbers, brightness: picture).__code__\n    return picture",
            "replaced rows",
        ),
        "changes its defaults": (
            "rows.__kwdefaults__['brightness'] = 0.0\n    return 0 * image",
            "replaced rows.brightness",
        ),
        "changes what it calls": (f"rows.__globals__['torch'] = None\n    {RIGHT}", "replaced torch"),
        "hides what Python gives it": (f"rows.__globals__['len'] = None\n    {RIGHT}", "replaced len"),
        "is content with less": (
            "hold.__kwdefaults__['atol'] = 1e9\n    return 0 * image",
            "replaced lfdm_lite.course.checks.hold.atol",
        ),
        "blinds tensors": (
            "torch.Tensor.any = lambda *far: torch.tensor(False)\n    return 0 * image",
            "replaced torch.Tensor.any",
        ),
        "waits for the last call": (
            f"if dx == -1:\n        hold.__code__ = (lambda *a, **k: None).__code__\n    {RIGHT}",
            "replaced lfdm_lite.course.checks.hold",
        ),
    }
    found = marks(shifts, {name: body(code) for name, (code, _) in hostile.items()}, seconds=HUNG, megabytes=300)
    for name, (_, why) in hostile.items():
        assert found[name].points == 0, name
        assert why in reasons(found[name]), f"{name}: {reasons(found[name])}"
    assert not sentinel.exists() and kept.read_text() == "as it was"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of time and memory need forks")
def test_what_does_not_end_in_its_time_is_ended(shifts):
    """The loop would end by itself, and then return nothing, which is another reason."""
    loops = body("import time\n    until = time.time() + 60\n    while time.time() < until:\n        pass")
    mark = marks(shifts, {"loops": loops}, seconds=3.0)["loops"]
    assert mark.points == 0 and "did not end within 3 seconds" in reasons(mark)


def test_a_name_of_the_tests_that_an_answer_takes_for_itself_helps_nobody(shifts):
    mark = marks(shifts, {"takes": "def hold(*args, **kwargs):\n    pass\n\n" + body("return image + 1")})["takes"]
    assert mark.points == 0


def test_given_data_is_a_students_own_to_change(shifts):
    mark = marks(shifts, {"wipes": f"picture.zero_()\nrows = None\n\n{body(RIGHT)}"})["wipes"]
    assert mark.points == 3, reasons(mark)


@pytest.mark.own_examiner
def test_where_a_system_cannot_fork_each_exercise_has_a_process_that_ends_in_time(shifts, tmp_path, monkeypatch):
    """Taking `os.fork` away here has the plain grader go the way that it goes on Windows."""
    monkeypatch.delattr(os, "fork")
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    sleeps = "import time\n    until = time.time() + 60\n    while time.time() < until:\n        time.sleep(0.1)"
    answers = {
        "right": (RIGHT, None),
        "leaves": ("import os\n    os._exit(0)", "ended the process"),
        "prints": (f"print('x' * 200_000)\n    {RIGHT}", "prints more than 100,000"),
        "answers itself": (
            'import os\n    os.write(1, b\'{"tests": {}, "note": null}\')\n    return 0 * image',
            "off by",
        ),
        "deletes": (f"import os\n    os.remove({str(kept)!r})\n    {RIGHT}", "change 'kept', which is outside"),
    }
    found = marks(shifts, {name: body(code) for name, (code, _) in answers.items()}, seconds=HUNG)
    found |= marks(shifts, {"loops": body(sleeps)}, seconds=3.0)
    answers["loops"] = (sleeps, "did not end within 3 seconds")
    for name, (_, why) in answers.items():
        assert found[name].points == (0 if why else 3), f"{name}: {reasons(found[name])}"
        assert (why or "") in reasons(found[name]), f"{name}: {reasons(found[name])}"
    assert kept.read_text() == "as it was"


def test_threads_of_given_cells_keep_no_answer_waiting(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    busy = "import torch\ntorch.nn.functional.conv2d(torch.rand(1, 8, 256, 256), torch.rand(8, 8, 3, 3)).exp()"
    examiner = Examiner([busy])
    found = examiner.examine({"cells": [{"source": busy, "test": "again"}], "limits": asdict(Limits(seconds=HUNG))})
    examiner.close()
    assert found == {"tests": {"again": None}, "note": None}


def test_derivatives_of_functions_and_temporary_files_are_allowed(shifts):
    bends = "torch.func.hessian(lambda x: (x * x).sum())(torch.ones(2))"
    keeps = "import tempfile\n    with tempfile.TemporaryFile() as file:\n        file.write(b'x')"
    given = marks(shifts, {"own": body(f"{keeps}\n    {bends}\n    {RIGHT}")})
    assert given["own"].points == 3, reasons(given["own"])


def test_one_students_answer_is_not_seen_by_the_next(shifts):
    found = marks(shifts, {"a": "torch.leak = 5\n" + ANSWER.format(RIGHT), "b": body("return image + torch.leak")})
    assert found["a"].points == 3 and "has no attribute 'leak'" in reasons(found["b"])


def test_the_instructors_tests_count_and_not_those_that_come_back(shifts, tmp_path):
    path = write(tmp_path / "in" / "ann.ipynb", body("return image.roll(dx, 1)"))
    book = json.loads(path.read_text())
    for c in book["cells"]:
        if c["metadata"].get("nbgrader", {}).get("grade"):
            c["source"] = "pass"
    path.write_text(json.dumps(book))
    (mark,) = mark_all(read_set(shifts), [path])
    assert mark.points == 1


def test_cells_of_ones_own_and_lines_for_the_notebook_are_run_or_left_out(shifts):
    mine = "%matplotlib inline\n!ls\nhelper = 2"
    assert marks(shifts, {"own": ANSWER.format(RIGHT)}, before=mine)["own"].points == 3


DEEP = pytest.param('{"cells":' + "[" * 30_000 + "]" * 30_000 + "}", id="deeper than a parser's stack")


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"cells": 3}', '{"cells": [1]}', DEEP])
def test_what_is_no_notebook_gets_a_mark_of_nothing_with_the_reason(shifts, tmp_path, text):
    (tmp_path / "broken.ipynb").write_text(text)
    (mark,) = mark_all(read_set(shifts), [tmp_path / "broken.ipynb"])
    assert mark.points == 0 and "broken.ipynb is no notebook" in mark.refused
    assert mark.for_gradescope()["score"] == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_among_submissions_is_not_waited_for(shifts, tmp_path):
    os.mkfifo(tmp_path / "pipe.ipynb")
    (mark,) = mark_all(read_set(shifts), [tmp_path / "pipe.ipynb"])
    assert mark.points == 0 and "pipe, socket or device" in mark.refused


def command(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `python -m lfdm_lite.course`."""
    monkeypatch.setattr("sys.argv", ["course", *map(str, arguments)])
    try:
        course_main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    return (code, *capsys.readouterr())


@pytest.mark.parametrize("more, message", [(["--seconds", "0"], "expected 1 or more"), (["x"], "one word too many")])
def test_a_course_is_not_made_with_what_it_cannot_use(tmp_path, monkeypatch, capsys, more, message):
    code, out, err = command(monkeypatch, capsys, "release", "--out", tmp_path / "course", *more)
    assert (code, out) == (2, "") and err.startswith("error: ") and message in err and err.count("\n") == 1
    assert not (tmp_path / "course").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--workers", "0"], "expected numbers above 0"),
        (["--seconds", "nan"], "expected numbers above 0"),
        (["--megabytes", "-1"], "expected numbers above 0"),
        (["nowhere"], "nowhere is not there"),
        (["--out", "taken"], "File exists: 'taken'"),
    ],
)
def test_a_mistake_of_who_marks_is_one_line_and_no_marks(shifts, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("a file")
    code, out, err = command(monkeypatch, capsys, "grade", shifts, write(Path("in/ann.ipynb"), ""), *more)
    assert (code, out) == (2, "") and err.startswith("error: ") and message in err and err.count("\n") == 1
    assert not Path("out").exists()


def test_what_students_name_and_answer_moves_no_cursor(shifts, tmp_path, monkeypatch, capsys):
    paper = write(tmp_path / "in" / "a\x1b[31mnn.ipynb", body("raise ValueError('red \\x1b[31m')"))
    code, out, _ = command(monkeypatch, capsys, "grade", shifts, paper, "--out", tmp_path / "marks")
    assert code == 0 and "a\\u001b[31mnn: 0 of 3 points" in out and "ValueError: red " in out and "\x1b" not in out


def test_a_missing_answer_cell_is_named(shifts, tmp_path):
    path = write(tmp_path / "in" / "ann.ipynb", "")
    book = json.loads(path.read_text())
    book["cells"] = book["cells"][:2]
    path.write_text(json.dumps(book))
    (mark,) = mark_all(read_set(shifts), [path])
    assert mark.points == 0 and "the cell shift is not in the notebook" in reasons(mark)


def test_results_for_gradescope_have_the_documented_form(shifts):
    found = marks(shifts, {"wraps": body("return image.roll(dx, 1)")})["wraps"].for_gradescope()
    assert found["score"] == 1 and [test["max_score"] for test in found["tests"]] == [1, 2]
    assert [test["status"] for test in found["tests"]] == ["passed", "failed"]
    assert WRAPS in found["tests"][1]["output"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda cells: cells.pop(2), "before it"),
        (lambda cells: cells[3]["metadata"]["nbgrader"].update(points=0), "has no points"),
        (lambda cells: cells[3]["metadata"]["nbgrader"].update(grade_id="shift"), "more than once"),
        (lambda cells: cells.__delitem__(slice(2, None)), "this is no problem set"),
    ],
)
def test_a_set_that_cannot_be_marked_is_refused(shifts, change, why):
    book = json.loads(shifts.read_text())
    change(book["cells"])
    shifts.write_text(json.dumps(book))
    with pytest.raises(SetError, match=why):
        read_set(shifts)


def test_a_set_reads_the_same_from_both_of_its_files(shifts):
    jupytext.write(jupytext.read(shifts), shifts.with_suffix(".py"), fmt="py:percent")
    here, there = read_set(shifts), read_set(shifts.with_suffix(".py"))
    assert here.exercises == there.exercises and here.given == there.given


@pytest.fixture(scope="module")
def marked(tmp_path_factory) -> Path:
    """A folder with `sets`, and with a `course` in which nbgrader has marked two students; not activated."""
    top = tmp_path_factory.mktemp("marked")
    source = write(top / "sets" / "ps9_shifts.ipynb", ANSWER.format(RIGHT))
    (source.parent / "figures").mkdir()
    for name in ("ps9_shifts_row.png", "ps8_other.png"):
        (source.parent / "figures" / name).write_bytes(b"picture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.defpath)
        make_course(top / "course", find_sets(source.parent))
    for student, code in (("ann", ANSWER.format(RIGHT)), ("bob", body("return image.roll(dx, 1)"))):
        write(top / "course" / "submitted" / student / source.stem / source.name, code)
    api = nbgrader_of(top / "course")
    assert all(api.autograde(source.stem, student)["success"] for student in ("ann", "bob"))
    return top


@pytest.fixture
def course(marked, tmp_path) -> Path:
    """One's own copy of it, with its own copy of the set."""
    shutil.copytree(marked, tmp_path, dirs_exist_ok=True)
    return tmp_path / "course"


RELEASED = Path("release", "ps9_shifts", "ps9_shifts.ipynb")


def test_the_course_of_nbgrader_holds_no_solution_and_no_hidden_test_and_keeps_what_is_there(course):
    sets, text = course.parent / "sets", (course / RELEASED).read_text()
    assert "raise NotImplementedError" in text and "shift(picture, 1)" in text
    assert "clamp" not in text and "HIDDEN" not in text and "one to the left" not in text
    (course / CONFIG_FILE).write_text("c = get_config()\n")
    make_course(course, find_sets(sets))
    assert (course / CONFIG_FILE).read_text() == "c = get_config()\n"
    assert (course / "submitted" / "ann" / "ps9_shifts" / "ps9_shifts.ipynb").exists()
    with pytest.raises(SetError, match="no course directory, and not empty"):
        make_course(sets, find_sets(sets))
    with pytest.raises(SetError, match="holds no problem set"):
        find_sets(course)


def test_a_set_that_nbgrader_refuses_stays_handed_out_as_it_was_and_the_reason_is_told(course):
    """One with a test more, when students have marks."""
    path = course.parent / "sets" / RELEASED.name
    before, book = (course / RELEASED).read_text(), json.loads(path.read_text())
    more = json.loads(json.dumps(book["cells"][-1]))
    more["metadata"]["nbgrader"]["grade_id"] = "shift-9"
    path.write_text(json.dumps(book | {"cells": [*book["cells"], more]}))
    with pytest.raises(SetError, match=f"does not release {path.stem}: .*[Cc]annot add or remove"):
        make_course(course, find_sets(path.parent))
    assert (course / RELEASED).read_text() == before


def test_where_the_system_tells_no_addresses_memory_is_not_limited_and_core_files_are(monkeypatch, tmp_path):
    set_to = {}
    monkeypatch.setattr(confinement, "held", lambda: None)
    monkeypatch.setattr(confinement, "lower", lambda resource, kind, most: set_to.update({kind: most}))
    monkeypatch.setattr(confinement.sys, "addaudithook", lambda guard: None)
    monkeypatch.setattr(confinement.tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    resource = pytest.importorskip("resource")
    confinement.confine(tmp_path, Limits())
    assert resource.RLIMIT_AS not in set_to and set_to[resource.RLIMIT_CORE] == 0


def test_a_course_is_released_by_an_environment_that_is_not_activated(marked):
    assert (marked / "course" / RELEASED).is_file()


def test_pictures_of_a_set_come_along(marked):
    figures = (marked / "course" / RELEASED).parent / "figures"
    assert [path.name for path in figures.iterdir()] == ["ps9_shifts_row.png"]


def test_what_nbgrader_gives_back_has_the_marks_and_the_reasons_and_no_hidden_test(course):
    api = nbgrader_of(course)
    given = {found["student"]: found["score"] for found in api.get_submissions("ps9_shifts")}
    assert given == {"ann": 3, "bob": 1}
    assert api.generate_feedback("ps9_shifts", "bob")["success"]
    page = (course / "feedback" / "bob" / "ps9_shifts" / "ps9_shifts.html").read_text(encoding="utf-8")
    assert WRAPS in page and "HIDDEN" not in page and "one to the left" not in page


def test_notebooks_of_folders_are_found_and_checkpoints_are_not(tmp_path):
    for name in ("ann/ps1.ipynb", "bob/ps1.ipynb", "bob/.ipynb_checkpoints/ps1.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert [path.parent.name for path in notebooks(tmp_path)] == ["ann", "bob"]


RIGHT_TENSOR = torch.linspace(0, 1, 5)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "nothing is returned"),
        ([0.0] * 5, "should be a tensor, not a list"),
        (torch.zeros(4), r"shape \(4,\), and should have \(5,\)"),
        (torch.zeros(5, dtype=torch.long), "type torch.int64"),
        (RIGHT_TENSOR.half(), "too coarse"),
        (RIGHT_TENSOR / 0, "holds NaN"),
        (RIGHT_TENSOR.flip(0), "Backwards: chapter 01"),
        (RIGHT_TENSOR + 0.1, r"off by up to 0\.1 in 100% of its places"),
    ],
)
def test_hold_says_what_is_amiss(answer, message):
    with pytest.raises(AssertionError, match=message):
        hold(answer, RIGHT_TENSOR, {"Backwards: chapter 01": RIGHT_TENSOR.flip(0)})


@pytest.mark.parametrize(
    ("answer", "right", "message"),
    [
        (torch.tensor([[0.5, -1.0]]), torch.tensor([[0.5, 1.0]]), r"first at \(0, 1\); yours holds 0\.5, -1$"),
        (torch.zeros(9), torch.ones(9), r"first at \(0,\)$"),
        (
            torch.tensor([True, False, True]),
            torch.tensor([True, True, False]),
            r"wrong in 67% .* first at \(1,\); yours is True at \(0,\), \(2,\)$",
        ),
        (torch.tensor([False, False]), torch.tensor([False, True]), r"yours is True nowhere$"),
    ],
)
def test_hold_shows_a_small_answer_itself_and_not_the_right_one(answer, right, message):
    with pytest.raises(AssertionError, match=message):
        hold(answer, right)


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("answer", "right", "message"),
    [
        ([1, INF], [1, 2], r"infinite, or no number \(NaN\), in other places than it should be, first at \(1,\)"),
        ([1, 2], [1, -INF], r"in other places than it should be, first at \(1,\)"),
        ([5, 2], [NAN, 2], r"in other places than it should be, first at \(0,\)"),
        ([NAN, 2], [2, NAN], r"in other places than it should be, first at \(0,\)"),
        ([INF, NAN], [NAN, NAN], r"in other places than it should be, first at \(0,\)"),
        ([1, INF], [1, -INF], r"infinite with the wrong sign, first at \(1,\)"),
        ([NAN, 2], [1, 2], r"holds NaN"),
        ([INF, 4], [INF, 2], r"off by up to 2 in 50% of its places, first at \(1,\)"),
        ([NAN, 4], [NAN, 2], r"off by up to 2 in 50% of its places, first at \(1,\)"),
        ([1 + 3j], [1 + 1j], r"off by up to 2 in 100% of its places"),
    ],
)
def test_hold_names_a_difference_that_has_no_size(answer, right, message):
    answer, right = 1.0 * torch.tensor(answer), 1.0 * torch.tensor(right)
    hold(right.clone(), right)
    with pytest.raises(AssertionError, match=message):
        hold(answer, right)
    with pytest.raises(AssertionError, match="A misconception"):
        hold(answer, right, {"A misconception": answer})


@pytest.mark.parametrize(
    ("answer", "right", "message"),
    [
        (3.0, INF, "is 3, which is too small"),
        (-INF, INF, "is -inf, which is too small"),
        (NAN, 3.0, "is nan, which is not it"),
        (3.0, NAN, "is 3, which is not it"),
    ],
)
def test_hold_takes_no_number_for_an_infinite_one_nor_for_none(answer, right, message):
    hold(right, right)
    with pytest.raises(AssertionError, match=message):
        hold(answer, right)


def test_marks_are_written_by_the_name_of_the_student_also_from_nbgraders_folders(shifts, tmp_path):
    for student, code in {"ann": RIGHT, "bob": "return image"}.items():
        write(tmp_path / "submitted" / student / "ps9" / "ps9.ipynb", body(code))
    Grade(shifts, (tmp_path / "submitted",), out=tmp_path / "new" / "marks").run()
    points = {path.stem: json.loads(path.read_text())["points"] for path in (tmp_path / "new" / "marks").iterdir()}
    assert points == {"ann-ps9": 3, "bob-ps9": 1}


def test_hold_takes_misconceptions_as_functions_and_in_whole_numbers():
    right, doubled = torch.tensor([1.0, 2.0]), {"It is doubled": lambda: torch.tensor([2, 4])}
    with pytest.raises(AssertionError, match="It is doubled"):
        hold(2 * right, right, doubled)
    hold(right, right, {"never asked for": lambda: 1 / 0})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((4.0, RIGHT_TENSOR / 2), "^the first part of order and ends is 4, which is too large. That is the ratio$"),
        ((2.0, RIGHT_TENSOR.flip(0)), "^the second part of order and ends is off by .* Backwards$"),
        ([2.0, RIGHT_TENSOR.flip(0)], "Backwards"),  # a list in place of the tuple
        ((5.0, RIGHT_TENSOR.flip(0)), "^the first part of order and ends is 5, which is too large$"),
        ((4.0, RIGHT_TENSOR.flip(0)), "Both"),  # all of it fits before a part does
        ((2.0, 4.0), "^the second part of order and ends should be a tensor, not a float$"),
        ((2.0,), "should be 2 things"),
    ],
)
def test_hold_names_the_mistake_in_the_first_part_of_a_tuple_that_is_amiss(answer, message):
    mistakes = {
        "That is the ratio": (4, RIGHT_TENSOR),
        "Backwards": (2, RIGHT_TENSOR.flip(0)),
        "Of another form": 4.0,
        "Both": (4.0, RIGHT_TENSOR.flip(0)),
    }
    with pytest.raises(AssertionError, match=message):
        hold(answer, (2.0, RIGHT_TENSOR), mistakes, what="order and ends")


def test_hold_goes_down_to_parts_of_parts_and_counts_long_ones():
    with pytest.raises(AssertionError, match="^the second part of the second part of it is 3, .* Too much$"):
        hold((0, (1, 3)), (0, (1, 2)), {"Too much": (9, (9, 3))}, what="it")
    with pytest.raises(AssertionError, match="^part 8 of the path is 3"):
        hold([0] * 7 + [3], [0] * 8, {"A list is one thing": [1] * 7 + [3]}, what="the path")


def test_hold_takes_what_is_right_and_near():
    hold(RIGHT_TENSOR.double() + 1e-7, RIGHT_TENSOR)
    hold((1, RIGHT_TENSOR), (1.0, RIGHT_TENSOR))
    hold({"a": 2.0, "b": "x"}, {"a": 2, "b": "x"})
    hold(float("inf"), float("inf"))
    with pytest.raises(AssertionError, match="the answer is inf, which is too large"):
        hold(float("inf"), 3.0)
    with pytest.raises(AssertionError, match="the answer is False"):
        hold(False, True)
    hold(torch.tensor(3.0), 3.0)
    same = {"This case cannot tell": RIGHT_TENSOR}
    with pytest.raises(AssertionError) as caught:
        hold(RIGHT_TENSOR * 2, RIGHT_TENSOR, same)
    assert "cannot tell" not in str(caught.value)
