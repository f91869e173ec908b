"""Named sizes of the whole system, each with a configuration for every stage; those for a GPU are in `full_scale`."""

from dataclasses import fields, replace

from ..autoencoder import LFAEConfig
from ..baselines.ablated import AblatedLFAEConfig, AblatedUNet3DConfig
from ..data import PROCEDURAL
from ..data.drawn.acting.expressions import Acting
from ..diffusion import DiffusionConfig
from ..evaluation.judges import VideoClassifierConfig
from ..unet3d import UNet3DConfig
from .configs import (
    AutoencoderRun,
    DataConfig,
    DecoderRun,
    DiffusionRun,
    DistillRun,
    JudgeRun,
    LoopConfig,
    OptimConfig,
    Preset,
)
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
        DistillRun(data=data, optim=optim, loop=loop),
    )


def _faces64() -> Preset:
    """The shipped checkpoint: 64x64, 16 frames. Faces act wider than those that judge it, and heads turn."""
    wide = DataConfig(acting=Acting(strength=(0.5, 1.45), turn=0.2))
    return Preset(
        AutoencoderRun(
            model=LFAEConfig(num_regions=16, motion_stride=2, refine_width=16),
            data=wide,
            from_rest=0.7,
            perceptual_weight=0.035,
            features="vgg16",
            depths=3,
            scales=1,
            warp_weight=0.5,
            contrast_weight=0.1,
            stillness_weight=1.0,
            smoothness_weight=1.0,
        ),
        # A place holds twelve numbers: to answer v, the network would have to carry all their noise through itself.
        DiffusionRun(data=wide, numbers=("strength", "turn"), diffusion=DiffusionConfig(parameterization="x0")),
        JudgeRun(),
        few_steps=DistillRun(data=wide),
    )


def _rivals64() -> Preset:
    """LFDM beside its rivals at equal effort: `faces64`'s sizes and losses, usual acting, no numbers told.

    The denoiser holds 2.07 M numbers, and what a rival makes of it differs from that by less than 5 %.
    """
    large, data = _faces64(), DataConfig()
    return Preset(
        replace(large.autoencoder, data=data),
        replace(large.diffusion, unet=replace(large.diffusion.unet, dim_mults=(1, 2, 4)), data=data, numbers=()),
        JudgeRun(data=data),
        DecoderRun(data=data),
    )


def _ablations64() -> Preset:
    """`rivals64`, of whose LFDM parts can be taken out: its occlusion maps, and what stage two knows of the image."""
    whole = _rivals64()
    lfae, unet = (
        {known.name: getattr(part, known.name) for known in fields(part)}
        for part in (whole.autoencoder.model, whole.diffusion.unet)
    )
    return replace(
        whole,
        autoencoder=replace(whole.autoencoder, model=AblatedLFAEConfig(**lfae)),
        diffusion=replace(whole.diffusion, unet=AblatedUNet3DConfig(**unet)),
    )


def _faces128cpu() -> Preset:
    """What two CPU cores can finish in an afternoon: `faces64` at 128x128 pixels, 5.2 M numbers.

    Motion and regions are as coarse as there (32x32), so that the weights of `faces64` fit: begin with them (`init`).
    """
    small = _faces64()
    data = replace(small.autoencoder.data, size=128)
    usual = replace(data, acting=Acting())
    loop = LoopConfig(save_every=100, validate_every=300, sample_every=300, log_every=10)
    brief = OptimConfig(steps=1600, batch_size=8, learning_rate=4e-4, warmup=60)
    return Preset(
        replace(
            small.autoencoder,
            model=replace(small.autoencoder.model, motion_stride=4, region_downscale=4),
            data=data,
            optim=brief,
            loop=loop,
        ),
        replace(
            small.diffusion,
            unet=replace(small.diffusion.unet, patch=2, dim_mults=(1, 3, 5)),
            data=data,
            optim=replace(brief, steps=3000, learning_rate=8e-4, ema=0.998),
            loop=loop,
        ),
        JudgeRun(
            model=VideoClassifierConfig(channels=(24, 48, 64, 96, 96)),
            data=usual,
            optim=OptimConfig(steps=300, batch_size=16, learning_rate=2e-3),
            loop=loop,
        ),
        DecoderRun(data=usual, optim=replace(brief, steps=300), loop=loop),
    )


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
        replace(stage_two, unet=replace(stage_two.unet, num_labels=labels), optim=replace(stage_two.optim, steps=4000)),
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
    "rivals64": _rivals64(),
    "ablations64": _ablations64(),
    "faces128cpu": _faces128cpu(),
    "figures64": _moving("figures"),
    "gestures64": _moving("gestures"),
} | FULL_SCALE
