"""The state of a run on disk: whole or not there, the newest whole one found again after any crash."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import write_json

STATE, MANIFEST = "state.pt", "manifest.json"


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_state(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write `folder/step_N` under a temporary name, flush it, rename it, then drop all but the newest `keep`.

    Raises:
        OSError: the disk has no room for it; what was there before is untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".writing-*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    temporary, final = folder / f".writing-{step:07d}", folder / f"step_{step:07d}"
    temporary.mkdir()
    with open(temporary / STATE, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    write_json(temporary / MANIFEST, {"step": step, "sha256": _hash(temporary / STATE)})
    if final.exists():
        shutil.rmtree(final)
    os.replace(temporary, final)
    for old in sorted(folder.glob("step_*"))[:-keep]:
        shutil.rmtree(old)
    return final


def newest_state(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint whose bytes agree with its manifest; None if there is none. Damaged ones are named."""
    for path in sorted(folder.glob("step_*"), reverse=True):
        try:
            manifest = json.loads((path / MANIFEST).read_text())
            if manifest["sha256"] == _hash(path / STATE):
                return torch.load(path / STATE, map_location="cpu", weights_only=True)
        except (OSError, KeyError, json.JSONDecodeError):
            pass
        print(f"checkpoint {path} is damaged; trying the one before")
    return None
