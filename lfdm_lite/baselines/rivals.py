"""What the rivals of LFDM share: a codec between clips and what is denoised, and the road from an image to a video.

LFDM denoises motion and lets a warp carry the appearance. A rival denoises something else: its `Codec` says what.
Everything behind that is the house's own: noise process, samplers, guidance, the rule for seeds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..diffusion import DiffusionConfig, GaussianDiffusion
from ..files.checkpoints import CONFIG_FILE, load_module, read_config, save_module
from ..files.models.configs import make_config, read_fields, read_labels
from ..files.models.weights import build
from ..files.reading import CheckpointError
from ..files.variants import construct, named
from ..generated import GeneratedVideo, check_finite, clip_generators
from ..inputs import Number, label_indices, number_values, pair_up, sampling
from ..memory import evaluation_mode
from ..samplers import guided, guided_until, sample

if TYPE_CHECKING:
    from ..unet3d import UNet3D
    from .unet2d import UNet2D

PARTS = {  # of a rival: the configs of its codec and of its denoiser, imported when asked for
    "VDM": ("baselines.vdm.VDMConfig", "unet3d.UNet3DConfig"),
    "LDM": ("baselines.ldm.LDMConfig", "unet3d.UNet3DConfig"),
    "LaMD": ("baselines.lamd.LaMDConfig", "baselines.unet2d.UNet2DConfig"),
}
FIELDS = ("labels", "image_size", "num_frames", "guidance_scale", "codec", "denoiser", "diffusion")
CODEC = "{} codec"  # kind of a folder that holds a finished first stage alone


class Codec(nn.Module):
    """The first stage of a rival: between clips and what its denoiser models.

    A child has `encode`, `represent`, `paint`, `shape` and these attributes.

    Args:
        channels: of what is denoised.

    Attributes:
        kind: of the rival, a key of `PARTS`.
        config: a frozen dataclass.
        feature_channels: of what `encode` makes.
        mean, std: (channels,), of `represent` over training clips; set by `measure`.
    """

    kind: ClassVar[str]
    config: Any
    feature_channels: int
    mean: Float[Tensor, " c"]
    std: Float[Tensor, " c"]

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    @property
    def channels(self) -> int:
        """Of what is denoised."""
        return len(self.mean)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b f h2 w2"]:
        """What the denoiser is told of the given image."""
        raise NotImplementedError

    def represent(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c *d"]:
        """A clip, RGB in [0, 1], in this codec's own units."""
        raise NotImplementedError

    def paint(
        self, x: Float[Tensor, "b c *d"], source: Float[Tensor, "b 3 h w"], num_frames: int
    ) -> Float[Tensor, "b 3 t h w"]:
        """Inverse of `represent`, or near it; may leave [0, 1]. `source` is the given image."""
        raise NotImplementedError

    def shape(self, num_frames: int, image_size: int) -> tuple[int, ...]:
        """Of `represent` of one clip, channels first, without the batch."""
        raise NotImplementedError

    def fit(self, config: Any, num_labels: int) -> Any:
        """The denoiser's config with what this codec and the number of labels decide."""
        return replace(config, channels=self.channels, feature_channels=self.feature_channels, num_labels=num_labels)

    def pack(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c *d"]:
        """A clip as x0: `represent`, each channel with mean 0 and standard deviation 1 over the training clips."""
        x = self.represent(video)
        return (x - along(self.mean, x)) / along(self.std, x)

    def unpack(
        self, x0: Float[Tensor, "b c *d"], source: Float[Tensor, "b 3 h w"], num_frames: int
    ) -> Float[Tensor, "b 3 t h w"]:
        """Inverse of `pack`, or near it: the clip that x0 stands for, in [0, 1]."""
        return self.paint(x0 * along(self.std, x0) + along(self.mean, x0), source, num_frames).clamp(0, 1)

    @torch.no_grad()
    def measure(self, videos: Iterable[Tensor]) -> None:
        """Set `mean` and `std` to those of training clips, which come in batches (b, 3, t, h, w).

        Raises:
            ValueError: there are none.
        """
        count, (total, squares) = 0, self.mean.new_zeros(2, len(self.mean), dtype=torch.double)
        for video in videos:
            x = self.represent(video).transpose(0, 1).flatten(1).double()
            count, total, squares = count + x.shape[1], total + x.sum(1), squares + x.square().sum(1)
        if not count:
            raise ValueError("no clips came: mean and deviation need at least one")
        mean = total / count
        self.mean.copy_(mean)
        self.std.copy_((squares / count - mean.square()).clamp(min=1e-12).sqrt().clamp(min=1e-4))

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write `config.json` and `model.safetensors`, in one step.

        Raises:
            ValueError: the folder is a file or holds another kind of model.
        """
        return save_module(folder, self, CODEC.format(self.kind), {"model": asdict(self.config)}, overwrite=overwrite)


def along(values: Float[Tensor, " c"], like: Float[Tensor, "b c *d"]) -> Float[Tensor, "1 c *ones"]:
    """One number a channel, shaped to be added to `like`."""
    return values.view(1, -1, *[1] * (like.ndim - 2))


def load_codec(folder: str | Path, kind: str) -> Codec:
    """A finished first stage, in evaluation mode.

    Args:
        kind: of the rival, a key of `PARTS`.

    Raises:
        CheckpointError: the folder does not hold one of this kind.
    """
    where = Path(folder) / CONFIG_FILE

    def described() -> Codec:
        (values,) = read_fields(read_config(folder, CODEC.format(kind)), ("model",), where)
        return construct(make_config(named(PARTS[kind][0]), values, f"{where}: model"))

    return load_module(folder, described).eval()


class Rival(nn.Module):
    """A diffusion model of what a codec makes of clips, given the image and a label.

    Args:
        codec: the first stage.
        denoiser: with the `forward` and `null_label` of `UNet3D`, and a `config` with `num_labels`.
        diffusion: the noise process that `denoiser` was trained with.
        labels: the name of each label.
        image_size: height and width in pixels; given images are brought to it.
        num_frames: of a clip, unless `generate` is told otherwise.
        guidance_scale: of `generate`, unless told otherwise; 1 is plain conditional sampling.

    Raises:
        ValueError: there are not as many labels as the denoiser knows, or two have the same name.
    """

    def __init__(
        self,
        codec: Codec,
        denoiser: "UNet3D | UNet2D",
        diffusion: GaussianDiffusion,
        labels: Sequence[str],
        image_size: int = 64,
        num_frames: int = 16,
        guidance_scale: float | int = 1.5,
    ):
        super().__init__()
        self.labels = [str(label) for label in labels]
        count = denoiser.config.num_labels
        if len(self.labels) != count or len(set(self.labels)) != count:
            raise ValueError(f"labels are {self.labels}; expected {count} different names, one per label")
        self.codec, self.denoiser, self.diffusion = codec, denoiser, diffusion
        self.image_size, self.num_frames = image_size, num_frames
        self.guidance_scale = float(guidance_scale)

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where `generate` computes."""
        return next(self.denoiser.parameters()).device

    @torch.no_grad()
    def generate(
        self,
        image: Any,
        label: Any,
        *,
        num_frames: Number | None = None,
        guidance_scale: Number | None = None,
        sampler: str = "dpm++",
        steps: Number = 20,
        guided_steps: Number | None = None,
        spacing: Number | None = None,
        seed: Any = None,
        progress: bool = True,
        callback: Callable[[int, int, Tensor, Tensor], None] | None = None,
    ) -> GeneratedVideo:
        """Sample a video for each image and label, by the same rules as `LFDM.generate`, for seeds too.

        Args:
            image, label, guidance_scale, sampler, steps, guided_steps, spacing, seed, progress: as of `LFDM.generate`.
            num_frames: frames a clip, at least 1; None: as many as the model was trained on.
            callback: as of `samplers.sample`.

        Returns:
            A `GeneratedVideo` without flow and occlusion, on the CPU.

        Raises:
            ValueError: as `LFDM.generate`.
            MediaError: an image that cannot be read (a ValueError too).
            NotFiniteError: the result holds numbers that are infinite or none (a ValueError too).
        """
        from ..files.media import prepare_images  # as `LFDM` does

        how = sampling(self, num_frames, guidance_scale, sampler, steps, seed, None, guided_steps, spacing)
        given = prepare_images(image, self.image_size), label_indices(label, self.labels)
        source, label, _ = pair_up(*given, number_values((), {}), how.seed)
        seed = how.seed * len(source) if isinstance(how.seed, list) and len(how.seed) == 1 else how.seed
        source, label = source.to(self.device), label.to(self.device)
        until = guided_until(self.diffusion, how.steps, how.guided_steps, how.spacing)
        with evaluation_mode(self):
            x0 = sample(
                self.diffusion,
                guided(self.denoiser, self.codec.encode(source), label, how.guidance_scale, until=until),
                (len(source), *self.codec.shape(how.num_frames, self.image_size)),
                sampler=how.sampler,
                steps=how.steps,
                spacing=how.spacing,
                generator=clip_generators(seed, len(source)),
                progress=progress,
                callback=callback,
            )
            clips = zip(x0.split(1), source.split(1), strict=True)
            video = torch.cat([self.codec.unpack(*clip, how.num_frames) for clip in clips])
        check_finite(video, None, how.guidance_scale)
        names = [self.labels[i] for i in label.tolist()]
        return GeneratedVideo(video.cpu(), None, None, names, source.cpu(), seed)

    def save(self, folder: str | Path, dtype: torch.dtype | str | None = None, overwrite: bool = False) -> Path:
        """Write `config.json` and `model.safetensors`, in one step.

        Args:
            folder: created if needed.
            dtype: store the parameters in this precision, e.g. `torch.float16`.
            overwrite: also replace a checkpoint of another kind.

        Raises:
            ValueError: the folder is a file or holds another kind of model, or `dtype` is no floating-point type.
        """
        config = {name: getattr(self, name) for name in FIELDS[:4]}
        config |= {name: asdict(getattr(self, name).config) for name in FIELDS[4:]}
        return save_module(folder, self, self.codec.kind, config, dtype, overwrite)

    @classmethod
    def load(cls, folder: str | Path) -> "Rival":
        """Read a rival that `save` wrote, in evaluation mode, without gradients.

        Raises:
            CheckpointError: the folder does not hold a whole, fitting rival.
        """
        return load_module(folder, lambda: cls.described_in(folder)).eval().requires_grad_(False)

    @classmethod
    def described_in(cls, folder: str | Path) -> "Rival":
        """A rival with fresh weights, as a folder's config describes it.

        Raises:
            CheckpointError: no config there, or one that does not fit.
        """
        where, stored = Path(folder) / CONFIG_FILE, read_config(folder)
        kind = stored["kind"]
        if kind not in PARTS:
            raise CheckpointError(f"{where} is of kind {kind!r}, expected one of: {', '.join(PARTS)}")
        labels, image_size, num_frames, scale, *values = read_fields(stored, FIELDS, where)
        sizes = (image_size, num_frames)
        if not all(isinstance(size, int) for size in sizes) or not isinstance(scale, int | float):
            raise CheckpointError(f"{where}: image_size, num_frames and guidance_scale must be numbers")
        classes = (*map(named, PARTS[kind]), DiffusionConfig)
        codec, denoiser, diffusion = (
            make_config(config, part, f"{where}: {name}")
            for config, part, name in zip(classes, values, FIELDS[4:], strict=True)
        )
        labels = read_labels(labels, denoiser.num_labels, where)
        return cls(
            build(lambda: construct(codec), where),
            build(lambda: construct(denoiser), where),
            build(lambda: construct(diffusion), where),
            *(labels, image_size, num_frames, scale),
        )
