"""Stage two: train the diffusion model on the motions that the frozen auto-encoder sees."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.utils.data import default_collate

from ...autoencoder import LatentFlowAutoencoder, LFAEConfig
from ...conditions import NumberRange, drop
from ...data.drawn.faces import Faces
from ...diffusion import GaussianDiffusion
from ...files.variants import construct
from ...inputs import check_parts
from ...motion import Motion
from ...pipeline import LFDM
from ...unet3d import UNet3DConfig
from ..configs import DiffusionRun
from ..engine.core import Engine, Objective
from ..engine.loop import fit
from ..engine.randomness import Item, generator_of
from .clips import CachedClips, TensorClips, Together, cached_clips, seen, to_float
from .finished import load_autoencoder, start_from
from .samples import save_rows
from .shards import ShardedClips, sharded_clips, weights_fingerprint


@torch.no_grad()
def see_motion(network: LatentFlowAutoencoder, video: UInt8[Tensor, "b 3 t h w"]) -> dict[str, Tensor]:
    """What stage two needs of each clip: latent of frame 0, flow and occlusion of all frames. No decoder runs."""
    clips = to_float(video)
    flow, occlusion = network.estimate_motion(clips[:, :, 0], clips)
    return {"features": network.encode(clips[:, :, 0]), "flow": flow, "occlusion": occlusion}


def cached_motions(
    network: nn.Module,
    weights: str,
    split: str,
    folder: Path,
    clips: ShardedClips,
    engine: Engine | None = None,
    see: Callable[[Any, Tensor], dict[str, Tensor]] = see_motion,
) -> ShardedClips:
    """`see_motion` of every clip, computed once, kept on disk in half precision.

    Args:
        weights: a hash of the network's.
        clips: of the split; their key says which.
        see: in the place of `see_motion`, of another network.
    """
    made_from = {"autoencoder": weights, "clips": clips.key, "count": len(clips), "split": split}
    device = next(network.parameters()).device

    def make(indices: range) -> dict[str, Tensor]:
        video = torch.stack([clips[i]["video"] for i in indices])
        parts = [see(network, part.to(device)) for part in video.split(10)]
        return {name: torch.cat([p[name] for p in parts]).half().cpu() for name in parts[0]}

    place = folder / f"motions-{split}-{clips.key}"
    return sharded_clips(place, made_from, len(clips), make, f"{split} motions", engine)


def draw_noise(
    clip: Item,
    generator: torch.Generator,
    diffusion: GaussianDiffusion,
    stride: int,
    labels: int,
    numbers: Sequence[str] = (),
) -> Item:
    """A clip with a diffusion step, its noise, and its label or none; its numbers too if there are any.

    Args:
        clip: with the motion that the auto-encoder sees in it, or else with "video"; with "label" and the numbers.
        diffusion: on the CPU; packs the motion and says how often labels and numbers are dropped.
        stride: image size over motion size.
        labels: number of labels, and the index that stands for none.
        numbers: names of those that the network is told; together they become "numbers" (n,), NaN where dropped.
    """
    if "flow" in clip:
        motion = Motion(clip["flow"][None].float(), clip["occlusion"][None].float())
        seen = {"x0": diffusion.pack_motion(motion)[0], "features": clip["features"].float()}
        shape = tuple(seen["x0"].shape)
    else:
        seen = {"video": clip["video"]}
        frames, height, width = clip["video"].shape[1:]
        shape = (3, frames, height // stride, width // stride)
    return seen | noise_and_condition(clip, shape, generator, diffusion, labels, numbers)


def noise_and_condition(
    clip: Item,
    shape: tuple[int, ...],
    generator: torch.Generator,
    diffusion: GaussianDiffusion,
    labels: int,
    numbers: Sequence[str] = (),
) -> Item:
    """A diffusion step, noise of a shape, a clip's label or none, and its numbers, as `draw_noise` gives them."""
    config = diffusion.config
    t = torch.randint(config.num_steps, (), generator=generator)
    eps = torch.randn(shape, generator=generator)
    known = torch.tensor([[float(clip[name]) for name in numbers]]) if numbers else None
    chances = config.null_probability, config.number_null_probability
    asked = drop(torch.as_tensor(clip["label"])[None], known, labels, *chances, generator)
    told = {name: value[0] for name, value in zip(("label", "numbers"), asked, strict=False)}
    return {"t": t, "eps": eps} | told


class DiffusionObjective(Objective[Any]):
    """Denoise the motion of a clip, given the latent of its frame 0 and what is asked; a mean over the batch."""

    def __init__(self, network: nn.Module, diffusion: GaussianDiffusion, autoencoder: LatentFlowAutoencoder | None):
        super().__init__()
        self.network, self.diffusion = network, diffusion
        self.autoencoder: list[Any] = [autoencoder]  # in a list: frozen, so neither trained nor saved with this module

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if "x0" not in batch:
            seen = see_motion(self.autoencoder[0], batch["video"])
            x0 = self.diffusion.pack_motion(Motion(seen["flow"], seen["occlusion"]))
            batch = batch | {"x0": x0, "features": seen["features"].float()}
        given = (batch[name] for name in ("x0", "t", "eps", "features", "label", "numbers") if name in batch)
        return {"loss": self.diffusion.loss_at(self.network, *given)}


