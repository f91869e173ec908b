"""Random weights and images of a made folder, and its files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor


class Folder:
    """Where files are written; what is written can be read back with its float32 rounding.

    Args:
        path: made if need be.
        seed: of everything that is drawn; each purpose has a generator of its own.
    """

    def __init__(self, path: Path, seed: int):
        self.path, self.seed = Path(path), seed

    def generator(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + sum(i * b for i, b in enumerate(purpose.encode())))

    def tensors(self, name: str, values: Mapping[str, Tensor]) -> None:
        """A `.safetensors` file; floating-point values become float32."""
        path = self.path / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        rounded = {key: rounded_to_float32(value).clone().contiguous() for key, value in values.items()}
        save_file(rounded, path)

    def json(self, name: str, values: Any) -> None:
        path = self.path / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values, indent=1))


def rounded_to_float32(value: Tensor) -> Tensor:
    value = value.detach()
    return value.float() if value.is_floating_point() else value


def rounded(value: Tensor) -> Tensor:
    """The closest float32 numbers, as float64."""
    return value.float().double()


def exact(values: Mapping[str, Tensor], learn: bool = False) -> dict[str, Tensor]:
    """The stored numbers as new float64 tensors; `learn` asks for gradients of all but statistics and constants."""
    found = {}
    for key, value in values.items():
        found[key] = value.double().clone() if value.is_floating_point() else value.clone()
        if learn and is_learned(key) and value.is_floating_point():
            found[key].requires_grad_()
    return found


def is_learned(name: str) -> bool:
    """Whether a tensor of the authors' networks is a parameter."""
    constants = ("running_mean", "running_var", "num_batches_tracked", "freqs")
    return not name.endswith(constants) and not name.endswith("down.weight")


def draw_weights(shapes: Mapping[str, Tensor], generator: torch.Generator, gain: float = 1.2) -> dict[str, Tensor]:
    """Random float32 tensors of these names and shapes; constants stay as they are.

    Norms as in the authors' folder: weights and variances U(.5, 1.5), biases and means N(0, .2), 7 batches seen.
    Matrices and kernels are normal, so that activations stay near 1; biases N(0, .1).
    """

    def uniform(shape: torch.Size) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float32) + 0.5

    def normal(shape: torch.Size, scale: float) -> Tensor:
        return scale * torch.randn(shape, generator=generator, dtype=torch.float32)

    drawn = {}
    for name, like in shapes.items():
        shape, in_norm = like.shape, ".norm" in name or name.endswith("gamma")
        if name.endswith("num_batches_tracked"):
            drawn[name] = torch.tensor(7)
        elif not is_learned(name) and "running" not in name:
            drawn[name] = like.clone()
        elif name.endswith("running_var") or (in_norm and name.endswith(("weight", "gamma"))):
            drawn[name] = uniform(shape)
        elif in_norm:
            drawn[name] = normal(shape, 0.2)
        elif name.endswith("bias"):
            drawn[name] = normal(shape, 0.1)
        elif "relative_attention_bias" in name or name == "null_cond_emb":
            drawn[name] = normal(shape, 1.0)
        else:
            drawn[name] = normal(shape, gain * shape[1:].numel() ** -0.5)
    return drawn


def draw_normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal float64 numbers that float32 holds as they are."""
    return torch.randn(shape, generator=generator, dtype=torch.float32).double()


def draw_images(*shape: int, generator: torch.Generator) -> Tensor:
    """Smooth random images in [0.2, 0.8], (..., 3, h, w): float64 numbers that float32 holds as they are."""
    *batch, h, w = shape
    coarse = torch.rand(*batch, h // 12, w // 12, generator=generator, dtype=torch.float32)
    flat = coarse.flatten(0, -4) if coarse.ndim > 3 else coarse[None]
    smooth = torch.nn.functional.interpolate(flat, size=(h, w), mode="bicubic", align_corners=False)
    return (0.2 + 0.6 * smooth.clamp(0, 1)).view(shape).double()


def draw_clips(b: int, frames: int, h: int, w: int, generator: torch.Generator) -> Tensor:
    """(b, 3, frames, h, w): from one smooth image to another."""
    first, last = draw_images(2, b, 3, h, w, generator=generator)
    share = torch.linspace(0, 1, frames, dtype=torch.float64).view(-1, 1, 1)
    return torch.lerp(first[:, :, None], last[:, :, None], share).float().double()
