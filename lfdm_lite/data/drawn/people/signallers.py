"""A person from the hips up as layers, back to front: background, back hair, neck, trunk, head, arms, hands.

Head and trunk are drawn in the units of `portraits` (the head's middle at the origin), only smaller; arms and hands in
those of the image.
"""

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..acting.expressions import Pose
from ..acting.gesturing import SIDES, Act, Arm
from ..engine.limbs import limb, turned
from ..engine.scenes import Field, Layer, LayerMotion, affine, colour, ellipse, mix, rectangle, step
from ..engine.sprites import merged
from .hands import Grip, hand
from .portraits import head_layers
from .subjects import RGB, Look, hex_colour
from .wardrobe import backdrop, collar, fabric, hair_back, throat

UPPER, FORE = 0.295, 0.27  # lengths of the arm's segments
HIPS, WAIST = 4.1, 3.3  # y of the point about which a person leans, and of the belt, in units of the head
SHARP = 1.5  # texels a pixel in pictures of what is drawn once
NEARER = 1.3  # growth of a hand for every unit of depth that it comes towards the viewer
VESTS = ("d9ec2c", "ff7a1f", "f4e21a", "ff5a36")
TROUSERS = ("2f3542", "3a4a6b", "6b5a45", "23303f", "5a5f66", "39564f")
GLOVES = ("f2f2ee", "f0a21c", "4f8fd0")
SNUG = ("short", "parted", "bangs", "long", "bob", "bald", "balding", "quiff")  # hair under ear protectors


@dataclass(frozen=True)
class Kit:
    """What a person wears to work, besides what their `Look` says."""

    scale: float  # image units for one of the head
    vest: RGB | None
    gloves: RGB | None
    muffs: RGB | None  # ear protectors
    trousers: RGB
    sleeve: float  # 0.6 ends above the elbow, 2 at the wrist


