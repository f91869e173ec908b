"""The parts of the published denoiser that ours has in another form: `UNet3DConfig` puts them in place.

They know nothing of the network around them, so that `unet3d` can build them.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


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
