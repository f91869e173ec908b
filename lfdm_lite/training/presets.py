"""Named sizes of the whole system, each with a configuration for every stage; 128x128 pixels are in `full_scale`."""

from dataclasses import replace

from ..autoencoder import LFAEConfig
from ..data import PROCEDURAL
from ..evaluation.judges import VideoClassifierConfig
from ..unet3d import UNet3DConfig
from .configs import AutoencoderRun, DataConfig, DecoderRun, DiffusionRun, JudgeRun, LoopConfig, OptimConfig, Preset
from .full_scale import FULL_SCALE


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


def _moving(name: str) -> Preset:
    """`faces64` on a set whose motions are larger and more: twice the steps, and nothing is mirrored for the judge."""
    data = DataConfig(name=name)
    labels = len(PROCEDURAL[name].labels)
    stage_one, stage_two = AutoencoderRun(data=data), DiffusionRun(data=data)
    return Preset(
        replace(stage_one, optim=replace(stage_one.optim, steps=10000)),
        replace(
            stage_two,
            unet=replace(stage_two.unet, num_labels=labels),
            optim=replace(stage_two.optim, steps=4000),
        ),
        JudgeRun(
            model=VideoClassifierConfig(num_labels=labels),
            data=data,
            mirror=False,
            optim=OptimConfig(steps=1000, batch_size=32, learning_rate=2e-3),
        ),
        DecoderRun(data=data),
    )


PRESETS: dict[str, Preset] = {
    "tiny": _tiny(),
    "faces32": _faces32(),
    "faces64": _faces64(),
    "figures64": _moving("figures"),
    "gestures64": _moving("gestures"),
} | FULL_SCALE
