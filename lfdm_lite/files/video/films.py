"""Films through FFmpeg (PyAV): the one place where they are opened, timed, decoded and written.

A frame comes as a player shows it: turned and mirrored by its display matrix, with square pixels, in the colours that
the film's tags name, over white where it is transparent. Films whose frames last unequally long are shown by a regular
tick (see `rates`), so that evenly spaced frames are evenly spaced in time.

Decoding stays with PyAV: imageio's plugin for it (2.38.1) knows neither matrix nor pixel shape nor alpha, takes names
with a colon for addresses, and collects all garbage twice for each film that it closes, which beside an imported torch
makes small films many times as slow. So does writing: it sets neither a quality, nor colour tags, nor how colour is
averaged over 2 x 2 pixels. A matrix is what FFmpeg 8.1 leaves to its caller; `frame.rotation` knows turns alone.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ..pictures import MAX_PIXELS, MediaError, check_file, check_size, need
from ..reading import one_line
from .containers import ACCEPTED_VIDEO, VIDEO_SUFFIXES, container_of
from .rates import Pace, Rate, tick_of

EXACT = 0x4 | 0x2000 | 0x40000  # swscale: bicubic, every colour interpolated, rounded; PyAV 17 has no names for it
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these (8.1) drop the alpha


def film_frames(path: Path) -> Iterator[UInt8[Tensor, "3 h w"]]:
    """The frames of a film as they are shown, one a tick.

    Raises:
        MediaError: it cannot be read, or breaks off.
    """
    with _film(path) as (container, stream):
        in_rgb = None
        for frame, ticks in _shown(path, container, stream):
            in_rgb = in_rgb or _converter(path, stream, frame)
            pixels = in_rgb(frame)
            for _ in range(ticks):
                yield pixels


def count_film(path: Path) -> int:
    """How many frames `film_frames` gives: all are decoded, but not converted.

    Packets would be counted faster, and wrong: some are hidden, cut away by an edit list, or hold two frames or none.

    Raises:
        MediaError: as `film_frames`.
    """
    with _film(path) as (container, stream):
        return sum(ticks for _, ticks in _shown(path, container, stream))


# ---------------------------------------------------------------- opening and timing


@contextmanager
def _film(path: Path) -> Iterator[tuple[Any, Any]]:
    """A film and the picture track that players choose; what FFmpeg says against it becomes a MediaError."""
    av = need("av")
    check_file(path, ACCEPTED_VIDEO)
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise MediaError(f"{path}: {path.suffix or 'no suffix'} is not one of {', '.join(VIDEO_SUFFIXES)}")
    try:
        kind = container_of(path)
        if kind is None:
            raise MediaError(f"{path}: not a video that can be read; expected {ACCEPTED_VIDEO}")
        # A title in another code than UTF-8, as in many an old AVI, is no reason to refuse a film, nor to PyAV 19.
        lenient = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
        container = av.open(_address(path), format=kind, container_options={"protocol_whitelist": "file"}, **lenient)
    except MediaError:
        raise
    except Exception as error:
        message = f"not a video that can be read ({one_line(error)}); expected {ACCEPTED_VIDEO}"
        raise MediaError(f"{path}: {message}") from error
    with container:
        stream = container.streams.best("video")
        if stream is None:
            raise MediaError(f"{path}: no pictures in it; expected {ACCEPTED_VIDEO}")
        if stream.codec_context is None:
            raise MediaError(
                f"{path}: its pictures are coded in a way that is not known here; expected {ACCEPTED_VIDEO}"
            )
        check_size(path, (stream.width, stream.height))
        try:
            yield container, stream
        except MediaError:
            raise
        except OverflowError as error:  # of `Pace`
            raise MediaError(f"{path}: {error}") from error
        except Exception as error:  # whatever a decoder trips over, the film is to blame
            raise MediaError(f"{path}: damaged or cut short ({one_line(error)})") from error


def _address(path: Path) -> str:
    """How FFmpeg is told that a name is that of a file: `10:15.mp4` would be something at an address "10"."""
    return f"file:{os.path.abspath(path)}"


def _shown(path: Path, container: Any, stream: Any) -> Iterator[tuple[Any, int]]:
    """The decoded frames, and for how many ticks each is shown."""
    tick = _tick(container, stream)
    frames = _decoded(path, container, stream)
    if tick is None:
        yield from ((frame, 1) for frame in frames)
        return
    pace, before, unit = Pace(tick), None, float(stream.time_base)
    for frame in frames:
        if before is not None:
            yield before, pace.ticks(_seconds(before.pts, frame.pts, unit))
        before = frame
    if before is not None:  # nothing after it says how long the last one is shown, but for the length of the track
        end = (stream.start_time or 0) + stream.duration if stream.duration else None
        yield before, max(1, pace.ticks(_seconds(before.pts, end, unit)))


def _tick(container: Any, stream: Any) -> float | None:
    """The regular tick of a film, by the time stamps of its packets; None if it has a constant rate.

    Winding back costs a tenth of opening it again.
    """
    if "avi" in container.format.name:  # AVI knows a rate alone
        return None
    stamps = [packet.pts for packet in container.demux(stream) if packet.size > 0 and not packet.is_discard]
    container.seek(container.start_time or 0)
    if None in stamps:
        return None
    times, places = np.unique(stamps, return_inverse=True)  # hidden packets share the next one's stamp
    # A film that was cut where it ends lacks frames that were stored behind later ones: no word on its rate.
    late = int((places - np.arange(len(places))).max(initial=0))
    gaps = np.diff(times) * float(stream.time_base)
    return tick_of(gaps) if tick_of(gaps[: len(gaps) - late]) else None


def _seconds(start: int | None, end: int | None, unit: float) -> float | None:
    return None if start is None or end is None else (end - start) * unit


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    av, decoder, number = need("av"), stream.codec_context, 0
    other = WITH_ALPHA.get(decoder.name)
    if stream.metadata.get("alpha_mode") == "1" and other in av.codecs_available:
        decoder = av.CodecContext.create(other, "r")
    decoder.options = {"max_pixels": str(MAX_PIXELS)}  # a film may grow on its way
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise MediaError(f"{path}: damaged or cut short at frame {number}; copy or record it anew")
        if packet.size == 0:  # AVI's word for "as before", and the last one of all
            continue
        for frame in decoder.decode(packet):
            check_size(path, (frame.width, frame.height))
            number += 1
            yield frame
    yield from decoder.decode(None)


# ---------------------------------------------------------------- what a frame looks like


def _converter(path: Path, stream: Any, first: Any) -> Callable[[Any], UInt8[Tensor, "3 h w"]]:
    """How the frames of a film become RGB, upright and with square pixels."""
    reformat = need("av.video.reformatter").VideoReformatter().reformat  # made once: twice as fast for small films
    matrix, shape = display_matrix(first), Fraction(stream.sample_aspect_ratio or 1)

    @cache
    def kind(name: str) -> tuple[bool, bool]:
        """Of a way to store pixels: whether there is alpha, and whether colours have more than 8 bits."""
        stored = need("av").VideoFormat(name)
        channels = stored.components
        return stored.has_palette or any(one.is_alpha for one in channels), max(one.bits for one in channels) > 8

    def in_rgb(frame: Any) -> UInt8[Tensor, "3 h w"]:
        (alpha, deep), size = kind(frame.format.name), _square(frame.width, frame.height, shape)
        check_size(path, size)
        # swscale's fast way (FFmpeg 8.1) is off by up to 3 levels where colours have 10 bits
        how = EXACT if deep or size != (frame.width, frame.height) else None
        pixels = reformat(frame, *size, "rgba" if alpha else "rgb24", interpolation=how, threads=1).to_ndarray()
        return turned(torch.from_numpy(_over_white(pixels) if alpha else pixels).permute(2, 0, 1), matrix)

    return in_rgb


def display_matrix(frame: Any) -> Int[np.ndarray, "2 2"]:
    """Where the columns and rows of a frame point to on the screen; the identity unless the film says otherwise."""
    try:
        stored = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18.1 refuses all of it for a kind that it does not know, such as a camera's EXIF
        turn = math.radians(frame.rotation)
        return np.rint([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]).astype(np.int32)
    if stored is None:
        return np.eye(2, dtype=np.int32)
    return np.frombuffer(bytes(stored), np.int32).reshape(3, 3)[:2, :2]


def turned(pixels: UInt8[Tensor, "3 h w"], matrix: Int[np.ndarray, "2 2"]) -> UInt8[Tensor, "3 y x"]:
    """The picture turned and mirrored by quarter turns as near as possible to its display matrix.

    Row 0 of the matrix says by how much x and y on the screen grow along a row of the picture, row 1 along a column.
    """
    (xx, xy), (yx, yy) = matrix.tolist()
    if abs(xx) + abs(yy) < abs(xy) + abs(yx):  # rows become columns
        pixels, xx, yy = pixels.transpose(1, 2), yx, xy
    mirrored = [axis for axis, along in ((2, xx), (1, yy)) if along < 0]
    return (pixels.flip(mirrored) if mirrored else pixels).contiguous()


def _square(width: int, height: int, shape: Fraction) -> tuple[int, int]:
    """The size with square pixels, where one pixel is `shape` times as wide as high: the short side is drawn out."""
    return (round(width * shape), height) if shape >= 1 else (width, round(height / shape))


def _over_white(pixels: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    colours, alpha = pixels[..., :3].astype(np.float32), pixels[..., 3:].astype(np.float32) / 255
    return np.rint(colours * alpha + 255 * (1 - alpha)).astype(np.uint8)


# ---------------------------------------------------------------- writing


@dataclass(frozen=True)
class Encoding:
    """How a film is written."""

    container: str  # FFmpeg's name of the format
    codec: str
    pixels: str  # FFmpeg's name of how a pixel is stored
    options: dict[str, str] = field(default_factory=dict)  # of the codec
    container_options: dict[str, str] = field(default_factory=dict)
    tags: bool = False  # say that its colours are BT.601


H264 = {"crf": "14", "preset": "medium"}
MP4 = Encoding("mp4", "libx264", "yuv420p", H264, {"movflags": "faststart"}, tags=True)
MPEG4 = Encoding("mp4", "mpeg4", "yuv420p", {"qscale": "2"}, {"movflags": "faststart"}, tags=True)
LOSSLESS = Encoding("matroska", "ffv1", "bgr0", {"level": "3", "g": "1", "threads": "1"})  # every frame stands alone


def encode_film(path: Path, frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: Rate, how: Encoding) -> None:
    """Write frames of one size as a film. swscale makes BT.601 of RGB; players take a film of 720 rows or more without
    a tag for BT.709, which shifts its colours by up to 23 levels.

    Raises:
        OSError: what FFmpeg says against it.
    """
    av = need("av")
    try:
        _encode(av, path, frames, fps, how)
    except av.FFmpegError as error:
        raise OSError(one_line(error)) from error


def _encode(av: Any, path: Path, frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: Rate, how: Encoding) -> None:
    path.write_bytes(bytes(4096))  # PyAV 18.1 would keep a file open for ever whose header finds no room
    with av.open(_address(path), "w", format=how.container, options=how.container_options) as container:
        stream = None
        for pixels in frames:
            if stream is None:
                stream = container.add_stream(how.codec, rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], how.pixels
                stream.options = how.options
                if how.tags:  # SMPTE 170M, which is BT.601, and a range of 16 to 235
                    context = stream.codec_context
                    context.colorspace = context.color_primaries = context.color_trc = 6
                    context.color_range = 1
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            # Threads of its own, PyAV's default, take up to a hundred times as long for small frames on a busy machine.
            container.mux(stream.encode(frame.reformat(format=how.pixels, interpolation="AREA", threads=1)))
        if stream is not None:
            container.mux(stream.encode())
