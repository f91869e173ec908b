"""The paper's three models at full scale: with the published code's accidents, or by our conventions."""

from dataclasses import dataclass

from ..autoencoder import LFAEConfig
from ..data.paper.films import LABELS
from ..diffusion import DiffusionConfig
from ..unet3d import UNet3DConfig
from .autoencoder import PAPER, lfae_config
from .denoiser import diffusion_config, unet_config


@dataclass(frozen=True)
class PaperModel:
    """The configs of one model of the paper: 128x128 pixels, 40 frames."""

    autoencoder: LFAEConfig
    unet: UNet3DConfig
    diffusion: DiffusionConfig
    labels: tuple[str, ...]
    image_size: int = 128


NAMES = ("mug128", "mhad128", "natops128")


def paper_model(name: str, official: bool = False) -> PaperModel:
    """Configs of "mug128", "mhad128" or "natops128".

    Args:
        name: which.
        official: swap in every accident of the published code, so that its checkpoints fit; each is a field of the
            configs and can be switched by itself. Otherwise the sizes are theirs and the conventions ours.

    Raises:
        ValueError: an unknown name.
    """
    if name not in NAMES:
        raise ValueError(f"{name!r} is none of the paper's models: {', '.join(NAMES)}")
    labels = LABELS[name.removesuffix("128")]
    if not official:
        return PaperModel(_our_autoencoder(), _our_unet(len(labels)), DiffusionConfig(), labels)
    natops = name == "natops128"
    unet = unet_config(
        use_bert_text_cond=True,
        num_labels=len(labels),
        use_deconv=not natops,
        padding_mode="reflect" if natops else "zeros",
        learn_null_cond=natops,
    )
    autoencoder = lfae_config(PAPER, region_padding=3 if name == "mug128" else 0)
    return PaperModel(autoencoder, unet, diffusion_config(), labels)


def _our_autoencoder() -> LFAEConfig:
    """The paper's sizes."""
    return LFAEConfig(
        num_regions=10, width=64, latent_channels=256, num_residual=6, region_width=32, region_depth=5,
        region_max_width=1024, region_downscale=4, flow_width=64, flow_depth=5, flow_max_width=1024,
        background_width=64, background_depth=5,
    )  # fmt: skip


def _our_unet(num_labels: int) -> UNet3DConfig:
    """The paper's sizes."""
    return UNet3DConfig(
        feature_channels=256, num_labels=num_labels, num_frames=40, dim=64, dim_mults=(1, 2, 4, 8), blocks=2,
        heads=8, head_dim=32, spatial_attention=("linear",) * 4, rotary=True,
    )  # fmt: skip
