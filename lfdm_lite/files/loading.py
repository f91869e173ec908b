"""What `LFDM.from_pretrained` reads: where a checkpoint lies, and the parts that its config describes."""

import re
from pathlib import Path
from typing import Any

from ..autoencoder import LFAEConfig
from ..diffusion import DiffusionConfig
from ..unet3d import UNet3DConfig
from .checkpoints import CONFIG_FILE, WEIGHTS_FILE, read_config
from .fast import FAST
from .models.configs import make_config, read_fields, read_labels
from .models.weights import build
from .reading import CheckpointError
from .variants import construct

KIND = "LFDM"
FIELDS = ("labels", "image_size", "guidance_scale", "autoencoder", "unet", "diffusion")


def find_folder(name: str | Path, **options: Any) -> Path:
    """The local folder of a checkpoint: `name` itself, or where a download from the Hugging Face Hub put it.

    Raises:
        CheckpointError: neither.
    """
    path = Path(name).expanduser()
    hub_id = isinstance(name, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) and not path.parent.exists()
    if path.exists() or not hub_id:
        return path  # whether it holds a checkpoint is for the reader of its config to say
    from huggingface_hub import snapshot_download

    files = [place + file for place in ("", f"{FAST}/") for file in (CONFIG_FILE, WEIGHTS_FILE)]
    try:
        return Path(snapshot_download(str(name), allow_patterns=files, **options))
    except Exception as error:  # whatever the network, the hub and their libraries may raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].removeprefix("Got: ")
        raise CheckpointError(
            f"{name!r} is no folder here and could not be fetched from the Hugging Face Hub: {reason}"
        ) from error


def read_parts(folder: Path) -> dict[str, Any]:
    """The arguments of `LFDM`, networks with fresh weights among them, as a checkpoint's config describes them.

    Raises:
        CheckpointError: no config there, or one that does not fit; the message names what.
    """
    where = folder / CONFIG_FILE
    stored = dict(read_config(folder, KIND))
    quick = stored.pop("quick", None)  # the only field that may be absent
    labels, image_size, scale, *values = read_fields(stored, FIELDS, where)
    autoencoder = make_config(LFAEConfig, values[0], f"{where}: autoencoder")
    unet = make_config(UNet3DConfig, values[1], f"{where}: unet")
    diffusion = make_config(DiffusionConfig, values[2], f"{where}: diffusion")
    read_labels(labels, unet.num_labels, where)
    if not isinstance(image_size, int) or not isinstance(scale, int | float):
        raise CheckpointError(f"{where}: image_size {image_size!r} and guidance_scale {scale!r} must be numbers")
    return {
        "autoencoder": build(lambda: construct(autoencoder), f"{where}: autoencoder"),
        "unet": build(lambda: construct(unet), f"{where}: unet"),
        "diffusion": build(lambda: construct(diffusion), f"{where}: diffusion"),
        "labels": labels,
        "image_size": image_size,
        "guidance_scale": scale,
        "quick": quick,
    }
