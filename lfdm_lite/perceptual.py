"""The network of the perceptual loss: the first layers of a VGG-19, which somebody else has trained."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor

from .files.models.pickles import read_pickle
from .files.models.weights import check_finite
from .files.reading import CheckpointError, one_line

VGG_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"  # torchvision's, trained on ImageNet; 575 MB


class PerceptualFeatures(nn.Module):
    """What five depths of a VGG-19 see: its activations relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1.

    Weights are given, never trained: `load_state_dict` takes those of torchvision's `vgg19().features` under the names
    `slice1.0.weight` to `slice5.28.bias`, where the second number is theirs.

    Args:
        widths: channels of the five resolutions; VGG-19's by default.

    Source: LFDM, stage one: perceptual loss (Johnson et al. 2016); network of Simonyan and Zisserman 2014.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512, 512)):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))  # of ImageNet's colours
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        layers: list[nn.Module] = []
        cuts = [0]  # each slice ends with the first activation of a resolution
        for width, count in zip(widths, (2, 2, 4, 4, 1), strict=True):
            for i in range(count):
                below = 3 if not layers else self.out_channels
                layers += [nn.Conv2d(below, width, 3, padding=1), nn.ReLU()]
                self.out_channels = width
                if i == 0:
                    cuts.append(len(layers))
            layers.append(nn.MaxPool2d(2))
        for number, (start, end) in enumerate(zip(cuts[:-1], cuts[1:], strict=True), start=1):
            part = OrderedDict((str(i), layers[i]) for i in range(start, end))
            self.add_module(f"slice{number}", nn.Sequential(part))
        self.requires_grad_(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Five maps, finest first; each resolution has half the height and width of the one before."""
        x = (image - self.mean) / self.std
        features = []
        for part in self.children():
            x = part(x)
            features.append(x)
        return features


def load_vgg(path: str | Path = "") -> PerceptualFeatures:
    """The perceptual network with torchvision's weights.

    Args:
        path: a file with them, as torchvision names them; else they are fetched once, into torch's own cache.

    Raises:
        CheckpointError: the file is not there or holds something else, or there is no network to fetch it.
    """
    network = PerceptualFeatures()
    how = f"expected torchvision's weights of VGG-19; fetch {VGG_URL} where there is a network, then name the file"
    try:
        if path:
            found = read_pickle(path, "weights of VGG-19")
        else:
            found = torch.hub.load_state_dict_from_url(VGG_URL, map_location="cpu", check_hash=True)
        wanted = [name for name in network.state_dict() if name.startswith("slice")]
        state = {name: found["features." + name.split(".", 1)[1]] for name in wanted}
        check_finite(state, "the weights")
        network.load_state_dict(state | {"mean": network.mean, "std": network.std})
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError, CheckpointError) as error:
        raise CheckpointError(f"no VGG-19 from {path or VGG_URL} ({one_line(error)}): {how}") from None
    return network
