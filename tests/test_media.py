"""Pictures and videos on disk: whatever the format, the same colours come back; whatever is broken, one clear line."""

import io
import os
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from lfdm_lite.files import media
from lfdm_lite.files.media import (
    MediaError,
    count_frames,
    crop_resize,
    encode_gif,
    iterate_frames,
    read_image,
    read_video,
    write_gif,
    write_image,
    write_mp4,
)

H, W = 24, 32


def picture(h: int = H, w: int = W) -> torch.Tensor:
    """Red grows to the right, green downwards, blue is constant; 8-bit values."""
    x, y = torch.linspace(0, 1, w).expand(h, w), torch.linspace(0, 1, h)[:, None].expand(h, w)
    return torch.stack([x, y, torch.full((h, w), 0.4)]).mul(255).round() / 255


def pillow(image: torch.Tensor) -> Image.Image:
    return Image.fromarray(image.mul(255).round().byte().permute(1, 2, 0).numpy())


def clip(t: int = 6, h: int = H, w: int = W) -> torch.Tensor:
    """A soft bright spot that moves to the right over a gradient."""
    x, y = torch.arange(w).float(), torch.arange(h).float()[:, None]
    frames = []
    for i in range(t):
        spot = torch.exp(-((x - 6 - 3 * i) ** 2 + (y - h / 2) ** 2) / 20)
        frames.append(0.7 * picture(h, w) + 0.3 * spot)
    return torch.stack(frames, dim=1)


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return -10 * (a - b).square().mean().clamp(min=1e-12).log10().item()


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tiff"])
def test_every_format_gives_the_colours_back(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    pillow(picture()).save(path, **({"quality": 95} if suffix in (".jpg", ".webp") else {}))
    image = read_image(path)
    assert image.shape == (3, H, W) and image.dtype == torch.float32
    assert psnr(image, picture()) > (50 if suffix in (".png", ".bmp", ".tiff") else 30)


def test_a_path_may_be_text_and_its_suffix_may_lie_among_pictures(tmp_path):
    pillow(picture()).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "x.jpg")
    torch.testing.assert_close(read_image(str(tmp_path / "x.jpg")), picture())


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (301, 7)])
def test_any_size(tmp_path, size):
    pillow(picture(*size)).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert image.shape == (3, *size)
    assert crop_resize(image, 16).shape == (3, 16, 16)


def test_transparent_parts_show_white(tmp_path):
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[:, :3] = (255, 0, 0, 255)
    rgba[:, 3:5] = (0, 0, 255, 0)
    rgba[:, 5] = (0, 0, 0, 128)
    Image.fromarray(rgba).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert image[:, 0, 0].tolist() == [1, 0, 0]
    assert image[:, 0, 4].tolist() == [1, 1, 1]
    assert image[:, 0, 5].tolist() == pytest.approx([0.498] * 3, abs=0.01)
    torch.testing.assert_close(read_image(rgba), image, atol=0.01, rtol=0)


def test_transparent_palette_and_grey_with_alpha_show_white(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([10, 20, 30, 200, 100, 0])
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "p.png", transparency=0)
    image = read_image(tmp_path / "p.png")
    assert image[:, 0, 0].tolist() == [1, 1, 1]
    assert image[:, 1, 1].mul(255).round().tolist() == [200, 100, 0]
    Image.fromarray(np.array([[[50, 0], [50, 255]]], np.uint8), mode=None).save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png")[0, 0].mul(255).round().tolist() == [255, 50]


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    values = np.linspace(0, 65535, 16 * 16).reshape(16, 16).astype(np.uint16)
    for name in ("x.png", "x.tiff"):
        Image.fromarray(values).save(tmp_path / name)
        image = read_image(tmp_path / name)
        torch.testing.assert_close(image[1], torch.from_numpy(values.astype(np.float32) / 65535), atol=1e-4, rtol=0)
    torch.testing.assert_close(read_image(values), image)


