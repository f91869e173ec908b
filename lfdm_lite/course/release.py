"""A course directory for nbgrader: instructors' and students' versions, settings; new, or brought up to date."""

import os
import re
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .sets import SetError, read_set

CONFIG = '''"""Settings of nbgrader for this course; `python -m lfdm_lite.course release` wrote them."""

c = get_config()  # noqa: F821 (nbgrader gives it)
c.CourseDirectory.course_id = {course!r}
c.ClearSolutions.code_stub = {{"python": "raise NotImplementedError"}}
# A cell that runs longer is interrupted and counts as wrong. nbgrader's own 30 seconds are short on a busy server.
c.Execute.timeout = {seconds}
c.Execute.interrupt_on_timeout = True
# What students get back must not hold the hidden tests.
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    "nbgrader.preprocessors.ClearHiddenTests",
    "lfdm_lite.course.feedback.ShortErrors",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
'''
CONFIG_FILE = "nbgrader_config.py"


def find_sets(folder: Path) -> list[Path]:
    """The notebooks of problem sets, in their order.

    Raises:
        SetError: there are none.
    """
    found = sorted(folder.glob("ps*.ipynb"))
    if not found:
        raise SetError(f"{folder} holds no problem set: expected notebooks whose names begin with ps")
    return found


def make_course(folder: Path, sets: Sequence[Path], course: str = "lfdm", seconds: int = 120) -> list[Path]:
    """Write `source/` and `release/` of a course directory; whatever else lies there (marks, submissions) stays.

    Args:
        folder: new, or a course directory.
        sets: notebooks of instructors' versions; each has been looked at before anything is written. Pictures come
            along from the folder `figures` beside them, those whose names begin with the notebook's.
        seconds: that a cell may take when nbgrader marks.

    Returns:
        The students' notebooks.

    Raises:
        SetError: one of the notebooks is no problem set, the folder holds something else, or nbgrader refuses.
    """
    for path in sets:
        read_set(path)
    if folder.exists() and any(folder.iterdir()) and not (folder / CONFIG_FILE).exists():
        raise SetError(f"{folder} is no course directory, and not empty; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CONFIG_FILE).exists():  # an instructor's own settings stay
        (folder / CONFIG_FILE).write_text(CONFIG.format(course=course, seconds=seconds), encoding="utf-8")
    for path in sets:
        place = folder / "source" / path.stem
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / path.name)
        for picture in sorted((path.parent / "figures").glob(f"{path.stem}_*")):
            (place / "figures").mkdir(exist_ok=True)
            shutil.copyfile(picture, place / "figures" / picture.name)
    api = nbgrader_of(folder)
    for path in sets:
        handed_out, before = folder / "release" / path.stem, folder / "release" / f".{path.stem}.before"
        if handed_out.exists():  # nbgrader deletes it first, and may then refuse
            shutil.rmtree(before, ignore_errors=True)
            handed_out.rename(before)
        result = api.generate_assignment(path.stem)
        if not result["success"]:
            if before.exists():
                shutil.rmtree(handed_out, ignore_errors=True)
                before.rename(handed_out)
            raise SetError(f"nbgrader does not release {path.stem}: {reason_of(result)}")
        shutil.rmtree(before, ignore_errors=True)
    return [folder / "release" / path.stem / path.name for path in sets]


def reason_of(result: dict[str, Any]) -> str:
    """The line of nbgrader's report that says most: its last names a traceback that nobody sees."""
    report = "\n".join(filter(None, (result.get("log"), result.get("error"))))
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b.*: \S", line)]
    told = [line for line in errors if "above traceback" not in line]
    return (told or lines or ["it does not say why"])[-1]


def nbgrader_of(folder: Path) -> Any:
    """nbgrader, with the settings of a course directory.

    Raises:
        SetError: it is not installed.
    """
    try:
        from nbgrader.apps import NbGraderAPI
        from traitlets.config.loader import PyFileConfigLoader
    except ImportError:
        from ..files.machine.packages import advice

        raise SetError(f"nbgrader is not installed: {advice('nbgrader')}") from None
    # nbgrader 0.9.6 starts `alembic` by name, which an environment has that is called by its path and not activated.
    scripts, searched = sysconfig.get_path("scripts"), os.environ.get("PATH", "").split(os.pathsep)
    if scripts not in searched:
        os.environ["PATH"] = os.pathsep.join([scripts, *searched])
    config = PyFileConfigLoader(CONFIG_FILE, path=str(folder)).load_config()
    config.CourseDirectory.root = str(folder.resolve())
    return NbGraderAPI(config=config)
