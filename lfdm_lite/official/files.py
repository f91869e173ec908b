"""The authors' `.pth` files: read without running anything in them, and written in the same layout."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.checkpoints import CheckpointError, write_atomically

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


def check_names(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises a CheckpointError that names the first tensor which is missing, unknown or of another shape."""
    for name, shape in expected.items():
        if name not in state:
            raise CheckpointError(f"the model lacks {name!r} of shape {shape}")
        if tuple(state[name].shape) != shape:
            raise CheckpointError(f"{name!r} has shape {tuple(state[name].shape)}, expected {shape}")
    unknown = sorted(set(state) - set(expected))
    if unknown:
        raise CheckpointError(f"the model has a tensor {unknown[0]!r} that its config does not (of {len(unknown)})")


def compare_constants(stored: Mapping[str, Tensor], formula: Mapping[str, Tensor]) -> None:
    """Warn if stored constants are not those of their formulas: whoever trained with others gets another model.

    A noise schedule, rotary frequencies and blur kernels are stored with the weights there, and computed here.

    Args:
        stored: at least the names of `formula`, in the same shapes.
        formula: what they should be, and what is used.
    """
    differ = [
        name
        for name, value in formula.items()
        if not torch.allclose(stored[name].float().cpu(), value, rtol=1e-5, atol=1e-8)
    ]
    if differ:
        more = f" and {len(differ) - 1} more" if len(differ) > 1 else ""
        warnings.warn(
            f"the stored constant {differ[0]!r}{more} differs from its formula, whose values are used", stacklevel=2
        )


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
