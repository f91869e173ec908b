"""Other looks for a scene: ink on paper, a street at night, a studio photograph. Same layers, same motion, new paint.

A look is a function from layers to layers. It keeps every shape, motion and clip, so flow and visibility stay what they
were; it replaces the paint, and may soften an edge. All it adds (lines, washes, light, grain) is a function of the
layer's canonical coordinates: it moves with the layer, and a place keeps its colour from frame to frame.

What a look knows of a layer is its signed distance and its paint. The distance gives outlines, and, taken as a height,
the normals that light needs; the paint's lightness gives tone. So a look works on any scene.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .scenes import Layer, Points, colour, mix, step

RGB = Float[Tensor, "3 ..."]
PAPERS = ((0.97, 0.95, 0.90), (0.99, 0.98, 0.97), (0.93, 0.88, 0.78))
INKS = ((0.10, 0.10, 0.12), (0.26, 0.15, 0.09), (0.10, 0.15, 0.36))
NIGHTS = (  # the light from the side, and the rim
    ((1.25, 0.62, 0.30), (0.25, 0.75, 1.0)),
    ((1.3, 0.42, 0.72), (0.2, 0.9, 0.95)),
    ((0.38, 0.98, 1.1), (1.0, 0.25, 0.7)),
    ((0.75, 0.75, 1.45), (1.0, 0.65, 0.25)),
)
LARGE = 0.2  # half a layer's size, in canonical units: a head is, an eye is not
STEP = 0.02  # canonical units between two samples of a distance, for its slope


def ink(layers: list[Layer], rng: np.random.Generator) -> list[Layer]:
    """A line drawing: outlines from the pen, flat washes in steps of tone, hatching where it is dark."""
    paper, pen = colour(PAPERS[rng.integers(len(PAPERS))]), colour(INKS[rng.integers(len(INKS))])
    lean, phase = (1.0 if rng.random() < 0.5 else -1.0), rng.uniform(0, 6.28)

    def hatching(x: Tensor, y: Tensor) -> Points:
        return step(0.2 - torch.sin(48 * (x * lean + 0.8 * y) + 1.5 * torch.sin(3 * x + 4 * y + phase)), 0.9)

    def drawn(layer: Layer) -> Layer:
        size = _half_size(layer)
        width = min(0.034, 0.016 + 0.04 * size)
        share = 0.13 if size > LARGE else 0.2  # of one wash: small things are drawn darker
        # lines on what bends would read as wrinkles
        hatched = size > LARGE and layer.motion.local is None and layer.clip is None

        def paint(x: Tensor, y: Tensor) -> RGB:
            light = _lightness(layer.paint(x, y))
            stain = 1 + 0.15 * torch.sin(5 * x + 3 * torch.sin(4 * y + phase)) * torch.sin(6 * y - 2 * x + phase)
            tone = sum(step(light - edge, 0.1) for edge in (0.66, 0.4, 0.14)) * (share * stain)
            if hatched:
                tone = tone + 0.5 * step(light - 0.33, 0.12) * hatching(x, y)
            else:
                tone = tone + 0.5 * step(light - 0.16, 0.06)
            if layer.clip is None:
                pressed = width * (1 + 0.3 * torch.sin(7 * x + 5 * y + phase)) if size > LARGE else width
                tone = torch.maximum(tone, step(layer.shape(x, y).abs() - pressed, 0.014))
            return mix(paper, pen, tone.clamp(max=1))

        return replace(layer, paint=paint)

    def sheet(x: Tensor, y: Tensor) -> RGB:
        wash = step(_lightness(layers[0].paint(x, y)) - 0.72, 0.1)
        fibres = torch.sin(23 * x + 4 * torch.sin(17 * y)) * torch.sin(29 * y + phase)
        corner = step(0.9 - (y * 0.7 - x * lean), 0.9) * hatching(x, y)
        return mix(paper, pen, 0.13 * wash + 0.012 * fibres + 0.35 * corner)

    return [replace(layers[0], paint=sheet), *map(drawn, layers[1:])]


def night(layers: list[Layer], rng: np.random.Generator) -> list[Layer]:
    """A street at night: one coloured light from a side, a rim of another from behind, lamps out of focus."""
    key_rgb, rim_rgb = (colour(rgb) for rgb in NIGHTS[rng.integers(len(NIGHTS))])
    side = 1.0 if rng.random() < 0.5 else -1.0
    lamps = rng.uniform((-1, -1, 0.05, 0.12), (1, 0.5, 0.16, 0.35), (9, 4)).tolist()  # x, y, radius, strength
    key = _Lamp(side, -0.35, 0.55, key_rgb)
    ambient = colour((0.10, 0.11, 0.24))

    def lit(layer: Layer) -> Layer:
        normal, size = _cushion(layer), _half_size(layer)

        def paint(x: Tensor, y: Tensor) -> RGB:
            rgb, n = layer.paint(x, y), normal(x, y)
            rgb = _faded(rgb, 0.75).clamp(min=0.004)
            rgb = 0.5 * (rgb + rgb.sqrt())  # long exposure: more in the shadows
            shine = ambient + key.rgb * (1.15 * key.on(n))
            if size > LARGE:
                rim = (1 - n[2]).clamp(min=0) * (-side * n[0]).clamp(min=0)
                return rgb * shine + rim_rgb * (1.3 * rim).clamp(max=0.8) * (0.3 + rgb)
            return rgb * shine

        return replace(layer, paint=paint)

    def street(x: Tensor, y: Tensor) -> RGB:
        rgb = mix(colour((0.02, 0.03, 0.09)), colour((0.10, 0.08, 0.19)), ((y + 1) / 2).clamp(0, 1))
        halo = torch.exp(-1.6 * ((x - 0.5 * side).square() + (y + 0.1).square()))
        rgb = rgb + key_rgb * (0.16 * halo)
        for k, (u, v, radius, strength) in enumerate(lamps):
            far = (x - u).hypot(y - v)
            disc = step(far - radius, 0.04) * (0.55 + 0.45 * (far / radius).square().clamp(max=1))
            rgb = rgb + (key_rgb if k % 2 else rim_rgb) * (strength * disc)
        return rgb

    return [replace(layers[0], paint=street), *map(lit, layers[1:])]


def photo(layers: list[Layer], rng: np.random.Generator) -> list[Layer]:
    """A studio photograph: one large soft light, soft outlines, a background out of focus, film grain."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    warm = rng.uniform(-1, 1)
    lamp = _Lamp(0.55 * side, -0.7, 0.75, colour((1 + 0.05 * warm, 1.0, 1 - 0.07 * warm)))
    shadow = colour((0.30 - 0.02 * warm, 0.30, 0.34 + 0.02 * warm))

    def taken(layer: Layer) -> Layer:
        normal, size = _cushion(layer), _half_size(layer)

        def paint(x: Tensor, y: Tensor) -> RGB:
            rgb, n = layer.paint(x, y), normal(x, y)
            rgb = _faded(rgb, 0.72)
            on = lamp.on(n)
            gloss = on.square().square().square().square()
            return rgb * (shadow + lamp.rgb * (0.92 * on)) + 0.10 * gloss + 0.03 * _grain(x, y)

        return replace(layer, paint=paint, softness=max(layer.softness, 0.045 if size > LARGE else 0.0))

    def blurred(x: Tensor, y: Tensor) -> RGB:
        turns = [(0.24 * math.sqrt(k / 13), 2.4 * k) for k in range(13)]  # a spiral that fills a disc
        seen = (layers[0].paint(x + r * math.cos(a), y + r * math.sin(a)) for r, a in turns)
        rgb = _faded(torch.as_tensor(sum(seen) / len(turns)), 0.45)
        glow = torch.exp(-0.9 * ((x - 0.4 * side).square() + (y + 0.2).square()))
        return rgb * (0.22 + 0.55 * glow) + 0.02 * _grain(x, y)

    return [replace(layers[0], paint=blurred), *map(taken, layers[1:])]


