"""A portrait as layers, back to front: background, back hair, body, neck, ears, skin, eyes, mouth, brows, hair.

Everything on the head rides on one affine motion. Skin and brows are also pushed by smooth bumps (brows, cheeks, nose,
lip corners, jaw); lids stretch, lips follow the curves of the mouth. Lengths are in units of the head; x to the right,
y down, the head's middle at the origin.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..acting.expressions import Pose
from ..engine.scenes import Field, Layer, LayerMotion, affine, bump, bumps, colour, ellipse, mix, named, rectangle, step
from .features import brows, eyes, glasses, mouth
from .subjects import Look
from .wardrobe import backdrop, body, hair_back, hair_front

# Which part a pixel shows, by the layer on top. An eye is all that is seen within its socket: white, iris, lashes, and
# the lids that move over it. A mouth is lips, teeth, tongue and what is dark behind them. Moustache, beard, nose and
# ears count as skin, hats and scarves as hair, a pixel of a glasses' frame as glasses and one behind a lens as what
# it is without.
PARTS = ("background", "hair", "clothes", "skin", "eyes", "mouth", "brows", "glasses")


def portrait(look: Look, pose: Pose) -> list[Layer]:
    """The layers of one person who acts out one pose, for `scenes.render`."""
    frames = lambda value: torch.as_tensor(value).flatten()  # noqa: E731
    head = LayerMotion(
        affine(
            look.scale * (1 + frames(pose.zoom)),
            look.tilt + frames(pose.roll),
            look.offset_x + frames(pose.head_x),
            0.02 + look.offset_y + frames(pose.head_y),
        )
    )
    trunk = LayerMotion(
        affine(
            look.scale, 0.0, look.offset_x + 0.3 * frames(pose.head_x), 0.02 + look.offset_y + 0.3 * frames(pose.head_y)
        )
    )
    face = LayerMotion(head.to_image, _push(look, pose), reach=0.26)
    neck, clothes = body(look, trunk)
    return [
        *named("background", [backdrop(look, LayerMotion(affine()))]),
        *named("hair", hair_back(look, head)),
        *named("skin", [neck]),
        *named("clothes", [clothes]),
        *head_layers(look, pose, head, face),
    ]


def head_layers(look: Look, pose: Pose, head: LayerMotion, face: LayerMotion) -> list[Layer]:
    """All of a head but the hair behind it.

    Args:
        head: how it moves.
        face: how its skin moves: as the head, and pushed by what the face does.
    """
    return [
        *named("skin", [*_ears(look, head), _skin(look, face)]),
        *named("eyes", eyes(look, pose, head)),
        *named("mouth", mouth(look, pose, head)),
        *named("brows", [brows(look, pose, head)]),
        *named("glasses", glasses(look, head)),
        *named("hair", hair_front(look, head)),
    ]


def _push(look: Look, pose: Pose) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Backward displacement of the skin by bumps that travel with their push: their centres move by all of it."""
    brow_y, mouth_y, eye_y = look.eye_y - look.brow_gap, look.mouth_y, look.eye_y
    sneer = torch.as_tensor(pose.sneer)
    rows: list[tuple[Tensor | float, ...]] = [  # centre, widths, push right and down
        (0.0, mouth_y - 0.08, 0.13, 0.05, 0.0, -0.8 * pose.upper),
        (0.0, mouth_y + 0.09, 0.17, 0.1, 0.0, 0.5 * pose.open),
        (0.0, look.chin + 0.03, 0.3, 0.15, 0.0, 0.7 * pose.open),
        (0.0, eye_y + 0.16, 0.09, 0.09, 0.0, -pose.nose),
    ]
    for side in (-1.0, 1.0):
        rows += [
            (side * 0.11, brow_y, 0.09, 0.14, -side * pose.brow_pinch, -0.9 * pose.brow_inner),
            (side * 0.31, brow_y, 0.1, 0.14, 0.0, -0.9 * pose.brow_outer),
            (side * 0.27, eye_y + 0.25, 0.12, 0.08, 0.0, -pose.cheek),
            (side * look.mouth_width, mouth_y, 0.085, 0.1, side * pose.width, -pose.corner),
            (side * 0.12, eye_y + 0.23, 0.08, 0.09, 0.0, -0.5 * (side * sneer).clamp(min=0)),
        ]
    num_frames = torch.as_tensor(pose.open).shape[0]
    column = lambda k: torch.stack([torch.as_tensor(row[k]).flatten().expand(num_frames) for row in rows], 1)  # noqa: E731
    push = torch.stack([column(4), column(5)], 1)
    hills = torch.stack([column(0) + push[:, 0], column(1) + push[:, 1], column(2), column(3)], -1)

    def local(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        dx, dy = bumps(x, y, hills, push)
        return x - dx, y - dy

    return local


def _face_shape(look: Look) -> Field:
    def shape(x: Tensor, y: Tensor) -> Tensor:
        down = ((y + 0.05) / look.chin).clamp(0, 1).square()
        ry = torch.where(y < 0, 0.66, look.chin)
        x, y = x / (look.head_width * (1 - look.jaw * down)), y / ry
        k = (x.square() + y.square() + 1e-9).sqrt()
        return (k - 1) * (0.5 + 0.12 * y.abs())

    return shape


def _skin(look: Look, face: LayerMotion) -> Layer:
    skin, dark = colour(look.skin), colour(c * k for c, k in zip(look.skin, (0.80, 0.70, 0.66), strict=True))
    rosy = colour(min(1.0, c * k + a) for c, k, a in zip(look.skin, (0.9, 0.62, 0.6), (0.1, 0.02, 0.03), strict=True))
    hair, lit = colour(c * 0.95 for c in look.hair), colour(0.5 + 0.5 * c for c in look.skin)
    nose_y, eye_x, eye_y = look.eye_y + look.nose_length, look.eye_x, look.eye_y
    hills: list[tuple[float, float, float, float]] = []
    weights: list[tuple[float, float, float]] = []  # shadow, blush, light
    for side in (-1.0, 1.0):
        hills += [
            (side * eye_x, eye_y - 0.01, 0.15, 0.13),
            (side * 0.29, eye_y + 0.24, 0.1, 0.07),
            (side * 0.036, nose_y + 0.012, 0.016, 0.01),
        ]
        weights += [(0.35, 0, 0), (0, 2.2 * look.blush, 0), (1.5, 0, 0)]
    hills += [
        (0.0, look.mouth_y + look.lip + 0.085, 0.09, 0.025),
        (-0.008, nose_y - 0.07, 0.018, 0.07),
        (0.05, nose_y - 0.08, 0.022, 0.07),
    ]
    weights += [(0.25, 0, 0), (0, 0, 0.45), (0.4, 0, 0)]
    places, sums = torch.tensor(hills)[None], torch.tensor(weights).T[None].contiguous()

    def paint(x: Tensor, y: Tensor) -> Tensor:
        ax = x.abs()
        shadow, blush, light = bumps(x, y, places, sums)
        shadow = shadow + (ax * (0.86 / look.head_width)).square().square()
        rgb = mix(mix(skin, rosy, blush), lit, light)
        if look.freckles:
            dots = (torch.sin(44 * x + 9 * torch.sin(23 * y)) * torch.sin(47 * y + 2)).sub(0.55).mul(4).clamp(0, 1)
            rgb = mix(
                rgb,
                dark * 0.85,
                look.freckles * dots * bump(ax, y, 0.2, look.eye_y + 0.22, 0.14, 0.07).mul(1.6).clamp(max=1),
            )
        tip = ellipse(x, y - nose_y + 0.012, look.nose_width, 0.042).abs()  # its lower half is the nose's outline
        shadow = torch.maximum(shadow, 0.75 * step(tip - 0.004, 0.03) * step(nose_y - 0.012 - y, 0.03))
        rgb = mix(rgb, dark, shadow.clamp_(max=1.6))
        if look.beard:
            edge = look.mouth_y - 0.04 - 0.9 * (ax - 0.12).clamp(min=0) + 0.07 * bump(x, y, 0.0, look.mouth_y, 0.2, 9.0)
            grain = 0.9 + 0.1 * torch.sin(60 * x + 5 * torch.sin(30 * y))
            rgb = mix(rgb, hair * grain, look.beard * step(edge - y, 0.05 if look.beard > 0.5 else 0.16))
        if look.moustache:
            lip = look.mouth_y - 0.045
            band = rectangle(x, y - lip + 0.012 - 1.1 * x.square(), look.mouth_width * 0.95, 0.034, 0.03)
            rgb = mix(rgb, hair, 0.92 * step(band, 0.025))
        return rgb

    box = (-look.head_width - 0.02, -0.68, look.head_width + 0.02, look.chin + 0.02)
    return Layer(_face_shape(look), paint, face, box)


def _ears(look: Look, head: LayerMotion) -> list[Layer]:
    if look.hair_style in ("scarf", "long", "bob"):
        return []
    x_ear, skin = look.head_width - 0.005, colour(look.skin)
    dark, gold = colour(c * 0.72 for c in look.skin), colour((0.95, 0.78, 0.3))

    def paint(x: Tensor, y: Tensor) -> Tensor:
        return mix(skin * 0.94, dark, step(ellipse(x.abs() - x_ear - 0.01, y - 0.05, look.ear * 0.5, 0.075), 0.04))

    ears = Layer(
        lambda x, y: ellipse(x.abs() - x_ear, y - 0.05, look.ear, 0.135), paint, head,
        (-x_ear - look.ear, -0.09, x_ear + look.ear, 0.19),
    )  # fmt: skip
    if not look.earrings:
        return [ears]
    ring = Layer(
        lambda x, y: ellipse(x.abs() - x_ear - 0.035, y - 0.215, 0.035, 0.04), lambda x, y: gold, head,
        (-x_ear - 0.07, 0.17, x_ear + 0.07, 0.26),
    )  # fmt: skip
    return [ears, ring]
