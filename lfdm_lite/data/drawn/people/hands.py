"""A hand as layers: a palm, four fingers that curl up, a thumb. Larger than life, to be read in small pictures.

The palm hangs from the wrist along y. Fingers that curl get shorter, down to the knuckles of a fist. The thumb sits on
either side of the palm or ahead of it, and points away from the fingers or lies folded over them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..engine.limbs import Track, bone, limb
from ..engine.scenes import Layer, colour, mix, rectangle, step
from .subjects import RGB

PALM, WIDTH = 0.108, 0.076  # length, half width
FINGERS, FIST = 0.13, 0.07  # their length; what is left of it in a fist
THUMB = 0.108


@dataclass(frozen=True)
class Grip:
    """What a hand does, frame by frame: all (t,)."""

    angle: Tensor  # where the fingers point: radians, 0 down, growing towards +x (right in the image)
    length: Tensor  # how long palm and fingers look: size, less what a hand loses that points at the viewer
    size: Tensor  # how large it looks
    curl: Tensor  # 0 straight fingers, 1 a fist
    thumb: Tensor  # where the thumb is: 1 to the palm's +x when the hand hangs, -1 opposite, 0 ahead
    splay: Tensor  # thumb away from the fingers, radians; below 0 folded over them


def hand(wrist: Track, grip: Grip, scale: float, skin: RGB) -> list[Layer]:
    """The layers of one hand.

    Args:
        scale: of the person.
        skin: its colour, or the glove's.
    """
    base, dark = colour(skin), colour(c * k for c, k in zip(skin, (0.66, 0.56, 0.54), strict=True))
    along = torch.stack([grip.angle.sin(), grip.angle.cos()], -1)
    across = torch.stack([along[:, 1], -along[:, 0]], -1)
    size, length = grip.size[:, None], grip.length[:, None]
    palm, half, finger = PALM * scale, WIDTH * scale, FINGERS * scale
    line = 0.01  # width of outlines

    def ahead(distance: Tensor | float, aside: Tensor | float = 0.0) -> Track:  # from the wrist
        return wrist + distance * scale * length * along + aside * scale * size * across

    curl = grip.curl[:, None]
    knuckles = ahead(PALM * (0.95 - 0.4 * curl))
    tips = ahead(PALM * (0.95 - 0.4 * curl) + FINGERS + (FIST - FINGERS) * curl)
    root = ahead(PALM * 0.42, 0.74 * WIDTH * grip.thumb[:, None])
    point = ahead(
        PALM * 0.42 + THUMB * grip.splay.cos()[:, None],
        0.74 * WIDTH * grip.thumb[:, None] + THUMB * (grip.thumb * grip.splay.sin())[:, None],
    )

    def palm_shape(x: Tensor, y: Tensor) -> Tensor:
        return rectangle(x, y - 0.5 * palm, half * (0.72 + 0.28 * (y / palm).clamp(0, 1)), 0.62 * palm, 0.7 * half)

    def palm_paint(x: Tensor, y: Tensor) -> Tensor:
        return mix(base, dark, 0.8 * step(-palm_shape(x, y) - line, line))

    def apart(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # how far from the axis of the nearest finger, folded onto the right half; they fan out
        fan = (1 + 0.38 * (y / finger).clamp(0, 1)) * half
        inner, outer = 0.25 * fan, 0.76 * fan
        ax = x.abs()
        is_outer = ax > 0.5 * (inner + outer)
        short = torch.where(is_outer, 0.8 * finger, finger)
        aside = ax - torch.where(is_outer, outer, inner)
        return aside, short

    radius = 0.25 * half

    def finger_shape(x: Tensor, y: Tensor) -> Tensor:
        aside, short = apart(x, y)
        beyond = (y - short + radius).clamp(min=0) + (-y - radius).clamp(min=0)
        return aside.hypot(beyond) - radius * 1.06

    def finger_paint(x: Tensor, y: Tensor) -> Tensor:
        edge = step(-finger_shape(x, y) - 0.8 * line, line)
        return mix(base, dark, 0.8 * edge * (y / (0.3 * finger)).clamp(0, 1))

    def thumb_paint(x: Tensor, y: Tensor) -> Tensor:
        return mix(base, dark, 0.8 * step(0.62 - x.abs() / (0.36 * half), 0.5))

    fan = 1.25 * half
    return [
        Layer(
            palm_shape, palm_paint, bone(wrist, ahead(PALM), palm, grip.size),
            (-half, -0.13 * palm, half, 1.13 * palm),
        ),
        Layer(
            finger_shape, finger_paint, bone(knuckles, tips, finger, grip.size * (1 - 0.2 * grip.curl)),
            (-fan, -2.2 * radius, fan, finger + 0.1 * radius),
        ),
        limb(root, point, THUMB * scale, (0.36 * half, 0.31 * half), thumb_paint, grip.size),
    ]  # fmt: skip
