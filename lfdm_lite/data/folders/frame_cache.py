"""Decoded frames on disk, so that a film is decoded once: one array a clip, the longest unused leave first."""

import hashlib
import io
import math
import os
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ...files.atomic import write_atomically
from ...files.reading import one_line

FORMAT = 2  # raised when clips would be decoded, cut or resized otherwise
LARGEST = 1 / 16  # of the limit: a clip that needs more is decoded each time
SWEEP = 1 / 100  # of the limit: after writing that much, a process looks at the whole cache
KEPT = 0.9  # of the limit: what a sweep leaves, so that the next is far
STALE = 3600.0  # seconds after which a temporary file was left by a process that died


class FrameCache:
    """Frames of clips after cutting and resizing, 8 bits a channel, in `.npy` files that are mapped into memory.

    Any number of processes may read and write it. A file appears whole or not at all, and a damaged one counts as
    missing. The limit is on all files in the folder, whatever data set they are of: every process that writes checks
    it each time it has written a hundredth of it, and then deletes what was not used for the longest time. If nothing
    can be written, on a full disk for one, a warning says so and reading goes on.

    Args:
        folder: created if needed.
        limit: bytes, above 0.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit
        self.writes = True  # until writing fails
        self._said = False  # that one was damaged
        self._unseen = limit  # bytes written since the last look at the folder; the first write looks
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError("no permission to write")
        except OSError as error:
            self._give_up(error)

    def takes(self, length: int, size: int) -> bool:
        """Whether a clip of `length` frames would be kept."""
        return self.writes and 3 * length * size * size <= self.limit * LARGEST

    def file(self, path: Path, stamp: tuple[int, int], size: int) -> Path:
        """Where the frames of a clip are kept: another file once the clip has changed."""
        name = f"{FORMAT}\0{os.path.abspath(path)}\0{stamp}\0{size}"
        return self.folder / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.npy"

    def read(self, file: Path, length: int, size: int) -> UInt8[np.ndarray, "{length} 3 {size} {size}"] | None:
        """The frames, mapped into memory; None if they are not there, or not all of them, or damaged."""
        shape = (length, 3, size, size)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        expected = header.getvalue()  # compared, not parsed: numpy's parser raises many things
        try:
            with open(file, "rb") as opened:
                whole = os.fstat(opened.fileno()).st_size == len(expected) + math.prod(shape)
                if not whole or opened.read(len(expected)) != expected:
                    self._say_damaged(file)
                    return None
                frames = np.memmap(opened, np.uint8, "r", offset=len(expected), shape=shape)
        except OSError:
            return None
        with suppress(OSError):
            os.utime(file)  # used now
        return frames

    def write(self, file: Path, frames: UInt8[np.ndarray, "t 3 h w"]) -> None:
        """Keep the frames of a clip, and make room if that went beyond the limit."""
        if not self.writes:
            return

        def save(temporary: Path) -> None:
            with open(temporary, "wb") as opened:
                np.save(opened, frames)

        try:
            write_atomically(file, save)
        except OSError as error:
            self._give_up(error)
            return
        self._unseen += frames.nbytes
        if self._unseen >= self.limit * SWEEP:
            self.sweep()

    def sweep(self) -> None:
        """Delete what was not used for the longest time until nine tenths of the limit are left."""
        self._unseen, now = 0, time.time()
        files = []
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(OSError):  # another process may delete it meanwhile
                    found = entry.stat()
                    if entry.name.endswith(".npy"):
                        files.append((found.st_mtime_ns, found.st_size, entry.path))
                    elif entry.name.endswith(".tmp") and now - found.st_mtime > STALE:
                        os.unlink(entry.path)
        total = sum(size for _, size, _ in files)
        if total <= self.limit:
            return
        for _, size, path in sorted(files):
            if total <= self.limit * KEPT:
                break
            with suppress(OSError):
                os.unlink(path)
                total -= size

    def _say_damaged(self, file: Path) -> None:
        if not self._said:
            self._said = True
            warnings.warn(f"{file} is damaged; its clip is decoded anew (and so are others like it)", stacklevel=5)

    def _give_up(self, error: OSError) -> None:
        self.writes = False
        why = f"{self.folder}: {one_line(error)}"
        warnings.warn(f"decoded frames cannot be kept ({why}); clips are decoded each time", stacklevel=4)
