"""A whole person as layers, back to front: wall and floor, legs, trunk, head, arms.

Limbs are tapering segments between joints; the trunk is one that gets narrower as it turns. Where sleeves and trousers
end is painted on the limbs.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..acting.skeletons import Bones, Camera, Skeleton
from ..engine.limbs import Track, bone, limb
from ..engine.scenes import Field, Layer, LayerMotion, affine, colour, ellipse, mix, rectangle, step
from .heads import head
from .subjects import RGB, Look
from .wardrobe import backdrop

TROUSERS = ("2f3542", "3a4a6b", "4b5d7a", "6b5a45", "8a7a5c", "23303f", "5d3a4a", "39564f", "7d838c", "c9b48a")
SHOES = ("f3efe6", "2a2a2e", "c0392b", "e0a030", "3f6fb5", "6b4a32")
DEEP = 0.62  # depth of a trunk, as a share of its width


@dataclass(frozen=True)
class Build:
    """A person's proportions and what they wear besides what their `Look` says."""

    bones: Bones
    girth: float  # how wide limbs and trunk are
    sleeve: float  # 0 none, to 1: the wrist
    trouser: float  # 0.25 shorts, to 1: the ankle
    trousers: RGB
    shoes: RGB
    belt: bool  # shirt inside the trousers


def _rgb(code: str) -> RGB:
    r, g, b = (int(code[k : k + 2], 16) / 255 for k in (0, 2, 4))
    return r, g, b


