"""The authors' loss of stage one: perceptual at several scales, and equivariance under their transform."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor

from ..autoencoder import LatentFlowAutoencoder
from ..losses import equivariance_loss, perceptual_loss
from .parts.autoencoder import AXIS_SIGNS
from .parts.configs import with_published
from .parts.stage_one import StridedGaussian, TaxicabTransform


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights and sizes of the loss; defaults are the authors'."""

    scales: tuple[int, ...] = (1, 2, 4, 8)  # reductions of the images before the perceptual network
    perceptual_weights: tuple[float, ...] = (10.0,) * 5  # of its five depths
    shift_weight: float = 10.0  # of the equivariance of shifts
    affine_weight: float = 10.0  # of the equivariance of affine frames
    sigma_affine: float = 0.05  # spread of the transform's six affine numbers
    sigma_spline: float = 0.005  # spread of its spline's weights
    spline_points: int = 5  # control points per axis


def objective_config(official: Mapping[str, Any]) -> ObjectiveConfig:
    """Our config of the loss from the authors' file: what lies below `train_params`.

    Raises:
        ValueError: if the file lacks an entry.
    """
    try:
        train = official["train_params"]
        weights, transform = train["loss_weights"], train["transform_params"]
        return ObjectiveConfig(
            scales=tuple(round(1 / scale) for scale in train["scales"]),
            perceptual_weights=tuple(map(float, weights["perceptual"])),
            shift_weight=float(weights["equivariance_shift"]),
            affine_weight=float(weights["equivariance_affine"]),
            sigma_affine=transform["sigma_affine"],
            sigma_spline=transform["sigma_tps"],
            spline_points=transform["points_tps"],
        )
    except KeyError as error:
        raise ValueError(f"the authors' config has no entry {error}") from None


class StageOneObjective(nn.Module):
    """The loss of one batch of pairs, in parts.

    In training mode the batch norms of the region predictor see source, driving and deformed driving frames, in this
    order, and once each.

    Args:
        network: any `LatentFlowAutoencoder`, the authors' or ours.
        features: perceptual features of an image in [0, 1], such as `perceptual.PerceptualFeatures`.
    """

    def __init__(
        self,
        network: LatentFlowAutoencoder,
        features: nn.Module,
        config: ObjectiveConfig = ObjectiveConfig(),  # noqa: B008
    ):
        super().__init__()
        self.network, self.features, self.config = network, features, config
        self.sign_of = AXIS_SIGNS[with_published(network.config).axis_sign]
        self.pyramid = nn.ModuleList(nn.Identity() if s == 1 else StridedGaussian(3, s) for s in config.scales)

    def draw(self, batch: int, generator: torch.Generator, device: torch.device | str = "cpu") -> TaxicabTransform:
        """A random transform for every pair."""
        c = self.config
        return TaxicabTransform(batch, c.sigma_affine, c.sigma_spline, c.spline_points, generator, device)

    def forward(
        self, source: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b 3 h w"], transform: TaxicabTransform
    ) -> dict[str, Tensor]:
        """`loss` and its weighted parts `perceptual`, `shift` and `affine`; `painted` are the frames."""
        network, config = self.network, self.config
        of_source, of_driving = network.regions(source), network.regions(driving)
        background = network.background(source, driving)
        size = tuple(side // network.config.flow_stride for side in source.shape[-2:])
        motion = network.flow(source, of_source, of_driving, background, size)
        painted = network.decode(source, motion)
        perceptual = perceptual_loss(self.features, painted, driving, self.pyramid, config.perceptual_weights)
        shift, affine = equivariance_loss(network.regions, driving, of_driving, transform, self.sign_of)
        shift, affine = config.shift_weight * shift, config.affine_weight * affine
        parts = {"perceptual": perceptual, "shift": shift, "affine": affine}
        return {"loss": perceptual + shift + affine, **parts, "painted": painted}
