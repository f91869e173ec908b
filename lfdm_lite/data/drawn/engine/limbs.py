"""Arms and legs for `scenes`: tapering segments that turn and foreshorten between two moving joints.

A joint is a track: its place in the image, frame by frame. A segment's canonical coordinates start at (0, 0), the first
joint, and run down y to (0, length), the second one. Between two joints that come closer the segment gets shorter, as a
limb does that turns towards the viewer; its width stays.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .scenes import Field, Layer, LayerMotion

Track = Float[Tensor, "t 2"]  # a joint's place in normalized image coordinates, frame by frame
SHORTEST = 0.15  # of the length: a segment that points at the viewer is a stub, not a line


def bone(start: Track, end: Track, length: float, width: Tensor | float = 1.0) -> LayerMotion:
    """The motion that lays the canonical segment from (0, 0) to (0, length) between two tracks.

    Args:
        length: of the segment in canonical units, those of the image; above 0.
        width: a scale across the segment, (t,) if it changes: a trunk that turns sideways gets narrower.
    """
    along = end - start
    found = along.norm(dim=-1, keepdim=True)
    direction = along / found.clamp(min=1e-6)
    stretch = (found / length).clamp(min=SHORTEST)
    across = torch.stack([direction[:, 1], -direction[:, 0]], -1)  # a quarter turn: x when the segment hangs down
    across = across * torch.as_tensor(width)[..., None]
    return LayerMotion(torch.stack([across, direction * stretch, start], -1))


def limb(
    start: Track, end: Track, length: float, radii: tuple[float, float], paint: Field, width: Tensor | float = 1.0
) -> Layer:
    """A segment with round ends.

    Args:
        length, width: see `bone`.
        radii: half its width at the first and the second joint.
        paint: in canonical coordinates.
    """
    first, second = radii
    widest = max(radii)
    box = (-widest, -first, widest, length + second)
    shape = lambda x, y: taper(x, y, length, first, second)  # noqa: E731
    return Layer(shape, paint, bone(start, end, length, width), box)


def taper(x: Tensor, y: Tensor, length: float, first: float, second: float) -> Tensor:
    """Signed distance to a segment down y whose half width goes from `first` to `second`, with round ends."""
    along = (y / length).clamp(0, 1)
    return x.hypot(y - along * length) - (first + (second - first) * along)


def turned(angles: Sequence[Tensor], lengths: Sequence[Tensor | float], start: Track) -> list[Track]:
    """A chain of joints: each segment hangs at its own angle from the end of the one before.

    Args:
        angles: (t,) radians for each segment, 0 down, growing towards +x (right in the image).
        lengths: of each segment, in image units; may be (t,) for one that foreshortens.
        start: the first joint.

    Returns:
        the end of every segment.
    """
    joints = []
    for angle, length in zip(angles, lengths, strict=True):
        start = start + torch.stack([angle.sin(), angle.cos()], -1) * torch.as_tensor(length)[..., None]
        joints.append(start)
    return joints
