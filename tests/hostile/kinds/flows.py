"""Flow beside clips: Middlebury files, KITTI pictures, `.npz`."""

import io
import zipfile

import numpy as np
from PIL import Image

from ..sample import LOOK, Sample, cut, fifo, kind, preview, replace_by


def one(rng, place, folder: str, pattern: str):
    return rng.choice(sorted(place.give(folder).rglob(pattern)))


@kind
def flow_file_cut_short_or_replaced(rng, place):
    folder, pattern = rng.choice(
        [("flo", "*_flow/*.flo"), ("kitti", "*_flow/*.png"), ("films", "*.npz"), ("flo", "*_visible/*.png")]
    )
    path = one(rng, place, folder, pattern)
    rng.choice([cut, replace_by])(rng, path)
    return Sample(preview(folder), LOOK, seconds=20)


@kind
def flow_file_with_a_header_that_lies(rng, place):
    path = one(rng, place, "flo", "*_flow/*.flo")
    content = bytearray(path.read_bytes())
    sizes = [(0, 0), (-1, 32), (32, -32), (32, 33), (2**31 - 1, 2**31 - 1), (1, 1024), (1024, 1)]
    content[4:12] = np.array(rng.choice(sizes), "<i4").tobytes()
    if rng.random() < 0.2:
        content[:4] = b"HEIP"
    path.write_bytes(content)
    return Sample(preview("flo"), LOOK)


@kind
def flow_that_is_no_number(rng, place):
    """Unknown everywhere, or larger than any picture: it counts as unknown."""
    path = one(rng, place, "flo", "*_flow/*.flo")
    content = path.read_bytes()
    values = np.frombuffer(content[12:], "<f4").copy()
    values[:] = rng.choice([np.nan, np.inf, -np.inf, 1e10, 1e30, 1e5])
    path.write_bytes(content[:12] + values.tobytes())
    return Sample(preview("flo"), LOOK)


@kind
def flow_picture_of_another_depth_or_size(rng, place):
    path = one(rng, place, "kitti", rng.choice(["*_flow/*.png", "*_visible/*.png"]))
    h, w = rng.choice([(32, 32), (16, 16), (1, 1), (31, 33)])
    Image.fromarray(np.linspace(0, 255, h * w * 3).reshape(h, w, 3).astype(np.uint8)).save(path)
    return Sample(preview("kitti"), LOOK)


@kind
def flow_of_too_few_frames(rng, place):
    folder, pattern = rng.choice([("flo", "*.flo"), ("kitti", "*.png")])
    for path in sorted(place.give(folder).rglob(f"*_flow/{pattern}"))[1::2]:
        path.unlink()
    return Sample(preview(folder), LOOK, (2,))


@kind
def arrays_of_another_shape_or_type(rng, place):
    path = one(rng, place, "films", "*.npz")
    shape = rng.choice(
        [(2, 4, 32, 32), (2, 4, 16, 16), (2, 1, 32, 32), (3, 4, 32, 32), (2, 4, 32), (2, 4, 0, 0), (0,), ()]
    )
    dtype = rng.choice([np.float32, np.float16, np.complex64, np.uint8, bool, "U4", "M8[s]"])
    arrays = {"flow": np.zeros(shape, dtype), "visible": np.ones((1, *shape[1:]), np.float32)}
    if rng.random() < 0.2:
        arrays["other"] = arrays.pop(rng.choice(sorted(arrays)))
    np.savez(path, **arrays)
    return Sample(preview("films"), LOOK)


@kind
def arrays_that_are_objects(rng, place):
    """Reading these would run what they hold; nothing appears."""
    path = one(rng, place, "films", "*.npz")
    np.savez(path, flow=np.array([Sentinel(place / "RAN")], dtype=object), visible=np.ones((1, 4, 32, 32), np.float32))
    return Sample(preview("films"), LOOK, (2,), absent=("RAN",))


class Sentinel:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@kind
def archive_that_is_damaged_inside(rng, place):
    """A member whose packed bytes are cut, whose name is another, or that is packed by a method that is not read."""
    path = one(rng, place, "films", "*.npz")
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w", rng.choice([0, 8, 12, 14])) as new:
        for name in old.namelist():
            content = old.read(name)
            match rng.randrange(4):
                case 0:
                    content = content[: len(content) // 3]
                case 1:
                    content = b"\x93NUMPY\x01\x00\xff\xff" + content[10:]
                case 2:
                    content = content.replace(b"<f4", b"<f0", 1)
            new.writestr(name, content)
    path.write_bytes(buffer.getvalue())
    return Sample(preview("films"), LOOK)


@kind
def flow_that_is_a_pipe(rng, place):
    folder, pattern = rng.choice([("flo", "*_flow/*.flo"), ("kitti", "*_flow/*.png"), ("films", "*.npz")])
    fifo(one(rng, place, folder, pattern))
    return Sample(preview(folder), LOOK, seconds=20)