def flow_std(motions: ShardedClips) -> tuple[float, float]:
    """Root mean square of the horizontal and the vertical flow, frame 0 left out: the unit of the scaled flow."""
    squares, count = torch.zeros(2, dtype=torch.float64), 0
    for shard in motions.shards:
        moving: Float[Tensor, "n 2 t h w"] = shard["flow"][:, :, 1:].double()
        squares += moving.square().sum(dim=(0, 2, 3, 4))
        count += moving[:, 0].numel()
    x, y = (round(max((total / max(count, 1)) ** 0.5, 1e-4), 6) for total in squares.tolist())
    return x, y


def number_ranges(clips: CachedClips, names: Sequence[str]) -> tuple[NumberRange, ...]:
    """Of the numbers that the clips know, those that are named, from least to greatest, to the next 0.01 outward.

    One that is the same in all clips says nothing, and is left out.

    Raises:
        ValueError: a name that no clips know.
    """
    for name in names:
        if name not in Faces.numbers:
            raise ValueError(f"numbers: {name!r} is not one of: {', '.join(Faces.numbers)}")
    values = {name: clips.whole(name) for name in names if name in clips.numbers}
    return tuple(
        NumberRange(name, math.floor(100 * value.min().item()) / 100, math.ceil(100 * value.max().item()) / 100)
        for name, value in values.items()
        if value.min() < value.max()
    )


def fitting(
    config: UNet3DConfig, autoencoder: LFAEConfig, labels: int, numbers: tuple[NumberRange, ...]
) -> UNet3DConfig:
    """The config with what the auto-encoder and the clips decide."""
    patch = max(config.patch, autoencoder.latent_stride // autoencoder.flow_stride)
    features = autoencoder.latent_channels
    return replace(config, feature_channels=features, num_labels=labels, patch=patch, numbers=numbers)


def train_diffusion(config: DiffusionRun, out: Path, resume: bool = False) -> LFDM:
    """Run stage two and leave the whole model (both stages) in `out`.

    Raises:
        CheckpointError: `config.autoencoder` is not the folder of a finished stage-one run.
        ValueError: its motion, the clips and the network do not fit together.
    """
    autoencoder = load_autoencoder(config.autoencoder).requires_grad_(False)
    with Engine(config, out, resume) as engine:
        autoencoder.to(engine.device)
        clips = cached_clips(config.data, "train", engine.cache, engine)
        val_clips = cached_clips(config.data, "val", engine.cache, engine)
        labels, weights = clips.labels, weights_fingerprint(autoencoder)
        known = number_ranges(clips, config.numbers)
        numbers = [number.name for number in known]
        unet_config = fitting(config.unet, autoencoder.config, len(labels), known)
        check_parts(autoencoder.config, unet_config, labels, config.data.size)
        unet = engine.build(lambda: construct(unet_config))
        started = start_from(unet, config.init, "unet", engine)
        unet.checkpointing = config.checkpointing
        place = engine.cache / f"{Path(config.autoencoder).name}-{weights}"
        see = partial(cached_motions, autoencoder, weights, folder=place, engine=engine)
        val = see("val", clips=val_clips)
        motions = see("train", clips=clips) if config.cache else None
        diffusion_config = replace(config.diffusion, flow_std=flow_std(motions or val))
        diffusion = construct(diffusion_config)
        draw = partial(
            draw_noise,
            diffusion=construct(diffusion_config),
            stride=autoencoder.config.flow_stride,
            labels=len(labels),
            numbers=numbers,
        )
        asked, val_asked = (
            TensorClips(**{name: part.whole(name) for name in ("label", *numbers)}) for part in (clips, val_clips)
        )
        engine.begin(seen(clips, val_clips) | {"autoencoder": weights} | started)

        def model_of(network: Any) -> LFDM:
            return LFDM(autoencoder, network, diffusion, labels=labels, image_size=config.data.size)

        network = fit(
            engine,
            DiffusionObjective(unet, diffusion, autoencoder),
            clips if motions is None else Together(motions, asked),
            draw,
            validate=lambda network: validation_loss(
                network, diffusion, Together(val, val_asked), draw, config.optim.batch_size
            ),
            score=lambda found: -found["loss"],
            sample=lambda network, path: sample_grid(model_of(network), val_clips, path),
        )
        model = model_of(network).eval()
        if engine.main:
            model.save_pretrained(out)
        engine.wait()
        return model


def validation_loss(
    unet: nn.Module,
    diffusion: GaussianDiffusion,
    clips: Together | ShardedClips,
    draw: Callable[[Item, torch.Generator], Item],
    batch: int,
) -> dict[str, float]:
    """The training loss on validation clips, with the same steps and noise every time."""
    objective, device = DiffusionObjective(unet, diffusion, None), next(unet.parameters()).device
    total = torch.zeros((), device=device)
    for start in range(0, len(clips), batch):
        indices = range(start, min(start + batch, len(clips)))
        part = default_collate([draw(clips[i], generator_of(1, 0, i)) for i in indices])
        found = objective({name: value.to(device) for name, value in part.items()})
        total = total + found["loss"] * len(indices)
    return {"loss": total.item() / len(clips)}


def sample_grid(
    model: Any, clips: ShardedClips | Sequence[Item], path: Path, steps: int | None = 12, **options: bool
) -> None:
    """One generated clip per label, each from another validation person's frame 0."""
    count = min(len(model.labels), len(clips))
    images = to_float(torch.stack([clips[i]["video"][:, 0] for i in range(count)]))
    made: Any = model.generate(images, list(range(count)), seed=0, steps=steps, **options, progress=False)
    save_rows(path, made.video)
