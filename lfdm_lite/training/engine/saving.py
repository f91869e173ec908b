"""The state of a run on disk: whole or not there, the newest whole one found again after any crash.

A checkpoint is a folder `step_N` with the state and a manifest that has its hash. It is written under another name,
flushed to the disk and renamed; only then older ones go.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...files.checkpoints import CheckpointError, write_json

STATE, MANIFEST = "state.pt", "manifest.json"
WRITING, DROPPED = ".writing-", ".dropped-"  # names of what is not yet, or no longer, a checkpoint


def save_state(folder: Path, step: int, state: dict[str, Any], keep: int, score: float | None = None) -> Path:
    """Write `folder/step_N`, then drop all but the newest `keep` and the one with the best score.

    Args:
        state: tensors and plain values, in dictionaries and lists.
        keep: at least 1.
        score: what validation found, larger is better; None: not validated.

    Raises:
        OSError: the disk has no room for it; what was there before is untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / name_of(step)
    if is_whole(final):
        return final
    for leftover in [*folder.glob(f"{WRITING}*"), *folder.glob(f"{DROPPED}*")]:  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    check_room(folder, size_of(state))
    temporary = folder / f"{WRITING}{step:07d}"
    temporary.mkdir()
    try:
        with open(temporary / STATE, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        manifest = {"step": step, "sha256": hash_of(temporary / STATE), "score": score}
        write_json(temporary / MANIFEST, manifest)
        flush_folder(temporary)
        drop(final)  # a damaged one of this step
        os.replace(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    flush_folder(folder)
    staying = {*checkpoints(folder)[-keep:], best(folder)}
    for old in checkpoints(folder):
        if old not in staying:
            drop(old)
    return final


def name_of(step: int) -> str:
    """A checkpoint's name; those of later steps sort behind."""
    return f"step_{step:07d}"


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a run, oldest first."""
    return sorted(folder.glob("step_*"))


def newest_state(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint whose bytes agree with its manifest; None if there is none. Damaged ones are named.

    Raises:
        CheckpointError: there are checkpoints, and all are damaged.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        if is_whole(path):
            return read_state(path)
        print(f"lfdm: checkpoint {path} is damaged; trying the one before", file=sys.stderr)
    if found:
        raise CheckpointError(f"no checkpoint in {folder} is whole; delete that folder to train from the start")
    return None


def read_state(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, on the CPU."""
    return torch.load(path / STATE, map_location="cpu", weights_only=True)


def best(folder: Path) -> Path | None:
    """The checkpoint that validation found best; None if none was validated."""
    scores = [(score, path) for path in checkpoints(folder) if (score := read_manifest(path).get("score")) is not None]
    return max(scores)[1] if scores else None


def best_score(folder: Path) -> float:
    """The best score of all checkpoints; minus infinity if none was validated."""
    path = best(folder)
    return read_manifest(path)["score"] if path else -float("inf")


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is there and its bytes agree with its manifest."""
    try:
        return read_manifest(path).get("sha256") == hash_of(path / STATE)
    except OSError:
        return False


def read_manifest(path: Path) -> dict[str, Any]:
    """A checkpoint's manifest; empty if there is no readable one."""
    try:
        values = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def hash_of(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(state: Any) -> int:
    """Bytes of all tensors in a state, and a little for the rest."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(size_of, state.values())) + 4096
    return sum(map(size_of, state)) if isinstance(state, list | tuple) else 16


def check_room(folder: Path, needed: int) -> None:
    """Raise before anything is touched if a checkpoint of `needed` bytes does not fit.

    Raises:
        OSError: with the bytes that are needed and those that are free.
    """
    free = shutil.disk_usage(folder).free
    if free < 1.02 * needed:
        sizes = f"a checkpoint needs {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free"
        raise OSError(errno.ENOSPC, f"No space left on device: {sizes}; older checkpoints are untouched", str(folder))


def flush_folder(folder: Path) -> None:
    """Bring names in a folder to the disk, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def drop(path: Path) -> None:
    """Delete a checkpoint so that no half of it is ever seen under its name."""
    if path.exists():
        gone = path.with_name(DROPPED + path.name)
        shutil.rmtree(gone, ignore_errors=True)
        os.replace(path, gone)
        shutil.rmtree(gone, ignore_errors=True)
