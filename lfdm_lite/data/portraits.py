"""A portrait as layers, back to front: background, back hair, body, neck, ears, skin, eyes, mouth, brows, hair.

Everything on the head rides on one affine motion. Skin and brows are also pushed by smooth bumps (brows, cheeks, nose,
lip corners, jaw); lids stretch, lips follow the curves of the mouth. Lengths are in units of the head; x to the right,
y down, the head's middle at the origin.
"""

import torch
from torch import Tensor

from .expressions import Pose
from .scenes import Clip, Layer, LayerMotion, affine, bump, capsule, colour, ellipse, everywhere, mix, rectangle, step
from .subjects import Look
from .wardrobe import backdrop, body, hair_back, hair_front, hair_paint


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
        affine(look.scale, 0.0, look.offset_x + 0.3 * frames(pose.head_x), 0.02 + look.offset_y + 0.3 * frames(pose.head_y))
    )
    face = LayerMotion(head.to_image, _push(_bumps(look, pose)), reach=0.26)
    return [
        backdrop(look, LayerMotion(affine())),
        *hair_back(look, head),
        *body(look, trunk),
        *_ears(look, head),
        _skin(look, face),
        *_eyes(look, pose, head),
        *_mouth(look, pose, head),
        _brows(look, pose, head),
        *_glasses(look, head),
        *hair_front(look, head),
    ]


# ---------------------------------------------------------------- skin


def _bumps(look: Look, pose: Pose) -> list[tuple]:
    """Where the skin is pushed: centre, widths, and the push (right, down), each a number or (T, 1, 1)."""
    brow_y, mouth_y = look.eye_y - look.brow_gap, look.mouth_y
    bumps = [
        (0.0, mouth_y - 0.08, 0.13, 0.05, 0.0, -0.8 * pose.upper),
        (0.0, mouth_y + 0.09, 0.17, 0.1, 0.0, 0.5 * pose.open),
        (0.0, look.chin + 0.03, 0.3, 0.15, 0.0, 0.7 * pose.open),
        (0.0, look.eye_y + 0.16, 0.09, 0.09, 0.0, -pose.nose),
    ]
    for side in (-1.0, 1.0):
        sneer = (side * pose.sneer).clamp(min=0)
        lip_x = side * look.mouth_width
        bumps += [
            (side * 0.11, brow_y, 0.09, 0.14, -side * pose.brow_pinch, -0.9 * pose.brow_inner),
            (side * 0.31, brow_y, 0.1, 0.14, 0.0, -0.9 * pose.brow_outer),
            (side * 0.27, look.eye_y + 0.25, 0.12, 0.08, 0.0, -pose.cheek),
            (lip_x, mouth_y, 0.085, 0.1, side * pose.width, -pose.corner),
            (side * 0.12, look.eye_y + 0.23, 0.08, 0.09, 0.0, -0.5 * sneer),
        ]
    return [b for b in bumps if max(float(torch.as_tensor(p).abs().max()) for p in b[4:]) > 1e-6]


