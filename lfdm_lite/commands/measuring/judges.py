"""The judges of a model: those that are named, or those that lie with it."""

from pathlib import Path
from typing import Any

from ..common import UsageError


def load_judge(folder: Path, labels: list[str]) -> Any:
    """The judge in a folder, for a model of these labels."""
    from ...evaluation.judges import VideoClassifier

    judge = VideoClassifier.load(folder)
    if judge.labels != labels:
        raise UsageError(f"the judge in {folder} knows the labels {judge.labels}, the model {labels}")
    return judge


def find_judge(folder: Path, named: Path | None, without: str = "") -> Path:
    """The judge that was named, or the one that lies with the model; `without` says how one could do without."""
    found = named if named is not None else with_model(folder, "judge")
    if found is None:
        raise UsageError(
            f"no judge in {folder / 'judge'} or {folder.resolve().parent / 'judge'}: "
            f"name one by --judge FOLDER{without}"
        )
    return found


def find_judge_of_faces(folder: Path, named: Path | None) -> Path | None:
    """The judge of faces that was named, or the one that lies with the model, if there is one."""
    return named if named is not None else with_model(folder, "judge_of_faces")


def with_model(folder: Path, name: str) -> Path | None:
    """A classifier's folder in that of a model, or beside it."""
    candidates = (folder / name, folder.resolve().parent / name)
    return next((candidate for candidate in candidates if (candidate / "config.json").is_file()), None)
