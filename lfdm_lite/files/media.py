"""Videos on disk ↔ tensors, and the pictures of `pictures.py` beside them. What cannot be read ends in a `MediaError`.

PyAV (FFmpeg) reads and writes films, Pillow GIFs; both are imported where they are used.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from .pictures import (
    IMAGE_SUFFIXES,
    MediaError,
    check_file,
    check_size,
    crop_resize,
    from_pillow,
    need,
    one_line,
    place,
    read_image,
    to_bytes,
    to_uint8,
    write_image,
    write_whole,
)

__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "MediaError", "count_frames", "crop_resize", "encode_gif", "frame_files"]
__all__ += ["iterate_frames", "read_image", "read_video", "write_gif", "write_image", "write_mp4"]

VIDEO_SUFFIXES = (".mp4", ".webm", ".avi", ".gif", ".mov", ".mkv", ".m4v")
ACCEPTED_VIDEO = "a video in MP4, WebM, AVI or GIF, or a folder of pictures"


def read_video(path: str | Path) -> Float[Tensor, "3 t h w"]:
    """A whole clip as RGB in [0, 1]: mp4, webm, avi, gif and the like, or a folder of pictures in natural order.

    Raises:
        MediaError: it cannot be read, or it has no frames.
    """
    frames = list(iterate_frames(path))
    if len({frame.shape for frame in frames}) > 1:
        sizes = sorted({f"{frame.shape[2]}x{frame.shape[1]}" for frame in frames})
        raise MediaError(f"{path}: its frames differ in size ({', '.join(sizes)}); expected one size")
    return torch.stack(frames, dim=1).float() / 255


def iterate_frames(path: str | Path) -> Iterator[UInt8[Tensor, "3 h w"]]:
    """The frames of a clip one by one, 8 bits a channel: for clips too long to hold.

    A GIF's frame that is shown n times as long as its shortest one comes n times.

    Raises:
        MediaError: as `read_video`, when the first bad frame is reached.
    """
    path = Path(path)
    if path.is_dir():
        frames = (to_uint8(read_image(file)) for file in frame_files(path))
    else:
        check_file(path, ACCEPTED_VIDEO)
        frames = _gif_frames(path) if path.suffix.lower() == ".gif" else _film_frames(path)
    count = 0
    for count, frame in enumerate(frames, start=1):  # noqa: B007
        yield frame
    if count == 0:
        raise MediaError(f"{path}: no frame in it; expected {ACCEPTED_VIDEO}")


def count_frames(path: str | Path) -> int:
    """How many frames `iterate_frames` will give, without decoding them (a damaged film may give fewer).

    Raises:
        MediaError: as `read_video`; also if a film breaks off in the middle of a frame.
    """
    path = Path(path)
    if path.is_dir():
        count = len(frame_files(path))
    elif path.suffix.lower() == ".gif":
        count = sum(_gif_repeats(path))
    else:
        with _film(path) as (container, stream):
            packets = [packet.is_corrupt for packet in container.demux(stream) if packet.size > 0]
        count = len(packets)
        if any(packets):
            raise MediaError(f"{path}: damaged or cut short at frame {packets.index(True)}; copy or record it anew")
    if count == 0:
        raise MediaError(f"{path}: no frame in it; expected {ACCEPTED_VIDEO}")
    return count


def frame_files(folder: Path) -> list[Path]:
    """The pictures directly inside a folder, in natural order: frame 2 before frame 10."""

    def natural(path: Path) -> list[tuple[int, int, str]]:
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name)]

    files = (file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.suffix != ".gif")
    return sorted((file for file in files if not file.name.startswith(".")), key=natural)


def write_gif(path: str | Path, video: Float[Tensor, "3 t h w"], fps: float | int = 8, scale: int = 1) -> None:
    """Write a looping GIF with one palette fitted to the clip, whole or not at all; its folder is created.

    Args:
        video: RGB in [0, 1].
        fps: frames a second, at most 50; GIF counts in hundredths of a second.
        scale: magnification of every pixel.

    Raises:
        MediaError: a suffix other than .gif, or a folder that cannot be written to.
        ValueError: impossible `fps` or `scale`, or no frames.
    """
    path = place(path, ".gif")
    data = encode_gif(video, fps, scale)
    write_whole(path, lambda temporary: temporary.write_bytes(data))


def encode_gif(video: Float[Tensor, "3 t h w"], fps: float | int = 8, scale: int = 1) -> bytes:
    """The bytes of a looping GIF; see `write_gif`. Every frame is kept, also one that equals its neighbour."""
    image = need("PIL.Image")
    from PIL.GifImagePlugin import getdata

    frames = to_bytes(_magnified(video, fps, scale))
    if fps > 50:
        raise ValueError(f"fps is {fps}; a GIF shows at most 50 frames a second")
    t, h, w, _ = frames.shape
    every = max(1, t * h * w // 500_000)  # the palette of long clips is fitted to a part of the frames
    sheet = image.fromarray(frames[::every].reshape(-1, w, 3))
    palette = sheet.quantize(colors=255, method=image.Quantize.MEDIANCUT, kmeans=1, dither=image.Dither.NONE)
    colours = bytes(palette.getpalette())[: 3 * 255].ljust(768, b"\0")
    unchanged = 255  # the one index that is no colour: the pixel stays as it was
    out = [b"GIF89a", *(n.to_bytes(2, "little") for n in (w, h)), b"\xf7\0\0", colours]
    out += [b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"]  # loop for ever
    before = np.full((h, w), -1)
    for frame in frames:
        now = np.asarray(image.fromarray(frame).quantize(palette=palette, dither=image.Dither.NONE))
        change = image.frombytes("P", (w, h), np.where(now == before, unchanged, now).astype(np.uint8).tobytes())
        out += [b"".join(getdata(change, duration=1000 / fps, disposal=1, transparency=unchanged))]
        before = now
    return b"".join([*out, b";"])


def write_mp4(path: str | Path, video: Float[Tensor, "3 t h w"], fps: float | int = 8, scale: int = 1) -> None:
    """Write an H.264 film that browsers and telephones play, whole or not at all; its folder is created.

    Odd heights and widths grow by one pixel, since the format needs even ones. It keeps one colour for 2 x 2 pixels, so
    small clips look better with a `scale` of 2 or more.

    Args:
        video: RGB in [0, 1].
        fps: frames a second.
        scale: magnification of every pixel.

    Raises:
        MediaError: a suffix other than .mp4, or a folder that cannot be written to.
        ValueError: impossible `fps` or `scale`, or no frames.
    """
    av = need("av")
    path = place(path, ".mp4")
    frames = to_bytes(_magnified(video, fps, scale))
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")

    def write(temporary: Path) -> None:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as container:
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
            stream.options = {"crf": "14", "preset": "medium"} if codec == "libx264" else {"qscale": "2"}
            for pixels in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p", interpolation="AREA")))
            container.mux(stream.encode())

    write_whole(path, write)


# ---------------------------------------------------------------- how videos are read


def _gif_repeats(path: Path) -> list[int]:
    """How often each frame of a GIF counts: its duration in units of the shortest one."""
    image = need("PIL.Image")
    check_file(path, ACCEPTED_VIDEO)
    try:
        with image.open(path, formats=("GIF",)) as picture:
            check_size(path, picture.size)
            durations = []
            for frame in range(picture.n_frames):
                picture.seek(frame)
                durations.append(picture.info.get("duration", 0))
    except MediaError:
        raise
    except Exception as error:
        message = f"not a GIF that can be read ({one_line(error)}); expected {ACCEPTED_VIDEO}"
        raise MediaError(f"{path}: {message}") from error
    shortest = min((d for d in durations if d > 0), default=1)
    return [max(1, round(d / shortest)) for d in durations]


def _gif_frames(path: Path) -> Iterator[UInt8[Tensor, "3 h w"]]:
    repeats = _gif_repeats(path)
    image = need("PIL.Image")
    with image.open(path, formats=("GIF",)) as picture:
        for frame, times in enumerate(repeats):
            try:
                picture.seek(frame)
                pixels = to_uint8(from_pillow(picture.copy()))
            except Exception as error:
                raise MediaError(f"{path}: damaged at frame {frame} ({one_line(error)})") from error
            for _ in range(times):
                yield pixels


@contextmanager
def _film(path: Path) -> Iterator[tuple[Any, Any]]:
    """A film and its first picture track; what FFmpeg says against it becomes a MediaError."""
    av = need("av")
    check_file(path, ACCEPTED_VIDEO)
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise MediaError(f"{path}: {path.suffix or 'no suffix'} is not one of {', '.join(VIDEO_SUFFIXES)}")
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        message = f"not a video that can be read ({one_line(error)}); expected {ACCEPTED_VIDEO}"
        raise MediaError(f"{path}: {message}") from error
    with container:
        if not container.streams.video:
            raise MediaError(f"{path}: no pictures in it; expected {ACCEPTED_VIDEO}")
        stream = container.streams.video[0]
        check_size(path, (stream.width, stream.height))
        try:
            yield container, stream
        except (av.FFmpegError, EOFError) as error:
            raise MediaError(f"{path}: damaged or cut short ({one_line(error)})") from error


def _film_frames(path: Path) -> Iterator[UInt8[Tensor, "3 h w"]]:
    with _film(path) as (container, stream):
        in_rgb = need("av.video.reformatter").VideoReformatter().reformat  # made once: twice as fast for small films
        for frame in container.decode(stream):
            pixels = torch.from_numpy(in_rgb(frame, format="rgb24").to_ndarray()).permute(2, 0, 1)
            quarter_turns = round(getattr(frame, "rotation", 0) / 90)  # a telephone held upright
            yield torch.rot90(pixels, quarter_turns, dims=(1, 2)).contiguous()


def _magnified(video: Float[Tensor, "3 t h w"], fps: float | int, scale: int) -> Float[Tensor, "3 t y x"]:
    """The clip with every pixel as a square of `scale` x `scale`."""
    if video.shape[1] == 0 or not fps > 0 or scale < 1:
        given = f"{video.shape[1]} frames, fps={fps}, scale={scale}"
        raise ValueError(f"{given}: expected at least one frame, fps above 0 and a scale of at least 1")
    return video.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3) if scale > 1 else video
