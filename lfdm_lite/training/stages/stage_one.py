"""Stage one: train the latent flow auto-encoder on pairs of frames, without labels."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ...autoencoder import LatentFlowAutoencoder
from ...evaluation.metrics import psnr
from ...evaluation.perceptual import FeatureTrunk, load_vgg, load_vgg16
from ...files.checkpoints import save_module
from ...files.variants import construct
from ...geometry import RandomTransform, resize, warp
from ...losses import (
    equivariance_loss,
    local_contrast,
    perceptual_loss,
    pyramid_loss,
    smoothness_loss,
    stillness_loss,
    visibility_loss,
)
from ..configs import AutoencoderRun
from ..engine.averaging import Network
from ..engine.core import Engine, Objective
from ..engine.loop import fit
from ..engine.randomness import Item
from .clips import cached_clips, seen, to_float
from .finished import KIND, start_from
from .growing import GrowingClips
from .samples import motion_rows, save_rows

PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def draw_pair(clip: Item, generator: torch.Generator, from_rest: float) -> Item:
    """A source and a driving frame of a clip, one pair in two mirrored, and a random transform for equivariance.

    Args:
        clip: with "video", 8-bit (3, t, h, w).
        from_rest: share of pairs whose source is frame 0; the others take any frame.
    """
    video: UInt8[Tensor, "3 t h w"] = clip["video"]
    source, driving = torch.randint(video.shape[1], (2,), generator=generator).tolist()
    at_rest, mirrored = torch.rand(2, generator=generator).tolist()
    pair = [video[:, 0 if at_rest < from_rest else source], video[:, driving]]
    if mirrored < 0.5:
        pair = [frame.flip(-1) for frame in pair]
    transform = RandomTransform(1, generator=generator)
    return {"source": pair[0], "driving": pair[1], "affine": transform.affine[0], "weights": transform.weights[0]}


def stack_transforms(affine: Float[Tensor, "b 2 3"], weights: Float[Tensor, "b p"]) -> RandomTransform:
    """One transform of a batch, of the numbers of single ones."""
    transform = RandomTransform(0, device=affine.device)
    transform.affine, transform.weights = affine, weights
    return transform


class PictureObjective(Objective[Network]):
    """What every first stage has: how far a painted picture is from what it should be, and weights of all losses.

    Args:
        config: of a run, with the fields of the perceptual loss, and a field `…_weight` for each loss.
        features: of the perceptual loss, if it has a weight; by default the network that the config names.
    """

    def __init__(self, network: Network, config: Any, features: FeatureTrunk | None = None):
        super().__init__()
        self.network, self.config = network, config
        if features is None and config.perceptual_weight:
            load = {"vgg19": load_vgg, "vgg16": load_vgg16}[config.features]
            features = load(config.vgg).in_precision(PRECISIONS[config.loop.precision])
        self.features = None if features is None else features.keep(config.depths)
        self.shrinks = [nn.AvgPool2d(2**level) for level in range(config.scales)]

    def compare(self, painted: Float[Tensor, "b 3 h w"], wanted: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """The pyramid loss, and the perceptual one if it has a weight."""
        pyramid = pyramid_loss(painted, wanted, gradient_weight=self.config.gradient_weight)
        seen = {} if self.features is None else {"perceptual": self.perceptual(painted, wanted)}
        return {"reconstruction": pyramid} | seen

    def weigh(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """All parts, and their weighed sum as "loss"; what has no weight is logged, and has no backward pass."""
        weighed = [self.weight_of(name) * part for name, part in parts.items() if self.weight_of(name)]
        if not weighed:
            raise ValueError("no part of the loss has a weight: give one of them one above 0")
        return {"loss": sum(weighed[1:], weighed[0])} | parts

    def weight_of(self, part: str) -> float:
        """What a part of the loss counts."""
        return getattr(self.config, f"{'pixel' if part == 'reconstruction' else part}_weight")

    def perceptual(self, painted: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
        """Of the features, at the config's scales."""
        if self.features is None:
            raise ValueError("the perceptual loss has no weight")
        weights = (1.0,) * self.config.depths
        return perceptual_loss(self.features, painted, driving, self.shrinks, weights)


