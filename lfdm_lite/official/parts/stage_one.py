"""The parts of the published auto-encoder that ours has in another form; `autoencoder` puts them in place.

They know nothing of the networks around them. Docstrings say in what they differ from ours.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...geometry import Outside, RandomTransform, identity_grid, in_float32, resize, warp
from ...motion import Motion
from ...regions import Regions

# Coordinates


def corner_grid(h: int, w: int, device: torch.device | str | None = None) -> Float[Tensor, "2 {h} {w}"]:
    """Coordinates that put the centres of the outermost pixels at -1 and 1.

    Sampling takes -1 and 1 for the image's edges, half a pixel further out. So whoever looks up its own position on
    this grid sees the image shrunk by w / (w - 1) instead of itself.
    """
    x = torch.linspace(-1, 1, w, device=device)
    y = torch.linspace(-1, 1, h, device=device)
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)])


def resize_positions(flow: Float[Tensor, "b 2 *t h w"], size: int | tuple[int, int]) -> Float[Tensor, "b 2 *t h2 w2"]:
    """Resize a flow as absolute positions: identity added, bilinear resizing, identity taken away.

    Inside the image this is what resizing the displacement gives. In the outermost half of a coarse pixel bilinear
    resizing repeats the border, which is right for a displacement and holds positions still.
    """
    height, width = (size, size) if isinstance(size, int) else size
    h, w = flow.shape[-2:]
    if (h, w) == (height, width):
        return flow
    flat = flow.transpose(1, 2).flatten(0, 1) if flow.ndim == 5 else flow
    positions = flat + identity_grid(h, w, flow.device)
    positions = F.interpolate(positions, size=(height, width), mode="bilinear", align_corners=False)
    flat = positions - identity_grid(height, width, flow.device)
    return flat.unflatten(0, (flow.shape[0], flow.shape[2])).transpose(1, 2) if flow.ndim == 5 else flat


class TaxicabTransform(RandomTransform):
    """A random affine map plus a spline whose radial function is r² log r of the distance r = |dx| + |dy|.

    The thin-plate spline's r is the Euclidean distance; this one bends along the axes. Images are looked up at the
    corner grid's positions. Arguments are those of `RandomTransform`.

    Source: LFDM's published numbers, stage one: the transform of the equivariance loss.
    """

    grid_of = staticmethod(corner_grid)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.control_points = self.control_points.flip(-1)  # x runs faster than y

    @in_float32
    def __call__(self, points: Float[Tensor, "b2 n 2"]) -> Float[Tensor, "b n 2"]:
        moved = points @ self.affine[:, :, :2].mT + self.affine[:, None, :, 2]
        r = (points[:, :, None] - self.control_points).abs().sum(-1)
        bend = r**2 * torch.log(r + 1e-6)
        return moved + bend @ self.weights[..., None]

    @in_float32
    def jacobian(self, points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n 2 2"]:
        offset = points[:, :, None] - self.control_points
        r = offset.abs().sum(-1)
        slope = 2 * r * torch.log(r + 1e-6) + r**2 / (r + 1e-6)
        gradient = (offset.sign() * (slope * self.weights[:, None])[..., None]).sum(2)
        return self.affine[:, None, :, :2] + gradient[:, :, None, :]


# Images


class StridedGaussian(nn.Module):
    """Blur with a Gaussian of sigma = (factor - 1) / 2 pixels, zeros around the image, then keep every factor-th pixel.

    The kept pixels are the first of their blocks, not the blocks' centres: the result lies (factor - 1) / 2 pixels to
    the upper left of where the image is. Zeros darken the border.

    Args:
        factor: whole-number reduction of height and width; 1 does nothing.

    Args of `forward`:
        size: of the result, for those who know it beforehand.

    Raises:
        ValueError: if the result has another size.
    """

    kernel: Tensor

    def __init__(self, channels: int, factor: int):
        super().__init__()
        self.factor, self.channels = factor, channels
        sigma = max((factor - 1) / 2, 1e-3)
        self.border = round(4 * sigma)
        offset = torch.arange(2 * self.border + 1, dtype=torch.float32) - self.border
        kernel = torch.exp(-(offset**2) / (2 * sigma**2))
        kernel = torch.outer(kernel, kernel)
        kernel = (kernel / kernel.sum()).expand(channels, 1, -1, -1).contiguous()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"], size: tuple[int, int] | None = None) -> Float[Tensor, "b c h2 w2"]:
        small = F.conv2d(x, self.kernel.to(x.dtype), stride=self.factor, padding=self.border, groups=self.channels)
        if size is not None and small.shape[-2:] != size:
            raise ValueError(f"{tuple(x.shape[-2:])} reduced by {self.factor} is {tuple(small.shape[-2:])}, not {size}")
        return small


# Regions


class RegressedFrames(nn.Module):
    """Frames that are read from the features, not from the heat maps' spread; the covariance is then A A^T.

    One 2x2 matrix per pixel, the same for all regions; each region takes its heat map's mean of it.

    Args of `forward`:
        features, heatmap: of the region predictor, of the same size; features as the logits' convolution sees them.

    Source: LFDM's published numbers, stage one; regression instead of principal axes, as in Siarohin et al. 2019,
    "First Order Motion Model for Image Animation".
    """

    def __init__(self, channels: int, padding: int):
        super().__init__()
        self.to_matrix = nn.Conv2d(channels, 4, 7, padding=padding)

    def forward(
        self, heatmap: Float[Tensor, "b k h w"], features: Float[Tensor, "b c hf wf"]
    ) -> tuple[Float[Tensor, "b k 2 2"], Float[Tensor, "b k 2 2"]]:
        matrix = self.to_matrix(features).float()
        affine = torch.einsum("bkhw,bchw->bkc", heatmap, matrix).unflatten(-1, (2, 2))
        return affine @ affine.mT, affine


# Motions


def sign_of_first(matrix: Float[Tensor, "*n 2 2"]) -> Float[Tensor, "*n"]:
    """The sign that makes the first entry positive.

    A turn by nearly a right angle has a first entry near 0: a small change of the regions may flip the motion.
    """
    return matrix[..., 0, 0].sign()


def no_sign(matrix: Float[Tensor, "*n 2 2"]) -> Float[Tensor, "*n"]:
    """The matrix as it is, whichever way the two axes happened to point."""
    return torch.ones_like(matrix[..., 0, 0])


@in_float32
def round_heatmaps(
    regions: Regions, h: int, w: int, variance: float = 0.01, grid_of: Callable[..., Tensor] = corner_grid
) -> Float[Tensor, "b k {h} {w}"]:
    """One bump of height 1 per region, equally wide in all directions: exp(-|z - shift|² / (2 variance))."""
    offset = grid_of(h, w, regions.shift.device) - regions.shift[..., None, None]
    return torch.exp(-offset.square().sum(2) / (2 * variance))


class Affine(nn.Module):
    """Six numbers are the background's affine map, row by row; `rest` are those of the identity."""

    rest = (1.0, 0, 0, 0, 1, 0)

    def forward(self, numbers: Float[Tensor, "b 6"]) -> Float[Tensor, "b 2 3"]:
        return numbers.view(-1, 2, 3)


