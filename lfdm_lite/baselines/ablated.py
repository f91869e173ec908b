"""LFDM with a part taken out, so that what the part is worth can be measured."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..autoencoder import LatentFlowAutoencoder, LFAEConfig
from ..motion import Motion
from ..unet3d import UNet3D, UNet3DConfig


@dataclass(frozen=True)
class AblatedLFAEConfig(LFAEConfig):
    """Of an auto-encoder; the default is the whole one."""

    variant: Literal["ablated"] = "ablated"  # says in a file that these fields are there
    occlusion: bool = True  # mask what the source does not show; off: all of it counts as visible


@dataclass(frozen=True)
class AblatedUNet3DConfig(UNet3DConfig):
    """Of a denoiser; the default is the whole one."""

    variant: Literal["ablated"] = "ablated"  # says in a file that these fields are there
    given_image: bool = True  # see z0, the latent of the given image; off: know the label alone


class AblatedAutoencoder(LatentFlowAutoencoder):
    """Without occlusion its maps are 1 everywhere, those that it estimates and those that it is given."""

    config: AblatedLFAEConfig

    def estimate_motion(self, *given: Any) -> Motion:
        return self.seen(super().estimate_motion(*given))

    def decode(self, source: Float[Tensor, "b 3 h w"], motion: Motion) -> Float[Tensor, "b 3 *t h w"]:
        return super().decode(source, self.seen(motion))

    def seen(self, motion: Motion) -> Motion:
        """The motion as the decoder sees it."""
        return motion if self.config.occlusion else Motion(motion.flow, torch.ones_like(motion.occlusion))


class AblatedUNet3D(UNet3D):
    """Without the image, z0 is 0 everywhere: the same for every person."""

    config: AblatedUNet3DConfig

    def conv_in(
        self, x: Float[Tensor, "b c t hp wp"], features: Float[Tensor, "b f *frames hf wf"]
    ) -> Float[Tensor, "bt d h w"]:
        return super().conv_in(x, features if self.config.given_image else torch.zeros_like(features))
