"""Clips rendered or decoded once and kept on disk, so that a training step only reads them.

Caches are folders of shards. A shard is written whole or not at all; an interrupted build goes on with the shards
that are missing. A manifest says what the cache was made from; a cache made from something else is refused. Shards are
mapped into memory, so that a cache may be larger than it, and the processes of a machine share what they read.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from tqdm.auto import tqdm

from ... import data as datasets
from ...files.checkpoints import write_atomically, write_json
from ...files.weights import write_safetensors
from ..configs import DataConfig
from ..engine.core import Engine

SHARD = 100  # clips a file


class StaleCacheError(ValueError):
    """A cache on disk that was made from other data or by another auto-encoder."""


FOLDERS = {"mug": "MUG", "mhad": "MHAD", "natops": "NATOPS", "folder": "VideoFolder"}  # classes that read videos


def build_dataset(config: DataConfig, split: str) -> Any:
    """The data set that a config names, one split of it.

    Raises:
        ValueError: unknown name, or a set of videos without a root.
    """
    length = config.train_clips if split == "train" else config.val_clips
    if config.name in datasets.PROCEDURAL:
        procedural = datasets.PROCEDURAL[config.name]
        return procedural(split, size=config.size, num_frames=config.num_frames, length=length, seed=config.seed)
    if config.name not in FOLDERS:
        raise ValueError(f"data.name {config.name!r} is not one of: {', '.join([*datasets.PROCEDURAL, *FOLDERS])}")
    if config.root is None:
        raise ValueError(f"data.name is {config.name!r}, so data.root must name the folder of its videos")
    options = dict(split=split, seed=config.seed, sampling=config.sampling, cache_gb=0)  # kept in the cache below
    options |= dict(size=config.size, num_frames=config.num_frames)
    return getattr(datasets, FOLDERS[config.name])(config.root, **options)


def draw_clips(config: DataConfig, split: str) -> Dataset:
    """All clips of a split: in training each sampled `draws` times; for choosing at most `val_clips`, spread evenly."""
    if split == "train":
        seeds = range(config.seed, config.seed + config.draws)
        return ConcatDataset([build_dataset(replace(config, seed=seed), split) for seed in seeds])
    dataset = build_dataset(config, split)
    count = min(len(dataset), config.val_clips)
    return Subset(dataset, [i * len(dataset) // count for i in range(count)])


def fingerprint(values: Any) -> str:
    """A short hash of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def weights_fingerprint(module: torch.nn.Module) -> str:
    """A short hash of every number in a module's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:16]


class TensorClips(Dataset):
    """Clips in memory: tensors whose first axis counts clips."""

    def __init__(self, **tensors: Tensor):
        self.tensors = tensors

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: tensor[index] for name, tensor in self.tensors.items()}


class ShardedClips(Dataset):
    """Clips in files of `SHARD` each; a clip is read when it is asked for."""

    def __init__(self, shards: list[dict[str, Tensor]]):
        self.shards = shards

    def __len__(self) -> int:
        return sum(len(next(iter(shard.values()))) for shard in self.shards)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        shard, row = divmod(index, SHARD)
        return {name: tensor[row] for name, tensor in self.shards[shard].items()}

    def whole(self, name: str) -> Tensor:
        """One tensor of all clips, in memory."""
        return torch.cat([shard[name] for shard in self.shards])


class Together(Dataset):
    """What several data sets know of the same clips."""

    def __init__(self, *parts: Any):
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: value for part in self.parts for name, value in part[index].items()}


def sharded_clips(
    folder: Path,
    made_from: dict[str, Any],
    count: int,
    make: Callable[[range], dict[str, Tensor]],
    what: str,
    engine: Engine | None = None,
) -> ShardedClips:
    """Build what is missing of a cache, then open it.

    Args:
        folder: of this cache.
        made_from: JSON values that determine the content.
        count: number of clips.
        make: computes the tensors of a range of clips, first axis = clip.
        what: for the progress bar.
        engine: its processes share the work.

    Raises:
        StaleCacheError: the folder holds a cache that was made from something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "made_from.json"
    made_from = json.loads(json.dumps(made_from))
    if manifest.exists():
        found = json.loads(manifest.read_text())
        differs = sorted(k for k in {*found, *made_from} if found.get(k) != made_from.get(k))
        if differs:
            raise StaleCacheError(
                f"the cache in {folder} was made from something else ({', '.join(differs)} differ); "
                "delete that folder, or use another --out"
            )
    else:
        write_json(manifest, made_from)
    paths = {start: folder / f"{start:06d}.safetensors" for start in range(0, count, SHARD)}

    def build(starts: list[int], quiet: bool) -> None:
        for start in starts if quiet else tqdm(starts, desc=what, unit="shard"):
            if not paths[start].exists():
                tensors = make(range(start, min(start + SHARD, count)))
                write_atomically(paths[start], lambda temporary, tensors=tensors: write_safetensors(temporary, tensors))

    quiet = engine is not None and not engine.shows_progress
    if engine is None or engine.alone:
        build(list(paths), quiet)
    else:
        build(list(paths)[engine.accelerator.process_index :: engine.processes], quiet)
        engine.wait()
        with engine.on_this_machine():  # where machines share no disk, each still lacks the others' shards
            build([start for start, path in paths.items() if not path.exists()], quiet=True)
    return ShardedClips([load_file(path) for path in paths.values()])


def cached_clips(config: DataConfig, split: str, folder: Path, engine: Engine | None = None) -> ShardedClips:
    """All clips of a split: 8-bit "video" (3, t, h, w), and "label". True flow and visibility are not among them."""
    dataset = draw_clips(config, split)
    cores = (os.cpu_count() or 1) // (engine.processes if engine else 1)

    def make(indices: range) -> dict[str, Tensor]:
        items = list(DataLoader(Subset(dataset, indices), batch_size=None, num_workers=max(1, min(16, cores))))
        video = torch.stack([item["video"] for item in items])
        return {
            "video": (video * 255).round().to(torch.uint8),
            "label": torch.tensor([item["label"] for item in items]),
        }

    made_from = asdict(config) | {"split": split, "clips": len(dataset)}
    name = f"{config.name}-{split}-{fingerprint(made_from)}"
    return sharded_clips(folder / name, made_from, len(dataset), make, f"{split} clips", engine)


def to_float(video: UInt8[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """8-bit frames → [0, 1]."""
    return video.float() / 255
