"""Both stages of LFDM or of a rival in one run, with one budget: every row of a comparison made alike.

A preset of LFDM decides all of it: a rival has the same clips, losses of pictures, sizes, steps and rates, as far as
it has such.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from ..autoencoder import LFAEConfig
from ..baselines.lamd import LaMDConfig
from ..baselines.ldm import LDMConfig
from ..baselines.unet2d import UNet2DConfig
from ..baselines.vdm import VDMConfig
from ..diffusion import DiffusionConfig
from ..unet3d import UNet3DConfig
from .configs import (
    SHARE,
    AutoencoderRun,
    DataConfig,
    DiffusionRun,
    LoopConfig,
    OptimConfig,
    Preset,
    check_losses,
    check_numbers,
)


@dataclass(frozen=True)
class CodecRun:
    """Stage one of a rival that has one. What it shares with LFDM's means the same there."""

    stage: ClassVar[str]
    model: LDMConfig | LaMDConfig = field(default_factory=LDMConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=5000))
    loop: LoopConfig = field(default_factory=LoopConfig)
    pixel_weight: float = 1.0  # of the pyramid loss
    perceptual_weight: float = 0.0  # of VGG features
    features: Literal["vgg19", "vgg16"] = "vgg19"  # of the perceptual loss
    depths: int = 5  # maps of it that are compared, finest first
    scales: int = 3  # sizes at which it looks, each half of the one before
    vgg: str = ""  # file with the weights of `features`; else torchvision's are fetched once, or `lfdm data lpips` did
    gradient_weight: float = 1.0  # of colour differences against colours, in the pyramid loss
    kl_weight: float = 1e-4  # of the divergence from a standard normal, a mean over the map's numbers


@dataclass(frozen=True)
class LDMCodecRun(CodecRun):
    """The image auto-encoder of LDM, on single frames. What it shares with LFDM's means the same there."""

    stage: ClassVar[str] = "ldm-codec"
    model: LDMConfig = field(default_factory=LDMConfig)

    def __post_init__(self) -> None:
        check_losses(self)


@dataclass(frozen=True)
class LaMDCodecRun(CodecRun):
    """LaMD's auto-encoder, on whole clips; what it shares with LDM's means the same there."""

    stage: ClassVar[str] = "lamd-codec"
    model: LaMDConfig = field(default_factory=LaMDConfig)
    kl_weight: float = 1e-2  # of the divergence from a standard normal, a mean over its numbers; the paper: 1e-2
    frames: int = 2  # of each clip that a step paints; the motion encoder sees all
    adversarial_weight: float = 0.0  # of looking real to a discriminator that learns beside it; the paper: on
    adversarial_from: int = 0  # step from which on that counts

    def __post_init__(self) -> None:
        check_losses(self, frames=(1, self.data.num_frames), adversarial_from=(0, 10**9))


@dataclass(frozen=True)
class RivalDiffusionRun:
    """Stage two of a rival, on what its finished first stage makes of the training clips."""

    stage: ClassVar[str]
    kind: ClassVar[str]  # of the rival, a key of `baselines.rivals.PARTS`
    codec: str = ""  # folder of a finished first stage
    denoiser: UNet3DConfig | UNet2DConfig = field(default_factory=UNet3DConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(steps=1600, batch_size=8, learning_rate=8e-4, ema=0.998)
    )
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass(frozen=True)
class VDMDiffusionRun(RivalDiffusionRun):
    """VDM has no first stage that learns."""

    stage: ClassVar[str] = "vdm-diffusion"
    kind: ClassVar[str] = "VDM"
    denoiser: UNet3DConfig = field(default_factory=UNet3DConfig)
    pixels: VDMConfig = field(default_factory=VDMConfig)


@dataclass(frozen=True)
class LDMDiffusionRun(RivalDiffusionRun):
    """LDM's, on maps of its image auto-encoder."""

    stage: ClassVar[str] = "ldm-diffusion"
    kind: ClassVar[str] = "LDM"
    denoiser: UNet3DConfig = field(default_factory=UNet3DConfig)


@dataclass(frozen=True)
class LaMDDiffusionRun(RivalDiffusionRun):
    """LaMD's, on motion images."""

    stage: ClassVar[str] = "lamd-diffusion"
    kind: ClassVar[str] = "LaMD"
    denoiser: UNet2DConfig = field(default_factory=UNet2DConfig)