def png_of_16_bit_colour(values: np.ndarray) -> bytes:
    """Pillow cannot write these."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    h, w, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bit_colour_keeps_its_range(tmp_path):
    values = (picture().permute(1, 2, 0).numpy() * 65535).astype(np.uint16)
    (tmp_path / "x.png").write_bytes(png_of_16_bit_colour(values))
    torch.testing.assert_close(read_image(tmp_path / "x.png"), picture(), atol=0.01, rtol=0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
def test_every_mode_of_a_pillow_image(mode):
    grey = pillow(picture()[1:2].expand(3, -1, -1))
    source = grey.convert("L").convert(mode) if mode not in ("LAB",) else Image.new("LAB", (W, H), (128, 128, 128))
    if mode == "F":
        source = source.point(lambda v: v / 255)
    if mode == "I;16":
        source = Image.fromarray(np.asarray(grey.convert("L")).astype(np.uint16) * 257)
    if mode == "I":
        source = source.point(lambda v: v * 257)
    image = read_image(source)
    assert image.shape == (3, H, W) and 0 <= image.min() and image.max() <= 1
    if mode not in ("1", "LAB"):
        torch.testing.assert_close(image[1], picture()[1], atol=0.02, rtol=0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_taken_sideways_is_turned_upright(tmp_path, orientation):
    upright = pillow(picture())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the camera would have stored it
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "x.png", exif=exif)
    torch.testing.assert_close(read_image(tmp_path / "x.png"), picture())


def test_arrays_and_tensors_of_every_layout():
    rgb = picture()
    bytes_last = rgb.mul(255).round().byte().permute(1, 2, 0).numpy()
    for source in (bytes_last, bytes_last / 255.0, torch.from_numpy(bytes_last).permute(2, 0, 1), rgb, rgb.numpy()):
        torch.testing.assert_close(read_image(source), rgb)
    for source in (bytes_last[..., 1], bytes_last[..., 1:2], rgb[1], rgb[1:2].double()):
        torch.testing.assert_close(read_image(source), rgb[1].expand(3, -1, -1))
    assert read_image(np.ones((4, 5), bool)).min() == 1


@pytest.mark.parametrize(
    "source, message",
    [
        (np.zeros((2, 3, 4, 5), np.uint8), "shape"),
        (np.zeros((0, 5, 3), np.uint8), "shape"),
        (np.full((4, 4, 3), 255.0), "divide 8-bit values by 255"),
        (torch.full((3, 4, 4), float("nan")), r"must be in \[0, 1\]"),
        (torch.full((3, 4, 4), 300), "0 to 255"),
        (np.array([["a", "b"]]), "array of"),
        (7, "from int"),
    ],
)
def test_what_is_no_picture_in_memory_is_refused(source, message):
    with pytest.raises(MediaError, match=message):
        read_image(source)


def with_red_and_blue_exchanged() -> bytes:
    """A colour profile: that of sRGB, but the numbers that it calls red mean blue, and the other way round."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    head = profile[: 132 + 12 * int.from_bytes(profile[128:132], "big")]
    red, blue = head.index(b"rXYZ"), head.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_colours_are_those_that_a_photographs_profile_means(tmp_path, suffix, mode):
    if suffix == ".jpg" and mode != "RGB" or suffix == ".webp" and mode == "P":
        pytest.skip("there is no such file")
    lossless = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}
    source = Image.new("RGB", (W, H), (200, 120, 40))
    source = source.quantize(4) if mode == "P" else source.convert(mode)
    source.save(tmp_path / f"x{suffix}", icc_profile=with_red_and_blue_exchanged(), **lossless.get(suffix, {}))
    got = read_image(tmp_path / f"x{suffix}")[:, 5, 5] * 255
    torch.testing.assert_close(got, torch.tensor([40.0, 120, 200]), atol=3, rtol=0)


def test_a_profile_changes_no_transparency_and_the_usual_one_nothing(tmp_path):
    usual = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pillow(picture()).save(tmp_path / "x.png", icc_profile=usual)
    torch.testing.assert_close(read_image(tmp_path / "x.png"), picture(), atol=1.5 / 255, rtol=0)
    half = Image.new("RGBA", (4, 4), (200, 120, 40, 0))
    half.putpixel((1, 1), (200, 120, 40, 128))
    half.save(tmp_path / "a.png", icc_profile=with_red_and_blue_exchanged())
    image = read_image(tmp_path / "a.png") * 255
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    torch.testing.assert_close(image[:, 1, 1], torch.tensor([147.0, 187, 227]), atol=3, rtol=0)


