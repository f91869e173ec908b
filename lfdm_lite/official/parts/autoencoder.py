"""The published auto-encoder: ours, with the parts exchanged that `PublishedLFAEConfig` names.

It is built first as ours reads; then some of its parts are replaced.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...autoencoder import Concatenate, LatentFlowAutoencoder
from ...geometry import identity_grid, in_float32, resize
from ...layers import AntiAliasedDownsample
from ...motion import FlowPredictor, Motion, gaussian_heatmaps, seen, sign_of_turn, sparse_motions
from ...regions import BackgroundPredictor, RegionPredictor, Regions, affine_frame, moments
from . import stage_one as parts
from .configs import PublishedLFAEConfig

AXIS_SIGNS = {"turn": sign_of_turn, "first": parts.sign_of_first, "none": parts.no_sign}
Background = parts.Affine | parts.Shift | parts.Perspective
BACKGROUNDS: dict[str, type[Background]] = {
    "affine": parts.Affine,
    "shift": parts.Shift,
    "perspective": parts.Perspective,
}


class PublishedAutoencoder(LatentFlowAutoencoder):
    """Our auto-encoder with what `config` exchanges; at the config's defaults it computes what ours does.

    Source: LFDM's published code, stage one, by its measured behaviour.
    """

    config: PublishedLFAEConfig

    def __init__(self, config: PublishedLFAEConfig):
        super().__init__(config)
        self.regions = PublishedRegionPredictor(self.regions, config)
        if config.background_max_width is not None:
            sizes = config.background_width, config.background_depth, config.background_max_width
            self.background = BackgroundPredictor(*sizes, config.region_downscale)
        self.background = PublishedBackgroundPredictor(self.background, config)
        self.flow = PublishedFlowPredictor(self.flow, config)
        resize_flow = parts.resize_positions if config.absolute_resize else resize
        how: dict[str, Any] = dict(resize_flow=resize_flow, outside=config.outside)
        fetch = partial(parts.fetch, **how)
        self.fetch: Callable[[Tensor, Motion], Tensor] = partial(parts.fetch_masked, **how)
        if config.blend_skips:
            self.merge = nn.ModuleList(parts.Blend(fetch) for _ in self.merge)
        elif config.skips:
            ours: Iterable[Any] = self.merge
            self.merge = nn.ModuleList(PublishedConcatenate(merge, self.fetch) for merge in ours)
        self.blend = parts.Blend(fetch)
        if config.conv_bias:
            add_biases(self)

    def _paint(self, source: Tensor, features: list[Tensor], motion: Motion) -> Float[Tensor, "b 3 *t h w"]:
        x = self.residual(self.fetch(features[-1], motion))
        if self.config.blend_skips:  # the latent is one more skip
            x = self.blend(x, features[-1], motion)
        for up, merge, skip in zip(self.up, self.merge, features[-2::-1], strict=True):
            x = merge(up(x), skip, motion)
        frames = self.to_image(x).float().sigmoid()
        if self.config.blend_source:
            frames = self.blend(frames, source, motion)
        return frames if motion.flow.ndim == 4 else frames.unflatten(0, (source.shape[0], -1)).transpose(1, 2)


class PublishedRegionPredictor(RegionPredictor):
    """Regions whose frames may be reflected or read from the features, from heat maps with less padding.

    Args:
        ours: whose layers are taken over.
    """

    down: Any  # ours, or a StridedGaussian
    axes: Tensor

    def __init__(self, ours: RegionPredictor, config: PublishedLFAEConfig):
        nn.Module.__init__(self)  # nothing is built anew
        self.down = down_sampling(config)(3, ours.down.factor)
        self.hourglass, self.to_logits, self.temperature = ours.hourglass, ours.to_logits, ours.temperature
        channels, padding = self.to_logits.in_channels, config.region_padding
        self.to_logits.padding = (padding, padding)
        self.grid_of = grid_of(config)
        self.soften, self.floor = config.frame_soften, config.frame_floor
        self.frames = parts.RegressedFrames(channels, padding) if config.frames == "regressed" else None
        axes = torch.tensor([1.0, -1.0 if config.reflected_frames else 1.0])
        self.register_buffer("axes", axes, persistent=False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Regions:
        features = self.hourglass(self.down(image))
        logits = self.to_logits(features)
        heatmap = (logits.float() / self.temperature).flatten(2).softmax(-1).view(logits.shape)
        return self.describe(heatmap, features)

    def describe(self, heatmap: Float[Tensor, "b k h w"], features: Float[Tensor, "b c hf wf"]) -> Regions:
        """Shift and frame of each region."""
        shift, covariance = moments(heatmap, self.grid_of)
        if self.frames is not None:
            covariance, affine = self.frames(heatmap, features)
            return Regions(shift, covariance, affine, heatmap)
        return Regions(shift, covariance, affine_frame(covariance, self.floor, self.soften) * self.axes, heatmap)


class PublishedBackgroundPredictor(BackgroundPredictor):
    """The motion of a background that may only shift, or be seen in perspective.

    Args:
        ours: whose layers are taken over, but for the last.
    """

    down: Any  # ours, or a StridedGaussian

    def __init__(self, ours: BackgroundPredictor, config: PublishedLFAEConfig):
        nn.Module.__init__(self)  # nothing else is built anew
        self.down = down_sampling(config)(6, config.background_downscale or config.region_downscale)
        self.encoder = ours.encoder
        self.to_matrix = BACKGROUNDS[config.background]()
        self.to_affine = nn.Linear(ours.to_affine.in_features, len(self.to_matrix.rest))
        nn.init.zeros_(self.to_affine.weight)
        with torch.no_grad():
            self.to_affine.bias.copy_(torch.tensor(self.to_matrix.rest))

    def forward(self, source: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b rows 3"]:
        features = self.encoder(self.down(torch.cat([source, driving], dim=1)))
        with torch.autocast(source.device.type, enabled=False):
            return self.to_matrix(self.to_affine(features.float().mean(dim=(2, 3))))


class PublishedFlowPredictor(FlowPredictor):
    """Sees the small image, the bumps and the K + 1 motions in the published way.

    Args:
        ours: whose layers are taken over.
    """

    def __init__(self, ours: FlowPredictor, config: PublishedLFAEConfig):
        nn.Module.__init__(self)  # nothing is built anew
        self.hourglass, self.to_weights, self.to_occlusion = ours.hourglass, ours.to_weights, ours.to_occlusion
        self.outside, grid = config.outside, grid_of(config)
        self.shrink = parts.StridedGaussian(3, config.latent_stride) if config.strided_downsampling else resize
        self.bumps = partial(gaussian_heatmaps, spread=config.bump_spread, grid_of=grid)
        if config.bump_variance is not None:
            self.bumps = partial(parts.round_heatmaps, variance=config.bump_variance, grid_of=grid)
        motions = perspective_motions if config.background == "perspective" else sparse_motions
        self.motions = partial(motions, grid_of=grid, sign_of=AXIS_SIGNS[config.axis_sign])

    def forward(
        self,
        image: Float[Tensor, "b 3 hi wi"],
        source: Regions,
        driving: Regions,
        background: Float[Tensor, "b rows 3"],
        size: tuple[int, int],
    ) -> Motion:
        bumps = self.bumps(driving, *size) - self.bumps(source, *size)
        motions = self.motions(source, driving, background, *size)
        return self.blend(seen(self.shrink(image, size), bumps, motions, self.outside), motions)


@in_float32
def perspective_motions(
    source: Regions,
    driving: Regions,
    background: Float[Tensor, "b 3 3"],
    h: int,
    w: int,
    *,
    grid_of: Callable[..., Tensor],
    sign_of: Callable[[Tensor], Tensor],
) -> Float[Tensor, "b k1 2 {h} {w}"]:
    """`sparse_motions` with a homography for the background."""
    affine = background[:, :2].detach()  # what it would move is replaced
    motions = sparse_motions(source, driving, affine, h, w, grid_of, sign_of)
    moved = parts.projective_motion(background, grid_of(h, w, source.shift.device))
    return torch.cat([moved[:, None], motions[:, 1:]], dim=1)


class PublishedConcatenate(Concatenate):
    """Our merging of a skip, which fetches it in the published way."""

    def __init__(self, ours: Concatenate, fetch: Callable[[Tensor, Motion], Tensor]):
        nn.Sequential.__init__(self, *ours)
        self.fetch = fetch

    def forward(  # type: ignore[override]  # torch: a sequence takes one input
        self, own: Float[Tensor, "bt c h w"], features: Float[Tensor, "b c h w"], motion: Motion
    ) -> Tensor:
        return nn.Sequential.forward(self, torch.cat([own, self.fetch(features, motion)], dim=1))


def add_biases(network: nn.Module) -> None:
    """Give every convolution a bias; ours have none before a batch norm."""
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d) and conv.bias is None:
            bound = conv.weight[0].numel() ** -0.5
            conv.bias = nn.Parameter(torch.empty_like(conv.weight[:, 0, 0, 0]).uniform_(-bound, bound))


def down_sampling(config: PublishedLFAEConfig) -> type[nn.Module]:
    """The class that reduces images."""
    return parts.StridedGaussian if config.strided_downsampling else AntiAliasedDownsample


def grid_of(config: PublishedLFAEConfig) -> Callable[..., Tensor]:
    """Where the centres of the pixels are."""
    return parts.corner_grid if config.corner_grids else identity_grid
