"""What a web page needs of a model, cut into networks that know nothing but tensors of one size.

    image -> encoder -> features -> denoiser (many times) -> motion -> decoder -> video

The encoder's maps are handed on, so that nothing is computed twice; everything between two passes of the denoiser is
arithmetic that the page does itself. A batch is one clip: guidance takes two passes, or one of the fast network.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..autoencoder import LatentFlowAutoencoder
from ..motion import Motion
from ..pipeline import LFDM
from ..unet3d import UNet3D


class Part(NamedTuple):
    """One network, an example of what it is given, and the names of both ends."""

    name: str  # of its file
    network: nn.Module
    example: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Encoder(nn.Module):
    """Image → its features at every resolution, finest first; the last is z0."""

    def __init__(self, autoencoder: LatentFlowAutoencoder):
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, image: Float[Tensor, "1 3 h w"]) -> tuple[Tensor, ...]:
        return tuple(self.autoencoder._features(image))


class Denoiser(nn.Module):
    """The denoiser of a model without numbers takes a row of none, so that all are called alike."""

    def __init__(self, unet: UNet3D):
        super().__init__()
        self.unet = unet

    def forward(
        self,
        x: Float[Tensor, "1 c t h w"],
        t: Int[Tensor, " 1"],
        z0: Float[Tensor, "1 f h2 w2"],
        label: Int[Tensor, " 1"],
        numbers: Float[Tensor, "1 n"] | None = None,
    ) -> Float[Tensor, "1 c t h w"]:
        return self.unet(x, t, z0, label, numbers)


class Decoder(nn.Module):
    """Motion and the features of the image → video: warp, mask, paint."""

    def __init__(self, autoencoder: LatentFlowAutoencoder):
        super().__init__()
        self.autoencoder = autoencoder

    def forward(
        self, flow: Float[Tensor, "1 2 t h w"], occlusion: Float[Tensor, "1 1 t h w"], *features: Tensor
    ) -> Float[Tensor, "1 3 t h4 w4"]:
        return self.autoencoder._paint(features[0], list(features), Motion(flow, occlusion))


@torch.no_grad()
def parts_of(model: LFDM) -> Iterator[Part]:
    """The networks of a model, and of its fast network if it has one."""
    size, unet = model.image_size, model.unet.config
    image = torch.zeros(1, 3, size, size)
    features = tuple(model.autoencoder._features(image))
    maps = tuple(f"features_{i}" for i in range(len(features)))
    yield Part("encoder", Encoder(model.autoencoder), (image,), ("image",), maps)

    side = size // model.autoencoder.config.flow_stride
    x = torch.zeros(1, unet.channels, model.num_frames, side, side)
    asked = torch.zeros(1, dtype=torch.int64), features[-1], torch.zeros(1, dtype=torch.int64)  # t, z0, label
    denoisers = {"denoiser": model.unet} | ({"fast": model.fast.unet} if model.has_fast else {})
    for name, network in denoisers.items():
        numbers = (torch.zeros(1, len(network.config.numbers)),) if network.config.numbers else ()
        inputs = ("x", "t", "z0", "label", "numbers")[: 4 + len(numbers)]
        yield Part(name, Denoiser(network), (x, *asked, *numbers), inputs, ("answer",))

    motion = x[:, :2], x[:, 2:]
    yield Part("decoder", Decoder(model.autoencoder), (*motion, *features), ("flow", "occlusion", *maps), ("video",))
