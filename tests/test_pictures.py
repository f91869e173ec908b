"""Pictures are compared as what is seen: frame by frame, from whatever file they come in."""

import base64
import io

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from lfdm_lite import viz

from .chapter_pairs import CHAPTERS
from .pictures import Allowed, differing, frames, pictures


def picture(kind: str, *levels: int, size: tuple[int, int] = (40, 30)) -> str:
    """A plain grey picture, one frame a level, as notebooks store it."""
    file, (first, *others) = io.BytesIO(), [Image.new("RGB", size, (level,) * 3) for level in levels]
    first.save(file, kind, **({"save_all": True, "append_images": others} if others else {}))
    return base64.b64encode(file.getvalue()).decode()


def inside(kind: str, *levels: int, size: tuple[int, int] = (40, 30)) -> str:
    """The same inside HTML."""
    return f'<img alt="grey" src="data:image/{kind};base64,{picture(kind, *levels, size=size)}">'


def seen(*data: dict) -> list[np.ndarray]:
    return pictures({"output_type": "display_data", "data": bundle} for bundle in data)


def test_every_kind_of_picture_is_found_in_its_order_and_text_is_none():
    found = seen(
        {"image/png": picture("png", 10), "text/plain": "a picture"},
        {"text/html": "<p>no picture</p>"},
        {"text/html": [inside("gif", 20, 30), inside("webp", 40)]},
        {"image/jpeg": picture("jpeg", 50)},
    )
    assert [frame.shape for frame in found] == [(n, 30, 40, 3) for n in (1, 2, 1, 1)]
    assert [round(float(frame.mean())) for frame in found] == [10, 25, 40, 50]


@pytest.mark.parametrize("made", [viz.player, lambda video: viz.dial(lambda sign: sign * video, sign=[0, 1], alt="x")])
def test_the_frames_of_players_and_dials_are_seen_one_by_one(made):
    video = torch.linspace(0, 1, 5).view(1, 5, 1, 1).expand(3, 5, 24, 32)
    *_, last = seen({"text/html": made(video)._repr_html_()})
    assert last.shape == (5, 24, 32, 3)
    np.testing.assert_allclose(last.mean(axis=(1, 2, 3)), np.linspace(0, 255, 5), atol=2)


def test_what_is_clear_is_seen_on_white():
    file = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(file, "png")
    assert frames(file.getvalue()).min() == 255


def test_one_frame_of_many_is_enough_to_differ():
    was = np.zeros((16, 8, 8, 3), np.uint8)
    now = was.copy()
    now[11] = 20
    assert differing([was], [was], Allowed()) is None
    assert "picture 1 of 1, frame 11: differs" in differing([was], [now], Allowed())
    assert differing([was], [now], Allowed(mean=20)) is None


def test_a_square_that_differs_is_enough_and_one_pixel_is_not():
    was = np.full((1, 50, 70, 3), 255, np.uint8)
    now = was.copy()
    now[0, 21, 33] = 0
    assert differing([was], [now], Allowed()) is None
    now[0, 20:22, 32:35] = 0  # the stroke of a letter
    assert "0.44 on average, 96 in one place" in differing([was], [now], Allowed())


# ---------------------------------------------------------------- the chapters


@pytest.mark.parametrize("path", sorted(CHAPTERS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_a_cell_that_may_differ_more_says_why(path):
    cells = nbformat.read(path, as_version=4).cells
    told = [Allowed(**cell.metadata["book"]["picture"]) for cell in cells if "picture" in cell.metadata.get("book", {})]
    assert all(len(allowed.why.split()) > 2 for allowed in told)
