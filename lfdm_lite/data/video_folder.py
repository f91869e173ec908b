"""Your own videos as a data set: films, GIFs and folders of pictures; labels from sub-folders or from a table."""

import csv
import hashlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from .media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaError, count_frames, crop_resize, frame_files, iterate_frames

Sampling = Literal["uniform", "random", "very_random"]
SPLITS = ("train", "val", "test", "all")
SHARES = {"val": 0.1, "test": 0.1}  # of the subjects, or of the clips; the rest is "train"
TABLE = "clips.csv"  # read if it lies in the root and no other table is named
UNLABELLED = "unlabelled"  # the label of clips that lie directly in the root


def frame_indices(length: int, num_frames: int, sampling: Sampling, rng: np.random.RandomState) -> list[int]:
    """Which frames to take of a clip of `length` frames.

    "uniform" is evenly spread from first to last, cut to whole numbers. "random" moves each of those but the two ends
    by less than the way to its neighbours. "very_random" draws frames with replacement, sorts them, and starts at
    frame 0. In "uniform" and "random" a clip that is too short is taken whole and its last frame repeated.

    Args:
        length, num_frames: at least 1.
        rng: source of randomness; `RandomState` since its numbers are the same in every version of numpy.

    Raises:
        ValueError: unknown sampling, or a number below 1.

    Source: the three samplings of the authors' data loaders.
    """
    if length < 1 or num_frames < 1:
        raise ValueError(f"cannot take {num_frames} of {length} frames; expected both to be at least 1")
    if sampling == "very_random":
        drawn = sorted(rng.randint(0, length, num_frames).tolist())
        return [0, *drawn[1:]]
    if sampling not in ("uniform", "random"):
        raise ValueError(f"sampling {sampling!r} is not one of: uniform, random, very_random")
    if length < num_frames or num_frames == 1:
        return [min(i, length - 1) for i in range(num_frames)]
    even = np.linspace(0, length - 1, num_frames).astype(int).tolist()  # its rounding is the authors'
    if sampling == "uniform":
        return even
    between = [int(rng.randint(even[i - 1] + 1, even[i + 1])) for i in range(1, num_frames - 1)]
    return sorted([even[0], *between, even[-1]])


@dataclass(frozen=True)
class Clip:
    """One clip on disk."""

    path: Path  # a file, or a folder of pictures
    label_name: str
    subject: str  # "" where nobody said who it shows
    split: str = ""  # "" where the table does not say
    frames: int = 0  # counted when the data set is made


