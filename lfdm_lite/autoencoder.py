"""The latent flow auto-encoder (LFAE): one frame explained by warping the latent map of another."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor

from .geometry import Outside, resize, warp
from .layers import ResidualBlock, UpBlock, conv_block, down_block
from .memory import frames_at_once
from .motion import FlowPredictor, Motion
from .regions import BackgroundPredictor, RegionPredictor
from .variants import parts
from .variants.autoencoder import Blend, resize_positions


@dataclass(frozen=True)
class LFAEConfig:
    """Sizes of the auto-encoder. The paper's values are for 128x128 images."""

    num_regions: int = 10  # K; the paper: 10
    width: int = 32  # channels after the first convolution; the paper: 64
    latent_channels: int = 64  # channels of z0; the paper: 256
    num_down: int = 2  # halvings from image to latent; the paper: 2
    num_residual: int = 4  # residual blocks on the warped latent; the paper: 6
    skips: bool = True  # hand warped encoder features to the decoder at every resolution; the paper's code: yes
    region_width: int = 16  # hourglass of the region predictor; the paper: 32
    region_depth: int = 4  # halvings in it; the paper: 5
    region_max_width: int = 128  # widest level; the paper: 1024
    region_downscale: int = 2  # image size over heat-map size; the paper: 4
    temperature: float = 0.1  # of the spatial softmax; the paper: 0.1
    flow_width: int = 32  # hourglass of the flow predictor; the paper: 64
    flow_depth: int = 3  # halvings in it; the paper: 5
    flow_max_width: int = 128  # widest level; the paper: 1024
    background_width: int = 16  # encoder of the background predictor; the paper: 32
    background_depth: int = 4  # halvings in it; the paper: 5

    # What the published code does otherwise, each by itself; `official.autoencoder.lfae_config` sets them all.
    corner_grids: bool = False  # coordinates count outermost pixel centres as -1 and 1, sampling does not; theirs: True
    outside: Outside = "border"  # what a flow finds outside the image: its border repeated, or zeros (theirs)
    region_padding: int = 3  # of the heat maps' 7x7 convolution, 3 keeps the size; theirs: 3, or 0 for MHAD and NATOPS
    frames: Literal["principal", "regressed"] = "principal"  # axes of the covariance, or read from the features
    reflected_frames: bool = False  # the second principal axis points the other way; theirs: True
    frame_soften: float = 1e-3  # softening of the axes' gradient where the variances meet; theirs: 0
    frame_floor: float = 1e-6  # least variance along an axis; theirs: none, 1e-12 stands for it
    axis_sign: Literal["turn", "first", "none"] = "turn"  # of A_s A_d^-1: turn least; first entry above 0 (theirs)
    bump_spread: float = 1e-4  # added to the variances of the flow predictor's bumps; theirs: 0
    bump_variance: float | None = None  # the same round bump for every region instead; theirs: None
    background: Literal["affine", "shift", "perspective"] = "affine"  # what the background may do; theirs: affine
    background_max_width: int | None = None  # widest level of its predictor; None: flow_max_width; theirs: 1024
    background_downscale: int | None = None  # image size over its input's; None: region_downscale; theirs: 1
    strided_downsampling: bool = False  # keeps corners of blocks, not centres, and pads with zeros; theirs: True
    conv_bias: bool = False  # convolutions have a bias although a batch norm follows; theirs: True
    absolute_resize: bool = False  # flows are resized as positions, wrong at the border; theirs: True
    blend_skips: bool = False  # skips replace visible features, before any painting, at every size; theirs: True
    blend_source: bool = False  # the warped source image replaces the painted one where visible; theirs: True

    def __post_init__(self):
        if self.blend_skips and not self.skips:
            raise ValueError("blend_skips=True needs skips=True")

    @property
    def latent_stride(self) -> int:
        """Image size over latent size."""
        return 2**self.num_down


def fetch(
    features: Float[Tensor, "b c h w"],
    motion: Motion,
    resize_flow: Callable[..., Tensor] = resize,
    outside: Outside = "border",
) -> tuple[Float[Tensor, "bt c h w"], Float[Tensor, "bt 1 h w"]]:
    """The features warped by the motion and masked, and the mask; frames are folded into the batch.

    `resize_flow` brings the flow to the features' size; `outside` says what lies around them.
    """
    size = features.shape[-2:]
    flow, occlusion = resize_flow(motion.flow, size), resize(motion.occlusion, size).to(features.dtype)
    masked = warp(features, flow, occlusion, outside)
    return tuple(m if m.ndim == 4 else m.transpose(1, 2).flatten(0, 1) for m in (masked, occlusion))


class Concatenate(nn.Sequential):
    """The decoder's own maps beside the fetched ones of a skip, then a conv block."""

    def __init__(self, width: int, bias: bool, fetch: Callable[[Tensor, Motion], tuple[Tensor, Tensor]]):
        super().__init__(*conv_block(2 * width, width, bias=bias))
        self.fetch = fetch

    def forward(self, own: Float[Tensor, "bt c h w"], features: Float[Tensor, "b c h w"], motion: Motion) -> Tensor:
        masked, _ = self.fetch(features, motion)  # bt c h w
        return super().forward(torch.cat([own, masked], dim=1))


class Keep(nn.Module):
    """The decoder's own maps, as they are."""

    def forward(self, own: Float[Tensor, "bt c h w"], features: Float[Tensor, "b c h w"], motion: Motion) -> Tensor:
        return own


def skip_merge(config: LFAEConfig, width: int, fetch: Callable[[Tensor, Motion], tuple[Tensor, Tensor]]) -> nn.Module:
    """What the decoder does with a skip of `width` channels."""
    if not config.skips:
        return Keep()
    return Blend(fetch) if config.blend_skips else Concatenate(width, config.conv_bias, fetch)


