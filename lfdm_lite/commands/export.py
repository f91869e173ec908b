"""`lfdm data export`: write a procedural set as videos, a table, and files of flow."""

import csv
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from .clips import Clips, build, check, is_procedural
from .common import UsageError, file_name
from .outputs import output_file
from .terminal import say

MADE_FROM = "export.json"  # says what each split in a folder was made from
TABLE, COLUMNS = "clips.csv", ("file", "split", "label", "label_name", "subject")
HALF = re.compile(r"\.(train|val|test)_\d{5,}(_flow|_visible)?\..+")  # what a killed export leaves of a clip


@dataclass(frozen=True)
class Export:
    """Write clips as FOLDER/LABEL/NAME.mp4 with a table, FOLDER/clips.csv: what `VideoFolder` reads.

    Splits may be written into one folder one after the other. After an interruption the same command goes on with
    the clips that are missing.
    """

    clips: Annotated[Clips, arg(name="")]
    out: Annotated[Path, arg(metavar="FOLDER")]
    """Where to write; created if needed."""
    flow: Literal["none", "npz", "flo", "kitti"] = "none"
    """True flow with respect to frame 0, and visibility. flo, kitti: folders NAME_flow of Middlebury files or 16-bit
    KITTI PNGs (pixels; valid everywhere) and NAME_visible of PNGs (white: frame 0 shows it), a file a frame.
    npz: NAME.npz with the arrays flow (2, T, H, W; normalized) and visible (1, T, H, W)."""


def export(options: Export) -> None:
    """Write the clips that are not there yet, and a table of them."""
    clips = options.clips
    check(clips, options.out / "clip.mp4")
    if not is_procedural(clips.name):
        from ..data import PROCEDURAL

        raise UsageError(f"only procedural sets can be exported ({', '.join(PROCEDURAL)}), not {clips.name!r}")
    if clips.size % 2:
        raise UsageError(f"--size is {clips.size}; a film needs an even number of pixels")
    dataset = build(clips)
    from tqdm.auto import tqdm

    from ..files.locks import hold_folder

    with hold_folder(options.out):
        read_rows(options.out / TABLE)  # refused before anything is written
        remember(options.out / MADE_FROM, clips)
        sweep(options.out)
        rows: list[dict[str, Any]] = []
        try:
            for i in tqdm(range(len(dataset)), desc=f"{clips.name}, {clips.split}", unit="clip"):
                _, label, subject = dataset.scene(i)
                names = {"label": label, "label_name": dataset.labels[label], "subject": subject}
                film = Path(file_name(names["label_name"]), f"{clips.split}_{i:05d}.mp4")
                write_clip(options.out / film, partial(dataset.__getitem__, i), clips.fps, options.flow)
                rows.append(dict(zip(COLUMNS, (film.as_posix(), clips.split, *names.values()), strict=True)))
        finally:  # what is there after an interruption is a whole data set too
            if rows:
                update_table(options.out / TABLE, rows)
    say(f"{len(rows)} clips in {options.out}")


def write_clip(film: Path, item: Callable[[], dict[str, Any]], fps: float, flow: str) -> None:
    """Write what is missing of a clip; the film comes last, so that where it is all is."""
    from ..files.flow_files import write_flo, write_kitti_flow, write_visible
    from ..files.media import write_mp4
    from ..files.motion_files import motion_file, motion_path
    from ..files.pictures import write_whole

    output_file(film, "clip")  # no folder, pipe or device in its place
    folders = {"flow": motion_path(film, "flow"), "visible": motion_path(film, "visible")}
    suffix, write_flow = (".png", write_kitti_flow) if flow == "kitti" else (".flo", write_flo)
    parts: dict[Path, Callable[[dict[str, Any]], None]] = {}
    if flow == "npz":
        parts[motion_file(film)] = lambda clip: write_whole(motion_file(film), lambda path: save_npz(path, clip))
    elif flow != "none":
        parts[folders["flow"]] = lambda clip: write_folder(folders["flow"], clip["flow"], suffix, write_flow)
        parts[folders["visible"]] = lambda clip: write_folder(
            folders["visible"], clip["visible"], ".png", write_visible
        )
    parts[film] = lambda clip: write_mp4(film, clip["video"], fps=fps)
    missing = [path for path in parts if not is_there(path)]
    if flow in ("flo", "kitti") and folders["flow"].is_dir() and not any(folders["flow"].glob(f"*{suffix}")):
        raise UsageError(f"{folders['flow']} holds flow in another format; delete it, or export into another folder")
    if missing:
        film.parent.mkdir(parents=True, exist_ok=True)
        clip = item()
        for path in missing:
            parts[path](clip)


def is_there(path: Path) -> bool:
    """Whether a part of a clip is there: not an empty file, nor a folder with one in it or with none."""
    files = list(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    return bool(files) and all(file.stat().st_size for file in files)


def sweep(folder: Path) -> None:
    """Remove what a killed export left half-written; the folder is ours, so nobody else is writing."""
    for path in folder.glob("*/.*"):
        if HALF.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def save_npz(path: Path, clip: dict[str, Any]) -> None:
    import numpy as np

    with open(path, "wb") as file:
        np.savez_compressed(file, flow=clip["flow"].numpy(), visible=clip["visible"].numpy())


def write_folder(folder: Path, maps: Any, suffix: str, write: Callable[[Path, Any], None]) -> None:
    """Write maps (c, t, h, w) as a folder of one file a frame, which appears whole or not at all."""
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for frame, values in enumerate(maps.unbind(1)):
            write(temporary / f"{frame:03d}{suffix}", values)
        temporary.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)  # one in which something is missing
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remember(path: Path, clips: Clips) -> None:
    """Write down what a split is made from; refuse to go on with one that was made from something else."""
    from .. import __version__
    from ..files.atomic import write_json
    from ..files.reading import CheckpointError, read_json

    made_from = asdict(clips) | {"version": __version__}
    del made_from["clips"], made_from["split"]  # more clips of the same kind may join
    try:
        known = read_json(path) if os.path.lexists(path) else {}
        before = known.get(clips.split, made_from)
        differs = sorted(name for name in made_from if before.get(name) != made_from[name])
    except (CheckpointError, AttributeError) as error:
        raise UsageError(f"{path} is damaged; delete it and export into another folder") from error
    if differs:
        options = ", ".join(f"{name} {before.get(name)!r}, now {made_from[name]!r}" for name in differs)
        raise UsageError(
            f"{path.parent} holds {clips.split!r} clips that were made otherwise ({options}); "
            "export into another folder, or delete that one"
        )
    write_json(path, known | {clips.split: made_from})


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of the table that is there; none if there is none.

    Raises:
        UsageError: it is no table of an export, so that rows of both could not stand in one.
    """
    if not os.path.lexists(path):
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read ({error}); export into another folder") from None
    if not set(COLUMNS) <= set(columns) or any(None in row for row in rows):
        raise UsageError(
            f"{path} is no table of an export: its columns are {', '.join(columns)[:200]}, not {', '.join(COLUMNS)}; "
            "export into another folder"
        )
    return rows


def update_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table of clips, whole or not at all; what it listed before stays, and so do columns of others' making."""
    from ..files.atomic import write_atomically

    listed = {row["file"]: row for row in read_rows(path)}
    for row in rows:
        listed[row["file"]] = listed.get(row["file"], {}) | row
    columns = list(dict.fromkeys([*COLUMNS, *(name for row in listed.values() for name in row)]))

    def write(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(listed.values())

    write_atomically(path, write)
