"""A judge reads labels from videos, and survives being written to disk."""

import json

import pytest
import torch
import torch.nn.functional as F

from lfdm_lite.evaluation.judges import VideoClassifier, VideoClassifierConfig
from lfdm_lite.files.reading import CheckpointError

TINY = VideoClassifierConfig(num_labels=3, channels=(8, 8, 8), temporal_channels=16, feature_dim=8)


def moving_bars(label: torch.Tensor, seed: int) -> torch.Tensor:
    """Clips of a bar that moves right, moves down or stands still, with a random colour and place."""
    generator = torch.Generator().manual_seed(seed)
    video = torch.rand(len(label), 3, 1, 1, 1, generator=generator).repeat(1, 1, 6, 32, 32)
    for i, kind in enumerate(label.tolist()):
        y, x = torch.randint(0, 12, (2,), generator=generator).tolist()
        for t in range(6):
            dx, dy = (2 * t, 0) if kind == 0 else (0, 2 * t) if kind == 1 else (0, 0)
            video[i, :, t, y + dy : y + dy + 8, x + dx : x + dx + 8] = 1 - video[i, :, t, 0, 31, None, None]
    return video


def test_a_judge_of_default_size_is_small():
    assert sum(p.numel() for p in VideoClassifier().parameters()) <= 500_000


def test_logits_and_features_have_the_promised_shapes_for_any_length_and_size():
    judge = VideoClassifier(5)
    for t, size in ((1, 32), (16, 64), (5, 48)):
        video = torch.rand(2, 3, t, size, size)
        assert judge(video).shape == (2, 5)
        assert judge.features(video).shape == (2, judge.config.feature_dim)


def test_a_judgement_does_not_depend_on_the_other_clips_in_the_batch():
    judge, video = VideoClassifier(TINY), torch.rand(4, 3, 5, 32, 32)
    torch.testing.assert_close(judge(video)[1:2], judge(video[1:2]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(judge.probabilities(video, batch_size=3), judge(video).softmax(1), atol=1e-5, rtol=1e-4)


def test_motion_is_learned_within_seconds():
    torch.manual_seed(0)
    judge = VideoClassifier(TINY)
    optimizer = torch.optim.AdamW(judge.parameters(), 1e-2)
    for step in range(40):
        label = torch.arange(24) % 3
        optimizer.zero_grad()
        F.cross_entropy(judge(moving_bars(label, step)), label).backward()
        optimizer.step()
    label = torch.arange(30) % 3
    assert (judge.probabilities(moving_bars(label, 1000)).argmax(1) == label).float().mean() >= 0.9


def test_a_judge_read_back_judges_the_same(tmp_path):
    judge, video = VideoClassifier(TINY), torch.rand(2, 3, 4, 32, 32)
    judge.labels = ["right", "down", "still"]
    judge.save(tmp_path / "judge")
    loaded = VideoClassifier.load(tmp_path / "judge")
    assert loaded.labels == judge.labels and loaded.config == judge.config and not loaded.training
    torch.testing.assert_close(loaded(video), judge(video))


def test_half_precision_on_disk_is_half_the_size_and_nearly_the_same(tmp_path):
    judge, video = VideoClassifier(), torch.rand(2, 3, 4, 32, 32)
    judge.save(tmp_path / "full")
    judge.save(tmp_path / "half", dtype=torch.float16)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    loaded = VideoClassifier.load(tmp_path / "half")
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    torch.testing.assert_close(loaded(video), judge(video), atol=1e-2, rtol=1e-2)


def test_labels_must_name_every_class(tmp_path):
    judge = VideoClassifier(TINY)
    judge.labels = ["right"]
    with pytest.raises(ValueError, match="1 names for a classifier of 3 labels"):
        judge.save(tmp_path)


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        VideoClassifier(1)
    with pytest.raises(ValueError, match="not divisible by groups=8"):
        VideoClassifierConfig(channels=(8, 12))


def test_a_folder_of_another_kind_is_refused(tmp_path):
    VideoClassifier(TINY).save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("VideoClassifier", "LFDM"))
    with pytest.raises(CheckpointError, match="is of kind 'LFDM', expected 'VideoClassifier'"):
        VideoClassifier.load(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("channels", [8] * 13, "model.channels has 13 entries, expected at most 12"),
        ("channels", [8, True, 8], r"model.channels\[1\] is True, expected int"),
        ("feature_dim", 60_000, r"tensor 'summary.0.weight' has shape \(8, 32\), expected \(60000, 32\)"),
        ("grid", 10**6, "model.grid is 1000000, expected a number from 1 to 4,096"),
        ("groups", 0, "does not fit VideoClassifierConfig: groups is 0"),
        ("num_labels", 4, "3 labels .*, expected 4 different ones"),
    ],
)
def test_a_config_is_compared_with_the_weights_before_anything_is_built(tmp_path, field, value, message):
    VideoClassifier(TINY).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model"][field] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        VideoClassifier.load(tmp_path)


def test_names_of_labels_must_differ(tmp_path):
    judge = VideoClassifier(TINY)
    judge.labels = ["right", "right", "down"]
    with pytest.raises(ValueError, match="2 names for a classifier of 3 labels"):
        judge.save(tmp_path)
