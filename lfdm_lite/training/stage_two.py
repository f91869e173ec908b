"""Stage two: train the diffusion model on the motions that the frozen auto-encoder sees."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..autoencoder import LatentFlowAutoencoder
from ..diffusion import GaussianDiffusion
from ..motion import Motion
from ..pipeline import LFDM
from ..unet3d import UNet3D
from .clips import build_dataset, cached_clips, cached_shards, fingerprint, to_float, weights_fingerprint
from .configs import DataConfig, DiffusionRun
from .loop import fit, set_seed, step_seed
from .stage_one import ClipDataset, load_autoencoder


@torch.no_grad()
def see_motion(network: LatentFlowAutoencoder, video: UInt8[Tensor, "b 3 t h w"]) -> dict[str, Tensor]:
    """What stage two needs of each clip: latent of frame 0, flow and occlusion of all frames. No decoder runs."""
    clips = to_float(video)
    flow, occlusion = network.estimate_motion(clips[:, :, 0], clips)
    return {"features": network.encode(clips[:, :, 0]), "flow": flow, "occlusion": occlusion}


def cached_motions(
    network: LatentFlowAutoencoder, data: DataConfig, split: str, folder: Path, video: UInt8[Tensor, "n 3 t h w"]
) -> dict[str, Tensor]:
    """`see_motion` of every clip, computed once, kept on disk in half precision.

    Raises:
        StaleCacheError: the folder's cache is of another auto-encoder or of other clips.
    """
    made_from = {"autoencoder": weights_fingerprint(network), "clips": len(video), "split": split}
    made_from |= {"data": fingerprint(vars(data))}

    def make(indices: range) -> dict[str, Tensor]:
        parts = [see_motion(network, part) for part in video[indices.start : indices.stop].split(10)]
        return {name: torch.cat([p[name] for p in parts]).half() for name in parts[0]}

    return cached_shards(folder / f"motions-{split}", made_from, len(video), make, f"{split} motions")


class DiffusionObjective(nn.Module):
    """Denoise the motion of a clip, given the latent of its frame 0 and its label."""

    def __init__(self, network: UNet3D, diffusion: GaussianDiffusion, autoencoder: LatentFlowAutoencoder | None):
        super().__init__()
        self.network, self.diffusion = network, diffusion
        self.autoencoder = [autoencoder]  # in a list: frozen, so neither trained nor saved with this module

    def forward(self, batch: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
        if "flow" not in batch:
            autoencoder = self.autoencoder[0].to(batch["video"].device).eval()
            batch = batch | see_motion(autoencoder, batch["video"])
        generator = torch.Generator().manual_seed(seed)
        x0 = self.diffusion.pack_motion(Motion(batch["flow"].float(), batch["occlusion"].float()))
        loss = self.diffusion.loss(self.network, x0, batch["features"].float(), batch["label"], generator=generator)
        return {"loss": loss}


def flow_std(flow: Float[Tensor, "n 2 t h w"]) -> tuple[float, float]:
    """Root mean square of the horizontal and the vertical flow, frame 0 left out: the unit of the scaled flow."""
    moving = flow[:, :, 1:].float()
    return tuple(round(max(moving[:, c].square().mean().sqrt().item(), 1e-4), 6) for c in range(2))


def train_diffusion(config: DiffusionRun, out: Path, resume: bool = False) -> LFDM:
    """Run stage two and leave the whole model (both stages) in `out`.

    Raises:
        CheckpointError: `config.autoencoder` is not the folder of a finished stage-one run.
    """
    out = Path(out)
    set_seed(config.loop.seed)
    autoencoder = load_autoencoder(config.autoencoder)
    for parameter in autoencoder.parameters():
        parameter.requires_grad_(False)
    cache = out.parent / "cache"
    video, label = cached_clips(config.data, "train", cache)
    val_video, val_label = cached_clips(config.data, "val", cache)
    labels = list(build_dataset(config.data, "train").labels)
    name = f"{Path(config.autoencoder).name}-{weights_fingerprint(autoencoder)}-{fingerprint(vars(config.data))}"
    val = cached_motions(autoencoder, config.data, "val", cache / name, val_video)
    if config.cache:
        tensors = cached_motions(autoencoder, config.data, "train", cache / name, video)
        std = flow_std(tensors["flow"])
    else:
        tensors = {"video": video}
        std = flow_std(val["flow"])
    diffusion = GaussianDiffusion(replace(config.diffusion, flow_std=std))
    unet = UNet3D(replace(config.unet, feature_channels=autoencoder.config.latent_channels, num_labels=len(labels)))

    def model_of(network: nn.Module) -> LFDM:
        return LFDM(autoencoder, network, diffusion, labels=labels, image_size=config.data.size)

    def sample(network: nn.Module, path: Path) -> None:
        sample_grid(model_of(network), val_video, path)

    network = fit(
        DiffusionObjective(unet, diffusion, autoencoder),
        ClipDataset(label=label, **tensors),
        config.optim,
        config.loop,
        out,
        config,
        validate=lambda network: validation_loss(network, diffusion, val, val_label, config.optim.batch_size),
        sample=sample if config.loop.trackers else None,
        resume=resume,
    )
    model = model_of(network).eval()
    model.save_pretrained(out)
    return model


def validation_loss(
    unet: nn.Module, diffusion: GaussianDiffusion, motions: dict[str, Tensor], label: Tensor, batch: int
) -> dict[str, float]:
    """The training loss on validation clips, with the same steps and noise every time."""
    objective, total = DiffusionObjective(unet, diffusion, None), []
    for i in range(math.ceil(len(label) / batch)):
        part = {name: tensor[i * batch : (i + 1) * batch] for name, tensor in motions.items()}
        total.append(objective(part | {"label": label[i * batch : (i + 1) * batch]}, step_seed(1, i))["loss"].item())
    return {"loss": sum(total) / len(total)}


def sample_grid(model: LFDM, video: UInt8[Tensor, "n 3 t h w"], path: Path) -> None:
    """One generated clip per label, each from another validation person's frame 0."""
    from .samples import save_rows

    count = len(model.labels)
    images = to_float(video[:count, :, 0])
    clips: Any = model.generate(images, list(range(len(images))), seed=0, steps=12, progress=False)
    save_rows(path, clips.video)
