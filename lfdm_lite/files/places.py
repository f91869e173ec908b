"""Where a file or a folder can be written, found out before there is anything to write. Nothing here needs torch."""

import os
import stat
import tempfile
from pathlib import Path


def check_place(path: str | Path) -> Path:
    """Where a file of that name would lie: there, or where a link of that name leads.

    Raises:
        ValueError: something is there that is no file and would be replaced by one (a folder, a device, a pipe), a file
            that is write-protected, or no folder that can be written to.
    """
    place = follow(path)
    if place.is_dir():
        raise ValueError(f"{path} is a folder; expected the name of a file")
    if os.path.lexists(place):
        if not stat.S_ISREG(os.lstat(place).st_mode):
            raise ValueError(f"{path} is a device, a pipe or the like; expected the name of a file")
        if not os.access(place, os.W_OK):
            raise ValueError(f"{path} is write-protected")
    check_writable(place.parent, path)
    return place


def check_folder(path: str | Path) -> Path:
    """Where a folder of that name is, or would be made.

    Raises:
        ValueError: a file is there, or nothing can be written there.
    """
    place = follow(path)
    if os.path.lexists(place) and not place.is_dir():
        raise ValueError(f"{path} is a file; expected a folder")
    check_writable(place, path)
    return place


def follow(path: str | Path) -> Path:
    """The absolute path without links; the last name need not be there.

    Raises:
        ValueError: links in a circle, or a name that is too long.
    """
    try:
        place = Path(os.path.realpath(path))
        place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return place
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    if place.is_symlink():  # realpath leaves a circle as it is
        raise ValueError(f"{path} is a link in a circle")
    return place


def check_writable(folder: Path, wanted: str | Path) -> None:
    """Whether a file can be made in `folder`, or in the nearest folder above it that is there.

    Raises:
        ValueError: not; `wanted` is named.
    """
    nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise ValueError(f"{wanted}: {nearest} is a file, not a folder")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise ValueError(f"{wanted}: nothing can be written to {nearest} ({error.strerror})") from None


def user_cache() -> Path:
    """Where a user's computer keeps what can be made anew: `$LFDM_CACHE`, or else `$XDG_CACHE_HOME/lfdm_lite` or
    `~/.cache/lfdm_lite`."""
    if named := os.environ.get("LFDM_CACHE"):
        return Path(os.path.expanduser(named))
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "lfdm_lite"
