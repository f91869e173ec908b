"""Train the judge: the small classifier that reads labels from videos."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...evaluation.judges import VideoClassifier
from ..configs import JudgeRun
from ..engine.core import Engine
from ..engine.loop import fit
from ..engine.randomness import Item
from .clips import CachedClips, cached_clips, seen, to_float


def draw_view(clip: Item, generator: torch.Generator, mirror: bool = True) -> Item:
    """A clip, with `mirror` one in two mirrored, and a shift of its colours."""
    flipped = torch.rand((), generator=generator) < 0.5
    video = clip["video"].flip(-1) if mirror and flipped else clip["video"]
    return {"video": video, "shift": 0.2 * torch.rand(3, generator=generator) - 0.1, "label": clip["label"]}


class JudgeObjective(nn.Module):
    """Cross-entropy of the label, a mean over the batch."""

    def __init__(self, network: VideoClassifier):
        super().__init__()
        self.network = network

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        video = to_float(batch["video"]) + batch["shift"][:, :, None, None, None]
        return {"loss": F.cross_entropy(self.network(video).float(), batch["label"], label_smoothing=0.05)}


def train_judge(config: JudgeRun, out: Path, resume: bool = False) -> VideoClassifier:
    """Train the judge on real training clips and leave it in `out`. It never sees what it will judge."""
    with Engine(config, out, resume) as engine:
        clips = cached_clips(config.data, "train", engine.cache, engine)
        val = cached_clips(config.data, "val", engine.cache, engine)
        model = replace(config.model, num_labels=len(clips.labels))  # as many as there are, as in stage two
        network = engine.build(lambda: VideoClassifier(model))
        engine.begin(seen(clips, val))
        trained = fit(
            engine,
            JudgeObjective(network),
            clips,
            partial(draw_view, mirror=config.mirror),
            validate=lambda network: {"accuracy": accuracy(network, val)},
            score=lambda found: found["accuracy"],
        )
        trained.labels = clips.labels
        if engine.main:
            trained.save(out)
        engine.wait()
        return trained


def accuracy(network: VideoClassifier, clips: CachedClips) -> float:
    """How many labels of clips the network reads, as a share."""
    device = next(network.parameters()).device
    parts = clips.whole("video").split(32)
    predicted = torch.cat([network(to_float(part.to(device))).argmax(1).cpu() for part in parts])
    return (predicted == clips.whole("label")).float().mean().item()
