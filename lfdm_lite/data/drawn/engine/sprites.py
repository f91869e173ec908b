"""Layers that move as one, drawn once: a picture of them all, and a single layer that shows it.

A head has a dozen layers. Where none of them moves on its own, their picture in canonical coordinates is the same in
every frame; to look colours up in it is much cheaper than to draw them again.
"""

from collections.abc import Sequence
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from .scenes import Layer, LayerMotion, mix


def merged(layers: Sequence[Layer], motion: LayerMotion, texel: float) -> Layer:
    """One layer that looks like several ones at rest and moves with `motion`.

    Args:
        layers: back to front, in the same canonical coordinates; their own motions are left out.
        motion: of all.
        texel: the spacing of the picture's points in canonical units; about a pixel, or a little less.

    Raises:
        ValueError: if there is no layer.
    """
    if not layers:
        raise ValueError("there is nothing to merge; give at least one layer")
    low = [min(layer.box[k] for layer in layers) - 2 * texel for k in (0, 1)]
    high = [max(layer.box[k] for layer in layers) + 2 * texel for k in (2, 3)]
    width, height = (ceil((b - a) / texel) for a, b in zip(low, high, strict=True))
    x = (low[0] + (torch.arange(width) + 0.5) / width * (high[0] - low[0])).expand(1, height, width)
    y = (low[1] + (torch.arange(height) + 0.5) / height * (high[1] - low[1]))[:, None].expand(1, height, width)
    picture, distance = layers[0].paint(x, y).expand(3, 1, height, width), torch.full_like(x, 1e3)
    for layer in layers:
        inside = layer.shape(x, y)
        if layer.clip:
            inside = torch.maximum(inside, layer.clip.shape(x, y))
        if layer.opacity > 0.5:
            distance = torch.minimum(distance, inside)
        covers = (0.5 - inside / texel).clamp(0, 1) * layer.opacity
        if not covers.any():  # as the inside of a closed mouth
            continue
        if layer.opacity > 0.5:  # no fringe: the outermost layer colours its whole edge, and the edge is cut later
            covers = torch.where(distance == inside, (covers > 0).float(), covers)
        picture = mix(picture, layer.paint(x, y), covers)
    both = torch.cat([distance[None], picture]).transpose(0, 1)  # (1, 4, height, width)

    def look_up(texture: Tensor, x: Tensor, y: Tensor) -> Tensor:
        x, y = torch.broadcast_tensors(x, y)
        place = torch.stack(
            [(x - low[0]) * (2 / (high[0] - low[0])) - 1, (y - low[1]) * (2 / (high[1] - low[1])) - 1], -1
        )
        found = F.grid_sample(texture, place.flatten(0, 1)[None], padding_mode="border", align_corners=False)
        return found[0].unflatten(1, x.shape[:2])

    return Layer(
        lambda x, y: look_up(both[:, :1], x, y)[0],
        lambda x, y: look_up(both[:, 1:], x, y),
        motion,
        (low[0], low[1], high[0], high[1]),
    )
