"""What `lfdm generate` asks for beyond a label: how strong, when, where, and of what mixture of labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from ..common import UsageError

if TYPE_CHECKING:
    from ...generated import GeneratedVideo
    from ...inputs import Sampling
    from ...motion import Motion
    from ...pipeline import LFDM

MOST = 1.5  # strength, see `control.scaled`


@dataclass(frozen=True)
class Control:
    """Options of models whose videos come from a flow."""

    onset: Annotated[float | None, arg(metavar="FRAME", help_behavior_hint="(default: any)")] = None
    """The frame in which the motion begins; the generated motion is moved and stretched to that."""
    duration: Annotated[float | None, arg(metavar="FRAMES", help_behavior_hint="(default: any)")] = None
    """Frames in which the motion rises."""
    only: Annotated[str | None, arg(metavar="PLACE", help_behavior_hint="(default: everywhere)")] = None
    """Where alone it moves: brows, eyes, mouth, left_half, right_half; or LEFT,TOP,RIGHT,BOTTOM from -1 to 1."""
    mix: Annotated[str | None, arg(metavar="LABEL=WEIGHT,...", help_behavior_hint="(default: none)")] = None
    """A mixture in place of --label, such as fear=0.5,surprise=0.5; weights sum to 1."""


@dataclass(frozen=True)
class Wishes:
    """What was asked for, checked, as the library takes it."""

    told: float | None = None  # strength that the model is told
    factor: float = 1.0  # by which the motion is then scaled
    onset: float | None = None  # frames
    duration: float | None = None
    place: str | tuple[float, float, float, float] | None = None
    weights: dict[str, float] = field(default_factory=dict)  # of the mixture, by label

    @property
    def change_motion(self) -> bool:
        """Whether the generated motion is changed before it is decoded."""
        return self.factor != 1 or any(wish is not None for wish in (self.onset, self.duration, self.place))


def wishes_of(options: Control, strength: float | None, labels: Sequence[str], model: Any, num_frames: int) -> Wishes:
    """Look whether what is asked for can be had of a model, and fits together.

    Args:
        labels: as given by --label.

    Raises:
        UsageError: a model without flow, a label beside a mixture, a number out of range, an unknown place or label.
        ValueError: a label of the mixture that the model does not have.
    """
    from ...pipeline import LFDM

    given = {"--onset": options.onset, "--duration": options.duration, "--only": options.only, "--mix": options.mix}
    if not isinstance(model, LFDM):
        asked = [name for name, value in given.items() if value is not None]
        if asked:
            raise UsageError(f"{' and '.join(asked)}: this model has no flow to control; leave it out")
        return Wishes(strength)  # which such a model refuses by itself
    weights = mixture(options.mix, model.labels) if options.mix is not None else {}
    if weights and labels:
        raise UsageError(f"--label {labels[0]} and --mix {options.mix}: give one of them; a mixture names its labels")
    if num_frames < 1:
        raise UsageError(f"--num-frames is {num_frames}; expected a whole number at least 1")
    if options.onset is not None and not 0 <= options.onset <= num_frames - 1:
        raise UsageError(f"--onset is {options.onset:g}; expected a frame from 0 to {num_frames - 1}")
    if options.duration is not None and not 0 < options.duration < math.inf:
        raise UsageError(f"--duration is {options.duration:g}; expected a number of frames above 0")
    place = None if options.only is None else place_of(options.only, motion_side(model))
    known = {number.name: number for number in model.unet.config.numbers}.get("strength")
    if strength is None:
        return Wishes(None, 1.0, options.onset, options.duration, place, weights)
    most = MOST if known is None else min(MOST, MOST * known.high)  # told the most that it knows, scaled by the rest
    if not 0 <= strength <= most:
        raise UsageError(f"--strength is {strength:g}; expected a number from 0 (rest) to {most:g}")
    told = None if known is None else min(max(strength, known.low), known.high)
    return Wishes(told, strength / (told or 1.0), options.onset, options.duration, place, weights)


def mixture(text: str, labels: Sequence[str]) -> dict[str, float]:
    """Weights by label, of LABEL=WEIGHT,LABEL=WEIGHT.

    Raises:
        UsageError: another form, a label twice, a weight that is not above 0, a sum that is not 1.
        ValueError: a label that is not there.
    """
    from ...inputs import label_indices

    weights: dict[str, float] = {}
    for part in text.split(","):
        label, equals, weight = (piece.strip() for piece in part.partition("="))
        value = as_float(weight)
        if not equals or not label or (math.isnan(value) and weight.lower() != "nan"):
            raise UsageError(f"--mix {text}: expected labels with weights, such as fear=0.5,surprise=0.5")
        label_indices(label, labels)
        if label in weights:
            raise UsageError(f"--mix {text}: {label} stands there twice; add its weights")
        if not 0 < value < math.inf:
            raise UsageError(f"--mix {text}: the weight of {label} is {weight}; expected a number above 0")
        weights[label] = value
    if abs(sum(weights.values()) - 1) > 1e-3:
        raise UsageError(f"--mix {text}: the weights sum to {sum(weights.values()):g}; make it 1")
    return weights


def motion_side(model: "LFDM") -> int:
    """Height and width of the model's maps of motion."""
    return model.image_size // model.autoencoder.config.flow_stride


