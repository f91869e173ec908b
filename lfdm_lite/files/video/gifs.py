"""Animated GIFs ↔ frames.

With Pillow itself: imageio's plugin for it (2.38.1) reads the settings anew with each frame and takes twice as long,
and writing through it merges frames that are equal.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from ..pictures import MediaError, check_file, check_size, from_pillow, need, to_bytes, to_uint8
from ..reading import one_line
from .containers import ACCEPTED_VIDEO
from .rates import Pace, Rate, gif_delays, tick_of


def gif_frames(path: Path) -> Iterator[UInt8[Tensor, "3 h w"]]:
    """The frames of a GIF as they are shown, one a tick.

    Raises:
        MediaError: it cannot be read, or breaks off.
    """
    ticks = gif_ticks(path)
    with _gif(path) as picture:
        for frame, times in enumerate(ticks):
            picture.seek(frame)
            pixels = to_uint8(from_pillow(picture.copy()))
            for _ in range(times):
                yield pixels


def gif_ticks(path: Path) -> list[int]:
    """For how many ticks each frame of a GIF is shown; nothing is decoded.

    Raises:
        MediaError: as `gif_frames`.
    """
    seconds = []
    with _gif(path) as picture:
        for frame in range(picture.n_frames):
            picture.seek(frame)
            seconds.append(picture.info.get("duration", 0) / 1000)
        pace = Pace(tick_of(np.array(seconds)))
        return [pace.ticks(shown) for shown in seconds]


def encode_gif(video: Float[Tensor, "3 t h w"], fps: Rate) -> bytes:
    """The bytes of a looping GIF. Every frame is kept, also one that equals its neighbour.

    Args:
        video: RGB in [0, 1], at least one frame.
        fps: frames a second, as `check_rate` accepts them.
    """
    image = need("PIL.Image")
    from PIL.GifImagePlugin import getdata

    frames = to_bytes(video)
    t, h, w, _ = frames.shape
    every = max(1, t * h * w // 16_000) | 1  # the palette is fitted to a part of the pixels; odd: of all columns
    sheet = image.fromarray(np.ascontiguousarray(frames.reshape(1, -1, 3)[:, ::every]))
    # Without memory Pillow 13.0 would end the process: a MemoryError instead (up to 32 MB glibc keeps what is freed).
    bytearray(3 * 2**24)
    palette = sheet.quantize(colors=255, method=image.Quantize.MEDIANCUT, kmeans=1, dither=image.Dither.NONE)
    colours = bytes(palette.getpalette())[: 3 * 255].ljust(768, b"\0")
    unchanged = 255  # the one index that is no colour: the pixel stays as it was
    out = [b"GIF89a", *(n.to_bytes(2, "little") for n in (w, h)), b"\xf7\0\0", colours]
    out += [b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"]  # loop for ever
    before = np.full((h, w), -1)
    for frame, delay in zip(frames, gif_delays(t, fps).tolist(), strict=True):
        now = np.asarray(image.fromarray(frame).quantize(palette=palette, dither=image.Dither.NONE))
        change = image.frombytes("P", (w, h), np.where(now == before, unchanged, now).astype(np.uint8).tobytes())
        out += [b"".join(getdata(change, duration=10 * delay, disposal=1, transparency=unchanged))]
        before = now
    return b"".join([*out, b";"])


@contextmanager
def _gif(path: Path) -> Iterator[Any]:
    """An open GIF; whatever Pillow trips over, the file is to blame."""
    image = need("PIL.Image")
    check_file(path, ACCEPTED_VIDEO)
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 64))
            whole = file.read().rstrip(b"\0\r\n").endswith(b";")
        with image.open(path, formats=("GIF",)) as picture:
            check_size(path, picture.size)
            if not whole:  # between two frames Pillow (13.0) would end without a word
                raise MediaError(f"{path}: damaged or cut short, or something follows its end; copy or make it anew")
            yield picture
    except MediaError:
        raise
    except OverflowError as error:  # of `Pace`
        raise MediaError(f"{path}: {error}") from error
    except Exception as error:
        message = f"not a GIF that can be read ({one_line(error)}); expected {ACCEPTED_VIDEO}"
        raise MediaError(f"{path}: {message}") from error
