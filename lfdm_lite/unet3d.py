"""The denoiser of stage two: a UNet over clips of latent motion, with convolutions in space and attention in time."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from .attention import FramePositions, Frames, LinearSpatialAttention, SpatialAttention, TemporalAttention, sinusoids
from .conditions import NumberEmbeddings, NumberRange
from .memory import keeping_all, keeping_inputs


@dataclass(frozen=True)
class UNet3DConfig:
    """Shape of a `UNet3D`. The defaults are those of the 64-pixel models, whose motion is 16 frames of 16x16."""

    feature_channels: int = 64  # channels of z0, the latent of the given image; paper: 256
    num_labels: int = 6  # classes; the embedding has one row more, for "no condition"
    numbers: tuple[NumberRange, ...] = ()  # what else may be asked for, beside the label; paper: nothing
    channels: int = 3  # flow x, flow y, occlusion
    patch: int = 1  # pixels of motion a side that one place of the network holds; paper: 1
    num_frames: int = 16  # frames over which the frame index runs from -1 to 1; paper: 40
    dim: int = 32  # width of the embeddings, and channels of the first level where its multiple is 1; paper: 64
    dim_mults: tuple[int, ...] = (1, 3, 6)  # channels of each level, in units of dim; paper: 1, 2, 4, 8
    blocks: int = 1  # residual blocks of a level; paper: 2
    heads: int = 2  # attention heads; paper: 8
    head_dim: int = 32  # features of a head; paper: 32
    spatial_attention: tuple[str, ...] | None = None  # per level "none", "linear", "full"; None: full but in the first
    # level; the middle is always full; paper: linear
    rotary: bool = False  # rotary embedding in the temporal attentions, beside their relative position bias; paper: yes
    norm_groups: int = 8  # groups of the group norms; paper: 8
    init_kernel: int = 7  # pixels, size of the first convolutions; paper: 7
    frame_index: bool = True  # give the network each frame's place in the clip, -1 to 1, as an input channel; paper: no
    frame_embedding: bool = True  # add sinusoids of the frame's index in the temporal attentions; paper: no

    def __post_init__(self) -> None:
        if len(self.spatial_kinds) != len(self.dim_mults):
            raise ValueError(
                f"spatial_attention={self.spatial_attention} has {len(self.spatial_kinds)} entries, "
                f"dim_mults={self.dim_mults} has {len(self.dim_mults)} levels: give one kind of attention per level"
            )
        unknown = set(self.spatial_kinds) - {"none", "linear", "full"}
        if unknown:
            raise ValueError(f"spatial_attention has {sorted(unknown)}: accepted are 'none', 'linear' and 'full'")
        if self.patch < 1:
            raise ValueError(f"patch={self.patch}: must be at least 1")
        if len({known.name for known in self.numbers}) != len(self.numbers):
            raise ValueError(f"numbers={[known.name for known in self.numbers]}: two have the same name")
        if self.norm_groups < 1 or self.dim % self.norm_groups or self.dim % 2:
            raise ValueError(f"dim={self.dim} must be even and a multiple of norm_groups={self.norm_groups}")

    @property
    def spatial_kinds(self) -> tuple[str, ...]:
        """Kind of spatial attention of each level."""
        return self.spatial_attention or ("none", *["full"] * (len(self.dim_mults) - 1))

    @property
    def label_width(self) -> int:
        """Numbers of a label's vector."""
        return 4 * self.dim

    @property
    def condition_dim(self) -> int:
        """Numbers that say the diffusion step, then what is asked for."""
        return 4 * self.dim + self.label_width