class VideoFolder(Dataset):
    """Clips of a folder, cut to a square, resized, and sampled to `num_frames` frames.

    `root/LABEL/clip.mp4`, `root/LABEL/SUBJECT/clip.gif` or `root/LABEL/clip/000.png`: a clip is a film (mp4, webm,
    avi, gif, mov, mkv, m4v) or a folder of pictures; the first folder below the root is its label, the ones between,
    if any, its subject. Or a table `root/clips.csv` with columns path (or file), label (or label_name) and, if known,
    subject and split; paths count from the table's folder, and what it does not list is left out.

    An item is `dict(video, label, label_name, subject)`: video (3, num_frames, size, size) in [0, 1], label a number
    that indexes `.labels`, subject one that indexes `.subjects`, -1 where unknown. Items depend on seed, epoch and
    index alone, not on workers; call `set_epoch` so that random sampling differs from epoch to epoch.

    Args:
        root: the folder.
        size: height and width in pixels.
        num_frames: frames of an item.
        sampling: "uniform", "random" or "very_random", see `frame_indices`.
        split: "train", "val", "test" (8 : 1 : 1 of the subjects, or of the clips where subjects are unknown, chosen by
            a hash of their names; or as the table says) or "all".
        seed: of the sampling.
        on_error: a clip that cannot be read is an error ("raise"), or it is named in a warning and left out ("skip").
        table: a CSV file other than `root/clips.csv`.

    Raises:
        ValueError: no such folder, no clips, a bad table, an unknown option, or an empty split.
        MediaError: clips that cannot be read, by name, unless they are to be skipped.
    """

    def __init__(
        self,
        root: str | Path,
        size: int = 64,
        num_frames: int = 16,
        sampling: Sampling = "uniform",
        split: str = "all",
        seed: int = 0,
        on_error: str = "raise",
        table: str | Path | None = None,
    ):
        frame_indices(1, num_frames, sampling, np.random.RandomState(0))  # refuses an unknown sampling
        for name, value, accepted in (("split", split, SPLITS), ("on_error", on_error, ("raise", "skip"))):
            if value not in accepted:
                raise ValueError(f"{name} {value!r} is not one of: {', '.join(accepted)}")
        if size < 1:
            raise ValueError(f"size is {size}; expected at least 1 pixel")
        self.root, self.size, self.num_frames = Path(root), size, num_frames
        self.sampling, self.split, self.seed, self.on_error = sampling, split, seed, on_error
        if not self.root.is_dir():
            found = "a file" if self.root.exists() else "not there"
            raise ValueError(f"{self.root} is {found}; expected a folder with one sub-folder of clips per label")
        table = Path(table) if table is not None else self.root / TABLE
        listed = _read_table(table) if table != self.root / TABLE or table.exists() else _walk(self.root)
        if not listed:
            raise ValueError(
                f"no clips in {self.root}; expected sub-folders named after labels that hold "
                f"{', '.join(VIDEO_SUFFIXES)} files or folders of pictures"
            )
        clips = self._without_broken(listed)
        self.labels = tuple(sorted({clip.label_name for clip in clips}))
        self.subjects = tuple(sorted({clip.subject for clip in clips} - {""}))
        part = _assign_splits(clips, self.root)
        self.clips = [clip for clip, its in zip(clips, part, strict=True) if split in ("all", its)]
        if not self.clips:
            raise ValueError(
                f"split {split!r} of {self.root} is empty: its {len(clips)} clips are not enough for three splits; "
                "add clips or subjects, or use split='all'"
            )
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()  # so that running workers see it change

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One clip.

        Raises:
            IndexError: outside the data set.
            MediaError: if the clip broke since the data set was made.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        index %= len(self)
        clip = self.clips[index]
        rng = np.random.RandomState([self.seed & 0xFFFFFFFF, int(self._epoch), index])
        wanted = frame_indices(clip.frames, self.num_frames, self.sampling, rng)
        frames: dict[int, torch.Tensor] = {}
        try:
            for i, frame in enumerate(iterate_frames(clip.path)):
                if i in wanted:
                    frames[i] = crop_resize(frame.float() / 255, self.size)
                if i == wanted[-1]:
                    break
        except MediaError as error:
            if self.on_error == "raise" or not frames:
                raise
            warnings.warn(f"{error}; going on with the frames before", stacklevel=2)
        last = max(frames)  # a film may hold fewer frames than it promised: then the last one repeats
        return {
            "video": torch.stack([frames[min(i, last)] for i in wanted], dim=1),
            "label": self.labels.index(clip.label_name),
            "label_name": clip.label_name,
            "subject": self.subjects.index(clip.subject) if clip.subject else -1,
        }

    def __repr__(self) -> str:
        return (
            f"VideoFolder({self.root}, {len(self)} clips of split {self.split!r}, {len(self.labels)} labels, "
            f"{len(self.subjects)} subjects, {self.num_frames} frames of {self.size}x{self.size})"
        )

    def set_epoch(self, epoch: int) -> None:
        """Draw other frames from now on, in running workers too; the same epoch draws the same."""
        self._epoch.fill_(epoch)

    def _without_broken(self, clips: list[Clip]) -> list[Clip]:
        """Open every clip, decode its first frame, and count its frames."""
        good, broken = [], []
        for clip in clips:
            try:
                next(iterate_frames(clip.path))
                good.append(replace(clip, frames=count_frames(clip.path)))
            except MediaError as error:
                broken.append(str(error))
        if not broken:
            return good
        more = f"\n  and {len(broken) - 20} more" if len(broken) > 20 else ""
        names = "".join(f"\n  {line}" for line in broken[:20]) + more
        if self.on_error == "raise" or not good:
            advice = "repair or remove them, or leave them out with on_error='skip'"
            raise MediaError(f"{len(broken)} of {len(clips)} clips cannot be read; {advice}:{names}")
        warnings.warn(f"{len(broken)} of {len(clips)} clips cannot be read and are left out:{names}", stacklevel=3)
        return good


def _is_film(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _is_frame_folder(path: Path) -> bool:
    """A folder of pictures; one that holds films or folders beside them is no clip."""
    return path.is_dir() and bool(frame_files(path)) and not any(_is_film(p) or p.is_dir() for p in path.iterdir())


def _walk(root: Path) -> list[Clip]:
    """Every film and every folder of pictures below the root, in the order of their names."""
    found = []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        if any(part.startswith(".") for part in inside):
            continue
        if _is_film(path) or _is_frame_folder(path):
            label, *between = inside[:-1] or (UNLABELLED,)
            found.append(Clip(path, label, "/".join(between)))
    return found


def _read_table(path: Path) -> list[Clip]:
    """The clips that a CSV file lists."""
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
    for number, row in enumerate(reader, start=2):
        values = {name: (row[name] or "").strip() for name in columns}
        split = values.get("split", "")
        if not values[path_column] or not values[label_column]:
            raise ValueError(f"{path}, line {number}: {path_column} or {label_column} is empty; both are needed")
        if split not in ("", "train", "val", "test"):
            raise ValueError(f"{path}, line {number}: split {split!r} is not one of: train, val, test")
        clips.append(Clip(path.parent / values[path_column], values[label_column], values.get("subject", ""), split))
    if not clips:
        raise ValueError(f"{path}: no clips listed; expected one line a clip below the column names")
    return clips


def _assign_splits(clips: list[Clip], root: Path) -> list[str]:
    """A split for every clip: as the table says, else by subject, else clip by clip.

    Names are ranked by a hash, so that no order of theirs matters; the first ranks are "test", the next "val". From
    three names on no split is empty.
    """

    def unit(clip: Clip) -> str:
        name = clip.path.relative_to(root).as_posix() if clip.path.is_relative_to(root) else str(clip.path)
        return f"subject {clip.subject}" if clip.subject else f"clip {name}"

    units = {unit(clip) for clip in clips if not clip.split}
    ranked = sorted(units, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    sizes = {name: max(1, round(share * len(ranked))) if len(ranked) >= 3 else 0 for name, share in SHARES.items()}
    part = {}
    for rank, name in enumerate(ranked):
        part[name] = "test" if rank < sizes["test"] else "val" if rank < sizes["test"] + sizes["val"] else "train"
    return [clip.split or part[unit(clip)] for clip in clips]


__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "VideoFolder", "frame_indices"]
