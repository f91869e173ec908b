"""Presets of 128x128 pixels: the paper's three, the same model on procedural faces, and a smaller one."""

from dataclasses import replace
from typing import Any, Literal

from ..autoencoder import LFAEConfig
from ..evaluation.judges import VideoClassifierConfig
from ..official.presets import NAMES, paper_model
from ..unet3d import UNet3DConfig
from .configs import AutoencoderRun, DataConfig, DecoderRun, DiffusionRun, JudgeRun, LoopConfig, OptimConfig, Preset

PAPER = OptimConfig(
    batch_size=100, learning_rate=2e-4, schedule="drops", drops=(0.6, 0.9), warmup=0, betas=(0.5, 0.999),
    weight_decay=0.0, clip=1.0, ema=0.999,
)  # fmt: skip
STAGE_ONE = {"mug": 46_500, "mhad": 43_100, "natops": 24_000}  # steps
STAGE_TWO: dict[str, dict[str, Any]] = {
    "mug": dict(steps=111_600, batch_size=5, drops=(0.667, 0.833)),
    "mhad": dict(steps=86_400, batch_size=6, drops=(0.667, 0.833)),
    "natops": dict(steps=33_600, batch_size=20, drops=(0.571, 0.714), learning_rate=1e-4),
}
SAMPLING: dict[str, Literal["random", "very_random"]] = {  # of the frames, in stage two
    "mug": "very_random",
    "mhad": "random",
    "natops": "random",
}
JUDGE = OptimConfig(steps=1500, batch_size=16, learning_rate=1e-3)
LONG = LoopConfig(save_every=1000, validate_every=2000, sample_every=2000, log_every=50)
"""How runs of many hours are carried out."""


def paper_preset(name: str, official: bool = False) -> Preset:
    """The paper's training: its sizes, steps, batches, rates and drops, and its weights of the losses.

    Losses count as in the paper against each other (AdamW does not see a factor that they share), beside our own of
    the occlusion map. Ours are also the warp, the scaled residual flow, the answer v, the limit of the gradient and
    the average of the weights.

    Args:
        name: "mug128", "mhad128" or "natops128".
        official: instead, what the published code does: its networks' accidents, no average, no limit, float32. The
            vectors of the labels are learned, for a text encoder is none of a training run's parts.

    Raises:
        ValueError: an unknown name.
    """
    model = paper_model(name, official)
    key = name.removesuffix("128")
    data = DataConfig(name=key, size=model.image_size, num_frames=40, sampling=SAMPLING[key], draws=8)
    loop = replace(LONG, precision="no", channels_last=False) if official else LONG  # slower so in float32
    optim = replace(PAPER, clip=0.0, ema=0.0) if official else PAPER
    judge = VideoClassifierConfig(num_labels=len(model.labels), channels=(24, 48, 64, 96, 96))
    return Preset(
        AutoencoderRun(
            model=model.autoencoder,
            data=data,
            optim=replace(optim, steps=STAGE_ONE[key]),
            loop=loop,
            pixel_weight=0.0,
            perceptual_weight=0.1,
            shift_weight=0.1,
            affine_weight=0.1,
            visibility_weight=0.0 if official else 0.05,
        ),
        DiffusionRun(
            unet=model.unet,
            diffusion=model.diffusion,
            data=data,
            optim=replace(optim, betas=(0.9, 0.99), **STAGE_TWO[key]),
            loop=loop,
        ),
        JudgeRun(model=judge, data=data, optim=JUDGE, loop=LONG, mirror=key == "mug"),
        DecoderRun(data=data, optim=replace(optim, steps=5000, batch_size=32), loop=loop),
    )


def _faces(autoencoder: LFAEConfig, unet: UNet3DConfig, data: DataConfig, loop: LoopConfig = LONG) -> Preset:
    """Procedural faces at 128x128, in steps for one modern GPU."""
    rate = OptimConfig(steps=30_000, batch_size=32, learning_rate=4e-4, warmup=500, ema=0.999)
    return Preset(
        AutoencoderRun(model=autoencoder, data=data, optim=rate, loop=loop),
        DiffusionRun(
            unet=replace(unet, num_labels=6, num_frames=data.num_frames),
            data=data,
            optim=replace(rate, steps=40_000, batch_size=16, learning_rate=3e-4),
            loop=loop,
        ),
        JudgeRun(model=VideoClassifierConfig(channels=(24, 48, 64, 96, 96)), data=data, optim=JUDGE, loop=loop),
        DecoderRun(data=data, optim=replace(rate, steps=5000), loop=loop),
    )


def _faces128() -> Preset:
    """The paper's model, 104.5 M numbers, on faces that are drawn."""
    model = paper_model("mug128")
    return _faces(model.autoencoder, model.unet, DataConfig(size=128, num_frames=40))


SMALL = LFAEConfig(region_downscale=4, flow_depth=4)  # 2.3 M numbers


def _faces128s() -> Preset:
    """The same task with 7.1 M numbers: 14.3 MB in half precision, small enough to ship."""
    unet = UNet3DConfig(feature_channels=64, num_labels=6, dim_mults=(1, 2, 4, 6))
    return _faces(SMALL, unet, DataConfig(size=128, num_frames=40))


FULL_SCALE: dict[str, Preset] = {
    "faces128": _faces128(),
    "faces128s": _faces128s(),
    **{name: paper_preset(name) for name in NAMES},
    **{f"{name}-official": paper_preset(name, official=True) for name in NAMES},
}
