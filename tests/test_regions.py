"""Moments and affine frames: closed forms, equivariance, and gradients that stay finite."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfdm_lite.geometry import identity_grid
from lfdm_lite.regions import BackgroundPredictor, RegionPredictor, affine_frame, inverse_2x2, moments


def spd(angle, long, short):
    c, s = math.cos(angle), math.sin(angle)
    r = torch.tensor([[c, -s], [s, c]])
    return r @ torch.diag(torch.tensor([long, short])) @ r.mT


def test_moments_of_a_gaussian_are_its_own():
    grid, centre, covariance = identity_grid(64, 64), torch.tensor([0.2, -0.1]), spd(0.5, 0.03, 0.01)
    offset = grid - centre[:, None, None]
    density = torch.exp(-torch.einsum("ihw,ij,jhw->hw", offset, covariance.inverse(), offset) / 2)
    shift, found = moments((density / density.sum())[None, None])
    torch.testing.assert_close(shift[0, 0], centre, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[0, 0], covariance, atol=1e-4, rtol=1e-3)


def test_a_shifted_heat_map_has_a_shifted_mean_and_the_same_covariance():
    heat = torch.zeros(1, 1, 16, 16)
    heat[..., 4:7, 5:9] = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    heat = heat / heat.sum()
    shift, covariance = moments(heat)
    moved_shift, moved_covariance = moments(heat.roll((3, 2), dims=(-2, -1)))
    torch.testing.assert_close(moved_shift - shift, torch.tensor([[[4 / 16, 6 / 16]]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(moved_covariance, covariance, atol=1e-6, rtol=0)


@settings(deadline=None, max_examples=200)
@given(angle=st.floats(-3.2, 3.2), long=st.floats(1e-3, 1.0), ratio=st.floats(1e-2, 1.0))
def test_the_frame_squares_to_the_covariance(angle, long, ratio):
    covariance = spd(angle, long, long * ratio)
    a = affine_frame(covariance)
    torch.testing.assert_close(a @ a.mT, covariance, atol=2e-6, rtol=1e-4)
    assert a[:, 0].norm() >= a[:, 1].norm() - 1e-6, "the first axis is the longer one"


def test_the_frame_turns_with_the_covariance():
    turned, straight = affine_frame(spd(0.4, 0.2, 0.05)), affine_frame(spd(0.0, 0.2, 0.05))
    c, s = math.cos(0.4), math.sin(0.4)
    torch.testing.assert_close(turned @ inverse_2x2(straight), torch.tensor([[c, -s], [s, c]]), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=500)
@given(a=st.floats(0, 1), c=st.floats(0, 1), correlation=st.floats(-1, 1), equal=st.booleans(), diagonal=st.booleans())
def test_gradients_are_finite_even_where_the_eigenvalues_meet(a, c, correlation, equal, diagonal):
    c = a if equal else c
    b = 0.0 if diagonal else correlation * math.sqrt(a * c)
    covariance = torch.tensor([[a, b], [b, c]], requires_grad=True)
    frame = affine_frame(covariance)
    (frame * torch.tensor([[1.0, -2.0], [3.0, 0.5]])).sum().backward()
    assert frame.isfinite().all() and covariance.grad.isfinite().all()


def test_the_gradient_agrees_with_finite_differences_away_from_degeneracy():
    covariance = spd(0.7, 0.2, 0.03).double().requires_grad_()
    frame = lambda c: affine_frame(c, soften=0.0).sum()  # noqa: E731
    (gradient,) = torch.autograd.grad(frame(covariance), covariance)
    eps = 1e-3
    for i, j in [(0, 0), (1, 1), (0, 1)]:
        step = torch.zeros(2, 2, dtype=torch.float64)
        step[i, j] = eps
        numeric = (frame(covariance + step) - frame(covariance - step)).item() / (2 * eps)
        assert abs(gradient[i, j].item() - numeric) < 5e-3 * max(1, abs(numeric))


@pytest.mark.parametrize("how, soften", [({}, 1e-3), ({"soften": 0.1}, 0.1)])
def test_the_gradient_of_the_angle_shrinks_by_the_softened_denominator(how, soften):
    covariance = spd(0.7, 0.21, 0.2).requires_grad_()
    frame = affine_frame(covariance, **how)
    (gradient,) = torch.autograd.grad(torch.atan2(frame[1, 0], frame[0, 0]), covariance)
    # With eigenvalues a > b, the first axis turns at (axis^T dC other) / (a - b).
    c, s = math.cos(0.7), math.sin(0.7)
    exact = torch.tensor([[-c * s, (c * c - s * s) / 2], [(c * c - s * s) / 2, c * s]]) / 0.01
    torch.testing.assert_close(gradient, exact * 0.01**2 / (0.01**2 + soften * 0.41**2), rtol=1e-3, atol=1e-4)


def test_a_matrix_times_its_inverse_is_one_in_every_place_of_a_batch():
    matrix = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(2)
    torch.testing.assert_close(inverse_2x2(matrix) @ matrix, torch.eye(2).expand(3, 2, 2, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(inverse_2x2(matrix[0, 0]) @ matrix[0, 0], torch.eye(2), atol=1e-5, rtol=0)


def test_heat_maps_sum_to_one_and_regions_keep_float32_under_autocast():
    predictor = RegionPredictor(4, 8, 2, 32, 2, 0.1).eval()
    with torch.autocast("cpu", torch.bfloat16):
        regions = predictor(torch.rand(2, 3, 32, 32))
    assert regions.shift.dtype == regions.affine.dtype == torch.float32
    torch.testing.assert_close(regions.heatmap.sum((-1, -2)), torch.ones(2, 4), atol=1e-5, rtol=0)


def test_the_background_starts_at_rest():
    predictor = BackgroundPredictor(8, 2, 16, 2)
    motion = predictor(torch.rand(3, 3, 32, 32), torch.rand(3, 3, 32, 32))
    torch.testing.assert_close(motion, torch.eye(2, 3).expand(3, 2, 3))


def test_the_background_moves_in_float32_under_autocast():
    predictor = BackgroundPredictor(8, 2, 16, 2).eval()
    torch.nn.init.normal_(predictor.to_affine.weight, generator=torch.Generator().manual_seed(0))
    predictor.encoder = torch.nn.Sequential(torch.nn.Conv2d(6, 16, 1))  # whose answer differs by little in bfloat16
    source, driving = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        low = predictor(source, driving)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, predictor(source, driving), atol=0.02, rtol=0.02)


def test_the_backgrounds_channels_double_up_to_their_limit():
    encoder = BackgroundPredictor(8, 5, 40, 1).encoder
    kernels = [tuple(p.shape[1::-1]) for p in encoder.parameters() if p.ndim == 4]
    assert kernels == [(6, 8), (8, 16), (16, 32), (32, 40), (40, 40)]
