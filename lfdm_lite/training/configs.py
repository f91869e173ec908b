"""What a training run is made of, as frozen dataclasses; `presets` names good ones.

One run writes one folder. Everything random in step n is a function of the run's seed and of n, so a run that was
interrupted goes on exactly where it stopped. "The paper" is what the authors' published code does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, ClassVar, Literal

import torch

from ..autoencoder import LFAEConfig
from ..conditions import NumberRange
from ..data.drawn.acting.expressions import Acting
from ..diffusion import DiffusionConfig
from ..evaluation.judges import VideoClassifierConfig
from ..unet3d import UNet3DConfig


def check_numbers(config: Any, **limits: tuple[int | float, int | float]) -> None:
    """Refuse numbers of a config that are none, and those outside their limits.

    Args:
        config: a dataclass.
        limits: of fields, the least and the largest value; what is None has no value.

    Raises:
        ValueError: naming the field, its value and what is accepted.
    """
    for name, value in vars(config).items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{name}={number:g}: must be a finite number")
            least, most = limits.get(name, (-math.inf, math.inf))
            if name in limits and number is not None and not least <= number <= most:
                given = f"{number:g}" if isinstance(number, float) else number
                bound = f"at least {least}" if number < least else f"at most {most}"
                raise ValueError(f"{name}={given}: must be {bound}")


def moment(text: str) -> float:
    """A moment such as 2026-11-29T07:30, by the clock of this machine unless it names its own (…+01:00), in seconds.

    Raises:
        ValueError: it is none.
    """
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"until={text!r}: must be a moment such as 2026-11-29T07:30") from None


ANY_SEED, SHARE = (0, 2**32 - 1), (0, 1)
WEIGHT = (0, math.inf)  # of a part of the loss


def fast_precision() -> Literal["no", "bf16"]:
    """What this machine computes convolutions fastest in: bfloat16 on a GPU and on CPUs with arithmetic for it.

    On a CPU without, torch takes nine times as long for a convolution in it as in float32 (2.13, AVX2).
    """
    if torch.cuda.is_available():
        return "bf16"
    known: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # of older torch nothing is known
    return "bf16" if any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else "no"


@dataclass(frozen=True)
class DataConfig:
    """Which clips a run sees."""

    name: str = "faces"  # a procedural set, or "mug", "mhad", "natops" or "folder" for the videos below `root`
    root: str | None = None  # what `lfdm data prepare` made of the paper's sets; folder of videos, for name = "folder"
    size: int = 64  # height and width in pixels; the paper: 128
    num_frames: int = 16  # frames a clip; the paper: 40
    train_clips: int = 4000  # of a procedural set; rendered or decoded once, kept on disk as 8-bit frames
    val_clips: int = 60  # clips of other subjects, for choosing; at most these of a set of videos
    seed: int = 0  # of the procedural clips, and of the choice of frames
    sampling: Literal["uniform", "random", "very_random"] = "uniform"  # frames of a longer video; stage two: the others
    look: str = "all"  # of sketches: ink, night or photo; all: one of them for every clip
    acting: Acting = Acting()  # of drawn faces: ranges of strength and turn, parts at rest, whose motion the head has
    draws: int = 1  # times that each training video is sampled, at other frames each time

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("train_clips", "val_clips"), (1, 10**8))
        check_numbers(self, size=(1, 4096), num_frames=(1, 10_000), seed=ANY_SEED, draws=(1, 10_000), **counts)


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with a schedule of its rate, gradient clipping, and an average of the weights."""

    steps: int = 3000  # optimizer steps; the paper: 24,000 to 46,500 (stage one), 33,600 to 111,600 (stage two)
    batch_size: int = 16  # pairs (stage one) or clips of a step, of all processes together; the paper: 100; 5 to 20
    learning_rate: float = 1e-3  # at the top of the schedule; the paper: 2e-4, NATOPS in stage two 1e-4
    schedule: Literal["cosine", "drops", "constant"] = "cosine"  # of the rate, after the warm-up; the paper: drops
    drops: tuple[float, ...] = (0.6, 0.9)  # shares of the steps after which the rate drops; stage two: 0.667, 0.833
    drop_factor: float = 0.1  # what the rate is multiplied with at each drop; the paper: 0.1
    warmup: int = 200  # steps from 0 to the top; the paper: 0
    betas: tuple[float, float] = (0.9, 0.99)  # of AdamW; the paper: 0.5, 0.999 (stage one), 0.9, 0.99 (stage two)
    weight_decay: float = 0.01  # of AdamW, in units of the rate; the paper: 0
    clip: float = 1.0  # largest norm of the gradient, 0 for no limit; the paper: 0
    ema: float = 0.995  # decay of the weights' moving average, 0 for no average; the paper: 0
    batch_norm: Literal["process", "all", "frozen"] = "process"  # statistics from a process's part; all (GPUs); stored

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema={self.ema:g}: must be at least 0 and below 1")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas}: both must be at least 0 and below 1")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate:g}: must be above 0")
        zero_or_more = dict.fromkeys(("learning_rate", "drop_factor", "weight_decay", "clip"), (0, math.inf))
        check_numbers(self, steps=(1, 10**9), batch_size=(1, 2**16), warmup=(0, 10**9), drops=SHARE, **zero_or_more)


