"""Are the pictures that a chapter draws anew those that it has stored? nbval compares text alone.

`conftest.py` asks after each cell that `pytest --nbval` has run. Every PNG, JPEG, GIF or WebP picture counts, shown by
itself or inside HTML (players, dials, generated videos), and of those that move each frame. A cell whose pictures may
differ more says so in its metadata: `"book": {"picture": {"mean": 2, "largest": 150, "why": "..."}}`.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageSequence

KINDS = ("image/png", "image/jpeg", "image/gif", "image/webp")
INSIDE = re.compile(r"data:(?:image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/=]+)")
# Players and dials keep frames side by side; these are width and height of the window behind which they move.
WINDOW = re.compile(r"aspect-ratio:(\d+)/(\d+);[^>]*$")


SQUARE = 4  # pixels: a line's end that falls on the next pixel changes one pixel by 85, but a square by 9 at most


class Allowed(NamedTuple):
    """By how much a frame may differ from the stored one, in levels of 255.

    Measured on chapters 00, 03, 04, 05, 08 and 09, drawn on another processor than the one that drew what is stored.
    Two pictures in three are the same to the bit. Others differ by up to 0.04 on average and 17 in a square of 4 x 4
    pixels; moving ones, whose compression decides otherwise, by 1.1 and 7. What a cell has trained differs by up to 6
    and 193, as much as any other picture would: such a cell has to allow for it, and say so.
    """

    mean: float = 2.0  # over all pixels and colours
    largest: float = 24.0  # over the pixels of a square, in one colour
    why: str = ""  # more than this is allowed


def frames(picture: bytes, window: tuple[int, int] | None = None) -> np.ndarray:
    """What is seen of a picture, on white: (frames, height, width, 3) in 0..255; one that is wider than its window
    holds its frames side by side."""
    with Image.open(BytesIO(picture)) as image:
        seen = [frame.convert("RGBA") for frame in ImageSequence.Iterator(image)]
    seen = [Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame).convert("RGB") for frame in seen]
    found = np.stack([np.asarray(frame) for frame in seen])
    if window is None:
        return found
    height, width = found.shape[1:3]
    count = max(1, round(width / (height * window[0] / window[1])))
    return np.concatenate(np.split(found, count, axis=2)) if width % count == 0 else found


def decoded(stored: str | list[str]) -> bytes:
    """A picture out of a notebook, which keeps it as one text or as lines."""
    return base64.b64decode("".join(stored))


def windowed(html: str) -> Iterator[tuple[bytes, tuple[int, int] | None]]:
    """Each picture inside HTML, and width and height of the window that shows it, if there is one."""
    for found in INSIDE.finditer(html):
        window = WINDOW.search(html, html.rfind("<", 0, found.start()), found.start())
        size = tuple(int(number) for number in window.groups()) if window else None
        yield decoded(found[1]), size


def pictures(outputs: Iterable[Mapping[str, Any]]) -> list[np.ndarray]:
    """The frames of every picture that the outputs of a cell show, in their order."""
    found = []
    for output in outputs:
        data = output.get("data", {})
        found += [frames(decoded(data[kind])) for kind in KINDS if kind in data]
        found += [frames(*picture) for picture in windowed("".join(data.get("text/html", "")))]
    return found


def distance(stored: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean difference of each frame, and the largest one of a square of it, in levels of 255."""
    away = np.abs(new.astype(np.float32) - stored)
    t, h, w, colours = away.shape
    whole = np.pad(away, ((0, 0), (0, -h % SQUARE), (0, -w % SQUARE), (0, 0)), mode="edge")
    squares = whole.reshape(t, -(-h // SQUARE), SQUARE, -(-w // SQUARE), SQUARE, colours).mean(axis=(2, 4))
    return away.mean(axis=(1, 2, 3)), squares.max(axis=(1, 2, 3))


def differing(stored: list[np.ndarray], new: list[np.ndarray], allowed: Allowed) -> str | None:
    """One line about the first picture that is not what is stored; None where all are."""
    if len(stored) != len(new):
        return f"pictures: {len(new)} are drawn, {len(stored)} are stored"
    for number, (was, now) in enumerate(zip(stored, new, strict=True), start=1):
        which = f"picture {number} of {len(stored)}"
        if was.shape != now.shape:
            (t, h, w, _), (frames_now, h_now, w_now, _) = was.shape, now.shape
            return f"{which}: {frames_now} x {w_now}x{h_now} pixels are drawn, {t} x {w}x{h} are stored"
        for frame, (mean, largest) in enumerate(zip(*distance(was, now), strict=True)):
            if mean > allowed.mean or largest > allowed.largest:
                which += f", frame {frame}" if len(was) > 1 else ""
                off = f"{mean:.2f} on average, {largest:.0f} in one place, of 255; allowed are"
                return f"{which}: differs from the stored one by {off} {allowed.mean:g} and {allowed.largest:g}"
    return None


def check(cell: Any) -> None:
    """Fail a cell that nbval has run if its pictures are not the stored ones.

    Args:
        cell: of nbval, an `IPyNbCell` after its run.
    """
    reference = cell.cell
    if not cell.options["check"] or cell.test_outputs is None or reference.execution_count is None:
        return
    allowed = Allowed(**reference.metadata.get("book", {}).get("picture", {}))
    told = differing(pictures(reference.outputs), pictures(cell.test_outputs), allowed)
    if told:
        cell.raise_cell_error(told)
