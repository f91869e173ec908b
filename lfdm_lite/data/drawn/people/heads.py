"""The head of a whole figure: the person of `Faces` from farther away, who can nod and look aside.

The outline turns with the head's right-left axis. Where the face points is a smooth push of everything drawn on the
head towards that side, so that eyes and hairline travel over a head whose outline stays.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..engine.limbs import Track
from ..engine.scenes import Field, Layer, LayerMotion, affine, bump, colour, ellipse, mix, rectangle, step
from .subjects import Look
from .wardrobe import hair_back, hair_front

PUSH = 0.4  # of a face seen from the side, in units of the head
WIDE, HIGH = 0.36, 0.44  # how far the push reaches


def head(look: Look, size: float, place: Track, seen: np.ndarray) -> tuple[list[Layer], list[Layer]]:
    """Layers behind the trunk, and those before it.

    Args:
        size: of the head's unit (its half height is about 0.7) in the image.
        place: its middle.
        seen: (t, 3, 3), its turns as the camera sees them.
    """
    roll = np.unwrap(np.arctan2(-seen[:, 1, 0], seen[:, 0, 0]))
    cos, sin, right, down = np.cos(roll), np.sin(roll), seen[:, 0, 2], -seen[:, 1, 2]
    motion = LayerMotion(affine(size, torch.from_numpy(roll), place[:, 0], place[:, 1]))
    # where the face points: (t, 2), right and down in units of the head
    face = torch.from_numpy(PUSH * np.stack([cos * right + sin * down, cos * down - sin * right], -1)).float()
    rest, push = face[0].tolist(), (face - face[0])[..., None, None].unbind(1)
    centre_x, centre_y = (0.6 * c for c in face[..., None, None].unbind(1))

    def local(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        near = bump(x, y, centre_x, centre_y, WIDE, HIGH)
        return x - push[0] * near, y - push[1] * near

    def turned(field: Field) -> Field:  # drawn as it looks at rest, where the face already points somewhere
        def at_rest(x: Tensor, y: Tensor) -> Tensor:
            near = bump(x, y, 0.6 * rest[0], 0.6 * rest[1], WIDE, HIGH)
            return field(x - rest[0] * near, y - rest[1] * near)

        return at_rest

    nodding = LayerMotion(motion.to_image, local, reach=float((face - face[0]).abs().max()) * 0.62)
    skin = _skin(look, nodding)
    front = [replace(layer, shape=turned(layer.shape)) for layer in hair_front(look, nodding)]
    return hair_back(look, motion), [replace(skin, paint=turned(skin.paint)), *front]


def _skin(look: Look, motion: LayerMotion) -> Layer:
    w, x_ear, chin = look.head_width, look.head_width - 0.01, look.chin
    hides_ears = look.hair_style in ("scarf", "long", "bob")
    skin, hair, ink = colour(look.skin), colour(look.hair) * 0.95, colour(c * 0.3 for c in look.iris)
    rosy = colour(min(1.0, c * k + a) for c, k, a in zip(look.skin, (0.9, 0.62, 0.6), (0.1, 0.02, 0.03), strict=True))
    brow, lips, dark = mix(hair, skin * 0.5, 0.3), colour(look.lips) * 0.8, skin * 0.8
    brow_y, nose_y = look.eye_y - look.brow_gap, look.eye_y + look.nose_length

    def shape(x: Tensor, y: Tensor) -> Tensor:
        outline = torch.minimum(ellipse(x, y + 0.06, w, 0.6), ellipse(x, y - 0.12, w * (0.94 - look.jaw), chin - 0.12))
        return outline if hides_ears else torch.minimum(outline, ellipse(x.abs() - x_ear, y - 0.05, look.ear, 0.13))

    def paint(x: Tensor, y: Tensor) -> Tensor:
        ax = x.abs()
        rgb = mix(skin, dark, 0.8 * (ax * (0.9 / w)).square().square().clamp(max=1))
        rgb = mix(rgb, rosy, 0.8 * bump(ax, y, 0.27, look.eye_y + 0.25, 0.1, 0.08))
        if look.beard:
            edge = look.mouth_y - 0.04 - 0.9 * (ax - 0.12).clamp(min=0)
            rgb = mix(rgb, hair, look.beard * step(edge - y, 0.1))
        if look.moustache:
            rgb = mix(rgb, hair, step(rectangle(x, y - look.mouth_y + 0.05, 0.17, 0.04, 0.03), 0.08))
        smile = (y - look.mouth_y - 0.03 + 1.6 * x.square()).abs() - 0.03
        rgb = mix(rgb, lips, step(torch.maximum(smile, ax - look.mouth_width), 0.07))
        rgb = mix(rgb, dark, step(ellipse(x, y - nose_y, look.nose_width, 0.04), 0.07))
        rgb = mix(rgb, brow, step(rectangle(ax - look.eye_x, y - brow_y, 0.1, 0.03, 0.03), 0.07))
        eye = ellipse(ax - look.eye_x, y - look.eye_y, 0.078, 0.1)
        if look.glasses:
            ring = ellipse(ax - look.eye_x, y - look.eye_y - 0.02, 0.18, 0.18).abs() - 0.02
            rgb = mix(rgb, colour(look.glasses_colour), step(ring, 0.07))
        return mix(rgb, ink, step(eye, 0.08))

    wide = w if hides_ears else x_ear + look.ear
    return Layer(shape, paint, motion, (-wide, -0.67, wide, chin))
