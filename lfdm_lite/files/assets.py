"""Where the book's files lie: trained models, recorded runs, example pictures."""

import os
from collections.abc import Iterator
from pathlib import Path

FOLDER = "assets"
MARK = Path("checkpoints", "faces64", "config.json")  # by which the book's folder is told from others of that name


def asset(name: str | Path = "") -> Path:
    """A file or folder below the book's `assets/`, wherever a chapter runs.

    It is looked for in the folder that `$LFDM_ASSETS` names, in the working folder and those above it, and beside the
    library's sources.

    Args:
        name: such as "checkpoints/faces64"; the folder itself unless given.

    Raises:
        FileNotFoundError: no such folder is at hand, or it has no such file.
    """
    folder = next((folder for folder in _folders() if (folder / MARK).is_file()), None)
    if folder is None:
        raise FileNotFoundError(
            f"the book's folder {FOLDER}/ is not at hand: run this inside a clone of the book's repository, "
            f"or let LFDM_ASSETS name that folder of one"
        )
    if not (folder / name).exists():
        raise FileNotFoundError(
            f"{folder} has no {Path(name).as_posix()}: is it of the version that this chapter is of?"
        )
    return folder / name


def _folders() -> Iterator[Path]:
    """Where the folder may be."""
    if named := os.environ.get("LFDM_ASSETS"):
        yield Path(named)
    for above in range(len(Path.cwd().parents) + 1):
        yield Path(*[".."] * above, FOLDER)  # relative, so that what a chapter prints is the same everywhere
    yield Path(__file__).resolve().parents[2] / FOLDER