@pytest.mark.parametrize("profile", [b"not a profile", with_red_and_blue_exchanged()[:200]])
def test_a_damaged_profile_is_no_reason_to_refuse_a_picture(tmp_path, profile):
    pillow(picture()).save(tmp_path / "x.png", icc_profile=profile)
    torch.testing.assert_close(read_image(tmp_path / "x.png"), picture())


def test_a_grey_picture_with_a_profile_of_colours_is_read_without_it(tmp_path):
    pillow(picture()).convert("L").save(tmp_path / "x.png", icc_profile=with_red_and_blue_exchanged())
    image = read_image(tmp_path / "x.png")
    assert image.shape == (3, H, W) and image[0].equal(image[2])


def tiff_of_floats(values: np.ndarray) -> bytes:
    """A TIFF of colours in 32-bit floats, which Pillow does not read."""
    h, w, channels = values.shape
    long = lambda tag, value: struct.pack("<HHII", tag, 4, 1, value)
    entries = [long(256, w), long(257, h), struct.pack("<HHII", 258, 3, 3, 200), long(259, 1), long(262, 2)]
    entries += [long(273, 300), long(277, channels), long(278, h), long(279, values.nbytes)]
    entries += [struct.pack("<HHII", 339, 3, 3, 210)]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    return (head.ljust(200, b"\0") + struct.pack("<6H", 32, 32, 32, 0, 0, 3)[:10]).ljust(300, b"\0") + values.tobytes()


def test_a_picture_of_a_known_format_that_cannot_be_read_is_called_by_its_name(tmp_path):
    (tmp_path / "x.tiff").write_bytes(tiff_of_floats(np.zeros((4, 5, 3), np.float32)))
    with pytest.raises(MediaError, match="x.tiff: a TIFF file, but .* save it with 8 or 16"):
        read_image(tmp_path / "x.tiff")


def test_grey_floats_in_a_tiff_are_read(tmp_path):
    values = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    Image.fromarray(values).save(tmp_path / "x.tiff")
    torch.testing.assert_close(read_image(tmp_path / "x.tiff")[1], torch.from_numpy(values))


def broken_files(folder: Path) -> dict[str, Path]:
    """One of each kind of file that is no picture."""
    buffer = io.BytesIO()
    pillow(picture(200, 200)).save(buffer, format="JPEG")
    contents = {
        "text.png": b"this is a note, not a picture\n",
        "empty.png": b"",
        "cut_short.jpg": buffer.getvalue()[:900],
        "header_only.png": png_of_16_bit_colour(np.zeros((4, 4, 3), np.uint16))[:40],
        "drawing.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "half_a_gif.gif": b"GIF89a\x10\x00",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    return {name: folder / name for name in [*contents, "folder.png", "missing.png"]}


def test_each_broken_file_gives_one_clear_line(tmp_path):
    for name, path in broken_files(tmp_path).items():
        with pytest.raises(MediaError) as caught:
            read_image(path)
        line = str(caught.value)
        assert name in line and "\n" not in line and "PNG, JPEG" in line, line
    reasons = {"empty": "empty", "missing": "no such file", "folder": "a folder", "text": "not a picture"}
    for name, reason in reasons.items():
        with pytest.raises(MediaError, match=reason):
            read_image(tmp_path / f"{name}.png")
    with pytest.raises(MediaError, match="cut short"):
        read_image(tmp_path / "cut_short.jpg")


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_a_decompression_bomb_is_refused_before_it_unfolds(tmp_path, side):
    honest = png_of_16_bit_colour(np.zeros((1, 1, 3), np.uint16))
    size = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
    header = size + struct.pack(">I", zlib.crc32(b"IHDR" + size))
    (tmp_path / "bomb.png").write_bytes(honest[:16] + header + honest[33:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MediaError, match="at most 90 million"):
            read_image(tmp_path / "bomb.png")


def test_a_pillow_image_whose_file_breaks_off_is_refused_in_one_line(tmp_path):
    write_image(tmp_path / "x.png", torch.rand(3, 64, 64))
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:2000])
    with Image.open(tmp_path / "x.png") as opened, pytest.raises(MediaError, match="from a Pillow image"):
        read_image(opened)


