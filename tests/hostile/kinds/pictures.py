"""Pictures: modes and sizes that are odd but right, and what only looks like a picture."""

import io
import os

import numpy as np
from PIL import Image

from ..sample import Sample, cut, generate, kind, replace_by


def ramp(h: int, w: int, channels: int, dtype=np.uint8) -> np.ndarray:
    top = np.iinfo(dtype).max
    values = np.linspace(0, top, h * w * channels).astype(dtype)
    return values.reshape((h, w, channels) if channels > 1 else (h, w))


@kind
def picture_of_an_odd_mode(rng, place):
    """All of these show something."""
    save = {
        "grey.png": lambda p: Image.fromarray(ramp(20, 30, 1)).save(p),
        "bits.png": lambda p: Image.fromarray(ramp(20, 30, 1)).convert("1").save(p),
        "palette.gif": lambda p: Image.fromarray(ramp(20, 30, 3)).quantize(16).save(p),
        "alpha.png": lambda p: Image.fromarray(ramp(20, 30, 4)).save(p),
        "deep.png": lambda p: Image.fromarray(ramp(20, 30, 1, np.uint16)).save(p),
        "cmyk.jpg": lambda p: Image.fromarray(ramp(20, 30, 3)).convert("CMYK").save(p),
        "la.png": lambda p: Image.fromarray(ramp(20, 30, 2), "LA").save(p),
        "turned.jpg": lambda p: Image.fromarray(ramp(20, 30, 3)).save(p, exif=orientation(rng.randrange(1, 9))),
        "moving.png": lambda p: Image.fromarray(ramp(20, 30, 3)).save(
            p, save_all=True, append_images=[Image.fromarray(255 - ramp(20, 30, 3))]
        ),
        "name says png.png": lambda p: Image.fromarray(ramp(20, 30, 3)).save(p, format="JPEG"),
        "tags.tif": lambda p: Image.fromarray(ramp(20, 30, 3)).save(p, compression="tiff_lzw"),
    }
    name = rng.choice(sorted(save))
    save[name](place / name)
    return Sample(generate(place, image=name), ("out.gif",), (0,))


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@kind
def picture_of_an_odd_size(rng, place):
    h, w = rng.choice([(1, 1), (1, 2), (2, 1), (1, 3000), (3000, 1), (2, 3), (33, 31), (7, 500)])
    Image.fromarray(ramp(h, w, 3)).save(place / "odd.png")
    return Sample(generate(place, image="odd.png"), ("out.gif",), (0, 2), uniform=min(h, w) == 1)


@kind
def picture_of_floats(rng, place):
    factor = rng.choice([1.0, 1e-3, np.nan, 1e30])
    values = np.linspace(-1, 300, 600, dtype=np.float32).reshape(20, 30) * factor
    Image.fromarray(values).save(place / "floats.tif")
    dark = factor == 1e-3  # a network of eight steps makes one colour of it
    return Sample(generate(place, image="floats.tif"), ("out.gif",), (2,) if np.isnan(factor) else (0,), uniform=dark)


@kind
def picture_cut_short(rng, place):
    place.give("face.png")
    name = rng.choice(["face.png", "cut.jpg", "cut.webp", "cut.bmp", "cut.gif", "cut.tif"])
    if name != "face.png":
        Image.open(place / "face.png").save(place / name)
    cut(rng, place / name)
    return Sample(generate(place, image=name), ("out.gif",))


@kind
def picture_that_is_none(rng, place):
    replace_by(rng, place.give("face.png"))
    return Sample(generate(place), ("out.gif",), (2,), seconds=20)


@kind
def picture_in_a_format_that_is_not_read(rng, place):
    name = rng.choice(["a.ppm", "a.ico", "a.eps", "a.tga"])
    Image.fromarray(ramp(16, 16, 3)).save(place / name)
    os.rename(place / name, place / "a.png")
    return Sample(generate(place, image="a.png"), ("out.gif",), (2,))


@kind
def picture_with_more_pixels_than_are_taken(rng, place):
    Image.fromarray(ramp(rng.randrange(32, 40), 32, 3)).save(place / "large.png")
    limits = {"lfdm_lite.files.pictures:MAX_PIXELS": 1023}
    return Sample(generate(place, image="large.png"), ("out.gif",), (2,), limits=limits)


@kind
def picture_whose_header_promises_more(rng, place):
    """The size in the header is changed, within what a picture may have; the pixels are not there."""
    buffer = io.BytesIO()
    Image.fromarray(ramp(16, 16, 3)).save(buffer, format="BMP")
    content = bytearray(buffer.getvalue())
    content[18:22] = rng.choice([0, 17, 4000]).to_bytes(4, "little")
    (place / "lies.bmp").write_bytes(content)
    return Sample(generate(place, image="lies.bmp"), ("out.gif",), (2,))
