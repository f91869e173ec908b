"""A denoiser without a time axis: a 2-D UNet that looks up the given image by cross-attention.

Its data are single maps, such as LaMD's motion image, whatever the number of frames that they stand for. All blocks
are those of `unet3d`: a map is a clip of one frame there.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..attention import Frames, SpatialAttention, attend, sinusoids
from ..unet3d import ResidualBlock, upsample

ONE_FRAME = Frames(1, None, None, torch.zeros(1, 1, 1), None)  # what blocks of clips are told of a single map


@dataclass(frozen=True)
class UNet2DConfig:
    """Shape of a `UNet2D`. The defaults have as many parameters as a `UNet3D` of dim 32 and dim_mults (1, 2, 4).

    Of LaMD's own denoiser we know that it is a 2-D UNet with cross-attention; all sizes are our guess.
    """

    feature_channels: int = 64  # channels of the given image's features
    num_labels: int = 6  # classes; the embedding has one row more, for "no condition"
    channels: int = 3  # of the data: d of LaMD's motion image
    dim: int = 32  # width of the embeddings, and channels of the first level where its multiple is 1
    dim_mults: tuple[int, ...] = (1, 2, 4)  # channels of each level, in units of dim
    blocks: int = 1  # residual blocks of a level
    heads: int = 2  # attention heads
    head_dim: int = 32  # features of a head
    norm_groups: int = 8  # groups of the group norms
    init_kernel: int = 7  # pixels, size of the first convolution
    features_at_input: bool = True  # beside the cross-attention, add the features to the data place by place; ours

    def __post_init__(self) -> None:
        for name in ("dim", "norm_groups", "blocks", "heads", "head_dim", "init_kernel"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")
        if min(self.dim_mults, default=0) < 1:
            raise ValueError(f"dim_mults={self.dim_mults}: give one multiple for each level, at least 1")
        if self.dim % self.norm_groups or self.dim % 8:
            raise ValueError(f"dim={self.dim} must be a multiple of 8 and of norm_groups={self.norm_groups}")

    @property
    def condition_dim(self) -> int:
        """Numbers that say the diffusion step, then the label."""
        return 8 * self.dim


def places(height: int, width: int, dim: int, device: torch.device) -> Float[Tensor, "n dim"]:
    """Sinusoids of each pixel's row, then of its column; rows of pixels behind one another.

    Source: Vaswani et al. 2017, sinusoidal position encoding, once for each axis.
    """
    rows, columns = (
        sinusoids(torch.arange(count, device=device), dim // 2, max_period=100.0) for count in (height, width)
    )
    return torch.cat([rows.repeat_interleave(width, dim=0), columns.repeat(height, 1)], dim=1)


class CrossAttention(nn.Module):
    """Every pixel of a map looks at the tokens of another; residual, as all attentions of the house.

    Args of `forward`:
        x: the map that looks; its pixels know where they are in it.
        tokens: what is looked at, one vector a place.

    Source: Vaswani et al. 2017, attention of a decoder to its encoder; Rombach et al. 2022, in a denoiser.
    """

    def __init__(self, dim: int, token_dim: int, heads: int, head_dim: int, place_dim: int):
        super().__init__()
        self.heads, self.place_dim = heads, place_dim
        self.norm = nn.LayerNorm(dim)
        self.place = nn.Linear(place_dim, dim)
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_kv = nn.Linear(token_dim, 2 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Float[Tensor, "b c h w"], tokens: Float[Tensor, "b n e"]) -> Float[Tensor, "b c h w"]:
        h, w = x.shape[-2:]
        own = self.norm(rearrange(x, "b c h w -> b (h w) c")) + self.place(places(h, w, self.place_dim, x.device))
        q = rearrange(self.to_q(own), "b i (heads d) -> b heads i d", heads=self.heads)
        k, v = rearrange(self.to_kv(tokens), "b n (two heads d) -> two b heads n d", two=2, heads=self.heads)
        found = self.to_out(rearrange(attend(q, k, v), "b heads i d -> b i (heads d)"))
        return x + rearrange(found, "b (h w) c -> b c h w", h=h)


class Level(nn.Module):
    """What happens at one resolution: residual blocks, attention within the map, attention to the given image."""

    def __init__(self, config: UNet2DConfig, dim: int, dim_out: int):
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(dim if i == 0 else dim_out, dim_out, config.condition_dim, config.norm_groups)
            for i in range(config.blocks)
        )
        self.own = SpatialAttention(dim_out, config.heads, config.head_dim)
        self.given = CrossAttention(dim_out, config.feature_channels, config.heads, config.head_dim, config.dim)

    def forward(
        self, x: Float[Tensor, "b c h w"], condition: Float[Tensor, "b e"], tokens: Float[Tensor, "b n f"]
    ) -> Float[Tensor, "b d h w"]:
        for block in self.blocks:
            x = block(x, condition, ONE_FRAME)
        return self.given(self.own(x), tokens)


class UNet2D(nn.Module):
    """Sees a noisy map, the diffusion step, the given image's features and a label; answers the target.

    Args of `forward`:
        x: noisy data from `GaussianDiffusion.add_noise`; h and w must be multiples of 2 ** (levels - 1).
        t: diffusion steps, 0 to num_steps - 1.
        features: of the given image; as large as the data, or a multiple of that.
        label: 0 to num_labels - 1, or `null_label` for none.

    Raises:
        ValueError: if h or w cannot be halved once per level, or the features do not fit the data.

    Source: LaMD (Hu, Chen, Luo 2025), stage two: a 2-D UNet with cross-attention, given frame 0's features and the
        label. Blocks, sizes, what else reads the features: ours.
    """

    def __init__(self, config: UNet2DConfig):
        super().__init__()
        self.config = config
        dims = [config.dim, *(config.dim * mult for mult in config.dim_mults)]
        pairs = list(zip(dims[:-1], dims[1:], strict=True))

        def conv_in(channels: int, bias: bool) -> nn.Conv2d:
            return nn.Conv2d(channels, config.dim, config.init_kernel, padding=config.init_kernel // 2, bias=bias)

        self.time = nn.Sequential(
            nn.Linear(config.dim, 4 * config.dim), nn.GELU(), nn.Linear(4 * config.dim, 4 * config.dim)
        )
        self.label = nn.Embedding(config.num_labels + 1, 4 * config.dim)
        self.token_place = nn.Linear(config.dim, config.feature_channels)
        self.token_norm = nn.LayerNorm(config.feature_channels)
        self.conv_data = conv_in(config.channels, bias=True)
        self.conv_features = conv_in(config.feature_channels, bias=False) if config.features_at_input else None
        self.down = nn.ModuleList(Level(config, dim, dim_out) for dim, dim_out in pairs)
        self.shrink = nn.ModuleList(nn.Conv2d(dim, dim, 4, stride=2, padding=1) for dim in dims[1:-1])
        self.middle = Level(config, dims[-1], dims[-1])
        self.middle_block = ResidualBlock(dims[-1], dims[-1], config.condition_dim, config.norm_groups)
        self.up = nn.ModuleList(Level(config, 2 * dim_out, dim) for dim, dim_out in reversed(pairs))
        self.grow = nn.ModuleList(upsample(dim) for dim in dims[-2:0:-1])
        self.last_block = ResidualBlock(2 * config.dim, config.dim, config.condition_dim, config.norm_groups)
        self.head = nn.Conv2d(config.dim, config.channels, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)  # a network that knows nothing answers 0

    @property
    def null_label(self) -> int:
        """The label that stands for no condition."""
        return self.config.num_labels

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        t: Int[Tensor, " b"],
        features: Float[Tensor, "b f hf wf"],
        label: Int[Tensor, " b"],
    ) -> Float[Tensor, "b c h w"]:
        maps = self.fitting(features, x)
        tokens = self.tokens(maps)  # b (h w) f
        condition = torch.cat([self.time(sinusoids(t, self.config.dim)), self.label(label)], dim=-1)  # b e

        y = first = self.conv_data(x) if self.conv_features is None else self.conv_data(x) + self.conv_features(maps)
        skips = []
        for level, shrink in zip(self.down, [*self.shrink, nn.Identity()], strict=True):
            y = level(y, condition, tokens)
            skips.append(y)
            y = shrink(y)  # b dim h/2 w/2

        y = self.middle_block(self.middle(y, condition, tokens), condition, ONE_FRAME)

        for level, grow in zip(self.up, [*self.grow, nn.Identity()], strict=True):
            y = level(torch.cat([y, skips.pop()], dim=1), condition, tokens)
            y = grow(y)  # b dim 2h 2w

        y = self.last_block(torch.cat([y, first], dim=1), condition, ONE_FRAME)
        with torch.autocast(y.device.type, enabled=False):
            return self.head(y.float())

    def tokens(self, maps: Float[Tensor, "b f h w"]) -> Float[Tensor, "b n f"]:
        """One vector for each place of the features, which knows where it is."""
        h, w = maps.shape[-2:]
        tokens = self.token_norm(rearrange(maps, "b f h w -> b (h w) f"))
        return tokens + self.token_place(places(h, w, self.config.dim, maps.device))

    def fitting(self, features: Float[Tensor, "b f hf wf"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f h w"]:
        """The features at the size of the data: each place sees the mean of what is finer."""
        (h, w), (hf, wf), least = x.shape[-2:], features.shape[-2:], 2 ** (len(self.config.dim_mults) - 1)
        if h % least or w % least:
            raise ValueError(f"data of {h}x{w} places: height and width must be multiples of {least}")
        if hf % h or wf % w or hf * w != wf * h:
            raise ValueError(f"features are {hf}x{wf}, the data {h}x{w}: they must be as large, or a multiple of it")
        return features if (hf, wf) == (h, w) else F.adaptive_avg_pool2d(features, (h, w))