@dataclass(frozen=True)
class LoopConfig:
    """How the run is carried out; nothing here but seed, precision and `until` changes what is learned."""

    seed: int = 0  # of initial weights and of every step's randomness
    precision: Literal["no", "bf16", "fp16"] = field(default_factory=fast_precision)  # of the convolutions; paper: no
    accumulate: int = 1  # parts into which a process cuts its batch: less memory, the same gradient
    channels_last: bool = True  # memory order of the weights; faster convolutions on CPUs and tensor cores
    fused: bool = True  # AdamW as one kernel
    compile: bool = False  # torch.compile: minutes at the start, faster steps after
    workers: int | None = None  # processes that prepare batches ahead; None: 4 beside a GPU, else 0
    save_every: int = 500  # steps between checkpoints
    keep: int = 2  # newest checkpoints that stay on disk, beside the best by validation
    final: Literal["last", "best"] = "last"  # which weights the finished model gets; the paper: last
    validate_every: int = 500  # steps between validations, 0 for none but the last
    sample_every: int = 500  # steps between sample pictures, 0 for none
    log_every: int = 10  # steps between rows of log.csv, each the mean over these; losses are looked at only then
    progress: bool = True  # progress bars
    tracker: str = "tensorboard"  # or another that accelerate knows (wandb, mlflow, ...), or none
    max_hours: float | None = None  # hours after which the run saves and stops, to be resumed; None: none
    until: str | None = None  # 2026-11-29T07:30: the run ends then, finished, in place of `steps`; None: after `steps`
    cpu_minutes: float | None = None  # processor minutes after which the run ends, as `until`; drawing of clips is free
    save_minutes: float | None = None  # minutes between checkpoints, beside `save_every`; None: no such limit
    cache_folder: str = ""  # where clips and motions are kept, so that runs share them; "": cache, beside the run

    def __post_init__(self) -> None:
        if self.max_hours is not None and not self.max_hours > 0:
            raise ValueError(f"max_hours={self.max_hours:g}: must be above 0")
        if self.cpu_minutes is not None and not self.cpu_minutes > 0:
            raise ValueError(f"cpu_minutes={self.cpu_minutes:g}: must be above 0")
        if self.until is not None:
            moment(self.until)
            if self.cpu_minutes is not None:
                raise ValueError("until and cpu_minutes are two ends of one run: give one of them")
        limits = dict.fromkeys(("accumulate", "save_every", "keep", "log_every"), (1, 10**9))
        limits |= dict.fromkeys(("validate_every", "sample_every"), (0, 10**9))
        check_numbers(self, seed=ANY_SEED, workers=(0, 1024), save_minutes=(0, math.inf), **limits)


def check_losses(run: Any, **limits: tuple[int | float, int | float]) -> None:
    """Refuse weights of a first stage's losses that cannot be, and a perceptual loss that pictures are too small for.

    Args:
        run: its config; every field `…_weight` is a weight.
        limits: of other fields, see `check_numbers`.

    Raises:
        ValueError: naming the fields.
    """
    weights = [known.name for known in fields(run) if known.name.endswith("_weight")]
    check_numbers(run, depths=(1, 5), scales=(1, 4), **dict.fromkeys(weights, WEIGHT), **limits)
    if not any(getattr(run, name) for name in weights):
        raise ValueError(f"all of {', '.join(weights)} are 0: nothing would be learned")
    least = 2 ** (run.depths + run.scales - 2)
    if run.perceptual_weight and run.data.size < least:
        raise ValueError(
            f"depths={run.depths} and scales={run.scales} of the perceptual loss need pictures of {least} "
            f"pixels, data.size is {run.data.size}: use fewer of either"
        )