class AutoencoderObjective(PictureObjective[LatentFlowAutoencoder]):
    """Reconstruction of the driving frame, and equivariance of its regions. All are means over the batch."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        source, driving = to_float(batch["source"]), to_float(batch["driving"])
        regions = self.network.regions(driving)
        motion = self.network.estimate_motion(source, driving, regions)
        painted = self.network.decode(source, motion)
        seen = self.compare(painted, driving)
        visibility = visibility_loss(motion, source, driving, self.config.visibility_tolerance)
        if self.config.warp_weight or self.config.contrast_weight:
            # a dark occlusion map lets no gradient through to the flow: here it has its own
            h, w = source.shape[-2:]
            warped = warp(source, resize(motion.flow, (h, w)))
            seen["warp"] = pyramid_loss(warped, driving, gradient_weight=self.config.gradient_weight)
        if self.config.contrast_weight:
            seen["contrast"] = pyramid_loss(local_contrast(warped), local_contrast(driving))
        if self.config.stillness_weight:
            seen["stillness"] = stillness_loss(motion, source, driving, self.config.stillness_tolerance)
        if self.config.smoothness_weight:
            seen["smoothness"] = smoothness_loss(motion, driving, self.config.smoothness_tolerance)
        transform = stack_transforms(batch["affine"], batch["weights"])
        shift, affine = equivariance_loss(self.network.regions, driving, regions, transform)
        parts = {"reconstruction": seen["reconstruction"], "visibility": visibility, "shift": shift, "affine": affine}
        return self.weigh(parts | seen)


def reconstruction_psnr(network: LatentFlowAutoencoder, video: UInt8[Tensor, "n 3 t h w"], batch: int = 4) -> float:
    """Mean over clips of the PSNR of frames 1 to T-1 painted from frame 0, in dB."""
    device, scores = next(network.parameters()).device, []
    for part in video.split(batch):
        clips = to_float(part.to(device))
        scores.append(psnr(network.reconstruct(clips)[:, :, 1:], clips[:, :, 1:]).cpu())
    return torch.cat(scores).mean().item()


def picture(network: LatentFlowAutoencoder, video: UInt8[Tensor, "n 3 t h w"], path: Path) -> None:
    """A few clips as they are, as they are painted, their flow and their occlusion maps."""
    clips = to_float(video.to(next(network.parameters()).device))
    motion = network.estimate_motion(clips[:, :, 0], clips)
    painted = network.decode(clips[:, :, 0], motion)
    save_rows(path, torch.cat(motion_rows(clips, painted, motion)).cpu())


def train_autoencoder(
    config: AutoencoderRun, out: Path, resume: bool = False, clips: GrowingClips | None = None
) -> LatentFlowAutoencoder:
    """Run stage one and leave the finished network in `out` (`config.json`, `model.safetensors`).

    Args:
        clips: that are still being drawn, in place of those that the config names.
    """
    with Engine(config, out, resume) as engine:
        network = engine.build(lambda: construct(config.model))
        started = start_from(network, config.init, "autoencoder", engine)
        objective = AutoencoderObjective(network, config)
        train_clips = cached_clips(config.data, "train", engine.cache, engine) if clips is None else clips
        val_clips = cached_clips(config.data, "val", engine.cache, engine)
        val = val_clips.whole("video")
        engine.begin(seen(train_clips, val_clips) | started)
        network = fit(
            engine,
            objective,
            train_clips,
            partial(draw_pair, from_rest=config.from_rest),
            validate=lambda network: {"psnr": reconstruction_psnr(network, val)},
            score=lambda found: found["psnr"],
            sample=lambda network, path: picture(network, val[:6], path),
        )
        if engine.main:
            save_module(out, network, KIND, {"model": asdict(config.model)})
        engine.wait()
        return network
