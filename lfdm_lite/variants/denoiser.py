"""The parts of the published denoiser that ours has in another form: `UNet3DConfig` puts them in place.

They know nothing of the network around them, so that `unet3d` can build them.
"""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

FIRST_SKIPS = ("convolution", "attention")


def check_fields(config) -> None:
    """Look at those fields of a `UNet3DConfig` that choose among these parts.

    Raises:
        ValueError: a field has a value that is not accepted.
    """
    for field, accepted in [
        ("upsampling", ("nearest", "transposed")),
        ("upsampling_padding", ("zeros", "reflect")),
        ("first_skip", FIRST_SKIPS),
    ]:
        if getattr(config, field) not in accepted:
            raise ValueError(f"{field}={getattr(config, field)!r}: accepted are {' and '.join(map(repr, accepted))}")
    if config.split_heads and sum(config.split_heads) != config.channels:
        raise ValueError(f"split_heads={config.split_heads} must add up to channels={config.channels}")


class LabelVectors(nn.Module):
    """Given vectors, one per label, and after them the vector of "no condition": learned, or zeros.

    It stands where an `nn.Embedding` of `num_labels + 1` rows would.

    Args:
        num_labels: rows of the table; they are part of the state dict and never trained.
        dim: numbers of a vector.
        learned_null: the vector of "no condition" is a parameter.

    Source: LFDM, stage two: a text encoder's vector of the label's name.
    """

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

    def forward(self, *inputs) -> Float[Tensor, "bt d h w"]:
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

    def __init__(self, dim: int, upsampling: str, padding_mode: str):
        super().__init__()
        if upsampling == "transposed":
            self.resize, self.conv = nn.Identity(), nn.ConvTranspose2d(dim, dim, 4, stride=2, padding=1)
        else:
            self.resize = nn.Upsample(scale_factor=2, mode="nearest")
            self.conv = nn.Conv2d(dim, dim, 3, padding=1, padding_mode=padding_mode)

    def forward(self, x: Float[Tensor, "bt c h w"]) -> Float[Tensor, "bt c h2 w2"]:
        return self.conv(self.resize(x))


def last_layers(config, block: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module]:
    """The last residual block and the head, which answers 0 before training; or one of both per group of channels.

    Args:
        config: a `UNet3DConfig`.
        block: makes a last residual block.
    """
    groups = config.split_heads or (config.channels,)
    blocks = [block() for _ in groups]
    heads = [nn.Conv2d(config.dim, channels, 1) for channels in groups]
    for head in heads:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return (SideBySide(blocks), SplitHead(heads)) if config.split_heads else (blocks[0], heads[0])
