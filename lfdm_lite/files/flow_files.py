"""Flow on disk as other tools read it: Middlebury `.flo` and 16-bit KITTI PNG, in pixels; and the motion of a clip.

Beside a clip `smile.mp4` (or a folder of frames `smile/`) lies its motion with respect to frame 0: a folder
`smile_flow/` of one `.flo` or `.png` file a frame and a folder `smile_visible/` of grey pictures, white where frame 0
shows the pixel's source; or both in one file, `smile.npz`, as arrays `flow` (2, t, h, w; normalized) and `visible`
(1, t, h, w). Here all functions take and return normalized flow, NaN where it is unknown.
"""

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
from .pictures import MediaError, check_file, need, one_line, place, read_image, to_pillow, write_whole

MAGIC = b"PIEH"  # the float 202021.25, first of every .flo file
UNKNOWN, LEAST_UNKNOWN = 1e10, 1e9  # how .flo says that nobody knows; what is read as that
UNIT, ZERO = 64, 2**15  # KITTI: 64 steps a pixel, and the number that means no motion
SUFFIXES = (".flo", ".png")
ACCEPTED_FLOW = "a Middlebury .flo file or a 16-bit KITTI .png file"


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
    content = path.read_bytes()
    if content[:4] != MAGIC or len(content) < 12:
        raise MediaError(f"{path}: does not start like a .flo file; expected {ACCEPTED_FLOW}")
    w, h = np.frombuffer(content, "<i4", 2, offset=4).tolist()
    if w < 1 or h < 1 or len(content) != 12 + 8 * w * h:
        raise MediaError(f"{path}: {len(content)} bytes for a flow of {w}x{h} pixels; expected {12 + 8 * w * h}")
    pixels = np.frombuffer(content, "<f4", offset=12).reshape(h, w, 2).astype(np.float32)
    known = (np.abs(pixels) < LEAST_UNKNOWN).all(-1, keepdims=True)  # false for NaN too
    return _from_pixels(np.where(known, pixels, np.float32(np.nan)))


def write_kitti_flow(path: str | Path, flow: Float[Tensor, "2 h w"]) -> None:
    """Write a 16-bit PNG as KITTI's, whole or not at all: red and green are 64 x + 2^15 and 64 y + 2^15 in pixels.

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
    try:
        with av.open(str(path), format="png_pipe") as container:
            picture = next(container.decode(video=0))
    except (av.FFmpegError, OSError, ValueError, StopIteration) as error:
        raise MediaError(f"{path}: not a PNG that can be read ({one_line(error)}); expected {ACCEPTED_FLOW}") from error
    if picture.format.name != "rgb48be":
        raise MediaError(f"{path}: pixels are {picture.format.name}, not three channels of 16 bits; {ACCEPTED_FLOW}")
    values = picture.to_ndarray(format="rgb48be").astype(np.float32)
    return _from_pixels(np.where(values[..., 2:] > 0, (values[..., :2] - ZERO) / UNIT, np.float32(np.nan)))


def write_visible(path: str | Path, visible: Float[Tensor, "1 h w"]) -> None:
    """Write visibility in [0, 1] as a grey PNG of 8 bits, whole or not at all: white is visible.

    Raises:
        MediaError: another suffix, or a folder that cannot be written to.
    """
    path = place(path, ".png")
    picture = to_pillow(visible.expand(3, -1, -1)).convert("L")
    write_whole(path, lambda temporary: picture.save(temporary, format="PNG"))


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


def read_motion(
    clip: Path, wanted: Sequence[int], size: int
) -> tuple[Float[Tensor, "2 t {size} {size}"], Float[Tensor, "1 t {size} {size}"]]:
    """Flow and visibility of some frames of a clip, cut to the central square and resized as its pictures are.

    Where the flow is unknown it becomes 0, and the pixel counts as hidden.

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
        pairs[i] = _square(torch.where(known, flow, 0.0), visible * known, size)
    flow, visible = (torch.stack([pairs[i][part] for i in wanted], dim=1) for part in (0, 1))
    return flow, visible


def _square(
    flow: Float[Tensor, "2 h w"], visible: Float[Tensor, "1 h w"], size: int
) -> tuple[Float[Tensor, "2 {size} {size}"], Float[Tensor, "1 {size} {size}"]]:
    """Cut and resize; the same motion is a larger part of a smaller square."""
    h, w = visible.shape[1:]
    side = min(h, w)
    rows, columns = (slice((length - side) // 2, (length - side) // 2 + side) for length in (h, w))
    flow = normalized(in_pixels(flow[None])[:, :, rows, columns])
    return resize(flow, size)[0], resize(visible[None, :, rows, columns], size)[0].clamp(0, 1)


def _frame_by_frame(clip: Path) -> Callable[[int], tuple[Tensor, Tensor]]:
    """How to read frame i of a clip's flow and visibility from two folders."""
    files = {}
    for what, suffixes in (("flow", SUFFIXES), ("visible", (".png",))):
        folder = motion_path(clip, what)
        if not folder.is_dir():
            raise MediaError(
                f"{clip}: no {what}; expected the folder {folder.name} or {motion_file(clip).name} beside it"
            )
        files[what] = sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and p.name[0] != ".")

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
    try:
        with np.load(path, allow_pickle=False) as arrays:
            flow, visible = (torch.from_numpy(arrays[name]).float() for name in ("flow", "visible"))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        expected = "arrays flow (2, t, h, w) and visible (1, t, h, w)"
        raise MediaError(f"{path}: cannot be read ({one_line(error)}); expected {expected}") from error
    if flow.ndim != 4 or visible.ndim != 4 or len(flow) != 2 or len(visible) != 1 or flow.shape[1] != visible.shape[1]:
        shapes = f"{tuple(flow.shape)} and {tuple(visible.shape)}"
        raise MediaError(f"{path}: flow and visible are {shapes}; expected (2, t, h, w) and (1, t, h, w)")

    def read(i: int) -> tuple[Tensor, Tensor]:
        if i >= flow.shape[1]:
            raise MediaError(f"{path}: motion of {flow.shape[1]} frames; frame {i} of {clip.name} has none")
        return flow[:, i], visible[:, i]

    return read
