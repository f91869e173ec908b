"""Named sizes of the whole system, each with a configuration for every stage."""

from dataclasses import dataclass, field, replace

from ..autoencoder import LFAEConfig
from ..judges import VideoClassifierConfig
from ..unet3d import UNet3DConfig
from .configs import AutoencoderRun, DataConfig, DecoderRun, DiffusionRun, JudgeRun, LoopConfig, OptimConfig


@dataclass(frozen=True)
class Preset:
    """One size of the whole system."""

    autoencoder: AutoencoderRun
    diffusion: DiffusionRun
    judge: JudgeRun
    decoder: DecoderRun = field(default_factory=DecoderRun)

    def with_data(self, data: DataConfig) -> "Preset":
        """The same preset on other clips."""
        stages = (self.autoencoder, self.diffusion, self.judge, self.decoder)
        return Preset(*(replace(stage, data=data) for stage in stages))


def _tiny() -> Preset:
    """Seconds on any machine; learns nothing worth seeing. For tests."""
    data = DataConfig(size=32, num_frames=4, train_clips=12, val_clips=4)
    loop = LoopConfig(save_every=4, validate_every=4, sample_every=0, log_every=1, precision="no", tracker="none")
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
        DecoderRun(data=data, optim=optim, loop=loop),
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
        DecoderRun(data=data, optim=OptimConfig(steps=300, learning_rate=5e-4)),
    )


PRESETS: dict[str, Preset] = {"tiny": _tiny(), "faces32": _faces32(), "faces64": _faces64()}
