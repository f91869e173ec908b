"""Where a command may write. Every rule is here, and is asked before anything is computed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..files.atomic import write_json
from ..files.places import check_folder, check_place, follow
from .common import UsageError

METRICS = "metrics.json"  # the one file that a command may put beside the weights: what `lfdm info` prints
CHECKPOINT = ("config.json", "model.safetensors")


def output_file(path: Path, option: str = "--out", reads: Iterable[Path] = ()) -> Path:
    """Where a file is to be written: the path, or what a link of that name leads to.

    Args:
        reads: files and folders that the command reads. None of what is there is replaced, and a checkpoint gets no
            file but its metrics.

    Raises:
        UsageError: not there; says why.
    """
    try:
        place = check_place(path)
    except ValueError as error:
        raise UsageError(f"{option} {error}") from None
    for source in reads:
        inside = place.is_relative_to(follow(source))
        if source.is_dir() and inside and place.name != METRICS:
            if is_checkpoint(source):
                raise UsageError(f"{option} {path} lies inside the checkpoint {source}; name a file elsewhere")
            if place.exists():
                raise UsageError(f"{option} {path} is a file of {source}, which is read; name another")
        if inside and source.is_file():
            raise UsageError(f"{option} {path} is the file that is read; name another")
    return place


def output_folder(path: Path, option: str = "--out", reads: Iterable[Path] = (), fresh: Iterable[str] = ()) -> Path:
    """Where a folder is to be made or filled.

    Args:
        reads: as for `output_file`.
        fresh: names of files that must not be there yet.

    Raises:
        UsageError: not there; says why.
    """
    try:
        place = check_folder(path)
    except ValueError as error:
        raise UsageError(f"{option} {error}") from None
    for source in reads:
        if source.is_dir() and place.is_relative_to(follow(source)):
            raise UsageError(f"{option} {path} lies inside {source}, which is read; name a folder elsewhere")
    there = [name for name in fresh if (place / name).exists()]
    if there:
        raise UsageError(f"{path / there[0]} is there already and would be lost; choose another {option}")
    return place


def no_two_alike(paths: Iterable[Path]) -> None:
    """Whether several files that are to be written are several.

    Raises:
        UsageError: two of them are one, at least where capitals do not count.
    """
    seen: set[str] = set()
    for path in paths:
        if key(path) in seen:
            raise UsageError(f"{path} would be written twice; give each file a name of its own")
        seen.add(key(path))


def key(path: Path) -> str:
    """The same for two paths that are one file, on macOS and Windows too."""
    return str(follow(path)).casefold()


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a trained network."""
    return any((folder / name).is_file() for name in CHECKPOINT)


def write_report(place: Path, values: Any) -> None:
    """Write figures as JSON, whole or not at all; the folder is made."""
    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(place, values)
