"""The ruler for drawn faces: its truth is the renderer's, its readings are near to it, and it goes to disk and back."""

import math

import pytest
import torch
from torch.testing import assert_close

from lfdm_lite import asset
from lfdm_lite.control import rise
from lfdm_lite.data import Acting, Faces
from lfdm_lite.data.drawn.acting.expressions import FACE
from lfdm_lite.data.drawn.engine.scenes import LayerMotion, affine
from lfdm_lite.evaluation.rulers.faces import LANDMARKS, MIRRORED, Measured, Ruler, RulerConfig, followed, true_clip
from lfdm_lite.files.checkpoints import CheckpointError
from lfdm_lite.geometry import sample_at

WIDE = Acting(strength=(0.4, 1.4), turn=0.3)


def test_a_point_of_a_layer_is_followed_through_turn_and_bend():
    angle, rise_of = torch.tensor([0.0, 0.4]), torch.tensor([0.0, 0.1])[:, None, None]
    motion = LayerMotion(affine(0.8, angle, 0.1, -0.2), lambda x, y: (x, y - rise_of * x.square()))
    place = followed(motion, (0.5, 0.2))
    back = torch.stack([axis.flatten() for axis in motion.to_canonical(*place[:, :, None, None].unbind(1))], dim=1)
    assert_close(back, torch.tensor([[0.5, 0.2], [0.5, 0.2]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("index", [2, 5])
def test_the_true_landmarks_are_where_the_true_flow_comes_from(index):
    faces = Faces("val", acting=WIDE)
    item, (video, true) = faces[index], true_clip(faces, index)
    assert torch.equal(item["video"], video)
    for name in ("nose", "chin", "lip_lower"):  # well inside of what they lie on
        k = LANDMARKS.index(name)
        end, begin = true.landmarks[0, -1, k], true.landmarks[0, 0, k]
        flow = sample_at(item["flow"][:, -1][None], end.view(1, 2, 1, 1)).flatten()
        assert 32 * (end + flow - begin).norm() < 0.5, name


def test_strength_and_turn_of_the_truth_are_those_that_are_told():
    faces = Faces("val", acting=WIDE)
    for index in range(3):
        told, (_, true) = faces.told(index), true_clip(faces, index)
        assert_close(true.strength, torch.tensor([told["strength"]]), rtol=0, atol=1e-4)
        assert_close(true.turn, torch.tensor([told["turn"]]), rtol=0, atol=1e-4)
        assert not true.level[:, 0].any() and not true.roll[:, 0].any()
        assert_close(true.onset, rise(true.level)[0])
    _, still = true_clip(Faces("val", acting=Acting(frozen=FACE)), 0)
    assert not still.level.any()


def test_mirroring_twice_changes_nothing_and_exchanges_sides():
    assert [MIRRORED[k] for k in MIRRORED] == list(range(len(LANDMARKS)))
    assert LANDMARKS[MIRRORED[LANDMARKS.index("mouth_left")]] == "mouth_right" and "nose" == LANDMARKS[MIRRORED[6]]


def test_what_moved_is_measured_from_frame_0():
    landmarks = torch.zeros(1, 2, len(LANDMARKS), 2)
    landmarks[0, 1, LANDMARKS.index("chin")] = torch.tensor([0.3, 0.4])
    read = Measured(landmarks, torch.tensor([[0.0, 0.7]]), torch.tensor([[0.0, 0.1]]))
    assert_close(read.moved("chin"), torch.tensor([[0.0, 0.5]]))
    assert_close(read.moved(), torch.tensor([[0.0, 0.5 / 12]]))
    assert (read.strength, read.turn) == (torch.tensor([0.7]), torch.tensor([0.1]))


def test_the_shipped_ruler_reads_clips_of_people_it_never_saw():
    ruler, faces = Ruler.load(asset("runs/control/ruler")), Faces("test", acting=WIDE)
    clips = [true_clip(faces, 40 + i) for i in range(6)]
    read = ruler.measure(torch.stack([video for video, _ in clips]))
    true = Measured(*(torch.cat(parts) for parts in zip(*(true for _, true in clips), strict=True)))
    assert 32 * (read.landmarks - true.landmarks).norm(dim=-1).mean() < 1.0
    assert (read.strength - true.strength).abs().mean() < 0.2 and (read.turn - true.turn).abs().mean() < 0.06
    assert sum(p.numel() for p in ruler.parameters()) < 400_000
    frozen = ruler.measure(clips[0][0][None, :, :1].expand(-1, -1, 16, -1, -1))
    assert frozen.strength < 0.2 and frozen.moved()[:, -1] * 32 < 0.3


def test_a_ruler_goes_to_disk_and_back(tmp_path):
    ruler = Ruler(RulerConfig(channels=(8, 16), depth=1, width=8)).eval()
    video = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ruler.save(tmp_path / "ruler")
    assert_close(Ruler.load(tmp_path / "ruler").measure(video), ruler.measure(video, batch_size=1), rtol=0, atol=1e-5)
    assert ruler.measure(video).landmarks.shape == (2, 3, 12, 2)
    with pytest.raises(CheckpointError):
        Ruler.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="^depth is 0; expected at least 1$"):
        RulerConfig(depth=0)
    assert math.isfinite(float(ruler.measure(video).strength.sum()))
