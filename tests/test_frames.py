"""What frames tell by themselves, against the drawn clips' truth, and which faults each measure notices."""

import pytest
import torch

from lfdm_lite.data import Faces
from lfdm_lite.data.drawn.procedural import AT_REST
from lfdm_lite.evaluation.distances import frechet_distance
from lfdm_lite.evaluation.frames import (
    BREAKINGS,
    blur,
    colours,
    estimate_motion,
    estimate_steps,
    exchange,
    flicker,
    freeze,
    half_speed,
    identity_distance,
    motion_features,
    nearest,
    reverse,
    shuffle,
    since_frame_0,
)
from lfdm_lite.flow import in_pixels, normalized
from lfdm_lite.geometry import warp

N = 16


@pytest.fixture(scope="module")
def clips() -> dict[str, torch.Tensor]:
    dataset = Faces("val", size=64, num_frames=12, length=N)
    items = [dataset[i] for i in range(N)]
    stacked = {name: torch.stack([item[name] for item in items]) for name in ("video", "flow", "visible")}
    rest = in_pixels(stacked["flow"]).norm(dim=1, keepdim=True) < AT_REST
    stacked["still"] = (rest & (stacked["visible"] > 0.5)).all(dim=2)
    return stacked


@pytest.fixture(scope="module")
def moved(clips):
    return estimate_motion(clips["video"], clips["still"])


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


# ---------------------------------------------------------------- motion


def test_estimated_motion_goes_with_the_truth(clips, moved):
    true = in_pixels(clips["flow"][:, :, 1:])
    length = true.norm(dim=1).flatten(1).mean(1)
    assert correlation(moved.length, length) > 0.75, "from clip to clip"
    assert 0.75 < moved.length.mean() / length.mean() < 1.25
    by_place = [x.unflatten(3, (8, -1)).unflatten(5, (8, -1)).mean(dim=(4, 6)) for x in (true,)][0]
    estimated = (moved.flow * 32).unflatten(3, (8, -1)).unflatten(5, (8, -1)).mean(dim=(4, 6))
    assert correlation(estimated, by_place) > 0.75, "from place to place, signs and all"
    assert moved.length_never.nanmean() < 0.5 * length.mean()


def test_a_picture_that_moves_as_a_whole_is_seen_to_move_as_much():
    frame = blur(torch.rand(1, 3, 1, 48, 48, generator=torch.Generator().manual_seed(0)), 2.0)[:, :, 0]
    velocity = torch.tensor([0.5, -0.25]).view(1, 2, 1, 1)  # pixels a frame, that each frame looks back
    video = torch.stack([warp(frame, normalized((velocity * t).expand(1, 2, 48, 48))) for t in range(4)], dim=2)
    inner = (..., slice(8, -8), slice(8, -8))
    steps = in_pixels(estimate_steps(video))[inner]
    torch.testing.assert_close(steps.mean(dim=(0, 2, 3, 4)), velocity.flatten(), atol=0.05, rtol=0)
    total = in_pixels(since_frame_0(estimate_steps(video)))[inner].mean(dim=(0, 3, 4))
    torch.testing.assert_close(total[:, -1], 3 * velocity.flatten(), atol=0.15, rtol=0)


def test_features_are_speeds_and_velocities_by_moment_and_place_whatever_the_size():
    steps = torch.zeros(1, 2, 10, 64, 64)
    steps[:, 0, :2, :16, :16] = 2 / 64  # a pixel to the right, in the first moments, at the top left
    speed, right, down = motion_features(steps).view(3, 5, 4, 4)
    assert speed[0, 0, 0] == right[0, 0, 0] == 1 and speed.sum() == 1 and down.abs().sum() == 0
    assert motion_features(-steps).view(3, 5, 4, 4)[1, 0, 0, 0] == -1
    torch.testing.assert_close(motion_features(steps[..., ::2, ::2]), motion_features(steps))
    with pytest.raises(ValueError, match="at least 2"):
        estimate_steps(torch.zeros(1, 3, 1, 32, 32))


