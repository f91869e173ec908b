"""LPIPS: how different two images look to a network that was trained to see, as a map of places."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..files.models.lpips_archive import read_lpips
from ..files.models.weights import check_finite
from ..geometry import resize
from .perceptual import FeatureTrunk, VGG16Features, filled

SIZE = 256  # pixels to which images are enlarged before the network sees them: an eye at 64 pixels is 9 wide


class AlexNetFeatures(FeatureTrunk):
    """What five depths of an AlexNet see: its five convolutions' activations; the first sees every fourth pixel.

    Source: Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks; depths of LPIPS.
    """

    def __init__(self) -> None:
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)]
        layers += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)]
        for below, width in pairwise((192, 384, 256, 256)):
            layers += [nn.Conv2d(below, width, 3, padding=1), nn.ReLU(inplace=True)]
        super().__init__(layers, (2, 5, 8, 10, 12))


def load_alexnet(archive: str | Path = "") -> AlexNetFeatures:
    """An AlexNet with ImageNet's weights, from the same archive. Measure with it what was trained with the other."""
    return filled(AlexNetFeatures(), read_lpips("alexnet", archive), "AlexNet_0")


TRUNKS = {"alexnet": (AlexNetFeatures, "AlexNet_0"), "vgg16": (VGG16Features, "VGG16_0")}


class LPIPS(nn.Module):
    """Learned perceptual image patch similarity: 0 for equal images, larger the less alike they look; without units.

    At each of five depths the features of every place are scaled to length 1; the squared differences of two images
    are weighted by channel, enlarged to the image's size, and summed over the depths.

    Args:
        trunk: the network that sees; its five maps count.
        heads: the weight of every channel of each map, not negative.

    Source: Zhang, Isola, Efros, Shechtman & Wang 2018, The Unreasonable Effectiveness of Deep Features as a Perceptual
    Metric; version 0.1 with its learned linear heads.
    """

    def __init__(self, trunk: FeatureTrunk, heads: Sequence[Float[Tensor, " c"]]):
        super().__init__()
        self.trunk = trunk
        self.names = [f"head{number}" for number in range(len(heads))]
        for name, head in zip(self.names, heads, strict=True):
            self.register_buffer(name, head.view(1, -1, 1, 1))

    def features(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """What the network sees in images in [0, 1], enlarged to 256 pixels: five maps of directions, finest first."""
        return [map / (map.norm(dim=1, keepdim=True) + 1e-10) for map in self.trunk(resize(image, SIZE))]

    def between(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Float[Tensor, "b 1 256 256"]:
        """The distance at every place of two images whose `features` are given."""
        total = torch.zeros(())
        for name, ours, theirs in zip(self.names, first, second, strict=True):
            distance = (getattr(self, name) * (ours - theirs).square()).sum(dim=1, keepdim=True)
            total = total.to(distance.device) + F.interpolate(distance, SIZE, mode="bilinear", align_corners=False)
        return total

    def forward(self, first: Float[Tensor, "b 3 h w"], second: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """The distance of two images, averaged over all places."""
        return self.between(self.features(first), self.features(second)).mean(dim=(1, 2, 3))


def load_lpips(trunk: str = "alexnet", archive: str | Path = "") -> LPIPS:
    """LPIPS as it was published, from the archive that `lfdm data lpips` fetches.

    Args:
        trunk: "alexnet" or "vgg16". A network that looked on while a model was trained says nothing about that model.
        archive: that file; the one in the user's cache unless given.

    Raises:
        CheckpointError: it is not there or another one; says how to get it.
        ValueError: another trunk.
    """
    arrays = read_lpips(trunk, archive)
    check_finite(arrays, "the heads")
    kind, name = TRUNKS[trunk]
    heads = [arrays[f"NetLinLayer_{number}/Conv_0/kernel"].flatten() for number in range(5)]
    return LPIPS(filled(kind(), arrays, name), heads).eval()


def average_where(
    distance: Float[Tensor, "b 1 256 256"], mask: Bool[Tensor, "b 1 h w"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Sums of a map of distances over a mask, which is enlarged as the images were, and the mask's sums.

    Add both up over the frames of a clip, then divide.
    """
    weight = resize(mask.float(), SIZE)
    return (distance * weight).sum(dim=(1, 2, 3)), weight.sum(dim=(1, 2, 3))
