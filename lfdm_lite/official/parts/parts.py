"""Puts parts of the published auto-encoder in the place of ours, as `LFAEConfig.published` asks for.

The networks of the teaching path are built first, as they read; here some of their parts are exchanged.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...geometry import identity_grid, in_float32, resize
from ...layers import AntiAliasedDownsample
from ...motion import gaussian_heatmaps, sign_of_turn, sparse_motions
from ...regions import BackgroundPredictor, RegionPredictor, Regions, affine_frame, moments
from . import autoencoder as variants
from .published import PublishedAutoencoder

AXIS_SIGNS = {"turn": sign_of_turn, "first": variants.sign_of_first, "none": variants.no_sign}
BACKGROUNDS = {"affine": variants.Affine, "shift": variants.Shift, "perspective": variants.Perspective}


def put_in_place(network: nn.Module) -> None:
    """Exchange what the config's published fields name; with their defaults nothing changes.

    Args:
        network: a `LatentFlowAutoencoder` at the end of its construction.
    """
    config, published = network.config, network.config.published
    if published == PublishedAutoencoder():
        return
    network.regions = PublishedRegionPredictor(network.regions, published)
    if published.background_max_width is not None:
        sizes = config.background_width, config.background_depth, published.background_max_width
        network.background = BackgroundPredictor(*sizes, config.region_downscale)
    downscale = published.background_downscale or config.region_downscale
    network.background = PublishedBackgroundPredictor(network.background, downscale, published)
    exchange_motions(network.flow, published, config.latent_stride)
    exchange_merges(network, published)
    if published.conv_bias:
        add_biases(network)


class PublishedRegionPredictor(RegionPredictor):
    """Regions whose frames may be reflected or read from the features, from heat maps with less padding.

    Args:
        ours: whose layers are taken over.
    """

    def __init__(self, ours: RegionPredictor, published: PublishedAutoencoder):
        nn.Module.__init__(self)  # nothing is built anew
        self.down = down_sampling(published)(3, ours.down.factor)
        self.hourglass, self.to_logits, self.temperature = ours.hourglass, ours.to_logits, ours.temperature
        channels, padding = self.to_logits.in_channels, published.region_padding
        self.to_logits.padding = (padding, padding)
        self.grid_of = grid_of(published)
        self.soften, self.floor = published.frame_soften, published.frame_floor
        self.frames = variants.RegressedFrames(channels, padding) if published.frames == "regressed" else None
        axes = torch.tensor([1.0, -1.0 if published.reflected_frames else 1.0])
        self.register_buffer("axes", axes, persistent=False)

    def describe(self, heatmap: Float[Tensor, "b k h w"], features: Float[Tensor, "b c hf wf"]) -> Regions:
        shift, covariance = moments(heatmap, self.grid_of)
        if self.frames is not None:
            return Regions(shift, *self.frames(heatmap, features), heatmap)
        return Regions(shift, covariance, affine_frame(covariance, self.floor, self.soften) * self.axes, heatmap)


class PublishedBackgroundPredictor(BackgroundPredictor):
    """The motion of a background that may only shift, or be seen in perspective.

    Args:
        ours: whose layers are taken over, but for the last.
        downscale: the pair is reduced by this first.
    """

    def __init__(self, ours: BackgroundPredictor, downscale: int, published: PublishedAutoencoder):
        nn.Module.__init__(self)  # nothing else is built anew
        self.down = down_sampling(published)(6, downscale)
        self.encoder = ours.encoder
        self.to_matrix = BACKGROUNDS[published.background]()
        self.to_affine = nn.Linear(ours.to_affine.in_features, len(self.to_matrix.rest))
        nn.init.zeros_(self.to_affine.weight)
        with torch.no_grad():
            self.to_affine.bias.copy_(torch.tensor(self.to_matrix.rest))

    def forward(self, source: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b rows 3"]:
        features = self.encoder(self.down(torch.cat([source, driving], dim=1)))
        with torch.autocast(source.device.type, enabled=False):
            return self.to_matrix(self.to_affine(features.float().mean(dim=(2, 3))))


def exchange_motions(flow: nn.Module, published: PublishedAutoencoder, latent_stride: int) -> None:
    """Exchange what a `FlowPredictor` sees: the small image, the bumps, the K + 1 motions."""
    flow.outside = published.outside
    if published.strided_downsampling:
        flow.shrink = variants.StridedGaussian(3, latent_stride)
    grid = grid_of(published)
    flow.bumps = partial(gaussian_heatmaps, spread=published.bump_spread, grid_of=grid)
    if published.bump_variance is not None:
        flow.bumps = partial(variants.round_heatmaps, variance=published.bump_variance, grid_of=grid)
    motions = perspective_motions if published.background == "perspective" else sparse_motions
    flow.motions = partial(motions, grid_of=grid, sign_of=AXIS_SIGNS[published.axis_sign])


@in_float32
def perspective_motions(
    source: Regions, driving: Regions, background: Float[Tensor, "b 3 3"], h: int, w: int, *, grid_of, sign_of
) -> Float[Tensor, "b k1 2 {h} {w}"]:
    """`sparse_motions` with a homography for the background."""
    affine = background[:, :2].detach()  # what it would move is replaced
    motions = sparse_motions(source, driving, affine, h, w, grid_of, sign_of)
    moved = variants.projective_motion(background, grid_of(h, w, source.shift.device))
    return torch.cat([moved[:, None], motions[:, 1:]], dim=1)


def exchange_merges(network: nn.Module, published: PublishedAutoencoder) -> None:
    """Exchange how the decoder of a `LatentFlowAutoencoder` fetches features, and what it does with them."""
    resize_flow = variants.resize_positions if published.absolute_resize else resize
    how = dict(resize_flow=resize_flow, outside=published.outside)
    fetch, network.fetch = partial(variants.fetch, **how), partial(variants.fetch_masked, **how)
    if published.blend_skips:
        network.merge_latent = variants.Blend(fetch)
        network.merge = nn.ModuleList(variants.Blend(fetch) for _ in network.merge)
    elif network.config.skips:
        for merge in network.merge:
            merge.fetch = network.fetch
    if published.blend_source:
        network.merge_image = variants.Blend(fetch)


def add_biases(network: nn.Module) -> None:
    """Give every convolution a bias; ours have none before a batch norm."""
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d) and conv.bias is None:
            bound = conv.weight[0].numel() ** -0.5
            conv.bias = nn.Parameter(torch.empty_like(conv.weight[:, 0, 0, 0]).uniform_(-bound, bound))


def down_sampling(published: PublishedAutoencoder) -> type[nn.Module]:
    """The class that reduces images."""
    return variants.StridedGaussian if published.strided_downsampling else AntiAliasedDownsample


def grid_of(published: PublishedAutoencoder):
    """Where the centres of the pixels are."""
    return variants.corner_grid if published.corner_grids else identity_grid
