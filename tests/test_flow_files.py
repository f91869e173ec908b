"""Flow on disk: what is written reads back, and other tools read the same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lfdm_lite.data import VideoFolder
from lfdm_lite.files import motion_files, pictures
from lfdm_lite.files.flow_files import read_flo, read_kitti_flow, write_flo, write_kitti_flow, write_visible
from lfdm_lite.files.media import MediaError, write_gif, write_image
from lfdm_lite.files.motion_files import check_motion, has_motion, read_motion
from lfdm_lite.flow import in_pixels, normalized
from lfdm_lite.geometry import identity_grid

WRITERS = [("x.flo", write_flo, read_flo, 1e-5), ("x.png", write_kitti_flow, read_kitti_flow, 0.5 / 64 + 1e-4)]
formats = pytest.mark.parametrize("name, write, read, error", WRITERS, ids=["middlebury", "kitti"])


def pixels(h: int = 5, w: int = 7, seed: int = 0, largest: float = 20) -> torch.Tensor:
    return (torch.rand(2, h, w, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * largest


# ---------------------------------------------------------------- files


@formats
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(h=st.integers(1, 9), w=st.integers(1, 9), seed=st.integers(0, 99), largest=st.sampled_from([0.0, 1, 30, 511]))
def test_a_flow_reads_back_as_it_was_written(tmp_path, name, write, read, error, h, w, seed, largest):
    flow = pixels(h, w, seed, largest)
    write(tmp_path / "a folder" / name, normalized(flow[None])[0])
    back = in_pixels(read(tmp_path / "a folder" / name)[None])[0]
    torch.testing.assert_close(back, flow, atol=error, rtol=1e-5)


@formats
def test_what_is_unknown_stays_unknown(tmp_path, name, write, read, error):
    flow = pixels()
    flow[0, 1, 2], flow[1, 3, 4] = float("nan"), float("inf")
    write(tmp_path / name, flow)
    unknown = read(tmp_path / name).isnan()
    assert unknown[:, 1, 2].all() and unknown[:, 3, 4].all() and unknown.sum() == 4


def test_opencv_reads_the_same_pixels_from_a_middlebury_file(tmp_path):
    cv2 = pytest.importorskip("cv2")
    write_flo(tmp_path / "x.flo", normalized(pixels()[None])[0])
    if not hasattr(cv2, "readOpticalFlow"):
        pytest.skip("this OpenCV is built without its reader of optical flow")
    np.testing.assert_allclose(cv2.readOpticalFlow(str(tmp_path / "x.flo")).transpose(2, 0, 1), pixels(), atol=1e-5)


def test_we_read_the_middlebury_files_that_opencv_writes(tmp_path):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "writeOpticalFlow"):
        pytest.skip("this OpenCV is built without its writer of optical flow")
    cv2.writeOpticalFlow(str(tmp_path / "x.flo"), pixels().permute(1, 2, 0).numpy())
    torch.testing.assert_close(in_pixels(read_flo(tmp_path / "x.flo")[None])[0], pixels())


def test_opencv_finds_kitti_numbers_in_a_kitti_file(tmp_path):
    """Of the benchmark's definition: x = (red - 2^15) / 64, y = (green - 2^15) / 64, blue = 1 where known."""
    cv2 = pytest.importorskip("cv2")
    flow = torch.zeros(2, 4, 6)
    flow[:, 1, 2] = torch.tensor([1.5, -2.25])
    flow[0, 3, 5] = float("nan")
    write_kitti_flow(tmp_path / "x.png", normalized(flow[None])[0])
    blue, green, red = cv2.imread(str(tmp_path / "x.png"), cv2.IMREAD_UNCHANGED).transpose(2, 0, 1)
    assert red.dtype == np.uint16 and red.shape == (4, 6)
    assert red[1, 2] == 32768 + 96 and green[1, 2] == 32768 - 144 and blue[1, 2] == 1
    assert red[0, 0] == green[0, 0] == 32768 and (red[3, 5], green[3, 5], blue[3, 5]) == (0, 0, 0)
    assert blue.sum() == 4 * 6 - 1


def test_we_read_the_kitti_files_that_opencv_writes(tmp_path):
    cv2 = pytest.importorskip("cv2")
    values = np.random.default_rng(0).integers(0, 2**16, (3, 5, 3)).astype(np.uint16)
    values[..., 0] = 1
    cv2.imwrite(str(tmp_path / "x.png"), values)
    x, y = in_pixels(read_kitti_flow(tmp_path / "x.png")[None])[0].numpy()
    np.testing.assert_allclose(x, (values[..., 2].astype(float) - 32768) / 64, atol=1e-4)
    np.testing.assert_allclose(y, (values[..., 1].astype(float) - 32768) / 64, atol=1e-4)