def test_large_frames_are_shrunk_and_lengths_are_in_their_pixels(clips, moved):
    large = torch.nn.functional.interpolate(clips["video"][:2], scale_factor=(1, 2, 2), mode="nearest")
    seen = estimate_motion(large, clips["still"][:2].repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert correlation(seen.features, moved.features[:2]) > 0.95
    torch.testing.assert_close(seen.length, 2 * moved.length[:2], atol=0, rtol=0.25)


def test_faults_of_motion_move_its_frechet_distance_and_blur_hardly_does(clips, moved):
    def distance(fault) -> float:
        wrong = motion_features(estimate_steps(fault(clips["video"][:few])))
        return frechet_distance(wrong, moved.features[:few], resamples=1).value

    few = 8
    scale = distance(blur)
    for fault in (freeze, shuffle, reverse, half_speed, exchange):
        assert distance(fault) > 3 * scale, fault.__name__


# ---------------------------------------------------------------- identity


def test_another_person_is_noticed_and_motion_hardly(clips):
    video, frame_0 = clips["video"], clips["video"][:, :, 0]
    real, other = (identity_distance(x, frame_0) for x in (video, BREAKINGS["another"](video)))
    assert real.max() < 0.15 and other.mean() > 5 * real.mean()
    assert (other > real).all()
    half_way = identity_distance(exchange(video), frame_0)
    assert real.mean() < half_way.mean() < other.mean()
    assert identity_distance(freeze(video), frame_0).max() == 0


def test_colours_are_shares_and_places_make_no_difference():
    frame = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = colours(frame)
    torch.testing.assert_close(rows.sum(1), torch.ones(2))
    torch.testing.assert_close(colours(frame.flip(-1).roll(3, dims=-2)), rows)
    black, white = torch.zeros(1, 3, 1, 4, 4), torch.ones(1, 3, 4, 4)
    assert identity_distance(black, white).item() == 1
    nearly = identity_distance(black + 0.01, white * 0)
    assert 0 < nearly.item() < 0.25, "a colour a little beside is a little off, with no step"


# ---------------------------------------------------------------- flicker, copies


def test_flicker_is_the_second_difference_where_nothing_moves():
    video = torch.full((2, 3, 5, 8, 8), 0.5)
    video[0, :, 2, :4] += 2 / 255  # a jump and back: second differences of 2, -4, 2 over three moments
    still = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    still[0, :, :4] = True
    value = flicker(video, still)
    assert value[0].item() == pytest.approx(8 / 3, rel=1e-4) and value[1].isnan()
    drift = torch.linspace(0, 0.2, 5).view(1, 1, 5, 1, 1).expand(1, 3, 5, 8, 8)
    assert flicker(drift, still[:1]).item() == pytest.approx(0, abs=1e-4)
    with pytest.raises(ValueError, match="needs 3"):
        flicker(video[:, :, :2], still)


def test_real_clips_flicker_less_than_noisy_ones(clips):
    noise = 0.02 * torch.randn(clips["video"].shape, generator=torch.Generator().manual_seed(0))
    real, noisy = (flicker(x, clips["still"]).nanmean() for x in (clips["video"], clips["video"] + noise))
    assert noisy > 10 * real


def test_the_nearest_row_of_a_copy_is_itself():
    rows = torch.rand(6, 12, generator=torch.Generator().manual_seed(0))
    assert nearest(rows[2:4], rows).max() < 1e-3
    assert nearest(rows[2:4] + 0.1, rows).tolist() == pytest.approx([0.1, 0.1], rel=1e-3)


# ---------------------------------------------------------------- broken on purpose


def test_each_fault_is_what_it_is_called(clips):
    video = clips["video"][:3]
    assert all(fault(video).shape == video.shape for fault in BREAKINGS.values())
    assert torch.equal(freeze(video)[:, :, 7], video[:, :, 0]) and torch.equal(reverse(video)[:, :, 0], video[:, :, -1])
    mixed = shuffle(video)
    assert torch.equal(mixed[:, :, 0], video[:, :, 0]) and not torch.equal(mixed, video)
    torch.testing.assert_close(mixed.sum(2), video.sum(2))
    assert torch.equal(shuffle(video), mixed) and not torch.equal(shuffle(video, seed=1), mixed)
    assert torch.equal(half_speed(video)[:, :, 11], video[:, :, 5])
    torch.testing.assert_close(blur(video).mean(), video.mean(), atol=1e-3, rtol=0)
    assert blur(video).diff(dim=-1).abs().mean() < 0.8 * video.diff(dim=-1).abs().mean()
    assert torch.equal(exchange(video)[1, :, 6:], video[0, :, 6:])
