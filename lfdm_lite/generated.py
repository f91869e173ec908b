"""What `LFDM.generate` returns: videos with the motion that made them, which save and show themselves."""

import base64
import html
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

SUFFIXES = (".gif", ".mp4", ".png")


@dataclass(frozen=True)
class GeneratedVideo:
    """A batch of generated clips.

    Shown at the end of a Jupyter cell, it plays.
    """

    video: Float[Tensor, "b 3 t H W"]  # RGB in [0, 1]
    flow: Float[Tensor, "b 2 t h w"]  # normalized backward flow, every frame with respect to the given image
    occlusion: Float[Tensor, "b 1 t h w"]  # 1 = visible in the given image, 0 = painted by the decoder
    label_names: list[str]  # one a clip
    source: Float[Tensor, "b 3 H W"]  # the given images as the model saw them
    seed: int  # generates these clips again

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.video)

    def __getitem__(self, index: int) -> "GeneratedVideo":
        """One clip, still as a batch."""
        clip = slice(index, None if index == -1 else index + 1)
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        return GeneratedVideo(
            self.video[clip],
            self.flow[clip],
            self.occlusion[clip],
            self.label_names[clip],
            self.source[clip],
            self.seed,
        )

    def __repr__(self) -> str:
        b, _, t, h, w = self.video.shape
        labels = ", ".join(self.label_names)
        return f"GeneratedVideo({b} clip{'s' * (b != 1)} of {t} frames, {w}x{h}: {labels}; seed {self.seed})"

    def save(self, path: str | Path, *, fps: int = 8, scale: int = 1) -> Path:
        """Write the clips into one file; the folder is created if needed.

        Args:
            path: `.gif` or `.mp4`: the clips play side by side; `.png`: a still sheet, one row a clip, time runs right.
            fps: frames a second.
            scale: magnification of every pixel, a whole number.

        Returns:
            The path.

        Raises:
            ValueError: for any other suffix, and for a `scale` below 1.
        """
        from .files.media import write_gif, write_mp4
        from .viz import contact_sheet, grid_of_clips

        path = check_destination(path)
        if scale < 1:
            raise ValueError(f"scale is {scale}; expected a whole number, at least 1")
        if path.suffix.lower() == ".png":
            given_first = torch.cat([self.source[:, :, None], self.video], dim=2)
            contact_sheet(given_first, self.label_names, frames=9, scale=scale, numbers=False).save(path)
            return path
        film = self.video[0] if len(self) == 1 else grid_of_clips(self.video, self.label_names)
        write = write_gif if path.suffix.lower() == ".gif" else write_mp4
        write(path, film, fps=fps, scale=scale)
        return path

    def _repr_html_(self) -> str:
        """One playing GIF a clip, captioned with its label."""
        from .files.media import encode_gif

        scale = max(1, round(160 / self.video.shape[-1]))
        figures = []
        for name, clip in zip(self.label_names, self.video, strict=True):
            data, name = base64.b64encode(encode_gif(clip)).decode(), html.escape(name)
            width = scale * clip.shape[-1]
            figures.append(
                '<figure style="display:inline-block;margin:4px;text-align:center">'
                f'<img src="data:image/gif;base64,{data}" width="{width}" alt="generated video: {name}">'
                f"<figcaption>{name}</figcaption></figure>"
            )
        return "<div>" + "".join(figures) + "</div>"


def check_destination(path: str | Path) -> Path:
    """The path, if a video can be saved there, under that suffix.

    Raises:
        ValueError: if not.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"cannot save a video as {path.name!r}: the name must end in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise ValueError(f"cannot save a video as {path}: it is a folder")
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ValueError(f"cannot save a video as {path}: {nearest} is not a folder that can be written to")
    return path
