"""What is around a face: hair and hats, clothes, backgrounds."""

import math

import torch
from torch import Tensor

from ..engine.scenes import Field, Layer, LayerMotion, colour, ellipse, everywhere, mix, rectangle, step
from .subjects import Look


def backdrop(look: Look, still: LayerMotion) -> Layer:
    """The background: two colours and a pattern; it never moves."""
    first, second = colour(look.backdrop[0]), colour(look.backdrop[1])
    soft, f, p = mix(first, second, 0.35), look.frequency, look.phase

    def paint(x: Tensor, y: Tensor) -> Tensor:
        base = mix(first * 1.04, first * 0.82, (y + 1) / 2)
        match look.backdrop_pattern:
            case "stripes":
                return mix(base, soft, step(-torch.sin(9 * f * (x * math.cos(p) + y * math.sin(p)) + p), 0.3))
            case "dots":
                u, v = ((x * 2.2 * f + p) % 1) - 0.5, ((y * 2.2 * f + p) % 1) - 0.5
                return mix(base, soft, step(u.hypot(v) - 0.24, 0.08))
            case "disc":
                return mix(base, second, 0.75 * step((x + y * 0).hypot(y + 0.05) - 0.86, 0.03))
            case "hills":
                hill = mix(base, second, 0.5 * step(0.1 + 0.15 * torch.sin(3 * f * x + p) - y, 0.03))
                return mix(hill, second * 0.8, 0.6 * step(0.4 + 0.12 * torch.sin(4 * f * x + 2 * p) - y, 0.03))
            case "rays":
                return mix(base, soft, step(-torch.sin(10 * torch.atan2(y + 0.1, x + y * 0) + p), 0.4))
        return mix(first, second, ((y + 1 + 0.4 * x) / 2.4).clamp(0, 1) * 0.8)

    return Layer(everywhere, paint, still, (-1.0, -1.0, 1.0, 1.0))


def hair_paint(look: Look) -> Field:
    """Hair colour with strands and a band of light."""
    base = colour(look.hair)
    light = base * 0.72 + 0.28 * colour((1.0, 0.93, 0.85))

    def paint(x: Tensor, y: Tensor) -> Tensor:
        strands = torch.sin(34 * x + 7 * torch.sin(3 * y + look.phase))
        ring = torch.exp(-((x.hypot(y + 0.05) - 0.55) / 0.05).square()) * torch.sigmoid(-14 * (y + 0.25))
        return mix(base * (0.94 + 0.07 * strands), light, 0.55 * ring)

    return paint


def _curls(x: Tensor, y: Tensor, count: int, depth: float) -> Tensor:
    return depth * torch.sin(count * torch.atan2(y + 0.1, x)).abs()


def hair_back(look: Look, head: LayerMotion) -> list[Layer]:
    """Hair behind the head and shoulders."""
    w, paint = look.head_width, hair_paint(look)
    dim = lambda x, y: paint(x, y) * 0.78  # noqa: E731
    match look.hair_style:
        case "long" | "long bangs":
            shape = lambda x, y: rectangle(x * (1 - 0.06 * torch.sin(9 * y + look.phase)), y - 0.13, w + 0.13, 0.9, 0.6)  # noqa: E731
            return [Layer(shape, dim, head, (-w - 0.2, -0.8, w + 0.2, 1.05))]
        case "bob":
            return [
                Layer(
                    lambda x, y: rectangle(x, y + 0.04, w + 0.13, 0.7, 0.5),
                    dim,
                    head,
                    (-w - 0.14, -0.75, w + 0.14, 0.67),
                )
            ]
        case "bun":
            shape = lambda x, y: ellipse(x, y + 0.8, 0.22, 0.19)  # noqa: E731
            return [Layer(shape, dim, head, (-0.22, -1.0, 0.22, -0.6))]
        case "curly":
            shape = lambda x, y: ellipse(x, y + 0.02, w + 0.16, 0.76) - _curls(x, y, 8, 0.045)  # noqa: E731
            return [Layer(shape, dim, head, (-w - 0.22, -0.84, w + 0.22, 0.8))]
        case "afro":
            shape = lambda x, y: ellipse(x, y + 0.2, w + 0.25, 0.68) - _curls(x, y, 11, 0.03)  # noqa: E731
            return [Layer(shape, dim, head, (-w - 0.3, -0.93, w + 0.3, 0.53))]
        case "scarf":
            cloth = colour(look.clothes[1])
            shape = lambda x, y: rectangle(x, y - 0.15, w + 0.1, 0.87, 0.55)  # noqa: E731
            return [Layer(shape, lambda x, y: cloth * 0.72, head, (-w - 0.11, -0.73, w + 0.11, 1.03))]
    return []


