"""The network of Fréchet video distance: what holds whatever its weights, and what holds with the published ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lfdm_lite.data import Faces
from lfdm_lite.evaluation import i3d
from lfdm_lite.evaluation.frames import shuffle
from lfdm_lite.evaluation.i3d import (
    ARCHIVE,
    I3D,
    FrechetProtocol,
    Pool,
    enlarge,
    frechet_video_distance,
    i3d_features,
    load_i3d,
    same,
)
from lfdm_lite.files.reading import CheckpointError

from .parity.make_i3d import CLIPS, clip

HERE = ARCHIVE.path()  # the user's; tests have a cache of their own
needs_the_archive = pytest.mark.skipif(
    not HERE.is_file(), reason=f"{ARCHIVE.name} is not in the cache: `lfdm data i3d` fetches it"
)
STORED = Path(__file__).parent / "data" / "i3d_logits.npy"  # by the package's own network, see parity/make_i3d.py


def test_padding_gives_as_many_outputs_as_strides_and_the_odd_pixel_goes_behind():
    ones = torch.ones(1, 1, 16, 224, 224)
    padded = same(ones, (7, 7, 7), (2, 2, 2))
    assert padded.shape[2:] == (21, 229, 229), "2 before and 3 behind"
    assert padded[0, 0, :, 100, 100].tolist() == [0, 0, *[1] * 16, 0, 0, 0]
    assert same(ones, (3, 3, 3), (1, 1, 1)).shape[2:] == (18, 226, 226)
    assert same(ones, (1, 1, 1), (1, 1, 1)).shape == ones.shape
    assert same(torch.ones(1, 1, 2, 7, 7), (2, 2, 2), (2, 2, 2)).shape[2:] == (2, 8, 8)
    assert Pool((1, 3, 3), (1, 2, 2))(-ones).eq(-1).all(), "what is put behind the edge is never the largest"


def test_the_network_has_as_many_numbers_as_the_published_one_and_names_400_actions():
    network = I3D()
    norms = sum(unit.out_channels for unit in network.modules() if isinstance(unit, i3d.Unit))
    assert sum(p.numel() for p in network.parameters()) + 2 * norms == 12_704_544, "mean and variance are folded in"
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 9, 224, 224)).shape == (1, 400)
    assert not any(p.requires_grad for p in network.parameters())


def test_a_clip_of_fewer_than_nine_frames_is_refused():
    with pytest.raises(ValueError, match="have 8 frames; .* at least 9"):
        i3d_features(I3D(), torch.zeros(1, 3, 8, 32, 32))


def test_the_published_enlargement_counts_from_the_corner_and_ours_from_the_middle():
    frame = torch.rand(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    large = enlarge(frame)
    torch.testing.assert_close(large[..., ::4, ::4], frame)
    between = (frame[..., :-1] + frame[..., 1:]) / 2
    torch.testing.assert_close(large[..., ::4, 2:-4:4], between)
    torch.testing.assert_close(large[..., ::4, -3:], frame[..., -1:].expand(-1, -1, -1, 3))
    for how in ("bilinear", "nearest"):
        torch.testing.assert_close(enlarge(frame.flip(-1), how), enlarge(frame, how).flip(-1))
    assert (enlarge(frame.flip(-1)) - large.flip(-1)).abs().max() > 0.1
    torch.testing.assert_close(enlarge(frame, "nearest"), frame.repeat_interleave(4, 2).repeat_interleave(4, 3))
    with pytest.raises(ValueError, match="not 'bicubic'"):
        enlarge(frame, "bicubic")


def test_a_protocol_reads_as_one_line():
    line = str(FrechetProtocol(clips=200, frames=16, size=64, frame_rate=8, enlargement="nearest"))
    assert "\n" not in line
    for part in ("200 clips", "16 frames", "8 frames/s", "64 pixels", "nearest", "I3D logits", "lfdm_lite"):
        assert part in line
    assert "no frame rate" in str(FrechetProtocol(2, 9, 64))


def test_without_the_archive_it_says_how_to_get_it(tmp_path):
    with pytest.raises(CheckpointError, match="`lfdm data i3d`"):
        load_i3d(tmp_path / "none.tar.gz")


# ---------------------------------------------------------------- the published weights


@pytest.fixture(scope="module")
def published() -> I3D:
    return load_i3d(HERE)


def logits(network: I3D, frames: int, kind: int) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.from_numpy(clip(frames, kind)).permute(3, 0, 1, 2)[None])[0]


@needs_the_archive
def test_the_logits_are_those_of_the_package(published):
    expected = torch.from_numpy(np.load(STORED))
    for which, wanted in zip(CLIPS, expected, strict=True):
        torch.testing.assert_close(logits(published, *which), wanted, atol=1e-4, rtol=0)


@needs_the_archive
def test_padding_alike_on_both_sides_fails(published, monkeypatch):
    """The weights load as well, and the logits are as wrong as those of another clip."""

    def symmetric(x, kernel, stride, value=0.0):
        return F.pad(x, [side for k in reversed(kernel) for side in ((k - 1) // 2,) * 2], value=value)

    first, other = torch.from_numpy(np.load(STORED))[:2]
    monkeypatch.setattr(i3d, "same", symmetric)
    assert (logits(published, *CLIPS[0]) - first).norm() > 0.5 * (first - other).norm()


@needs_the_archive
def test_equal_videos_have_no_distance_and_shuffled_ones_do(published):
    dataset = Faces("val", size=32, num_frames=9, length=2)
    real = torch.stack([dataset[i]["video"] for i in range(2)])
    result = frechet_video_distance(published, shuffle(real), real, frame_rate=8.0)
    assert result.protocol == FrechetProtocol(2, 9, 32, 8.0, "published")
    assert result.frechet.value > 1 and str(result.protocol) in str(result)
    features = i3d_features(published, real)
    assert i3d.frechet_distance(features, features, resamples=1).value == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="expected one shape"):
        frechet_video_distance(published, real[:1], real)