def place_of(text: str, side: int) -> str | tuple[float, float, float, float]:
    """A place by its name, or the four numbers of a box.

    Args:
        side: height and width of the maps that it is a place in.

    Raises:
        UsageError: neither; a box beyond the picture, as in pixels; or so small that it holds no pixel of the maps.
    """
    from ...control import PLACES, mask_of

    place: str | tuple[float, float, float, float] = text
    if text not in PLACES:
        box = tuple(as_float(number) for number in text.split(","))
        if len(box) != 4 or not (-1 <= box[0] < box[2] <= 1 and -1 <= box[1] < box[3] <= 1):
            form = "LEFT,TOP,RIGHT,BOTTOM in this order, from -1 to 1"
            raise UsageError(f"--only {text}: expected one of {', '.join(PLACES)}; or {form}")
        place = box
    try:
        mask_of(place, side, side)
    except ValueError:
        maps = f"the motion's maps of {side}x{side}"
        raise UsageError(f"--only {text}: no pixel of {maps} lies in it; give a larger place") from None
    return place


def as_float(text: str) -> float:
    """The number that a text is; NaN for another."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def changed(motion: "Motion", wishes: Wishes) -> "Motion":
    """Generated motion as it was wished for: scaled, then in time, then in place."""
    from ...control import mask_of, only, retimed, scaled, timing

    motion = scaled(motion, wishes.factor)
    if wishes.onset is not None or wishes.duration is not None:
        own = timing(motion)
        asked = (wishes.onset, wishes.duration)
        motion = retimed(motion, *(had if wish is None else wish for wish, had in zip(asked, own, strict=True)))
    if wishes.place is not None:
        motion = only(motion, mask_of(wishes.place, *motion.flow.shape[-2:]))
    return motion


def videos_as_wished(
    result: "GeneratedVideo", model: "LFDM", wishes: Wishes, strength: float | None
) -> "GeneratedVideo":
    """Generated videos, decoded anew from their changed motion."""
    import torch

    from ...motion import Motion

    numbers = dict(result.numbers)
    if strength is not None:
        numbers["strength"] = [strength] * len(result)
    if not wishes.change_motion or result.flow is None or result.occlusion is None:
        return replace(result, numbers=numbers)
    motion, video = changed(Motion(result.flow, result.occlusion), wishes), []
    with torch.no_grad():
        for i, source in enumerate(result.source.to(model.device).split(1)):
            one = Motion(*(maps[i : i + 1].to(model.device) for maps in motion))
            video.append(model.autoencoder.decode(source, one).float().cpu())
    return replace(result, video=torch.cat(video), flow=motion.flow, occlusion=motion.occlusion, numbers=numbers)


def generate_mixture(
    model: "LFDM",
    images: Any,
    weights: dict[str, float],
    asked: dict[str, float | None],
    how: "Sampling",
    precision: str | None,
    progress: bool,
) -> "GeneratedVideo":
    """Videos of a mixture of labels, by guidance that is composed of theirs; else as `LFDM.generate` makes them."""
    import torch

    from ...control import composed, draw_motion
    from ...generated import GeneratedVideo, check_finite
    from ...inputs import label_indices, number_values, pair_up
    from ...memory import autocast, evaluation_mode

    numbers = number_values(model.unet.config.numbers, asked)
    one = label_indices(next(iter(weights)), model.labels)
    source, _, numbers = pair_up(model.prepare_images(images), one, numbers, how.seed)
    labels = label_indices(list(weights), model.labels).expand(len(source), -1).to(model.device)
    source = source.to(model.device, memory_format=torch.channels_last)  # as `LFDM.generate`
    told = numbers.float().to(model.device) if model.unet.config.numbers else None
    with torch.no_grad(), evaluation_mode(model), autocast(precision, model.device):
        features = model.autoencoder.encode(source)
        denoise = composed(model.unet, features, labels, list(weights.values()), how.guidance_scale, told)
        options = {name: value for name, value in vars(how).items() if name not in ("guidance_scale", "guided_steps")}
        motion = draw_motion(model, denoise, len(source), **options, progress=progress)
        video = model.autoencoder.decode(source, motion).float()
    check_finite(video, motion, how.guidance_scale)
    name = " + ".join(f"{weight:g} {label}" for label, weight in weights.items())
    given = {known.name: [asked.get(known.name)] * len(source) for known in model.unet.config.numbers}
    maps = (video.cpu(), motion.flow.cpu(), motion.occlusion.cpu())
    return GeneratedVideo(*maps, [name] * len(source), source.cpu(), how.seed, given)
