"""Clips rendered or decoded once and kept on disk, so that a training step only reads them.

Both caches are folders of shards. A shard is written whole or not at all; an interrupted build goes on with the shards
that are missing. A manifest says what the cache was made from; a cache made from something else is refused.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from .. import data as datasets
from ..checkpoints import write_atomically, write_json
from .configs import DataConfig

SHARD = 100  # clips a file


class StaleCacheError(ValueError):
    """A cache on disk that was made from other data or by another auto-encoder."""


def build_dataset(config: DataConfig, split: str) -> Any:
    """The data set that a config names, one split of it.

    Raises:
        ValueError: unknown name, or "folder" without a root.
    """
    length = config.train_clips if split == "train" else config.val_clips
    if config.name in datasets.PROCEDURAL:
        procedural = datasets.PROCEDURAL[config.name]
        return procedural(split, size=config.size, num_frames=config.num_frames, length=length, seed=config.seed)
    if config.name == "folder":
        if config.root is None:
            raise ValueError("data.name is 'folder', so data.root must name the folder of videos")
        return datasets.VideoFolder(config.root, config.size, config.num_frames, split=split, seed=config.seed)
    raise ValueError(f"data.name {config.name!r} is not one of: {', '.join(datasets.PROCEDURAL)}, folder")


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


def cached_shards(
    folder: Path, made_from: dict[str, Any], count: int, make: Callable[[range], dict[str, Tensor]], what: str
) -> dict[str, Tensor]:
    """Build what is missing of a sharded cache, then return all of it, concatenated.

    Args:
        folder: of this cache.
        made_from: JSON values that determine the content.
        count: number of clips.
        make: computes the tensors of a range of clips, first axis = clip.
        what: for the progress bar.

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
    shards = []
    for start in tqdm(range(0, count, SHARD), desc=what, unit="shard"):
        path = folder / f"{start:06d}.safetensors"
        if not path.exists():
            tensors = make(range(start, min(start + SHARD, count)))
            write_atomically(path, lambda temporary, tensors=tensors: save_file(tensors, temporary))
        shards.append(load_file(path))
    return {name: torch.cat([shard[name] for shard in shards]) for name in shards[0]}


def cached_clips(config: DataConfig, split: str, folder: Path) -> tuple[UInt8[Tensor, "n 3 t h w"], Int[Tensor, " n"]]:
    """All clips of a split as 8-bit video, and their labels. True flow and visibility are not among them."""
    dataset = build_dataset(config, split)

    def make(indices: range) -> dict[str, Tensor]:
        items = list(DataLoader(Subset(dataset, indices), batch_size=None, num_workers=min(2, os.cpu_count() or 1)))
        video = torch.stack([item["video"] for item in items])
        return {
            "video": (video * 255).round().to(torch.uint8),
            "label": torch.tensor([item["label"] for item in items]),
        }

    made_from = asdict(config) | {"split": split, "clips": len(dataset)}
    name = f"{config.name}-{split}-{fingerprint(made_from)}"
    cache = cached_shards(folder / name, made_from, len(dataset), make, f"{split} clips")
    return cache["video"], cache["label"]


def to_float(video: UInt8[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """8-bit frames → [0, 1]."""
    return video.float() / 255


def step_indices(seed: int, count: int, batch_size: int, start: int) -> Iterator[list[int]]:
    """The clips of step `start`, `start + 1`, …: shuffled epoch after epoch, a function of seed and step alone."""
    position = start * batch_size
    while True:
        picked: list[int] = []
        while len(picked) < batch_size:
            epoch, offset = divmod(position, count)
            order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
            taken = order[offset : offset + batch_size - len(picked)]
            picked += taken.tolist()
            position += len(taken)
        yield picked