LOOKS: dict[str, Callable[[list[Layer], np.random.Generator], list[Layer]]] = {
    "ink": ink,
    "night": night,
    "photo": photo,
}


@dataclass(frozen=True)
class _Lamp:
    """A light far away: where it stands (x right, y down, z towards the viewer), its colour."""

    x: float
    y: float
    z: float
    rgb: RGB

    def on(self, normal: tuple[Points, Points, Points]) -> Points:
        """How much of it a surface gets, from 0 to 1."""
        length = math.hypot(self.x, self.y, self.z)
        nx, ny, nz = normal
        return ((self.x * nx + self.y * ny + self.z * nz) / length).clamp(min=0)


def _half_size(layer: Layer) -> float:
    x0, y0, x1, y1 = layer.box
    return min(x1 - x0, y1 - y0) / 2


def _lightness(rgb: RGB) -> Float[Tensor, "..."]:
    return 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]


def _faded(rgb: RGB, share: float) -> RGB:
    """With only a share of its colourfulness."""
    grey = _lightness(rgb)
    return grey + share * (rgb - grey)


def _grain(x: Points, y: Points) -> Points:
    """Noise from -1 to 1 that every machine computes alike: sines of sines."""
    return torch.sin(57 * x + 5 * torch.sin(41 * y)) * torch.sin(53 * y + 5 * torch.sin(37 * x))


def _cushion(layer: Layer) -> Callable[[Tensor, Tensor], tuple[Points, Points, Points]]:
    """Normals of a surface that rises from the shape's edge like a cushion, on a ball as large as the scene.

    What is cut to another shape has no edge of its own, and lies flat on the ball.
    """
    depth = min(0.8 * _half_size(layer), 0.42)

    def normal(x: Tensor, y: Tensor) -> tuple[Points, Points, Points]:
        nx, ny = 0.6 * x.clamp(-1, 1), 0.35 * y.clamp(-1, 0.6)
        if layer.clip is None:
            distance = layer.shape(x, y)
            steep = (1 + distance / depth).clamp(0, 1) * (0.75 / STEP)
            nx = nx + steep * (layer.shape(x + STEP, y) - distance).clamp(-STEP, STEP)
            ny = ny + steep * (layer.shape(x, y + STEP) - distance).clamp(-STEP, STEP)
        return nx, ny, (1 - nx.square() - ny.square()).clamp(min=0.02).sqrt()

    return normal