@lru_cache(maxsize=4096)
def subject_build(subject: int) -> Build:
    """The body of a subject: it depends on the number alone, on every platform."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((0xB0D1E5, subject))))
    u, pick = rng.uniform, lambda options: options[int(rng.integers(len(options)))]
    tall, girth, leggy, broad = u(0.93, 1.04), u(0.9, 1.22), u(0.94, 1.04), u(0.93, 1.08)
    plain = Bones()
    bones = Bones(
        neck=plain.neck, head=plain.head * u(0.96, 1.04), torso=plain.torso * tall * (2 - leggy),
        shoulder=plain.shoulder * broad * (0.6 + 0.4 * girth), hip=plain.hip * (0.5 + 0.5 * girth),
        upper_arm=plain.upper_arm * tall, forearm=plain.forearm * tall, thigh=plain.thigh * tall * leggy,
        shin=plain.shin * tall * leggy, foot=plain.foot,
    )  # fmt: skip
    trousers, shoes, sleeve, trouser = (
        pick(TROUSERS),
        pick(SHOES),
        pick((0.28, 0.28, 0.5, 0.95)),
        pick((0.38, 0.96, 0.96)),
    )
    return Build(bones, girth, sleeve, trouser, _rgb(trousers), _rgb(shoes), rng.random() < 0.5)


def figure(look: Look, build: Build, skeleton: Skeleton, camera: Camera) -> list[Layer]:
    """The layers of one person who moves as a skeleton does, for `scenes.render`."""
    far = 1 if camera.yaw > 0 else -1  # the left side, if the camera sees the person look to the right
    tracks = camera.tracks(skeleton)
    behind, before = head(look, build.bones.head / 0.68, tracks["head"], camera.turn @ skeleton.face)
    legs = [layer for side in (far, -far) for layer in _leg(look, build, tracks, side)]
    nearer = {side: camera.depth(skeleton.joints[f"wrist {side}"]) for side in (far, -far)}
    arms = [layer for side in (far, -far) for layer in _arm(look, build, tracks, nearer[side], side)]
    trunk = [
        _torso(look, build, tracks, camera.turn @ skeleton.chest),
        _pelvis(build, tracks, camera.turn @ skeleton.pelvis),
    ]
    return [
        _room(look, camera),
        *behind,
        *legs,
        *(trunk if build.belt else reversed(trunk)),
        _neck(look, build, tracks),
        *before,
        *arms,
    ]


def _round(rgb: torch.Tensor, radius: float) -> Field:
    """One colour, darker towards both edges of a limb."""
    return lambda x, y: rgb * (1 - 0.2 * (x * (1 / radius)).square().clamp(max=1.2))


def _dressed(
    cloth: torch.Tensor, skin: torch.Tensor, length: float, radius: float, start: float, end: float, hem: float
) -> Field:
    """Cloth down to the hem, skin beyond; the segment is the part from `start` to `end` of the whole limb."""
    edge = length * (hem - start) / (end - start)
    if edge <= 0 or edge > 1.2 * length:
        return _round(skin if edge <= 0 else cloth, radius)

    def paint(x: Tensor, y: Tensor) -> Tensor:
        return mix(skin, cloth, step(y - edge, 0.02)) * (1 - 0.2 * (x * (1 / radius)).square().clamp(max=1.2))

    return paint


def _leg(look: Look, build: Build, tracks: dict[str, Track], side: int) -> list[Layer]:
    bones, girth = build.bones, build.girth
    hip, knee, ankle, toe = (tracks[f"{joint} {side}"] for joint in ("hip", "knee", "ankle", "toe"))
    cloth, skin, shoes = colour(build.trousers), colour(look.skin) * 0.97, colour(build.shoes)
    thigh, shin = (0.079 * girth, 0.06 * girth), (0.058 * girth, 0.043 * girth)

    def shoe_paint(x: Tensor, y: Tensor) -> Tensor:
        return mix(shoes, shoes * 0.5 + 0.4, step(0.95 * bones.foot - y, 0.02))

    return [
        limb(knee, ankle, bones.shin, shin, _dressed(cloth, skin, bones.shin, shin[0], 0.5, 1.0, build.trouser)),
        limb(ankle, toe, bones.foot, (0.043, 0.038), shoe_paint),
        limb(hip, knee, bones.thigh, thigh, _dressed(cloth, skin, bones.thigh, thigh[0], 0.0, 0.5, build.trouser)),
    ]


def _arm(look: Look, build: Build, tracks: dict[str, Track], nearer: np.ndarray, side: int) -> list[Layer]:
    bones, girth, part = build.bones, build.girth, build.bones.upper_arm / build.bones.arm
    shoulder, elbow, wrist = (tracks[f"{joint} {side}"] for joint in ("shoulder", "elbow", "wrist"))
    cloth, skin = colour(look.clothes[0]), colour(look.skin)
    upper, fore = (0.053 * girth, 0.044 * girth), (0.043 * girth, 0.033 * girth)
    upper_paint = _dressed(cloth, skin, bones.upper_arm, upper[0], 0.0, part, build.sleeve)
    fore_paint = _dressed(cloth, skin, bones.forearm, fore[0], part, 1.0, build.sleeve)
    grow = torch.from_numpy(np.clip(1 + 0.55 * (nearer - nearer[0]) / bones.arm, 0.8, 1.5)).float()
    along = wrist - elbow
    motion = LayerMotion(affine(grow, torch.atan2(-along[:, 0], along[:, 1]), wrist[:, 0], wrist[:, 1]))
    thumb = -0.03 * side

    def hand(x: Tensor, y: Tensor) -> Tensor:
        return torch.minimum(ellipse(x, y - 0.036, 0.04, 0.05), ellipse(x - thumb, y - 0.024, 0.018, 0.03))

    return [
        limb(shoulder, elbow, bones.upper_arm, upper, upper_paint),
        limb(elbow, wrist, bones.forearm, fore, fore_paint),
        Layer(hand, _round(skin * 0.98, 0.055), motion, (-0.05, -0.016, 0.05, 0.088)),
    ]


def _width(seen: np.ndarray, along: Track) -> torch.Tensor:
    """How wide a trunk looks across its line in the image, as a share of its shoulders' width."""
    across = np.stack([along[:, 1], along[:, 0]], -1) / np.maximum(along.norm(dim=-1, keepdim=True).numpy(), 1e-6)
    side, front = ((seen[:, :2, k] * across).sum(-1) for k in (0, 2))
    return torch.from_numpy(np.hypot(side, DEEP * front)).float()