def hair_front(look: Look, head: LayerMotion) -> list[Layer]:
    """Hair, hat or scarf before the forehead; it leaves the brows free."""
    w, style, paint = look.head_width, look.hair_style, hair_paint(look)
    if style == "bald":
        return []
    part = 0.16 * math.copysign(1.0, math.sin(look.phase))

    def crown(x: Tensor, y: Tensor) -> Tensor:
        return ellipse(x, y + 0.1, w + 0.055, 0.635)

    def cut(x: Tensor, y: Tensor, top: float, shift: float = 0.0, width: float = 0.0) -> Tensor:
        return -ellipse(x - shift, y - 0.3, w - 0.035 + width, 0.3 - top)

    def shape(x: Tensor, y: Tensor) -> Tensor:
        match style:
            case "short" | "bun":
                return torch.maximum(torch.maximum(crown(x, y), cut(x, y, -0.49)), y - 0.02)
            case "parted" | "bob":  # one slanted hairline, from the parting down to the temple
                line = ellipse(x - 0.25 * part, y - 0.3 - 1.5 * part * x, w - 0.02, 0.8)
                return torch.maximum(torch.maximum(crown(x, y), -line), y - (0.04 if style == "parted" else 0.4))
            case "bangs" | "long bangs":
                fringe = y + 0.36 + 0.018 * torch.sin(26 * x + look.phase) - 0.12 * (x / w).square()
                sides = torch.maximum(cut(x, y, -0.5), y - (0.05 if style == "bangs" else 0.5))
                return torch.maximum(crown(x, y), torch.minimum(fringe, sides))
            case "long":
                line = torch.minimum(cut(x, y, -0.52, part, 0.0).neg(), cut(x, y, -0.42, -part, 0.02).neg())
                return torch.maximum(torch.maximum(crown(x, y) - 0.02, -line), y - 0.5)
            case "curly" | "afro":
                inner = ellipse(x, y - 0.2, w - 0.03, 0.6) + _curls(x, y, 9, 0.04)
                return torch.maximum(torch.maximum(crown(x, y) - 0.04, -inner), y - 0.12)
            case "balding":
                sides = torch.maximum(crown(x, y) + 0.01, -ellipse(x, y - 0.2, w - 0.03, 1.3))
                return torch.maximum(torch.maximum(sides, y - 0.04), -y - 0.5)
            case "quiff":
                top = ellipse(x - part * 0.6, y + 0.58, 0.44, 0.22) - 0.012 * torch.sin(30 * x)
                side = torch.maximum(torch.maximum(crown(x, y), cut(x, y, -0.48)), y)
                return torch.minimum(top, side)
            case "beanie":
                return torch.maximum(crown(x, y) - 0.04, y + 0.36 - 0.1 * (x / w).square())
        return torch.maximum(ellipse(x, y - 0.08, w + 0.1, 0.82), -ellipse(x, y - 0.1, w - 0.03, 0.56))  # scarf

    cloth, trim = colour(look.clothes[1]), colour(look.clothes[0])

    def cloth_paint(x: Tensor, y: Tensor) -> Tensor:
        if style == "beanie":
            ribs = cloth * (0.92 + 0.08 * torch.sin(40 * x))
            return mix(ribs, trim * (0.92 + 0.08 * torch.sin(40 * x)), step(-(y + 0.49 - 0.1 * (x / w).square()), 0.02))
        return cloth * (0.92 + 0.1 * torch.sin(14 * x.hypot(y) + 3 * x))

    worn = style in ("beanie", "scarf")
    return [
        Layer(
            shape,
            cloth_paint if worn else paint,
            head,
            (-w - 0.13, -0.84, w + 0.13, 0.92 if style == "scarf" else 0.52),
        )
    ]