@dataclass(frozen=True)
class BothStages:
    """Two stages, one after the other; `first` is there where there is something to learn."""

    stage: ClassVar[str]
    cpu_minutes: float | None = None  # processor minutes of both stages; drawing the clips is free; None: optim.steps
    share: float = 0.5  # of these minutes, for the first stage

    def __post_init__(self) -> None:
        check_numbers(self, share=SHARE)
        if self.cpu_minutes is not None and not self.cpu_minutes > 0:
            raise ValueError(f"cpu_minutes={self.cpu_minutes:g}: must be above 0")
        first: Any = getattr(self, "first", None)
        second: Any = getattr(self, "second", None)
        if first is not None and not 0 < self.share < 1:
            raise ValueError(f"share={self.share:g}: must be above 0 and below 1, so that either stage has some")
        if first is not None and first.data != second.data:
            raise ValueError("first.data and second.data differ: both stages learn from the same clips")


@dataclass(frozen=True)
class LFDMRun(BothStages):
    """LFDM itself."""

    stage: ClassVar[str] = "lfdm"
    first: AutoencoderRun = field(default_factory=AutoencoderRun)
    second: DiffusionRun = field(default_factory=DiffusionRun)


@dataclass(frozen=True)
class VDMRun(BothStages):
    """Diffusion on pixels."""

    stage: ClassVar[str] = "vdm"
    second: VDMDiffusionRun = field(default_factory=VDMDiffusionRun)


@dataclass(frozen=True)
class LDMRun(BothStages):
    """Diffusion on feature maps of an image auto-encoder."""

    stage: ClassVar[str] = "ldm"
    first: LDMCodecRun = field(default_factory=LDMCodecRun)
    second: LDMDiffusionRun = field(default_factory=LDMDiffusionRun)


@dataclass(frozen=True)
class LaMDRun(BothStages):
    """Diffusion on motion images without a time axis."""

    stage: ClassVar[str] = "lamd"
    first: LaMDCodecRun = field(default_factory=LaMDCodecRun)
    second: LaMDDiffusionRun = field(default_factory=LaMDDiffusionRun)


AnyRun = LFDMRun | VDMRun | LDMRun | LaMDRun


def both_stages(stage: str, preset: Preset) -> AnyRun:
    """The run of LFDM or of a rival that a preset of LFDM stands for.

    Args:
        stage: "lfdm", "vdm", "ldm" or "lamd".
    """
    one, two = preset.autoencoder, preset.diffusion
    if stage == "lfdm":
        return LFDMRun(first=one, second=two)
    lfae, shared = one.model, {name: getattr(two, name) for name in ("diffusion", "data", "optim", "loop")}
    shared |= {"denoiser": replace(two.unet, numbers=(), patch=1)}
    if stage == "vdm":
        return VDMRun(second=VDMDiffusionRun(pixels=VDMConfig(patch=lfae.latent_stride), **shared))
    if stage == "lamd":
        same = {name: getattr(two.unet, name) for name in ("dim", "dim_mults", "blocks", "heads", "head_dim")}
        shared |= {"denoiser": UNet2DConfig(**same)}
        first = LaMDCodecRun(model=motion_image(lfae, one.data.num_frames), **picture_fields(one))
        # as many frames are painted in a step as by the others, two of a clip
        optim = replace(first.optim, batch_size=max(1, first.optim.batch_size // first.frames))
        return LaMDRun(first=replace(first, optim=optim), second=LaMDDiffusionRun(**shared))
    model = LDMConfig(lfae.width, lfae.latent_channels, num_down=lfae.num_down, num_residual=lfae.num_residual)
    return LDMRun(first=LDMCodecRun(model=model, **picture_fields(one)), second=LDMDiffusionRun(**shared))


def motion_image(lfae: LFAEConfig, num_frames: int) -> LaMDConfig:
    """LaMD's auto-encoder with the sizes that it shares with LFDM's."""
    sizes = {name: getattr(lfae, name) for name in ("width", "num_down", "num_residual")}
    return LaMDConfig(num_frames=num_frames, feature_channels=lfae.latent_channels, motion_width=lfae.width, **sizes)


def picture_fields(run: AutoencoderRun) -> dict[str, Any]:
    """Fields of LFDM's first stage that every first stage has: clips, optimizer, and how pictures are compared."""
    names = ("data", "optim", "loop", "pixel_weight", "perceptual_weight", "features", "depths", "scales", "vgg")
    return {name: getattr(run, name) for name in (*names, "gradient_weight")}