def _push(bumps: list[tuple]):
    """Backward displacement by bumps that travel with their push: the point at a bump's centre moves by all of it."""

    def local(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        dx, dy = torch.zeros_like(x), torch.zeros_like(x)
        for cx, cy, rx, ry, px, py in bumps:
            hill = bump(x, y, cx + px, cy + py, rx, ry)
            if not isinstance(px, float):
                dx.addcmul_(hill, px)
            dy.addcmul_(hill, py)
        return x - dx, y - dy

    return local


def _face_shape(look: Look):
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
    hair = colour(c * 0.95 for c in look.hair)
    nose_y = look.eye_y + look.nose_length

    def paint(x: Tensor, y: Tensor) -> Tensor:
        ax = x.abs()
        shade = (ax / look.head_width).pow(4).clamp(max=1) * 0.55 + bump(ax, y, look.eye_x, look.eye_y - 0.01, 0.15, 0.13) * 0.35
        shade += 0.25 * bump(x, y, 0.0, look.mouth_y + look.lip + 0.085, 0.09, 0.025)
        rgb = mix(skin, dark, shade.clamp(max=1))
        rgb = mix(rgb, rosy, look.blush * 2.2 * bump(ax, y, 0.29, look.eye_y + 0.24, 0.1, 0.07))
        if look.freckles:
            dots = (torch.sin(44 * x + 9 * torch.sin(23 * y)) * torch.sin(47 * y + 2)).sub(0.55).mul(4).clamp(0, 1)
            rgb = mix(rgb, dark * 0.85, look.freckles * dots * bump(ax, y, 0.2, look.eye_y + 0.22, 0.14, 0.07).mul(1.6).clamp(max=1))
        # the nose: a lit ridge, a shadow on one side and below, two nostrils
        rgb = mix(rgb, skin * 0.5 + 0.5, 0.45 * bump(x, y, -0.008, nose_y - 0.07, 0.018, 0.07))
        tip = ellipse(x, y - nose_y + 0.012, look.nose_width, 0.042)
        rgb = mix(rgb, dark, 0.75 * step(tip.abs() - 0.004, 0.03) * step(-(y - nose_y + 0.012), 0.03))
        rgb = mix(rgb, dark, 0.4 * bump(x, y, 0.05, nose_y - 0.08, 0.022, 0.07))
        rgb = mix(rgb, dark * 0.6, 0.8 * bump(ax, y, 0.036, nose_y + 0.012, 0.016, 0.010))
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


# ---------------------------------------------------------------- eyes


def _eyes(look: Look, pose: Pose, head: LayerMotion) -> list[Layer]:
    ex, ey, rx, ry, r = look.eye_x, look.eye_y, look.eye_rx, look.eye_ry, look.iris_radius
    white, ink, iris = colour((0.985, 0.98, 0.97)), colour((0.08, 0.06, 0.07)), colour(look.iris)
    lid_skin = colour(c * k for c, k in zip(look.skin, (0.86, 0.77, 0.74), strict=True))
    box = (-ex - rx - 0.02, ey - ry - 0.02, ex + rx + 0.02, ey + ry + 0.02)
    rest = 0.24 * 2 * ry  # how far down the upper lid hangs, and how far up the lower one stands
    rest_low = 0.1 * 2 * ry
    top, bottom = ey - 1.1 * ry, ey + 1.1 * ry
    upper = 2 * ry * pose.lid
    lower = (2 * ry * pose.lower_lid).clamp(min=0.02 - rest_low)

    def opening(grow: float):
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



def _brows(look: Look, pose: Pose, head: LayerMotion) -> Layer:
    ex, y0, thick = look.eye_x, look.eye_y - look.brow_gap, look.brow_thickness
    dark = colour(0.75 * c for c in look.hair) if sum(look.hair) > 0.75 else colour(0.55 * c for c in look.hair)

    def shape(x: Tensor, y: Tensor) -> Tensor:
        along = (x.abs() - ex) / 0.13  # -1 at the inner end, 1 at the outer one
        bow = y0 + 0.03 * along.square() + look.brow_tilt * along
        return capsule(x.abs(), y - bow, ex - 0.13, 0.0, ex + 0.13, 0.0, 0.0) - thick * (1 - 0.3 * along.clamp(0, 1))

    def slant(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        share = ((x.abs() - ex) / 0.26 + 0.5).clamp(-0.2, 1.2)
        x = x + torch.sign(x) * pose.brow_pinch * (1 - share)
        return x, y + torch.lerp(pose.brow_inner, pose.brow_outer, share)

    reach = max(float(p.abs().max()) for p in (pose.brow_inner, pose.brow_outer, pose.brow_pinch)) * 1.25
    x1 = ex + 0.13 + thick
    return Layer(
        shape, lambda x, y: dark, LayerMotion(head.to_image, slant, reach), (-x1, y0 - thick - 0.03, x1, y0 + thick + 0.06)
    )


def _glasses(look: Look, head: LayerMotion) -> list[Layer]:
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
    glass, light = Layer(lens, lambda x, y: colour((1, 1, 1)), head, box, opacity=0.13), Layer(shape, lambda x, y: frame, head, box)
    return [glass, light]


# ---------------------------------------------------------------- mouth


def _mouth(look: Look, pose: Pose, head: LayerMotion) -> list[Layer]:
    my, w = look.mouth_y, look.mouth_width
    lips, dark_lips = colour(look.lips), colour(c * 0.5 for c in look.lips)
    upper_lip = tuple(c * 0.86 for c in look.lips)
    cavity, tooth, tongue = colour((0.25, 0.05, 0.08)), colour((0.97, 0.96, 0.93)), colour((0.82, 0.36, 0.38))
    width = w + pose.width
    thick_u, thick_l = 0.8 * look.lip, look.lip

    def across(x: Tensor) -> Tensor:
        return (x / width).clamp(-1, 1)

    def corner(s: Tensor) -> Tensor:
        return -pose.corner * (s.square() - 0.25)

    def lift(s: Tensor) -> Tensor:  # the upper lip's way down
        side = torch.sign(pose.sneer.sum()) * 0.5
        return corner(s) - (pose.upper + pose.sneer.abs() * torch.exp(-((s - side) / 0.6).square())) * (1 - s.square()).sqrt()

    def fall(s: Tensor) -> Tensor:  # the lower lip's
        return corner(s) + pose.open * (1 - s.square() + 1e-6).sqrt()

    def follow(way):
        def local(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            s = across(x)
            return x * (w / width), y - way(s)

        return LayerMotion(head.to_image, local, reach=0.3)

    def opening(x: Tensor, y: Tensor) -> Tensor:
        s = across(x)
        y = y - my
        return torch.maximum(torch.maximum(lift(s) - y, y - fall(s)), x.abs() - width) + 0.008

    def upper(x: Tensor, y: Tensor) -> Tensor:
        s2 = (x / w).square()
        top = my - thick_u * (1 - s2) * (1 - 0.3 * torch.exp(-s2 * 30)) - 0.01
        return torch.maximum(torch.maximum(top - y, y - my - 0.004), x.abs() - w)

    def lower(x: Tensor, y: Tensor) -> Tensor:
        s2 = (x / w).square()
        return torch.maximum(torch.maximum(my - 0.004 - y, y - my - thick_l * (1 - s2).clamp(min=0).sqrt() - 0.01), x.abs() - w)

    def upper_paint(x: Tensor, y: Tensor) -> Tensor:
        return mix(colour(upper_lip), dark_lips, (0.85 * torch.exp(-((y - my) / 0.014).square())))

    def lower_paint(x: Tensor, y: Tensor) -> Tensor:
        shine = bump(x, y, 0.0, my + 0.5 * thick_l, 0.5 * w, 0.3 * thick_l)
        rgb = mix(lips, lips * 0.6 + 0.4, 0.35 * shine)
        return mix(rgb, dark_lips, 0.85 * torch.exp(-((y - my) / 0.014).square()))

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
