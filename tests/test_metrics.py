"""What the numbers mean: each metric against a closed form, a known library, or a world where the answer is plain."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import roc_auc_score

from lfdm_lite.evaluation.metrics import (
    Estimate,
    bootstrap,
    flow_magnitude,
    label_accuracy,
    mean_estimate,
    occlusion_auc,
    pairwise_flow_distance,
    psnr,
    ssim,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def video(seed: int = 0, b: int = 2, t: int = 3, size: int = 20) -> torch.Tensor:
    return torch.rand(b, 3, t, size, size, generator=generator(seed))


# ---------------------------------------------------------------- intervals


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    scores = torch.randn(400, generator=generator()) * 2 + 5
    estimate = mean_estimate(scores)
    half = 1.96 * scores.std().item() / math.sqrt(400)
    assert estimate.value == pytest.approx(scores.mean().item()) and estimate.n == 400
    assert estimate.low == pytest.approx(estimate.value - half, abs=0.03)
    assert estimate.high == pytest.approx(estimate.value + half, abs=0.03)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(100):
        estimate = mean_estimate(torch.randn(50, generator=generator(seed)), resamples=200, confidence=0.9, seed=seed)
        hits += estimate.low <= 0 <= estimate.high
    assert 80 <= hits <= 98


def test_the_same_seed_gives_the_same_interval():
    scores = torch.rand(30, generator=generator())
    assert mean_estimate(scores, seed=1) == mean_estimate(scores, seed=1) != mean_estimate(scores, seed=2)


def test_one_clip_or_equal_clips_leave_no_interval():
    assert mean_estimate(torch.tensor([3.0])) == Estimate(3.0, 3.0, 3.0, 1)
    assert mean_estimate(torch.full((5,), math.inf)).low == math.inf


def test_an_estimate_reads_as_one_line():
    assert str(Estimate(30.125, 29.5, 31.0, 120)) == "30.12 [29.5, 31] (n = 120)"


def test_nothing_has_no_mean():
    with pytest.raises(ValueError, match="at least one score"):
        mean_estimate(torch.zeros(0))
    with pytest.raises(ValueError, match="at least one score"):
        mean_estimate(torch.tensor([1.0, math.nan]))
    with pytest.raises(ValueError, match="confidence=1.5"):
        bootstrap(lambda drawn: 0.0, 3, confidence=1.5)


# ---------------------------------------------------------------- pixels


def test_an_error_of_a_tenth_everywhere_is_20_db():
    clip = video() * 0.5
    assert psnr(clip + 0.1, clip).tolist() == pytest.approx([20, 20], abs=1e-4)
    assert psnr(clip, clip).tolist() == [math.inf, math.inf]


def test_psnr_equals_scikit_image():
    a, b = video(0), video(1)
    theirs = [peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=1) for x, y in zip(a, b, strict=True)]
    assert psnr(a, b).tolist() == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("layout", ["video", "image"])
def test_ssim_equals_scikit_image(layout):
    a = video(0, size=24)
    b = (a + 0.2 * torch.randn(a.shape, generator=generator(1))).clamp(0, 1)
    if layout == "image":
        a, b = a[:, :, 0], b[:, :, 0]
    ours = ssim(a, b)
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)
    for i in range(2):
        planes = zip(a[i].flatten(0, -3).numpy(), b[i].flatten(0, -3).numpy(), strict=True)
        theirs = np.mean([structural_similarity(x, y, **options) for x, y in planes])
        assert ours[i].item() == pytest.approx(theirs, abs=1e-5)


def test_ssim_is_one_for_equal_clips_and_needs_room_for_its_window():
    clip = video()
    assert ssim(clip, clip).tolist() == pytest.approx([1, 1])
    for h, w in [(8, 8), (10, 11), (11, 10)]:
        with pytest.raises(ValueError, match=rf"images of \({h}, {w}\) pixels are smaller than the window of 11"):
            ssim(clip[..., :h, :w], clip[..., :h, :w])
    assert ssim(clip[..., :11, :11], clip[..., :11, :11]).tolist() == pytest.approx([1, 1])


# ---------------------------------------------------------------- motion


@pytest.mark.parametrize("values", ["distinct", "tied"])
def test_occlusion_auc_equals_scikit_learn(values):
    occlusion = torch.rand(1, 4, 16, 16, generator=generator())
    if values == "tied":
        occlusion = (occlusion * 4).round() / 4
    visible = (torch.rand(1, 4, 16, 16, generator=generator(1)) < 0.3 + 0.5 * occlusion).float()
    theirs = roc_auc_score((visible == 0).flatten().numpy(), (1 - occlusion).flatten().numpy())
    assert occlusion_auc(occlusion, visible) == pytest.approx(theirs, abs=1e-9)


def test_a_perfect_map_scores_one_its_opposite_zero_and_a_constant_one_half():
    visible = (torch.rand(1, 8, 8, generator=generator()) > 0.2).float()
    assert occlusion_auc(visible, visible) == 1
    assert occlusion_auc(1 - visible, visible) == 0
    assert occlusion_auc(torch.full_like(visible, 0.7), visible > 0.5) == 0.5


def test_occlusion_auc_needs_hidden_and_visible_pixels():
    with pytest.raises(ValueError, match="0 pixels are hidden and 64 visible"):
        occlusion_auc(torch.rand(8, 8), torch.ones(8, 8))
    with pytest.raises(ValueError, match="64 pixels are hidden and 0 visible"):
        occlusion_auc(torch.rand(8, 8), torch.zeros(8, 8))


def test_magnitude_of_a_constant_flow():
    flow = torch.zeros(1, 2, 3, 16, 16)
    flow[:, 0], flow[:, 1] = 0.3, 0.4
    assert flow_magnitude(flow).tolist() == pytest.approx([0.5])
    assert flow_magnitude(flow, pixels=True).tolist() == pytest.approx([4.0])


def test_pairwise_distance_compares_only_within_a_group():
    flow = torch.zeros(4, 2, 2, 4, 4)
    flow[:, 0] = torch.tensor([0.0, 1.0, 10.0, 13.0]).view(4, 1, 1, 1)
    estimate = pairwise_flow_distance(flow, torch.tensor([0, 0, 1, 1]))
    assert estimate.value == pytest.approx((1 + 3) / 2) and estimate.n == 4
    assert estimate.low <= estimate.value <= estimate.high
    assert pairwise_flow_distance(flow).value == pytest.approx(np.mean([1, 10, 13, 9, 12, 3]))


def test_the_interval_of_a_distance_is_that_of_sets_drawn_anew():
    """Each set is scored pair by pair; one without a pair of two clips says nothing new."""
    motion, group = [0.0, 1.0, 4.0, 10.0, 13.0], [0, 0, 0, 1, 1]
    flow = torch.tensor(motion).view(5, 1, 1, 1, 1) * torch.tensor([0.6, 0.8]).view(2, 1, 1, 1)
    for clips in (5, 2):
        whole = pairwise_flow_distance(flow[:clips], torch.tensor(group[:clips]), resamples=200)

        def score(drawn, whole=whole):
            gaps = [abs(motion[i] - motion[j]) for i in drawn for j in drawn if i != j and group[i] == group[j]]
            return np.mean(gaps) if gaps else whole.value

        assert (whole.low, whole.high) == pytest.approx(bootstrap(score, clips, resamples=200))
    assert whole.low == whole.high == whole.value == pytest.approx(1)


def test_equal_clips_have_no_diversity_and_single_clips_none_to_speak_of():
    same = torch.ones(3, 2, 2, 4, 4)
    assert pairwise_flow_distance(same) == Estimate(0.0, 0.0, 0.0, 3)
    with pytest.raises(ValueError, match="no group has two clips"):
        pairwise_flow_distance(same, torch.tensor([0, 1, 2]))


# ---------------------------------------------------------------- judges


def test_label_accuracy_counts_hits_from_numbers_or_logits():
    labels = torch.tensor([0, 1, 2, 1])
    logits = torch.eye(3)[torch.tensor([0, 1, 2, 0])]
    assert label_accuracy(torch.tensor([0, 1, 2, 0]), labels).value == 0.75
    assert label_accuracy(logits, labels).value == 0.75
    assert label_accuracy(labels, labels) == Estimate(1.0, 1.0, 1.0, 4)
