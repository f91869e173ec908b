"""The authors' `.pth` files: read without running anything in them, and written in the same layout."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints import CheckpointError, write_atomically

AUTOENCODER_PARTS = ("generator", "region_predictor", "bg_predictor")
DIFFUSION_PART = "diffusion"


def read_states(path: str | Path, parts: tuple[str, ...]) -> dict[str, dict[str, Tensor]]:
    """The named state dicts of a `.pth` file; its optimizer and counters are left on disk.

    Only tensors and plain containers are unpickled, so that a file cannot run code; tensors are mapped from the file,
    not copied.

    Args:
        path: a file that `torch.save` wrote from a dictionary.
        parts: keys at the top of that dictionary.

    Raises:
        CheckpointError: no such file, a truncated or foreign one, one that holds code, or one without these parts.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no file at {path}; expected one of the authors' .pth checkpoints")
    content = _load(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dictionary with {', '.join(parts)}")
    for part in parts:
        if part not in content:
            found = ", ".join(map(str, content)) or "nothing"
            raise CheckpointError(f"{path} has no {part!r}; at its top are: {found}")
        if not isinstance(content[part], Mapping) or not all(isinstance(t, Tensor) for t in content[part].values()):
            raise CheckpointError(f"{path}: {part!r} is no state dict, a dictionary of tensors")
    return {part: dict(content[part]) for part in parts}


def write_states(path: str | Path, states: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write state dicts in the authors' outer layout, atomically; counters start at 0 and no optimizer is stored."""
    content: dict[str, Any] = {"example": 0, **{part: dict(state) for part, state in states.items()}}
    if DIFFUSION_PART not in states:
        content["epoch"] = 0
    write_atomically(path, lambda temporary: torch.save(content, temporary))


def _load(path: Path) -> Any:
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)  # written before torch 1.6
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} was refused and nothing in it was run: it holds more than tensors and plain containers ({reason})"
        ) from None
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is truncated or no file of torch.save: {reason}") from None
