"""Films as they describe themselves: upright, with square pixels, in their colours, at their times, over white."""

import io
import os
import struct
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lfdm_lite.data import VideoFolder
from lfdm_lite.files import media, pictures
from lfdm_lite.files.media import (
    MediaError,
    check_rate,
    count_frames,
    encode_gif,
    iterate_frames,
    read_image,
    read_video,
    write_gif,
    write_mp4,
)
from lfdm_lite.files.video import films, rates

from .patience import HUNG

H, W = 32, 48
CORNERS = {"red": (230, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230), "yellow": (220, 220, 20)}


def corners(h: int = H, w: int = W) -> np.ndarray:
    """Four colours: red and green above, blue and yellow below."""
    picture = np.zeros((h, w, 3), np.uint8)
    halves = [(slice(None, h // 2), slice(None, w // 2)), (slice(None, h // 2), slice(w // 2, None))]
    halves += [(slice(h // 2, None), slice(None, w // 2)), (slice(h // 2, None), slice(w // 2, None))]
    for half, colour in zip(halves, CORNERS.values(), strict=True):
        picture[half] = colour
    return picture


def seen_at(frame: torch.Tensor) -> list[str]:
    """The colours of a frame's four corners: above left, above right, below left, below right."""
    h, w = frame.shape[-2:]
    names, colours = list(CORNERS), torch.tensor(list(CORNERS.values())).float() / 255
    places = [(h // 8, w // 8), (h // 8, w - w // 8), (h - h // 8, w // 8), (h - h // 8, w - w // 8)]
    return [names[(colours - frame[:, y, x]).abs().sum(1).argmin()] for y, x in places]


def greys(levels, h: int = H, w: int = W) -> list[np.ndarray]:
    return [np.full((h, w, 3), level, np.uint8) for level in levels]


def film(
    path: Path,
    frames: list[np.ndarray],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: list[float] | None = None,
    shape: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    b_frames: int | None = None,
) -> Path:
    """A film of 10 frames a second, or with a frame at each of the times, in thousandths of a second."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        stream.options = options or ({"qp": "4"} if codec == "libx264" else {})
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if shape is not None:
            stream.codec_context.sample_aspect_ratio = shape
        for i, picture in enumerate(frames):
            source = "rgba" if picture.shape[2] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(picture, format=source).reformat(format=pixels)
            if times is not None:
                frame.pts, frame.time_base = round(1000 * times[i]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def levels(video: torch.Tensor) -> list[int]:
    return video.mean(dim=(0, 2, 3)).mul(255).round().int().tolist()


# ---------------------------------------------------------------- the display matrix


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix into the track header of an MP4: x' = a x + c y, y' = b x + d y, in 16.16 fixed point."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    moved = struct.unpack(">2i", data[start + 24 : start + 32])
    one = lambda value: value * 65536
    data[start : start + 36] = struct.pack(">9i", one(a), one(b), 0, one(c), one(d), 0, *moved, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "matrix, seen",
    [
        ((1, 0, 0, 1), "red green blue yellow"),
        ((0, 1, -1, 0), "blue red yellow green"),  # a quarter turn clockwise
        ((-1, 0, 0, -1), "yellow blue green red"),
        ((0, -1, 1, 0), "green yellow red blue"),
        ((-1, 0, 0, 1), "green red yellow blue"),  # as in a mirror
        ((1, 0, 0, -1), "blue yellow red green"),  # upside down
        ((0, 1, 1, 0), "red blue green yellow"),  # rows become columns
        ((0, -1, -1, 0), "yellow green blue red"),
    ],
)
def test_turned_and_mirrored_films_are_upright(tmp_path, matrix, seen):
    path = film(tmp_path / "x.mp4", [corners()] * 3)
    set_matrix(path, *matrix)
    video = read_video(path)
    assert seen_at(video[:, 1]) == seen.split()
    assert video.shape == ((3, 3, H, W) if matrix[0] else (3, 3, W, H))


def test_the_frames_of_a_camera_that_notes_how_it_was_held_are_upright(tmp_path):
    """Motion JPEG with EXIF in each picture, as cameras record it."""
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: the picture is to be turned clockwise
    buffer = io.BytesIO()
    Image.fromarray(corners()).save(buffer, format="JPEG", quality=95, exif=exif)
    with av.open(str(tmp_path / "x.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = H, W, "yuvj420p"
        container.start_encoding()
        for i in range(3):
            packet = av.Packet(buffer.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, i, i, Fraction(1, 10)
            packet.is_keyframe = True
            container.mux(packet)
    video = read_video(tmp_path / "x.avi")
    assert video.shape == (3, 3, W, H) and seen_at(video[:, 2]) == "blue red yellow green".split()


# ---------------------------------------------------------------- pixels that are not square


@pytest.mark.parametrize("shape, size", [("64/45", (H, round(W * 64 / 45))), ("1/2", (2 * H, W)), ("1", (H, W))])
def test_a_circle_stays_a_circle_whatever_the_shape_of_pixels(tmp_path, shape, size):
    y, x = np.mgrid[:H, :W] + 0.5
    inside = np.hypot((x - W / 2) * float(Fraction(shape)), y - H / 2) < min(H, W * float(Fraction(shape))) * 0.4
    path = film(tmp_path / "x.mp4", [np.repeat(inside[..., None] * np.uint8(255), 3, 2)] * 2, shape=Fraction(shape))
    frame = read_video(path)[0, 0]
    assert frame.shape == size
    bright = (frame > 0.5).nonzero()
    tall, wide = (bright.max(0).values - bright.min(0).values + 1).tolist()
    assert abs(tall - wide) <= 2


def test_a_turned_film_is_drawn_out_before_it_is_turned(tmp_path):
    path = film(tmp_path / "x.mp4", [corners()] * 2, shape=Fraction(2))
    set_matrix(path, 0, 1, -1, 0)
    assert read_video(path).shape == (3, 2, 2 * W, H)


# ---------------------------------------------------------------- colours


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le", "yuv444p10le"])
@pytest.mark.parametrize("colours", ["ITU601", "ITU709"])
def test_a_film_shows_the_colours_that_its_tags_name(tmp_path, pixels, colours):
    shown = [(200, 30, 40), (30, 180, 60), (40, 60, 210), (128, 128, 128), (250, 250, 250), (210, 160, 130)]
    picture = np.concatenate([np.full((H, 16, 3), colour, np.uint8) for colour in shown], axis=1)
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], pixels
        stream.options = {"qp": "0"}
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1 if colours == "ITU709" else 6
        context.color_range = 1
        exact = {"format": pixels, "dst_colorspace": colours, "dst_color_range": "MPEG", "interpolation": 0x42004}
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(**exact)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    got = read_video(tmp_path / "x.mp4")[:, 0, H // 2, 8::16].T * 255
    torch.testing.assert_close(got, torch.tensor(shown).float(), atol=2 if "10" in pixels else 3, rtol=0)


def test_a_written_film_says_which_colours_it_means(tmp_path):
    """Without a tag, players take large films for BT.709 and shift them."""
    write_mp4(tmp_path / "x.mp4", torch.rand(3, 3, H, W))
    with av.open(str(tmp_path / "x.mp4")) as container:
        context = container.streams.video[0].codec_context
        tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
    assert tags == (6, 6, 6, 1)


@pytest.mark.parametrize(
    "name, codec, pixels",
    [
        ("x.mov", "qtrle", "argb"),
        ("x.mkv", "ffv1", "bgra"),
        ("x.avi", "png", "rgba"),
        ("x.webm", "libvpx-vp9", "yuva420p"),
        ("x.webm", "libvpx", "yuva420p"),
    ],
)
def test_what_is_transparent_shows_white_in_films_too(tmp_path, name, codec, pixels):
    picture = np.zeros((H, W, 4), np.uint8)
    picture[:, :16] = (200, 0, 0, 255)
    picture[:, 16:32] = (200, 0, 0, 0)
    picture[:, 32:] = (200, 0, 0, 128)
    options = {"auto-alt-ref": "0"} if codec == "libvpx" else None  # it has no alpha otherwise
    video = read_video(film(tmp_path / name, [picture] * 2, codec, pixels, options=options))
    got = (video[:, 1, H // 2, [8, 24, 40]] * 255).T
    expected = torch.tensor([[200.0, 0, 0], [255, 255, 255], [227, 127, 127]])
    torch.testing.assert_close(got, expected, atol=4 if "libvpx" in codec else 1.1, rtol=0)


# ---------------------------------------------------------------- time


STILL_THEN_MOVING = [0.0, 1.0, *(2 + i / 10 for i in range(10))]


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv", "x.webm", "x.gif"])
def test_the_same_clip_is_the_same_video_in_every_format(tmp_path, name):
    shades = [20, 40, *range(60, 260, 20)]
    if name == "x.gif":
        pictures = [Image.fromarray(frame) for frame in greys(shades)]
        lasts = [round(1000 * (b - a)) for a, b in zip(STILL_THEN_MOVING, [*STILL_THEN_MOVING[1:], 3.0], strict=True)]
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=lasts)
    else:
        codec = "libvpx-vp9" if name == "x.webm" else "libx264"
        film(tmp_path / name, greys(shades), codec, times=STILL_THEN_MOVING)
    expected = [20] * 10 + [40] * 10 + shades[2:]
    got = levels(read_video(tmp_path / name))
    assert len(got) == count_frames(tmp_path / name) == 30
    np.testing.assert_allclose(got, expected, atol=3)


def test_sampling_takes_the_frame_that_is_shown_at_that_time(tmp_path):
    (tmp_path / "wave").mkdir()
    film(tmp_path / "wave" / "x.mkv", greys([20, 40, *range(60, 260, 20)]), times=STILL_THEN_MOVING)
    item = VideoFolder(tmp_path, H, 4, cache=None)[0]
    np.testing.assert_allclose(levels(item["video"]), [20, 20, 40, 240], atol=3)


@given(
    repeats=st.lists(st.integers(1, 40), min_size=5, max_size=40),
    tick=st.sampled_from([0.02, 1 / 30, 0.1, 1.0]),
    jitter=st.floats(0, 0.08),
    seed=st.integers(0, 99),
)
def test_frames_on_a_grid_are_shown_as_often_as_it_says(repeats, tick, jitter, seed):
    """Whatever the clock's jitter: the shortest gap is the tick if it occurs at all."""
    repeats[:2] = [1, 3]
    noise = np.random.default_rng(seed).uniform(-jitter, jitter, len(repeats) + 1) * tick
    gaps = np.diff(np.cumsum([0, *repeats]) * tick + noise)
    pace = rates.Pace(rates.tick_of(gaps))
    assert abs(pace.tick - tick) < 0.2 * tick
    counted = sum(pace.ticks(gap) for gap in gaps)
    assert abs(counted - gaps.sum() / pace.tick) < 0.2 * len(gaps) + 1


@given(st.lists(st.floats(0.85, 1.15), min_size=1, max_size=50), st.floats(0.005, 2))
def test_a_jittering_clock_makes_no_variable_rate(places, gap):
    starts = np.arange(len(places)) + (np.array(places) - 1)
    assert rates.tick_of(np.diff(starts) * gap) is None


def test_one_slip_of_the_clock_does_not_set_the_pace():
    gaps = np.array([0.1] * 10 + [0.3] + [0.001, 0.099] + [0.1] * 10)
    pace = rates.Pace(rates.tick_of(gaps))
    assert pace.tick == pytest.approx(0.1, rel=0.01) and sum(map(pace.ticks, gaps)) == 24


def test_how_often_a_frame_repeats_is_bounded(tmp_path, monkeypatch):
    pictures = [Image.fromarray(frame) for frame in greys([0, 100, 200])]
    pictures[0].save(tmp_path / "x.gif", save_all=True, append_images=pictures[1:], duration=[20, 2000, 20])
    assert count_frames(tmp_path / "x.gif") == 102
    monkeypatch.setattr(rates, "MOST_TICKS", 99)
    for read in (read_video, count_frames):
        with pytest.raises(MediaError, match="x.gif: a frame lasts 100 times as long .* expected at most 99"):
            read(tmp_path / "x.gif")


def test_a_clip_too_large_for_one_tensor_is_refused_and_can_be_walked_through(tmp_path, monkeypatch):
    write_gif(tmp_path / "x.gif", torch.rand(3, 6, H, W))
    monkeypatch.setattr(media, "MAX_CLIP", 5 * H * W)
    with pytest.raises(MediaError, match="more than 5 frames of 48x32 pixels do not fit .* iterate_frames"):
        read_video(tmp_path / "x.gif")
    assert len(list(iterate_frames(tmp_path / "x.gif"))) == 6


# ---------------------------------------------------------------- counting what is shown


def trimmed(source: Path, path: Path, start: float) -> Path:
    """Cut without re-encoding: from the last key frame before `start` on, with a note that hides what is before it."""
    with av.open(str(source)) as whole, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as cut:
        stream = whole.streams.video[0]
        copy = cut.add_stream_from_template(stream)
        shift = round(start / stream.time_base)
        whole.seek(shift, stream=stream)
        for packet in whole.demux(stream):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                cut.mux(packet)
    return path


def test_what_a_trim_hides_is_not_counted(tmp_path):
    whole = film(tmp_path / "whole.mp4", greys(range(20, 220, 5)), options={"qp": "4", "g": "20"})
    path = trimmed(whole, tmp_path / "x.mp4", 2.5)
    with av.open(str(path)) as container:
        packets = sum(packet.size > 0 for packet in container.demux(video=0))
    assert packets >= 20 and count_frames(path) == read_video(path).shape[1] == 15
    np.testing.assert_allclose(levels(read_video(path)), range(145, 220, 5), atol=3)
    (tmp_path / "clips" / "wave").mkdir(parents=True)
    path.rename(tmp_path / "clips" / "wave" / "x.mp4")
    item = VideoFolder(tmp_path / "clips", H, 8, cache=None)[0]
    np.testing.assert_allclose(levels(item["video"]), [145, 155, 165, 175, 185, 195, 205, 215], atol=3)


def test_a_film_cut_at_its_end_has_the_frames_that_are_left(tmp_path):
    """Frames that were stored behind later ones are missing there: gaps in time, but no variable rate."""
    whole = film(tmp_path / "whole.mkv", greys(range(20, 220, 5), 64, 64), b_frames=3)
    with av.open(str(whole)) as source, av.open(str(tmp_path / "x.mkv"), "w") as cut:
        stream = source.streams.video[0]
        copy = cut.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size]
        has_a_gap = lambda count: max(np.diff(sorted(packet.pts for packet in packets[:count]))) > 150
        kept = next(count for count in range(20, 40) if has_a_gap(count))
        for packet in packets[:kept]:
            packet.stream = copy
            cut.mux(packet)
    assert count_frames(tmp_path / "x.mkv") == read_video(tmp_path / "x.mkv").shape[1] == kept


@pytest.mark.parametrize(
    "name, codec, b_frames",
    [
        ("x.mp4", "libx264", 3),
        ("x.webm", "libvpx-vp9", None),
        ("x.avi", "mpeg4", 2),
        ("x.mov", "mpeg2video", 2),
        ("x.mkv", "ffv1", None),
        ("x.avi", "mjpeg", None),
    ],
)
def test_the_count_is_what_decoding_gives(tmp_path, name, codec, b_frames):
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = film(tmp_path / name, greys(range(0, 200, 5), 64, 64), codec, pixels, b_frames=b_frames)
    assert count_frames(path) == sum(1 for _ in iterate_frames(path)) == 40


# ---------------------------------------------------------------- names, and what is no film


@pytest.mark.parametrize(
    "name", ["10:15:30", "a:b", "file:x", "concat:x", "data:x", "f%03d", "a#1", "50%", "it's", "-x", "lächeln 悲しい"]
)
@pytest.mark.parametrize("suffix, write", [(".mp4", write_mp4), (".gif", write_gif)])
def test_a_name_is_that_of_a_file_whatever_is_in_it(tmp_path, monkeypatch, name, suffix, write):
    monkeypatch.chdir(tmp_path)
    path = Path(name + suffix)
    write(path, torch.rand(3, 2, H, W))
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert read_video(path).shape == read_video(tmp_path / path).shape == (3, 2, H, W)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_title_in_an_old_code_is_no_reason_to_refuse_a_film(tmp_path, suffix):
    with av.open(str(tmp_path / f"x{suffix}"), "w") as container:
        container.metadata["title"] = "Gr\u00fc\u00dfe"
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = H, W, "yuv420p"
        for picture in greys([0, 100, 200]):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = (tmp_path / f"x{suffix}").read_bytes()
    assert "Gr\u00fc\u00dfe".encode() in content
    content = content.replace("Gr\u00fc\u00dfe".encode(), b"Gr\xfc\xdfe\xdf\xdf")  # Latin-1, as long
    (tmp_path / f"x{suffix}").write_bytes(content)
    assert count_frames(tmp_path / f"x{suffix}") == read_video(tmp_path / f"x{suffix}").shape[1] == 3


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile other.mp4\n",
        "v=0\nm=video 0 RTP/AVP 96\n",
        "[Script Info]\n",
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm", ".mov"])
def test_a_list_of_films_is_no_film(tmp_path, text, suffix):
    write_mp4(tmp_path / "other.mp4", torch.rand(3, 2, H, W))
    (tmp_path / f"x{suffix}").write_text(text)
    for read in (read_video, count_frames):
        with pytest.raises(MediaError, match=f"x{suffix}: not a video that can be read"):
            read(tmp_path / f"x{suffix}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
@pytest.mark.parametrize("name", ["x.mp4", "x.gif", "x.png"])
def test_a_pipe_is_refused_before_anybody_waits_for_it(tmp_path, name):
    os.mkfifo(tmp_path / name)
    said = []

    def read():
        try:
            (read_image if name == "x.png" else read_video)(tmp_path / name)
        except MediaError as error:
            said.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(HUNG)
    assert said and f"{name}: a pipe, socket or device" in said[0]


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "x\0y.mp4", "x\0y.gif", "x\0y.png"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    with pytest.raises(MediaError, match="cannot be opened"):
        (read_image if name.endswith("png") else read_video)(tmp_path / name)


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "x.mp4").symlink_to("y.mp4")
    (tmp_path / "y.mp4").symlink_to("x.mp4")
    with pytest.raises(MediaError, match="x.mp4"):
        read_video(tmp_path / "x.mp4")


# ---------------------------------------------------------------- cut short


@pytest.mark.parametrize(
    "name, codec, pixels",
    [
        ("x.mkv", "ffv1", "bgr0"),
        ("x.mkv", "libx264", "yuv420p"),
        ("x.webm", "libvpx-vp9", "yuv420p"),
        ("x.mp4", "libx264", "yuv420p"),
        ("x.mov", "mpeg4", "yuv420p"),
        ("x.avi", "mpeg4", "yuv420p"),
        ("x.gif", "", ""),
    ],
)
def test_no_frame_is_lost_in_silence_wherever_a_file_breaks_off(tmp_path, name, codec, pixels):
    noise = np.random.default_rng(0).integers(0, 256, (12, H, W, 3)).astype(np.uint8)
    path = tmp_path / name
    if codec:
        film(path, list(noise), codec, pixels, options={})
    else:
        write_gif(path, torch.from_numpy(noise).permute(3, 0, 1, 2) / 255)
    whole = path.read_bytes()
    assert count_frames(path) == 12
    for kept in [len(whole) * part // 23 for part in range(1, 23)] + [len(whole) - 20]:
        path.write_bytes(whole[:kept])
        for read in (read_video, count_frames):
            with pytest.raises(MediaError, match=name):
                read(path)


def test_a_live_recording_announces_no_end_and_is_read(tmp_path):
    path = film(tmp_path / "x.mkv", greys(range(0, 200, 10)), container_options={"live": "1"})
    assert count_frames(path) == 20
    assert path.read_bytes().index(b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff") > 0


# ---------------------------------------------------------------- rates


@given(frames=st.integers(1, 200), fps=st.floats(0.01, 50) | st.fractions(Fraction(1, 100), 50) | st.integers(1, 50))
def test_the_delays_of_a_gif_add_up_and_none_is_too_short(frames, fps):
    delays = rates.gif_delays(frames, fps)
    assert abs(delays.sum() - 100 * frames / float(fps)) <= 0.51
    assert delays.min() >= 2 and delays.max() - delays.min() <= 1


@pytest.mark.parametrize("fps", [8, 12, 24, 29.97, Fraction(30000, 1001), 34, 50])
def test_a_gif_and_a_film_play_at_the_rate_that_was_asked_for(tmp_path, fps):
    clip = torch.rand(3, 50, 8, 8)
    with Image.open(io.BytesIO(encode_gif(clip, fps))) as gif:
        lasts = 0
        for i in range(gif.n_frames):
            gif.seek(i)
            lasts += gif.info["duration"]
    assert lasts / 1000 == pytest.approx(50 / fps, abs=0.006)
    write_mp4(tmp_path / "x.mp4", clip, fps)
    write_gif(tmp_path / "x.gif", clip, fps)
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(float(fps), rel=1e-5)
    assert count_frames(tmp_path / "x.mp4") == count_frames(tmp_path / "x.gif") == 50


@pytest.mark.parametrize("path, fps", [("x.gif", 51), ("x.gif", 0.001), ("x.mp4", 1001), ("x.mp4", 0.0004)])
def test_a_rate_that_a_format_cannot_hold_is_refused_before_frames_are_made(tmp_path, path, fps):
    with pytest.raises(ValueError, match=f"{path}: fps is {fps}; .{path[-3:]} holds 0.001.* frames a second"):
        check_rate(path, fps)
    with pytest.raises(ValueError, match="frames a second"):
        (write_gif if path == "x.gif" else write_mp4)(tmp_path / path, torch.rand(3, 2, 8, 8), fps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("path", ["x.gif", "x.mp4", "x.png"])
def test_what_is_no_rate_is_refused(path, fps):
    with pytest.raises(ValueError, match="fps is"):
        check_rate(path, fps)


def test_rates_that_are_held_pass():
    for path, fps in (
        ("x.gif", 50),
        ("x.gif", 0.0016),
        ("x.mp4", Fraction(30000, 1001)),
        ("x.mp4", 1000),
        ("x.png", 60),
    ):
        check_rate(path, fps)


@pytest.mark.parametrize("write, name", [(write_gif, "x.gif"), (write_mp4, "x.mp4")])
def test_a_scale_beyond_all_memory_is_refused(tmp_path, write, name):
    with pytest.raises(ValueError, match="take a smaller scale"):
        write(tmp_path / name, torch.rand(3, 2, 32, 32), scale=1000)


def test_the_matrix_of_a_film_without_one_is_the_identity(tmp_path):
    with av.open(str(film(tmp_path / "x.mp4", [corners()] * 2))) as container:
        assert films.display_matrix(next(container.decode(video=0))).tolist() == [[1, 0], [0, 1]]


def test_a_film_of_too_many_pixels_is_refused_before_and_while_it_is_decoded(tmp_path, monkeypatch):
    path = film(tmp_path / "x.mkv", [corners()] * 3)
    monkeypatch.setattr(films, "MAX_PIXELS", H * W - 1)  # what the decoder is told: a film may grow on its way
    for read in (read_video, count_frames):
        with pytest.raises(MediaError, match="x.mkv: damaged or cut short"):
            read(path)
    monkeypatch.setattr(pictures, "MAX_PIXELS", H * W - 1)
    for read in (read_video, count_frames):
        with pytest.raises(MediaError, match="x.mkv: 48x32 pixels; expected at most"):
            read(path)


def test_of_several_tracks_the_one_that_is_marked_for_players_is_read(tmp_path):
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        tracks = [container.add_stream("ffv1", rate=10) for _ in range(2)]
        for stream in tracks:
            stream.width, stream.height, stream.pix_fmt = 16, 16, "bgr0"
        tracks[0].disposition, tracks[1].disposition = 0, av.stream.Disposition.default
        for stream, value in zip(tracks, (40, 200), strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), value, np.uint8), format="rgb24")
            container.mux([*stream.encode(frame.reformat(format="bgr0")), *stream.encode()])
    assert torch.allclose(read_video(tmp_path / "two.mkv"), torch.tensor(200 / 255))
