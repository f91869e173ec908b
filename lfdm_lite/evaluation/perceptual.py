"""Networks that somebody else has trained to see: the first layers of VGG-19 and VGG-16."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor

from ..files.models.lpips_archive import read_lpips
from ..files.models.pickles import read_pickle
from ..files.models.weights import check_finite
from ..files.reading import CheckpointError, one_line

VGG_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"  # torchvision's, trained on ImageNet; 575 MB
Trunk = TypeVar("Trunk", bound="FeatureTrunk")


class FeatureTrunk(nn.Module):
    """What five depths of a network see that was trained on ImageNet's photographs; a plain stack of layers.

    Weights are given, never trained; gradients go through to the image. Layer i of slice n is named `slice{n}.{i}`.

    Args:
        layers: the network's.
        cuts: after how many of them each of the maps is taken; growing.
    """

    mean: Float[Tensor, "1 3 1 1"]
    std: Float[Tensor, "1 3 1 1"]

    def __init__(self, layers: Sequence[nn.Module], cuts: Sequence[int]):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))  # of ImageNet's colours
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        for number, (start, end) in enumerate(pairwise([0, *cuts]), start=1):
            part = OrderedDict((str(i), layers[i]) for i in range(start, end))
            self.add_module(f"slice{number}", nn.Sequential(part))
        self.requires_grad_(False)

    def keep(self, depths: int) -> "FeatureTrunk":
        """A network of its first `depths` maps alone, with the same layers; what lies beyond costs nothing."""
        shallow = copy(self)
        shallow._modules = dict(list(self._modules.items())[:depths])
        return shallow

    def in_precision(self, dtype: torch.dtype) -> "FeatureTrunk":
        """With weights in the precision that autocast computes in, which would convert frozen ones at every use."""
        for part in self.children():
            part.to(dtype)
        return self

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Five maps, finest first, of an image in [0, 1]; of at least 16 pixels for a VGG, 31 for AlexNet."""
        x = (image - self.mean) / self.std
        features = []
        for part in self.children():
            x = part(x)
            features.append(x)
        return features


class PerceptualFeatures(FeatureTrunk):
    """What five depths of a VGG-19 see: its activations relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1.

    `load_state_dict` takes the weights of torchvision's `vgg19().features` under the names `slice1.0.weight` to
    `slice5.28.bias`, where the second number is theirs.

    Args:
        widths: channels of the five resolutions, each of half the height and width before; VGG-19's by default.

    Source: LFDM, stage one: perceptual loss (Johnson et al. 2016); network of Simonyan and Zisserman 2014.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512, 512)):
        layers, starts = vgg_layers(widths, (2, 2, 4, 4, 1))
        super().__init__(layers, [start + 2 for start in starts])  # behind the first activation of a resolution


class VGG16Features(FeatureTrunk):
    """What five depths of a VGG-16 see: its activations relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3.

    Args:
        widths: channels of the five resolutions, each of half the height and width before; VGG-16's by default.

    Source: network of Simonyan and Zisserman 2014; depths of LPIPS (Zhang et al. 2018).
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512, 512)):
        layers, starts = vgg_layers(widths, (2, 2, 3, 3, 3))
        super().__init__(layers, [*(start - 1 for start in starts[1:]), len(layers) - 1])  # before each pooling


def vgg_layers(widths: Sequence[int], counts: Sequence[int]) -> tuple[list[nn.Module], list[int]]:
    """The convolutions of a VGG, `counts` of them at each resolution and a pooling behind; where each starts."""
    layers: list[nn.Module] = []
    starts, below = [], 3
    for width, count in zip(widths, counts, strict=True):
        starts.append(len(layers))
        for _ in range(count):
            layers += [nn.Conv2d(below, width, 3, padding=1), nn.ReLU(inplace=True)]
            below = width
        layers.append(nn.MaxPool2d(2))
    return layers, starts


def load_vgg(path: str | Path = "") -> PerceptualFeatures:
    """The perceptual network with torchvision's weights.

    Args:
        path: a file with them, as torchvision names them; else they are fetched once, into torch's own cache.

    Raises:
        CheckpointError: the file is not there or holds something else, or there is no network to fetch it.
    """
    how = f"expected torchvision's weights of VGG-19; fetch {VGG_URL} where there is a network, then name the file"
    try:
        if path:
            found = read_pickle(path, "weights of VGG-19")
        else:
            found = torch.hub.load_state_dict_from_url(VGG_URL, map_location="cpu", check_hash=True, weights_only=True)
        network = PerceptualFeatures()
        wanted = [name for name in network.state_dict() if name.startswith("slice")]
        state = {name: found["features." + name.split(".", 1)[1]] for name in wanted}
        check_finite(state, "the weights")
        network.load_state_dict(state | {"mean": network.mean, "std": network.std})
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError, UnpicklingError, CheckpointError) as error:
        raise CheckpointError(f"no VGG-19 from {path or VGG_URL} ({one_line(error)}): {how}") from None
    return network


def load_vgg16(archive: str | Path = "") -> VGG16Features:
    """A VGG-16 with ImageNet's weights, from the archive that `lfdm data lpips` fetches; for a perceptual loss, say.

    Args:
        archive: that file; the one in the user's cache unless given.

    Raises:
        CheckpointError: it is not there or another one; says how to get it.
    """
    return filled(VGG16Features(), read_lpips("vgg16", archive), "VGG16_0")


def filled(trunk: Trunk, arrays: Mapping[str, Tensor], name: str) -> Trunk:
    """The trunk with the kernels (height, width, in, out) and biases of `name/Conv_0`, `name/Conv_1`, ..., in order."""
    check_finite(arrays, "the weights")
    convolutions = [layer for layer in trunk.modules() if isinstance(layer, nn.Conv2d)]
    try:
        for number, layer in enumerate(convolutions):
            kernel, bias = (arrays[f"{name}/Conv_{number}/{part}"] for part in ("kernel", "bias"))
            layer.load_state_dict({"weight": kernel.permute(3, 2, 0, 1), "bias": bias})
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"these are no weights of {name}: {one_line(error)}") from None
    return trunk.eval()