def _torso(look: Look, build: Build, tracks: dict[str, Track], seen: np.ndarray) -> Layer:
    neck, pelvis = tracks["neck"], tracks["pelvis"]
    bones, fabric = build.bones, _fabric(look)
    top, bottom = bones.shoulder + 0.03 * build.girth, bones.hip + 0.072 * build.girth
    length = bones.torso + (-0.02 if build.belt else 0.055)
    motion = bone(neck, pelvis, bones.torso, _width(seen, pelvis - neck))

    def shape(x: Tensor, y: Tensor) -> Tensor:
        narrow = 1 + (bottom / top - 1) * (y * (1 / length)).clamp(0, 1)
        return rectangle(x / narrow, y - length / 2, top, length / 2, 0.1)

    def paint(x: Tensor, y: Tensor) -> Tensor:
        return fabric(x, y) * (1 - 0.22 * (x * (1 / top)).square().clamp(max=1.2))

    return Layer(shape, paint, motion, (-max(top, bottom), 0.0, max(top, bottom), length))


def _pelvis(build: Build, tracks: dict[str, Track], seen: np.ndarray) -> Layer:
    place, cloth = tracks["pelvis"], colour(build.trousers)
    down = torch.tensor([0.0, 1.0]).expand_as(place)
    motion = bone(place, place + down, 1.0, _width(seen, down))
    rx, top = build.bones.hip + 0.074 * build.girth, -0.06

    def paint(x: Tensor, y: Tensor) -> Tensor:
        rgb = cloth * (1 - 0.15 * (x * (1 / rx)).square().clamp(max=1.2))
        return mix(rgb, rgb * 0.6, step(y - top - 0.025, 0.015)) if build.belt else rgb

    return Layer(lambda x, y: rectangle(x, y - 0.01, rx, 0.07, 0.04), paint, motion, (-rx, top, rx, 0.08))


def _neck(look: Look, build: Build, tracks: dict[str, Track]) -> Layer:
    skin = colour(look.skin)
    length = build.bones.neck + build.bones.head
    shade = lambda x, y: mix(skin, skin * 0.78, step(0.02 - y, 0.05))  # noqa: E731
    return limb(tracks["neck"], tracks["head"], length, (0.046, 0.046), shade)


def _fabric(look: Look) -> Field:
    """The shirt's pattern."""
    first, second = colour(look.clothes[0]), colour(look.clothes[1])
    f = 2 * np.pi * look.frequency
    across = lambda x, n: x * (n * f)  # noqa: E731

    def paint(x: Tensor, y: Tensor) -> Tensor:
        match look.pattern:
            case "stripes":
                return mix(first, second, step(-torch.sin(across(y, 8) + look.phase), 0.7))
            case "pinstripes":
                return mix(first, second, step(-torch.sin(across(x, 8)), 0.7))
            case "dots":
                u, v = (x * 8 * look.frequency) % 1 - 0.5, (y * 8 * look.frequency) % 1 - 0.5
                return mix(first, second, step(u.hypot(v) - 0.27, 0.2))
            case "checks":
                return mix(
                    first, second, 0.35 * (step(torch.sin(across(x, 6)), 0.7) + step(torch.sin(across(y, 6)), 0.7))
                )
            case "sweater":
                return mix(first, second, step((y - 0.16 - 0.012 * torch.sin(across(x, 8))).abs() - 0.03, 0.015))
        return mix(first, second, step(x.hypot(y - 0.17) - 0.05, 0.015))

    return paint


def _room(look: Look, camera: Camera) -> Layer:
    """A quiet wall and a floor with the person's soft shadow, which stays."""
    wall = backdrop(look, LayerMotion(affine()))
    base, floor = colour(look.backdrop[0]), colour(look.backdrop[1])
    floor = mix(mix(floor, base, 0.35), colour((0.35, 0.3, 0.28)), 0.25)
    edge = camera.y - 0.2

    def paint(x: Tensor, y: Tensor) -> Tensor:
        rgb = mix(base * (1.04 - 0.1 * (y + 1)), wall.paint(x, y), 0.3)
        rgb = mix(rgb, floor * (0.88 + 0.14 * (y - edge)), step(edge - y, 0.02))
        rgb = mix(rgb, rgb * 0.75, step((edge - y).abs() - 0.008, 0.015))
        shadow = ellipse(x - camera.x, y - camera.y - 0.01, 0.3, 0.06)
        return mix(rgb, rgb * 0.68, step(shadow, 0.09))

    return replace(wall, paint=paint)
