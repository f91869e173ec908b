"""What a scene owes, measured: flow that finds the colours again, and visibility that a depth test confirms.

Both know what the layers look like and where they are, and neither uses `render`'s formula for flow or its table of
owners in frame 0. Nothing in them is about a certain layer, so that both hold for one's own.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ....geometry import identity_grid, sample_at
from .scenes import Clip, Layer, LayerMotion, render

FINER = 5  # edges are thin on drawings that are finer by this factor; odd, so that pixel centres stay pixel centres
CONTRAST = 0.15  # colours within a window that differ by more belong to an edge


def colours_apart(
    layers: Sequence[Layer], flow: Float[Tensor, "2 t h w"], visible: Bool[Tensor, "1 t h w"]
) -> tuple[float, float]:
    """Mean colour difference between frames and frame 0: at the places that the flow names, and without following it.

    Only where something moves by a pixel or more, is visible, and is away from edges, where a pixel mixes two colours.

    Args:
        layers: the scene, back to front.
        flow: backward, to frame 0, normalized; square frames.
        visible: whether frame 0 shows a pixel.
    """
    size, frames = flow.shape[-1], flow.shape[1]
    fine = render(layers, FINER * size, frames).video
    calm, middle = _away_from_edges(fine), (..., slice(FINER // 2, None, FINER), slice(FINER // 2, None, FINER))
    places = (identity_grid(size, size)[:, None] + flow).transpose(0, 1)
    first = torch.cat([fine[:, 0], calm[:1].float()]).expand(frames, -1, -1, -1)
    found = sample_at(first, places).transpose(0, 1)
    use = visible[0] & calm[middle] & (found[3] > 0.999) & (flow.norm(dim=0) > 2 / size)
    along, still = found[:3] - fine[middle], fine[middle][:, :1] - fine[middle]
    return along.abs().mean(0)[use].mean().item(), still.abs().mean(0)[use].mean().item()


def depth_test(
    layers: Sequence[Layer], flow: Float[Tensor, "2 t h w"], owner: Int[Tensor, "t h w"]
) -> Bool[Tensor, "1 t h w"]:
    """Visibility in frame 0, asked of every layer at the exact place that the flow names; the last one there is on top.

    `render` rounds that place to a third of a pixel, and so differs from this at the rims of layers.

    Args:
        layers: the scene, back to front.
        flow: backward, to frame 0, normalized; square frames.
        owner: index of the layer on top of each pixel.
    """
    place = identity_grid(*owner.shape[1:])[:, None] + flow
    on_top = torch.zeros_like(owner)
    for index, layer in enumerate(layers):
        if index > 0 and layer.opacity > 0.5:
            there = _inside(layer, place)
            on_top.masked_fill_(there & _inside(layer.clip, place) if layer.clip else there, index)
    return ((on_top == owner) & (place.abs().amax(0) <= 1))[None]


def fault(layer: Layer, num_frames: int) -> str | None:
    """What is most often wrong with a new layer, in a sentence; None if it is none of these."""
    distance = layer.shape(*identity_grid(64, 64)[:, None])
    if distance.dtype == torch.bool or not (distance < 0).any():
        return "the shape is nowhere negative: it must be a signed distance, negative inside, and no mask"
    far = torch.full((1, 1, 1), 9.0)
    if (layer.shape(far, far) < 0).any():
        return "the shape is negative far away, so it covers everything: the sign is the other way round"
    if (given := len(layer.motion.to_image)) not in (1, num_frames):
        return f"the layer moves for {given} frames, the scene has {num_frames} (or give 1: at rest)"
    return None


def _inside(part: Layer | Clip, place: Float[Tensor, "2 t h w"]) -> Bool[Tensor, "t h w"]:
    """Whether a shape covers places in frame 0, where every motion is affine; frame by frame, since it may change."""
    at_rest = LayerMotion(part.motion.to_image[:1])
    return torch.stack([part.shape(*at_rest.to_canonical(*p[:, None]))[0] < 0 for p in place.unbind(1)])


def _away_from_edges(video: Float[Tensor, "3 t h w"]) -> Bool[Tensor, "t h w"]:
    """All colours within a window of `FINER` pixels are much the same."""
    frames = video.transpose(0, 1)
    highest, lowest = (sign * F.max_pool2d(sign * frames, FINER, 1, FINER // 2) for sign in (1, -1))
    return (highest - lowest).amax(1) < CONTRAST
