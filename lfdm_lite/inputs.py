"""What `LFDM` is given: parts, labels, numbers. What does not fit is refused in words, before anything is computed."""

import difflib
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .autoencoder import LFAEConfig
from .conditions import NumberRange
from .files.fast import FastDenoiser
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
    if autoencoder.flow_stride * unet.patch % autoencoder.latent_stride:
        finer = autoencoder.latent_stride / autoencoder.flow_stride
        raise ValueError(
            f"one place of the UNet holds {unet.patch} pixels of motion a side; one of the latent holds {finer:g}: "
            "patch must be that, or a multiple"
        )
    multiple = autoencoder.flow_stride * unet.patch * 2 ** (len(unet.dim_mults) - 1)
    if image_size < 1 or image_size % multiple:
        raise ValueError(f"image_size is {image_size}; these networks need a multiple of {multiple}")


def check_quick(quick: Any, num_steps: int) -> tuple[int, int, float] | None:
    """Steps, how many of them guided, and their spacing, 1 if it is left out; or None.

    Raises:
        ValueError: they are no such numbers.
    """
    if quick is None:
        return None
    if not isinstance(quick, list | tuple) or len(quick) not in (2, 3):
        raise ValueError(f"quick is {quick!r}; expected steps, how many of them are guided, and their spacing")
    steps, guided_steps, spacing = [*quick, 1.0][:3]
    steps = whole_number("steps of quick", steps, 1, num_steps)
    guided_steps = whole_number("guided steps of quick", guided_steps, 1, steps)
    return steps, guided_steps, check_spacing("spacing of quick", spacing)


@dataclass(frozen=True)
class Sampling:
    """How `LFDM.generate` samples; every number is checked."""

    num_frames: int  # of a clip
    guidance_scale: float
    sampler: str
    steps: int  # network evaluations
    seed: int | list[int]  # of all clips, or one a clip
    guided_steps: int  # how many steps, the noisiest, guidance counts in
    spacing: float  # of the steps: 1 even, above 1 shorter where it is noisy


def sampling(
    model: Any,
    num_frames: Number | None = None,
    guidance_scale: Number | None = None,
    sampler: str = "dpm++",
    steps: Number | None = None,
    seed: Any = None,
    fast: FastDenoiser | None = None,
    guided_steps: Number | None = None,
    spacing: Number | None = None,
) -> Sampling:
    """How `model.generate` samples with these of its options; where one is None, the model's own or a new seed.

    Args:
        model: an `LFDM`, or a `Rival`.
        steps, fast, guided_steps, spacing: None: 20 steps of the model's own network, all guided, evenly spaced; a
            fast network has its own number of steps, evenly spaced, and a sampler.

    Raises:
        ValueError: one is out of range, or the weights are in a precision that sampling is not made for.
    """
    if strange := {p.dtype for p in model.parameters()} - {torch.float32}:
        raise ValueError(f"the weights are {strange.pop()}; sampling needs torch.float32: call .float() first")
    if (default := torch.get_default_dtype()) != torch.float32:
        raise ValueError(f"torch's default dtype is {default}; sampling needs torch.float32: set it back first")
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler {sampler!r} is not one of: {', '.join(SAMPLERS)}")
    usable = len(sampling_path(model.diffusion))  # an eps network does not begin at pure noise
    steps = (20 if fast is None else fast.steps) if steps is None else whole_number("steps", steps, 1, usable)
    scale = model.guidance_scale if guidance_scale is None else guidance_scale
    scale = number_from("guidance_scale", scale, 0, MOST_GUIDANCE, "label ignored")
    if fast is not None:
        fast.check(model.unet, scale, sampler, steps)
        if guided_steps not in (None, steps):
            raise ValueError("the fast network answers with guidance built in: leave guided_steps out, or fast")
        if spacing not in (None, 1):
            raise ValueError("the fast network has learned evenly spaced steps: leave spacing out, or fast")
    return Sampling(
        whole_number("num_frames", model.num_frames if num_frames is None else num_frames, 1),
        scale,
        sampler if fast is None else fast.sampler,
        steps,
        int(torch.randint(2**31, ())) if seed is None else seed_values(seed),
        steps if guided_steps is None else whole_number("guided_steps", guided_steps, 1, steps),
        1.0 if spacing is None else check_spacing("spacing", spacing),
    )