class LatentFlowAutoencoder(nn.Module):
    """Encoder, motion estimator and decoder of stage one.

    `encode(image)` gives the latent map z0. `estimate_motion(source, driving)` gives the latent flow and the
    occlusion map. `decode(source, motion)` warps, masks and paints. `reconstruct(video)` chains the three.

    Images are RGB in [0, 1]; height and width must be divisible by 32 at the default sizes.

    Source: LFDM, stage one.
    """

    def __init__(self, config: LFAEConfig = LFAEConfig()):  # noqa: B008 (frozen)
        super().__init__()
        self.config = config
        widths = [min(config.latent_channels, config.width * 2**level) for level in range(config.num_down)]
        widths.append(config.latent_channels)
        bias = config.conv_bias
        self.stem = conv_block(3, widths[0], kernel=7, bias=bias)
        self.down = nn.ModuleList(down_block(a, b, bias) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.regions = RegionPredictor(
            config.num_regions,
            config.region_width,
            config.region_depth,
            config.region_max_width,
            config.region_downscale,
            config.temperature,
            **parts.region_parts(config),
        )
        self.background = BackgroundPredictor(
            config.background_width,
            config.background_depth,
            config.background_max_width or config.flow_max_width,
            config.background_downscale or config.region_downscale,
            **parts.background_parts(config),
        )
        self.flow = FlowPredictor(
            config.num_regions,
            config.flow_width,
            config.flow_depth,
            config.flow_max_width,
            **parts.flow_parts(config),
        )
        self.residual = nn.Sequential(*(ResidualBlock(widths[-1], bias) for _ in range(config.num_residual)))
        self.up = nn.ModuleList(UpBlock(a, b, bias) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.fetch = partial(
            fetch, resize_flow=resize_positions if config.absolute_resize else resize, outside=config.outside
        )
        self.merge_latent = Blend(self.fetch) if config.blend_skips else Keep()
        self.merge = nn.ModuleList(skip_merge(config, width, self.fetch) for width in widths[-2::-1])
        self.merge_image = Blend(self.fetch) if config.blend_source else Keep()
        self.to_image = nn.Conv2d(widths[0], 3, 7, padding=3)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Image → latent map z0, `latent_stride` times smaller."""
        return self._features(image)[-1]

    def estimate_motion(self, source: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b2 3 *t h2 w2"]) -> Motion:
        """Latent flow and occlusion of every driving frame with respect to the one source image.

        Args:
            source: one image a clip.
            driving: one image a clip, or a video whose frames all look up the same source.

        Returns:
            `Motion` with `(b, ., h/s, w/s)` maps, or `(b, ., t, h/s, w/s)` for a video.

        Raises:
            ValueError: if batch or size of the two differ.
        """
        if source.shape[0] != driving.shape[0] or source.shape[-2:] != driving.shape[-2:]:
            shapes = f"source {tuple(source.shape)} and driving {tuple(driving.shape)}"
            raise ValueError(f"{shapes} must agree in batch and size")
        frames = driving.shape[2] if driving.ndim == 5 else 1
        flat = driving.transpose(1, 2).flatten(0, 1) if driving.ndim == 5 else driving
        image = source.repeat_interleave(frames, dim=0)
        of_source = self.regions(source).repeat(frames)
        of_driving = self.regions(flat)
        background = self.background(image, flat)
        stride = self.config.latent_stride
        size = (source.shape[-2] // stride, source.shape[-1] // stride)
        motion = self.flow(image, of_source, of_driving, background, size)
        if driving.ndim == 4:
            return motion
        return Motion(*(m.unflatten(0, (-1, frames)).transpose(1, 2) for m in motion))

    def decode(self, source: Float[Tensor, "b 3 h w"], motion: Motion) -> Float[Tensor, "b 3 *t h w"]:
        """Warp and mask the source's features, then paint the frames: all frames of a video in one call."""
        features = self._features(source)
        if motion.flow.ndim == 4:
            return self._paint(source, features, motion)
        count = frames_at_once(features[0], motion.flow.shape[2], whole=self.training)
        pieces = zip(motion.flow.split(count, dim=2), motion.occlusion.split(count, dim=2), strict=True)
        return torch.cat([self._paint(source, features, Motion(*piece)) for piece in pieces], dim=2)

    def _paint(self, source: Tensor, features: list[Tensor], motion: Motion) -> Float[Tensor, "b 3 *t h w"]:
        x, _ = self.fetch(features[-1], motion)  # m * warp(z0, f)
        x = self.residual(x)
        x = self.merge_latent(x, features[-1], motion)
        for up, merge, skip in zip(self.up, self.merge, features[-2::-1], strict=True):
            x = merge(up(x), skip, motion)
        frames = self.to_image(x).float().sigmoid()
        frames = self.merge_image(frames, source, motion)
        return frames if motion.flow.ndim == 4 else frames.unflatten(0, (source.shape[0], -1)).transpose(1, 2)

    def reconstruct(
        self, video: Float[Tensor, "b 3 t h w"], source: Float[Tensor, "b 3 h w"] | None = None
    ) -> Float[Tensor, "b 3 t h w"]:
        """Every frame of `video` again, painted from `source` (its first frame unless given) and estimated motion."""
        source = video[:, :, 0] if source is None else source
        return self.decode(source, self.estimate_motion(source, video))

    def forward(self, source: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b 3 *t h w"]):
        """Motion and reconstruction of `driving`: what a training step needs."""
        motion = self.estimate_motion(source, driving)
        return self.decode(source, motion), motion

    def _features(self, image: Tensor) -> list[Tensor]:
        """Features at every resolution, finest first; the last is z0."""
        features = [self.stem(image)]
        for block in self.down:
            features.append(block(features[-1]))
        return features
