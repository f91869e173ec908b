"""Where things are: heat maps of regions found without labels, their moments, and the motion of the background.

A region is summarized by a *shift* (its expected position) and an *affine* frame (how it is stretched and turned),
read from the mean and the covariance of its heat map. Comparing the frames of one region in two images gives that
region's motion.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor

from .geometry import identity_grid, in_float32
from .layers import AntiAliasedDownsample, Hourglass, down_block


class Regions(NamedTuple):
    """What the region predictor says of one batch of images, in normalized units."""

    shift: Float[Tensor, "b k 2"]  # expected position (x, y)
    covariance: Float[Tensor, "b k 2 2"]  # spread around it
    affine: Float[Tensor, "b k 2 2"]  # a frame A with A A^T = covariance
    heatmap: Float[Tensor, "b k h w"]  # sums to 1 over every region

    def repeat(self, frames: int) -> "Regions":
        """The same regions for each of `frames` frames: `(b, ...)` becomes `(b * frames, ...)`."""
        return Regions(*(field.repeat_interleave(frames, dim=0) for field in self))


@in_float32
def moments(
    heatmap: Float[Tensor, "b k h w"], grid_of: Callable[..., Tensor] = identity_grid
) -> tuple[Float[Tensor, "b k 2"], Float[Tensor, "b k 2 2"]]:
    """Mean and covariance of the pixel centres under each heat map (each sums to 1), in float32."""
    heatmap = heatmap.float()
    grid = grid_of(*heatmap.shape[-2:], heatmap.device)
    shift = torch.einsum("bkhw,chw->bkc", heatmap, grid)
    offset = grid - shift[..., None, None]  # (b, k, 2, h, w)
    covariance = torch.einsum("bkhw,bkihw,bkjhw->bkij", heatmap, offset, offset)
    return shift, covariance


@in_float32
def affine_frame(
    covariance: Float[Tensor, "*n 2 2"], floor: float = 1e-6, soften: float = 1e-3
) -> Float[Tensor, "*n 2 2"]:
    """A frame A = R diag(sqrt s) with A A^T = covariance: R turns x onto the longer axis, s are the eigenvalues.

    Closed form for 2x2. With p = c00 - c11 and q = 2 c01, the angle is atan2(q, p) / 2 and the eigenvalues are half
    of trace ± sqrt(p² + q²). Where the two eigenvalues meet the axis is undefined and the angle's derivative
    (p dq - q dp) / (2 (p² + q²)) explodes; its denominator is softened by `soften` times the squared trace, so
    that gradients stay finite everywhere. The value itself is exact.

    Args:
        covariance: symmetric and positive semidefinite.
        floor: smallest eigenvalue, so that the frame can be inverted.
        soften: relative softening of the angle's gradient.

    Source: principal axes of a 2x2 matrix; the softened denominator is Lorentzian broadening, usual for the
    derivatives of degenerate eigenvectors.
    """
    c = covariance.float()
    p, q, trace = c[..., 0, 0] - c[..., 1, 1], c[..., 0, 1] + c[..., 1, 0], c[..., 0, 0] + c[..., 1, 1]
    p0, q0 = p.detach(), q.detach()
    softened = 2 * (p0**2 + q0**2 + soften * trace.detach() ** 2 + floor**2)
    angle = torch.atan2(q0, p0) / 2 + (p0 * q - q0 * p) / softened  # the second term is 0, its gradient is not
    gap = (p**2 + q**2 + floor**2).sqrt()
    s = torch.stack([(trace + gap) / 2, (trace - gap) / 2], dim=-1).clamp_min(floor)
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    return rotation * s.sqrt()[..., None, :]


def inverse_2x2(matrix: Float[Tensor, "*n 2 2"]) -> Float[Tensor, "*n 2 2"]:
    """Inverse in closed form; the caller keeps the determinant away from 0."""
    a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return adjugate / (a * d - b * c)[..., None, None]


class RegionPredictor(nn.Module):
    """Image → K heat maps → K shifts and affine frames.

    Args:
        num_regions: K.
        width, depth, max_width: of the hourglass.
        downscale: heat maps have the image's size divided by this.
        temperature: of the softmax over space; smaller makes sharper regions.

    Source: LFDM, stage one (the motion model of Siarohin et al. 2021, "Motion Representations for Articulated
    Animation").
    """

    def __init__(self, num_regions: int, width: int, depth: int, max_width: int, downscale: int, temperature: float):
        super().__init__()
        self.down = AntiAliasedDownsample(3, downscale)
        self.hourglass = Hourglass(3, width, depth, max_width)
        self.to_logits = nn.Conv2d(self.hourglass.out_channels, num_regions, 7, padding=3)
        self.temperature = temperature

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Regions:
        features = self.hourglass(self.down(image))  # (b, c, h/d, w/d)
        logits = self.to_logits(features)  # (b, k, h/d, w/d)
        heatmap = (logits.float() / self.temperature).flatten(2).softmax(-1).view(logits.shape)
        shift, covariance = moments(heatmap)
        return Regions(shift, covariance, affine_frame(covariance), heatmap)


class BackgroundPredictor(nn.Module):
    """A pair of images → the affine map from driving to source coordinates that the background follows.

    The identity before training.

    Args:
        width, depth, max_width: channels after the first block, doubled at each halving up to a limit.
        downscale: the pair is reduced by this first.

    Source: LFDM, stage one (background motion of Siarohin et al. 2021).
    """

    def __init__(self, width: int, depth: int, max_width: int, downscale: int):
        super().__init__()
        widths = [6] + [min(max_width, width * 2**level) for level in range(depth)]
        self.down = AntiAliasedDownsample(6, downscale)
        self.encoder = nn.Sequential(*(down_block(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)))
        self.to_affine = nn.Linear(widths[-1], 6)
        nn.init.zeros_(self.to_affine.weight)
        with torch.no_grad():
            self.to_affine.bias.copy_(torch.eye(2, 3).flatten())

    def forward(self, source: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 3"]:
        features = self.encoder(self.down(torch.cat([source, driving], dim=1)))
        with torch.autocast(source.device.type, enabled=False):
            return self.to_affine(features.float().mean(dim=(2, 3))).view(-1, 2, 3)
