"""What the published code does otherwise: a field for each thing, so that it can be switched and measured alone.

Each of our three configs has a child with more fields. Their defaults are ours; the comments say what the published
code has, and `lfdm_lite.official` sets it. A network of such a config is of the class of the same name, without
"Config": `PublishedUNet3D(PublishedUNet3DConfig())`.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal, overload

from ...autoencoder import LFAEConfig
from ...diffusion import DiffusionConfig
from ...geometry import Outside
from ...unet3d import UNet3DConfig


@dataclass(frozen=True)
class PublishedLFAEConfig(LFAEConfig):
    """Of the auto-encoder; `official.autoencoder.lfae_config` sets theirs."""

    variant: Literal["published"] = "published"  # says in a file that these fields are there
    corner_grids: bool = False  # coordinates count outermost pixel centres as -1 and 1, sampling does not; theirs: True
    outside: Outside = "border"  # what a flow finds outside the image: its border repeated, or zeros (theirs)
    region_padding: int = 3  # of the heat maps' 7x7 convolution, 3 keeps the size; theirs: 3, or 0 for MHAD and NATOPS
    frames: Literal["principal", "regressed"] = "principal"  # axes of the covariance, or read from the features
    reflected_frames: bool = False  # the second principal axis points the other way; theirs: True
    frame_soften: float = 1e-3  # softening of the axes' gradient where the variances meet; theirs: 0
    frame_floor: float = 1e-6  # least variance along an axis; theirs: none, 1e-12 stands for it
    axis_sign: Literal["turn", "first", "none"] = "turn"  # of A_s A_d^-1: turn least; first entry above 0 (theirs)
    bump_spread: float = 1e-4  # added to the variances of the flow predictor's bumps; theirs: 0
    bump_variance: float | None = None  # the same round bump for every region instead; theirs: None
    background: Literal["affine", "shift", "perspective"] = "affine"  # what the background may do; theirs: affine
    background_max_width: int | None = None  # widest level of its predictor; None: flow_max_width; theirs: 1024
    background_downscale: int | None = None  # image size over its input's; None: region_downscale; theirs: 1
    strided_downsampling: bool = False  # keeps corners of blocks, not centres, and pads with zeros; theirs: True
    conv_bias: bool = False  # convolutions have a bias although a batch norm follows; theirs: True
    absolute_resize: bool = False  # flows are resized as positions, wrong at the border; theirs: True
    blend_skips: bool = False  # skips replace visible features, before any painting, at every size; theirs: True
    blend_source: bool = False  # the warped source image replaces the painted one where visible; theirs: True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blend_skips and not self.skips:
            raise ValueError("blend_skips=True needs skips=True")


@dataclass(frozen=True)
class PublishedUNet3DConfig(UNet3DConfig):
    """Of the denoiser; `official.denoiser.unet_config` sets theirs."""

    variant: Literal["published"] = "published"  # says in a file that these fields are there
    label_dim: int | None = None  # numbers of a label's vector; None: 4 * dim; 0: no labels; theirs: 768
    fixed_labels: bool = False  # the vectors of labels are given, as a text encoder's are, not learned; theirs: True
    learned_null: bool = True  # with fixed labels: the vector of "no condition" is learned, else zeros; theirs: NATOPS
    spatial_head_dim: int | None = None  # features of a head of the spatial attentions; None: head_dim; theirs: 32
    rotary_dim: int | None = None  # features of a head that rotary embeddings turn; None: all; theirs: at most 32
    upsampling: str = "nearest"  # "nearest" and a convolution, or "transposed" convolution; theirs: both, by data set
    upsampling_padding: str = "zeros"  # of the convolution after "nearest", "zeros" or "reflect"; theirs: reflect
    norm_shift: bool = True  # the layer norms of the attentions learn a shift beside the scale; theirs: False
    attention_bias: bool = True  # bias in the last projection of temporal and full attention; theirs: False
    last_condition: bool = True  # the last residual block sees the diffusion step and the label; theirs: False
    first_skip: str = "attention"  # what the last block sees of the first layers: "convolution" (theirs) or "attention"
    split_heads: tuple[int, ...] | None = None  # output channels of heads that have a last block each; None: one
    # head; theirs: 2 (flow), 1 (occlusion)

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, accepted in [
            ("upsampling", ("nearest", "transposed")),
            ("upsampling_padding", ("zeros", "reflect")),
            ("first_skip", ("convolution", "attention")),
        ]:
            if getattr(self, field) not in accepted:
                given = f"{field}={getattr(self, field)!r}"
                raise ValueError(f"{given}: accepted are {' and '.join(map(repr, accepted))}")
        if self.split_heads and sum(self.split_heads) != self.channels:
            raise ValueError(f"split_heads={self.split_heads} must add up to channels={self.channels}")
        if self.split_heads and self.patch != 1:
            raise ValueError(f"split_heads={self.split_heads} needs patch=1, got {self.patch}")

    @property
    def label_width(self) -> int:
        return super().label_width if self.label_dim is None else self.label_dim


@dataclass(frozen=True)
class PublishedDiffusionConfig(DiffusionConfig):
    """Of the process and how it is sampled; `official.denoiser.diffusion_config` sets theirs."""

    variant: Literal["published"] = "published"  # says in a file that these fields are there
    max_beta: float = 0.999  # largest beta of the cosine schedule; Nichol & Dhariwal: 0.999; theirs: 0.9999
    corner_origin: bool = False  # "residual" counts from a grid whose corner pixels sit at -1 and 1; theirs: True
    threshold: float | None = None  # quantile of dynamic thresholding; 0: clip to -1 .. 1; None: neither; theirs: 0.9
    threshold_eps: bool = True  # thresholding x0 changes eps too, so that both still make up x_t; theirs: False
    min_alpha_bar: float | None = None  # least share of signal where sampling starts; None: see `sample`; theirs: 0
    spacing: str = "trailing"  # of a shorter path: "trailing" steps, or "interior" points of a division (theirs)
    ddim_eta: float = 0.0  # noise of DDIM, between 0 (none) and 1 (as DDPM); theirs: 1
    early_alpha_bar: bool = False  # DDIM steps with the alpha_bar of one step earlier than x0's; theirs: True
    draw_unused: bool = False  # draw noise even where a factor 0 awaits it, so that seeds mean the same; theirs: True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spacing not in ("trailing", "interior"):
            raise ValueError(f"spacing={self.spacing!r}: accepted are 'trailing', 'interior'")
        if not 0 < self.max_beta < 1:
            raise ValueError(f"max_beta={self.max_beta}: must be between 0 and 1")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold={self.threshold}: must be a quantile, between 0 and 1")


CHILD_OF: dict[type, Any] = {
    LFAEConfig: PublishedLFAEConfig,
    UNet3DConfig: PublishedUNet3DConfig,
    DiffusionConfig: PublishedDiffusionConfig,
}


@overload
def with_published(config: LFAEConfig, **changes: Any) -> PublishedLFAEConfig: ...
@overload
def with_published(config: UNet3DConfig, **changes: Any) -> PublishedUNet3DConfig: ...
@overload
def with_published(config: DiffusionConfig, **changes: Any) -> PublishedDiffusionConfig: ...
def with_published(config: LFAEConfig | UNet3DConfig | DiffusionConfig, **changes: Any) -> Any:
    """A config with some published fields changed, such as `with_published(LFAEConfig(), corner_grids=True)`.

    Raises:
        TypeError: an unknown field.
        ValueError: a value that is not accepted.
    """
    kept = {field.name: getattr(config, field.name) for field in fields(config)}
    return CHILD_OF.get(type(config), type(config))(**(kept | changes))
