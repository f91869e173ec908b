"""A still that shows itself, and frames laid out on it: magnified, with white around. `viz` hands it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..files.media import write_image
from ..files.pictures import encode_png

PAD = 2  # white pixels around every frame


@dataclass(frozen=True)
class Picture:
    """A still that shows itself in Jupyter."""

    image: Float[Tensor, "3 h w"]  # RGB in [0, 1]
    alt: str  # says what is to be seen, for who cannot see it

    def __repr__(self) -> str:
        return f"Picture({self.image.shape[2]}x{self.image.shape[1]}: {self.alt})"

    def save(self, path: str | Path) -> Path:
        """Write a PNG or JPEG file, whole or not at all; its folder is created."""
        write_image(path, self.image.cpu())
        return Path(path)

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return encode_png(self.image), {"alt": self.alt}


def display(picture: Picture) -> None:
    """Show a picture here and now, also amid a cell.

    Raises:
        ImportError: IPython is missing; says how to install it.
    """
    try:
        from IPython.display import display as show
    except ImportError as error:
        from ..files.machine.packages import advice

        instead = "or keep what image_row and contact_sheet return, and save it"
        raise ImportError(f"showing a picture needs IPython: {advice('IPython')}; {instead}") from error
    show(picture)


def check_titles(titles: Sequence[str], n: int, what: str) -> None:
    """Raises a ValueError unless there are as many titles as things, or none at all."""
    if len(titles) not in (0, n):
        raise ValueError(f"{len(titles)} labels for {n} {what}; expected one for each, or none")


def scale_to(height: int, h: int) -> int:
    """The whole-number magnification that brings `h` pixels nearest to `height`."""
    return max(1, round(height / h))


def padded(video: Float[Tensor, "3 t h w"]) -> Float[Tensor, "3 t y x"]:
    """White around every frame."""
    return F.pad(video, (PAD,) * 4, value=1.0)


def magnified(video: Float[Tensor, "3 t h w"], scale: int) -> Float[Tensor, "3 t y x"]:
    """Every pixel as a square of `scale` pixels; values are cut to [0, 1]."""
    return video.detach().clamp(0, 1).repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
