"""Train the judge: the small classifier that reads labels from videos."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..judges import VideoClassifier
from .clips import build_dataset, cached_clips, to_float
from .configs import JudgeRun
from .loop import fit, set_seed
from .stage_one import ClipDataset


class JudgeObjective(nn.Module):
    """Cross-entropy of the label; clips are mirrored, and shifted in colour and brightness, at random."""

    def __init__(self, network: VideoClassifier):
        super().__init__()
        self.network = network

    def forward(self, batch: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        video = to_float(batch["video"])
        mirrored = torch.rand(len(video), 1, 1, 1, 1, generator=generator) < 0.5
        shift = 0.2 * torch.rand(len(video), 3, 1, 1, 1, generator=generator) - 0.1
        video = torch.where(mirrored.to(video.device), video.flip(-1), video) + shift.to(video.device)
        return {"loss": F.cross_entropy(self.network(video).float(), batch["label"], label_smoothing=0.05)}


def train_judge(config: JudgeRun, out: Path, resume: bool = False) -> VideoClassifier:
    """Train the judge on real training clips and leave it in `out`. It never sees what it will judge."""
    out = Path(out)
    set_seed(config.loop.seed)
    video, label = cached_clips(config.data, "train", out.parent / "cache")
    val_video, val_label = cached_clips(config.data, "val", out.parent / "cache")
    network = VideoClassifier(config.model)
    network.labels = list(build_dataset(config.data, "train").labels)

    def accuracy(network: nn.Module) -> dict[str, float]:
        predicted = torch.cat([network(to_float(part)).argmax(1) for part in val_video.split(32)])
        return {"accuracy": (predicted == val_label).float().mean().item()}

    dataset = ClipDataset(video=video, label=label)
    trained = fit(
        JudgeObjective(network), dataset, config.optim, config.loop, out, config, validate=accuracy, resume=resume
    )
    trained.labels = network.labels
    trained.save(out)
    return trained
