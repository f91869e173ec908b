"""The state of a run on disk: whole or not there, the newest whole one found again after any crash.

A checkpoint is a folder `step_N` with the state and a manifest that has its hash. It is written under another name,
flushed to the disk and renamed; only then older ones go.
"""

import errno
import hashlib
import math
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...files.atomic import flush_folder, write_json
from ...files.reading import CheckpointError, one_line, read_json

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
            try:
                torch.save(state, file)
            except RuntimeError as error:  # what torch makes of a write that failed, on a full disk for one
                raise OSError(errno.EIO, f"cannot be written: {one_line(error)}", str(temporary)) from None
            file.flush()
            os.fsync(file.fileno())
        manifest = {"step": step, "sha256": hash_of(temporary / STATE), "score": score}
        write_json(temporary / MANIFEST, manifest)
        flush_folder(temporary)
        drop(final)  # a damaged one of this step
        os.replace(temporary, final)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):  # with a name that is still there
            raise OSError(error.errno, error.strerror or str(error), str(final)) from error
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
    """The state in a checkpoint, on the CPU; tensors and plain values alone are read.

    Raises:
        CheckpointError: it holds anything else, or no state.
    """
    try:
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
        if type(state["step"]) is int:
            return state
        why = "its step is no whole number"
    except pickle.UnpicklingError:
        why = "it holds more than tensors and plain values"
    except Exception as error:  # torch lets through whatever its readers of zip and pickle raise
        why = one_line(error)
    raise CheckpointError(f"{path / STATE} is no state of a run ({why}); delete {path} to go on from the one before")


def best(folder: Path) -> Path | None:
    """The checkpoint that validation found best; None if none was validated."""
    scores = [(score, path) for path in checkpoints(folder) if (score := score_of(path)) is not None]
    return max(scores)[1] if scores else None


def best_score(folder: Path) -> float:
    """The best score of all checkpoints; minus infinity if none was validated."""
    return max([-math.inf, *(score for path in checkpoints(folder) if (score := score_of(path)) is not None)])


def score_of(path: Path) -> float | None:
    """What validation found of a checkpoint; None if it was not validated, or nobody can tell."""
    score = read_manifest(path).get("score")
    return score if isinstance(score, int | float) and math.isfinite(score) else None


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is there and its bytes agree with its manifest."""
    try:
        return (path / STATE).is_file() and read_manifest(path).get("sha256") == hash_of(path / STATE)
    except OSError:
        return False


def read_manifest(path: Path) -> dict[str, Any]:
    """A checkpoint's manifest; empty if there is no readable one."""
    try:
        values = read_json(path / MANIFEST)
    except CheckpointError:
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


def drop(path: Path) -> None:
    """Delete a checkpoint so that no half of it is ever seen under its name."""
    if path.exists():
        gone = path.with_name(DROPPED + path.name)
        shutil.rmtree(gone, ignore_errors=True)
        os.replace(path, gone)
        shutil.rmtree(gone, ignore_errors=True)
