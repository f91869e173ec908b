"""Flow on disk as other tools read it: Middlebury `.flo` and 16-bit KITTI PNG, in pixels; and pictures of visibility.

Here all functions take and return normalized flow, NaN where it is unknown.
"""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..flow import in_pixels, normalized
from .pictures import MediaError, check_file, check_size, encode, need, place, to_uint8, write_whole
from .reading import one_line

MAGIC = b"PIEH"  # the float 202021.25, first of every .flo file
UNKNOWN, LEAST_UNKNOWN = 1e10, 1e9  # how .flo says that nobody knows; what is read as that
UNIT, ZERO = 64, 2**15  # KITTI: 64 steps a pixel, and the number that means no motion
ACCEPTED_FLOW = "a Middlebury .flo file or a 16-bit KITTI .png file"
CHANNELS = {0: "gray", 2: "rgb", 3: "of a palette", 4: "gray with alpha", 6: "rgb with alpha"}  # PNG's numbers


def write_flo(path: str | Path, flow: Float[Tensor, "2 h w"]) -> None:
    """Write a Middlebury `.flo` file, whole or not at all: pixels, row by row, x and y interleaved.

    Args:
        flow: normalized; what is not finite is written as unknown.

    Raises:
        MediaError: another suffix, or a folder that cannot be written to.
    """
    path = place(path, ".flo")
    pixels = in_pixels(flow[None])[0].permute(1, 2, 0).detach().cpu().numpy()
    pixels = np.where(np.isfinite(pixels).all(-1, keepdims=True), pixels, UNKNOWN)
    h, w, _ = pixels.shape
    content = MAGIC + np.array([w, h], "<i4").tobytes() + pixels.astype("<f4").tobytes()
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def read_flo(path: str | Path) -> Float[Tensor, "2 h w"]:
    """Read a Middlebury `.flo` file.

    Raises:
        MediaError: no such file, another format, or one that is cut short.
    """
    path = Path(path)
    check_file(path, ACCEPTED_FLOW)
    head = _head(path, 12)
    if head[:4] != MAGIC or len(head) < 12:
        raise MediaError(f"{path}: does not start like a .flo file; expected {ACCEPTED_FLOW}")
    (w, h), length = struct.unpack("<ii", head[4:]), path.stat().st_size
    if w < 1 or h < 1 or length != 12 + 8 * w * h:
        raise MediaError(f"{path}: {length} bytes for a flow of {w}x{h} pixels; expected {12 + 8 * w * h}")
    check_size(path, (w, h))
    pixels = np.frombuffer(path.read_bytes(), "<f4", offset=12).reshape(h, w, 2).astype(np.float32)
    known = (np.abs(pixels) < LEAST_UNKNOWN).all(-1, keepdims=True)  # false for NaN too
    return _from_pixels(np.where(known, pixels, np.float32(np.nan)))


def write_kitti_flow(path: str | Path, flow: Float[Tensor, "2 h w"]) -> None:
    """Write a 16-bit PNG as KITTI's, whole or not at all: red and green are 64 x + 2^15 and 64 y + 2^15 in pixels.

    Through FFmpeg's coder, since Pillow (13.0) has no colours of 16 bits, nor has imageio through it.

    Blue is 1 where the flow is known, which for true flow is everywhere, also where a pixel's source is hidden (like
    KITTI's `flow_occ`). What is hidden is no matter of this file. Rounding is to 1/64 pixel.

    Args:
        flow: normalized; what is not finite is written as unknown.

    Raises:
        MediaError: another suffix, or a folder that cannot be written to.
        ValueError: motion by 512 pixels or more, which the format cannot hold.
    """
    av, path = need("av"), place(path, ".png")
    pixels = in_pixels(flow[None])[0].permute(1, 2, 0).detach().cpu().numpy()
    known = np.isfinite(pixels).all(-1)
    steps = np.rint(np.where(known[..., None], pixels, 0).astype(np.float64) * UNIT) + ZERO
    if not ((steps >= 0) & (steps < 2**16)).all():
        longest = np.abs(pixels[known]).max()
        raise ValueError(f"{path}: motion by {longest:.0f} pixels; a KITTI file holds less than 512, use a .flo file")
    values = np.concatenate([np.where(known[..., None], steps, 0), known[..., None]], axis=-1).astype(np.uint16)
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width = known.shape
    encoder.pix_fmt, encoder.time_base = "rgb48be", Fraction(1)
    picture = av.VideoFrame.from_ndarray(values, format="rgb48be")
    content = b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def read_kitti_flow(path: str | Path) -> Float[Tensor, "2 h w"]:
    """Read a 16-bit KITTI PNG; NaN where its blue says that the flow is unknown.

    Raises:
        MediaError: no such file, no picture, or one that has not three channels of 16 bits.
    """
    av, path = need("av"), Path(path)
    check_file(path, ACCEPTED_FLOW)
    head = _head(path, 26)
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 26:
        raise MediaError(f"{path}: not a PNG that can be read; expected {ACCEPTED_FLOW}")
    w, h, bits, channels = struct.unpack(">IIBB", head[16:])
    if (bits, channels) != (16, 2):
        found = CHANNELS.get(channels, "of an unknown kind")
        raise MediaError(f"{path}: pixels are {found}, not three channels of 16 bits ({bits} found); {ACCEPTED_FLOW}")
    check_size(path, (w, h))
    if path.stat().st_size > 12 * w * h + 2**20:  # twice what the pixels take, and room for notes
        raise MediaError(f"{path}: {path.stat().st_size:,} bytes for {w}x{h} pixels; expected {ACCEPTED_FLOW}")
    try:
        decoder = av.CodecContext.create("png", "r")
        pictures: list[Any] = [*decoder.decode(av.Packet(path.read_bytes())), *decoder.decode(None)]
        (picture,) = pictures
    except Exception as error:  # whatever the decoder trips over, the file is to blame
        raise MediaError(f"{path}: not a PNG that can be read ({one_line(error)}); expected {ACCEPTED_FLOW}") from error
    values = picture.to_ndarray(format="rgb48be").astype(np.float32)
    return _from_pixels(np.where(values[..., 2:] > 0, (values[..., :2] - ZERO) / UNIT, np.float32(np.nan)))


def write_visible(path: str | Path, visible: Float[Tensor, "1 h w"]) -> None:
    """Write visibility in [0, 1] as a grey PNG of 8 bits, whole or not at all: white is visible.

    Raises:
        MediaError: another suffix, or a folder that cannot be written to.
    """
    path = place(path, ".png")
    data = encode(to_uint8(visible[0]).numpy(), ".png")
    write_whole(path, lambda temporary: temporary.write_bytes(data))


def _head(path: Path, length: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(length)


def _from_pixels(pixels: np.ndarray) -> Float[Tensor, "2 h w"]:
    return normalized(torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous())[0]
