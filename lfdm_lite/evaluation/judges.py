"""Networks that look at videos for a metric: a small video classifier, whose features also serve Fréchet distances.

A judge is trained on real training clips alone and never takes part in training or choosing what it judges.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..files.checkpoints import CONFIG_FILE, load_module, read_config, save_module
from ..files.models.configs import make_config, read_fields, read_labels

KIND = "VideoClassifier"


@dataclass(frozen=True)
class VideoClassifierConfig:
    """The shape of a `VideoClassifier`; the defaults hold 0.41 M numbers."""

    num_labels: int = 6  # classes
    shrink: int = 1  # pixels are averaged over squares of this side before anything is looked at
    channels: tuple[int, ...] = (24, 48, 64, 96)  # of the 2-D convolutions; each halves height and width
    grid: int = 4  # the last map is averaged to grid x grid cells, which keeps where in the picture something moves
    temporal_channels: int = 128  # of the convolutions along time
    feature_dim: int = 64  # length of the feature vector that Fréchet distances compare
    groups: int = 8  # of every GroupNorm; divides all channel counts

    def __post_init__(self) -> None:
        if self.num_labels < 2:
            raise ValueError(f"num_labels is {self.num_labels}; a classifier needs at least 2")
        sizes = {"shrink": self.shrink, "channels": self.channels, "grid": self.grid}
        sizes |= {"temporal_channels": self.temporal_channels, "feature_dim": self.feature_dim, "groups": self.groups}
        for name, size in sizes.items():
            if not size or min(size if isinstance(size, tuple) else (size,)) < 1:
                raise ValueError(f"{name} is {size}; expected at least 1")
        for channels in (*self.channels, self.temporal_channels):
            if channels % self.groups:
                raise ValueError(f"{channels} channels are not divisible by groups={self.groups}")


class VideoClassifier(nn.Module):
    """A video becomes one logit per label: strided 2-D convolutions on every frame, then convolutions along time.

    Each frame is seen together with its difference from frame 0, which is at rest in all our data.
    """

    def __init__(self, config: VideoClassifierConfig | int = VideoClassifierConfig()) -> None:
        super().__init__()
        config = VideoClassifierConfig(num_labels=config) if isinstance(config, int) else config
        self.config = config
        self.labels = [str(i) for i in range(config.num_labels)]  # their names; whoever trains the judge sets them
        self.shrink = nn.AvgPool2d(config.shrink)
        frame_layers = []
        previous = 6  # a frame and its difference from frame 0
        for channels in config.channels:
            frame_layers += [
                nn.Conv2d(previous, channels, 3, stride=2, padding=1),
                nn.GroupNorm(config.groups, channels),
                nn.SiLU(),
            ]
            previous = channels
        self.frames = nn.Sequential(*frame_layers, nn.AdaptiveAvgPool2d(config.grid), nn.Flatten())
        width = config.temporal_channels
        self.project = nn.Conv1d(previous * config.grid**2, width, 1)
        self.time = nn.Sequential(
            nn.GroupNorm(config.groups, width),
            nn.SiLU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.GroupNorm(config.groups, width),
            nn.SiLU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.SiLU(),
        )
        self.summary = nn.Sequential(nn.Linear(2 * width, config.feature_dim), nn.SiLU())
        self.classify = nn.Linear(config.feature_dim, config.num_labels)

    def features(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        """Describe each video by a vector, `config.feature_dim` numbers long, without units.

        Args:
            video: RGB in [0, 1], any length; height and width at least 16 after `config.shrink`.
        """
        change = video - video[:, :, :1]
        frames = rearrange(torch.cat([2 * video - 1, 2 * change], dim=1), "b c t h w -> (b t) c h w")
        maps = self.frames(self.shrink(frames))  # (b t) c*grid*grid
        track = self.project(rearrange(maps, "(b t) c -> b c t", b=len(video)))
        track = self.time(track)  # b temporal_channels t
        return self.summary(torch.cat([track.mean(dim=2), track.amax(dim=2)], dim=1))

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b labels"]:
        """Logits of the labels for each video (RGB in [0, 1])."""
        return self.classify(self.features(video))

    @torch.no_grad()
    def probabilities(self, video: Float[Tensor, "b 3 t h w"], batch_size: int = 32) -> Float[Tensor, "b labels"]:
        """The probability of each label (rows sum to 1), without gradients, `batch_size` videos at a time."""
        logits = [self(chunk) for chunk in video.split(batch_size)]
        return F.softmax(torch.cat(logits), dim=1)

    def save(self, folder: str | Path, dtype: torch.dtype | str | None = None, overwrite: bool = False) -> Path:
        """Write `config.json` (with `labels`) and `model.safetensors`, in one step.

        Args:
            folder: created if needed.
            dtype: store the parameters in this precision, e.g. `torch.float16`.
            overwrite: also replace a checkpoint of another kind.

        Raises:
            ValueError: if `labels` does not name each of the config's labels, once, or the folder holds another kind.
        """
        labels = [str(name) for name in self.labels]
        if len(labels) != self.config.num_labels or len(set(labels)) != len(labels):
            raise ValueError(f"got {len(set(labels))} names for a classifier of {self.config.num_labels} labels")
        config = {"labels": labels, "model": asdict(self.config)}
        return save_module(folder, self, KIND, config, dtype, overwrite)

    @classmethod
    def load(cls, folder: str | Path) -> "VideoClassifier":
        """Read a classifier that `save` wrote, in evaluation mode; the labels' names are in its `labels`.

        Raises:
            CheckpointError: the folder does not hold a whole, fitting checkpoint.
        """
        return load_module(folder, lambda: cls.described_in(folder)).eval()

    @classmethod
    def described_in(cls, folder: str | Path) -> "VideoClassifier":
        """A classifier with fresh weights, as a folder's config describes it.

        Raises:
            CheckpointError: no config there, or one that does not fit.
        """
        where = Path(folder) / CONFIG_FILE
        stored = read_config(folder, KIND)
        labels, values = read_fields(stored, ("labels", "model"), where)
        config = make_config(VideoClassifierConfig, values, f"{where}: model")
        classifier = cls(config)
        classifier.labels = read_labels(labels, config.num_labels, where)
        return classifier
