"""Which clips a folder holds: found by walking through it, or listed in a table; and to which split each belongs."""

import csv
import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...files.media import VIDEO_SUFFIXES
from ...files.pictures import IMAGE_SUFFIXES

SHARES = {"val": 0.1, "test": 0.1}  # of the subjects, or of the clips; the rest is "train"
UNLABELLED = "unlabelled"  # the label of clips that lie directly in the root
MOTION = ("_flow", "_visible")  # folders `clip_flow` and `clip_visible` say how a clip moves; they are no clips


@dataclass(frozen=True)
class Clip:
    """One clip on disk."""

    path: Path  # a file, or a folder of pictures
    label_name: str
    subject: str  # "" where nobody said who it shows
    split: str = ""  # "" where the table does not say
    listed: str = ""  # where a table lists it, for messages
    stamp: tuple[int, int] = (0, 0)  # bytes and time of the last change, known when the clip is counted
    frames: int = 0  # counted when the data set is made


def find_clips(root: Path) -> list[Clip]:
    """Every film and every folder of pictures below the root, in the order of their names.

    Links are followed; one that leads back to a folder which holds it is left out with a warning. What begins with a
    dot is left out, and so are the folders of flow and visibility beside a clip.
    """
    found = []
    for path in _walk(root, root, ()):
        label, *between = path.relative_to(root).parts[:-1] or (UNLABELLED,)
        found.append(Clip(path, label, "/".join(between)))
    return found


def _walk(folder: Path, root: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """Films and folders of pictures; `above` are the folders on the way from the root."""
    found = os.stat(folder)
    here = (found.st_dev, found.st_ino)
    if here in above:
        warnings.warn(f"{folder}: a link back to a folder that holds it; left out", stacklevel=5)
        return
    try:
        with os.scandir(folder) as entries:
            shown = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    except PermissionError:
        if folder == root:
            raise
        yield folder  # a clip, or a folder of clips, that cannot be read
        return
    folders = {entry.name for entry in shown if _is_folder(entry)}
    films = {entry.name for entry in shown if entry.name not in folders and _suffix(entry.name) in VIDEO_SUFFIXES}
    clips = folders | {os.path.splitext(name)[0] for name in films}
    folders -= {name for name in folders for end in MOTION if name.endswith(end) and name.removesuffix(end) in clips}
    if folder != root and not folders and not films:
        if any(_suffix(entry.name) in IMAGE_SUFFIXES for entry in shown):
            yield folder
        return
    for entry in shown:
        if entry.name in films:
            yield folder / entry.name
        elif entry.name in folders:
            yield from _walk(folder / entry.name, root, (*above, here))


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def read_table(path: Path) -> list[Clip]:
    """The clips that a CSV file lists.

    Raises:
        ValueError: it cannot be read, lacks a column or lists nothing, or a line has an empty cell or unknown split.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a table that can be read ({error}); expected a CSV file in UTF-8") from error
    reader = csv.DictReader(text.splitlines())
    columns = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    path_column = next((name for name in ("path", "file") if name in columns), None)
    label_column = next((name for name in ("label_name", "label") if name in columns), None)
    if path_column is None or label_column is None:
        raise ValueError(
            f"{path}: its columns are {', '.join(columns) or 'missing'}; "
            "expected path and label, and if known subject and split"
        )
    clips = []
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        values = {name: (row[name] or "").strip() for name in columns}
        name, label, split = values[path_column], values[label_column], values.get("split", "")
        if not name or not label:
            raise ValueError(f"{where}: {path_column} or {label_column} is empty; both are needed")
        if split not in ("", "train", "val", "test"):
            raise ValueError(f"{where}: split {split!r} is not one of: train, val, test")
        clips.append(Clip(path.parent / name, label, values.get("subject", ""), split, where))
    if not clips:
        raise ValueError(f"{path}: no clips listed; expected one line a clip below the column names")
    return clips


def assign_splits(clips: list[Clip], root: Path) -> list[str]:
    """A split for every clip: as the table says, else by subject, else clip by clip.

    Names are ranked by a hash, so that no order of theirs matters; the first ranks are "test", the next "val". From
    three names on no split is empty.
    """

    def unit(clip: Clip) -> str:
        name = clip.path.relative_to(root).as_posix() if clip.path.is_relative_to(root) else str(clip.path)
        return f"subject {clip.subject}" if clip.subject else f"clip {name}"

    def digest(name: str) -> str:
        return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()  # names need not be UTF-8

    units = [unit(clip) for clip in clips]
    ranked = sorted({name for name, clip in zip(units, clips, strict=True) if not clip.split}, key=digest)
    sizes = {name: max(1, round(share * len(ranked))) if len(ranked) >= 3 else 0 for name, share in SHARES.items()}
    part = {}
    for rank, name in enumerate(ranked):
        part[name] = "test" if rank < sizes["test"] else "val" if rank < sizes["test"] + sizes["val"] else "train"
    return [clip.split or part[name] for name, clip in zip(units, clips, strict=True)]