def test_motion_that_a_kitti_file_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="motion by 512 pixels; .* use a .flo file"):
        write_kitti_flow(tmp_path / "x.png", normalized(torch.full((1, 2, 3, 3), 512.0))[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "no such file"),
        (b"", "an empty file"),
        (b"PIE", "does not start like a .flo file"),
        (b"HEIP" + bytes(20), "does not start like a .flo file"),
        (b"PIEH" + bytes(8), "for a flow of 0x0 pixels"),
        (b"PIEH" + np.array([3, 2], "<i4").tobytes() + bytes(47), "59 bytes for a flow of 3x2 pixels; expected 60"),
    ],
)
def test_a_broken_middlebury_file_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "x.flo").write_bytes(content)
    with pytest.raises(MediaError, match=f"x.flo: .*{message}"):
        read_flo(tmp_path / "x.flo")


def test_a_broken_kitti_file_is_named(tmp_path):
    write_visible(tmp_path / "grey.png", torch.ones(1, 3, 3))
    with pytest.raises(MediaError, match="grey.png: pixels are gray, not three channels of 16 bits"):
        read_kitti_flow(tmp_path / "grey.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(MediaError, match="text.png: not a PNG that can be read"):
        read_kitti_flow(tmp_path / "text.png")
    write_kitti_flow(tmp_path / "cut.png", pixels(40, 40))
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match="cut.png: "):
        read_kitti_flow(tmp_path / "cut.png")


@formats
def test_a_wrong_suffix_is_refused(tmp_path, name, write, read, error):
    with pytest.raises(MediaError, match="must end in"):
        write(tmp_path / "x.jpg", pixels())


# ---------------------------------------------------------------- the motion of a clip


def write_motion(clip: Path, flow: torch.Tensor, visible: torch.Tensor, suffix: str) -> None:
    write = write_flo if suffix == ".flo" else write_kitti_flow
    for i in range(flow.shape[1]):
        write(clip.with_name(f"{clip.stem}_flow") / f"{i:03d}{suffix}", flow[:, i])
        write_visible(clip.with_name(f"{clip.stem}_visible") / f"{i:03d}.png", visible[:, i])


def turning(t: int, size: int) -> torch.Tensor:
    """Frame i: everything turned by i tenths of a radian about the middle."""
    x, y = identity_grid(size, size)
    angles = torch.arange(t).view(t, 1, 1) / 10
    return torch.stack([angles.cos() * x - angles.sin() * y - x, angles.sin() * x + angles.cos() * y - y])


@pytest.mark.parametrize("suffix", [".flo", ".png", ".npz"])
def test_the_motion_of_the_wanted_frames_comes_back(tmp_path, suffix):
    clip, flow = tmp_path / "clip.mp4", turning(4, 16)
    visible = (torch.rand(1, 4, 16, 16) > 0.3).float()
    assert not has_motion(clip)
    if suffix == ".npz":
        np.savez(clip.with_suffix(".npz"), flow=flow.numpy(), visible=visible.numpy())
    else:
        write_motion(clip, flow, visible, suffix)
    assert has_motion(clip)
    wanted = [0, 2, 3, 3]
    got_flow, got_visible = read_motion(clip, wanted, 16)
    torch.testing.assert_close(got_flow, flow[:, wanted], atol=0.002, rtol=0)
    assert got_visible.equal(visible[:, wanted])


def test_a_turn_is_the_same_turn_at_another_size(tmp_path):
    write_motion(tmp_path / "clip.mp4", turning(3, 32), torch.ones(1, 3, 32, 32), ".flo")
    flow, visible = read_motion(tmp_path / "clip.mp4", [0, 1, 2], 16)
    torch.testing.assert_close(flow, turning(3, 16), atol=0.01, rtol=0)
    assert visible.eq(1).all() and flow.shape == (2, 3, 16, 16)


def test_cutting_a_wide_clip_keeps_its_motion_in_pixels(tmp_path):
    moved = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 8, 12)
    write_motion(tmp_path / "clip.mp4", normalized(moved).transpose(0, 1), torch.ones(1, 1, 8, 12), ".flo")
    flow, _ = read_motion(tmp_path / "clip.mp4", [0], 8)
    torch.testing.assert_close(in_pixels(flow[None])[0, :, 0], moved[0, :, :, 2:10])


