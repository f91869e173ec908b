"""VDM: diffusion on the pixels themselves. Its first stage has nothing to learn."""

from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .rivals import Codec


@dataclass(frozen=True)
class VDMConfig:
    """What the pixels are turned into."""

    patch: int = 4  # pixels a side that one place of the denoiser holds; Ho et al. 2022: 1
    difference: bool = False  # each frame's difference from frame 0 in place of its pixels; Ho et al. 2022: pixels

    def __post_init__(self) -> None:
        if self.patch < 1:
            raise ValueError(f"patch={self.patch}: must be at least 1")


class VDMCodec(Codec):
    """Pixels from [0, 1] to [-1, 1]; the denoiser is told the given image, place by place.

    `patch` by `patch` pixels become the channels of one place; of the clip that is done by the denoiser itself.

    Source: Ho et al. 2022 (video diffusion models); patches: ours, so that a step costs what one of LFDM costs.
    """

    kind = "VDM"

    def __init__(self, config: VDMConfig):
        super().__init__(channels=3)
        self.config = config
        self.feature_channels = 3 * config.patch**2

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b f h2 w2"]:
        return F.pixel_unshuffle(2 * image - 1, self.config.patch)

    def represent(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b 3 t h w"]:
        return video - video[:, :, :1] if self.config.difference else 2 * video - 1

    def paint(
        self, x: Float[Tensor, "b 3 t h w"], source: Float[Tensor, "b 3 h w"], num_frames: int
    ) -> Float[Tensor, "b 3 t h w"]:
        return source[:, :, None] + x if self.config.difference else (x + 1) / 2

    def shape(self, num_frames: int, image_size: int) -> tuple[int, ...]:
        return 3, num_frames, image_size, image_size

    def fit(self, config: Any, num_labels: int) -> Any:
        return replace(super().fit(config, num_labels), patch=self.config.patch)
