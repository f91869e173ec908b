"""Stage one: train the latent flow auto-encoder on pairs of frames, without labels."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ...autoencoder import LatentFlowAutoencoder, LFAEConfig
from ...evaluation.metrics import psnr
from ...files.checkpoints import load_module, read_config, save_module
from ...files.models.configs import make_config, read_fields
from ...files.variants import construct
from ...geometry import RandomTransform
from ...losses import equivariance_loss, perceptual_loss, pyramid_loss, visibility_loss
from ...perceptual import load_vgg
from ..configs import AutoencoderRun
from ..engine.core import Engine
from ..engine.loop import fit
from ..engine.randomness import Item
from .clips import cached_clips, seen, to_float
from .samples import motion_rows, save_rows

KIND = "LatentFlowAutoencoder"


def draw_pair(clip: Item, generator: torch.Generator, from_rest: float) -> Item:
    """A source and a driving frame of a clip, one pair in two mirrored, and a random transform for equivariance.

    Args:
        clip: with "video", 8-bit (3, t, h, w).
        from_rest: share of pairs whose source is frame 0; the others take any frame.
    """
    video: UInt8[Tensor, "3 t h w"] = clip["video"]
    source, driving = torch.randint(video.shape[1], (2,), generator=generator).tolist()
    at_rest, mirrored = torch.rand(2, generator=generator).tolist()
    pair = video[:, 0 if at_rest < from_rest else source], video[:, driving]
    if mirrored < 0.5:
        pair = tuple(frame.flip(-1) for frame in pair)
    transform = RandomTransform(1, generator=generator)
    return {"source": pair[0], "driving": pair[1], "affine": transform.affine[0], "weights": transform.weights[0]}


def stack_transforms(affine: Float[Tensor, "b 2 3"], weights: Float[Tensor, "b p"]) -> RandomTransform:
    """One transform of a batch, of the numbers of single ones."""
    transform = RandomTransform(0, device=affine.device)
    transform.affine, transform.weights = affine, weights
    return transform


class AutoencoderObjective(nn.Module):
    """Reconstruction of the driving frame, and equivariance of its regions. All are means over the batch.

    Args:
        features: of the perceptual loss, if it has a weight; by default those of the VGG-19 that the config names.
    """

    def __init__(self, network: LatentFlowAutoencoder, config: AutoencoderRun, features: nn.Module | None = None):
        super().__init__()
        self.network, self.config = network, config
        self.features = load_vgg(config.vgg) if features is None and config.perceptual_weight else features
        self.shrinks = [nn.Identity(), *(nn.AvgPool2d(scale) for scale in (2, 4))]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        source, driving = to_float(batch["source"]), to_float(batch["driving"])
        painted, motion = self.network(source, driving)
        reconstruction = pyramid_loss(painted, driving, gradient_weight=self.config.gradient_weight)
        seen = {} if self.features is None else {"perceptual": self.perceptual(painted, driving)}
        visibility = visibility_loss(motion, source, driving, self.config.visibility_tolerance)
        transform = stack_transforms(batch["affine"], batch["weights"])
        regions = self.network.regions(driving)
        shift, affine = equivariance_loss(self.network.regions, driving, regions, transform)
        parts = {"reconstruction": reconstruction, "visibility": visibility, "shift": shift, "affine": affine} | seen
        return {"loss": sum(self.weight_of(name) * part for name, part in parts.items())} | parts

    def weight_of(self, part: str) -> float:
        """What a part of the loss counts."""
        return getattr(self.config, f"{'pixel' if part == 'reconstruction' else part}_weight")

    def perceptual(self, painted: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
        """Of the features, at three scales."""
        return perceptual_loss(self.features, painted, driving, self.shrinks)


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


def train_autoencoder(config: AutoencoderRun, out: Path, resume: bool = False) -> LatentFlowAutoencoder:
    """Run stage one and leave the finished network in `out` (`config.json`, `model.safetensors`)."""
    with Engine(config, out, resume) as engine:
        objective = AutoencoderObjective(engine.build(lambda: construct(config.model)), config)
        clips = cached_clips(config.data, "train", engine.cache, engine)
        val_clips = cached_clips(config.data, "val", engine.cache, engine)
        val = val_clips.whole("video")
        engine.begin(seen(clips, val_clips))
        network = fit(
            engine,
            objective,
            clips,
            partial(draw_pair, from_rest=config.from_rest),
            validate=lambda network: {"psnr": reconstruction_psnr(network, val)},
            score=lambda found: found["psnr"],
            sample=lambda network, path: picture(network, val[:6], path),
        )
        if engine.main:
            save_module(out, network, KIND, {"model": asdict(config.model)})
        engine.wait()
        return network


def load_autoencoder(folder: str | Path) -> LatentFlowAutoencoder:
    """A finished auto-encoder, in evaluation mode.

    Raises:
        CheckpointError: the folder does not hold one.
    """
    where = Path(folder) / "config.json"

    def described() -> LatentFlowAutoencoder:
        (values,) = read_fields(read_config(folder, KIND), ("model",), where)
        return construct(make_config(LFAEConfig, values, where))

    return load_module(folder, described).eval()
