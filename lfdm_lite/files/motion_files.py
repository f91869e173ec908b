"""The motion of a clip on disk, beside the clip.

Beside `smile.mp4` (or a folder of frames `smile/`) lies its motion with respect to frame 0: a folder `smile_flow/` of
one `.flo` or `.png` file a frame and a folder `smile_visible/` of grey pictures, white where frame 0 shows the pixel's
source; or both in one file, `smile.npz`, as arrays `flow` (2, t, h, w; normalized) and `visible` (1, t, h, w).
"""

import itertools
import math
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..flow import in_pixels, normalized
from ..geometry import resize
from .flow_files import read_flo, read_kitti_flow
from .media import frame_files
from .pictures import MediaError, check_file, natural_order, read_image
from .reading import one_line

PARTS = {"flow": (".flo", ".png"), "visible": (".png",)}  # of the motion of a clip, and the suffixes of their files
ACCEPTED_BOTH = "arrays flow (2, t, h, w) and visible (1, t, h, w)"
MAX_NUMBERS = 250_000_000  # of an array in an .npz file: 1 GB


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
    if not motion_file(clip).is_file():
        folders = {motion_path(clip, what): _files(clip, what) for what in PARTS}
        folders |= {clip: frame_files(clip)} if clip.is_dir() else {}
        steps = {path: gaps for path, files in folders.items() if (gaps := _steps(files))}
        for path, other in itertools.pairwise(steps):
            if steps[path] != steps[other]:
                raise MediaError(
                    f"{path}: its files are numbered with other gaps than in {other.name}; expected one for each frame"
                )


def _steps(files: list[Path]) -> list[int]:
    """By how much the last number in the names grows from file to file, in units of the usual step; nothing if it does
    not count the files."""
    numbers = [re.findall(r"\d+", path.stem)[-1:] for path in files]
    steps = [int(b[0]) - int(a[0]) for a, b in itertools.pairwise(numbers) if a and b]
    counts = len(steps) == len(files) - 1 and all(step > 0 for step in steps)
    return [step // math.gcd(*steps) for step in steps] if counts else []


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
