"""Which clips a folder holds: found by walking through it, or listed in a table; and to which split each belongs."""

import csv
import hashlib
import io
import os
import stat
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...files.media import VIDEO_SUFFIXES
from ...files.pictures import FORMATS, IMAGE_SUFFIXES, need

TABLE = "clips.csv"  # read if it lies in the root and no other table is named
SHARES = {"val": 0.1, "test": 0.1}  # of the subjects, or of the clips; the rest is "train"
UNLABELLED = "unlabelled"  # the label of clips that lie directly in the root
SPLITS = dict(train="train", training="train", val="val", valid="val", validation="val", dev="val", test="test")
SPLITS |= dict(testing="test", eval="test")  # what folders of splits are called → the split
UNREAD = {".3g2", ".3gp", ".asf", ".f4v", ".flv", ".m2ts", ".m2v", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogg"}
UNREAD |= {".ogv", ".qt", ".rm", ".ts", ".vob", ".wmv", ".y4m"}
UNREAD -= set(VIDEO_SUFFIXES)  # films of these kinds are left out, by name
MAY_MOVE = {".webp", ".apng", ".avif", ".tif", ".tiff"}  # pictures of which some are films
SHOWN = 5  # names in a message
LONGEST, LARGEST = 255, 64 * 2**20  # characters of a name; bytes of a table
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

    Where all folders directly below the root are named after splits, labels are looked for in these. Links are
    followed; one that leads back to a folder which holds it is left out with a warning. What begins with a dot is left
    out, and so are the folders of flow and visibility beside a clip. A warning names what else is left out or may be
    meant otherwise.

    Raises:
        ValueError: a folder named after a split holds clips themselves, so that nobody can tell what their labels are.
    """
    odd: dict[str, list[str]] = {}  # what may be wrong → names
    paths = list(_walk(root, root, (), odd))
    parts = {path: path.relative_to(root).parts for path in paths}
    splits = {path: SPLITS.get(names[0].lower(), "") if len(names) > 1 else "" for path, names in parts.items()}
    by_split = bool(paths) and all(splits.values())
    if by_split and (bare := next((path for path in paths if len(parts[path]) < 3), None)):
        raise ValueError(
            f"{bare.parent} is named after a split, but holds {bare.name} itself, not folders named after labels; "
            f"give {root}/LABEL/clip or {root}/SPLIT/LABEL/clip, or a table {root / TABLE}"
        )
    found = []
    for path in paths:
        label, *between = map(composed, parts[path][by_split:-1] or (UNLABELLED,))
        found.append(Clip(path, label, "/".join(between), splits[path] if by_split else ""))
        if splits[path] and not by_split:
            odd.setdefault("folders are named after a split, and read as labels", []).append(parts[path][0])
        if label == UNLABELLED and path.is_dir():
            meant = "folders of pictures lie where labels do; each is read as one clip without a label"
            odd.setdefault(meant, []).append(path.name)
    if nested := _repeated({clip.subject for clip in found}):
        meant = f"folders of several levels count as one person each; if not so, say who is who in a table {TABLE}"
        odd[meant] = nested
    folders = {path for path in paths if path.is_dir()}
    films = {_stem(path) for path in paths if path not in folders}
    twice = [path.relative_to(root).as_posix() for path in paths if path in folders and _stem(path) in films]
    if twice:
        odd["folders of pictures have a film of the same name beside them; both are read"] = twice
    for what, names in odd.items():
        names = list(dict.fromkeys(map(plainly, names)))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        warnings.warn(f"{root}: {what} ({len(names)}): {', '.join(names[:SHOWN])}{more}", stacklevel=5)
    return found


def _walk(folder: Path, root: Path, above: tuple[tuple[int, int], ...], odd: dict[str, list[str]]) -> Iterator[Path]:
    """Films and folders of pictures; `above` are the folders on the way from the root."""
    found = os.stat(folder)
    here = (found.st_dev, found.st_ino)
    if here in above:
        warnings.warn(f"{folder}: a link back to a folder that holds it; left out", stacklevel=6)
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
    pictures = [entry.name for entry in shown if _suffix(entry.name) in IMAGE_SUFFIXES and entry.name not in folders]
    clips = folders | {os.path.splitext(name)[0] for name in films}
    folders -= {name for name in folders for end in MOTION if name.endswith(end) and name.removesuffix(end) in clips}
    unread = [entry.name for entry in shown if _suffix(entry.name) in UNREAD and entry.name not in folders]
    asked = [name for name in pictures if _suffix(name) in MAY_MOVE]
    if films or (asked and _moves(folder / asked[0])):  # else these are frames, perhaps thousands
        unread += [name for name in asked if _moves(folder / name)]
    if unread:
        names = [(folder / name).relative_to(root).as_posix() for name in unread]
        odd.setdefault("films of kinds that are not read are left out; convert them to mp4 or GIF", []).extend(names)
    aside = [name for name in pictures if name not in {*unread, *films}]
    if aside and (films or folders) and folder != root:
        names = [(folder / name).relative_to(root).as_posix() for name in aside]
        odd.setdefault("pictures beside films or folders are left out; frames need a folder of their own", []).extend(
            names
        )
    if folder != root and not folders and not films:
        if set(pictures) - set(unread):
            yield folder
        return
    for entry in shown:
        if entry.name in films:
            yield folder / entry.name
        elif entry.name in folders:
            yield from _walk(folder / entry.name, root, (*above, here), odd)


def composed(name: str) -> str:
    """A name as most systems write it: some store an accent as a letter of its own, and it would look the same."""
    return unicodedata.normalize("NFC", name)


def _repeated(subjects: set[str]) -> list[str]:
    """Subjects of several levels that share one of these with another: "ann/monday" and "ann/friday"."""
    levels = Counter(name for subject in subjects for name in {*subject.split("/")})
    return sorted(one for one in subjects if "/" in one and max(levels[name] for name in one.split("/")) > 1)


def plainly(name: str) -> str:
    """A name without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _moves(path: Path) -> bool:
    """Whether a picture has several frames, not only a small copy of itself."""
    try:
        with need("PIL.Image").open(path, formats=FORMATS) as picture:
            first = picture.size
            if getattr(picture, "n_frames", 1) == 1:
                return False
            picture.seek(1)
            return picture.size == first
    except Exception:  # whoever reads it says what is wrong
        return False


def read_table(path: Path) -> list[Clip]:
    """The clips that a CSV file lists.

    Raises:
        ValueError: it cannot be read, lacks a column or lists nothing; a line has an empty or odd cell, an unknown
            split, or a clip that is listed already; or a subject is in two splits.
    """
    reader = csv.reader(io.StringIO(_text_of(path), newline=""), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: no line of a table ({error})") from None
    columns = [name.strip().lower() for name in lines[0][1]] if lines else []
    if twice := [name for name in dict.fromkeys(columns) if name and columns.count(name) > 1]:
        raise ValueError(f"{path}: the column {twice[0][:LONGEST]!r} is there twice; expected each once")
    path_column = next((name for name in ("path", "file") if name in columns), None)
    label_column = next((name for name in ("label_name", "label") if name in columns), None)
    if path_column is None or label_column is None:
        raise ValueError(
            f"{path}: its columns are {', '.join(columns)[:LONGEST] or 'missing'}; "
            "expected path and label, and if known subject and split"
        )
    clips: list[Clip] = []
    lines_of: dict[str, int] = {}
    for number, cells in lines[1:]:
        where = f"{path}, line {number}"
        if len(cells) > len(columns):
            raise ValueError(f"{where}: {len(cells)} cells for {len(columns)} columns; quote a cell with a comma in it")
        values = dict.fromkeys(columns, "") | {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
        name, label, split = values[path_column], values[label_column], values.get("split", "")
        if not name or not label:
            raise ValueError(f"{where}: {path_column} or {label_column} is empty; both are needed")
        for cell in (label, values.get("subject", "")):
            if len(cell) > LONGEST or any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in cell):
                raise ValueError(
                    f"{where}: {cell[:40]!r} is no name; expected one line of at most {LONGEST} characters"
                )
        if split not in ("", "train", "val", "test"):
            raise ValueError(f"{where}: split {split[:40]!r} is not one of: train, val, test")
        if (before := lines_of.setdefault(os.path.realpath(path.parent / name), number)) != number:
            raise ValueError(f"{where}: {name} is listed in line {before} already; a clip has one line")
        subject = values.get("subject", "")
        clips.append(Clip(path.parent / name, composed(label), composed(subject), split, where))
    if not clips:
        raise ValueError(f"{path}: no clips listed; expected one line a clip below the column names")
    return clips


def _text_of(path: Path) -> str:
    """A table's text, once it is known to be a file of some sane size."""
    expected = "expected a CSV file in UTF-8"
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            what = f"a file of {found.st_size} bytes" if stat.S_ISREG(found.st_mode) else "no file"
            raise ValueError(f"{path}: not a table that can be read (it is {what}); {expected}")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a table that can be read ({error}); {expected}") from error


def assign_splits(clips: list[Clip], root: Path) -> list[str]:
    """A split for every clip: as table or folder say, else that of its subject, else clip by clip.

    Names are ranked by a hash, so that no order of theirs matters; the first ranks are "test", the next "val". From
    three names on no split is empty. A subject of whom some clips have a split is in that with all others.

    Raises:
        ValueError: a subject is in two splits.
    """

    def unit(clip: Clip) -> str:
        name = Path(os.path.relpath(clip.path, root)).as_posix()  # the same from wherever one starts
        return f"subject {clip.subject}" if clip.subject else f"clip {name}"

    def digest(name: str) -> str:
        return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()  # names need not be UTF-8

    units = _once([unit(clip) for clip in clips], clips)
    given: dict[str, Clip] = {}
    for name, clip in zip(units, clips, strict=True):
        if clip.split and (other := given.setdefault(name, clip)).split != clip.split:
            both = (f"{one.split} ({one.listed or one.path})" for one in (other, clip))
            raise ValueError("{} is in two splits, {} and {}; nobody may be".format(name, *both))
    ranked = sorted(set(units) - set(given), key=digest)
    sizes = {name: max(1, round(share * len(ranked))) if len(ranked) >= 3 else 0 for name, share in SHARES.items()}
    part = {name: clip.split for name, clip in given.items()}
    for rank, name in enumerate(ranked):
        part[name] = "test" if rank < sizes["test"] else "val" if rank < sizes["test"] + sizes["val"] else "train"
    return [part[name] for name in units]


def _once(units: list[str], clips: list[Clip]) -> list[str]:
    """The units, those joined that share a film: by a link, or beside itself in another format."""
    joined = {name: name for name in units}
    first: dict[str, str] = {}

    def root(name: str) -> str:
        return name if joined[name] == name else root(joined[name])

    for name, clip in zip(units, clips, strict=True):
        pair = root(name), root(first.setdefault(_stem(clip.path), name))
        joined[max(pair)] = min(pair)
    return [root(name) for name in units]


def _stem(path: Path) -> str:
    """Where a clip really lies, without the suffix of a film."""
    stem, suffix = os.path.splitext(os.path.realpath(path))
    return stem if suffix.lower() in VIDEO_SUFFIXES else stem + suffix


def why_empty(clips: list[Clip], part: list[str], root: Path) -> str:
    """Why a split has no clips, and what to do; `part` is that of each."""
    table = f"a table {root / TABLE} with a column split"
    if any(clip.split for clip in clips):
        return f"as its table or its folders say, all its {len(clips)} clips are in {' and '.join(sorted(set(part)))}"
    people = sorted({clip.subject for clip in clips if clip.subject})
    if people:
        shown = ", ".join(people[:SHOWN])
        return (
            f"its {len(clips)} clips show {len(people)} people ({shown}), and nobody may be in two splits; "
            f"three people are needed, or {table}"
        )
    return f"three clips are needed and it has {len(clips)}, or {table}"