def test_crop_is_the_central_square():
    image = torch.zeros(3, 10, 30)
    image[:, :, 10:20] = 1
    assert crop_resize(image, 5).min() == 1
    assert crop_resize(image.transpose(1, 2).contiguous(), 20).min() == 1
    video = image[:, None].expand(-1, 4, -1, -1)
    assert crop_resize(video, 5).shape == (3, 4, 5, 5)
    torch.testing.assert_close(crop_resize(picture(16, 16), 16), picture(16, 16))


def test_shrinking_is_antialiased():
    stripes = (torch.arange(64) % 2).float().expand(3, 64, 64)
    small = crop_resize(stripes, 8)
    torch.testing.assert_close(small, torch.full_like(small, 0.5), atol=0.06, rtol=0)


def test_a_written_picture_reads_the_same(tmp_path):
    write_image(tmp_path / "new" / "x.png", picture())
    torch.testing.assert_close(read_image(tmp_path / "new" / "x.png"), picture())
    write_image(tmp_path / "x.jpg", picture())
    assert psnr(read_image(tmp_path / "x.jpg"), picture()) > 28
    with pytest.raises(MediaError, match="must end in .png"):
        write_image(tmp_path / "x.webp", picture())


# ---------------------------------------------------------------- videos


def write_film(path: Path, video: torch.Tensor, codec: str, pixel_format: str = "yuv420p") -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.height, stream.width, stream.pix_fmt = video.shape[2], video.shape[3], pixel_format
        stream.bit_rate = 4_000_000
        for frame in video.mul(255).round().byte().permute(1, 2, 3, 0).numpy():
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("name", ["x.gif", "x.mp4"])
@pytest.mark.parametrize("size", [(24, 32), (25, 33), (1, 1)])
def test_what_was_written_reads_the_same(tmp_path, name, size):
    video = clip(5, *size)
    (write_gif if name.endswith("gif") else write_mp4)(tmp_path / "a" / name, video)
    back = read_video(tmp_path / "a" / name)[:, :, : size[0], : size[1]]
    assert back.shape == video.shape and back.dtype == torch.float32
    assert psnr(back, video) > 30
    assert count_frames(tmp_path / "a" / name) == 5


@pytest.mark.parametrize("name, codec", [("x.webm", "libvpx-vp9"), ("x.avi", "mpeg4"), ("x.mov", "libx264")])
def test_films_of_other_make(tmp_path, name, codec):
    write_film(tmp_path / name, clip(), codec)
    assert psnr(read_video(tmp_path / name), clip()) > 28
    assert count_frames(tmp_path / name) == 6


def test_a_still_clip_keeps_all_its_frames(tmp_path):
    still = picture()[:, None].expand(-1, 7, -1, -1)
    write_gif(tmp_path / "x.gif", still)
    assert read_video(tmp_path / "x.gif").shape == still.shape


def test_a_gif_frame_shown_longer_counts_more_often(tmp_path):
    frames = [pillow(f) for f in clip(3).unbind(1)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:], duration=[100, 300, 100])
    video = read_video(tmp_path / "x.gif")
    assert video.shape[1] == count_frames(tmp_path / "x.gif") == 5
    assert video[:, 1].equal(video[:, 3]) and not video[:, 3].equal(video[:, 4])


def test_a_gif_loops_for_ever_at_the_asked_pace():
    with Image.open(io.BytesIO(encode_gif(clip(), fps=10))) as gif:
        assert gif.info["loop"] == 0 and gif.info["duration"] == 100 and gif.n_frames == 6


def test_magnified_clips_have_square_pixels(tmp_path):
    write_gif(tmp_path / "x.gif", clip(), scale=3)
    video = read_video(tmp_path / "x.gif")
    assert video.shape[2:] == (3 * H, 3 * W)
    assert video[:, :, ::3, ::3].equal(video[:, :, 2::3, 2::3])


def test_a_film_can_be_read_frame_by_frame(tmp_path):
    write_mp4(tmp_path / "x.mp4", clip())
    frames = iterate_frames(tmp_path / "x.mp4")
    first = next(frames)
    assert first.shape == (3, H, W) and first.dtype == torch.uint8
    frames.close()