@dataclass(frozen=True)
class AutoencoderRun:
    """Stage one."""

    stage: ClassVar[str] = "autoencoder"
    model: LFAEConfig = field(default_factory=LFAEConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=5000))
    loop: LoopConfig = field(default_factory=LoopConfig)
    init: str = ""  # folder of a finished run or model whose weights it starts from, where they fit; "": fresh ones
    from_rest: float = 0.5  # share of pairs whose source is frame 0, as in stage two; else any frame
    pixel_weight: float = 1.0  # of the pyramid loss; the paper: none
    perceptual_weight: float = 0.0  # of VGG-19 features against the other weights; the paper: as the equivariance's two
    features: Literal["vgg19", "vgg16"] = "vgg19"  # of the perceptual loss; the paper: vgg19
    depths: int = 5  # maps of it that are compared, finest first; the paper: 5
    scales: int = 3  # sizes at which it looks, each half of the one before; the paper's code: 4
    vgg: str = ""  # file with the weights of `features`; else torchvision's are fetched once, or `lfdm data lpips` did
    gradient_weight: float = 1.0  # of colour differences against colours, in the pyramid loss
    visibility_weight: float = 0.05  # of the occlusion map against where the warp fails; the paper: none
    visibility_tolerance: float = 0.2  # colour error of the warp at which visibility is 1/e
    warp_weight: float = 0.0  # of the pyramid loss of the source that the flow alone has warped; the paper: none
    contrast_weight: float = 0.0  # of the same of local contrasts, where weak shades count too; the paper: none
    stillness_weight: float = 0.0  # of flow where the picture does not change; the paper: none
    stillness_tolerance: float = 2 / 255  # change of colour at which a place counts as still 1/e
    smoothness_weight: float = 0.0  # of changes of the flow where the picture has no edge; the paper: none
    smoothness_tolerance: float = 0.3  # difference of neighbouring colours at which it counts 1/e
    shift_weight: float = 0.1  # of the equivariance of shifts
    affine_weight: float = 0.02  # of the equivariance of affine frames

    def __post_init__(self) -> None:
        for name in ("visibility_tolerance", "stillness_tolerance", "smoothness_tolerance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name):g}: must be above 0")
        check_losses(self, from_rest=SHARE)


@dataclass(frozen=True)
class DiffusionRun:
    """Stage two, on the motions that a finished auto-encoder sees in the training clips."""

    stage: ClassVar[str] = "diffusion"
    autoencoder: str = ""  # folder of a finished stage-one run
    init: str = ""  # folder of a finished model whose denoiser it starts from, where it fits; "": fresh weights
    unet: UNet3DConfig = field(default_factory=lambda: UNet3DConfig(feature_channels=64, num_labels=6))
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(steps=1600, batch_size=8, learning_rate=8e-4, ema=0.998)
    )
    loop: LoopConfig = field(default_factory=LoopConfig)
    numbers: tuple[str, ...] = ()  # told beside the label, of what clips know: strength, turn; the paper: none
    cache: bool = True  # motions and latents computed once and kept on disk; False: anew in every step, as the paper
    checkpointing: bool = False  # keep less for the backward pass: a fraction of the memory, a third more time


@dataclass(frozen=True)
class DecoderRun:
    """A new domain: the decoder of a finished model learns on other clips; motion and latents stay as they are."""

    stage: ClassVar[str] = "decoder"
    checkpoint: str = ""  # folder of a finished model (both stages) or of a finished stage-one run
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=1000, learning_rate=5e-4))
    loop: LoopConfig = field(default_factory=LoopConfig)
    from_rest: float = 0.5  # share of pairs whose source is frame 0; else any frame
    gradient_weight: float = 1.0  # of colour differences against colours, in the pyramid loss

    def __post_init__(self) -> None:
        check_numbers(self, from_rest=SHARE, gradient_weight=WEIGHT)


@dataclass(frozen=True)
class DistillRun:
    """The fast network of a finished model; one of more steps that it has is the teacher then, and says the scales."""

    stage: ClassVar[str] = "few-steps"
    checkpoint: str = ""  # folder of a finished model (both stages)
    student_steps: int = 4  # passes that it takes for a clip; those of the teacher must be a multiple
    teacher_steps: int = 8  # of DDIM; where they are as many as the student's, guidance alone is distilled
    scales: tuple[float, float] = (1.0, 3.0)  # guidance scales that it learns
    kept: int = 0  # numbers of what it learned beyond the denoiser that are stored; 0: the whole network is
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(2000, 8, 1e-4, weight_decay=0.0))
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        check_numbers(self, student_steps=(1, 1000), teacher_steps=(1, 1000), scales=(0, 1000), kept=(0, 10**9))
        NumberRange("scales", *self.scales)


@dataclass(frozen=True)
class JudgeRun:
    """The small classifier that reads labels from videos; it sees real training clips alone."""

    stage: ClassVar[str] = "judge"
    model: VideoClassifierConfig = field(default_factory=VideoClassifierConfig)
    mirror: bool = True  # half of the clips mirrored; off where left and right mean something
    init: str = ""  # folder of a finished judge of the same shape whose weights it begins with; else fresh ones
    wear: float = 0.0  # how far clips are blurred and made grainy at most, as generated ones are: 0 not, 1 clearly
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=300, batch_size=32, learning_rate=2e-3))
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        check_numbers(self, wear=SHARE)


@dataclass(frozen=True)
class Preset:
    """One size of the whole system."""

    autoencoder: AutoencoderRun
    diffusion: DiffusionRun
    judge: JudgeRun
    decoder: DecoderRun = field(default_factory=DecoderRun)
    few_steps: DistillRun = field(default_factory=DistillRun)

    def with_data(self, data: DataConfig) -> "Preset":
        """The same preset on other clips."""
        return Preset(*(replace(getattr(self, stage.name), data=data) for stage in fields(self)))
