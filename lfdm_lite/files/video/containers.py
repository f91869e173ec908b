"""What kind of film a file is, by its first bytes, and whether it is all there, by what its outermost parts announce.

Asked before FFmpeg is: it would guess among all its formats, playlists that lead to other files too; and of a
Matroska file that was cut short its reader gives the frames that are left, without a word (FFmpeg 8.1).
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..pictures import MediaError

VIDEO_SUFFIXES = (".mp4", ".webm", ".avi", ".gif", ".mov", ".mkv", ".m4v")
ACCEPTED_VIDEO = "a video in MP4, WebM, AVI or GIF, or a folder of pictures"
MOST_PARTS = 100_000  # outermost parts that are looked at
AVI_SLACK = 8  # bytes: some AVI writers count their first eight twice


def container_of(path: Path) -> str | None:
    """FFmpeg's name of the format of a film: "mov" (MP4 too), "matroska" (WebM too) or "avi"; None if it is none.

    Raises:
        MediaError: less is there than the file announces.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(12)
        kind = _kind(head)
        if kind is None:
            return None
        try:
            end = ENDS[kind](file, size)
        except (struct.error, IndexError):  # it breaks off within a head
            end = size + 1
    if end > size:
        raise MediaError(f"{path}: damaged or cut short: of {end:,} bytes {size:,} are there; copy or record it anew")
    return kind


def _kind(head: bytes) -> str | None:
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    return "mov" if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip") else None


def _mov_end(file: BinaryIO, size: int) -> int:
    """Where its last box that holds pictures ends."""
    at, end = 0, 0
    for _ in range(MOST_PARTS):
        if at + 8 > size:
            break
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        elif length == 0:  # to the end
            break
        if length < 8:
            break
        at += length
        if name in (b"moov", b"moof", b"mdat"):
            end = at
    return end


def _avi_end(file: BinaryIO, size: int) -> int:
    """Where the last of its chunks ends; one that was recorded without an end announces none."""
    at = 0
    for _ in range(MOST_PARTS):
        if at + 12 > size:
            break
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or length in (0, 2**32 - 1):
            return 0
        at += 8 + length + length % 2
    return at - AVI_SLACK


def _matroska_end(file: BinaryIO, size: int) -> int:
    """Where its one segment ends; a live recording announces no end."""
    file.seek(4)
    file.seek(_number(file)[0], 1)  # over the head
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    length, known = _number(file)
    return file.tell() + length if known else 0


def _number(file: BinaryIO) -> tuple[int, bool]:
    """A number of variable length, by the zeros in front; and whether it is known: not all ones."""
    first = file.read(1)[0]
    more = 8 - first.bit_length()
    rest = file.read(more)
    if len(rest) < more or more > 7:
        raise IndexError
    value = int.from_bytes(bytes([first & (2 ** (7 - more) - 1)]) + rest, "big")
    return value, value != 2 ** (7 * (more + 1)) - 1


ENDS: dict[str, Callable[[BinaryIO, int], int]] = {"mov": _mov_end, "avi": _avi_end, "matroska": _matroska_end}
