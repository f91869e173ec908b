"""What a student's code may not do while it is marked, as far as a process can hold itself to it without root.

Limits of the system (memory, processor time, size of files; not all of them on Windows and macOS) and an audit hook,
which Python calls before files are opened or changed, processes are started and networks are reached, and which cannot
be taken out again. Neither is a wall against somebody who is set on breaking it: mark in a container if you fear that.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STARTS = ("os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile", "pty.spawn")
PROCESSES = (*STARTS, "subprocess.Popen", "os.kill", "os.killpg", "signal.pthread_kill")
CHANGES = (
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
    *("os.chown", "os.utime", "os.setxattr", "os.removexattr", "os.chflags", "os.chdir", "os.fchdir"),
)
FOREIGN = ("ctypes.dlopen", "ctypes.dlsym", "ctypes.cdata", "ctypes.call_function")  # past the hook
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NOWHERE = (os.devnull,)  # may be written to


@dataclass(frozen=True)
class Limits:
    """Of one exercise."""

    seconds: float = 20.0  # of the clock, for the student's cells up to it and its tests
    megabytes: int = 1024  # beyond what the process holds when they start
    output: int = 100_000  # characters printed
    file_megabytes: int = 10  # size of a file written


class Guard:
    """Refuses what code must not do, and remembers what it wanted first, in `refused`.

    Args:
        folder: where files may be written and changed.
    """

    def __init__(self, folder: Path):
        self.folder = os.path.realpath(folder)
        self.refused: str | None = None
        self.on = True

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, mode, flags = args
            writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else flags & WRITES
            if writes and not self.within(path):
                self.refuse(f"write {shown(path)}, which is outside of its own folder")
        elif event in CHANGES:
            for path in (arg for arg in args if isinstance(arg, str | bytes | os.PathLike)):
                if not self.within(path):
                    self.refuse(f"change {shown(path)}, which is outside of its own folder")
        elif event in PROCESSES:
            self.refuse("start or stop another process")
        elif event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
            self.refuse("reach a network")
        elif event in FOREIGN:
            self.refuse("call into other libraries by ctypes")

    def within(self, path: Any) -> bool:
        """Whether a file lies in the folder; what has a number instead of a name is open already."""
        if isinstance(path, int) or path in NOWHERE:
            return True
        real = os.path.realpath(os.fsdecode(path))
        return real == self.folder or real.startswith(self.folder + os.sep)

    def refuse(self, what: str) -> None:
        self.refused = self.refused or f"the code wants to {what}: not allowed while it is marked"
        raise PermissionError(self.refused)


def shown(path: Any) -> str:
    """A name for a message, without the folders before it."""
    return repr(os.path.basename(os.fsdecode(path)) or os.fsdecode(path))


def confine(folder: Path, limits: Limits) -> Guard:
    """Hold this process, for good, to a folder and to limits."""
    os.chdir(folder)
    tempfile.tempdir = str(folder)  # also where parts of torch that load late make folders
    try:
        import resource
    except ImportError:  # Windows has none: the clock and the hook remain
        pass
    else:
        seconds, addresses = int(limits.seconds) + 1, held()
        for name, most in (
            ("RLIMIT_AS", None if addresses is None else addresses + limits.megabytes * 2**20),
            ("RLIMIT_CPU", cpu_seconds() + seconds),
            ("RLIMIT_FSIZE", limits.file_megabytes * 2**20),
            ("RLIMIT_CORE", 0),
        ):
            kind = getattr(resource, name, None)
            if kind is not None and most is not None:
                lower(resource, kind, most)
    guard = Guard(folder)
    sys.addaudithook(guard)
    return guard


def lower(resource: Any, kind: int, most: int) -> None:
    """Lower a limit of the system, never raise it."""
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    try:
        resource.setrlimit(kind, (most, hard))
    except (ValueError, OSError):  # a system that knows the limit but does not set it
        pass


def held() -> int | None:
    """Bytes of addresses that this process has; None where the system does not tell: then there is no such limit."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds() -> int:
    times = os.times()
    return int(times.user + times.system)
