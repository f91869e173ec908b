"""Words in pictures. Pillow draws them; it is imported where it is used."""

import math
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..files.pictures import need


def text_width(text: str) -> int:
    """Width of a line of text in pixels."""
    return math.ceil(_font(text).getlength(text))


def text_line(text: str, width: int, height: int = 16, middle: bool = False) -> Float[Tensor, "3 {height} {width}"]:
    """One line of black text on white, at the left or in the middle; what does not fit ends in dots."""
    while len(text) > 4 and text_width(text) > width - 2:
        text = text.rstrip(".")[:-1] + "..."
    strip = need("PIL.Image").new("RGB", (width, height), "white")
    x, anchor = (width / 2, "mm") if middle else (3, "lm")
    pen = import_module("PIL.ImageDraw").Draw(strip)
    pen.text((x, height / 2), text, fill="black", font=_font(text), anchor=anchor)
    return from_pillow_rgb(strip)


def from_pillow_rgb(picture: Any) -> Float[Tensor, "3 h w"]:
    """A Pillow image in mode RGB → values in [0, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def _font(text: str) -> Any:
    """Pillow's own font; for letters that it lacks, a larger one if this machine has one."""
    need("PIL.Image")
    fonts = import_module("PIL.ImageFont")
    matplotlib = None if text.isascii() else find_spec("matplotlib")
    inside = Path(matplotlib.origin).parent / "mpl-data/fonts/ttf" if matplotlib and matplotlib.origin else Path()
    for larger in () if text.isascii() else ("DejaVuSans.ttf", str(inside / "DejaVuSans.ttf"), "Arial.ttf"):
        try:
            return fonts.truetype(larger, 11)
        except OSError:
            continue
    return fonts.load_default(12)
