"""Both stages of the rivals: the auto-encoders of LDM and LaMD, and one stage two for all of them."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from ...baselines.discriminator import PatchDiscriminator, adversarial_losses
from ...baselines.lamd import LaMDCodec
from ...baselines.ldm import LDMCodec, kl_to_standard_normal
from ...baselines.rivals import Codec, Rival, load_codec
from ...evaluation.metrics import psnr
from ...evaluation.perceptual import FeatureTrunk
from ...files.variants import construct
from ..engine.core import Engine
from ..engine.loop import fit
from ..engine.randomness import Item
from ..rivals import CodecRun, LaMDCodecRun, LDMCodecRun, RivalDiffusionRun, VDMDiffusionRun
from .clips import CachedClips, TensorClips, Together, cached_clips, seen, to_float
from .samples import save_rows
from .shards import ShardedClips, weights_fingerprint
from .stage_one import PictureObjective
from .stage_two import DiffusionObjective, cached_motions, noise_and_condition, sample_grid, validation_loss

MEASURED = 500  # training clips whose numbers give the mean and the standard deviation of what is denoised
FirstStage = TypeVar("FirstStage", bound=Codec)


# ---------------------------------------------------------------- stage one


def draw_frame(clip: Item, generator: torch.Generator) -> Item:
    """A frame of a clip, one in two mirrored."""
    frame = clip["video"][:, torch.randint(clip["video"].shape[1], (), generator=generator)]
    return {"frame": frame.flip(-1) if torch.rand((), generator=generator) < 0.5 else frame}


class ImageObjective(PictureObjective[LDMCodec]):
    """Reconstruction of a frame from a draw of its map, and that map near a standard normal; means over the batch."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        frame = to_float(batch["frame"])
        painted, mean, log_variance = self.network(frame)
        return self.weigh(self.compare(painted, frame) | {"kl": kl_to_standard_normal(mean, log_variance)})


def draw_frames(clip: Item, generator: torch.Generator, count: int) -> Item:
    """A whole clip, one in two mirrored, and `count` of its frames that will be painted."""
    frames = torch.randperm(clip["video"].shape[1], generator=generator)[:count]
    mirrored = torch.rand((), generator=generator) < 0.5
    return {"video": clip["video"].flip(-1) if mirrored else clip["video"], "frames": frames}


class MotionImageObjective(PictureObjective[LaMDCodec]):
    """Reconstruction of some frames from a draw of their clip's motion image, and that near a standard normal.

    Beside the codec, and as a part of it while it learns, a discriminator may learn; it is not kept.
    """

    def __init__(self, network: LaMDCodec, config: LaMDCodecRun, features: FeatureTrunk | None = None):
        super().__init__(network, config, features)
        if config.adversarial_weight:
            network.discriminator = PatchDiscriminator()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        video, frames = to_float(batch["video"]), batch["frames"]
        painted, mean, log_variance = self.network(video, frames / max(video.shape[2] - 1, 1))
        wanted = torch.stack([clip[:, chosen] for clip, chosen in zip(video, frames, strict=True)])
        painted, wanted = (rearrange(part, "b c n h w -> (b n) c h w") for part in (painted, wanted))
        parts = self.compare(painted, wanted) | {"kl": kl_to_standard_normal(mean, log_variance)}
        if not self.config.adversarial_weight:
            return self.weigh(parts)
        judge: Any = self.network.discriminator
        source = video[:, :, 0].repeat_interleave(frames.shape[1], dim=0)
        of_painter, of_judge = adversarial_losses(judge, source, painted, wanted)
        judge.steps += 1
        found = self.weigh(parts | {"adversarial": (judge.steps > self.config.adversarial_from) * of_painter})
        return found | {"loss": found["loss"] + of_judge, "discriminator": of_judge}


def reconstruct(codec: Codec, video: UInt8[Tensor, "n 3 t h w"]) -> Iterator[tuple[Tensor, Tensor]]:
    """Clips and what the codec makes of them and back, a few at a time."""
    for part in video.split(4):
        clips = to_float(part.to(codec.mean.device))
        yield clips, codec.unpack(codec.pack(clips), clips[:, :, 0], clips.shape[2])


def codec_psnr(codec: Codec, video: UInt8[Tensor, "n 3 t h w"]) -> float:
    """Mean over clips of the PSNR of frames 1 to T-1, packed and unpacked, in dB."""
    scores = [psnr(painted[:, :, 1:], clips[:, :, 1:]).cpu() for clips, painted in reconstruct(codec, video)]
    return torch.cat(scores).mean().item()


def codec_rows(codec: Codec, video: UInt8[Tensor, "n 3 t h w"], path: Path) -> None:
    """A few clips as they are, each above what the codec makes of it."""
    rows = [torch.stack(both, dim=1).flatten(0, 1) for both in reconstruct(codec, video)]
    save_rows(path, torch.cat(rows).cpu())


def training_videos(clips: ShardedClips, device: torch.device) -> Iterator[Float[Tensor, "b 3 t h w"]]:
    """The first clips, for `Codec.measure`."""
    count = min(MEASURED, len(clips))
    for start in range(0, count, 10):
        yield to_float(torch.stack([clips[i]["video"] for i in range(start, min(start + 10, count))]).to(device))


