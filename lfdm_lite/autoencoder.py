"""The latent flow auto-encoder (LFAE): one frame explained by warping the latent map of another."""

from dataclasses import dataclass

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor

from .geometry import resize, warp
from .layers import ResidualBlock, ToImage, UpBlock, conv_block, down_block
from .memory import frames_at_once
from .motion import FlowPredictor, FlowRefiner, Motion
from .regions import BackgroundPredictor, RegionPredictor, Regions


@dataclass(frozen=True)
class LFAEConfig:
    """Sizes of the auto-encoder. The paper's values are for 128x128 images."""

    num_regions: int = 10  # K; the paper: 10
    width: int = 32  # channels after the first convolution; the paper: 64
    latent_channels: int = 64  # channels of z0; the paper: 256
    num_down: int = 2  # halvings from image to latent; the paper: 2
    motion_stride: int | None = None  # image size over motion size; None: as the latent, as in the paper
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
    refine_width: int = 0  # hourglass of the second look at a motion, as deep as that of the first; 0, the paper: none
    background_width: int = 16  # encoder of the background predictor; the paper: 32
    background_depth: int = 4  # halvings in it; the paper: 5

    def __post_init__(self) -> None:
        if self.motion_stride is not None and (self.motion_stride < 1 or self.latent_stride % self.motion_stride):
            raise ValueError(f"motion_stride={self.motion_stride}: must divide {self.latent_stride}, the latent's")

    @property
    def latent_stride(self) -> int:
        """Image size over latent size."""
        return 2**self.num_down

    @property
    def flow_stride(self) -> int:
        """Image size over motion size."""
        return self.motion_stride or self.latent_stride


def fetch(features: Float[Tensor, "b c h w"], motion: Motion) -> Float[Tensor, "bt c h w"]:
    """The features warped by the motion and masked, m * warp(z, f); frames are folded into the batch."""
    size = features.shape[-2:]
    masked = warp(features, resize(motion.flow, size), resize(motion.occlusion, size).to(features.dtype))
    return masked if masked.ndim == 4 else masked.transpose(1, 2).flatten(0, 1)


class Concatenate(nn.Sequential):
    """The decoder's own maps beside the fetched ones of a skip, then a conv block."""

    def __init__(self, width: int):
        super().__init__(*conv_block(2 * width, width))

    def forward(  # type: ignore[override]  # a Sequential's takes one input; nobody takes this for one
        self, own: Float[Tensor, "bt c h w"], features: Float[Tensor, "b c h w"], motion: Motion
    ) -> Tensor:
        return super().forward(torch.cat([own, fetch(features, motion)], dim=1))


class Keep(nn.Module):
    """The decoder's own maps, as they are."""

    def forward(self, own: Float[Tensor, "bt c h w"], features: Float[Tensor, "b c h w"], motion: Motion) -> Tensor:
        return own


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
        self.stem = conv_block(3, widths[0], kernel=7)
        self.down = nn.ModuleList(down_block(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.regions = RegionPredictor(
            config.num_regions,
            config.region_width,
            config.region_depth,
            config.region_max_width,
            config.region_downscale,
            config.temperature,
        )
        self.background = BackgroundPredictor(
            config.background_width, config.background_depth, config.flow_max_width, config.region_downscale
        )
        self.flow = FlowPredictor(config.num_regions, config.flow_width, config.flow_depth, config.flow_max_width)
        self.refine = None
        if config.refine_width:
            self.refine = FlowRefiner(config.refine_width, config.flow_depth, config.flow_max_width)
        self.residual = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(config.num_residual)))
        self.up = nn.ModuleList(UpBlock(a, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.merge = nn.ModuleList(Concatenate(width) if config.skips else Keep() for width in widths[-2::-1])
        self.to_image = ToImage(widths[0])

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Image → latent map z0, `latent_stride` times smaller."""
        return self._features(image)[-1]

    def estimate_motion(
        self,
        source: Float[Tensor, "b 3 h w"],
        driving: Float[Tensor, "b2 3 *t h2 w2"],
        of_driving: Regions | None = None,
    ) -> Motion:
        """Latent flow and occlusion of every driving frame with respect to the one source image.

        Args:
            source: one image a clip.
            driving: one image a clip, or a video whose frames all look up the same source.
            of_driving: the regions of its frames, where they have been found already.

        Returns:
            `Motion` with `(b, ., h/s, w/s)` maps, s = `config.flow_stride`, or `(b, ., t, h/s, w/s)` for a video.

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
        of_driving = self.regions(flat) if of_driving is None else of_driving
        background = self.background(image, flat)
        stride = self.config.flow_stride
        size = (source.shape[-2] // stride, source.shape[-1] // stride)
        motion = self.flow(image, of_source, of_driving, background, size)
        if self.refine is not None:
            motion = self.refine(image, flat, motion)
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
        x = self.residual(fetch(features[-1], motion))  # (b t) c h/s w/s, what is visible in place
        for up, merge, skip in zip(self.up, self.merge, features[-2::-1], strict=True):
            x = merge(up(x), skip, motion)
        frames = self.to_image(x).float().sigmoid()
        return frames if motion.flow.ndim == 4 else frames.unflatten(0, (source.shape[0], -1)).transpose(1, 2)

    def reconstruct(
        self, video: Float[Tensor, "b 3 t h w"], source: Float[Tensor, "b 3 h w"] | None = None
    ) -> Float[Tensor, "b 3 t h w"]:
        """Every frame of `video` again, painted from `source` (its first frame unless given) and estimated motion."""
        source = video[:, :, 0] if source is None else source
        return self.decode(source, self.estimate_motion(source, video))

    def forward(self, source: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b 3 *t h w"]) -> tuple[Tensor, Motion]:
        """Motion and reconstruction of `driving`: what a training step needs."""
        motion = self.estimate_motion(source, driving)
        return self.decode(source, motion), motion

    def _features(self, image: Tensor) -> list[Tensor]:
        """Features at every resolution, finest first; the last is z0."""
        features = [self.stem(image)]
        for block in self.down:
            features.append(block(features[-1]))
        return features
