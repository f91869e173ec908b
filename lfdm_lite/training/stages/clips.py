"""The clips of a run: rendered or decoded once and kept on disk, so that a training step only reads them.

A cache is known by all that determines its content: the config, and of every film its path, label, size and time, or
the version of what draws. So clips that changed are read anew, which is said, and nothing stale is ever trained on.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from ... import data as datasets
from ...data.drawn.acting.expressions import Acting
from ...data.drawn.procedural import drawing_version
from ...data.folders.clip_table import plainly
from ...data.folders.frame_cache import FORMAT
from ...files.locks import FolderInUse, hold_folder
from ...files.pictures import MediaError
from ...files.reading import one_line
from ..configs import DataConfig
from ..engine.core import Engine
from ..engine.randomness import Item
from ..engine.recipes import plain
from .shards import ShardedClips, read_made_from, sharded_clips, values_fingerprint

FOLDERS = {"mug": "MUG", "mhad": "MHAD", "natops": "NATOPS", "folder": "VideoFolder"}  # classes that read videos
EVERY_LOOK = {"look": "all"}  # what caches of sketches leave unsaid
SHOWN = 3  # changed clips that a message names


def build_dataset(config: DataConfig, split: str) -> Any:
    """The data set that a config names, one split of it.

    Raises:
        ValueError: unknown name, a set of videos without a root, or a look or acting where there is no such choice.
    """
    length = config.train_clips if split == "train" else config.val_clips
    procedural = datasets.PROCEDURAL.get(config.name)
    acts = procedural is not None and issubclass(procedural, datasets.Faces)
    if config.acting != Acting() and not acts:
        raise ValueError(f"data.acting is of drawn faces, data.name is {config.name!r}: leave data.acting out")
    looks = procedural is not None and issubclass(procedural, datasets.Sketches)
    if config.look != "all" and not looks:
        raise ValueError(
            f"data.look={config.look!r} is of sketches, data.name is {config.name!r}: "
            "leave data.look out, or take data.name sketches"
        )
    if procedural is not None:
        options: dict[str, Any] = dict(size=config.size, num_frames=config.num_frames, length=length, seed=config.seed)
        options |= ({"acting": config.acting} if acts else {}) | ({"look": config.look} if looks else {})
        return procedural(split, **options)
    if config.name not in FOLDERS:
        raise ValueError(f"data.name {config.name!r} is not one of: {', '.join([*datasets.PROCEDURAL, *FOLDERS])}")
    if config.root is None:
        raise ValueError(f"data.name is {config.name!r}, so data.root must name the folder of its videos")
    options = dict(split=split, seed=config.seed, sampling=config.sampling, cache_gb=0)  # kept in the cache below
    options |= dict(size=config.size, num_frames=config.num_frames)
    return getattr(datasets, FOLDERS[config.name])(config.root, **options)


def draw_clips(config: DataConfig, split: str) -> Subset[Item] | ConcatDataset[Item]:
    """All clips of a split: in training each sampled `draws` times; for choosing at most `val_clips`, spread evenly."""
    if split == "train":
        seeds = range(config.seed, config.seed + config.draws)
        return ConcatDataset([build_dataset(replace(config, seed=seed), split) for seed in seeds])
    dataset = build_dataset(config, split)
    count = min(len(dataset), config.val_clips)
    return Subset(dataset, [i * len(dataset) // count for i in range(count)])


def known_numbers(config: DataConfig) -> tuple[str, ...]:
    """What the clips of a config say in numbers beside their label."""
    return datasets.PROCEDURAL[config.name].numbers if config.name in datasets.PROCEDURAL else ()


class TensorClips(Dataset[dict[str, Tensor]]):
    """Clips in memory: tensors whose first axis counts clips."""

    def __init__(self, **tensors: Tensor):
        self.tensors = tensors

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: tensor[index] for name, tensor in self.tensors.items()}


class Together(Dataset[dict[str, Tensor]]):
    """What several data sets know of the same clips."""

    def __init__(self, *parts: Any):
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: value for part in self.parts for name, value in part[index].items()}


# ---------------------------------------------------------------- what a cache is made from


class CachedClips(ShardedClips):
    """All clips of a split: 8-bit "video" (3, t, h, w), "label" and `numbers`. True flow and visibility are kept out.

    Attributes:
        labels: their names; "label" counts in this order.
        numbers: names of what they say of the performance beside the label, one float each.
        said: how many they are, and a hash of their paths and labels.
    """

    def __init__(self, shards: list[dict[str, Tensor]], made_from: dict[str, Any]):
        super().__init__(shards, values_fingerprint(made_from))
        self.labels: list[str] = made_from["labels"]
        self.numbers: list[str] = made_from["numbers"]
        names = [clip[:2] for clip in made_from.get("clips", [])]
        self.said = f"{len(self)} clips" + (f" ({values_fingerprint(names)[:8]})" if names else "")


def origin(config: DataConfig, split: str, dataset: Any) -> dict[str, Any]:
    """All that determines the content of a cache, as JSON values.

    Args:
        dataset: as `draw_clips` makes it.
    """
    source: Any = dataset.dataset if isinstance(dataset, Subset) else dataset.datasets[0]
    chosen = plain(config)
    if config.look == EVERY_LOOK["look"]:
        del chosen["look"]  # so that caches from before there was a choice still count
    made_from = chosen | {"split": split, "count": len(dataset), "labels": list(source.labels)}
    made_from |= {"numbers": list(known_numbers(config))}
    if config.name in datasets.PROCEDURAL:
        return made_from | {"drawing": drawing_version()}
    root = os.path.abspath(config.root or "")
    clips = [source.clips[i] for i in dataset.indices] if isinstance(dataset, Subset) else source.clips
    told = [[_within(Path(os.path.abspath(c.path)), root), c.label_name, *c.stamp, c.frames] for c in clips]
    return made_from | {"root": root, "decoding": FORMAT, "clips": told}


def _within(path: Path, root: str) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def drop_outdated(folder: Path, made_from: dict[str, Any]) -> None:
    """Say what has changed since an earlier cache of the same clips was made, and remove it with the motions in it."""
    may_differ = {"count", "labels", "numbers", "clips", "drawing", "decoding"}
    prefix = f"{made_from['name']}-{made_from['split']}-"
    for other in sorted(folder.parent.glob(f"{prefix}*")):
        before = EVERY_LOOK | {"acting": plain(Acting())} | read_made_from(other)  # from before there was a choice
        now = EVERY_LOOK | made_from
        if other == folder or any(before.get(name) != now[name] for name in now.keys() - may_differ):
            continue
        why = "this version draws or decodes otherwise"
        if before.get("clips") != made_from.get("clips"):
            then, now = told(before), told(made_from)
            names = sorted({plainly(key[0]) for key in then.keys() | now.keys() if then.get(key) != now.get(key)})
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            why = f"of the clips in {made_from['root']} these have changed: {', '.join(names[:SHOWN])}{more}"
        print(f"lfdm: the {made_from['split']} clips in {folder.parent} are made anew: {why}", file=sys.stderr)
        for old in (other, *folder.parent.glob(f"*/motions-*-{other.name.removeprefix(prefix)}")):
            with suppress(FolderInUse, OSError), hold_folder(old):  # what another run is about to open stays
                shutil.rmtree(old, ignore_errors=True)


def told(made_from: dict[str, Any]) -> dict[tuple[str, str], list[Any]]:
    """The clips that a cache was made from, by path and label; what is no clip is passed over."""
    clips = made_from.get("clips")
    whole = [c for c in (clips if isinstance(clips, list) else []) if isinstance(c, list) and len(c) == 5]
    return {(str(clip[0]), str(clip[1])): clip for clip in whole}


def seen(train: Any, val: CachedClips) -> dict[str, Any]:
    """What a run learns from, for its recipe.

    Raises:
        ValueError: the folder of clips has changed between the reading of one and the other.
    """
    if train.labels != val.labels:
        both = (", ".join(clips.labels) for clips in (train, val))
        raise ValueError("the training clips have the labels {}, those for validation {}; start again".format(*both))
    return {"labels": train.labels, "train": train.said, "val": val.said}


# ---------------------------------------------------------------- the cache


class EightBit(Dataset[dict[str, Any] | str]):
    """Clips as they are kept; or what is wrong with one, in a line.

    Arrays come from workers through a pipe, tensors would come through shared memory, of which containers have little;
    an error would come with the tracebacks of two processes in it.
    """

    def __init__(self, dataset: Any, split: str, numbers: Sequence[str] = ()):
        self.dataset, self.split, self.numbers = dataset, split, numbers

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any] | str:
        try:
            item = self.dataset[index]
        except MediaError as error:
            return " ".join(str(error).split())
        except (OSError, ValueError, RuntimeError) as error:
            return f"{self.split} clip {index}: {one_line(error)}"
        told = {name: item[name] for name in ("label", *self.numbers)}
        return {"video": (item["video"] * 255).round().to(torch.uint8).numpy(), **told}


def as_it_is(item: Any) -> Any:
    """What a `DataLoader` without batches shall make of an item."""
    return item


def place_of(config: DataConfig, split: str, folder: Path, dataset: Any) -> tuple[Path, dict[str, Any]]:
    """Where in a folder of caches the clips of a split are, and what they are made from."""
    made_from = origin(config, split, dataset)
    return folder / f"{config.name}-{split}-{values_fingerprint(made_from)}", made_from


def cached_clips(
    config: DataConfig, split: str, folder: Path, engine: Engine | None = None, workers: int = 0
) -> CachedClips:
    """All clips of a split, from a folder of caches.

    Args:
        workers: processes that draw or decode what is missing, where there is no engine to say.

    Raises:
        ValueError: there is no such set of clips.
        MediaError: a clip cannot be read, by name.
        OSError: there is no room for the cache.
    """
    dataset, numbers = draw_clips(config, split), known_numbers(config)
    cores = (os.cpu_count() or 1) // (engine.processes if engine else 1)
    workers = engine.workers(max(1, min(16, cores))) if engine else workers

    def make(indices: range) -> dict[str, Tensor]:
        clips = Subset(EightBit(dataset, split, numbers), indices)
        items = []
        for item in DataLoader(clips, batch_size=None, num_workers=workers, collate_fn=as_it_is):
            if isinstance(item, str):
                raise MediaError(item)
            items.append(item)
        video = torch.stack([torch.from_numpy(item["video"]) for item in items])
        told = {name: torch.tensor([item[name] for item in items]) for name in ("label", *numbers)}
        return {"video": video, **told}

    place, made_from = place_of(config, split, folder, dataset)
    if engine is None or engine.main:
        drop_outdated(place, made_from)
    with nullcontext() if engine is None else engine.processor.free():
        shards = sharded_clips(place, made_from, len(dataset), make, f"{split} clips", engine).shards
    return CachedClips(shards, made_from)


def to_float(video: UInt8[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """8-bit frames → [0, 1]."""
    return video.float() / 255