@lru_cache(maxsize=4096)
def subject_kit(subject: int) -> Kit:
    """The outfit of a subject: it depends on the number alone, on every platform."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((0x5166A1, subject))))
    pick = lambda codes: hex_colour(codes[int(rng.integers(len(codes)))])  # noqa: E731
    worn = rng.random(3) < (0.6, 0.2, 0.4)
    colours, trousers = (pick(VESTS), pick(GLOVES), pick(VESTS)), pick(TROUSERS)
    scale, sleeve = rng.uniform(0.315, 0.34), 2.0 if rng.random() < 0.6 else 0.62
    vest, gloves, muffs = (thing if on else None for thing, on in zip(colours, worn, strict=True))
    return Kit(scale, vest, gloves, muffs, trousers, sleeve)


def signaller(look: Look, kit: Kit, act: Act, size: int) -> list[Layer]:
    """The layers of one person who acts out a gesture, for `scenes.render` at some size."""
    s, sin, cos = kit.scale, act.lean.sin(), act.lean.cos()
    x, y = act.shift + s * HIPS * sin, -0.44 + s * HIPS * (1 - cos)
    trunk = LayerMotion(affine(s, act.lean, x, y))
    head = LayerMotion(affine(s * 1.13, 0.5 * look.tilt + act.lean + act.roll, x, y - 0.02 + act.nod))
    calm = Pose(**{field.name: torch.zeros(1, 1, 1) for field in fields(Pose)})
    texel = 2 / size / s / SHARP
    return [
        backdrop(look, LayerMotion(affine())),
        *hair_back(look, head),
        merged([throat(look, trunk), _trunk(look, kit, trunk)], trunk, texel),
        merged([*head_layers(look, calm, head, head), *_muffs(look, kit, head)], head, texel),
        *(layer for side, arm in zip(SIDES, act.arms, strict=True) for layer in _arm(look, kit, trunk, side, arm)),
    ]


def _shoulder(look: Look) -> float:
    return 0.55 + 0.36 * look.shoulder


def _trunk(look: Look, kit: Kit, motion: LayerMotion) -> Layer:
    broad, opening, cloth = _shoulder(look), collar(look), fabric(look)
    trousers, belt = colour(kit.trousers), colour(c * 0.5 for c in kit.trousers)
    trim = colour(look.clothes[1]) * 0.9 if look.pattern == "plain" else colour(look.clothes[0]) * 0.8
    fluorescent, bright = colour(kit.vest or hex_colour(VESTS[0])), colour((0.9, 0.92, 0.93))

    def vest(ax: Tensor, y: Tensor) -> Tensor:  # tape around the waist and over the shoulders, a zip
        around = torch.minimum((y - 2.3).abs(), (y - 2.72).abs()) - 0.1
        tape = torch.minimum(around, (ax - 0.47).abs() - 0.075)
        return mix(mix(fluorescent, bright, step(tape, 0.03)), fluorescent * 0.6, step(ax - 0.015, 0.03))

    def half_width(y: Tensor) -> Tensor:
        return broad - 0.13 * ((y - 1.2) / 1.6).clamp(0, 1) + 0.1 * ((y - 2.9) / 1.2).clamp(0, 1)

    def shape(x: Tensor, y: Tensor) -> Tensor:
        top = torch.minimum(rectangle(x, y - 2.9, half_width(y), 2.0, 0.36), ellipse(x, y - 0.86, 0.4, 0.17))
        return torch.maximum(top, -opening(x, y))

    def paint(x: Tensor, y: Tensor) -> Tensor:
        ax = x.abs()
        rgb = mix(cloth(x, y), trim, step(opening(x, y) - 0.05, 0.03))
        if kit.vest:
            worn = torch.maximum(0.66 - 0.32 * (y - 0.72) - ax, y - WAIST + 0.12)  # open at the neck, down to the belt
            rgb = mix(rgb, vest(ax, y), step(worn, 0.03))
        legs = mix(trousers, belt, step((y - WAIST).abs() - 0.09, 0.03))
        rgb = mix(rgb, legs, step(WAIST - y, 0.02))
        return rgb * (1.02 - 0.3 * (x / half_width(y)).square().clamp(max=1))

    return Layer(shape, paint, motion, (-broad - 0.02, 0.66, broad + 0.02, 4.9))


def _muffs(look: Look, kit: Kit, head: LayerMotion) -> list[Layer]:
    if kit.muffs is None or look.hair_style not in SNUG:
        return []
    cup, band, w = colour(kit.muffs), colour((0.2, 0.21, 0.24)), look.head_width + 0.06

    def cups(x: Tensor, y: Tensor) -> Tensor:
        return rectangle(x.abs() - w, y - 0.03, 0.1, 0.17, 0.09)

    def shape(x: Tensor, y: Tensor) -> Tensor:
        arc = torch.maximum(ellipse(x, y + 0.05, w + 0.02, 0.7).abs() - 0.035, y + 0.05)
        return torch.minimum(cups(x, y), arc)

    def paint(x: Tensor, y: Tensor) -> Tensor:
        return mix(band, mix(cup, cup * 0.72, step(0.03 - x.abs() + w, 0.04)), step(cups(x, y), 0.02))

    return [Layer(shape, paint, head, (-w - 0.12, -0.8, w + 0.12, 0.22))]


def _arm(look: Look, kit: Kit, trunk: LayerMotion, side: int, arm: Arm) -> list[Layer]:
    k = kit.scale / 0.33
    upper, fore, upper_ahead, fore_ahead, bend, ahead, splay, curl, thumb = map(torch.as_tensor, vars(arm).values())
    lift = 0.19 * (upper / math.pi).clamp(0, 1).square()  # a raised arm raises its shoulder
    joint = torch.stack([torch.full_like(lift, side * (_shoulder(look) - 0.15)), 1.13 - lift / 0.33], -1)
    shoulder = (trunk.to_image[..., :2] @ joint[..., None])[..., 0] + trunk.to_image[..., 2]
    lengths = UPPER * k * upper_ahead.cos(), FORE * k * fore_ahead.cos()
    elbow, wrist = turned((side * upper, side * fore), lengths, shoulder)
    middle = 1 + NEARER * k * UPPER * upper_ahead.sin()
    near = middle + NEARER * k * FORE * fore_ahead.sin()
    angle, large = side * (fore + bend), near * (1 + 0.15 * (curl - 0.35))
    flat = ahead.cos()
    length = large * flat.sign() * flat.abs().pow(0.4)  # no hand is a line, even when it points at the viewer
    grip = Grip(angle, length, large, curl, -side * thumb, splay)
    sleeve, cuff = _sleeves(look, kit, k)
    return [
        limb(shoulder, elbow, UPPER * k, (0.062 * k, 0.053 * k), sleeve, (1 + middle) / 2),
        limb(elbow, wrist, FORE * k, (0.053 * k, 0.042 * k), cuff, (middle + near) / 2),
        *hand(wrist, grip, k, kit.gloves or look.skin),
    ]


def _sleeves(look: Look, kit: Kit, k: float) -> tuple[Field, Field]:
    """The paints of upper arm and forearm: cloth as far as the sleeve goes, then skin."""
    cloth, skin, trim = fabric(look), colour(look.skin), colour(look.clothes[0]) * 0.62

    def paint(begin: float, length: float, radius: float) -> Field:
        def of(x: Tensor, y: Tensor) -> Tensor:
            share = begin + y / length
            rgb = mix(skin, trim, step(share - kit.sleeve, 0.02))
            rgb = mix(rgb, cloth(x / kit.scale, y / kit.scale + 0.62 + begin), step(share - kit.sleeve + 0.08, 0.02))
            return rgb * (1.04 - 0.36 * (x / radius).square())

        return of

    return paint(0.0, UPPER * k, 0.062 * k), paint(1.0, FORE * k, 0.053 * k)