class Block(nn.Module):
    """silu(scale norm(conv(x)) + shift): the convolution sees one frame, the group norm a whole clip.

    A clip's frames lie behind one another in channels-last memory: `b c (t h) w` is the memory of `(b t) c h w`.
    """

    def __init__(self, dim: int, dim_out: int, groups: int):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim_out, 3, padding=1)
        self.norm = nn.GroupNorm(groups, dim_out)

    def forward(
        self, x: Float[Tensor, "bt c h w"], frames: Frames, scale_shift: tuple[Tensor, Tensor] | None = None
    ) -> Float[Tensor, "bt d h w"]:
        x = rearrange(self.conv(x), "(b t) c h w -> b (t h) w c", t=frames.count)
        clip = self.norm(rearrange(x, "b th w c -> b c th w"))
        if scale_shift is not None:
            scale, shift = scale_shift
            clip = torch.addcmul(shift, clip, scale)
        y = rearrange(F.silu(clip), "b c (t h) w -> (b t) h w c", t=frames.count)
        return rearrange(y, "bt h w c -> bt c h w")


class ResidualBlock(nn.Module):
    """Two blocks; the condition (diffusion step, and what is asked for) scales and shifts the channels of the first.

    Source: LFDM, stage two; Ho et al. 2022 (video diffusion models): (1, 3, 3) convolutions.
    """

    def __init__(self, dim: int, dim_out: int, condition_dim: int, groups: int):
        super().__init__()
        self.condition = nn.Sequential(nn.SiLU(), nn.Linear(condition_dim, 2 * dim_out))
        self.block1 = Block(dim, dim_out, groups)
        self.block2 = Block(dim_out, dim_out, groups)
        self.skip = nn.Conv2d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

    def forward(
        self, x: Float[Tensor, "bt c h w"], condition: Float[Tensor, "b e"], frames: Frames
    ) -> Float[Tensor, "bt d h w"]:
        scale, shift = rearrange(self.condition(condition), "b (two d) -> two b d 1 1", two=2)
        y = self.block1(x, frames, (1 + scale, shift))
        return self.block2(y, frames) + self.skip(x)


class Level(nn.Module):
    """What happens at one resolution: residual blocks, attention in space, attention in time.

    Args of `forward`:
        run: `keeping_all` or `keeping_inputs`; calls each of them.
    """

    def __init__(self, config: UNet3DConfig, dim: int, dim_out: int, spatial: str):
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(dim if i == 0 else dim_out, dim_out, config.condition_dim, config.norm_groups)
            for i in range(config.blocks)
        )
        self.spatial = spatial_attention(config, dim_out, spatial)
        self.temporal = temporal_attention(config, dim_out)

    def forward(
        self, x: Float[Tensor, "bt c h w"], condition: Float[Tensor, "b e"], frames: Frames, run: Callable[..., Tensor]
    ) -> Float[Tensor, "bt d h w"]:
        for block in self.blocks:
            x = run(block, x, condition, frames)
        return run(self.temporal, run(self.spatial, x), frames)


def spatial_attention(config: UNet3DConfig, dim: int, kind: str) -> nn.Module:
    """A spatial attention of that kind, or nothing."""
    kinds = {"linear": LinearSpatialAttention, "full": SpatialAttention}
    return nn.Identity() if kind == "none" else kinds[kind](dim, config.heads, config.head_dim)


def temporal_attention(config: UNet3DConfig, dim: int) -> TemporalAttention:
    """A temporal attention of the heads that the config asks for."""
    return TemporalAttention(dim, config.heads, config.head_dim, config.dim if config.frame_embedding else None)


def upsample(dim: int) -> nn.Sequential:
    """Twice the height and width: nearest neighbour, then a convolution."""
    parts = OrderedDict(resize=nn.Upsample(scale_factor=2, mode="nearest"), conv=nn.Conv2d(dim, dim, 3, padding=1))
    return nn.Sequential(parts)


