"""Videos on disk ↔ tensors, and the pictures of `pictures.py` beside them. What cannot be read ends in a `MediaError`.

PyAV (FFmpeg) reads and writes films, Pillow GIFs; both are imported where they are used.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from .pictures import (
    IMAGE_SUFFIXES,
    MediaError,
    crop_resize,
    natural_order,
    need,
    place,
    read_image,
    to_bytes,
    to_uint8,
    write_image,
    write_whole,
)
from .reading import one_line
from .video import gifs
from .video.containers import ACCEPTED_VIDEO, VIDEO_SUFFIXES
from .video.films import MP4, MPEG4, count_film, encode_film, film_frames
from .video.rates import Rate, check_rate

__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "MediaError", "check_rate", "count_frames", "crop_resize", "encode_gif"]
__all__ += ["frame_files", "iterate_frames", "prepare_images", "read_image", "read_video", "write_gif", "write_image"]
__all__ += ["write_mp4"]

PICTURES = frozenset(IMAGE_SUFFIXES) - {".gif"}  # of the frames of a clip
MAX_CLIP = 400_000_000  # pixels of all frames of a clip together: 4.8 GB as a tensor
MAX_SIDE = 16_384  # pixels of a written frame; H.264 knows no larger ones


def prepare_images(image: Any, size: int) -> Float[Tensor, "b 3 {size} {size}"]:
    """Read one image or several, each cut to its central square and resized to `size` pixels a side.

    Raises:
        MediaError: an image that cannot be read, named.
        ValueError: no image was given.
    """
    several = isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4
    images = list(image) if several else [image]
    if not images:
        raise ValueError("no image was given")
    return torch.stack([crop_resize(read_image(item), size) for item in images])


def read_video(path: str | Path) -> Float[Tensor, "3 t h w"]:
    """A whole clip as RGB in [0, 1]: mp4, webm, avi, gif and the like, or a folder of pictures in natural order.

    Raises:
        MediaError: it cannot be read, it has no frames, or more than fit into memory.
    """
    frames = []
    for frame in iterate_frames(path):
        frames.append(frame)
        if len(frames) * frame[0].numel() > MAX_CLIP:
            what = f"more than {len(frames) - 1} frames of {frame.shape[2]}x{frame.shape[1]} pixels"
            raise MediaError(f"{path}: {what} do not fit into one tensor; shorten it, or go through iterate_frames")
    if len({frame.shape for frame in frames}) > 1:
        sizes = sorted({f"{frame.shape[2]}x{frame.shape[1]}" for frame in frames})
        raise MediaError(f"{path}: its frames differ in size ({', '.join(sizes)}); expected one size")
    return torch.stack(frames, dim=1).float() / 255


def iterate_frames(path: str | Path) -> Iterator[UInt8[Tensor, "3 h w"]]:
    """The frames of a clip one by one, 8 bits a channel: for clips too long to hold.

    Where frames last unequally long, in a GIF or a film, one that is shown n times as long as the shortest comes n
    times: frames evenly spaced in number are evenly spaced in time.

    Raises:
        MediaError: as `read_video`, when the first bad frame is reached.
    """
    path = Path(path)
    frames: Iterator[Tensor]
    if os.path.isdir(path):  # without an error for names that no file can have
        frames = (to_uint8(read_image(file)) for file in frame_files(path))
    else:
        frames = (gifs.gif_frames if path.suffix.lower() == ".gif" else film_frames)(path)
    count = 0
    for count, frame in enumerate(frames, start=1):  # noqa: B007
        yield frame
    if count == 0:
        raise MediaError(f"{path}: no frame in it; expected {ACCEPTED_VIDEO}")


def count_frames(path: str | Path) -> int:
    """How many frames `iterate_frames` will give. A film is decoded for that: count once, and remember.

    On one core of 2026 that is 2 ms for 16 frames of 64x64 pixels, and 3 s for 1,000 of 1920x1080.

    Raises:
        MediaError: as `read_video`.
    """
    path = Path(path)
    if os.path.isdir(path):
        count = len(frame_files(path))
    elif path.suffix.lower() == ".gif":
        count = sum(gifs.gif_ticks(path))
    else:
        count = count_film(path)
    if count == 0:
        raise MediaError(f"{path}: no frame in it; expected {ACCEPTED_VIDEO}")
    return count


def frame_files(folder: Path) -> list[Path]:
    """The pictures directly inside a folder, in natural order: frame 2 before frame 10.

    Raises:
        MediaError: it cannot be looked into.
    """
    try:
        found = list(folder.iterdir())
    except OSError as error:
        raise MediaError(f"{folder}: cannot be looked into ({one_line(error)})") from error
    files = (file for file in found if file.suffix.lower() in PICTURES)
    return sorted((file for file in files if not file.name.startswith(".")), key=natural_order)


def write_gif(path: str | Path, video: Float[Tensor, "3 t h w"], fps: Rate = 8, scale: int = 1) -> None:
    """Write a looping GIF with one palette fitted to the clip, whole or not at all; its folder is created.

    Args:
        video: RGB in [0, 1].
        fps: frames a second, 0.0016 to 50; GIF counts in hundredths of a second, so delays take turns.
        scale: magnification of every pixel.

    Raises:
        MediaError: a suffix other than .gif, or a folder that cannot be written to.
        ValueError: impossible `fps` or `scale`, or no frames.
    """
    path, clip = place(path, ".gif"), _magnified(video, fps, scale)
    check_rate(path, fps)
    data = gifs.encode_gif(clip, fps)
    write_whole(path, lambda temporary: temporary.write_bytes(data))


def encode_gif(video: Float[Tensor, "3 t h w"], fps: Rate = 8, scale: int = 1) -> bytes:
    """The bytes of a looping GIF; see `write_gif`. Every frame is kept, also one that equals its neighbour."""
    clip = _magnified(video, fps, scale)
    check_rate("a.gif", fps)
    return gifs.encode_gif(clip, fps)


def write_mp4(path: str | Path, video: Float[Tensor, "3 t h w"], fps: Rate = 8, scale: int = 1) -> None:
    """Write an H.264 film that browsers and telephones play, whole or not at all; its folder is created.

    Odd heights and widths grow by one pixel, since the format needs even ones. It keeps one colour for 2 x 2 pixels, so
    small clips look better with a `scale` of 2 or more.

    Args:
        video: RGB in [0, 1].
        fps: frames a second, 0.001 to 1000.
        scale: magnification of every pixel.

    Raises:
        MediaError: a suffix other than .mp4, or a folder that cannot be written to.
        ValueError: impossible `fps` or `scale`, or no frames.
    """
    path = place(path, ".mp4")
    frames = to_bytes(_magnified(video, fps, scale))
    check_rate(path, fps)
    how = MP4 if MP4.codec in need("av").codecs_available else MPEG4
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    write_whole(path, lambda temporary: encode_film(temporary, frames, fps, how))


def _magnified(video: Float[Tensor, "3 t h w"], fps: Rate, scale: int) -> Float[Tensor, "3 t y x"]:
    """The clip with every pixel as a square of `scale` x `scale`."""
    t, h, w = video.shape[1:]
    if t == 0 or not fps > 0 or scale < 1:
        given = f"{t} frames, fps={fps}, scale={scale}"
        raise ValueError(f"{given}: expected at least one frame, fps above 0 and a scale of at least 1")
    if max(h, w) * scale > MAX_SIDE or t * h * w * scale**2 > MAX_CLIP:
        most = f"{MAX_SIDE} a side and {MAX_CLIP // 10**6} million in all frames"
        raise ValueError(f"{t} frames of {w}x{h} pixels, scale={scale}: expected at most {most}; take a smaller scale")
    return video.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3) if scale > 1 else video
