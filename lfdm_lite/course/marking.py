"""Marks of submissions, exercise by exercise, each stage with its reason; as text, JSON, and for Gradescope."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from threading import Timer
from typing import IO, Any, cast

from .confinement import Limits
from .examiner import ENDED, Found, Job, failed, too_slow
from .sets import Cell, Exercise, ProblemSet, SetError, name_of, read_cells

# A fork has none of the threads that given cells started, and would wait for them for ever.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
PATIENCE = 120.0  # seconds within which an examiner that is asked nothing more must end


@dataclass(frozen=True)
class StageMark:
    """What a test of an exercise gave."""

    name: str
    points: float
    out_of: float
    reason: str | None  # why not all; None: all


@dataclass(frozen=True)
class ExerciseMark:
    """An exercise of one student."""

    name: str
    stages: tuple[StageMark, ...]
    note: str | None = None  # what else happened: the code ran too long, wanted the network, ...

    @property
    def points(self) -> float:
        return sum(stage.points for stage in self.stages)

    @property
    def out_of(self) -> float:
        return sum(stage.out_of for stage in self.stages)


@dataclass(frozen=True)
class Mark:
    """A submission."""

    submission: str
    exercises: tuple[ExerciseMark, ...]
    written: tuple[tuple[str, float], ...] = ()  # left to a person
    refused: str | None = None  # why nothing could be marked

    @property
    def points(self) -> float:
        return sum(exercise.points for exercise in self.exercises)

    @property
    def out_of(self) -> float:
        return sum(exercise.out_of for exercise in self.exercises)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.submission}: {self.points:g} of {self.out_of:g} points"
        if self.refused:
            yield f"  {self.refused}"
        for exercise in self.exercises:
            yield f"  {exercise.name}: {exercise.points:g} of {exercise.out_of:g}"
            reasons: dict[str, list[str]] = {}
            for stage in exercise.stages:
                if stage.reason:
                    reasons.setdefault(stage.reason, []).append(stage.name)
            for reason, stages in reasons.items():
                yield f"    {', '.join(stages)}: {reason}"
        for name, points in self.written:
            yield f"  {name}: to be marked by a person, of {points:g}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "points": self.points, "out_of": self.out_of}

    def for_gradescope(self) -> dict[str, Any]:
        """The results.json that Gradescope's autograder documents: one test a stage."""
        tests = [
            {
                "name": f"{exercise.name}: {stage.name}",
                "score": stage.points,
                "max_score": stage.out_of,
                "status": "failed" if stage.reason else "passed",
                "output": stage.reason or "",
            }
            for exercise in self.exercises
            for stage in exercise.stages
        ]
        return {"score": self.points, "output": self.refused or "", "tests": tests}


class Examiner:
    """A process that has the given cells of a set and takes exercises, one after the other.

    Where a system cannot fork, which is what keeps exercises apart and ends them in time, each exercise gets a process.
    """

    def __init__(self, given: Sequence[str]):
        self.given, self.forks = list(given), hasattr(os, "fork")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "lfdm_lite.course.examiner"]
        pipe, settings = subprocess.PIPE, os.environ | ONE_THREAD
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd="/", env=settings)
        self.ask, self.told = cast(IO[str], self.process.stdin), cast(IO[str], self.process.stdout)
        if self.answer({"cells": self.given, "forks": self.forks}).strip() != "ready":
            raise SetError("the given cells of the problem set do not run here; what they said stands above")

    def answer(self, line: dict[str, Any]) -> str:
        """The line that is answered to one; empty if the process has ended."""
        try:
            self.ask.write(json.dumps(line) + "\n")
            self.ask.flush()
            return self.told.readline()
        except BrokenPipeError:
            return ""

    def examine(self, job: Job) -> Found:
        """What an exercise's tests give.

        Raises:
            SetError: the examiner itself fell over, or the given cells of the set do not run.
        """
        if not self.forks:
            return self.examine_once(job)
        answer = self.answer(job)
        if not answer:
            raise SetError("the process that runs students' code has ended; what it said stands above")
        return cast(Found, json.loads(answer))

    def examine_once(self, job: Job) -> Found:
        """The same with a process of its own, which is ended when the time is up."""
        if self.process.poll() is not None:
            self.start()
        seconds, tests = job["limits"]["seconds"], [cell["test"] for cell in job["cells"] if cell["test"]]
        with TemporaryDirectory(prefix="lfdm-mark-", ignore_cleanup_errors=True) as folder:
            clock = Timer(seconds, self.process.kill)
            clock.start()
            answer = self.answer(job | {"folder": folder})
            in_time = clock.is_alive()
            clock.cancel()
            self.process.kill()
            self.close()
        if answer:
            return cast(Found, json.loads(answer))
        return failed(tests, ENDED if in_time else too_slow(seconds))

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self.ask.close()
        self.process.wait(timeout=PATIENCE)
        self.told.close()


