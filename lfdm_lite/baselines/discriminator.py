"""A small judge of patches: does this frame look real, beside the frame 0 that it belongs to?"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call


class PatchDiscriminator(nn.Module):
    """One number for each patch of a frame: above 0 means real.

    Args:
        width: channels after the first convolution, a multiple of 8.

    Args of `forward`:
        source: frame 0 of the clip, in [0, 1].
        frame: what is judged.

    Attributes:
        steps: of training that it has made.

    Source: Isola et al. 2017, conditional patch discriminator.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(6, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2))
        for below in (width, 2 * width):
            convolution = nn.Conv2d(below, 2 * below, 4, stride=2, padding=1)
            self.layers.extend([convolution, nn.GroupNorm(8, 2 * below), nn.LeakyReLU(0.2)])
        self.layers.append(nn.Conv2d(4 * width, 1, 3, padding=1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, source: Float[Tensor, "b 3 h w"], frame: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 hp wp"]:
        return self.layers(2 * torch.cat([source, frame], dim=1) - 1)


def adversarial_losses(
    discriminator: PatchDiscriminator,
    source: Float[Tensor, "b 3 h w"],
    painted: Float[Tensor, "b 3 h w"],
    real: Float[Tensor, "b 3 h w"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Hinge losses of the painter and of the discriminator, to be added: neither gives the other any gradient.

    Source: Lim & Ye 2017, hinge loss of adversarial training.
    """
    fixed = {name: value.detach() for name, value in discriminator.state_dict().items()}
    of_painter = -functional_call(discriminator, fixed, (source, painted)).mean()
    judged_real, judged_painted = discriminator(source, real), discriminator(source, painted.detach())
    return of_painter, F.relu(1 - judged_real).mean() + F.relu(1 + judged_painted).mean()
