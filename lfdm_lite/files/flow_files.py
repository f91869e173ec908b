"""Flow on disk as other tools read it: Middlebury `.flo` and 16-bit KITTI PNG, in pixels; and the motion of a clip.

Beside a clip `smile.mp4` (or a folder of frames `smile/`) lies its motion with respect to frame 0: a folder
`smile_flow/` of one `.flo` or `.png` file a frame and a folder `smile_visible/` of grey pictures, white where frame 0
shows the pixel's source; or both in one file, `smile.npz`, as arrays `flow` (2, t, h, w; normalized) and `visible`
(1, t, h, w). Here all functions take and return normalized flow, NaN where it is unknown.
"""

import math
import struct
import zipfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..flow import in_pixels, normalized
from ..geometry import resize
from .pictures import (
    MediaError,
    check_file,
    check_size,
    encode,
    natural_order,
    need,
    one_line,
    place,
    read_image,
    to_uint8,
    write_whole,
)

MAGIC = b"PIEH"  # the float 202021.25, first of every .flo file
UNKNOWN, LEAST_UNKNOWN = 1e10, 1e9  # how .flo says that nobody knows; what is read as that
UNIT, ZERO = 64, 2**15  # KITTI: 64 steps a pixel, and the number that means no motion
PARTS = {"flow": (".flo", ".png"), "visible": (".png",)}  # of the motion of a clip, and the suffixes of their files
ACCEPTED_FLOW = "a Middlebury .flo file or a 16-bit KITTI .png file"
ACCEPTED_BOTH = "arrays flow (2, t, h, w) and visible (1, t, h, w)"
CHANNELS = {0: "gray", 2: "rgb", 3: "of a palette", 4: "gray with alpha", 6: "rgb with alpha"}  # PNG's numbers
MAX_NUMBERS = 250_000_000  # of an array in an .npz file: 1 GB


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
    av = need("av")
    path = place(path, ".png")
    pixels = in_pixels(flow[None])[0].permute(1, 2, 0).detach().cpu().numpy()
    known = np.isfinite(pixels).all(-1)
    steps = np.rint(np.where(known[..., None], pixels, 0).astype(np.float64) * UNIT) + ZERO
    if not ((steps >= 0) & (steps < 2**16)).all():
        longest = np.abs(pixels[known]).max()
        raise ValueError(f"{path}: motion by {longest:.0f} pixels; a KITTI file holds less than 512, use a .flo file")
    values = np.concatenate([np.where(known[..., None], steps, 0), known[..., None]], axis=-1).astype(np.uint16)
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = *known.shape, "rgb48be", Fraction(1)
    picture = av.VideoFrame.from_ndarray(values, format="rgb48be")
    content = b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def read_kitti_flow(path: str | Path) -> Float[Tensor, "2 h w"]:
    """Read a 16-bit KITTI PNG; NaN where its blue says that the flow is unknown.

    Raises:
        MediaError: no such file, no picture, or one that has not three channels of 16 bits.
    """
    av = need("av")
    path = Path(path)
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
        (picture,) = [*decoder.decode(av.Packet(path.read_bytes())), *decoder.decode(None)]
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


# ---------------------------------------------------------------- the motion of a clip


def motion_path(clip: Path, what: str = "flow") -> Path:
    """Where the flow or the visibility ("visible") of a clip lies, frame by frame."""
    return clip.with_name(f"{clip.name if clip.is_dir() else clip.stem}_{what}")


def motion_file(clip: Path) -> Path:
    """Where both lie in one."""
    return clip.with_name(f"{clip.name if clip.is_dir() else clip.stem}.npz")


def has_motion(clip: Path) -> bool:
    """Whether flow and visibility lie beside a clip."""
    return motion_file(clip).is_file() or all(motion_path(clip, what).is_dir() for what in ("flow", "visible"))


def check_motion(clip: Path, frames: int) -> None:
    """Refuse flow and visibility of more or fewer frames than the clip shows: which belongs to which is not known then.

    Raises:
        MediaError: the numbers differ, or something is not there or cannot be read.
    """
    if motion_file(clip).is_file():
        found = {motion_file(clip): _shapes(motion_file(clip))["flow"][1]}
    else:
        found = {motion_path(clip, what): len(_files(clip, what)) for what in PARTS}
    for path, count in found.items():
        if count != frames:
            raise MediaError(f"{path}: motion of {count} frames, but {clip.name} shows {frames}; expected one for each")


