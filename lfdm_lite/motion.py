"""From a few region motions to a dense latent flow and an occlusion map: the pixelwise flow predictor."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .geometry import Outside, identity_grid, in_float32, resize, sample_at, warp
from .layers import Hourglass
from .regions import Regions, inverse_2x2


class Motion(NamedTuple):
    """How a driving frame, or every frame of a driving video, looks up the source."""

    flow: Float[Tensor, "b 2 *t h w"]  # normalized backward displacement
    occlusion: Float[Tensor, "b 1 *t h w"]  # 1 = visible in the source, 0 = to be painted

    @property
    def rest(self) -> Float[Tensor, "b 1 *t h w"]:
        """The map where nothing moves: that of a clip's first frame. A motion of one frame does not know it: 1.

        A model has places that it would rather paint than fetch, whatever moves.
        """
        return self.occlusion[:, :, :1] if self.flow.ndim == 5 else torch.ones_like(self.occlusion)


@in_float32
def gaussian_heatmaps(
    regions: Regions, h: int, w: int, spread: float = 1e-4, grid_of: Callable[..., Tensor] = identity_grid
) -> Float[Tensor, "b k {h} {w}"]:
    """One bump of height 1 per region: exp(-1/2 (z - shift)^T covariance^-1 (z - shift)) at every pixel centre.

    `spread` is added to the variances, so that the covariance of a point can be inverted.
    """
    covariance = regions.covariance + spread * torch.eye(2, device=regions.covariance.device)
    grid = grid_of(h, w, regions.shift.device)
    offset = grid - regions.shift[..., None, None]  # (b, k, 2, h, w)
    distance = torch.einsum("bkihw,bkij,bkjhw->bkhw", offset, inverse_2x2(covariance), offset)
    return torch.exp(-distance / 2)


def sign_of_turn(matrix: Float[Tensor, "*n 2 2"]) -> Float[Tensor, "*n"]:
    """The sign, 1 or -1, with which a matrix turns by less than a right angle."""
    trace = matrix[..., 0, 0] + matrix[..., 1, 1]
    return torch.where(trace < 0, -1.0, 1.0)


@in_float32
def sparse_motions(
    source: Regions,
    driving: Regions,
    background: Float[Tensor, "b 2 3"],
    h: int,
    w: int,
    grid_of: Callable[..., Tensor] = identity_grid,
    sign_of: Callable[[Tensor], Tensor] = sign_of_turn,
) -> Float[Tensor, "b k1 2 {h} {w}"]:
    """Where each of the K + 1 motions (background first) would look in the source, for every driving pixel centre.

    Region k: z -> shift_s + A_s A_d^-1 (z - shift_d). An axis has no direction, so A_s A_d^-1 is known up to its
    sign; `sign_of` chooses, by default the one that turns by less than a right angle.
    """
    grid = grid_of(h, w, source.shift.device)
    relative = source.affine @ inverse_2x2(driving.affine)
    relative = relative * sign_of(relative)[..., None, None]
    offset = grid - driving.shift[..., None, None]
    of_regions = torch.einsum("bkij,bkjhw->bkihw", relative, offset) + source.shift[..., None, None]
    of_background = torch.einsum("bij,jhw->bihw", background[:, :, :2], grid) + background[:, :, 2, None, None]
    return torch.cat([of_background[:, None], of_regions], dim=1)


def seen(
    image: Float[Tensor, "b 3 h w"],
    bumps: Float[Tensor, "b k h w"],
    motions: Float[Tensor, "b k1 2 h w"],
    outside: Outside = "border",
) -> Float[Tensor, "b c h w"]:
    """What the flow predictor looks at, 4 (K + 1) maps: the change of every bump, and the image under every motion.

    The background comes first and has no bump. `outside` is what a motion finds outside the image.
    """
    b, k1, _, h, w = motions.shape
    bumps = torch.cat([torch.zeros_like(bumps[:, :1]), bumps], dim=1)  # (b, k+1, h, w)
    tall = motions.transpose(1, 2).reshape(b, 2, k1 * h, w)
    warped = sample_at(image, tall, outside).view(b, 3, k1, h, w)  # the image, once for every motion
    return torch.cat([bumps[:, None], warped], dim=1).flatten(1, 2)


class FlowPredictor(nn.Module):
    """Blend K + 1 sparse motions into one dense flow, and say what the source does not show.

    It sees, at the motion's resolution, for every motion: how the region's bump changed, and the source image warped
    by that motion alone.

    Args:
        num_regions: K.
        width, depth, max_width: of the hourglass.
        occlusion_bias: start of the occlusion's logit; 1 keeps it near 0.73, away from saturation.

    Source: LFDM, stage one: latent flow and occlusion map.
    """

    def __init__(self, num_regions: int, width: int, depth: int, max_width: int, occlusion_bias: float = 1.0):
        super().__init__()
        self.hourglass = Hourglass((num_regions + 1) * 4, width, depth, max_width)
        self.to_weights = nn.Conv2d(self.hourglass.out_channels, num_regions + 1, 7, padding=3)
        self.to_occlusion = nn.Conv2d(self.hourglass.out_channels, 1, 7, padding=3)
        _, bias = self.to_occlusion.parameters()
        nn.init.constant_(bias, occlusion_bias)

    def forward(
        self,
        image: Float[Tensor, "b 3 hi wi"],
        source: Regions,
        driving: Regions,
        background: Float[Tensor, "b 2 3"],
        size: tuple[int, int],
    ) -> Motion:
        h, w = size
        bumps = gaussian_heatmaps(driving, h, w) - gaussian_heatmaps(source, h, w)  # (b, k, h, w)
        motions = sparse_motions(source, driving, background, h, w)  # (b, k+1, 2, h, w)
        return self.blend(seen(resize(image, size), bumps, motions), motions)

    def blend(self, maps: Float[Tensor, "b c h w"], motions: Float[Tensor, "b k1 2 h w"]) -> Motion:
        """One motion of the K + 1 that are proposed: a weight for each at every pixel, and what the source hides."""
        features = self.hourglass(maps)
        weights = self.to_weights(features).float().softmax(dim=1)  # which motion rules where
        lookup = (weights[:, :, None] * motions).sum(dim=1)
        h, w = lookup.shape[-2:]
        flow = lookup - identity_grid(h, w, lookup.device)
        return Motion(flow, self.to_occlusion(features).float().sigmoid())


class FlowRefiner(nn.Module):
    """Look whether a motion explains the driving frame, and mend what it does not: a second look.

    It sees the source as the motion warps it beside the driving frame, at twice the motion's resolution, whose squares
    of four pixels are channels of one place. At first it changes nothing.

    Args:
        width, depth, max_width: of the hourglass.

    Source: ours; looking at what a first flow leaves over is how optical flow is estimated from coarse to fine.
    """

    def __init__(self, width: int, depth: int, max_width: int):
        super().__init__()
        self.hourglass = Hourglass(2 * 12 + 3, width, depth, max_width)
        self.to_change = nn.Conv2d(self.hourglass.out_channels, 3, 7, padding=3)
        for parameter in self.to_change.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, source: Float[Tensor, "b 3 hi wi"], driving: Float[Tensor, "b 3 hi wi"], motion: Motion
    ) -> Motion:
        h, w = motion.flow.shape[-2:]
        source, driving = resize(source, (2 * h, 2 * w)), resize(driving, (2 * h, 2 * w))
        warped = warp(source, resize(motion.flow, (2 * h, 2 * w)))
        squares = [F.pixel_unshuffle(maps, 2) for maps in (warped - driving, driving)]
        features = self.hourglass(torch.cat([*squares, 10 * motion.flow, motion.occlusion], dim=1))
        change = self.to_change(features).float()
        seen = motion.occlusion.clamp(1e-4, 1 - 1e-4).logit() + change[:, 2:]
        return Motion(motion.flow + 0.1 * change[:, :2], seen.sigmoid())
