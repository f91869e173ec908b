"""Pictures and players: what is where, what they say to those who cannot see them, and that they need no kernel."""

import base64
import builtins
import io
import itertools
import math
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from PIL import Image

from lfdm_lite import viz
from lfdm_lite.files.media import read_image, read_video
from lfdm_lite.flow import flow_to_rgb
from lfdm_lite.viz import style

from .patience import HUNG


def clip(t: int = 6, h: int = 12, w: int = 16) -> torch.Tensor:
    """Frame i is i / 10 grey."""
    return (torch.arange(t) / 10).view(1, t, 1, 1).expand(3, t, h, w)


def crop(picture: viz.Picture, y: int, x: int, h: int, w: int) -> torch.Tensor:
    return picture.image[:, y : y + h, x : x + w]


# ---------------------------------------------------------------- stills


def test_a_strip_shows_frames_from_first_to_last_in_order():
    strip = viz.video_strip(clip(), frames=3, numbers=False)
    assert strip.image.shape == (3, 12 + 4, 3 * (16 + 4))
    shown = [crop(strip, 2, 2 + 20 * i, 12, 16) for i in range(3)]
    assert [round(s.mean().item(), 3) for s in shown] == [0.0, 0.2, 0.5]
    assert strip.image[:, 0].min() == 1  # white between frames


def test_a_strip_takes_no_more_frames_than_there_are():
    assert viz.video_strip(clip(3), frames=8, numbers=False).image.shape[2] == 3 * 20
    assert viz.video_strip(clip(1)).image.shape[2] == 20


def test_numbers_stand_above_the_frames():
    plain, numbered = (viz.video_strip(clip(), numbers=n).image for n in (False, True))
    assert numbered.shape[1] == plain.shape[1] + 16
    assert numbered[:, :16].min() < 0.5 and numbered[:, 16:].equal(plain)


def test_a_contact_sheet_has_one_row_a_clip_with_its_label_at_the_left():
    videos = torch.stack([clip(), 1 - clip()])
    bare = viz.contact_sheet(videos, frames=2, numbers=False).image
    sheet = viz.contact_sheet(videos, ["anger", "surprise"], frames=2, numbers=False)
    margin = sheet.image.shape[2] - bare.shape[2]
    assert margin > 20 and sheet.image[:, :, margin:].equal(bare)
    for row in (sheet.image[:, :16, :margin], sheet.image[:, 16:, :margin]):
        assert row.min() < 0.5
    assert "anger, surprise" in sheet.alt


def test_magnified_pictures_have_square_pixels():
    image = torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    strip = viz.video_strip(image, scale=4, numbers=False).image[:, 2:-2, 2:-2]
    assert strip.shape == (3, 20, 20)
    assert strip[:, ::4, ::4].equal(image[:, 0]) and strip[:, 3::4, 3::4].equal(image[:, 0])


def test_images_and_maps_of_different_size_stand_side_by_side():
    colour, grey, flat = torch.zeros(3, 32, 32), torch.full((8, 8), 0.5), torch.ones(1, 16, 24)
    row = viz.image_row([colour, grey, flat], ["a", "b", "c"], scale=1)
    assert row.image.shape == (3, 16 + 36, 36 + 36 + 52)
    assert crop(row, 18, 2, 32, 32).max() == 0 and (crop(row, 18, 38, 32, 32) == 0.5).all()
    assert "a, b, c" in row.alt


def test_a_grid_of_clips_is_a_clip():
    videos = torch.stack([clip() * 0 + value for value in (0.1, 0.2, 0.3)])
    grid = viz.grid_of_clips(videos, columns=2)
    assert grid.shape == (3, 6, 2 * 16, 2 * 20)
    assert (grid[:, :, 2:14, 22:38] == 0.2).all() and (grid[:, :, 16:, 20:] == 1).all()
    assert viz.grid_of_clips(videos, ["a", "b", "c"], columns=2).shape == (3, 6, 2 * 32, 2 * 20)


