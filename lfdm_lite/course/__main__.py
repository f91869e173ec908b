"""`python -m lfdm_lite.course`: hand problem sets out, and mark what comes back."""

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ..commands.common import UsageError, parse
from ..files.atomic import write_json
from ..files.reading import printable
from .confinement import Limits
from .marking import Mark, mark_all
from .release import find_sets, make_course
from .sets import SetError, read_set


@dataclass(frozen=True)
class Release:
    """Make a course directory for nbgrader, or bring one up to date: instructors' and students' notebooks, settings."""

    out: Path = Path("out/course")
    """Of the course; marks and submissions in it stay."""
    sets: Path = Path("chapters/assignments")
    """Folder with the instructor's versions."""
    seconds: int = 120
    """That a cell may take when nbgrader marks."""

    def run(self) -> None:
        if self.seconds < 1:
            raise SetError(f"--seconds {self.seconds}: expected 1 or more")
        for path in make_course(self.out, find_sets(self.sets), seconds=self.seconds):
            print(f"to be handed out: {path}")


@dataclass(frozen=True)
class Grade:
    """Mark notebooks without nbgrader: prints marks with their reasons, and writes them as JSON."""

    problem_set: Positional[Annotated[Path, arg(metavar="SET.ipynb")]]
    """The instructor's version."""
    submissions: Positional[Annotated[tuple[Path, ...], arg(metavar="NOTEBOOK|FOLDER")]]
    """Notebooks, or folders of them: also folders with one folder a student."""
    out: Path = Path("out/marks")
    """One JSON file a submission."""
    gradescope: bool = False
    """Write the results in the form that Gradescope documents."""
    workers: int = 1
    """Submissions marked at a time."""
    seconds: float = 20.0
    """That one exercise of one student may take."""
    megabytes: int = 1024
    """Memory that it may take beyond what all share."""

    def run(self) -> None:
        if not (self.workers >= 1 and self.seconds > 0 and self.megabytes >= 1):
            raise SetError("--workers, --seconds and --megabytes: expected numbers above 0")
        problem_set = read_set(self.problem_set)
        found = [path for given in self.submissions for path in notebooks(given)]
        if not found:
            raise SetError(f"no notebook in {', '.join(map(str, self.submissions))}")
        names = names_of(found)
        limits = Limits(seconds=self.seconds, megabytes=self.megabytes)
        self.out.mkdir(parents=True, exist_ok=True)
        for name, mark in zip(names, mark_all(problem_set, found, limits, self.workers), strict=True):
            mark = replace(mark, submission=name)
            print(printable("\n".join(mark.lines())), flush=True)
            write_json(self.out / f"{name}.json", form(mark, self.gradescope))


def form(mark: Mark, gradescope: bool) -> dict[str, Any]:
    """What is written of a mark; through JSON, so that tuples are lists."""
    return json.loads(json.dumps(mark.for_gradescope() if gradescope else mark.as_json()))


def notebooks(given: Path) -> list[Path]:
    """Of a folder and those below, or the file itself."""
    if not given.exists():
        raise SetError(f"{given} is not there; expected a notebook, or a folder of them")
    if given.is_dir():
        return sorted(path for path in given.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    return [given]


def names_of(paths: list[Path]) -> list[str]:
    """One for each: the file's name, with those of its folders where several files have the same name."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    whole = [path.resolve() for path in paths]
    above = Path(os.path.commonpath(whole))
    parts = [path.with_suffix("").relative_to(above).parts for path in whole]
    return ["-".join(dict.fromkeys(names)) for names in parts]  # nbgrader's folders repeat the set's name


def main() -> None:
    try:
        parse({"release": Release, "grade": Grade}, "python -m lfdm_lite.course", sys.argv[1:]).run()
    except (SetError, UsageError, OSError) as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
