"""The parts of a face that act: eyes with lids, brows, mouth; and glasses before them. All ride on the head.

Lengths are in units of the head; left and right are drawn at once, by |x|.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..acting.expressions import Pose
from ..engine.scenes import Clip, Field, Layer, LayerMotion, bump, capsule, colour, ellipse, mix, rectangle, step
from .subjects import Look


def eyes(look: Look, pose: Pose, head: LayerMotion) -> list[Layer]:
    """Whites, irises that glance, and lids: the upper ones hang from their top and stretch, the lower ones rise."""
    ex, ey, rx, ry, r = look.eye_x, look.eye_y, look.eye_rx, look.eye_ry, look.iris_radius
    white, ink, iris = colour((0.985, 0.98, 0.97)), colour((0.08, 0.06, 0.07)), colour(look.iris)
    lid_skin = colour(c * k for c, k in zip(look.skin, (0.86, 0.77, 0.74), strict=True))
    box = (-ex - rx - 0.02, ey - ry - 0.02, ex + rx + 0.02, ey + ry + 0.02)
    rest = 0.18 * 2 * ry  # how far down the upper lid hangs, and how far up the lower one stands
    rest_low = 0.1 * 2 * ry
    top, bottom = ey - 1.1 * ry, ey + 1.1 * ry
    upper = 2 * ry * pose.lid
    lower = torch.as_tensor(2 * ry * pose.lower_lid).clamp(min=0.02 - rest_low)

    def opening(grow: float) -> Field:
        return lambda x, y: ellipse(x.abs() - ex, y - ey, rx * grow, ry * grow)

    def drop(x: Tensor) -> Tensor:  # the lid's extra way down, at x
        return (upper + pose.lid_slant * 0.5 * (x.abs() - ex)).clamp(min=0.015 - rest)

    def lid_edge(x: Tensor) -> Tensor:
        return ey - ry + rest + 0.45 * ry * ((x.abs() - ex) / rx).square()

    def eye_paint(x: Tensor, y: Tensor) -> Tensor:
        return mix(white, white * colour((0.80, 0.82, 0.88)), step(y - ey + 0.35 * ry, 0.12 * ry + 0.05))

    def gaze(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x - pose.gaze_x, y - pose.gaze_y

    def iris_paint(x: Tensor, y: Tensor) -> Tensor:
        u, v = x - torch.copysign(torch.tensor(ex), x), y - ey - 0.012
        radius = u.hypot(v)
        rgb = mix(iris * 0.6, iris * 1.25 + 0.06, step(radius - 0.8 * r, 0.3 * r) * (0.6 + 0.4 * (v / r)).clamp(0, 1))
        rgb = mix(rgb, ink, step(radius - 0.5 * r, 0.02))
        return mix(rgb, white, step((u + 0.35 * r).hypot(v + 0.4 * r) - 0.3 * r, 0.025))

    def stretch(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:  # the upper lid: pinned at its top
        hang = lid_edge(x) - top
        return x, torch.where(y > top, top + (y - top) * hang / (hang + drop(x)), y)

    def rise(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        stand = bottom - low_edge(x)
        return x, torch.where(y < bottom, bottom - (bottom - y) * stand / (stand + lower), y)

    def low_edge(x: Tensor) -> Tensor:
        return ey + ry - rest_low - 0.3 * ry * ((x.abs() - ex) / rx).square()

    moving = lambda local, reach: LayerMotion(head.to_image, local, reach)  # noqa: E731
    socket = Clip(opening(1.1), head)
    return [
        Layer(opening(1.0), eye_paint, head, box),
        Layer(
            lambda x, y: (x.abs() - ex).hypot(y - ey - 0.012) - r,
            iris_paint, moving(gaze, 0.07), (-ex - r, ey - r, ex + r, ey + r + 0.02), Clip(opening(1.0), head),
        ),
        Layer(lambda x, y: (low_edge(x) - y) * 0.9, lambda x, y: lid_skin, moving(rise, 0.0), box, socket),
        Layer(lambda x, y: (y - lid_edge(x)) * 0.9, lambda x, y: lid_skin, moving(stretch, 0.0), box, socket),
        Layer(
            lambda x, y: (y - lid_edge(x)).abs() - look.lashes,
            lambda x, y: ink, moving(lambda x, y: (x, y - drop(x)), 0.0), box, socket,
        ),
    ]  # fmt: skip


def brows(look: Look, pose: Pose, head: LayerMotion) -> Layer:
    """Both brows: each end has its own way up or down."""
    ex, y0, thick = look.eye_x, look.eye_y - look.brow_gap, look.brow_thickness
    inner, outer = torch.as_tensor(pose.brow_inner), torch.as_tensor(pose.brow_outer)
    shade = min(0.75, 0.6 * sum(look.skin) / sum(look.hair))  # always darker than the skin
    dark = colour(shade * c for c in look.hair)

    def shape(x: Tensor, y: Tensor) -> Tensor:
        along = (x.abs() - ex) / 0.13  # -1 at the inner end, 1 at the outer one
        bow = y0 + 0.03 * along.square() + look.brow_tilt * along
        return capsule(x.abs(), y - bow, ex - 0.13, 0.0, ex + 0.13, 0.0, 0.0) - thick * (1 - 0.3 * along.clamp(0, 1))

    def slant(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        share = ((x.abs() - ex) / 0.26 + 0.5).clamp(-0.2, 1.2)
        x = x + torch.sign(x) * pose.brow_pinch * (1 - share)
        return x, y + torch.lerp(inner, outer, share)

    reach = max(float(p.abs().max()) for p in (inner, outer, torch.as_tensor(pose.brow_pinch))) * 1.25
    x1 = ex + 0.13 + thick
    return Layer(
        shape,
        lambda x, y: dark,
        LayerMotion(head.to_image, slant, reach),
        (-x1, y0 - thick - 0.03, x1, y0 + thick + 0.06),
    )


def glasses(look: Look, head: LayerMotion) -> list[Layer]:
    """A frame and two tinted lenses, if the subject wears glasses."""
    if not look.glasses:
        return []
    ex, ey, frame = look.eye_x, look.eye_y + 0.02, colour(look.glasses_colour)

    def lens(x: Tensor, y: Tensor) -> Tensor:
        x, y = x.abs() - ex, y - ey
        return ellipse(x, y, 0.19, 0.185) if look.glasses == "round" else rectangle(x, y, 0.19, 0.165, 0.06)

    def shape(x: Tensor, y: Tensor) -> Tensor:
        ax = x.abs()
        bridge = torch.maximum((y - ey + 0.04 - 0.6 * x.square()).abs() - 0.013, ax - 0.05)
        side = torch.maximum((y - ey + 0.03).abs() - 0.013, (ax - ex - 0.24).abs() - 0.06)
        return torch.minimum(torch.minimum(lens(x, y).abs() - 0.015, bridge), side)

    box = (-ex - 0.3, ey - 0.21, ex + 0.3, ey + 0.21)
    glass, light = (
        Layer(lens, lambda x, y: colour((1.0, 1.0, 1.0)), head, box, opacity=0.13),
        Layer(shape, lambda x, y: frame, head, box),
    )
    return [glass, light]


def mouth(look: Look, pose: Pose, head: LayerMotion) -> list[Layer]:
    """Cavity, tongue and teeth, all cut to the opening between the lips, and the lips, which close it at rest."""
    my, w = look.mouth_y, look.mouth_width
    lips, dark_lips = colour(look.lips), colour(c * 0.5 for c in look.lips)
    upper_lip = tuple(c * 0.86 for c in look.lips)
    cavity, tooth, tongue = colour((0.25, 0.05, 0.08)), colour((0.97, 0.96, 0.93)), colour((0.82, 0.36, 0.38))
    width = w + pose.width
    thick_u, thick_l = 0.8 * look.lip, look.lip
    sneer = torch.as_tensor(pose.sneer)

    def seam(x: Tensor, half: Tensor | float) -> Tensor:  # the closed mouth: a hint of a smile
        return my - 0.02 * (x / half).square().clamp(max=1)

    def across(x: Tensor) -> Tensor:
        return (x / width).clamp(-1, 1)

    def corner(s: Tensor) -> Tensor:
        return -pose.corner * (s.square() - 0.25)

    def lift(s: Tensor) -> Tensor:  # the upper lip's way down
        side = torch.sign(sneer.sum()) * 0.5
        return (
            corner(s) - (pose.upper + sneer.abs() * torch.exp(-((s - side) / 0.6).square())) * (1 - s.square()).sqrt()
        )

    def fall(s: Tensor) -> Tensor:  # the lower lip's
        return corner(s) + pose.open * (1 - s.square() + 1e-6).sqrt()

    def follow(way: Callable[[Tensor], Tensor]) -> LayerMotion:
        def local(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            s = across(x)
            return x * (w / width), y - way(s)

        return LayerMotion(head.to_image, local, reach=0.3)

    def opening(x: Tensor, y: Tensor) -> Tensor:
        s = across(x)
        y = y - seam(x, width)
        return torch.maximum(torch.maximum(lift(s) - y, y - fall(s)), x.abs() - width) + 0.008

    def upper(x: Tensor, y: Tensor) -> Tensor:
        s2, y = (x / w).square(), y - seam(x, w)
        top = -thick_u * (1 - s2) * (1 - 0.3 * torch.exp(-s2 * 30)) - 0.01
        return torch.maximum(torch.maximum(top - y, y - 0.004), x.abs() - w)

    def lower(x: Tensor, y: Tensor) -> Tensor:
        s2, y = (x / w).square(), y - seam(x, w)
        return torch.maximum(torch.maximum(-0.004 - y, y - thick_l * (1 - s2).clamp(min=0).sqrt() - 0.01), x.abs() - w)

    def upper_paint(x: Tensor, y: Tensor) -> Tensor:
        return mix(colour(upper_lip), dark_lips, 0.85 * torch.exp(-((y - seam(x, w)) / 0.014).square()))

    def lower_paint(x: Tensor, y: Tensor) -> Tensor:
        shine = bump(x, y, 0.0, my + 0.5 * thick_l, 0.5 * w, 0.3 * thick_l)
        rgb = mix(lips, lips * 0.6 + 0.4, 0.35 * shine)
        return mix(rgb, dark_lips, 0.85 * torch.exp(-((y - seam(x, w)) / 0.014).square()))

    clip = Clip(opening, head)
    box = (-w, my - 0.09, w, my + 0.1)
    up, down = follow(lift), follow(fall)
    inside = (-w - 0.12, my - 0.2, w + 0.12, my + 0.36)
    return [
        Layer(lambda x, y: torch.full_like(x, -1.0), lambda x, y: cavity, head, inside, clip),
        Layer(
            lambda x, y: ellipse(x, y - my + 0.0, 0.75 * w, 0.075), lambda x, y: tongue, down,
            (-w, my - 0.08, w, my + 0.08), clip,
        ),
        Layer(
            lambda x, y: torch.maximum(my + 0.012 - y, x.abs() - 0.85 * w), lambda x, y: tooth * 0.94,
            follow(lambda s: fall(s) - pose.grit), (-w, my, w, my + 0.06), clip,
        ),
        Layer(
            lambda x, y: torch.maximum(y - my - 0.055, x.abs() - 0.88 * w), lambda x, y: tooth, up,
            (-w, my - 0.03, w, my + 0.06), clip,
        ),
        Layer(lower, lower_paint, down, box),
        Layer(upper, upper_paint, up, box),
    ]  # fmt: skip
