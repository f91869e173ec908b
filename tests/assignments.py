"""Problem sets with the answers that their tests must tell apart, and what is said of them."""

import re
from pathlib import Path
from typing import NamedTuple

from lfdm_lite.course.confinement import Limits
from lfdm_lite.course.marking import Examiner, ExerciseMark, mark_exercise
from lfdm_lite.course.sets import Cell, Exercise, ProblemSet, is_answer, name_of, read_set

ROOT = Path(__file__).parents[1]
SETS = sorted((ROOT / "chapters" / "assignments").glob("ps*.py"))
ANSWERS = Path(__file__).parent / "answers"
SOLUTION = re.compile(r"(?ms)^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION[^\n]*\n?")
HIDDEN = re.compile(r"(?ms)^[ \t]*### BEGIN HIDDEN TESTS\n(.*?)^[ \t]*### END HIDDEN TESTS")


class Answer(NamedTuple):
    exercise: str
    right: bool
    what: str  # the misconception, or the style
    message: str | None  # words that a student must read
    loses: tuple[str, ...]  # tests
    code: str


def answers(name: str) -> list[Answer]:
    """Those of a set.

    Raises:
        ValueError: a cell whose first line is of neither form.
    """
    path = ANSWERS / f"{name}.py"
    cells = re.split(r"(?m)^(?=# %% )", path.read_text(encoding="utf-8"))[1:]
    found = []
    for cell in cells:
        head, _, code = cell.partition("\n")
        parts = [part.strip() for part in head.removeprefix("# %%").split("|")]
        if len(parts) == 3 and parts[1] == "right":
            found.append(Answer(parts[0], True, parts[2], None, (), code))
        elif len(parts) == 5 and parts[1] == "wrong":
            loses = tuple(name.strip() for name in parts[4].split(","))
            found.append(Answer(parts[0], False, parts[2], None if parts[3] == "-" else parts[3], loses, code))
        else:
            raise ValueError(f"{path.name}: {head!r}; see tests/answers/README.md")
    return found


def stub(source: str) -> str:
    """A cell as students get it."""
    return SOLUTION.sub(lambda match: f"{match[1]}raise NotImplementedError\n", source)


def hidden(problem_set: ProblemSet) -> list[str]:
    """Lines of hidden tests and of solutions that say something: none may be in what students get."""
    texts = [text for cell in problem_set.cells for text in HIDDEN.findall(cell["source"])]
    texts += [match[0] for cell in problem_set.cells for match in SOLUTION.finditer(cell["source"])]
    public = "\n".join(HIDDEN.sub("", stub(cell["source"])) for cell in problem_set.cells)
    lines = {line.strip() for text in texts for line in text.splitlines()}
    return sorted(line for line in lines if len(line) > 12 and "###" not in line and line not in public)


class Class:
    """Marks answers to one set, with one examiner."""

    def __init__(self, path: Path):
        self.set = read_set(path)
        self.known = {name for cell in self.set.cells if (name := name_of(cell))} - {e.name for e in self.set.exercises}
        self.examiner = Examiner(self.set.given)

    def exercise(self, name: str) -> Exercise:
        return next(exercise for exercise in self.set.exercises if exercise.name == name)

    def mark(self, name: str, code: str, others: str = "solution") -> ExerciseMark:
        """An answer to one exercise; to the ones before it: the solutions, or stubs."""
        cells: list[Cell] = []
        for cell in self.set.cells:
            if is_answer(cell) and name_of(cell) == name:
                cell = cell | {"source": code}
            elif is_answer(cell) and others == "stub":
                cell = cell | {"source": stub(cell["source"])}
            cells.append(cell)
        return mark_exercise(self.exercise(name), cells, self.known, self.examiner, Limits())

    def close(self) -> None:
        self.examiner.close()
