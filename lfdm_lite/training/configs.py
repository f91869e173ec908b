"""What a training run is made of, as frozen dataclasses, and the presets that name good ones.

One run writes one folder. Everything random in step n is a function of the run's seed and of n, so a run that was
interrupted goes on exactly where it stopped.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from ..autoencoder import LFAEConfig
from ..diffusion import DiffusionConfig
from ..judges import VideoClassifierConfig
from ..unet3d import UNet3DConfig


@dataclass(frozen=True)
class DataConfig:
    """Which clips a run sees."""

    name: str = "faces"  # a procedural set, or "folder" for the videos below `root`
    root: str | None = None  # folder of videos, for name = "folder"
    size: int = 64  # height and width in pixels; the paper: 128
    num_frames: int = 16  # frames a clip; the paper: 40
    train_clips: int = 4000  # rendered or decoded once, kept on disk as 8-bit frames
    val_clips: int = 60  # clips of other subjects, for choosing
    seed: int = 0  # of the procedural clips


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with a linear warm-up and a cosine to zero, gradient clipping, and an average of the weights."""

    steps: int = 3000  # optimizer steps
    batch_size: int = 16  # pairs (stage one) or clips (stage two, judge) a step
    learning_rate: float = 1e-3  # at the top of the schedule
    warmup: int = 200  # steps from 0 to the top
    betas: tuple[float, float] = (0.9, 0.99)  # of AdamW
    weight_decay: float = 0.01  # of AdamW
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.995  # decay of the weights' moving average; the paper's code has none


@dataclass(frozen=True)
class LoopConfig:
    """How the run is carried out; nothing here changes what is learned, save the precision."""

    seed: int = 0  # of initial weights and of every step's randomness
    precision: Literal["no", "bf16", "fp16"] = "bf16"  # of the convolutions; coordinates stay float32
    save_every: int = 500  # steps between checkpoints
    keep: int = 2  # checkpoints that stay on disk
    validate_every: int = 500  # steps between validations
    log_every: int = 10  # steps between rows of log.csv
    trackers: bool = True  # TensorBoard scalars and sample grids


@dataclass(frozen=True)
class AutoencoderRun:
    """Stage one."""

    model: LFAEConfig = field(default_factory=LFAEConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=5000))
    loop: LoopConfig = field(default_factory=LoopConfig)
    from_rest: float = 0.5  # share of pairs whose source is frame 0, as in stage two; else any frame
    gradient_weight: float = 1.0  # of colour differences against colours, in the pyramid loss
    visibility_weight: float = 0.05  # of the occlusion map against where the warp fails; the paper: none
    visibility_tolerance: float = 0.2  # colour error of the warp at which visibility is 1/e
    shift_weight: float = 0.1  # of the equivariance of shifts
    affine_weight: float = 0.02  # of the equivariance of affine frames


@dataclass(frozen=True)
class DiffusionRun:
    """Stage two, on the motions that a finished auto-encoder sees in the training clips."""

    autoencoder: str = ""  # folder of a finished stage-one run
    unet: UNet3DConfig = field(default_factory=lambda: UNet3DConfig(feature_channels=64, num_labels=6))
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(steps=1600, batch_size=8, learning_rate=8e-4, ema=0.998)
    )
    loop: LoopConfig = field(default_factory=LoopConfig)
    cache: bool = True  # motions and latents computed once and kept on disk; False: anew in every step


@dataclass(frozen=True)
class JudgeRun:
    """The small classifier that reads labels from videos; it sees real training clips alone."""

    model: VideoClassifierConfig = field(default_factory=VideoClassifierConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=300, batch_size=32, learning_rate=2e-3))
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass(frozen=True)
class Preset:
    """One size of the whole system."""

    autoencoder: AutoencoderRun
    diffusion: DiffusionRun
    judge: JudgeRun

    def with_data(self, data: DataConfig) -> "Preset":
        """The same preset on other clips."""
        return Preset(
            replace(self.autoencoder, data=data), replace(self.diffusion, data=data), replace(self.judge, data=data)
        )


def _tiny() -> Preset:
    """Seconds on any machine; learns nothing worth seeing. For tests."""
    data = DataConfig(size=32, num_frames=4, train_clips=12, val_clips=4)
    loop = LoopConfig(save_every=4, validate_every=4, log_every=1, precision="no", trackers=False)
    optim = OptimConfig(steps=8, batch_size=2, warmup=2)
    lfae = LFAEConfig(
        num_regions=3, width=8, latent_channels=16, num_residual=1, region_width=8, region_depth=2, flow_width=8,
        flow_depth=2, background_width=8, background_depth=2,
    )  # fmt: skip
    unet = UNet3DConfig(feature_channels=16, num_labels=6, dim=8, dim_mults=(1, 2), num_frames=4)
    judge = VideoClassifierConfig(channels=(8, 16), temporal_channels=16, feature_dim=8)
    return Preset(
        AutoencoderRun(model=lfae, data=data, optim=optim, loop=loop),
        DiffusionRun(unet=unet, data=data, optim=optim, loop=loop),
        JudgeRun(model=judge, data=data, optim=optim, loop=loop),
    )


def _faces64() -> Preset:
    """The shipped checkpoint: 64x64, 16 frames, about seventy minutes on two CPU cores for both stages."""
    return Preset(AutoencoderRun(), DiffusionRun(), JudgeRun())


def _faces32() -> Preset:
    """Minutes on a laptop: 32x32, 8 frames."""
    data = DataConfig(size=32, num_frames=8, train_clips=1000)
    small = replace(LFAEConfig(), region_downscale=1, flow_depth=2)
    return Preset(
        AutoencoderRun(model=small, data=data, optim=OptimConfig(steps=1000)),
        DiffusionRun(
            unet=UNet3DConfig(feature_channels=64, num_labels=6, dim=32, dim_mults=(1, 2), num_frames=8),
            data=data,
            optim=OptimConfig(steps=2000, batch_size=8, learning_rate=5e-4, ema=0.995),
        ),
        JudgeRun(data=data, optim=OptimConfig(steps=400, batch_size=32, learning_rate=2e-3)),
    )


PRESETS: dict[str, Preset] = {"tiny": _tiny(), "faces32": _faces32(), "faces64": _faces64()}
