"""LDM: diffusion on the feature maps of an image auto-encoder, frame by frame; no flow, nothing is carried over."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import ResidualBlock, ToImage, UpBlock, conv_block, down_block
from ..memory import frames_at_once
from .rivals import Codec


@dataclass(frozen=True)
class LDMConfig:
    """Sizes of the image auto-encoder; those that it shares with LFDM's have its values."""

    width: int = 32  # channels after the first convolution; each halving doubles them, up to `max_width`
    max_width: int = 64  # channels of the widest maps
    latent_channels: int = 8  # of the map that is denoised
    num_down: int = 2  # halvings from image to latent map
    num_residual: int = 4  # residual blocks of the decoder, on the latent map

    def __post_init__(self) -> None:
        if min(self.num_down, self.num_residual) < 0:
            raise ValueError(f"num_down={self.num_down}, num_residual={self.num_residual}: both must be at least 0")
        if min(self.width, self.max_width, self.latent_channels) < 1:
            raise ValueError(
                f"width={self.width}, max_width={self.max_width}, "
                f"latent_channels={self.latent_channels}: all must be at least 1"
            )


class LDMCodec(Codec):
    """Each frame by itself becomes a small map, a Gaussian in training and its mean in use, and is painted from it.

    Height and width of images must be divisible by `2 ** num_down`.

    Source: Rombach et al. 2022 (latent diffusion models), an auto-encoder with a small KL penalty; of frames.
    """

    kind = "LDM"

    def __init__(self, config: LDMConfig = LDMConfig()):  # noqa: B008 (frozen)
        super().__init__(config.latent_channels)
        self.config = config
        self.feature_channels = config.latent_channels
        widths = [min(config.max_width, config.width * 2**level) for level in range(config.num_down + 1)]
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.stem = conv_block(3, widths[0], kernel=7)
        self.down = nn.Sequential(*(down_block(a, b) for a, b in pairs))
        self.to_moments = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)
        self.from_latent = conv_block(config.latent_channels, widths[-1])
        self.residual = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(config.num_residual)))
        self.up = nn.Sequential(*(UpBlock(b, a) for a, b in reversed(pairs)))
        self.to_image = ToImage(widths[0])

    def moments(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c h2 w2"], Float[Tensor, "b c h2 w2"]]:
        """Mean and log variance of the map that an image becomes; the latter between -20 and 10."""
        mean, log_variance = self.to_moments(self.down(self.stem(image))).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 10)

    def decode(self, latent: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b 3 h w"]:
        """The image that a map stands for, in [0, 1]."""
        return self.to_image(self.up(self.residual(self.from_latent(latent)))).float().sigmoid()

    def forward(
        self, image: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b c h2 w2"], Float[Tensor, "b c h2 w2"]]:
        """An image painted from a draw of its map, and that Gaussian's moments: what a training step needs."""
        mean, log_variance = self.moments(image)
        draw = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return self.decode(draw), mean, log_variance

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self.pack(image[:, :, None])[:, :, 0]

    def represent(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c t h2 w2"]:
        b, _, t = video.shape[:3]
        frames = video.transpose(1, 2).flatten(0, 1)
        mean = torch.cat([self.moments(part)[0] for part in frames.split(self.at_once(video[:1, :, 0], b * t))])
        return mean.unflatten(0, (b, t)).transpose(1, 2)

    def paint(
        self, x: Float[Tensor, "b c t h2 w2"], source: Float[Tensor, "b 3 h w"], num_frames: int
    ) -> Float[Tensor, "b 3 t h w"]:
        maps = x.transpose(1, 2).flatten(0, 1)
        frames = torch.cat([self.decode(part) for part in maps.split(self.at_once(source[:1], len(maps)))])
        return frames.unflatten(0, (len(x), -1)).transpose(1, 2)

    def at_once(self, image: Float[Tensor, "1 3 h w"], count: int) -> int:
        """How many of `count` frames to convolve together."""
        return frames_at_once(image[:, :1].expand(-1, self.config.width, -1, -1), count, whole=self.training)

    def shape(self, num_frames: int, image_size: int) -> tuple[int, ...]:
        size = image_size // 2**self.config.num_down
        return self.config.latent_channels, num_frames, size, size


def kl_to_standard_normal(mean: Float[Tensor, "b c *d"], log_variance: Float[Tensor, "b c *d"]) -> Float[Tensor, ""]:
    """KL(N(mean, variance) || N(0, 1)), a mean over all numbers: (mean^2 + variance - 1 - log variance) / 2.

    Source: Kingma & Welling 2014, the closed form for Gaussians.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
