"""Your own videos as a data set: films, GIFs and folders of pictures; labels from sub-folders or from a table."""

import os
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from ...files.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaError, crop_resize, iterate_frames
from ...files.motion_files import check_motion, has_motion, read_motion
from ...files.pictures import to_uint8
from .clip_index import cache_folder, count_clips, index_file
from .clip_table import TABLE, Clip, assign_splits, find_clips, read_table, why_empty
from .frame_cache import FrameCache

Sampling = Literal["uniform", "random", "very_random"]
SPLITS = ("train", "val", "test", "all")
SHOWN = 20  # clips named in a message


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


class VideoFolder(Dataset[dict[str, Any]]):
    """Clips of a folder, cut to a square, resized, and sampled to `num_frames` frames.

    `root/LABEL/clip.mp4`, `root/LABEL/SUBJECT/clip.gif` or `root/LABEL/clip/000.png`: a clip is a film (mp4, webm,
    avi, gif, mov, mkv, m4v) or a folder of pictures; the first folder below the root is its label, the ones between,
    if any, its subject. If all of the first are named after splits (train, val, test), labels come next:
    `root/train/LABEL/clip.mp4`. Or a table `root/clips.csv` with columns path (or file), label (or label_name) and, if
    known, subject and split; paths count from the table's folder, and what it does not list is left out.

    An item is `dict(video, label, label_name, subject)`: video (3, num_frames, size, size) in [0, 1] in steps of
    1 / 255, label a number that indexes `.labels`, subject one that indexes `.subjects`, -1 where unknown. A clip that
    is too short repeats its last frame; a warning names such clips. With `with_flow` there are also flow (2,
    num_frames, size, size), of every frame to the clip's first, normalized, and visible (1, num_frames, size, size)
    in [0, 1], read from the files beside the clip that `lfdm data export` writes (see `motion_files`).

    Items depend on seed, epoch and index alone, not on workers or on what is cached; call `set_epoch` so that random
    sampling differs from epoch to epoch.

    Two things are kept in the cache: how many frames each clip shows, so that only a first start decodes all films; and
    all frames of a clip, decoded, cut and resized, from the first time that it is read, up to `cache_gb` gigabytes for
    all data sets together. A clip that needs more than a sixteenth of that is decoded each time. For training give
    room for the whole set, 3 * size * size bytes a frame: of a set that is larger most would have left the cache by
    the time it is wanted again.

    Args:
        root: the folder.
        size: height and width in pixels.
        num_frames: frames of an item.
        sampling: "uniform", "random" or "very_random", see `frame_indices`.
        split: "train", "val", "test" (8 : 1 : 1 of the subjects, or of the clips where subjects are unknown, chosen by
            a hash of their names; or as the table or the folders say) or "all". No subject is in two splits.
        seed: of the sampling.
        on_error: a clip that cannot be read is an error ("raise"), or it is named in a warning and left out ("skip").
        table: a CSV file other than `root/clips.csv`.
        with_flow: items carry the motion that is stored beside the clips.
        cache: where the cache lies. True is `$LFDM_CACHE`, or else `$XDG_CACHE_HOME/lfdm_lite` or
            `~/.cache/lfdm_lite`; None or False is nowhere: all clips are opened each time.
        cache_gb: limit of the decoded frames in gigabytes; 0 keeps none.

    Raises:
        ValueError: no such folder, no clips, a bad table, an unknown option, or an empty split.
        MediaError: clips that cannot be read or lack their motion, by name, unless they are to be skipped.
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
        with_flow: bool = False,
        cache: str | Path | bool | None = True,
        cache_gb: float | int = 4,
    ):
        frame_indices(1, num_frames, sampling, np.random.RandomState(0))  # refuses an unknown sampling
        for name, value, accepted in (("split", split, SPLITS), ("on_error", on_error, ("raise", "skip"))):
            if value not in accepted:
                raise ValueError(f"{name} {value!r} is not one of: {', '.join(accepted)}")
        if size < 1:
            raise ValueError(f"size is {size}; expected at least 1 pixel")
        if not cache_gb >= 0:
            raise ValueError(f"cache_gb is {cache_gb}; expected a number of gigabytes, 0 or more")
        self.root, self.size, self.num_frames, self.with_flow = Path(root), size, num_frames, with_flow
        self.sampling, self.split, self.seed, self.on_error = sampling, split, seed, on_error
        kept_in = cache_folder(cache)
        clips = self._readable(self._listed(table), kept_in, table)
        self.labels = in_order({clip.label_name for clip in clips})
        self.subjects = tuple(sorted({clip.subject for clip in clips} - {""}))
        self._label = {name: number for number, name in enumerate(self.labels)}
        self._subject = {name: number for number, name in enumerate(self.subjects)} | {"": -1}
        part = assign_splits(clips, self.root)
        self.clips = [clip for clip, its in zip(clips, part, strict=True) if split in ("all", its)]
        if not self.clips:
            raise ValueError(f"split {split!r} of {self.root} is empty: {why_empty(clips, part, self.root)}")
        self._warn_of_short_clips()
        limit = int(cache_gb * 1e9)
        self._cache = FrameCache(kept_in / "frames", limit) if kept_in is not None and limit > 0 else None
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
        item = {
            "video": self._frames(clip, wanted).movedim(1, 0).float().div(255),
            "label": self._label[clip.label_name],
            "label_name": clip.label_name,
            "subject": self._subject[clip.subject],
        }
        if self.with_flow:
            item["flow"], item["visible"] = read_motion(clip.path, wanted, self.size)
        return item

    def __repr__(self) -> str:
        return (
            f"VideoFolder({self.root}, {len(self)} clips of split {self.split!r}, {len(self.labels)} labels, "
            f"{len(self.subjects)} subjects, {self.num_frames} frames of {self.size}x{self.size})"
        )

    def set_epoch(self, epoch: int) -> None:
        """Draw other frames from now on, in running workers too; the same epoch draws the same."""
        self._epoch.fill_(epoch)

    def _frames(self, clip: Clip, wanted: list[int]) -> UInt8[Tensor, "t 3 h w"]:
        """The wanted frames, in rising order, from the cache or else decoded; all others are cached on the way."""
        cache = self._cache
        file = cache.file(clip.path, clip.stamp, self.size) if cache else None
        kept = cache.read(file, clip.frames, self.size) if cache and file else None
        if kept is not None:
            return torch.from_numpy(kept[wanted])
        keep = cache is not None and cache.takes(clip.frames, self.size)
        needed, end = set(wanted), clip.frames - 1 if keep else wanted[-1]
        frames: dict[int, Tensor] = {}
        i, frame = -1, torch.empty(0)
        try:
            for i, frame in enumerate(iterate_frames(clip.path)):
                if keep or i in needed:
                    frames[i] = self._small(frame)
                if i == end:
                    break
        except MediaError as error:
            keep = False
            if i < wanted[-1]:
                if self.on_error == "raise" or i < 0:
                    raise
                warnings.warn(f"{error}; going on with the frames before", stacklevel=3)
        if keep and i == end and cache and file:
            cache.write(file, torch.stack([frames[n] for n in range(i + 1)]).numpy())
        elif i not in frames:  # a film may hold fewer frames than it promised: then its last one repeats
            frames[i] = self._small(frame)
        return torch.stack([frames[min(n, i)] for n in wanted])

    def _small(self, frame: UInt8[Tensor, "3 h w"]) -> UInt8[Tensor, "3 y x"]:
        return to_uint8(crop_resize(frame.float() / 255, self.size))

    def _listed(self, table: str | Path | None) -> list[Clip]:
        """The clips of the folder, or of the table if there is one."""
        if not self.root.is_dir():
            found = "a file" if self.root.exists() else "not there"
            raise ValueError(f"{self.root} is {found}; expected a folder with one sub-folder of clips per label")
        named = Path(table) if table is not None else self.root / TABLE
        there = table is not None or os.path.lexists(named)  # a link that leads nowhere is not passed over
        listed = read_table(named) if there else find_clips(self.root)
        if not listed:
            raise ValueError(
                f"no clips in {self.root}; expected sub-folders named after labels that hold "
                f"{', '.join(VIDEO_SUFFIXES)} files or folders of pictures"
            )
        return listed

    def _readable(self, listed: list[Clip], kept_in: Path | None, table: str | Path | None) -> list[Clip]:
        """The clips that can be read, with their number of frames."""
        index = index_file(kept_in, self.root, Path(table) if table is not None else None) if kept_in else None
        good, broken = count_clips(listed, index, f"counting frames in {self.root.name}")
        if self.with_flow:
            still = [clip for clip in good if not has_motion(clip.path)]
            broken += [f"{clip.path}: no flow and visibility beside it" for clip in still]
            good = [clip for clip in good if clip not in set(still)]
            odd = {clip: line for clip in good if (line := _misfit(clip))}
            broken += odd.values()
            good = [clip for clip in good if clip not in odd]
        if not broken:
            return good
        names = _lines(broken)
        if self.on_error == "raise" or not good:
            advice = "repair or remove them (in Python, on_error='skip' leaves them out)"
            raise MediaError(f"{len(broken)} of {len(listed)} clips cannot be read; {advice}:{names}")
        warnings.warn(f"{len(broken)} of {len(listed)} clips cannot be read and are left out:{names}", stacklevel=3)
        return good

    def _warn_of_short_clips(self) -> None:
        short = [f"{clip.path}: {clip.frames}" for clip in self.clips if clip.frames < self.num_frames]
        if short and self.sampling != "very_random":
            what = f"{len(short)} of {len(self)} clips have fewer than {self.num_frames} frames"
            warnings.warn(f"{what}; their last frame repeats:{_lines(short)}", stacklevel=3)


def in_order(labels: set[str]) -> tuple[str, ...]:
    """By the alphabet; labels that are all numbers by their size, so that label 2 comes before label 10."""
    numbers = all(name.isascii() and name.isdigit() for name in labels)
    return tuple(sorted(labels, key=lambda name: (int(name), name) if numbers else (0, name)))


def _misfit(clip: Clip) -> str:
    """What is wrong with the motion beside a clip, if anything."""
    try:
        check_motion(clip.path, clip.frames)
    except (MediaError, OSError) as error:
        return f"{clip.path}: {error}"
    return ""


def _lines(said: list[str]) -> str:
    more = f"\n  and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
    return "".join(f"\n  {line}" for line in said[:SHOWN]) + more


__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "VideoFolder", "frame_indices"]
