"""Pictures on disk and in memory → tensors, whatever their format. What cannot be read ends in one `MediaError`.

Written with imageio, read with Pillow itself: imageio's plugin for it (2.38.1) tries all of Pillow's formats, some of
which start other programs; takes `a:b.png` for an address and looks into `a.zip`; and hands out numbers without the
colour profile and mode that say what they mean. Both are imported where they are used.
"""

import io
import re
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..geometry import resize
from .atomic import write_atomically
from .reading import one_line, regular_file

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # Pillow's names; its other readers are never tried
STARTS = [(b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"RIFF", "WebP"), (b"GIF8", "GIF"), (b"BM", "BMP")]
STARTS += [(b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF")]
MAX_PIXELS = 90_000_000  # more than that is refused: 1 GB as a tensor
ACCEPTED = "a picture in PNG, JPEG, WebP, GIF, BMP or TIFF"


class MediaError(ValueError):
    """A picture or video that cannot be read or written, said in one line."""


def read_image(source: Any) -> Float[Tensor, "3 h w"]:
    """Any picture → RGB in [0, 1]: alpha over white, palette, grey, CMYK and 16 bits converted, EXIF rotation applied.

    Args:
        source: a path (PNG, JPEG, WebP, GIF, BMP or TIFF; of an animation the first frame), a Pillow image, an array
            `(h, w)` or `(h, w, 1 to 4)`, or a tensor `(h, w)` or `(1 to 4, h, w)`. Arrays and tensors hold integers of
            8 or 16 bits, truth values, or floats in [0, 1].

    Raises:
        MediaError: it cannot be read; names the path, what was found and what is accepted.
    """
    if isinstance(source, str | Path):
        return _read_image_file(Path(source))
    if isinstance(source, Tensor | np.ndarray):
        return _from_array(source)
    if hasattr(source, "convert") and hasattr(source, "getbands"):
        try:
            return from_pillow(source)
        except (OSError, SyntaxError) as error:  # a file that Pillow opened, but has not read
            raise MediaError(f"cannot read a picture from a Pillow image: {one_line(error)}") from error
    raise MediaError(f"cannot read a picture from {type(source).__name__}: expected a path, a Pillow image or an array")


def crop_resize(
    image: Float[Tensor, "3 h w"] | Float[Tensor, "3 t h w"], size: int
) -> Float[Tensor, "3 {size} {size}"] | Float[Tensor, "3 t {size} {size}"]:
    """Cut the central square out of a picture or video and resize it, anti-aliased.

    Args:
        size: new height and width in pixels, at least 1.
    """
    h, w = image.shape[-2:]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    return resize(image[None, ..., top : top + side, left : left + side], size)[0].clamp(0, 1)


def write_image(path: str | Path, image: Float[Tensor, "3 h w"]) -> None:
    """Write RGB in [0, 1] as PNG or JPEG, whole or not at all; the suffix decides.

    Raises:
        MediaError: another suffix, or a folder that cannot be written to.
    """
    path = place(path, ".png", ".jpg", ".jpeg")
    pixels = to_bytes(image[:, None])[0]
    data = encode(pixels, ".png") if path.suffix.lower() == ".png" else encode(pixels, ".jpeg", quality=95)
    write_whole(path, lambda temporary: temporary.write_bytes(data))


# ---------------------------------------------------------------- how pictures are read


def need(module: str) -> ModuleType:
    """Pillow, imageio or PyAV, or a part of them, such as "PIL.Image".

    Raises:
        ImportError: it is not installed; says how to get it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = {"PIL": "pillow", "av": "av", "imageio": "imageio"}[module.split(".")[0]]
        raise ImportError(f"pictures and videos need {package}; install it with: pip install {package}") from error


def check_file(path: Path, accepted: str) -> None:
    """Refuse what is no file with something in it, before it is opened.

    Raises:
        MediaError: what is there instead, and what is accepted.
    """
    if regular_file(path, accepted, error=MediaError).stat().st_size == 0:
        raise MediaError(f"{path}: an empty file; expected {accepted}")


def natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """The key that sorts files by name with numbers as numbers: frame 2 before frame 10, and 01 before 1."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], path.name


def _read_image_file(path: Path) -> Float[Tensor, "3 h w"]:
    image = need("PIL.Image")
    check_file(path, ACCEPTED)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its size is checked below, and damage raises
            with image.open(path, formats=FORMATS) as picture:
                check_size(path, picture.size)
                return from_pillow(picture)
    except MediaError as error:
        if str(error).startswith(str(path)):
            raise
        raise MediaError(f"{path}: {error}") from error
    except image.UnidentifiedImageError as error:
        kind = next((name for start, name in STARTS if path.open("rb").read(16).startswith(start)), None)
        what = f"a {kind} file, but damaged or of a kind" if kind else "not a picture"
        advice = "; save it with 8 or 16 bits a channel, not as floats in colour" if kind == "TIFF" else ""
        raise MediaError(f"{path}: {what} that can be read; expected {ACCEPTED}{advice}") from error
    except image.DecompressionBombError as error:
        most = MAX_PIXELS // 10**6
        raise MediaError(f"{path}: far too many pixels; expected at most {most} million, make it smaller") from error
    except Exception as error:  # whatever a decoder trips over, the file is to blame
        raise MediaError(f"{path}: damaged or cut short ({one_line(error)}); expected {ACCEPTED}") from error


def check_size(path: Path, size: tuple[int, int]) -> None:
    """Raises a MediaError for more than `MAX_PIXELS`, width times height, before they are decoded."""
    if size[0] * size[1] > MAX_PIXELS:
        most = MAX_PIXELS // 10**6
        raise MediaError(f"{path}: {size[0]}x{size[1]} pixels; expected at most {most} million, make it smaller")


def from_pillow(picture: Any) -> Float[Tensor, "3 h w"]:
    """A Pillow image of any mode → RGB in [0, 1], upright, over white; colours of a profile become sRGB's.

    Raises:
        MediaError: it has no pixels, or no finite number among them.
    """
    image = need("PIL.Image")
    if 0 in picture.size:
        raise MediaError(f"a picture of {picture.size[0]}x{picture.size[1]} pixels has nothing to show")
    picture.load()
    try:
        picture = need("PIL.ImageOps").exif_transpose(picture)
    except Exception:  # a broken EXIF block is no reason to refuse the picture
        pass
    if picture.mode.startswith(("I", "F")):
        return _from_array(_in_unit_range(np.asarray(picture), picture.mode))
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
    picture = _in_srgb(picture)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = image.new("RGBA", picture.size, "white")
        picture = image.alpha_composite(white, picture)
    return _from_array(np.asarray(picture.convert("RGB")))


def _in_srgb(picture: Any) -> Any:
    """The picture with the colours that its profile says, in sRGB, as littleCMS converts them; others as they are."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    cms = need("PIL.ImageCms")
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA" if picture.mode == "PA" or "transparency" in picture.info else "RGB")
    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    colours = picture.convert(picture.mode[:-1]) if alpha else picture
    try:
        own = cms.ImageCmsProfile(io.BytesIO(profile))
        colours = cms.profileToProfile(colours, own, cms.createProfile("sRGB"), outputMode="RGB")
    except (cms.PyCMSError, OSError, ValueError):  # damaged, or not made for such a picture: browsers go without it
        return picture
    if alpha:
        colours.putalpha(alpha)
    return colours


def _in_unit_range(values: np.ndarray, mode: str) -> np.ndarray:
    """Grey of more than 8 bits → [0, 1]; the range is that of the mode, or of what was found in it."""
    if mode.startswith("I;16") or mode == "I" and 0 <= values.min() and values.max() < 2**16:
        return values.astype(np.float32) / 65535
    values = values.astype(np.float32)
    if not np.isfinite(values).any():
        raise MediaError("a picture of floats, none of which is a finite number")
    values = np.nan_to_num(values, posinf=0, neginf=0)
    low, high = min(0.0, values.min()), max(1.0, values.max())
    return (values - low) / (high - low)


def _from_array(array: Tensor | np.ndarray) -> Float[Tensor, "3 h w"]:
    """An array or tensor → RGB in [0, 1], over white."""
    shape = tuple(array.shape)
    values = array.detach() if isinstance(array, Tensor) else torch.from_numpy(_plain(array))
    channels_first = len(shape) == 3 and (isinstance(array, Tensor) or shape[2] > 4) and shape[0] <= 4
    values = values[None] if len(shape) == 2 else values if channels_first else values.movedim(-1, 0)
    if len(shape) not in (2, 3) or not 1 <= values.shape[0] <= 4 or 0 in shape:
        expected = "(h, w, 3) of an array, (3, h, w) of a tensor"
        raise MediaError(f"cannot read a picture from shape {shape}; expected {expected}")
    if values.dtype.is_floating_point:
        values = values.float()
        if not (values.min() >= -1e-3 and values.max() <= 1 + 1e-3):
            found = f"{values.min().item():.4g} to {values.max().item():.4g}"
            raise MediaError(f"a picture of floats must be in [0, 1], found {found}; divide 8-bit values by 255")
        values = values.clamp(0, 1)
    else:
        top = {torch.bool: 1, torch.uint8: 255, torch.uint16: 65535}.get(values.dtype, 255)
        values = values.contiguous().float().div_(top)  # in place: a large picture is there once
        if not 0 <= values.min() <= values.max() <= 1:
            raise MediaError(f"a picture of {array.dtype} must hold values from 0 to 255")
    if values.shape[0] in (2, 4):
        values, alpha = values[:-1], values[-1:]
        values = values * alpha + (1 - alpha)
    return values.expand(3, -1, -1).contiguous()


def _plain(array: np.ndarray) -> np.ndarray:
    """A contiguous copy in a type that torch knows."""
    if array.dtype.kind not in "buif":
        raise MediaError(f"cannot read a picture from an array of {array.dtype}; expected uint8 or floats in [0, 1]")
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


# ---------------------------------------------------------------- how files are written


def place(path: str | Path, *suffixes: str) -> Path:
    """The path, if such a file can be written there; its folder is created.

    Args:
        suffixes: that its name may end in, in small letters.

    Raises:
        MediaError: another suffix, something there that is no file, or a folder that cannot be made.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise MediaError(f"cannot write {path}: its name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise MediaError(f"cannot write {path}: it is a folder; name a file")
    if path.exists() and not path.is_file():
        raise MediaError(f"cannot write {path}: a pipe, socket or device is there; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"cannot write {path}: its folder cannot be made ({one_line(error)})") from error
    return path


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """`write_atomically`; where it cannot be written, a MediaError says so."""
    try:
        write_atomically(path, write)
    except OSError as error:
        raise MediaError(f"cannot write {path}: {one_line(error)}") from error


def to_uint8(pixels: Float[Tensor, "*n h w"]) -> UInt8[Tensor, "*n h w"]:
    """Numbers in [0, 1] → 8 bits, rounded, on the CPU; what lies outside is clipped."""
    return pixels.detach().cpu().clamp(0, 1).mul(255).round().to(torch.uint8)


def to_pillow(image: Float[Tensor, "3 h w"]) -> Any:
    """RGB in [0, 1] → a Pillow image."""
    return need("PIL.Image").fromarray(to_bytes(image[:, None])[0])


def encode_png(image: Float[Tensor, "3 h w"]) -> bytes:
    """The bytes of a PNG file."""
    return encode(to_bytes(image[:, None])[0], ".png", optimize=True)


def encode(pixels: UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w"], suffix: str, **options: Any) -> bytes:
    """The bytes of a picture file."""
    return need("imageio.v3").imwrite("<bytes>", pixels, plugin="pillow", extension=suffix, is_batch=False, **options)


def to_bytes(video: Float[Tensor, "3 t h w"]) -> UInt8[np.ndarray, "t h w 3"]:
    """RGB in [0, 1] → frames as Pillow and PyAV take them: 8 bits, channels last."""
    return np.ascontiguousarray(to_uint8(video).permute(1, 2, 3, 0).numpy())
