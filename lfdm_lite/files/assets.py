"""Where the book's files lie: trained models, recorded runs, example pictures."""

import os
from collections.abc import Iterator
from pathlib import Path

FOLDER = "assets"
MARK = Path("checkpoints", "faces64", "config.json")  # by which the book's folder is told from others of that name


def asset(name: str | Path = "") -> Path:
    """A file or folder below the book's `assets/`, wherever a chapter runs.

    It is looked for in the folder that `$LFDM_ASSETS` names, in the working folder and those above it, and beside the
    library's sources. Of a library that was installed without them, the trained model is found alone.

    Args:
        name: such as "checkpoints/faces64"; the folder itself unless given.

    Raises:
        FileNotFoundError: no such folder is at hand, or it has no such file.
    """
    folders = [folder for folder in _folders() if (folder / MARK).is_file()]
    places = [*folders, _installed()] if Path(name).parts else folders
    if (folder := next((place for place in places if (place / name).exists()), None)) is not None:
        return folder / name
    if folders:
        raise FileNotFoundError(
            f"{folders[0]} has no {Path(name).as_posix()}: is it of the version that this chapter is of?"
        )
    raise FileNotFoundError(
        f"the book's folder {FOLDER}/ is not at hand: run this inside a clone of the book's repository, "
        f"or let LFDM_ASSETS name that folder of one"
    )


def _folders() -> Iterator[Path]:
    """Where the folder may be."""
    if named := os.environ.get("LFDM_ASSETS"):
        yield Path(named)
    for above in range(len(Path.cwd().parents) + 1):
        yield Path(*[".."] * above, FOLDER)  # relative, so that what a chapter prints is the same everywhere
    yield Path(__file__).resolve().parents[2] / FOLDER


def _installed() -> Path:
    """What a wheel holds of that folder: the trained model alone."""
    return Path(__file__).resolve().parents[1] / FOLDER