def test_a_folder_of_pictures_is_a_clip_in_natural_order(tmp_path):
    for i in (1, 2, 10):
        pillow(torch.full((3, 4, 4), i / 255)).save(tmp_path / f"frame_{i}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    video = read_video(tmp_path)
    assert video[0, :, 0, 0].mul(255).round().tolist() == [1, 2, 10]
    assert count_frames(tmp_path) == 3


def test_frames_of_different_size_make_no_clip(tmp_path):
    pillow(picture(4, 4)).save(tmp_path / "a.png")
    pillow(picture(5, 4)).save(tmp_path / "b.png")
    with pytest.raises(MediaError, match="4x4, 4x5"):
        read_video(tmp_path)


@pytest.mark.parametrize("read", [read_video, count_frames])
@pytest.mark.parametrize("name", ["text.mp4", "text.gif", "empty.webm", "missing.avi", "folder", "picture.png"])
def test_each_broken_film_gives_one_clear_line(tmp_path, name, read):
    (tmp_path / "text.mp4").write_text("this is a note, not a film")
    (tmp_path / "text.gif").write_text("this is a note, not a film")
    (tmp_path / "empty.webm").touch()
    (tmp_path / "folder").mkdir()
    pillow(picture()).save(tmp_path / "picture.png")
    with pytest.raises(MediaError) as caught:
        read(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_film_cut_short_is_named(tmp_path):
    write_mp4(tmp_path / "x.mp4", clip(30))
    whole = (tmp_path / "x.mp4").read_bytes()
    (tmp_path / "x.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match="x.mp4"):
        read_video(tmp_path / "x.mp4")


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("write, name", [(write_gif, "x.gif"), (write_mp4, "x.mp4")])
def test_nothing_half_written_is_left(tmp_path, write, name, monkeypatch):
    (tmp_path / name).write_bytes(b"the old one")

    def crash(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / name, clip())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"the old one"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
@pytest.mark.parametrize("write, name", [(write_gif, "x.gif"), (write_mp4, "x.mp4"), (write_image, "x.png")])
def test_a_pipe_is_not_replaced_by_a_file(tmp_path, write, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(MediaError, match=f"cannot write .*{name}: a pipe, socket or device is there"):
        write(tmp_path / name, picture() if name == "x.png" else clip())
    assert (tmp_path / name).is_fifo()


def test_what_the_encoder_refuses_is_said_with_the_files_name(tmp_path, monkeypatch):
    monkeypatch.setattr(media, "MP4", replace(media.MP4, options={"crf": "no number"}))
    with pytest.raises(MediaError, match="cannot write .*x.mp4: "):
        write_mp4(tmp_path / "x.mp4", clip())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write, name", [(write_gif, "x.gif"), (write_mp4, "x.mp4")])
def test_impossible_requests_to_write_are_refused(tmp_path, write, name):
    (tmp_path / "file").touch()
    (tmp_path / name).mkdir()
    with pytest.raises(MediaError, match="must end in"):
        write(tmp_path / "x.png", clip())
    with pytest.raises(MediaError, match="is a folder"):
        write(tmp_path / name, clip())
    with pytest.raises(MediaError, match="folder cannot be made"):
        write(tmp_path / "file" / name, clip())
    shutil.rmtree(tmp_path / name)
    for options in ({"fps": 0}, {"scale": 0}):
        with pytest.raises(ValueError, match="expected at least one frame"):
            write(tmp_path / name, clip(), **options)
    with pytest.raises(ValueError, match="0 frames"):
        write(tmp_path / name, clip()[:, :0])


def test_media_metrics_and_pictures_are_imported_without_what_draws_and_decodes():
    modules = "lfdm_lite.viz, lfdm_lite.evaluation.metrics, lfdm_lite.files.media, lfdm_lite.data.folders.video_folder"
    code = f"import sys, {modules}; print([m for m in ('PIL', 'av', 'IPython', 'matplotlib') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_floats_none_of_which_is_a_number_are_no_picture(tmp_path):
    values = np.full((4, 6), np.nan, np.float32)
    Image.fromarray(values).save(tmp_path / "none.tif")
    with pytest.raises(MediaError, match="none.tif.*none of which is a finite number"):
        read_image(tmp_path / "none.tif")
    values[0, 0] = 0.5  # what is not known is dark
    Image.fromarray(values).save(tmp_path / "one.tif")
    assert read_image(tmp_path / "one.tif").flatten()[:2].tolist() == [0.5, 0]
