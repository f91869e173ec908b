"""What finished runs leave: their networks, read again, and new runs that start from what they learned."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from ...autoencoder import LatentFlowAutoencoder, LFAEConfig
from ...files.checkpoints import load_module, read_config
from ...files.models.configs import make_config, read_fields
from ...files.reading import CheckpointError
from ...files.variants import construct
from ...pipeline import LFDM
from ..engine.core import Engine
from .shards import weights_fingerprint

KIND = "LatentFlowAutoencoder"
SHOWN = 3  # tensors without a counterpart that a message names


def load_autoencoder(folder: str | Path) -> LatentFlowAutoencoder:
    """A finished auto-encoder, in evaluation mode.

    Raises:
        CheckpointError: the folder does not hold one.
    """
    where = Path(folder) / "config.json"

    def described() -> LatentFlowAutoencoder:
        (values,) = read_fields(read_config(folder, KIND), ("model",), where)
        return construct(make_config(LFAEConfig, values, where))

    return load_module(folder, described).eval()


def load_finished(folder: str | Path) -> tuple[LatentFlowAutoencoder, LFDM | None]:
    """The auto-encoder of a finished stage-one run; or that of a whole model, and the model.

    Raises:
        CheckpointError: the folder holds neither.
    """
    if read_config(folder)["kind"] == KIND:
        return load_autoencoder(folder), None
    model = LFDM.from_pretrained(Path(folder))
    return model.autoencoder, model


def thinned(tensor: Tensor, shape: torch.Size) -> Tensor | None:
    """An even selection of a larger tensor's channels, or None where it has too few, or another kernel.

    The same channels are kept in every tensor of one width, and as many of each group of a group norm. A smaller
    network learns faster from them than from fresh weights (Xu et al. 2024, arXiv 2311.18823).
    """
    given = tensor.shape
    if len(given) != len(shape) or given[2:] != shape[2:]:
        return None
    if any(own > had for own, had in zip(shape, given, strict=True)):
        return None
    for dim, own in enumerate(shape[:2]):
        tensor = tensor.index_select(dim, torch.arange(own, device=tensor.device) * given[dim] // own)
    return tensor


def start_from(network: nn.Module, folder: str, part: str, engine: Engine) -> dict[str, str]:
    """Give `network` the weights of a finished one by name, `thinned` where it is wider; what it lacks stays fresh.

    What stays fresh is said.

    Args:
        folder: of a finished run or model; "" leaves the network as it is.
        part: "autoencoder" or "unet".
        engine: of the run; one that goes on from a checkpoint needs nothing of the folder any more.

    Returns:
        A hash of what it started from, for the recipe; nothing without a folder.

    Raises:
        CheckpointError: no such network in the folder, or none of its tensors fits.
    """
    if not folder:
        return {}
    if engine.goes_on:
        return remembered(engine)
    autoencoder, model = load_finished(folder)
    finished: nn.Module = autoencoder
    if part == "unet":
        if model is None:
            raise CheckpointError(f"init={folder} holds stage one alone, no denoiser; name a whole model")
        finished = model.unet
    own = network.state_dict()
    fits = {name: thinned(value, own[name].shape) for name, value in finished.state_dict().items() if name in own}
    fresh = [name for name in own if fits.get(name) is None]
    if len(fresh) == len(own):
        raise CheckpointError(f"init={folder}: no tensor of its {part} has a name and a shape of this network's")
    network.load_state_dict({name: value for name, value in fits.items() if value is not None}, strict=False)
    if fresh and engine.main:
        more = f" and {len(fresh) - SHOWN} more" if len(fresh) > SHOWN else ""
        said = f"fresh stay {', '.join(fresh[:SHOWN])}{more}"
        print(f"lfdm: starts from {folder}: {len(own) - len(fresh)} of {len(own)} tensors; {said}", file=sys.stderr)
    return {"init": weights_fingerprint(finished)}


def remembered(engine: Engine) -> dict[str, str]:
    """The hash of what a run that goes on once started from, as its recipe has it."""
    return {"init": engine.recipe.get("clips", {}).get("init", "")}
