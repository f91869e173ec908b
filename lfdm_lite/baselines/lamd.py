"""LaMD's stage one: a video as its first frame and a motion image, which has no time axis.

Whatever the number of frames, what stage two generates is one small map; the frames are painted from it all at once.
The authors published no code. That the motion image is the Gaussian bottleneck of a light 3-D encoder, that a decoder
fuses it with features of frame 0 at several resolutions, and the loss's terms are theirs; the rest is our guess.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from ..attention import sinusoids
from ..layers import ResidualBlock, ToImage, UpBlock, conv_block, down_block
from ..memory import frames_at_once
from ..unet3d import ResidualBlock as TimedBlock
from .rivals import Codec
from .unet2d import ONE_FRAME

GROUPS = 8  # of the group norms
TIME = 32  # sinusoids that say the time of a frame


@dataclass(frozen=True)
class LaMDConfig:
    """Sizes of LaMD's auto-encoder. Of the paper's numbers we know d alone; all others are ours."""

    motion_channels: int = 3  # d, channels of the motion image; the paper: 3
    num_frames: int = 16  # frames that the motion encoder sees; of a longer video as many, evenly spread
    width: int = 32  # channels after the image encoder's first convolution
    feature_channels: int = 64  # channels of frame 0's coarsest features, a multiple of 8
    num_down: int = 2  # halvings from image to features, and to the motion image
    motion_width: int = 32  # channels after the motion encoder's first convolution; doubled behind it, up to 64
    num_residual: int = 4  # residual blocks of the decoder that know the frame's time
    difference: bool = True  # paint what changes since frame 0, so that an untrained decoder repeats it; else frames

    def __post_init__(self) -> None:
        if self.feature_channels % GROUPS:
            raise ValueError(f"feature_channels={self.feature_channels}: must be a multiple of {GROUPS}")
        for name in ("motion_channels", "num_frames", "num_down", "num_residual"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")


class MotionEncoder(nn.Module):
    """3-D convolutions that halve time until it is gone, and space as often as the image encoder does.

    They see every frame, what has changed since frame 0, and the frame's time.
    """

    def __init__(self, config: LaMDConfig):
        super().__init__()
        self.halvings = math.ceil(math.log2(config.num_frames))
        count = max(config.num_down, self.halvings)
        widths = [7, *(min(64, config.motion_width * 2**level) for level in range(count))]
        self.blocks = nn.Sequential()
        for level, (below, width) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            stride = (2, 2, 2) if level < config.num_down else (2, 1, 1)
            convolution = nn.Conv3d(below, width, 3, stride=stride, padding=1, bias=False)
            self.blocks.append(nn.Sequential(convolution, nn.BatchNorm3d(width), nn.ReLU(inplace=True)))
        self.last = ResidualBlock(widths[-1])
        self.head = nn.Conv2d(widths[-1], 2 * config.motion_channels, 1)

    def forward(
        self, video: Float[Tensor, "b 3 t h w"]
    ) -> tuple[Float[Tensor, "b d h2 w2"], Float[Tensor, "b d h2 w2"]]:
        b, _, t, h, w = video.shape
        time = torch.linspace(-1, 1, t, device=video.device).view(1, 1, t, 1, 1).expand(b, 1, t, h, w)
        x = self.blocks(torch.cat([video, video - video[:, :, :1], time], dim=1))  # b c 1 h/s w/s
        mean, log_variance = self.head(self.last(x.squeeze(2))).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 10)


class LaMDCodec(Codec):
    """LaMD's image encoder, motion encoder and decoder: a clip is a motion image, in training a draw of its Gaussian.

    Height and width of images must be divisible by `2 ** num_down`. Any number of frames can be asked for.

    Source: LaMD (Hu, Chen, Luo 2025), stage one. That a frame's time is an input of the decoder, so that any number
        of frames can be painted, and only some of them in training, is ours.
    """

    kind = "LaMD"

    def __init__(self, config: LaMDConfig = LaMDConfig()):  # noqa: B008 (frozen)
        super().__init__(config.motion_channels)
        self.config = config
        self.feature_channels = config.feature_channels
        widths = [min(config.feature_channels, config.width * 2**level) for level in range(config.num_down)]
        widths.append(config.feature_channels)
        self.stem = conv_block(3, widths[0], kernel=7)
        self.down = nn.ModuleList(down_block(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.motion = MotionEncoder(config)
        self.spread = conv_block(config.motion_channels, widths[-1])
        self.fuse = nn.Sequential(*conv_block(2 * widths[-1], widths[-1]), ResidualBlock(widths[-1]))
        self.time = nn.Sequential(nn.Linear(TIME, 4 * TIME), nn.GELU(), nn.Linear(4 * TIME, 4 * TIME))
        blocks = (TimedBlock(widths[-1], widths[-1], 4 * TIME, GROUPS) for _ in range(config.num_residual))
        self.residual = nn.ModuleList(blocks)
        self.up = nn.ModuleList(UpBlock(a, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.merge = nn.ModuleList(conv_block(2 * width, width) for width in widths[-2::-1])
        self.to_image = ToImage(widths[0])
        if config.difference:
            for parameter in self.to_image.parameters():
                nn.init.zeros_(parameter)

    def features(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Features of an image at every resolution, finest first."""
        features = [self.stem(image)]
        for block in self.down:
            features.append(block(features[-1]))
        return features

    def moments(
        self, video: Float[Tensor, "b 3 t h w"]
    ) -> tuple[Float[Tensor, "b d h2 w2"], Float[Tensor, "b d h2 w2"]]:
        """Mean and log variance of the motion image, from as many of the video's frames as the config says."""
        index = torch.linspace(0, video.shape[2] - 1, self.config.num_frames, device=video.device).round().long()
        return self.motion(video[:, :, index])

    def decode(
        self, source: Float[Tensor, "b 3 h w"], motion: Float[Tensor, "b d h2 w2"], times: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b 3 n h w"]:
        """Paint the frames at given times of the clip, all at once; they may leave [0, 1].

        Args:
            source: frame 0.
            motion: a motion image.
            times: 0 is frame 0, 1 the last frame.
        """
        features = self.features(source)
        fused = self.fuse(torch.cat([features[-1], self.spread(motion)], dim=1))  # b c h2 w2, the same for all frames
        count = frames_at_once(features[0], times.shape[1], whole=self.training)
        painted = torch.cat([self._paint(features, fused, part) for part in times.split(count, dim=1)], dim=2)
        return source[:, :, None] + painted if self.config.difference else painted.sigmoid()

    def _paint(self, features: list[Tensor], fused: Tensor, times: Tensor) -> Float[Tensor, "b 3 n h w"]:
        n, last = times.shape[1], self.config.num_frames - 1
        condition = self.time(sinusoids(last * times.flatten(), TIME, max_period=100.0))  # (b n) e
        x = repeat(fused, "b c h w -> (b n) c h w", n=n)
        for block in self.residual:
            x = block(x, condition, ONE_FRAME)
        for up, merge, skip in zip(self.up, self.merge, features[-2::-1], strict=True):
            x = merge(torch.cat([up(x), repeat(skip, "b c h w -> (b n) c h w", n=n)], dim=1))
        return rearrange(self.to_image(x).float(), "(b n) c h w -> b c n h w", n=n)

    def forward(
        self, video: Float[Tensor, "b 3 t h w"], times: Float[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b 3 n h w"], Float[Tensor, "b d h2 w2"], Float[Tensor, "b d h2 w2"]]:
        """Frames painted from a draw of the motion image, and that Gaussian's moments: what a training step needs."""
        mean, log_variance = self.moments(video)
        draw = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return self.decode(video[:, :, 0], draw, times), mean, log_variance

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b f h2 w2"]:
        return self.features(image)[-1]

    def represent(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d h2 w2"]:
        return self.moments(video)[0]

    def paint(
        self, x: Float[Tensor, "b d h2 w2"], source: Float[Tensor, "b 3 h w"], num_frames: int
    ) -> Float[Tensor, "b 3 t h w"]:
        times = torch.linspace(0, 1, num_frames, device=x.device).expand(len(x), -1)
        return self.decode(source, x, times)

    def shape(self, num_frames: int, image_size: int) -> tuple[int, ...]:
        size = image_size // 2**self.config.num_down
        return self.config.motion_channels, size, size
