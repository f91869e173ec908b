"""Distances between sets of videos: closed forms, independent references, and what few clips and few people do."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.metrics.pairwise import polynomial_kernel

from lfdm_lite.evaluation.distances import (
    bias_curve,
    frechet_across,
    frechet_at_infinity,
    frechet_distance,
    gaussian_distance,
    kernel_distance,
)
from lfdm_lite.evaluation.intervals import bootstrap, mean_estimate, ratio_estimate
from lfdm_lite.evaluation.metrics import label_accuracy, pairwise_flow_distance


def rows(n: int, d: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def both(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    return frechet_distance(a, b, resamples=1).value, kernel_distance(a, b, resamples=1).value


# ---------------------------------------------------------------- closed forms and references


@pytest.mark.parametrize("n, m, d", [(60, 80, 5), (9, 12, 30), (3, 40, 20)])
def test_frechet_distance_equals_the_formula_with_scipys_matrix_root(n, m, d):
    a, b = rows(n, d), 0.5 + 2 * rows(m, d, seed=1)
    cov_a, cov_b = (np.cov(x.numpy().T) for x in (a, b))
    root = scipy.linalg.sqrtm(cov_a @ cov_b)  # `disp` is gone from scipy 1.18; complex where ranks are short
    shift = float((a.mean(0) - b.mean(0)).square().sum())
    expected = shift + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root).real
    assert frechet_distance(a, b, resamples=1).value == pytest.approx(expected, rel=1e-5)
    means = a.mean(0).numpy(), b.mean(0).numpy()
    assert gaussian_distance(means[0], cov_a, means[1], cov_b) == pytest.approx(expected, rel=1e-5)


def test_distance_of_diagonal_gaussians_is_that_of_their_standard_deviations():
    a, b = np.diag([1.0, 4.0]), np.diag([9.0, 0.0])
    assert gaussian_distance(np.zeros(2), a, np.array([3.0, 0.0]), b) == pytest.approx(9 + (1 - 3) ** 2 + (2 - 0) ** 2)


def test_two_gaussians_are_as_far_apart_as_in_closed_form():
    n, d = 40_000, 3
    shift, scale = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64), 3.0
    value = frechet_distance(rows(n, d), shift + scale * rows(n, d, seed=1), resamples=1).value
    assert value == pytest.approx(5 + d * (scale - 1) ** 2, rel=0.03)


def test_kernel_distance_is_the_unbiased_estimator_on_the_published_kernel():
    a, b = rows(20, 6).numpy(), 0.3 + rows(15, 6, seed=1).numpy()

    def mean_of_pairs(x: np.ndarray) -> float:
        k = polynomial_kernel(x, degree=3, gamma=1 / 6, coef0=1)
        return (k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))

    across = polynomial_kernel(a, b, degree=3, gamma=1 / 6, coef0=1).mean()
    expected = mean_of_pairs(a) + mean_of_pairs(b) - 2 * across
    _, value = both(torch.from_numpy(a), torch.from_numpy(b))
    assert value == pytest.approx(expected, rel=1e-9)
    curve = bias_curve(torch.from_numpy(a), torch.from_numpy(b), [15], draws=1)
    assert math.isfinite(curve[0].kernel)


def test_kernel_distance_is_right_on_average_however_few_the_clips_and_frechet_distance_is_not():
    values = np.array([both(rows(6, 4, 2 * k), rows(6, 4, 2 * k + 1)) for k in range(120)])
    spread = values[:, 1].std() / math.sqrt(len(values))
    assert abs(values[:, 1].mean()) < 3 * spread, "two sets of one kind: 0"
    assert values[:, 0].mean() > 1, "of the same sets"


# ---------------------------------------------------------------- what must hold


@pytest.mark.parametrize("n, d", [(50, 4), (8, 64), (2, 10)])
def test_equal_sets_have_no_distance(n, d):
    a = rows(n, d).float()
    assert frechet_distance(a, a, resamples=1).value == pytest.approx(0, abs=1e-6)
    people = torch.arange(n)
    assert kernel_distance(a, a, subject=people, resamples=1).value == pytest.approx(0, abs=1e-9)


def test_the_order_of_clips_says_nothing():
    a, b = rows(30, 8), 1 + rows(30, 8, seed=1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    assert both(a, b) == pytest.approx(both(a[order], b.flip(0)))
    assert both(a, b) == pytest.approx(both(b, a))


def test_fewer_clips_than_features_and_constant_features_give_finite_numbers():
    a, b = rows(12, 40).float(), rows(12, 40, seed=1).float()
    a[:, ::2], b[:, 1::3] = 1.0, 0.0
    people = torch.arange(12) // 2
    for measure in (frechet_distance, kernel_distance):
        for subject in (None, people):
            estimate = measure(a, b, resamples=20, subject=subject)
            assert all(math.isfinite(x) for x in (estimate.value, estimate.low, estimate.high))
            assert estimate.low <= estimate.value <= estimate.high
    assert frechet_distance(a * 0, b * 0, resamples=3).value == 0


def test_a_farther_set_has_a_larger_distance_and_the_interval_follows():
    a = rows(120, 5)
    for measure in (frechet_distance, kernel_distance):
        near, far = (measure(a, rows(120, 5, seed=1) + s, resamples=100) for s in (0.1, 1.0))
        assert near.value < far.value and near.high < far.low


def test_features_that_cannot_be_compared_are_refused():
    good = rows(5, 3)
    for measure in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match="at least two clips"):
            measure(good[:1], good)
        with pytest.raises(ValueError, match="finite"):
            measure(good, good / 0)
        for people in ({"subject": torch.arange(4)}, {"subject_b": torch.arange(5)}):
            with pytest.raises(ValueError, match="expected one of each clip"):
                measure(good, good, **people)
        with pytest.raises(ValueError, match="expected one of each clip"):
            measure(good, rows(6, 3), subject=torch.arange(5))
    with pytest.raises(ValueError, match="of one person"):
        kernel_distance(good, good, subject=torch.zeros(5, dtype=torch.long))


# ---------------------------------------------------------------- few clips


def test_the_bias_falls_with_the_clips_and_the_line_through_it_takes_most_of_it_off():
    a, b = rows(600, 6), rows(600, 6, seed=1)
    curve = bias_curve(a, b, [10, 40, 160, 600], draws=8)
    frechet = [at.frechet for at in curve]
    assert frechet == sorted(frechet, reverse=True) and frechet[0] > 20 * frechet[-1]
    assert all(abs(at.kernel) < 3 * at.kernel_spread + 0.05 for at in curve[:3])
    assert curve[-1].frechet == pytest.approx(both(a, b)[0]) and curve[-1].kernel == pytest.approx(both(a, b)[1])
    assert abs(frechet_at_infinity(a[:150], b[:150])) < 0.3 * both(a[:150], b[:150])[0]
    with pytest.raises(ValueError, match="from 2 to 600"):
        bias_curve(a, b, [700])
    with pytest.raises(ValueError, match="at least 8"):
        frechet_at_infinity(a[:5], b)


def test_a_distance_of_each_group_is_averaged_over_groups():
    a, b, group = rows(40, 3), rows(40, 3, seed=1), torch.arange(40) % 2
    b[group == 1] += 5
    each = [both(a[group == g], b[group == g])[0] for g in (0, 1)]
    across = frechet_across(a, b, group)
    assert across.mean == pytest.approx(np.mean(each)) and across.deviation == pytest.approx(np.std(each))
    assert across.groups == 2 and across.clips == 20 and "2 groups of 20 clips" in str(across)
    lonely = torch.cat([group[:-1], torch.tensor([7])])
    assert frechet_across(a, b, lonely).groups == 2, "one clip is no group"
    with pytest.raises(ValueError, match="no group has 2 clips"):
        frechet_across(a, b, torch.arange(40))


# ---------------------------------------------------------------- people are drawn, not clips


def test_clips_of_one_person_that_are_alike_widen_the_interval_as_if_there_were_fewer():
    people = torch.arange(100) // 4
    scores = torch.randn(25, generator=torch.Generator().manual_seed(0))[people]
    by_clip, by_person = mean_estimate(scores), mean_estimate(scores, subject=people)
    ratio = (by_person.high - by_person.low) / (by_clip.high - by_clip.low)
    assert ratio == pytest.approx(2, rel=0.15), "four clips say what one does: the square root of 4"
    assert by_clip.value == by_person.value and by_person.n == 100
    everyone = mean_estimate(scores, subject=torch.arange(100))
    assert everyone.high - everyone.low == pytest.approx(by_clip.high - by_clip.low, rel=0.15)


def test_every_estimate_can_draw_people():
    people, n = torch.arange(24) // 6, 24
    a = rows(4, 3)[people] + 0.01 * rows(n, 3, seed=1)
    b = a + 0.5 * rows(4, 3, seed=2)[people]
    flow, labels = a[:, :2, None, None].float(), torch.arange(n) % 2
    right = torch.where(people == 0, labels, 1 - labels)
    pairs = [
        (ratio_estimate(a[:, 0].abs(), b[:, 0].abs(), subject=s) for s in (None, people)),
        (label_accuracy(right, labels, subject=s) for s in (None, people)),
        (pairwise_flow_distance(flow, labels, subject=s) for s in (None, people)),
        (frechet_distance(a, b, subject=s) for s in (torch.arange(n), people)),
    ]
    for by_clip, by_person in pairs:
        assert by_clip.value == pytest.approx(by_person.value)
        assert by_person.high - by_person.low > by_clip.high - by_clip.low


def test_each_person_is_drawn_with_all_clips():
    people, drawn = torch.tensor([3, 3, 9, 3, 9]), []
    bootstrap(lambda clips: drawn.append(clips.tolist()) or 0.0, 5, resamples=50, subject=people)
    assert all(clips.count(0) == clips.count(1) == clips.count(3) for clips in drawn)
    assert all(clips.count(2) == clips.count(4) for clips in drawn) and {len(clips) for clips in drawn} == {4, 5, 6}
    with pytest.raises(ValueError, match="5 clips and 4 subjects"):
        bootstrap(lambda clips: 0.0, 5, subject=people[:4])


def test_two_sides_of_other_people_are_drawn_apart():
    a, b = rows(20, 4), rows(30, 4, seed=1)
    estimate = frechet_distance(a, b, subject=torch.arange(20) // 2, subject_b=torch.arange(30) // 3)
    assert estimate.low < estimate.value < estimate.high and estimate.n == 20
    kernel = kernel_distance(a, b, subject=torch.arange(20), subject_b=20 + torch.arange(30), resamples=50)
    assert kernel.value == pytest.approx(both(a, b)[1]), "where everyone has one clip no pair is left out"