def test_too_long_a_title_is_cut_and_foreign_letters_are_drawn():
    for title in ("a title much longer than the image below it", "überrascht 😀 驚き", ""):
        assert viz.image_row([torch.zeros(3, 16, 16)], [title], scale=1).image.shape == (3, 36, 20)


@pytest.mark.parametrize("draw", [viz.contact_sheet, viz.grid_of_clips])
def test_labels_must_match_the_clips(draw):
    with pytest.raises(ValueError, match="1 labels for 2 videos"):
        draw(torch.stack([clip(), clip()]), ["anger"])


def test_nothing_cannot_be_shown():
    with pytest.raises(ValueError, match="no images"):
        viz.image_row([])


# ---------------------------------------------------------------- flows


def test_the_wheel_shows_red_at_the_right_and_white_in_the_middle():
    wheel = viz.colour_wheel_picture(65).image
    assert wheel[:, 32, 32].min() > 0.9
    red, green, blue = wheel[:, 32, 63].tolist()
    assert red > 0.9 and green < 0.15 and blue < 0.15
    assert wheel[:, 0, 0].min() == 1


def test_an_overlay_without_motion_is_grey_and_at_full_strength_has_the_colours_of_the_flow():
    image = torch.ones(3, 8, 8)
    flow = torch.zeros(2, 8, 8)
    still = viz.flow_overlay(image * 0.5, flow, scale=1).image
    assert still.std(dim=0).max() < 1e-6
    flow[0] = 0.5
    coloured = viz.flow_overlay(image, flow, strength=1.0, max_norm=1, scale=1).image
    torch.testing.assert_close(coloured, flow_to_rgb(flow, max_norm=1))


def test_an_arrow_runs_from_where_the_content_was_to_where_it_is():
    flow = torch.zeros(2, 20, 20)
    flow[0] = -2 * 6 / 20  # look 6 pixels to the left: the content came from there
    picture = viz.flow_arrows(torch.ones(3, 20, 20), flow, every=20, scale=8).image
    ink = (picture.mean(0) < 0.5).nonzero().float()
    assert ink.shape[0] > 20
    left, right = ink[:, 1].min().item(), ink[:, 1].max().item()
    assert 8 * 4 <= left <= 8 * 5 and 8 * 10 <= right <= 8 * 11  # from column 4.5 to column 10.5
    heights = [np.ptp(ink[ink[:, 1] == column][:, 0].numpy()) for column in (left + 2, right - 4)]
    assert heights[1] > heights[0]  # the head is at the right end


# ---------------------------------------------------------------- in a notebook


def test_a_picture_shows_itself_with_its_alternative_text(tmp_path):
    picture = viz.Picture(torch.full((3, 4, 5), 0.4), alt="a grey field")
    data, metadata = picture._repr_png_()
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (5, 4)
    assert metadata == {"alt": "a grey field"} and repr(picture) == "Picture(5x4: a grey field)"
    torch.testing.assert_close(read_image(picture.save(tmp_path / "new" / "x.png")), picture.image)


def test_show_shows_at_once_what_the_drawing_functions_return(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    assert viz.show_images([torch.zeros(3, 8, 8)], titles=["x"], alt="black") is None
    assert viz.show_strips(clip()[None], titles=["up"]) is None
    assert [picture.alt for picture in shown] == ["black", "1 videos as rows of 6 frames: up"]
    assert shown[1].image.shape[1] == 8 * 12 + 4  # to about 96 pixels


def test_without_ipython_the_error_names_the_extra(monkeypatch):
    real_import = builtins.__import__

    def refuse(name, *arguments):
        if name.startswith("IPython"):
            raise ImportError(name)
        return real_import(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r'pip install -e ".*\[teach\]"'):
        viz.show_images([torch.zeros(3, 8, 8)])


def sheet_of(html: str) -> np.ndarray:
    data = re.search(r"base64,([A-Za-z0-9+/=]+)", html).group(1)
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image)


