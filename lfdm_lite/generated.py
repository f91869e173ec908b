"""What `LFDM.generate` returns: videos with the motion that made them, which save and show themselves."""

import base64
import html
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
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
        from .data.media import write_gif, write_image, write_mp4

        path = check_destination(path)
        if scale < 1:
            raise ValueError(f"scale is {scale}; expected a whole number, at least 1")
        if path.suffix.lower() == ".png":
            sheet = contact_sheet(self.video, self.label_names, self.source)
            write_image(path, sheet.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2))
        elif path.suffix.lower() == ".gif":
            write_gif(path, tile(self.video), fps=fps, scale=scale)
        else:
            write_mp4(path, tile(self.video), fps=fps, scale=scale)
        return path

    def _repr_html_(self) -> str:
        """One playing GIF a clip, captioned with its label."""
        from .data.media import encode_gif

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


def contact_sheet(
    video: Float[Tensor, "b 3 t h w"],
    names: list[str],
    source: Float[Tensor, "b 3 h w"] | None = None,
    frames: int = 8,
) -> Float[Tensor, "3 y x"]:
    """A still of several clips: a name, and below it `source` (if given) and `frames` frames spread over time."""
    times = torch.linspace(0, video.shape[2] - 1, min(frames, video.shape[2])).round().long()
    rows = []
    for i, (name, clip) in enumerate(zip(names, video, strict=True)):
        pictures = [*clip[:, times].unbind(1)] if source is None else [source[i], *clip[:, times].unbind(1)]
        row = torch.cat([F.pad(picture, (1, 1, 1, 1), value=1.0) for picture in pictures], dim=2)
        rows.append(torch.cat([_text(name, row.shape[2]), row], dim=1))
    return torch.cat(rows, dim=1)


def tile(video: Float[Tensor, "b 3 t h w"], columns: int | None = None) -> Float[Tensor, "3 t y x"]:
    """Several clips → one clip that shows them side by side, in rows of `columns` (at most 6 unless given)."""
    b, _, t, h, w = video.shape
    columns = min(b, 6) if columns is None else columns
    rows = math.ceil(b / columns)
    blank = video.new_ones(rows * columns - b, 3, t, h, w)
    cells = torch.cat([video, blank]).unflatten(0, (rows, columns))  # rows columns 3 t h w
    return cells.permute(2, 3, 0, 4, 1, 5).reshape(3, t, rows * h, columns * w)


def _text(text: str, width: int, height: int = 14) -> Float[Tensor, "3 {height} {width}"]:
    """One line of black text on white."""
    import numpy as np
    from PIL import Image, ImageDraw

    strip = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(strip).text((3, 1), text, fill="black")
    return torch.from_numpy(np.array(strip)).permute(2, 0, 1).float() / 255
