"""A whole model, from the authors' two files to ours and back; every tensor bitwise."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..files.atomic import write_atomically
from ..files.models.weights import write_safetensors
from ..files.reading import CheckpointError
from ..pipeline import LFDM
from . import autoencoder, denoiser
from .files import AUTOENCODER_PARTS, DIFFUSION_PART, read_states, write_states
from .parts.autoencoder import PublishedAutoencoder
from .parts.configs import with_published
from .parts.denoiser import PublishedUNet3D
from .parts.diffusion import PublishedDiffusion
from .presets import PaperModel

FILES = LFAE_FILE, DM_FILE, VECTORS_FILE = "lfae.pth", "dm.pth", "label_vectors.safetensors"


def from_official(lfae: str | Path, dm: str | Path, paper: PaperModel, label_vectors: Float[Tensor, "n e"]) -> LFDM:
    """The model that the authors' two files hold, in evaluation mode.

    Args:
        lfae: checkpoint of stage one.
        dm: checkpoint of stage two.
        paper: what they hold, from `presets.paper_model(name, official=True)`.
        label_vectors: the text encoder's answer to each of `paper.labels`; see `labels`.

    Raises:
        CheckpointError: a file that is damaged, holds code, or lacks a tensor; the message names what.
        ValueError: label vectors that do not fit the network.
    """
    network = PublishedAutoencoder(with_published(paper.autoencoder))
    try:
        states = read_states(lfae, AUTOENCODER_PARTS)
        network.load_state_dict(autoencoder.from_official(states, network.config))
    except CheckpointError as error:
        raise CheckpointError(_named(lfae, error)) from None
    unet = PublishedUNet3D(with_published(paper.unet))
    try:
        (state,) = read_states(dm, (DIFFUSION_PART,)).values()
        unet.load_state_dict(denoiser.from_official(state, unet.config, label_vectors))
    except CheckpointError as error:
        raise CheckpointError(_named(dm, error)) from None
    diffusion = PublishedDiffusion(paper.diffusion)
    model = LFDM(network, unet, diffusion, list(paper.labels), paper.image_size, guidance_scale=1.0)
    return model.eval().requires_grad_(False)


def to_official(model: LFDM, folder: str | Path) -> list[Path]:
    """Write a model as the authors' two files, and the label vectors, which theirs lack, as a third.

    Returns:
        The files' paths.

    Raises:
        ValueError: the model's config has a part that the authors' networks lack.
    """
    states = autoencoder.to_official(model.autoencoder.state_dict(), model.autoencoder.config)
    state = denoiser.to_official(model.unet.state_dict(), model.unet.config, model.diffusion.config)
    vectors = model.unet.label(torch.arange(len(model.labels), device=model.device)).cpu()
    named = {label: vector.clone() for label, vector in zip(model.labels, vectors, strict=True)}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_states(folder / LFAE_FILE, states)
    write_states(folder / DM_FILE, {DIFFUSION_PART: state})
    write_atomically(folder / VECTORS_FILE, lambda temporary: write_safetensors(temporary, named))
    return [folder / name for name in FILES]


def _named(path: str | Path, error: CheckpointError) -> str:
    """The error, with the file in front unless it is there."""
    return str(error) if str(path) in str(error) else f"{path}: {error}"