def test_where_the_flow_is_unknown_the_pixel_counts_as_hidden(tmp_path):
    flow = torch.full((2, 1, 4, 4), 0.5)
    flow[:, 0, 1, 2] = float("nan")
    write_motion(tmp_path / "clip.mp4", flow, torch.ones(1, 1, 4, 4), ".png")
    got, visible = read_motion(tmp_path / "clip.mp4", [0], 4)
    assert visible[0, 0, 1, 2] == 0 and visible.sum() == 15 and (got[:, 0, 1, 2] == 0).all() and got.isfinite().all()


def test_missing_motion_is_named(tmp_path):
    clip = tmp_path / "clip.mp4"
    with pytest.raises(MediaError, match="clip.mp4: no flow; expected the folder clip_flow or clip.npz beside it"):
        read_motion(clip, [0], 4)
    write_motion(clip, turning(2, 8), torch.ones(1, 2, 8, 8), ".flo")
    with pytest.raises(MediaError, match="clip_flow: 2 files; frame 2 of clip.mp4 has none"):
        read_motion(clip, [0, 2], 4)
    write_visible(tmp_path / "clip_visible" / "001.png", torch.ones(1, 4, 8))
    with pytest.raises(MediaError, match="frame 1 of its flow and visibility have 8x8 and 8x4 pixels"):
        read_motion(clip, [1], 4)
    np.savez(tmp_path / "clip.npz", flow=np.zeros((2, 1, 4, 4)), seen=np.zeros((1, 1, 4, 4)))
    with pytest.raises(MediaError, match="clip.npz: cannot be read .*; expected arrays flow"):
        read_motion(clip, [0], 4)
    np.savez(tmp_path / "clip.npz", flow=np.zeros((1, 2, 4, 4)), visible=np.zeros((1, 1, 4, 4)))
    with pytest.raises(MediaError, match=r"clip.npz: flow and visible are \(1, 2, 4, 4\)"):
        read_motion(clip, [0], 4)


@pytest.mark.parametrize("suffix", [".flo", ".png"])
def test_frames_and_their_flow_are_in_one_order(tmp_path, suffix):
    """Numbers without leading zeros: 10 comes after 9 for both."""
    write = write_flo if suffix == ".flo" else write_kitti_flow
    for i in range(12):
        write(tmp_path / "clip_flow" / f"{i}{suffix}", torch.full((2, 4, 4), i / 32))
        write_visible(tmp_path / "clip_visible" / f"{i}.png", torch.full((1, 4, 4), i / 20))
    flow, visible = read_motion(tmp_path / "clip.mp4", range(12), 4)
    torch.testing.assert_close(flow[0, :, 0, 0], torch.arange(12) / 32, atol=0.01, rtol=0)
    torch.testing.assert_close(visible[0, :, 0, 0], torch.arange(12) / 20, atol=0.01, rtol=0)


@pytest.mark.parametrize("suffix", [".flo", ".png", ".npz"])
@pytest.mark.parametrize("count", [3, 5])
def test_as_many_flows_as_frames_or_none_at_all(tmp_path, suffix, count):
    clip = tmp_path / "clip.mp4"
    if suffix == ".npz":
        np.savez(clip.with_suffix(".npz"), flow=np.zeros((2, count, 4, 4)), visible=np.zeros((1, count, 4, 4)))
    else:
        write_motion(clip, turning(count, 4), torch.ones(1, count, 4, 4), suffix)
    with pytest.raises(MediaError, match=f"motion of {count} frames, but clip.mp4 shows 4; expected one for each"):
        check_motion(clip, 4)
    check_motion(clip, count)


def test_a_frame_that_is_missing_among_frames_or_flows_is_noticed(tmp_path):
    clip = tmp_path / "clip"
    write_motion(clip.with_suffix(".gif"), turning(5, 8), torch.ones(1, 5, 8, 8), ".flo")
    for i in range(0, 50, 10):
        write_image(clip / f"frame_{i + 10}.png", torch.zeros(3, 8, 8))
    check_motion(clip, 5)  # every tenth picture of a film: the same even steps, other numbers
    (clip / "frame_30.png").rename(clip / "frame_60.png")
    with pytest.raises(MediaError, match="numbered with other gaps"):
        check_motion(clip, 5)
    (clip / "frame_60.png").rename(clip / "frame_30.png")
    flows = sorted((tmp_path / "clip_flow").iterdir())
    flows[-1].rename(flows[-1].with_name("007.flo"))
    with pytest.raises(MediaError, match="numbered with other gaps"):
        check_motion(clip, 5)


