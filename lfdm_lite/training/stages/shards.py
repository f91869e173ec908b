"""Tensors of many clips on disk, computed once: folders of shards of 100 clips.

A shard is written whole or not at all; an interrupted build goes on with the shards that are missing. Each says what it
was made from and has a checksum, so that one which is damaged, cut or of something else is made anew. Shards are mapped
into memory, so that a cache may be larger than it, and the processes of a machine share what they read.
"""

import hashlib
import json
import sys
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ...files.atomic import write_atomically, write_json
from ...files.locks import hold_folder
from ...files.models.weights import write_safetensors
from ...files.reading import CheckpointError, read_json
from ..engine.core import Engine

SHARD = 100  # clips a file
MADE_FROM = "made_from.json"  # for readers; each shard has its hash


class ShardedClips(Dataset[dict[str, Tensor]]):
    """Clips in files of `SHARD` each; a clip is read when it is asked for.

    Attributes:
        key: a hash of what they were made from.
    """

    def __init__(self, shards: list[dict[str, Tensor]], key: str = ""):
        self.shards, self.key = shards, key

    def __len__(self) -> int:
        return sum(len(next(iter(shard.values()))) for shard in self.shards)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        shard, row = divmod(index, SHARD)
        return {name: tensor[row] for name, tensor in self.shards[shard].items()}

    def whole(self, name: str) -> Tensor:
        """One tensor of all clips, in memory."""
        return torch.cat([shard[name] for shard in self.shards])


def sharded_clips(
    folder: Path,
    made_from: dict[str, Any],
    count: int,
    make: Callable[[range], dict[str, Tensor]],
    what: str,
    engine: Engine | None = None,
) -> ShardedClips:
    """Build what is missing of a cache, then open it. What is damaged is made anew, and said in one line.

    Args:
        folder: of this cache.
        made_from: JSON values that determine the content.
        count: number of clips.
        make: computes the tensors of a range of clips, first axis = clip.
        what: for the progress bar.
        engine: its processes share the work.

    Raises:
        OSError: there is no room for a shard; those before it stay.
    """
    key, damaged = values_fingerprint(made_from), {}
    paths = {start: folder / f"{start:06d}.safetensors" for start in range(0, count, SHARD)}

    def build(starts: list[int], quiet: bool) -> None:
        for start in starts if quiet else tqdm(starts, desc=what, unit="shard"):
            rows = range(start, min(start + SHARD, count))
            fault = fault_of(paths[start], key, len(rows))
            if fault is None:
                continue
            if paths[start].exists():
                damaged[paths[start].name] = fault
            save_shard(paths[start], make(rows), key)

    quiet = engine is not None and not engine.shows_progress
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder, wait=True) if engine is None or engine.main else nullcontext():
        if (engine is None or engine.main) and read_made_from(folder) != made_from:
            write_json(folder / MADE_FROM, made_from)
        if engine is None or engine.alone:
            build(list(paths), quiet)
        else:
            build(list(paths)[engine.accelerator.process_index :: engine.processes], quiet)
            engine.wait()
            with engine.on_this_machine():  # where machines share no disk, each still lacks the others' shards
                build([start for start, path in paths.items() if not path.exists()], quiet=True)
        shards = [load_file(path) for path in paths.values()]
    if damaged:
        name, fault = next(iter(damaged.items()))
        print(
            f"lfdm: {len(damaged)} of {len(paths)} files of the cache in {folder} were damaged ({name}: {fault}) "
            "and have been made anew",
            file=sys.stderr,
        )
    return ShardedClips(shards, key)


def save_shard(path: Path, tensors: dict[str, Tensor], key: str) -> None:
    """Write a shard that says what it was made from, and its checksum.

    Raises:
        OSError: there is no room for it, or no permission.
    """
    said = {"made_from": key, "checksum": checksum(tensors)}
    write_atomically(path, lambda temporary: write_safetensors(temporary, tensors, said))


def fault_of(path: Path, key: str, rows: int) -> str | None:
    """What is wrong with a shard; None: it is whole."""
    if not path.is_file():
        return "it is not there"
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError):
        return "it cannot be read"
    if said.get("made_from") != key:
        return "it was made from something else"
    wrong = [len(tensor) if tensor.ndim else 0 for tensor in tensors.values() if not tensor.ndim or len(tensor) != rows]
    if wrong or not tensors:
        return f"it holds {wrong[0] if wrong else 0} clips, not {rows}"
    return None if said.get("checksum") == checksum(tensors) else "its content has changed"


def checksum(tensors: dict[str, Tensor]) -> str:
    """Of names, types, shapes and every byte: against damage, not against malice."""
    total = 0
    for name, tensor in sorted(tensors.items()):
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.contiguous().view(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


def read_made_from(folder: Path) -> dict[str, Any]:
    """What a cache says that it was made from; nothing, if nobody can tell."""
    try:
        values = read_json(folder / MADE_FROM)
    except CheckpointError:
        return {}
    return values if isinstance(values, dict) else {}


def values_fingerprint(values: Any) -> str:
    """A short hash of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def weights_fingerprint(module: torch.nn.Module) -> str:
    """A short hash of every number in a module's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:16]
