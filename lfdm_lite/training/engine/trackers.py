"""Trackers that accelerate knows: TensorBoard, or another, shows losses and pictures while a run goes on."""

from pathlib import Path
from typing import Any

from .recipes import flatten, plain


def check_tracker(name: str) -> None:
    """Whether accelerate knows a tracker and its package is there.

    Raises:
        ValueError: it does not, or it is not.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = sorted(map(str, LOGGER_TYPE_TO_CLASS))
    if name not in known:
        raise ValueError(f"tracker {name!r} is not one of: {', '.join(known)}, none")
    if name not in map(str, get_available_trackers()):
        package = name.removesuffix("_ml") + ("-ml" if name.endswith("_ml") else "")
        raise ValueError(f"tracker {name!r} is not installed: pip install {package}, or choose --tracker none")


def start_tracker(accelerator: Any, name: str, config: Any, start: int) -> None:
    """Open the tracker; TensorBoard forgets what it was shown after step `start`."""
    if name == "tensorboard":  # its table of hyperparameters would become a second run beside this one
        accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": {"purge_step": start + 1}})
    else:
        flat = {key: value if isinstance(value, int | float) else str(value) for key, value in flatten(plain(config))}
        accelerator.init_trackers("lfdm_lite", config=flat)


def show_picture(accelerator: Any, path: Path, step: int) -> None:
    """Hand a sample picture to the trackers that take pictures."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))[None]
    for tracker in accelerator.trackers:
        if hasattr(tracker, "log_images"):
            options = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({"samples": pixels}, step=step, **options)