def test_a_player_holds_every_frame_and_needs_neither_kernel_nor_network():
    html = viz.player(clip(), alt="a field that brightens", scale=3)._repr_html_()
    sheet = sheet_of(html)
    assert sheet.shape == (12, 6 * 16, 3)
    assert sheet[0, ::16, 0].tolist() == [0, 26, 51, 76, 102, 128]
    assert 'max="5"' in html and '<img alt="a field that brightens"' in html
    assert "width:48px;max-width:100%;" in html and "aspect-ratio:16/12;" in html
    assert "http" not in html and "<script" not in html and "frame 0|frame 1|" in html


def test_a_player_with_a_quality_is_lighter_and_looks_the_same():
    frames = torch.rand(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(frames, size=(48, 48), mode="bilinear")
    exact, light = (viz.player(smooth, quality=quality)._repr_html_() for quality in (None, 90))
    assert len(light) < len(exact) / 3 and "data:image/webp" in light
    assert sheet_of(light).shape == sheet_of(exact).shape
    assert np.abs(sheet_of(light).astype(int) - sheet_of(exact)).mean() < 4
    pictures = [viz.Picture(torch.full((3, 4, 4), value), "x") for value in (0.0, 1.0)]
    assert sheet_of(viz.slider(pictures, ["0", "1"], quality=90)._repr_html_()).shape == (4, 8, 3)


def test_two_players_on_a_page_share_no_names():
    html = viz.player(clip())._repr_html_()
    assert " id=" not in html and html == viz.player(clip())._repr_html_()


def test_a_slider_shows_one_picture_a_position_and_has_no_play_button():
    pictures = [viz.Picture(torch.full((3, 4, 4), value), "x") for value in (0.0, 1.0)]
    made = viz.slider(pictures, ["guidance 1", "guidance < 2"])
    html = made._repr_html_()
    assert sheet_of(html)[0, :, 0].tolist() == [0] * 4 + [255] * 4
    assert "<button" not in html and "guidance &lt; 2" in html
    assert "guidance 1, guidance < 2" in repr(made)


def test_a_player_may_open_at_a_frame_where_there_is_something_to_see():
    assert 'value="0"' in viz.player(clip(), scale=2)._repr_html_()
    for made in (viz.player(clip(), scale=2, start=4), viz.slider(clip(), list("abcdef"), scale=2, start=4)):
        html = made._repr_html_()
        assert 'value="4"' in html and "object-position:80% 0;" in html and f"<output>{made.labels[4]}</output>" in html
    with pytest.raises(ValueError, match="start 6 is none of the 6 frames"):
        viz.player(clip(), start=6)


def test_a_player_saves_itself_as_page_gif_and_film(tmp_path):
    made = viz.player(clip(), scale=2)
    assert "lfdm-player" in made.save(tmp_path / "a" / "x.html").read_text(encoding="utf-8")
    for name in ("x.gif", "x.mp4"):
        assert read_video(made.save(tmp_path / "a" / name)).shape == (3, 6, 24, 32)
    with pytest.raises(ValueError, match="must end in .html, .gif or .mp4"):
        made.save(tmp_path / "x.avi")


def test_players_refuse_labels_that_do_not_match():
    with pytest.raises(ValueError, match="2 labels for 6 frames"):
        viz.player(clip(), labels=["a", "b"])
    with pytest.raises(ValueError, match="one size"):
        viz.slider([viz.Picture(torch.zeros(3, n, 4), "x") for n in (4, 5)], ["a", "b"])
    with pytest.raises(ValueError, match="0 frames"):
        viz.player(clip()[:, :0])
    with pytest.raises(ValueError, match="quality=101 for 6 frames of 16x12; expected 0 to 100"):
        viz.player(clip(), quality=101)
    with pytest.raises(ValueError, match="at most 16383 pixels side by side"):
        viz.player(clip().repeat(1, 200, 1, 1), quality=90)


# ---------------------------------------------------------------- the look of plots


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def test_a_plot_is_stored_with_a_palette_and_looks_the_same():
    with mpl.rc_context():
        viz.use_style()
        figure, file = plt.figure(figsize=(8, 4)), io.BytesIO()
        for i in range(3):
            figure.gca().plot([math.sin(x / (i + 3)) for x in range(50)], label=f"line {i}")
        figure.legend()
        figure.savefig(file, format="png")
        plt.close(figure)
    few = style.small_png(file.getvalue())
    with Image.open(io.BytesIO(few)) as image, Image.open(file) as before:
        assert image.mode == "P" and image.size == before.size == (800, 400)
        seen, was = (np.asarray(each.convert("RGB"), dtype=int) for each in (image, before))
    assert np.abs(seen - was).max() <= style.SEEN and (seen[was == 255] == 255).all()
    assert len(few) < 0.4 * len(file.getvalue())


def test_a_picture_whose_colours_a_palette_would_show_keeps_them():
    y, x = np.mgrid[:128, :128]
    colours = png(np.stack([2 * y, 2 * x, 255 - y - x], axis=2).astype(np.uint8))
    assert style.small_png(colours) is colours
    grey = png(np.repeat((2 * y)[..., None], 3, axis=2).astype(np.uint8))
    assert len(style.small_png(grey)) <= len(grey)


def test_a_notebook_stores_its_plots_so():
    code = "from lfdm_lite import viz; import matplotlib.pyplot as plt; viz.use_style(); plt.plot([1, 2]); plt.show()"
    manager, client = start_new_kernel(startup_timeout=HUNG, kernel_name="python3")
    found = []
    try:
        client.execute_interactive(code, output_hook=found.append, timeout=HUNG)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    (stored,) = [message["content"]["data"] for message in found if message["msg_type"] == "display_data"]
    with Image.open(io.BytesIO(base64.b64decode(stored["image/png"]))) as image:
        assert image.mode == "P" and image.width > 500  # 6.4 inches at 100 dots, less the margin that is cut


def linear(colour: str) -> np.ndarray:
    """Red, green and blue of `#RRGGBB` as amounts of light, 0 to 1."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """As the Web Content Accessibility Guidelines define it, 1 to 21; they ask 3 of the lines of a figure."""
    dark, light = sorted(linear(colour) @ (0.2126, 0.7152, 0.0722) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def test_lines_stand_out_from_the_white_of_a_figure():
    on_white = {name: contrast(colour, "#FFFFFF") for name, colour in viz.COLOURS.items()}
    assert min(on_white.values()) >= 3, on_white


def test_a_figure_brings_its_white_along_since_black_lines_vanish_on_a_dark_page():
    assert contrast(viz.COLOURS["black"], "#121212") < 3
    with mpl.rc_context():
        viz.use_style()
        assert mpl.rcParams["figure.facecolor"] == "white" and not mpl.rcParams["savefig.transparent"]


# Of amounts of light, for people without the cones for long or for middle wavelengths (Machado and others, 2009).
EYES = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def lab(light: np.ndarray) -> np.ndarray:
    """Lightness, and two axes of colour, in which 2 is a difference that one barely sees."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ light
    f = np.cbrt(xyz / (0.9505, 1, 1.089))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", EYES)
def test_colours_are_told_apart_by_all_eyes(eyes):
    seen = {name: lab(np.clip(EYES[eyes] @ linear(colour), 0, 1)) for name, colour in viz.COLOURS.items()}
    apart = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in itertools.combinations(seen, 2)}
    assert min(apart.values()) > 15, sorted(apart.items(), key=lambda item: item[1])[:3]


def test_every_colour_has_a_line_style_of_its_own():
    assert len({str(line) for line in style.LINES}) == len(style.LINES) >= len(viz.COLOURS)