def read_motion(
    clip: Path, wanted: Sequence[int], size: int
) -> tuple[Float[Tensor, "2 t {size} {size}"], Float[Tensor, "1 t {size} {size}"]]:
    """Flow and visibility of some frames of a clip, cut to the central square and resized as its pictures are.

    Where the flow is unknown it becomes 0, and the pixel counts as hidden. A new pixel is the mean of its known parts.

    Args:
        clip: the film or folder of frames beside which they lie.
        wanted: which frames.
        size: new height and width in pixels.

    Raises:
        MediaError: they are not there, cannot be read, or are of too few frames or of another size than each other.
    """
    pairs = {}
    read = _both_in_one(clip) if motion_file(clip).is_file() else _frame_by_frame(clip)
    for i in set(wanted):
        flow, visible = read(i)
        if flow.shape[1:] != visible.shape[1:]:
            sizes = " and ".join(f"{maps.shape[2]}x{maps.shape[1]}" for maps in (flow, visible))
            raise MediaError(f"{clip}: frame {i} of its flow and visibility have {sizes} pixels; expected one size")
        known = flow.isfinite().all(dim=0, keepdim=True)
        pairs[i] = _square(torch.where(known, flow, 0.0), visible, known.float(), size)
    flow, visible = (torch.stack([pairs[i][part] for i in wanted], dim=1) for part in (0, 1))
    return flow, visible


def _square(
    flow: Float[Tensor, "2 h w"], visible: Float[Tensor, "1 h w"], known: Float[Tensor, "1 h w"], size: int
) -> tuple[Float[Tensor, "2 {size} {size}"], Float[Tensor, "1 {size} {size}"]]:
    """Cut and resize; the same motion is a larger part of a smaller square."""
    h, w = visible.shape[1:]
    side = min(h, w)
    rows, columns = (slice((length - side) // 2, (length - side) // 2 + side) for length in (h, w))
    flow = normalized(in_pixels(flow[None])[:, :, rows, columns])
    visible, known = ((maps * known)[None, :, rows, columns] for maps in (visible, known))
    weight = resize(known, size)
    flow = torch.where(weight > 1e-3, resize(flow, size) / weight.clamp(min=1e-3), 0.0)
    return flow[0], resize(visible, size)[0].clamp(0, 1)


def _files(clip: Path, what: str) -> list[Path]:
    """The files of a clip's flow or visibility, one a frame, in the order of its frames.

    Raises:
        MediaError: no such folder.
    """
    folder = motion_path(clip, what)
    if not folder.is_dir():
        raise MediaError(f"{clip}: no {what}; expected the folder {folder.name} or {motion_file(clip).name} beside it")
    found = (path for path in folder.iterdir() if path.suffix.lower() in PARTS[what] and path.name[0] != ".")
    return sorted(found, key=natural_order)


def _frame_by_frame(clip: Path) -> Callable[[int], tuple[Tensor, Tensor]]:
    """How to read frame i of a clip's flow and visibility from two folders."""
    files = {what: _files(clip, what) for what in PARTS}

    def read(i: int) -> tuple[Tensor, Tensor]:
        for what, found in files.items():
            if i >= len(found):
                raise MediaError(f"{motion_path(clip, what)}: {len(found)} files; frame {i} of {clip.name} has none")
        flow = (read_flo if files["flow"][i].suffix.lower() == ".flo" else read_kitti_flow)(files["flow"][i])
        return flow, read_image(files["visible"][i])[:1]

    return read


def _both_in_one(clip: Path) -> Callable[[int], tuple[Tensor, Tensor]]:
    """How to read frame i of a clip's flow and visibility from one file."""
    path = motion_file(clip)
    _shapes(path)  # before anything is unpacked
    try:
        with np.load(path, allow_pickle=False) as arrays:
            flow, visible = (torch.from_numpy(arrays[name]).float() for name in PARTS)
    except Exception as error:  # whatever its reader trips over, the file is to blame
        raise MediaError(f"{path}: cannot be read ({one_line(error)}); expected {ACCEPTED_BOTH}") from error

    def read(i: int) -> tuple[Tensor, Tensor]:
        if i >= flow.shape[1]:
            raise MediaError(f"{path}: motion of {flow.shape[1]} frames; frame {i} of {clip.name} has none")
        return flow[:, i], visible[:, i].nan_to_num()

    return read


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of flow and visibility in an .npz file, by its heads alone: a small file may unpack to a large array.

    Raises:
        MediaError: it cannot be read, or holds something else.
    """
    check_file(path, ACCEPTED_BOTH)
    shapes = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in PARTS:
                with archive.open(f"{name}.npy") as array:
                    major, _ = np.lib.format.read_magic(array)
                    head = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
                    shape, _, kind = head(array)
                    if kind.kind not in "fiub":
                        raise ValueError(f"{name} holds {kind}, not numbers")
                shapes[name] = shape
    except Exception as error:  # whatever its reader trips over, the file is to blame
        raise MediaError(f"{path}: cannot be read ({one_line(error)}); expected {ACCEPTED_BOTH}") from error
    flow, visible = (shapes[name] for name in PARTS)
    if len(flow) != 4 or len(visible) != 4 or flow[0] != 2 or visible[0] != 1 or flow[1] != visible[1] or 0 in flow:
        raise MediaError(f"{path}: flow and visible are {flow} and {visible}; expected (2, t, h, w) and (1, t, h, w)")
    if math.prod(flow) > MAX_NUMBERS or math.prod(visible) > MAX_NUMBERS:
        most = f"{MAX_NUMBERS // 10**6} million numbers"
        raise MediaError(f"{path}: flow and visible are {flow} and {visible}; expected at most {most} each")
    return shapes