def fabric(look: Look) -> Field:
    """The cloth of the clothes, with its pattern."""
    first, second, f = colour(look.clothes[0]), colour(look.clothes[1]), look.frequency

    def paint(x: Tensor, y: Tensor) -> Tensor:
        match look.pattern:
            case "stripes":
                return mix(first, second, step(-torch.sin(28 * f * y + look.phase), 0.5))
            case "pinstripes":
                return mix(first, second, step(-torch.sin(26 * f * x), 0.5))
            case "dots":
                return mix(first, second, step((((x * 4 * f) % 1) - 0.5).hypot(((y * 4 * f) % 1) - 0.5) - 0.26, 0.15))
            case "checks":
                return mix(first, second, 0.35 * (step(torch.sin(20 * f * x), 0.5) + step(torch.sin(20 * f * y), 0.5)))
            case "sweater":
                return mix(first, second, step((y - 0.98 - 0.03 * torch.sin(30 * f * x)).abs() - 0.045, 0.03))
        return first.expand(-1, *x.shape)

    return paint


def collar(look: Look) -> Field:
    """Signed distance to the opening of the clothes at the neck."""

    def shape(x: Tensor, y: Tensor) -> Tensor:
        match look.collar:
            case "vee":
                return (x.abs() - 0.27 + 0.75 * (y - 0.7)) * 0.8
            case "round":
                return ellipse(x, y - 0.68, 0.27, 0.17)
        return ellipse(x, y - 0.66, 0.22, 0.13)

    return shape


def throat(look: Look, trunk: LayerMotion) -> Layer:
    """The neck, in the shadow of the chin."""
    skin, shadow = (
        colour(c * 0.93 for c in look.skin),
        colour(c * k for c, k in zip(look.skin, (0.72, 0.62, 0.6), strict=True)),
    )

    def paint(x: Tensor, y: Tensor) -> Tensor:
        return mix(skin, shadow, step(y - 0.78 + 0.7 * x.square(), 0.12))

    def shape(x: Tensor, y: Tensor) -> Tensor:
        return rectangle(x, y - 0.65, 0.2 + 0.25 * (y - 0.6).clamp(min=0), 0.5, 0.05)

    return Layer(shape, paint, trunk, (-0.35, 0.15, 0.35, 1.15))


def body(look: Look, trunk: LayerMotion) -> list[Layer]:
    """Neck, shoulders and clothes; they follow the head a little."""
    first, second = colour(look.clothes[0]), colour(look.clothes[1])
    cloth, opening = fabric(look), collar(look)

    def clothes(x: Tensor, y: Tensor) -> Tensor:
        shoulders = torch.minimum(rectangle(x, y - 1.42, look.shoulder, 0.62, 0.35), ellipse(x, y - 0.85, 0.4, 0.16))
        return torch.maximum(shoulders, -opening(x, y))

    def clothes_paint(x: Tensor, y: Tensor) -> Tensor:
        rgb = cloth(x, y) * (1.0 - 0.25 * (x / look.shoulder).square().clamp(max=1))
        return mix(rgb, second * 0.9 if look.pattern == "plain" else first * 0.8, step(opening(x, y) - 0.045, 0.02))

    return [throat(look, trunk), Layer(clothes, clothes_paint, trunk, (-1.0, 0.64, 1.0, 1.25))]