@contextmanager
def examiners(given: Sequence[str], count: int) -> Iterator["Queue[Examiner]"]:
    """Some, ready to be taken from a queue and put back."""
    ready: Queue[Examiner] = Queue()
    made = []
    try:
        for _ in range(count):
            made.append(Examiner(given))
            ready.put(made[-1])
        yield ready
    finally:
        for examiner in made:
            examiner.close()


def runnable(source: str) -> str:
    """A cell as plain Python: lines for the notebook itself (% and !) are left out."""
    return "\n".join("pass" if line.lstrip()[:1] in ("%", "!") else line for line in source.splitlines())


def cells_up_to(exercise: Exercise, cells: Sequence[Cell], known: set[str]) -> list[str] | None:
    """The student's own code, to the end of the answer; None if the answer's cell is missing.

    Args:
        known: names of the instructor's cells that are not answers: the instructor's version of them counts.
    """
    sources = []
    for cell in cells:
        if cell["kind"] == "code" and name_of(cell) not in known:
            sources.append(runnable(cell["source"]))
        if name_of(cell) == exercise.name:
            return sources
    return None


def without_marks(exercise: Exercise, why: str) -> ExerciseMark:
    """Of an exercise whose tests cannot be run."""
    return ExerciseMark(exercise.name, tuple(StageMark(s.name, 0.0, s.points, why) for s in exercise.stages), why)


def mark_exercise(
    exercise: Exercise, cells: Sequence[Cell], known: set[str], examiner: Examiner, limits: Limits
) -> ExerciseMark:
    """One exercise of one submission."""
    sources = cells_up_to(exercise, cells, known)
    if sources is None:
        why = f"the cell {exercise.name} is not in the notebook; answer in the cells that were handed out"
        return without_marks(exercise, why)
    tests = [{"source": stage.source, "test": stage.name} for stage in exercise.stages]
    job = {"cells": [*({"source": s, "test": None} for s in sources), *tests], "limits": asdict(limits)}
    found = examiner.examine(job)
    stages = []
    for stage in exercise.stages:
        reason = found["tests"].get(stage.name, found["note"] or "this test did not run")
        stages.append(StageMark(stage.name, 0.0 if reason else stage.points, stage.points, reason))
    return ExerciseMark(exercise.name, tuple(stages), found["note"])


def mark(problem_set: ProblemSet, submission: Path, examiner: Examiner, limits: Limits) -> Mark:
    """A submission: whatever it holds, a mark."""
    known = {name for cell in problem_set.cells if (name := name_of(cell))} - {e.name for e in problem_set.exercises}
    try:
        cells = read_cells(submission)
    except SetError as error:
        none = [without_marks(exercise, str(error)) for exercise in problem_set.exercises]
        return Mark(submission.stem, tuple(none), problem_set.written, str(error))
    marks = [mark_exercise(e, cells, known, examiner, limits) for e in problem_set.exercises]
    return Mark(submission.stem, tuple(marks), problem_set.written)


def mark_all(
    problem_set: ProblemSet,
    submissions: Iterable[Path],
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    workers: int = 1,
) -> Iterator[Mark]:
    """Marks of many submissions, in their order."""
    with examiners(problem_set.given, workers) as ready, ThreadPoolExecutor(workers) as pool:

        def one(submission: Path) -> Mark:
            examiner = ready.get()
            try:
                return mark(problem_set, submission, examiner, limits)
            finally:
                ready.put(examiner)

        yield from pool.map(one, submissions)