def test_a_data_set_names_the_clips_whose_flow_does_not_fit(tmp_path):
    for name, flows in (("good", 4), ("odd", 5)):
        write_gif(tmp_path / "wave" / f"{name}.gif", torch.rand(3, 4, 8, 8))
        write_motion(tmp_path / "wave" / f"{name}.gif", turning(flows, 8), torch.ones(1, flows, 8, 8), ".flo")
    with pytest.raises(MediaError, match=r"(?s)1 of 2 clips .*motion of 5 frames, but odd.gif shows 4"):
        VideoFolder(tmp_path, 8, 4, with_flow=True, cache=None)
    with pytest.warns(UserWarning, match="left out"):
        assert len(VideoFolder(tmp_path, 8, 4, with_flow=True, cache=None, on_error="skip")) == 1


@pytest.mark.parametrize("suffix", [".flo", ".png"])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
def test_what_is_unknown_weighs_nothing_when_flow_is_resized(tmp_path, suffix, share):
    flow = torch.tensor([0.25, -0.125]).view(2, 1, 1, 1).repeat(1, 1, 64, 64)
    flow[:, 0, torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) > share] = float("nan")
    flow[:, 0, :, 48:] = float("nan")
    write_motion(tmp_path / "clip.mp4", flow, torch.ones(1, 1, 64, 64), suffix)
    got, visible = read_motion(tmp_path / "clip.mp4", [0], 16)
    seen = (visible[0, 0] > 0.05).expand(2, -1, -1)
    expected = torch.tensor([0.25, -0.125]).view(2, 1, 1).expand(2, 16, 16)
    torch.testing.assert_close(got[:, 0][seen], expected[seen], atol=1e-3, rtol=0)
    assert got[:, 0, :, 13:].eq(0).all() and visible[0, 0, :, 13:].eq(0).all()
    assert visible[0, 0, :, :11].mean().item() == pytest.approx(share, abs=0.04)


def test_a_colon_in_the_name_of_a_kitti_file_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_kitti_flow("1:2.png", pixels() / 100)
    torch.testing.assert_close(read_kitti_flow("1:2.png"), pixels() / 100, atol=0.01, rtol=0)


def test_sizes_are_checked_before_bodies_are_read(tmp_path, monkeypatch):
    """A small file may announce, or unpack to, a large one."""
    clip = tmp_path / "clip.mp4"
    np.savez_compressed(clip.with_suffix(".npz"), flow=np.zeros((2, 1, 9, 9)), visible=np.zeros((1, 1, 9, 9)))
    for name, write, _, _ in WRITERS:
        write(tmp_path / name, torch.zeros(2, 9, 9))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 80)
    monkeypatch.setattr(motion_files, "MAX_NUMBERS", 161)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("unpacked all the same"))
    monkeypatch.setattr(Path, "read_bytes", lambda *_: pytest.fail("read all the same"))
    for name, _, read, _ in WRITERS:
        with pytest.raises(MediaError, match=f"{name}: 9x9 pixels; expected at most"):
            read(tmp_path / name)
    with pytest.raises(MediaError, match="clip.npz: flow and visible are .* expected at most"):
        read_motion(clip, [0], 4)


@pytest.mark.parametrize("compressed", [False, True])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_broken_in_an_npz_file_ends_in_one_line_with_its_name(tmp_path, compressed, data):
    clip, save = tmp_path / "clip.mp4", np.savez_compressed if compressed else np.savez
    save(clip.with_suffix(".npz"), flow=np.zeros((2, 2, 4, 4), np.float32), visible=np.ones((1, 2, 4, 4), np.float32))
    content = bytearray(clip.with_suffix(".npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    clip.with_suffix(".npz").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        read_motion(clip, [0, 1], 4)
    except MediaError as error:
        assert "clip.npz" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    "flow, visible",
    [
        (np.zeros((2, 0, 4, 4)), np.zeros((1, 0, 4, 4))),
        (np.zeros((2, 1, 0, 4)), np.zeros((1, 1, 0, 4))),
        (np.zeros((2, 1, 4, 4), complex), np.zeros((1, 1, 4, 4))),
        (np.array(["a"] * 32).reshape(2, 1, 4, 4), np.zeros((1, 1, 4, 4))),
        (np.zeros(()), np.zeros(())),
    ],
)
def test_what_is_no_motion_is_refused(tmp_path, flow, visible):
    np.savez(tmp_path / "clip.npz", flow=flow, visible=visible)
    with pytest.raises(MediaError, match="clip.npz: .*expected"):
        read_motion(tmp_path / "clip.mp4", [0], 4)
