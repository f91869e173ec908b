"""One process at a time fills a folder."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK, HOLDER = ".lfdm.lock", ".lfdm.holder"  # the lock of a folder, and who has it
ORPHANS = 10.0  # seconds in which the children of a killed process notice that it is gone


class FolderInUse(ValueError):
    """Another process works in the folder."""


@contextmanager
def hold_folder(folder: str | Path, wait: bool = False) -> Iterator[Path]:
    """Have a folder to oneself while the block runs; it is made if needed, and goes again if it stays empty.

    The lock is the operating system's, so it goes with the process that has it, however that ends. Up to version 3,
    filelock's is also held by children that were forked meanwhile: those of a killed process are waited for.

    Args:
        folder: any.
        wait: for as long as another process has it, which is said.

    Raises:
        FolderInUse: another process has it; the message says which, and since when.
        OSError: the folder cannot be made or written to.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / LOCK), folder / HOLDER
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = _read(holder)
        said = f"process {who[0]} on {who[1]} since {who[2]} ({who[3]})" if len(who) == 4 else "another process"
        try:
            lock.acquire(timeout=0 if _lives(who) else ORPHANS)
        except Timeout:
            if not wait:
                message = f"{folder} is in use by {said}; wait for it, end it, or name another folder"
                raise FolderInUse(message) from None
            print(f"lfdm: waiting for {folder}, in use by {said}", file=sys.stderr)
            lock.acquire()
    try:
        words = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
        with suppress(OSError):  # on a full disk the lock holds all the same
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            holder.write_text(f"{os.getpid()}\n{socket.gethostname()}\n{now}\n{words}\n", encoding="utf-8")
        yield folder
    finally:
        for path in (holder, folder / LOCK):  # who waits for a file that is gone asks anew, since filelock 3.21.2
            with suppress(OSError):
                path.unlink()
        lock.release()
        if made:
            with suppress(OSError):  # something was put there
                folder.rmdir()


def _read(holder: Path) -> list[str]:
    try:
        lines = holder.read_text(encoding="utf-8", errors="replace").split("\n")[:4]
    except OSError:
        return []
    return ["".join(c if c.isprintable() else "?" for c in line[:200]) for line in lines]


def _lives(who: list[str]) -> bool:
    """Whether the process that has the lock is known to be at work, or may be: on another machine, or on Windows."""
    if os.name == "nt" or len(who) < 4 or who[1] != socket.gethostname() or not who[0].isdigit():
        return True
    try:
        os.kill(int(who[0]), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True
