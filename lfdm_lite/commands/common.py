"""What several `lfdm` commands need."""

import os
from pathlib import Path
from typing import Any

from tyro.conf import FlagCreatePairsOff

Flag = FlagCreatePairsOff[bool]
SHIPPED = Path("assets", "checkpoints", "faces64")


class UsageError(ValueError):
    """A command line that asks for something impossible."""


def default_checkpoint() -> Path:
    """$LFDM_CHECKPOINT, or the checkpoint that comes with the sources, or the one below the working folder."""
    if named := os.environ.get("LFDM_CHECKPOINT"):
        return Path(named).expanduser()
    package = Path(__file__).resolve().parents[1]
    for root in (package.parent, package, Path.cwd()):
        if (root / SHIPPED / "config.json").is_file():
            return root / SHIPPED
    raise UsageError(
        f"the shipped checkpoint {SHIPPED.as_posix()} is not at hand: "
        "name one by --checkpoint FOLDER or LFDM_CHECKPOINT"
    )


def pick_device(name: str) -> Any:
    """The torch device of that name; "auto" is a GPU where there is one (CUDA, or Apple's, mps), else the CPU.

    mps was never tried on Apple hardware.

    Raises:
        UsageError: no such device here.
    """
    import torch

    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    devices += ["mps"] if torch.backends.mps.is_available() else []
    if name == "auto":
        return torch.device(devices[0].split(":")[0] if devices else "cpu")
    try:
        torch.zeros(1, device=name).cpu()  # what is on "meta" cannot be read
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, ImportError):  # torch 2.13 says why in up to 1,200 characters
        known = ", ".join(["auto", "cpu", *devices])
        raise UsageError(f"device {name!r} cannot be used here; this machine has: {known}") from None


def file_name(text: str) -> str:
    """A label or an image's name, fit for a file name everywhere."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in text)
