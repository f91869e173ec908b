"""Stage one: train the latent flow auto-encoder on pairs of frames, without labels."""

from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..autoencoder import LatentFlowAutoencoder, LFAEConfig
from ..checkpoints import build, load_weights, make_config, read_config, read_fields, read_tensors, save_module
from ..geometry import RandomTransform
from ..losses import equivariance_loss, pyramid_loss, visibility_loss
from ..metrics import psnr
from .clips import cached_clips, to_float
from .configs import AutoencoderRun
from .loop import fit, set_seed

KIND = "LatentFlowAutoencoder"


class ClipDataset(Dataset):
    """8-bit clips in memory, and whatever else belongs to each."""

    def __init__(self, **tensors: Tensor):
        self.tensors = tensors

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: tensor[index] for name, tensor in self.tensors.items()}


def draw_pairs(
    video: UInt8[Tensor, "b 3 t h w"], from_rest: float, generator: torch.Generator
) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]]:
    """A source and a driving frame of every clip; half of the pairs are mirrored.

    Args:
        from_rest: share of pairs whose source is frame 0; the others take any frame.
    """
    b, t = video.shape[0], video.shape[2]
    source = torch.randint(t, (b,), generator=generator)
    source = torch.where(torch.rand(b, generator=generator) < from_rest, 0, source)
    driving = torch.randint(t, (b,), generator=generator)
    mirrored = torch.rand(b, generator=generator) < 0.5
    clips = torch.arange(b)
    pair = torch.stack([video[clips, :, source], video[clips, :, driving]])
    pair = torch.where(mirrored.to(video.device).view(1, b, 1, 1, 1), pair.flip(-1), pair)
    return to_float(pair[0]), to_float(pair[1])


class AutoencoderObjective(nn.Module):
    """Reconstruction of the driving frame, and equivariance of its regions."""

    def __init__(self, network: LatentFlowAutoencoder, config: AutoencoderRun):
        super().__init__()
        self.network, self.config = network, config

    def forward(self, batch: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        source, driving = draw_pairs(batch["video"], self.config.from_rest, generator)
        painted, motion = self.network(source, driving)
        reconstruction = pyramid_loss(painted, driving, gradient_weight=self.config.gradient_weight)
        visibility = visibility_loss(motion, source, driving, self.config.visibility_tolerance)
        transform = RandomTransform(len(driving), generator=generator, device=driving.device)
        regions = self.network.regions(driving)
        shift, affine = equivariance_loss(self.network.regions, driving, regions, transform)
        loss = reconstruction + self.config.visibility_weight * visibility
        loss = loss + self.config.shift_weight * shift + self.config.affine_weight * affine
        parts = {"reconstruction": reconstruction, "visibility": visibility, "shift": shift, "affine": affine}
        return {"loss": loss} | parts


def reconstruction_psnr(network: LatentFlowAutoencoder, video: UInt8[Tensor, "n 3 t h w"], batch: int = 4) -> float:
    """Mean over clips of the PSNR of frames 1 to T-1 painted from frame 0, in dB."""
    scores = []
    for part in video.split(batch):
        clips = to_float(part)
        scores.append(psnr(network.reconstruct(clips)[:, :, 1:], clips[:, :, 1:]))
    return torch.cat(scores).mean().item()


def train_autoencoder(config: AutoencoderRun, out: Path, resume: bool = False) -> LatentFlowAutoencoder:
    """Run stage one and leave the finished network in `out` (`config.json`, `model.safetensors`)."""
    from .samples import motion_rows, save_rows

    out = Path(out)
    set_seed(config.loop.seed)
    train, _ = cached_clips(config.data, "train", out.parent / "cache")
    val, _ = cached_clips(config.data, "val", out.parent / "cache")

    def sample(network: nn.Module, path: Path) -> None:
        clips = to_float(val[:6])
        motion = network.estimate_motion(clips[:, :, 0], clips)
        painted = network.decode(clips[:, :, 0], motion)
        save_rows(path, torch.cat(motion_rows(clips, painted, motion)))

    network = fit(
        AutoencoderObjective(LatentFlowAutoencoder(config.model), config),
        ClipDataset(video=train),
        config.optim,
        config.loop,
        out,
        config,
        validate=lambda network: {"psnr": reconstruction_psnr(network, val)},
        sample=sample if config.loop.trackers else None,
        resume=resume,
    )
    save_module(out, network, KIND, {"model": asdict(config.model)})
    return network


def load_autoencoder(folder: str | Path) -> LatentFlowAutoencoder:
    """A finished auto-encoder, in evaluation mode.

    Raises:
        CheckpointError: the folder does not hold one.
    """
    where = Path(folder) / "config.json"
    (values,) = read_fields(read_config(folder, KIND), ("model",), where)
    config = make_config(LFAEConfig, values, where)
    network = build(lambda: LatentFlowAutoencoder(config), where)
    load_weights(network, read_tensors(folder), folder)
    return network.eval()