def train_codec(
    config: CodecRun,
    out: Path,
    resume: bool,
    objective: Callable[[FirstStage, Any], PictureObjective[FirstStage]],
    draw: Callable[[Item, torch.Generator], Item],
) -> FirstStage:
    """Train a first stage and leave it in `out`, with the measures of what stage two will see.

    Args:
        objective: of its network and config.
        draw: as of `fit`.
    """
    with Engine(config, out, resume) as engine:
        learner = objective(engine.build(lambda: construct(config.model)), config)
        clips = cached_clips(config.data, "train", engine.cache, engine)
        val_clips = cached_clips(config.data, "val", engine.cache, engine)
        val = val_clips.whole("video")
        engine.begin(seen(clips, val_clips))
        codec = fit(
            engine,
            learner,
            clips,
            draw,
            validate=lambda network: {"psnr": codec_psnr(network, val)},
            score=lambda found: found["psnr"],
            sample=lambda network, path: codec_rows(network, val[:6], path),
        )
        codec._modules.pop("discriminator", None)  # it learned beside the codec, and has done its work
        codec.measure(training_videos(clips, engine.device))
        if engine.main:
            codec.save(out)
        engine.wait()
        return codec


def train_ldm_codec(config: LDMCodecRun, out: Path, resume: bool = False) -> LDMCodec:
    """Train the image auto-encoder of LDM and leave it in `out`."""
    return train_codec(config, out, resume, ImageObjective, draw_frame)


def train_lamd_codec(config: LaMDCodecRun, out: Path, resume: bool = False) -> LaMDCodec:
    """Train the auto-encoder of LaMD and leave it in `out`."""
    return train_codec(config, out, resume, MotionImageObjective, partial(draw_frames, count=config.frames))


# ---------------------------------------------------------------- stage two


@torch.no_grad()
def see_latents(codec: Codec, video: UInt8[Tensor, "b 3 t h w"]) -> dict[str, Tensor]:
    """What stage two needs of each clip: what is denoised, and what the denoiser is told of frame 0."""
    clips = to_float(video)
    return {"x0": codec.pack(clips), "features": codec.encode(clips[:, :, 0])}


def draw_latents(clip: Item, generator: torch.Generator, codec: Codec, **how: Any) -> Item:
    """A clip as its codec sees it, with a diffusion step, its noise, and its label or none.

    Args:
        clip: with "x0" and "features" from the cache, or else with "video".
        codec: on the CPU.
        how: as `noise_and_condition` wants it.
    """
    if "x0" in clip:
        found = {name: clip[name].float() for name in ("x0", "features")}
    else:
        found = {name: value[0] for name, value in see_latents(codec, clip["video"][None]).items()}
    return found | noise_and_condition(clip, tuple(found["x0"].shape), generator, **how)


def train_rival(config: RivalDiffusionRun, out: Path, resume: bool = False) -> Rival:
    """Train a rival's denoiser and leave the whole rival in `out`.

    What a first stage without parameters makes of clips is made anew in every step; else once, and kept on disk.

    Raises:
        CheckpointError: `config.codec` is not the folder of a finished first stage of this rival.
    """
    if isinstance(config, VDMDiffusionRun) and not config.codec:
        codec: Codec = construct(config.pixels)
    else:
        codec = load_codec(config.codec, config.kind)
    codec.requires_grad_(False)
    with Engine(config, out, resume) as engine:
        codec.to(engine.device)
        clips = cached_clips(config.data, "train", engine.cache, engine)
        val_clips = cached_clips(config.data, "val", engine.cache, engine)
        if not config.codec:
            codec.measure(training_videos(clips, engine.device))
        labels, learned = clips.labels, {"codec": weights_fingerprint(codec)} if config.codec else {}
        denoiser = engine.build(lambda: construct(codec.fit(config.denoiser, len(labels))))
        diffusion = construct(config.diffusion)
        how: dict[str, Any] = {"diffusion": construct(config.diffusion), "labels": len(labels)}
        draw = partial(draw_latents, codec=copy.deepcopy(codec).cpu(), **how)
        known: tuple[CachedClips | Together, ...] = (clips, val_clips)
        if config.codec:
            place = engine.cache / f"{Path(config.codec).name}-{learned['codec']}"
            see = partial(cached_motions, codec, learned["codec"], folder=place, engine=engine, see=see_latents)
            known = tuple(
                Together(see(split, clips=some), TensorClips(label=some.whole("label")))
                for split, some in (("train", clips), ("val", val_clips))
            )
        engine.begin(seen(clips, val_clips) | learned)

        def model_of(network: Any) -> Rival:
            return Rival(codec, network, diffusion, labels, config.data.size, config.data.num_frames)

        network = fit(
            engine,
            DiffusionObjective(denoiser, diffusion, None),
            known[0],
            draw,
            validate=lambda network: validation_loss(network, diffusion, known[1], draw, config.optim.batch_size),
            score=lambda found: -found["loss"],
            sample=lambda network, path: sample_grid(model_of(network), val_clips, path),
        )
        model = model_of(network).eval()
        if engine.main:
            model.save(out)
        engine.wait()
        return model
