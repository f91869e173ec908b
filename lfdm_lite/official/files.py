"""The authors' `.pth` files: read without running anything in them, and written in the same layout."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.atomic import write_atomically
from ..files.models.pickles import read_pickle
from ..files.models.weights import COUNTER, PRECISIONS, check_finite, plain_names
from ..files.reading import CheckpointError, shown

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
        CheckpointError: no such file, a truncated, damaged or foreign one, one that holds code, or one without these
            parts, or with numbers in them that are infinite or none.
    """
    content = read_pickle(path, "one of the authors' .pth checkpoints")
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dictionary with {', '.join(parts)}")
    states = {}
    for part in parts:
        if part not in content:
            found = ", ".join(shown(name) for name in list(content)[:20]) or "nothing"
            raise CheckpointError(f"{path} has no {part!r}; at its top are: {found}")
        state = content[part]
        plain = isinstance(state, Mapping) and all(isinstance(name, str) for name in state)
        if not plain or not all(isinstance(tensor, Tensor) for tensor in state.values()):
            raise CheckpointError(f"{path}: {part!r} is no state dict, a dictionary of tensors")
        names = plain_names(state, f"{path}: {part!r}")  # without those of DataParallel
        states[part] = {ours: state[name] for ours, name in names.items()}
        check_weights(states[part], f"{path}: {part!r}")
    return states


def check_weights(state: Mapping[str, Tensor], where: str) -> None:
    """Raises a CheckpointError that names the first tensor which holds no weights: another type, or not finite."""
    for name, tensor in state.items():
        if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
            raise CheckpointError(f"{where}: tensor {shown(name)} has no numbers in it ({tensor.layout})")
        expected = [COUNTER] if name.endswith("num_batches_tracked") else PRECISIONS.values()
        if tensor.dtype not in expected:
            types = ", ".join(map(str, expected))
            raise CheckpointError(f"{where}: tensor {shown(name)} is of type {tensor.dtype}, expected {types}")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{where}: tensor {shown(name)} is larger than the numbers that are stored of it")
    check_finite(state, where)


def write_states(path: str | Path, states: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write state dicts in the authors' outer layout, atomically; counters start at 0 and no optimizer is stored."""
    content: dict[str, Any] = {"example": 0, **{part: dict(state) for part, state in states.items()}}
    if DIFFUSION_PART not in states:
        content["epoch"] = 0

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # by its path torch.save would put the temporary name into the file
            torch.save(content, file)

    write_atomically(path, write)


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