class UNet3D(nn.Module):
    """Sees noisy motion, the diffusion step, the given image's latent z0, a label and numbers; answers the target.

    Frames are folded into the batch: a (1, 3, 3) convolution is a 2-D convolution of each frame, and only temporal
    attention and group norms see clips. Input as in LFDM: z0 concatenated to each frame's noisy motion; convolving z0
    once and adding the result to each frame is the same. `patch` by `patch` pixels of motion are the channels of one
    place, on the way in and on the way out; of z0, where it is finer than these places, each sees its mean.

    Args of `forward`:
        x: noisy motion from `GaussianDiffusion.add_noise`.
        t: diffusion steps, 0 to num_steps - 1.
        features: z0, from `LatentFlowAutoencoder.encode`, or one map per frame; h and w as many as there are places, or
            a multiple of that; places a side must be a multiple of 2 ** (levels - 1).
        label: 0 to num_labels - 1, or `null_label` for none.
        numbers: one of each of the config's `numbers`, in its own unit; NaN where not given. None: none is given.

    Attributes:
        checkpointing: training keeps only the inputs of residual blocks and attentions and computes these again in the
            backward pass, for a fraction of the memory and about a third more time; nothing computed changes.

    Raises:
        ValueError: if h or w cannot be halved once per level, the motion's size does not fit the features', or there
            are more or fewer numbers than the config names.

    Source: LFDM, stage two; Ho et al. 2022 (video diffusion models). Frame index and embedding, numbers, patch: ours.
    """

    checkpointing: bool = False

    def __init__(self, config: UNet3DConfig):
        super().__init__()
        self.config = config
        dims = [config.dim, *(config.dim * mult for mult in config.dim_mults)]
        pairs = list(zip(dims[:-1], dims[1:], config.spatial_kinds, strict=True))

        def conv_in(channels: int, bias: bool) -> nn.Conv2d:
            return nn.Conv2d(channels, config.dim, config.init_kernel, padding=config.init_kernel // 2, bias=bias)

        self.time = nn.Sequential(
            nn.Linear(config.dim, 4 * config.dim), nn.GELU(), nn.Linear(4 * config.dim, 4 * config.dim)
        )
        self.label = nn.Embedding(config.num_labels + 1, config.label_width)
        self.numbers = NumberEmbeddings(config.numbers, config.label_width)
        rotary_dim, embedding_dim = config.rotary and config.head_dim, config.frame_embedding and config.dim
        self.positions = FramePositions(config.heads, rotary_dim or None, embedding_dim or None)
        self.conv_motion = conv_in(config.channels * config.patch**2, bias=True)
        self.conv_features = conv_in(config.feature_channels, bias=False)
        self.conv_index = conv_in(1, bias=False) if config.frame_index else None
        self.temporal = temporal_attention(config, config.dim)
        self.down = nn.ModuleList(Level(config, dim, dim_out, spatial) for dim, dim_out, spatial in pairs)
        self.shrink = nn.ModuleList(nn.Conv2d(dim, dim, 4, stride=2, padding=1) for dim in dims[1:-1])
        self.middle_block1 = ResidualBlock(dims[-1], dims[-1], config.condition_dim, config.norm_groups)
        self.middle_spatial = spatial_attention(config, dims[-1], "full")
        self.middle_temporal = temporal_attention(config, dims[-1])
        self.middle_block2 = ResidualBlock(dims[-1], dims[-1], config.condition_dim, config.norm_groups)
        self.up = nn.ModuleList(Level(config, 2 * dim_out, dim, spatial) for dim, dim_out, spatial in reversed(pairs))
        self.grow = nn.ModuleList(upsample(dim) for dim in dims[-2:0:-1])
        self.last_block = ResidualBlock(2 * config.dim, config.dim, config.condition_dim, config.norm_groups)
        self.head = nn.Conv2d(config.dim, config.channels * config.patch**2, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)  # a network that knows nothing answers 0

    @property
    def null_label(self) -> int:
        """The label that stands for no condition."""
        return self.config.num_labels

    def forward(
        self,
        x: Float[Tensor, "b c t hp wp"],
        t: Int[Tensor, " b"],
        features: Float[Tensor, "b f *frames h w"],
        label: Int[Tensor, " b"],
        numbers: Float[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b c t hp wp"]:
        self.check_size(x, features)
        run = keeping_inputs if self.checkpointing and torch.is_grad_enabled() else keeping_all
        frames = self.positions(x.shape[2])
        asked = self.numbers(self.label(label), numbers)
        condition = torch.cat([self.time(sinusoids(t, self.config.dim)), asked], dim=-1)  # b e

        convolved = self.conv_in(x, features)  # (b t) dim h w
        y = run(self.temporal, convolved, frames)
        first = self.first_skip(convolved, y)
        skips = []
        for level, shrink in zip(self.down, [*self.shrink, nn.Identity()], strict=True):
            y = level(y, condition, frames, run)
            skips.append(y)
            y = shrink(y)  # (b t) dim h/2 w/2

        y = run(self.middle_block1, y, condition, frames)
        y = run(self.middle_temporal, run(self.middle_spatial, y), frames)
        y = run(self.middle_block2, y, condition, frames)

        for level, grow in zip(self.up, [*self.grow, nn.Identity()], strict=True):
            y = level(torch.cat([y, skips.pop()], dim=1), condition, frames, run)
            y = grow(y)  # (b t) dim 2h 2w

        y = run(self.last_block, torch.cat([y, first], dim=1), condition, frames)
        with torch.autocast(y.device.type, enabled=False):
            y = self.head(y.float())  # (b t) (c p p) h w
        p = self.config.patch
        return rearrange(y, "(b t) (c py px) h w -> b c t (h py) (w px)", t=frames.count, py=p, px=p)

    def first_skip(
        self, convolved: Float[Tensor, "bt d h w"], attended: Float[Tensor, "bt d h w"]
    ) -> Float[Tensor, "bt d h w"]:
        """What the last block sees of the first layers, beside all that came after them."""
        return attended

    def conv_in(
        self, x: Float[Tensor, "b c t hp wp"], features: Float[Tensor, "b f *frames hf wf"]
    ) -> Float[Tensor, "bt d h w"]:
        """The convolution of [motion, frame index, z0], summand by summand, each computed as often as it differs."""
        b, t, p = x.shape[0], x.shape[2], self.config.patch
        motion = rearrange(x, "b c t (h py) (w px) -> (b t) (c py px) h w", py=p, px=p)
        motion = motion.contiguous(memory_format=torch.channels_last)
        maps = features if features.ndim == 4 else rearrange(features, "b f t h w -> (b t) f h w")
        h, w = motion.shape[-2:]
        maps = maps if maps.shape[-2:] == (h, w) else F.adaptive_avg_pool2d(maps, (h, w))
        y = rearrange(self.conv_motion(motion), "(b t) d h w -> b t d h w", t=t)
        y = y + rearrange(self.conv_features(maps), "(b n) d h w -> b n d h w", b=b)  # n is 1, or t
        if self.conv_index is not None:
            index = frame_index(t, self.config.num_frames, x.device)
            y = y + self.conv_index(repeat(index, "t -> t 1 h w", h=y.shape[-2], w=y.shape[-1]))  # t d h w
        return rearrange(y, "b t d h w -> (b t) d h w").contiguous(memory_format=torch.channels_last)

    def check_size(self, x: Tensor, features: Tensor) -> None:
        (h, w), halvings, patch = x.shape[-2:], len(self.config.dim_mults) - 1, self.config.patch
        if h % (patch * 2**halvings) or w % (patch * 2**halvings):
            raise ValueError(
                f"motion of {h}x{w} pixels cannot be halved {halvings} times: height and width must be "
                f"multiples of {patch * 2**halvings}; resize, or use fewer dim_mults"
            )
        fh, fw = features.shape[-2:]
        if fh % (h // patch) or fw % (w // patch) or fh * w != fw * h:
            wanted = f"they must have {h // patch}x{w // patch} places, or a multiple of both"
            raise ValueError(f"features are {fh}x{fw}, the motion is {h}x{w}: {wanted}")


def frame_index(count: int, num_frames: int, device: torch.device) -> Float[Tensor, " t"]:
    """Place of each frame in a clip of `num_frames`: -1 for frame 0, which is at rest, 1 for the last."""
    return 2 * torch.arange(count, device=device) / max(num_frames - 1, 1) - 1
