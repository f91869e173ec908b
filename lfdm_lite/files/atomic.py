"""Files that appear whole or not at all, whatever happens to their writer.

Nothing here needs torch.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows, where leftovers stay
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place in one step.

    Whoever reads `path`, even after a crash in the middle, finds the old file or the new one, whole. What killed
    writers of the same file have left is swept away. Of a symbolic link the file that it leads to is replaced.

    Args:
        path: the file to create or replace; its folder must exist.
        write: called once with the temporary path; if it raises, `path` is left as it was.

    Raises:
        ValueError: there is something that is no file, such as a folder or a device.
        OSError: it cannot be written; names `path`.
    """
    path = Path(path)
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe, socket or device"
        raise ValueError(f"cannot write {path}: it is {kind}; name a file")
    try:
        sweep_leftovers(path)
        with temporary_beside(path) as temporary:
            write(temporary)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            os.replace(temporary, path)
        flush_folder(path.parent)
    except OSError as error:
        unnamed = error.filename is None or Path(str(error.filename)).name.startswith(temporary_prefix(path))
        if error.errno is not None and unnamed:
            error.filename, error.filename2 = str(path), None  # the name that was asked for, not the temporary one
        raise


def write_json(path: str | Path, values: Any) -> None:
    """Write `values` as indented JSON, atomically."""
    text = json.dumps(values, indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def flush_folder(folder: Path) -> None:
    """Bring names in a folder to the disk, where the system can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):  # some file systems cannot, and some folders can be written but not read
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ---------------------------------------------------------------- temporary files
#
# A writer holds a lock on its temporary file. The system lets it go when the process ends, however it ends; so what
# can be locked belongs to nobody.


def temporary_prefix(path: Path) -> str:
    """How the names of a file's temporary files begin; short enough for every file system."""
    return f".{path.name[:50]}."


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """An empty temporary file beside `path`, locked; it is gone afterwards, unless it was moved away."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(path), suffix=".tmp")
        if fcntl is None:
            os.close(handle)
            break
        try:
            mine = lock(handle) and os.path.lexists(name)  # else somebody swept it between the two
        except OSError:  # a file system without locks
            mine = True
        if mine:
            break
        os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        if fcntl is not None:
            os.close(handle)


def sweep_leftovers(path: Path) -> None:
    """Delete temporary files of `path` whose writers are dead."""
    if fcntl is None:
        return
    ours = re.compile(re.escape(temporary_prefix(path)) + r"[a-z0-9_]{8}\.tmp")  # as tempfile names them
    with contextlib.suppress(OSError):
        for name in filter(ours.fullmatch, os.listdir(path.parent)):
            with contextlib.suppress(OSError):  # gone meanwhile, not ours to touch, or nothing can be locked there
                delete_if_dead(path.parent / name)


def delete_if_dead(temporary: Path) -> None:
    """Delete a temporary file, unless its writer still holds the lock."""
    handle = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if lock(handle):
            temporary.unlink()
    finally:
        os.close(handle)


def lock(handle: int) -> bool:
    """Take the lock of an open file, unless another holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
