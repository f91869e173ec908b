"""What `LFDM` is given: parts, labels, numbers. What does not fit is refused in words, before anything is computed."""

import difflib
import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .autoencoder import LFAEConfig
from .samplers import SAMPLERS, sampling_path
from .unet3d import UNet3DConfig

Number = Any  # an int or a float, or one of numpy, torch or their kin; `whole_number` and its kin make it plain


def check_parts(autoencoder: LFAEConfig, unet: UNet3DConfig, labels: Sequence[str], image_size: int) -> None:
    """Look whether two networks, the names of the labels and the image size fit together.

    Raises:
        ValueError: if not; says which numbers disagree.
    """
    if len(labels) != unet.num_labels or len(set(labels)) != len(labels):
        raise ValueError(f"labels are {labels}; expected {unet.num_labels} different names, one per label of the UNet")
    if unet.feature_channels != autoencoder.latent_channels:
        raise ValueError(
            f"the UNet expects latents of {unet.feature_channels} channels, "
            f"the auto-encoder makes {autoencoder.latent_channels}"
        )
    if unet.channels != 3:
        raise ValueError(f"the UNet denoises {unet.channels} channels; flow and occlusion are 3")
    multiple = autoencoder.latent_stride * 2 ** (len(unet.dim_mults) - 1)
    if image_size < 1 or image_size % multiple:
        raise ValueError(f"image_size is {image_size}; these networks need a multiple of {multiple}")


@dataclass(frozen=True)
class Sampling:
    """How `LFDM.generate` samples; every number is checked."""

    num_frames: int  # of a clip
    guidance_scale: float
    sampler: str
    steps: int  # network evaluations
    seed: int


def sampling(
    model: Any,
    num_frames: Number | None = None,
    guidance_scale: Number | None = None,
    sampler: str = "dpm++",
    steps: Number = 20,
    seed: Number | None = None,
) -> Sampling:
    """How `model.generate` samples with these of its options; where one is None, the model's own or a new seed.

    Args:
        model: an `LFDM`.

    Raises:
        ValueError: one is out of range, or the weights are in a precision that sampling is not made for.
    """
    strange = {p.dtype for p in model.parameters()} - {torch.float32}
    if strange:
        raise ValueError(f"the weights are {strange.pop()}; sampling needs torch.float32: call .float() first")
    if torch.get_default_dtype() != torch.float32:
        default = torch.get_default_dtype()
        raise ValueError(f"torch's default dtype is {default}; sampling needs torch.float32: set it back first")
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler {sampler!r} is not one of: {', '.join(SAMPLERS)}")
    usable = len(sampling_path(model.diffusion))  # an eps network does not begin at pure noise
    return Sampling(
        whole_number("num_frames", model.unet.config.num_frames if num_frames is None else num_frames, 1),
        guidance(model.guidance_scale if guidance_scale is None else guidance_scale),
        sampler,
        whole_number("steps", steps, 1, usable),
        int(torch.randint(2**31, ())) if seed is None else whole_number("seed", seed),
    )


def whole_number(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """`value` as an int within bounds; None is no bound. Numbers of numpy and torch are numbers, and 2.0 is 2.

    Raises:
        ValueError: it is none, or out of bounds; names it.
    """
    number = as_number(value)
    if number is None or number != int(number):
        raise ValueError(f"{name} is {value!r}; expected a whole number")
    number = int(number)
    if (least is not None and number < least) or (most is not None and number > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} is {number}; expected a whole number {bounds}")
    return number


def real_number(name: str, value: Any, what: str = "a number above 0") -> float:
    """`value` as a float above 0, and not infinite. Numbers of numpy and torch are numbers.

    Raises:
        ValueError: it is none, or out of bounds; names it.
    """
    number = as_number(value)
    if number is None or number <= 0:
        raise ValueError(f"{name} is {value!r}; expected {what}")
    return float(number)


MOST_GUIDANCE = 1000  # far beyond what shows anything: from some 10 on, motion tears the picture


def guidance(scale: Any) -> float:
    """A guidance scale as a float.

    Raises:
        ValueError: it is no number from 0 to `MOST_GUIDANCE`.
    """
    number = as_number(scale)
    if number is None or not 0 <= number <= MOST_GUIDANCE:
        raise ValueError(f"guidance_scale is {scale!r}; expected a number from 0 (label ignored) to {MOST_GUIDANCE}")
    return float(number)


def as_number(value: Any) -> int | float | None:
    """A finite number of whatever make, a tensor or array of one element too; None for all else, truth values too."""
    if hasattr(value, "item"):  # of numpy, torch, pandas and their kin
        try:
            value = value.item()
        except (ValueError, RuntimeError):  # several elements
            return None
    if isinstance(value, bool | str | bytes):
        return None
    try:
        return operator.index(value)
    except TypeError:
        pass
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def usable_device(device: str | torch.device) -> torch.device:
    """A device that tensors can be put on here.

    Raises:
        ValueError: there is none of that name, or none that keeps numbers.
    """
    try:
        found = torch.empty(0, device=device).device
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ValueError(f"device {str(device)!r} cannot be used here: {reason}") from None
    if found.type == "meta":
        raise ValueError("device 'meta' keeps no numbers; expected one such as 'cpu' or 'cuda'")
    return found


def label_indices(label: Any, labels: Sequence[str]) -> Int[Tensor, " b"]:
    """One label or several, by name or index → indices of `labels`.

    Raises:
        ValueError: none was given, or one that is not there.
    """
    one = isinstance(label, str) or getattr(label, "ndim", 1) == 0 or not isinstance(label, Iterable)
    items = [label] if one else list(label)
    if not items:
        raise ValueError(f"no label was given; the labels are: {', '.join(labels)}")
    return torch.tensor([_label_index(item, labels) for item in items])


def _label_index(label: Any, labels: Sequence[str]) -> int:
    if isinstance(label, str):
        if label in labels:
            return labels.index(label)
        near = difflib.get_close_matches(label.strip().lower(), [name.lower() for name in labels], n=1)
        meant = next((name for name in labels if name.lower() in near), None)
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise ValueError(f"label {label!r} is not one of: {', '.join(labels)}{hint}")
    index = as_number(label)
    if index is None or index != int(index) or not 0 <= index < len(labels):
        raise ValueError(f"label {label!r} is not one of: {', '.join(labels)} (or 0 to {len(labels) - 1})")
    return int(index)


def pair_up(
    images: Float[Tensor, "n 3 h w"], labels: Int[Tensor, " m"]
) -> tuple[Float[Tensor, "b 3 h w"], Int[Tensor, " b"]]:
    """Repeat one image or one label so that there are as many of both.

    Raises:
        ValueError: there are several of both, and not as many.
    """
    if len(images) != len(labels) and 1 not in (len(images), len(labels)):
        raise ValueError(
            f"got {len(images)} images and {len(labels)} labels: give one image, one label, or as many of both"
        )
    count = max(len(images), len(labels))
    return images.expand(count, -1, -1, -1), labels.expand(count)
