"""The published denoiser: ours, with the parts exchanged that `PublishedUNet3DConfig` names."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...attention import (
    FramePositions,
    Frames,
    LinearSpatialAttention,
    SpatialAttention,
    TemporalAttention,
    rotary_angles,
)
from ...unet3d import ResidualBlock, UNet3D
from .configs import PublishedUNet3DConfig


class PublishedUNet3D(UNet3D):
    """Our denoiser with what `config` exchanges; at the config's defaults it computes what ours does.

    It is built first as ours reads; then some of its parts are replaced.

    Source: LFDM's published code, stage two, by its measured behaviour.
    """

    config: PublishedUNet3DConfig
    label: Any  # ours, or what takes its place; so are these
    last_block: Any
    head: Any

    def __init__(self, config: PublishedUNet3DConfig):
        super().__init__(config)
        if config.fixed_labels:
            self.label = LabelVectors(config.num_labels, config.label_width, config.learned_null)
        if config.rotary and config.rotary_dim is not None:
            self.positions = PartlyTurned(self.positions, config.rotary_dim)
        for module in self.modules():
            if isinstance(module, SpatialAttention | TemporalAttention):
                exchange_projections(module, config)
        if (config.upsampling, config.upsampling_padding) != ("nearest", "zeros"):
            grow: Iterable[Any] = self.grow
            dims = [layers.conv.in_channels for layers in grow]
            self.grow = nn.ModuleList(Grow(dim, config.upsampling, config.upsampling_padding) for dim in dims)
        blocks: list[Any] = [self.last_block]
        if config.split_heads:
            sizes = 2 * config.dim, config.dim, config.condition_dim, config.norm_groups
            blocks = [ResidualBlock(*sizes) for _ in config.split_heads]
            self.last_block = SideBySide(blocks)
            self.head = SplitHead(nn.Conv2d(config.dim, channels, 1) for channels in config.split_heads)
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)
        if not config.last_condition:
            for block in blocks:
                block.condition = NoCondition(2 * config.dim)

    def first_skip(
        self, convolved: Float[Tensor, "bt d h w"], attended: Float[Tensor, "bt d h w"]
    ) -> Float[Tensor, "bt d h w"]:
        return convolved if self.config.first_skip == "convolution" else attended


def exchange_projections(attention: SpatialAttention | TemporalAttention, config: PublishedUNet3DConfig) -> None:
    """Attentions without some biases, spatial ones with heads of another size."""
    spatial, linear = isinstance(attention, SpatialAttention), isinstance(attention, LinearSpatialAttention)
    dim, width = attention.to_qkv.in_features, attention.heads * (config.spatial_head_dim or 0)
    if spatial and width not in (0, attention.to_out.in_features):
        attention.to_qkv, attention.to_out = nn.Linear(dim, 3 * width, bias=False), nn.Linear(width, dim)
    if not config.norm_shift:
        attention.norm.register_parameter("bias", None)
    if not config.attention_bias and not linear:
        attention.to_out.register_parameter("bias", None)


class PartlyTurned(FramePositions):
    """Frame positions whose rotary angles turn the first features of a head alone.

    Args:
        whole: whose heads, sizes and learned biases these are.
        turned: features of a head that are turned; the others have the angle 0.
    """

    rotary_dim: int

    def __init__(self, whole: FramePositions, turned: int):
        super().__init__(whole.bias.table.embedding_dim, whole.rotary_dim, whole.embedding_dim)
        self.bias, self.turned = whole.bias, turned

    def forward(self, count: int) -> Frames:
        angle = rotary_angles(count, self.turned, self.bias.table.weight.device).chunk(2, dim=-1)[0]
        angle = F.pad(angle, (0, (self.rotary_dim - self.turned) // 2)).repeat(1, 2)
        return super().forward(count)._replace(cos=angle.cos(), sin=angle.sin())


class LabelVectors(nn.Module):
    """Given vectors, one per label, and after them the vector of "no condition": learned, or zeros.

    It stands where an `nn.Embedding` of `num_labels + 1` rows would.

    Args:
        num_labels: rows of the table; they are part of the state dict and never trained.
        dim: numbers of a vector.
        learned_null: the vector of "no condition" is a parameter.

    Source: LFDM, stage two: a text encoder's vector of the label's name.
    """

    vectors: Tensor
    null: Tensor

    def __init__(self, num_labels: int, dim: int, learned_null: bool):
        super().__init__()
        self.register_buffer("vectors", torch.zeros(num_labels, dim))
        if learned_null:
            self.null = nn.Parameter(torch.randn(1, dim))
        else:
            self.register_buffer("null", torch.zeros(1, dim))

    def forward(self, label: Int[Tensor, " b"]) -> Float[Tensor, "b e"]:
        return torch.cat([self.vectors, self.null])[label]


class NoCondition(nn.Module):
    """Answers zeros, whatever the condition: a residual block then scales by 1 and shifts by 0.

    Args:
        dim: numbers of the answer.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, condition: Float[Tensor, "b e"]) -> Float[Tensor, "b d"]:
        return condition.new_zeros(condition.shape[0], self.dim)


class SideBySide(nn.Module):
    """Several modules on the same input; their channels are concatenated.

    Args of `forward`: what each of the modules takes.
    """

    def __init__(self, branches: Iterable[nn.Module]):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, *inputs: Any) -> Float[Tensor, "bt d h w"]:
        return torch.cat([branch(*inputs) for branch in self.branches], dim=1)


class SplitHead(nn.Module):
    """Equal shares of the channels, each through a convolution of its own; the results are concatenated.

    Args:
        heads: one module per share.
    """

    def __init__(self, heads: Iterable[nn.Module]):
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Float[Tensor, "bt c h w"]) -> Float[Tensor, "bt d h w"]:
        shares = x.chunk(len(self.heads), dim=1)
        return torch.cat([head(share) for head, share in zip(self.heads, shares, strict=True)], dim=1)


class Grow(nn.Module):
    """Twice the height and width: nearest neighbour, then a convolution; or a transposed convolution."""

    resize: nn.Module
    conv: nn.Module

    def __init__(self, dim: int, upsampling: str, padding_mode: str):
        super().__init__()
        mode: Literal["reflect", "zeros"] = "reflect" if padding_mode == "reflect" else "zeros"
        if upsampling == "transposed":
            self.resize, self.conv = nn.Identity(), nn.ConvTranspose2d(dim, dim, 4, stride=2, padding=1)
        else:
            self.resize = nn.Upsample(scale_factor=2, mode="nearest")
            self.conv = nn.Conv2d(dim, dim, 3, padding=1, padding_mode=mode)

    def forward(self, x: Float[Tensor, "bt c h w"]) -> Float[Tensor, "bt c h2 w2"]:
        return self.conv(self.resize(x))
