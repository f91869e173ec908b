"""A judge can be trained on heads that say nothing, on worn clips, and from the weights of another judge."""

from dataclasses import replace

import pytest
import torch

from lfdm_lite.data import Faces
from lfdm_lite.data.drawn.acting.expressions import Acting
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.training import PRESETS, DataConfig, JudgeRun, train_judge
from lfdm_lite.training.stages.clips import build_dataset, cached_clips
from lfdm_lite.training.stages.judge import draw_view, worn

TINY = PRESETS["tiny"].judge
SMALL = DataConfig(size=32, num_frames=3, train_clips=6, val_clips=6)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def clip():
    return {"video": (255 * Faces("val", 32, 4)[0]["video"]).round().byte(), "label": 0}


# ---------------------------------------------------------------- whose head


def test_a_run_sees_the_heads_that_its_config_names(tmp_path):
    assert build_dataset(SMALL, "train").acting == Acting()
    shuffled = replace(SMALL, acting=Acting(heads="shuffled"))
    assert build_dataset(shuffled, "val").acting == Acting(heads="shuffled")
    own, other = (cached_clips(config, "val", tmp_path) for config in (SMALL, shuffled))
    assert own.key != other.key and torch.equal(own.whole("label"), other.whole("label"))
    drawn = Faces("val", 32, 3, acting=Acting(heads="shuffled"))[2]["video"]
    assert torch.equal(other[2]["video"], (255 * drawn).round().byte())
    assert not torch.equal(other[2]["video"], own[2]["video"])


def test_only_faces_have_heads_to_shuffle():
    for name in ("figures", "folder"):
        with pytest.raises(ValueError, match=f"of drawn faces, data.name is '{name}': leave data.acting out"):
            build_dataset(DataConfig(name, root=".", acting=Acting(heads="shuffled")), "train")


# ---------------------------------------------------------------- worn clips


def test_without_wear_the_first_judge_sees_what_it_always_saw(clip):
    view, generator = draw_view(clip, seeded(3)), seeded(3)
    flipped = torch.rand((), generator=generator) < 0.5
    assert torch.equal(view["video"], clip["video"].flip(-1) if flipped else clip["video"])
    assert torch.equal(view["shift"], 0.2 * torch.rand(3, generator=generator) - 0.1)


def test_wear_softens_edges_and_adds_noise_within_its_bounds(clip):
    video = clip["video"]
    assert torch.equal(worn(video, 0.0, seeded(0)), video)

    def edges(frames):
        return frames.float().diff(dim=-1).abs().amax().item()

    def error(most, seed):
        return (worn(video, most, seeded(seed)).float() - video).square().mean().sqrt().item()

    assert min(edges(worn(video, 1.0, seeded(seed))) for seed in range(8)) < 0.8 * edges(video)
    assert all(0 < error(0.2, seed) < error(1.0, seed) < 40 for seed in range(8))
    assert len({error(1.0, seed) for seed in range(8)}) == 8  # each clip by another share
    assert torch.equal(worn(video, 1.0, seeded(5)), worn(video, 1.0, seeded(5)))


def test_more_wear_than_all_is_refused():
    with pytest.raises(ValueError, match="wear=1.5: must be at most 1"):
        JudgeRun(wear=1.5)


# ---------------------------------------------------------------- from another judge


def test_a_judge_begins_where_another_ended(tmp_path):
    first = train_judge(TINY, tmp_path / "first")
    hardly = replace(TINY, optim=replace(TINY.optim, steps=1, learning_rate=1e-9, warmup=0))
    then = train_judge(replace(hardly, init=str(tmp_path / "first")), tmp_path / "then")
    for name, value in first.state_dict().items():
        torch.testing.assert_close(then.state_dict()[name], value, atol=1e-6, rtol=0)
    fresh = train_judge(hardly, tmp_path / "fresh")
    assert (fresh.classify.weight - first.classify.weight).abs().max() > 1e-3


def test_a_judge_cannot_begin_with_another_shape(tmp_path):
    VideoClassifier(6).save(tmp_path / "large")
    with pytest.raises(ValueError, match=r"the judge to start from has channels \(24, 48, 64, 96\), not \(8, 16\)"):
        train_judge(replace(TINY, init=str(tmp_path / "large")), tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_a_judge_that_shrinks_sees_squares_of_pixels_as_one():
    torch.manual_seed(0)
    plain = VideoClassifier(6)
    small = VideoClassifier(replace(plain.config, shrink=2))
    small.load_state_dict(plain.state_dict())
    video = torch.rand(2, 3, 4, 32, 32)
    large = video.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(small(large), plain(video), atol=1e-5, rtol=1e-4)
