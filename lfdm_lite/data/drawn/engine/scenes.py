"""A small renderer that knows where everything came from: layers of signed-distance shapes, each with its own motion.

A scene is a list of layers from back to front. A layer is drawn in coordinates of its own, the *canonical* ones, in
which it never changes. A motion carries it into the image: an affine map for every frame, and, where affine is not
enough, a *local* backward displacement of the canonical coordinates. Frame 0 is at rest: there the local part is the
identity, so the way from canonical coordinates into frame 0 is affine and known in closed form.

So a pixel of frame k knows its source: image, frame k -> canonical (inverse motion) -> image, frame 0 (forward affine
of frame 0). The difference of the two positions is the true backward flow, and the source was visible if the same
layer is on top at that place in frame 0.

Positions are normalized: the image spans [-1, 1], x to the right, y down, pixel centres as in `geometry`.
To write a new set: write its shapes, its paints and its motions, put them in a list, call `render`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ....geometry import identity_grid

Points = Float[Tensor, "*points"]  # one number for every point
Field = Callable[[Tensor, Tensor], Tensor]  # canonical x, y -> a number at each point (or three, stacked: a colour)


@dataclass(frozen=True)
class LayerMotion:
    """How canonical coordinates lie in the image, frame by frame."""

    to_image: Float[Tensor, "t 2 3"]  # affine, canonical -> image; t is the number of frames, or 1: never moves
    local: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None  # backward; the identity in frame 0
    reach: float = 0.0  # the farthest that `local` moves anything, in canonical units

    def to_canonical(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse motion: image positions (broadcastable to t h w) to canonical coordinates."""
        (a, b, u), (c, d, v) = (row.unbind(-1) for row in self.to_image[..., None, None, :].unbind(1))
        det = a * d - b * c
        x, y = (  # what depends on a column, or on a row, is computed once for all of it
            ((d / det) * x + (b * v - d * u) / det) - (b / det) * y,
            ((c * u - a * v) / det - (c / det) * x) + (a / det) * y,
        )
        return self.local(x, y) if self.local else (x, y)

    def to_rest(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Canonical coordinates to positions in frame 0, where only the affine part acts."""
        (a, b, u), (c, d, v) = self.to_image[0].tolist()
        return (a * x).add_(y, alpha=b).add_(u), (c * x).add_(y, alpha=d).add_(v)


@dataclass(frozen=True)
class Clip:
    """What a layer is cut to: a shape that moves in its own way, as an eye opening does over an iris."""

    shape: Field
    motion: LayerMotion


@dataclass(frozen=True)
class Layer:
    """One thing in the scene: a shape, its paint, its motion."""

    shape: Field  # signed distance in canonical units, negative inside
    paint: Field  # colour in [0, 1], shape (3, ...) broadcastable to (3, t, h, w)
    motion: LayerMotion
    box: tuple[float, float, float, float]  # canonical x0, y0, x1, y1 that holds the whole shape
    clip: Clip | None = None
    opacity: float = 1.0  # a layer at 0.5 or below tints, and owns no pixel
    softness: float = 0.0  # width of the edge in canonical units, one pixel at least
    part: str = ""  # what it is of, such as "eyes"; for those who measure, drawing does not look at it


def named(part: str, layers: Iterable[Layer]) -> list[Layer]:
    """The layers, all of one part."""
    return [replace(layer, part=part) for layer in layers]


class Rendered(NamedTuple):
    """A clip and where it came from."""

    video: Float[Tensor, "3 t h w"]  # RGB in [0, 1]
    flow: Float[Tensor, "2 t h w"]  # backward, to frame 0, normalized
    visible: Bool[Tensor, "1 t h w"]  # the source of this pixel can be seen in frame 0
    owner: Int[Tensor, "t h w"]  # index of the layer on top, the last one whose opacity is above one half


def render(layers: Sequence[Layer], size: int, num_frames: int) -> Rendered:
    """Draw a scene, with its true backward flow and visibility with respect to frame 0.

    Args:
        layers: back to front; the first one must fill the image.
        size: height and width in pixels.
        num_frames: frames of the clip; every motion has this many, or one if it never moves.

    Raises:
        ValueError: if there is no layer, or a motion has another number of frames.

    Source: the layered video representation, with signed-distance shapes; LFDM's convention of backward flow.
    """
    if not layers:
        raise ValueError("a scene needs at least one layer; the first one is the background")
    grid = identity_grid(size, size)
    shape = (num_frames, size, size)
    video = torch.zeros(3, *shape)
    rest = grid[:, None].repeat(1, num_frames, 1, 1)  # where this pixel is in frame 0
    owner = torch.zeros(shape, dtype=torch.int16)
    for index, layer in enumerate(layers):
        if layer.motion.to_image.shape[0] not in (1, num_frames):
            given = layer.motion.to_image.shape[0]
            raise ValueError(f"layer {index} moves for {given} frames, the clip has {num_frames} (or give 1: at rest)")
        rows, cols = _window(layer, size)
        if rows.start >= rows.stop or cols.start >= cols.stop:
            continue
        here = (slice(None), rows, cols)
        x_image, y_image = grid[0, :1, cols], grid[1, rows, :1]
        x, y = layer.motion.to_canonical(x_image, y_image)
        alpha = _coverage(layer.shape(x, y), layer.motion, size, layer.softness)
        if layer.clip:
            x_clip, y_clip = layer.clip.motion.to_canonical(x_image, y_image)
            alpha = torch.minimum(alpha, _coverage(layer.clip.shape(x_clip, y_clip), layer.clip.motion, size))
        alpha = alpha * layer.opacity if layer.opacity < 1 else alpha
        if index == 0:
            video[:] = layer.paint(x, y)
        else:
            video[(slice(None), *here)].lerp_(layer.paint(x, y), alpha)
        if layer.opacity > 0.5:
            on_top = alpha > 0.5
            owner[here].masked_fill_(on_top, index)
            for axis, position in enumerate(layer.motion.to_rest(x, y)):
                rest[axis][here] = torch.where(on_top, position, rest[axis][here])
    flow = rest - grid[:, None]
    flow[:, 0] = 0.0  # at rest by construction; this only removes rounding
    return Rendered(video.clamp_(0, 1), flow, _visible(rest, owner, _owner_at_rest(layers, 3 * size)), owner)


def _coverage(distance: Tensor, motion: LayerMotion, size: int, softness: float = 0.0) -> Tensor:
    """How much of a pixel a shape covers: a ramp of one pixel of frame 0 (or of `softness`) across its edge.

    The ramp is measured at rest alone: a layer that grows to twice its size has an edge of two pixels.
    """
    (a, b, _), (c, d, _) = motion.to_image[0].tolist()
    pixel = 2 / size / math.sqrt(abs(a * d - b * c))
    return (0.5 - distance / max(pixel, softness)).clamp_(0, 1)


def _window(layer: Layer, size: int) -> tuple[slice, slice]:
    """Rows and columns that hold a layer in every frame."""
    x0, y0, x1, y1 = layer.box
    grow = layer.motion.reach + layer.softness
    x0, y0, x1, y1 = x0 - grow, y0 - grow, x1 + grow, y1 + grow
    corners = np.array([[x0, x0, x1, x1], [y0, y1, y0, y1], [1.0, 1.0, 1.0, 1.0]])
    places = layer.motion.to_image.numpy() @ corners  # t 2 4; numpy, since so few numbers take torch ten times as long
    low = np.floor(((places.min((0, 2)) + 1) * size - 1) / 2 - 1).clip(0, size).astype(int).tolist()
    high = np.ceil(((places.max((0, 2)) + 1) * size - 1) / 2 + 2).clip(0, size).astype(int).tolist()
    return slice(low[1], high[1]), slice(low[0], high[0])


def _owner_at_rest(layers: Sequence[Layer], size: int) -> Int[Tensor, "h w"]:
    """Who owns the pixels of frame 0 at some resolution, without painting it; there every motion is affine."""
    grid, owner = identity_grid(size, size), torch.zeros(size, size, dtype=torch.int16)
    still = lambda motion: LayerMotion(motion.to_image[:1])  # noqa: E731
    for index, layer in enumerate(layers):
        if index == 0 or layer.opacity <= 0.5:
            continue
        rows, cols = _window(replace(layer, motion=still(layer.motion)), size)
        x_image, y_image = grid[0, :1, cols], grid[1, rows, :1]
        inside = layer.shape(*still(layer.motion).to_canonical(x_image, y_image))[0] < 0
        if layer.clip:
            inside = inside & (layer.clip.shape(*still(layer.clip.motion).to_canonical(x_image, y_image))[0] < 0)
        owner[rows, cols].masked_fill_(inside, index)
    return owner


def _visible(rest: Tensor, owner: Tensor, owner_at_rest: Tensor) -> Tensor:
    """Whether the place in frame 0 is inside the image and shows the same layer (to a third of a pixel)."""
    size = owner_at_rest.shape[-1]
    column, row = (((rest + 1) * size - 1) / 2).round_().int().unbind(0)
    inside = rest.abs().amax(0) <= 1
    source = owner_at_rest.flatten()[row.clamp_(0, size - 1) * size + column.clamp_(0, size - 1)]
    return (inside & (source == owner))[None]


def affine(
    scale: Tensor | float = 1.0, angle: Tensor | float = 0.0, x: Tensor | float = 0.0, y: Tensor | float = 0.0
) -> Float[Tensor, "t 2 3"]:
    """Affine maps that scale, then turn (radians, clockwise on screen), then shift; one for every frame given."""
    size, turn, right, down = torch.broadcast_tensors(
        *(torch.as_tensor(v, dtype=torch.float32).reshape(-1) for v in (scale, angle, x, y))
    )
    cos, sin = size * turn.cos(), size * turn.sin()
    return torch.stack([torch.stack([cos, -sin, right], -1), torch.stack([sin, cos, down], -1)], 1)


def everywhere(x: Points, y: Points) -> Points:
    """The shape of a background."""
    return torch.full_like(x + y, -1e3)


def ellipse(x: Points, y: Points, rx: float, ry: float) -> Points:
    """Signed distance to an ellipse at the origin: exact on its edge, first order beside it."""
    x, y = x / rx, y / ry
    k = x.square() + y.square() + 1e-9
    return (k - k.sqrt()) / ((x / rx).square() + (y / ry).square() + 1e-9).sqrt()


def rectangle(x: Points, y: Points, rx: Tensor | float, ry: float, corner: float = 0.0) -> Points:
    """Signed distance to a rectangle at the origin with half sides rx, ry and rounded corners."""
    dx, dy = x.abs() - (rx - corner), y.abs() - (ry - corner)
    return dx.clamp(min=0).hypot(dy.clamp(min=0)) + torch.maximum(dx, dy).clamp(max=0) - corner


def capsule(x: Points, y: Points, ax: float, ay: float, bx: float, by: float, radius: float) -> Points:
    """Signed distance to a line from a to b with round ends."""
    ux, uy = bx - ax, by - ay
    along = (((x - ax) * ux + (y - ay) * uy) / (ux * ux + uy * uy + 1e-9)).clamp(0, 1)
    return (x - ax - along * ux).hypot(y - ay - along * uy) - radius


def bump(x: Points, y: Points, cx: Tensor | float, cy: Tensor | float, rx: float, ry: float) -> Points:
    """A smooth hill of height 1 at (cx, cy) whose widths are rx and ry."""
    return ((x - cx).mul(1 / rx).square() + (y - cy).mul(1 / ry).square()).mul_(-0.5).clamp_(min=-40).exp_()


def bumps(
    x: Float[Tensor, "t h w"], y: Float[Tensor, "t h w"], hills: Float[Tensor, "_ k 4"], weights: Float[Tensor, "_ m k"]
) -> Float[Tensor, "m t h w"]:
    """Weighted sums of many smooth hills of height 1 at once: fields for displacement and shading.

    Args:
        x, y: (t, h, w) coordinates.
        hills: (t or 1, k, 4), a row a hill: its centre x, y and its widths (standard deviations) in x and y.
        weights: (t or 1, m, k), a row a sum.
    """
    t, h, w = x.shape
    centre, sharp = hills[..., :2], hills[..., 2:].reciprocal().square()
    # -((x - cx) / rx)^2 / 2 - ((y - cy) / ry)^2 / 2 is linear in x^2, y^2, x, y: one matrix product for all hills
    slope = torch.cat([-0.5 * sharp, sharp * centre], -1).expand(t, -1, -1)
    height = (-0.5 * sharp * centre.square()).sum(-1, keepdim=True)
    features = torch.stack([x.square(), y.square(), x, y], 1).flatten(2)
    heights = torch.baddbmm(height, slope, features).clamp_(min=-40).exp_()  # below, exp is slow and the sum unchanged
    return torch.bmm(weights.expand(t, -1, -1), heights).unflatten(2, (h, w)).transpose(0, 1)


def colour(rgb: Iterable[float]) -> Float[Tensor, "3 1 1 1"]:
    """A colour that broadcasts over frames and pixels."""
    return torch.tensor(tuple(rgb), dtype=torch.float32)[:, None, None, None]


def mix(
    first: Float[Tensor, "3 ..."], second: Float[Tensor, "3 ..."], amount: Tensor | float
) -> Float[Tensor, "3 ..."]:
    """From the first colour (amount 0) to the second (amount 1)."""
    return first + (second - first) * amount


def step(distance: Points, width: float) -> Points:
    """1 inside a shape, 0 outside, with a ramp of `width` between: a shape as paint."""
    return (0.5 - distance / width).clamp(0, 1)
