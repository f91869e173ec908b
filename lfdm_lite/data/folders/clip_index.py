"""How many frames each clip has: counted once, then read from a file in the cache."""

import hashlib
import json
import os
import stat
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ...files.atomic import write_atomically
from ...files.media import MediaError, count_frames, iterate_frames
from ...files.pictures import IMAGE_SUFFIXES
from ...files.places import user_cache
from ...files.reading import CheckpointError, one_line, read_json
from .clip_table import Clip

FORMAT = 2  # raised when clips would be counted otherwise
PATIENCE = 1.0  # seconds before a progress bar appears
THREADS = min(8, 2 * (os.cpu_count() or 1))  # decoders leave Python's lock, and a network's disk answers late

Known = dict[str, list[int]]  # path → bytes, time of the last change, frames


def cache_folder(cache: str | Path | bool | None) -> Path | None:
    """Where things are cached: the folder given, none for None or False, and for True `files.places.user_cache`."""
    if cache is True:
        return user_cache()
    return None if cache is None or cache is False else Path(cache)


def index_file(cache: Path, root: Path, table: Path | None) -> Path:
    """Where the counts of a folder, or of the clips in a table, are kept."""
    name = "\0".join(os.path.abspath(path) for path in (root, table) if path is not None)
    return cache / "index" / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:24]}.json"


def count_clips(clips: list[Clip], index: Path | None, what: str = "counting frames") -> tuple[list[Clip], list[str]]:
    """Count the frames of every clip, decoding the first of each, unless the index knows it by path, size and time.

    Clips that changed are counted anew, so are broken ones each time; those that are gone leave the index. It is
    replaced as a whole: two processes that count at once leave the one's or the other's, and either is right. One that
    is damaged is made anew. What was counted before an interruption is kept.

    Args:
        clips: what was found or listed.
        index: the file; None counts all clips.
        what: what the progress bar of a long count says.

    Returns:
        The clips that can be read, with stamp and frames, in the same order; a line on each of the others.
    """
    known = _read(index) if index is not None else {}
    counted: Known = {}
    broken: dict[str, str] = {}
    names = [os.path.abspath(clip.path) for clip in clips]
    missing: dict[str, Path] = {}
    for name, clip in zip(names, clips, strict=True):
        try:
            size, changed = stamp(clip.path)
        except (MediaError, OSError) as error:
            broken[name] = _said(clip.path, error)
            continue
        if known.get(name, [])[:2] == [size, changed]:
            counted[name] = known[name]
        else:
            counted[name], missing[name] = [size, changed, 0], clip.path
    try:
        for name, found in _in_threads(missing, what):
            if isinstance(found, str):
                broken[name] = found
            else:
                counted[name][2] = found
    finally:  # after an interruption some are not counted yet
        counted = {name: entry for name, entry in counted.items() if entry[2] > 0}
        if index is not None and counted != known:
            _write(index, counted)
    good, lines = [], []
    for name, clip in zip(names, clips, strict=True):
        if name in counted:
            size, changed, frames = counted[name]
            good.append(replace(clip, stamp=(size, changed), frames=frames))
        else:
            lines.append(f"{clip.listed}: {broken[name]}" if clip.listed else broken[name])
    return good, lines


def _in_threads(clips: dict[str, Path], what: str) -> Iterator[tuple[str, int | str]]:
    """Open clips at the same time: how many frames each has, or what is wrong with it."""

    def count(path: Path) -> int | str:
        try:
            next(iterate_frames(path))
            return count_frames(path)
        except (MediaError, OSError) as error:
            return _said(path, error)

    if not clips:
        return
    # Pillow's reader changes the filters of warnings, in threads for good: they are put back at the end.
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        try:
            answers = pool.map(count, clips.values())
            counts = tqdm(answers, desc=what, total=len(clips), unit="clip", delay=PATIENCE, leave=False)
            yield from zip(clips, counts, strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _said(path: Path, error: Exception) -> str:
    return str(error) if isinstance(error, MediaError) else f"{path}: {one_line(error)}"


def stamp(path: Path) -> tuple[int, int]:
    """Bytes and time of the last change in nanoseconds; of a folder of pictures their sum and the latest of all.

    Tools that copy or unpack set a file's own time back; when it came to be here the system tells (on Unix: ctime).

    Raises:
        MediaError: nothing is there.
        OSError: it may not be looked at.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            return found.st_size, _changed(found)
    except OSError as error:
        if path.is_symlink():
            raise MediaError(f"{path}: a link that leads nowhere or in a circle; repair or remove it") from error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise MediaError(f"{path}: no such file; check its name, or leave it out") from error
        raise
    with os.scandir(path) as entries:
        suffix = lambda entry: os.path.splitext(entry.name)[1].lower()
        files = [entry.stat() for entry in entries if suffix(entry) in IMAGE_SUFFIXES]
    return sum(file.st_size for file in files), max(map(_changed, [found, *files]))


def _changed(found: os.stat_result) -> int:
    return max(found.st_mtime_ns, found.st_ctime_ns)


def _read(index: Path) -> Known:
    """What is known; nothing, if there is no index or it is damaged."""
    try:
        values = read_json(index)
        if values["format"] != FORMAT:
            return {}
        if values["checksum"] == _checksum(values["clips"]):
            return values["clips"]
    except (CheckpointError, KeyError, TypeError):
        if not index.exists():
            return {}
    warnings.warn(f"the counts of frames in {index} are damaged; all clips are counted anew", stacklevel=5)
    return {}


def _checksum(clips: Any) -> int:
    """Of the counts, against damage: nothing else shows that a number of frames is wrong."""
    return zlib.crc32(json.dumps(clips, sort_keys=True).encode())


def _write(index: Path, known: Known) -> None:
    text = json.dumps({"format": FORMAT, "checksum": _checksum(known), "clips": dict(sorted(known.items()))})
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(index, lambda temporary: temporary.write_text(text, encoding="ascii"))
    except OSError as error:
        why = f"{index.parent}: {one_line(error)}"
        warnings.warn(f"the number of frames cannot be kept ({why}); clips are counted each time", stacklevel=4)
