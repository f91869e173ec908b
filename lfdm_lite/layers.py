"""The convolution blocks that the networks of stage one share."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

PIXELS_WORTH_IT = 1024  # of a whole batch, from which on `double_and_convolve` adds weights first


def conv_block(in_channels: int, out_channels: int, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU; height and width stay.

    A bias of the convolution would change nothing in training: the norm takes the mean away. So it has none.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def down_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """A conv block, then average pooling: half the height and width."""
    return nn.Sequential(*conv_block(in_channels, out_channels), nn.AvgPool2d(2))


class UpBlock(nn.Module):
    """Nearest-neighbour doubling, then a conv block."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = conv_block(in_channels, out_channels)
        self.register_buffer("spread", spreading_kernel(), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d 2*h 2*w"]:
        conv, *norm_and_relu = self.conv
        x = double_and_convolve(x, conv.weight, self.spread, conv.bias)  # type: ignore[arg-type]  # no modules, tensors
        for layer in norm_and_relu:
            x = layer(x)
        return x


def spreading_kernel() -> Float[Tensor, "9 16"]:
    """How nine weights of a convolution make the sixteen with which a pixel reaches a map of twice the size.

    A pixel becomes four there; what a weight says of each of the four falls on four neighbouring places of 4x4.
    """
    nine = torch.eye(9).view(9, 1, 3, 3).flip(2, 3)  # a transposed convolution reads its kernel backwards
    return F.conv_transpose2d(nine, nine.new_ones(1, 1, 2, 2)).flatten(1)


def double_and_convolve(
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "d c 3 3"],
    spread: Float[Tensor, "9 16"],
    bias: Float[Tensor, " d"] | None = None,
) -> Float[Tensor, "b d 2*h 2*w"]:
    """conv2d(interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1), with 16 products for 36.

    Several of the nine taps fall on the same pixel of `x`, so their weights are added first; then a transposed
    convolution does the rest, and the doubled map is never made. Where there are too few pixels to pay for adding
    the weights, the two steps are done as they read.

    Args:
        spread: of `spreading_kernel`.
    """
    if x.shape[0] * x.shape[2] * x.shape[3] < PIXELS_WORTH_IT:
        return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1)
    with torch.autocast(x.device.type, enabled=False):
        kernel = (weight.flatten(2) @ spread).unflatten(2, (4, 4))  # (d, c, 4, 4)
    return F.conv_transpose2d(x, kernel.transpose(0, 1), bias, stride=2, padding=1)


class ToImage(nn.Conv2d):
    """The convolution that makes a picture of a map: so few channels that a CPU's kernels, made for many, would idle.

    Without gradients each row of the kernel makes channels of its own there, in one convolution along the width; what
    the rows made is added, each in its place. The same numbers but for rounding, in less than half the time.
    """

    bias: nn.Parameter

    def __init__(self, in_channels: int, kernel: int = 7):
        super().__init__(in_channels, 3, kernel, padding=kernel // 2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
        if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)
        k, reach, h = self.kernel_size[0], self.kernel_size[0] // 2, x.shape[2]
        kernel = rearrange(self.weight, "d c kh kw -> (kh d) c 1 kw")
        rows = F.conv2d(x, kernel, padding=(0, reach)).unflatten(1, (k, -1))
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))  # sums are not for half precision
        image = rows[:, reach] + self.bias[:, None, None]
        for row in range(max(0, reach - h + 1), min(k, reach + h)):
            if down := row - reach:  # output row i sees row i + down of the map
                image[..., max(0, -down) : h - max(0, down), :] += rows[:, row, :, max(0, down) : h - max(0, -down)]
        return image


class ResidualBlock(nn.Module):
    """Pre-activation residual block: x + conv(relu(norm(conv(relu(norm(x))))))."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.body(x)


class Hourglass(nn.Module):
    """An encoder–decoder with skip connections: each output pixel has seen far around it, the farther the deeper it is.

    Args:
        in_channels: channels of the input.
        width: channels after the first block; each deeper level doubles them, up to `max_width`.
        depth: number of halvings; height and width must be divisible by 2**depth.
        max_width: upper limit of the channels.

    The output has `out_channels = width + in_channels` channels: the last features beside the input itself.
    """

    def __init__(self, in_channels: int, width: int, depth: int, max_width: int):
        super().__init__()
        widths = [in_channels] + [min(max_width, width * 2**level) for level in range(1, depth + 1)]
        self.down = nn.ModuleList(down_block(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.up = nn.ModuleList()
        below = widths[-1]
        for level in reversed(range(depth)):
            out = min(max_width, width * 2**level)
            self.up.append(UpBlock(below, out))
            below = out + widths[level]  # the skip is concatenated
        self.depth = depth
        self.out_channels = below

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        if x.shape[-2] % 2**self.depth or x.shape[-1] % 2**self.depth:
            raise ValueError(
                f"an hourglass of depth {self.depth} needs sizes divisible by {2**self.depth}, got {tuple(x.shape)}"
            )
        skips = [x]
        for block in self.down:
            skips.append(block(skips[-1]))
        x = skips.pop()
        for block in self.up:
            x = torch.cat([block(x), skips.pop()], dim=1)
        return x


class AntiAliasedDownsample(nn.Module):
    """Blur with a Gaussian of sigma = (factor - 1) / 2 pixels, then keep one pixel centre per block.

    Here every kept sample is the average around the centre of its block, so that the pixel-centre convention holds.

    Args:
        factor: whole-number reduction of height and width; 1 does nothing.
    """

    kernel: Float[Tensor, "c 1 k k"]

    def __init__(self, channels: int, factor: int):
        super().__init__()
        self.factor, self.channels = factor, channels
        sigma = max((factor - 1) / 2, 1e-3)
        width = 2 * factor + factor % 2  # as even as the factor, so that the window is centred on the block
        offset = torch.arange(width, dtype=torch.float32) - (width - 1) / 2
        kernel = torch.exp(-(offset**2) / (2 * sigma**2))
        kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
        self.register_buffer("kernel", kernel.expand(channels, 1, width, width).contiguous(), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        if self.factor == 1:
            return x
        border = (self.kernel.shape[-1] - self.factor) // 2
        x = F.pad(x, (border,) * 4, mode="replicate")
        return F.conv2d(x, self.kernel.to(x.dtype), stride=self.factor, groups=self.channels)