class Shift(nn.Module):
    """Two numbers are the background's translation."""

    rest = (0.0, 0.0)

    def forward(self, numbers: Float[Tensor, "b 2"]) -> Float[Tensor, "b 2 3"]:
        turn = torch.eye(2, device=numbers.device).expand(len(numbers), 2, 2)
        return torch.cat([turn, numbers[..., None]], dim=-1)


class Perspective(nn.Module):
    """Eight numbers and a 1 are the background's homography, row by row."""

    rest = (1.0, 0, 0, 0, 1, 0, 0, 0)

    def forward(self, numbers: Float[Tensor, "b 8"]) -> Float[Tensor, "b 3 3"]:
        return torch.cat([numbers, torch.ones_like(numbers[:, :1])], dim=-1).view(-1, 3, 3)


@in_float32
def projective_motion(matrix: Float[Tensor, "b 3 3"], grid: Float[Tensor, "2 h w"]) -> Float[Tensor, "b 2 h w"]:
    """Where a homography sends the positions of a grid."""
    x = torch.einsum("bij,jhw->bihw", matrix[:, :, :2], grid) + matrix[:, :, 2, None, None]
    return x[:, :2] / x[:, 2:]


# Decoder


def fetch(
    features: Float[Tensor, "b c h w"], motion: Motion, resize_flow: Callable[..., Tensor], outside: Outside
) -> tuple[Float[Tensor, "bt c h w"], Float[Tensor, "bt 1 h w"]]:
    """`autoencoder.fetch`, and the mask.

    Args:
        resize_flow: brings the flow to the features' size.
        outside: what lies around the features.
    """
    h, w = features.shape[-2:]
    flow, occlusion = resize_flow(motion.flow, (h, w)), resize(motion.occlusion, (h, w)).to(features.dtype)
    masked = warp(features, flow, occlusion, outside)
    masked, mask = (m if m.ndim == 4 else m.transpose(1, 2).flatten(0, 1) for m in (masked, occlusion))
    return masked, mask


def fetch_masked(features: Float[Tensor, "b c h w"], motion: Motion, **how: Any) -> Float[Tensor, "bt c h w"]:
    """`fetch` without the mask."""
    return fetch(features, motion, **how)[0]


class Blend(nn.Module):
    """What the source shows where it is visible, the decoder's own elsewhere: m * warp(skip) + (1 - m) * own.

    Args:
        fetch: as above, with the resizing of flows that the config asks for.

    Source: LFDM's published numbers, stage one. Our decoder concatenates instead.
    """

    def __init__(self, fetch: Callable[[Tensor, Motion], tuple[Tensor, Tensor]]):
        super().__init__()
        self.fetch = fetch

    def forward(
        self, own: Float[Tensor, "bt c h w"], features: Float[Tensor, "b c h w"], motion: Motion
    ) -> Float[Tensor, "bt c h w"]:
        masked, occlusion = self.fetch(features, motion)
        return masked + own * (1 - occlusion)
