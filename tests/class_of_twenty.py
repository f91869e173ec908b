"""Twenty made-up submissions of a problem set, each with the marks that it must get.

They are written into the notebook that students are given, as students would. The hostile ones are harmless: a loop
that ends by itself after twice its limit, an allocation just above a limit set low, one fork, a file of no value.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lfdm_lite.course.confinement import Limits
from lfdm_lite.course.sets import ProblemSet

from .assignments import Answer, answers, stub

LIMITS = Limits(seconds=12.0, megabytes=700)


class Submission(NamedTuple):
    student: str
    code: dict[str, str]  # of each exercise; those that are not named stay as they were handed out
    points: dict[str, float]  # that each exercise must get


def class_of_twenty(problem_set: ProblemSet, sentinel: Path) -> list[Submission]:
    """Five right, one blank, two half done, six wrong throughout, six hostile in their last exercise.

    Args:
        sentinel: a file that exists, and that a hostile one wants to delete.
    """
    solutions = {exercise.name: exercise.answer for exercise in problem_set.exercises}
    full = {exercise.name: exercise.points for exercise in problem_set.exercises}
    none = dict.fromkeys(full, 0.0)
    names = list(full)
    first, last = names[: len(names) // 2], names[-1]
    found = [Submission("by_the_book", solutions, full)]
    for style in range(4):
        found.append(Submission(f"style_{style}", solutions | styled(problem_set.name, style), full))
    found.append(Submission("blank", {}, none))
    for student, done in (("first_half", first), ("second_half", [n for n in names if n not in first])):
        found.append(Submission(student, {n: solutions[n] for n in done}, none | {n: full[n] for n in done}))
    found += [wrong_throughout(problem_set, which) for which in range(6)]
    for student, deed in hostile(sentinel).items():
        code = solutions | {last: f"{deed}\n{solutions[last]}"}
        found.append(Submission(student, code, full | {last: 0.0}))
    return found


def by_exercise(name: str, right: bool) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for answer in answers(name):
        if answer.right == right:
            found.setdefault(answer.exercise, []).append(answer)
    return found


def styled(name: str, style: int) -> dict[str, str]:
    """Right answers in other styles than the solution's, where there are any."""
    return {exercise: given[style % len(given)].code for exercise, given in by_exercise(name, right=True).items()}


def wrong_throughout(problem_set: ProblemSet, which: int) -> Submission:
    """Another wrong answer to each exercise; the tests that it passes count."""
    given = {exercise: all_[which % len(all_)] for exercise, all_ in by_exercise(problem_set.name, right=False).items()}
    points = {
        exercise.name: sum(s.points for s in exercise.stages if s.name not in given[exercise.name].loses)
        for exercise in problem_set.exercises
    }
    return Submission(f"wrong_{which}", {name: answer.code for name, answer in given.items()}, points)


def hostile(sentinel: Path) -> dict[str, str]:
    """What stands before an answer that is right."""
    return {
        "loops": f"import time\nuntil = time.time() + {2 * LIMITS.seconds}\nwhile time.time() < until:\n    pass",
        "eats": f"import torch\nhoard = torch.ones({(LIMITS.megabytes + 50) * 250_000})",
        "prints": "for _ in range(3000):\n    print('x' * 50)",
        "deletes": f"import os\nos.remove({str(sentinel)!r})",
        "forks": "import os\nif os.fork() == 0:\n    os._exit(0)",
        "patches": "import lfdm_lite.course.checks as checks\nchecks.hold = lambda *args, **options: None",
    }


def hand_in(submission: Submission, released: Path, path: Path) -> Path:
    """Write it into the notebook that was handed out."""
    book = json.loads(released.read_text(encoding="utf-8"))
    for cell, name in named(book):
        if name in submission.code:
            cell["source"] = submission.code[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(book), encoding="utf-8")
    return path


def named(book: dict) -> Iterator[tuple[dict, str]]:
    for cell in book["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        if name:
            yield cell, name


def handed_out(released: Path, problem_set: ProblemSet) -> bool:
    """Whether each answer's cell holds what `stub` makes of it: the class then begins where students begin."""
    sources = {name: "".join(cell["source"]) for cell, name in named(json.loads(released.read_text(encoding="utf-8")))}
    return all(sources[e.name].strip() == stub(e.answer).strip() for e in problem_set.exercises)
