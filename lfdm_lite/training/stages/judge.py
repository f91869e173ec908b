"""Train the judge: the small classifier that reads labels from videos."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from ...evaluation.judges import VideoClassifier, VideoClassifierConfig
from ...geometry import resize
from ..configs import JudgeRun
from ..engine.core import Engine, Objective
from ..engine.loop import fit
from ..engine.randomness import Item
from .clips import CachedClips, cached_clips, seen, to_float
from .finished import remembered
from .shards import weights_fingerprint

COARSEST, GRAIN = 0.4, 0.03  # at full wear: the share of the pixels' rows that is left, the noise's deviation


def draw_view(clip: Item, generator: torch.Generator, mirror: bool = True, wear: float = 0.0) -> Item:
    """A clip, with `mirror` one in two mirrored, with `wear` up to that worn, and a shift of its colours."""
    flipped = torch.rand((), generator=generator) < 0.5
    video = clip["video"].flip(-1) if mirror and flipped else clip["video"]
    shift = 0.2 * torch.rand(3, generator=generator) - 0.1
    video = worn(video, wear, generator) if wear else video
    return {"video": video, "shift": shift, "label": clip["label"]}


def worn(video: UInt8[Tensor, "3 t h w"], most: float, generator: torch.Generator) -> UInt8[Tensor, "3 t h w"]:
    """A clip as a network might have painted it: softened, by another size and back, and with noise in every pixel.

    Args:
        most: how far at most, from 0 to 1; each clip is worn by another share of it.
    """
    soft, grain = (most * torch.rand(2, generator=generator)).tolist()
    size = video.shape[-1]
    frames = to_float(video)[None]
    frames = resize(resize(frames, round(size * (1 - (1 - COARSEST) * soft))), size)[0]
    frames = frames + GRAIN * grain * torch.randn(frames.shape, generator=generator)
    return (255 * frames).round().clamp(0, 255).to(torch.uint8)


class JudgeObjective(Objective[VideoClassifier]):
    """Cross-entropy of the label, a mean over the batch."""

    def __init__(self, network: VideoClassifier):
        super().__init__()
        self.network = network

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        video = to_float(batch["video"]) + batch["shift"][:, :, None, None, None]
        return {"loss": F.cross_entropy(self.network(video).float(), batch["label"], label_smoothing=0.05)}


def train_judge(config: JudgeRun, out: Path, resume: bool = False) -> VideoClassifier:
    """Train the judge on real training clips and leave it in `out`. It never sees what it will judge.

    Raises:
        CheckpointError: `config.init` holds no finished judge.
    """
    with Engine(config, out, resume) as engine:
        start = VideoClassifier.load(config.init) if config.init and not engine.goes_on else None
        started = {} if not config.init else {"init": weights_fingerprint(start)} if start else remembered(engine)
        clips = cached_clips(config.data, "train", engine.cache, engine)
        val = cached_clips(config.data, "val", engine.cache, engine)
        model = replace(config.model, num_labels=len(clips.labels))  # as many as there are, as in stage two
        network = engine.build(lambda: beginning(model, start))
        engine.begin(seen(clips, val) | started)
        trained = fit(
            engine,
            JudgeObjective(network),
            clips,
            partial(draw_view, mirror=config.mirror, wear=config.wear),
            validate=lambda network: {"accuracy": accuracy(network, val)},
            score=lambda found: found["accuracy"],
        )
        trained.labels = clips.labels
        if engine.main:
            trained.save(out)
        engine.wait()
        return trained


def beginning(config: VideoClassifierConfig, start: VideoClassifier | None) -> VideoClassifier:
    """A judge with fresh weights, or with those of a finished one, which may have seen pictures of another size.

    Raises:
        ValueError: the finished one is of another shape.
    """
    network = VideoClassifier(config)
    if start is None:
        return network
    ours, theirs = asdict(config), asdict(start.config)
    differs = [name for name in ours if name != "shrink" and ours[name] != theirs[name]]
    if differs:
        told = "; ".join(f"{name} {theirs[name]}, not {ours[name]}" for name in differs)
        raise ValueError(f"the judge to start from has {told}")
    network.load_state_dict(start.state_dict())
    return network


def accuracy(network: VideoClassifier, clips: CachedClips) -> float:
    """How many labels of clips the network reads, as a share."""
    device = next(network.parameters()).device
    parts = clips.whole("video").split(32)
    predicted = torch.cat([network(to_float(part.to(device))).argmax(1).cpu() for part in parts])
    return (predicted == clips.whole("label")).float().mean().item()