def seed_values(seed: Any) -> int | list[int]:
    """A seed for all clips as an int; or a sequence with one for each clip as a list.

    Raises:
        ValueError: one is no whole number, or there is none.
    """
    if isinstance(seed, str) or as_number(seed) is not None or not isinstance(seed, Iterable):
        return whole_number("seed", seed)
    seeds = [whole_number("seed", value) for value in seed]
    if not seeds:
        raise ValueError("no seed was given; leave it out, or give one for all clips or one for each")
    return seeds


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
MOST_SPACING = 10  # likewise: all steps but the last are then where it is noisiest


def number_from(name: str, value: Any, least: int, most: int, says: str) -> float:
    """`value` as a float from `least`, which says something, to `most`. Numbers of numpy and torch are numbers.

    Raises:
        ValueError: it is none, or out of bounds; names it.
    """
    number = as_number(value)
    if number is None or not least <= number <= most:
        raise ValueError(f"{name} is {value!r}; expected a number from {least} ({says}) to {most}")
    return float(number)


def check_spacing(name: str, value: Any) -> float:
    """A spacing of steps, see `samplers.timesteps`, as a float; errors as of `number_from`."""
    return number_from(name, value, 1, MOST_SPACING, "evenly spaced")


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


def number_values(known: Sequence[NumberRange], given: Mapping[str, Any]) -> Float[Tensor, "m n"]:
    """What is asked for beside the label: a row a clip, a column for each number that a model knows; NaN: not given.

    Args:
        known: the numbers that the model was trained with.
        given: by name: None, a number, or a sequence with one or None for each clip.

    Raises:
        ValueError: a number that the model does not know, that is out of its range, or that is none; or of two numbers
            not as many values.
    """
    names = [number.name for number in known]
    for name, value in given.items():
        if value is not None and name not in names:
            knows = f"knows {' and '.join(names)}" if names else "was trained with labels alone"
            raise ValueError(f"{name} is {value!r}; this model {knows}: leave {name} out")
    columns = {number.name: _values(number, given.get(number.name)) for number in known}
    lengths = {name: len(column) for name, column in columns.items() if len(column) > 1}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"got {_counted(lengths, 'values of ')}: give one of each, or as many of all")
    rows = max([1, *lengths.values()])
    filled = [column * (rows if len(column) == 1 else 1) for column in columns.values()]
    return torch.tensor(filled, dtype=torch.float64).reshape(-1, rows).T


def _values(known: NumberRange, given: Any) -> list[float]:
    one = given is None or isinstance(given, str) or getattr(given, "ndim", 1) == 0 or not isinstance(given, Iterable)
    items = [given] if one else list(given)
    if not items:
        raise ValueError(f"no {known.name} was given; leave it out, or give a number")
    values = []
    for item in items:
        value = math.nan if item is None else as_number(item)
        if value is None or not (math.isnan(value) or known.low <= value <= known.high):
            within = f"from {known.low:g} to {known.high:g}, between which this model was trained"
            raise ValueError(f"{known.name} is {item!r}; expected a number {within}")
        values.append(float(value))
    return values


def _counted(lengths: Mapping[str, int], what: str = "") -> str:
    return " and ".join(f"{count} {what}{name}" for name, count in lengths.items())


def pair_up(
    images: Float[Tensor, "i 3 h w"],
    labels: Int[Tensor, " l"],
    numbers: Float[Tensor, "m n"],
    seed: int | list[int] = 0,
) -> tuple[Float[Tensor, "b 3 h w"], Int[Tensor, " b"], Float[Tensor, "b n"]]:
    """Repeat what there is one of, so that every clip has an image, a label and its numbers.

    Args:
        seed: a list, one a clip, makes a batch as well.

    Raises:
        ValueError: there are several of two kinds, and not as many.
    """
    lengths = {"images": len(images), "labels": len(labels), "numbers": len(numbers)}
    lengths["seeds"] = len(seed) if isinstance(seed, list) else 1
    several = {name: count for name, count in lengths.items() if count != 1}
    if len(set(several.values())) > 1:
        raise ValueError(f"got {_counted(several)}: give one of each, or as many of all")
    count = next(iter(several.values()), 1)
    return images.expand(count, -1, -1, -1), labels.expand(count), numbers.expand(count, -1)
