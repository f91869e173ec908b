"""What `generate` returns: videos with the motion that made them, if any did, which save and show themselves."""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .files.pictures import MAX_PIXELS
from .files.places import check_place
from .files.video.rates import check_rate
from .inputs import Number, real_number, whole_number
from .motion import Motion

SUFFIXES = (".gif", ".mp4", ".png")
SHEET_FRAMES = 9  # of a clip, in a still sheet


class NotFiniteError(ValueError):
    """Numbers that are infinite or none came out where a video should have."""


@dataclass(frozen=True)
class GeneratedVideo:
    """A batch of generated clips.

    Shown at the end of a Jupyter cell, it plays.
    """

    video: Float[Tensor, "b 3 t H W"]  # RGB in [0, 1]
    flow: Float[Tensor, "b 2 t h w"] | None  # normalized backward flow, every frame with respect to the given image
    occlusion: Float[Tensor, "b 1 t h w"] | None  # 1 = visible in the given image, 0 = painted by the decoder; it
    # and flow are None of a generator that has none
    label_names: list[str]  # one a clip
    source: Float[Tensor, "b 3 H W"]  # the given images as the model saw them
    seed: int | list[int]  # generates these clips again, all of them together; or one a clip, each by itself
    numbers: Mapping[str, list[float | None]] = field(default_factory=dict)  # asked for beside the label, such as
    # "strength": one a clip, None where it was not given; those that the model knows

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.video)

    @property
    def captions(self) -> list[str]:
        """What was asked of each clip: its label, and the numbers that were given, as in "fear (strength 0.4)"."""
        given = [
            ", ".join(f"{name} {values[i]:g}" for name, values in self.numbers.items() if values[i] is not None)
            for i in range(len(self))
        ]
        return [f"{label} ({said})" if said else label for label, said in zip(self.label_names, given, strict=True)]

    def __getitem__(self, index: Any) -> "GeneratedVideo":
        """Some of the clips, still as a batch.

        Args:
            index: as of a sequence, -1 the last; or a slice, a list or tensor of indices, a mask of truth values.

        Raises:
            IndexError: there is no such clip.
        """
        try:
            index = index if isinstance(index, slice) else np.asarray(index).reshape(-1)
            chosen = np.arange(len(self))[index].tolist()
        except (IndexError, TypeError, ValueError):
            raise IndexError(f"clip {index} of {len(self)}") from None
        flow, occlusion = (None if maps is None else maps[chosen] for maps in (self.flow, self.occlusion))
        return GeneratedVideo(
            self.video[chosen],
            flow,
            occlusion,
            [self.label_names[i] for i in chosen],
            self.source[chosen],
            [self.seed[i] for i in chosen] if isinstance(self.seed, list) else self.seed,
            {name: [values[i] for i in chosen] for name, values in self.numbers.items()},
        )

    def __repr__(self) -> str:
        b, _, t, h, w = self.video.shape
        labels = ", ".join(self.captions)
        seeds = f"seeds {', '.join(map(str, self.seed))}" if isinstance(self.seed, list) else f"seed {self.seed}"
        return f"GeneratedVideo({b} clip{'s' * (b != 1)} of {t} frames, {w}x{h}: {labels}; {seeds})"

    def save(self, path: str | Path, *, fps: Number = 8, scale: Number = 1) -> Path:
        """Write the clips into one file; the folder is created if needed.

        Args:
            path: `.gif` or `.mp4`: the clips play side by side; `.png`: a still sheet, one row a clip, time runs right.
                What a link of that name leads to is written; the link stays.
            fps: frames a second, any number that the format can hold.
            scale: magnification of every pixel, a whole number.

        Returns:
            The path.

        Raises:
            ValueError: any other suffix, no place for a file, impossible `fps` or `scale`.
        """
        from .files.media import write_gif, write_mp4
        from .viz import contact_sheet, grid_of_clips

        given, (path, fps, scale) = Path(path), check_saving(path, self.video.shape, fps, scale)
        if path.suffix.lower() == ".png":
            given_first = torch.cat([self.source[:, :, None], self.video], dim=2)
            sheet = contact_sheet(given_first, self.captions, frames=SHEET_FRAMES, scale=scale, numbers=False)
            sheet.save(path)
            return given
        film = self.video[0] if len(self) == 1 else grid_of_clips(self.video, self.captions)
        write = write_gif if path.suffix.lower() == ".gif" else write_mp4
        write(path, film, fps=fps, scale=scale)
        return given

    def _repr_html_(self) -> str:
        """One playing GIF a clip, captioned with what was asked."""
        from .files.media import encode_gif

        scale = max(1, round(256 / self.video.shape[-1]))
        figures = []
        for name, clip in zip(self.captions, self.video, strict=True):
            data, name = base64.b64encode(encode_gif(clip)).decode(), html.escape(name)
            width = scale * clip.shape[-1]
            figures.append(
                '<figure style="display:inline-block;margin:4px;text-align:center">'
                f'<img src="data:image/gif;base64,{data}" width="{width}" alt="generated video: {name}">'
                f"<figcaption>{name}</figcaption></figure>"
            )
        return "<div>" + "".join(figures) + "</div>"


def check_saving(path: str | Path, shape: Sequence[int], fps: Number = 8, scale: Number = 1) -> tuple[Path, float, int]:
    """All that `GeneratedVideo.save` would refuse, before there is anything to save.

    Args:
        shape: (b, 3, t, H, W) of the clips.

    Returns:
        Where the file will lie, frames a second and magnification, as plain numbers.

    Raises:
        ValueError: what cannot be saved, and what can.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"cannot save a video as {path.name or str(path)!r}: the name must end in {', '.join(SUFFIXES)}"
        )
    try:
        place = check_place(path)
    except ValueError as error:
        raise ValueError(f"cannot save a video: {error}") from None
    if place.suffix.lower() != suffix:
        raise ValueError(f"cannot save a video as {path}: it is a link to {place}, whose name must end in {suffix} too")
    scale, fps = whole_number("scale", scale, 1), real_number("fps", fps)
    if suffix != ".png":
        check_rate(path, fps)
    count, _, frames, height, width = shape
    pixels = count * height * width * (SHEET_FRAMES if suffix == ".png" else frames)
    if pixels * scale**2 > MAX_PIXELS:
        most, million = math.isqrt(MAX_PIXELS // pixels), MAX_PIXELS // 10**6
        advice = f"the largest scale is {most}" if most else "make fewer frames, or fewer clips at a time"
        raise ValueError(f"scale is {scale}: {path.name} would have more than {million} million pixels; {advice}")
    return place, fps, scale


def check_finite(video: Float[Tensor, "b 3 t H W"], motion: Motion | None, guidance_scale: float) -> None:
    """Look whether a video came out, before it is shown as a black one.

    Raises:
        NotFiniteError: not so; says what to change.
    """
    for name, values in (*({} if motion is None else motion._asdict()).items(), ("video", video)):
        if not values.isfinite().all():
            raise NotFiniteError(
                f"the {name} that came out holds numbers that are infinite or none, at guidance_scale "
                f"{guidance_scale:g}: use a smaller one, such as 1.5; if that does not help, the weights are at fault"
            )


def clip_generators(seed: int | list[int], count: int) -> list[torch.Generator]:
    """One CPU generator per clip, by `seed` and i; with a seed for each, as for the first clip of that seed."""
    keys = [(one, 0) for one in seed] if isinstance(seed, list) else [(seed, i) for i in range(count)]
    return [torch.Generator().manual_seed((one * 1_000_003 + i) % 2**63) for one, i in keys]
