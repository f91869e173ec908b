"""Warping: identity, linearity, translation, borders, and one meaning of the corners."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lfdm_lite.geometry import RandomTransform, beside, identity_grid, in_float32, resize, sample_at, warp


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_grid_holds_pixel_centres():
    torch.testing.assert_close(identity_grid(1, 4)[0, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    torch.testing.assert_close(identity_grid(2, 1)[1, :, 0], torch.tensor([-0.5, 0.5]))


def test_grid_refuses_an_empty_image():
    with pytest.raises(ValueError, match="at least one row"):
        identity_grid(0, 4)


@settings(deadline=None, max_examples=20)
@given(h=st.integers(1, 40), w=st.integers(1, 40))
def test_identity_flow_changes_nothing(h, w):
    image = random(2, 3, h, w)
    rounding = 1e-7 * max(h, w)  # of a float32 position, in pixels; sizes that are powers of two round to nothing
    torch.testing.assert_close(warp(image, torch.zeros(2, 2, h, w)), image, atol=1e-6 + rounding, rtol=0)


def test_identity_flow_is_exact_at_powers_of_two():
    image = random(2, 3, 64, 128)
    torch.testing.assert_close(warp(image, torch.zeros(2, 2, 64, 128)), image, atol=1e-7, rtol=0)


@settings(deadline=None, max_examples=20)
@given(a=st.floats(-2, 2), b=st.floats(-2, 2))
def test_warp_is_linear_in_the_features(a, b):
    x, y, flow = random(1, 2, 9, 7), random(1, 2, 9, 7, seed=1), random(1, 2, 9, 7, seed=2) - 0.5
    torch.testing.assert_close(warp(a * x + b * y, flow), a * warp(x, flow) + b * warp(y, flow), atol=1e-5, rtol=0)


def test_flow_of_one_pixel_reads_the_right_neighbour_and_repeats_the_border():
    image = torch.arange(5.0).expand(1, 1, 3, 5)
    flow = torch.zeros(1, 2, 3, 5)
    flow[:, 0] = 2 / 5  # one pixel to the right
    torch.testing.assert_close(warp(image, flow)[0, 0, 0], torch.tensor([1.0, 2, 3, 4, 4]))


def test_warp_agrees_with_torch_given_the_same_convention():
    x, flow = random(2, 3, 8, 12), 0.6 * (random(2, 2, 8, 12, seed=3) - 0.5)
    theta = torch.eye(2, 3).expand(2, 2, 3)
    grid = F.affine_grid(theta, (2, 3, 8, 12), align_corners=False) + flow.permute(0, 2, 3, 1)
    torch.testing.assert_close(warp(x, flow), F.grid_sample(x, grid, padding_mode="border", align_corners=False))


def test_one_source_for_all_frames_equals_frame_by_frame():
    image, flow = random(2, 3, 8, 8), 0.5 * (random(2, 2, 5, 8, 8, seed=4) - 0.5)
    occlusion = random(2, 1, 5, 8, 8, seed=5)
    together = warp(image, flow, occlusion)
    one_by_one = [warp(image, flow[:, :, t], occlusion[:, :, t]) for t in range(5)]
    torch.testing.assert_close(together, torch.stack(one_by_one, dim=2))


def test_a_video_is_warped_frame_by_frame():
    video, flow = random(2, 3, 5, 8, 8), 0.5 * (random(2, 2, 5, 8, 8, seed=4) - 0.5)
    one_by_one = [warp(video[:, :, t], flow[:, :, t]) for t in range(5)]
    torch.testing.assert_close(warp(video, flow), torch.stack(one_by_one, dim=2))


def test_warp_names_both_sizes_when_they_differ():
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\).*\(1, 2, 4, 4\)"):
        warp(torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 4, 4))


def test_each_image_needs_a_flow_of_its_own():
    with pytest.raises(ValueError, match="the same batch"):
        warp(torch.zeros(2, 3, 4, 4), torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="one flow per frame"):
        warp(torch.zeros(1, 3, 5, 4, 4), torch.zeros(1, 2, 4, 4))


def test_positions_stay_exact_under_autocast():
    image, flow = random(1, 3, 64, 64), torch.full((1, 2, 64, 64), 1.3 / 64)
    with torch.autocast("cpu", torch.bfloat16):
        low = warp(image, flow)
    torch.testing.assert_close(low, warp(image, flow), atol=1e-6, rtol=0)


def test_a_resized_flow_means_the_same_motion():
    flow = torch.full((1, 2, 16, 16), 0.25)
    torch.testing.assert_close(resize(flow, 64), torch.full((1, 2, 64, 64), 0.25))
    ramp = identity_grid(16, 16)[None]
    inside = resize(ramp, 64)[..., 2:-2, 2:-2]
    torch.testing.assert_close(inside, identity_grid(64, 64)[None, :, 2:-2, 2:-2], atol=1e-6, rtol=0)


def test_resize_of_a_video_equals_resize_of_its_frames():
    video = random(2, 3, 4, 16, 16)
    torch.testing.assert_close(resize(video, 8)[:, :, 2], resize(video[:, :, 2], 8))


def test_an_axis_that_shrinks_is_smoothed_whatever_the_other_does():
    image = (torch.arange(32) % 8 == 0).float().expand(1, 2, 32, 32)  # each eighth pixel: looked up, hardly ever found
    for across, size in [(image, (32, 4)), (image.mT, (4, 32)), (image, (64, 4)), (image.mT, (4, 64))]:
        torch.testing.assert_close(resize(across, size), torch.full((1, 2, *size), 1 / 8), atol=0.05, rtol=0)


def test_what_has_its_size_already_comes_back_itself():
    for maps in (random(2, 3, 8, 6), random(2, 3, 4, 8, 6)):
        assert resize(maps, (8, 6)) is maps


def test_the_gradient_of_a_warp_is_the_slope_of_the_image():
    ramp = identity_grid(1, 8)[:1][None].clone()  # the value at x is x
    flow = torch.zeros(1, 2, 1, 8, requires_grad=True)
    warp(ramp, flow).sum().backward()
    torch.testing.assert_close(flow.grad[0, 0, 0, 1:-1], torch.ones(6))


def test_the_random_transform_has_the_jacobian_that_autograd_finds():
    transform = RandomTransform(2, 0.1, 0.02, generator=torch.Generator().manual_seed(0))
    points = (2 * random(2, 7, 2) - 1).requires_grad_()
    moved = transform(points)
    rows = [torch.autograd.grad(moved[..., i].sum(), points, retain_graph=True)[0] for i in range(2)]
    torch.testing.assert_close(transform.jacobian(points), torch.stack(rows, dim=2), atol=1e-5, rtol=1e-4)


def test_a_transform_and_its_jacobian_stay_exact_under_autocast():
    transform, points = RandomTransform(2, generator=torch.Generator().manual_seed(0)), 2 * random(2, 7, 2) - 1
    for exact in (transform, transform.jacobian):
        with torch.autocast("cpu", torch.bfloat16):
            low = exact(points)
        torch.testing.assert_close(low, exact(points), atol=1e-6, rtol=0)


def test_a_function_outside_autocast_keeps_its_name_and_what_it_says():
    assert in_float32(warp).__name__ == "warp" and in_float32(warp).__doc__ == warp.__doc__


def test_the_spline_hangs_on_five_points_an_axis_from_edge_to_edge():
    points = RandomTransform(1).control_points
    assert {(x, y) for x, y in points.tolist()} == {(x / 2, y / 2) for x in range(-2, 3) for y in range(-2, 3)}


def test_a_transform_without_spread_is_the_identity():
    transform = RandomTransform(2, 0.0, 0.0)
    image = random(2, 3, 12, 12)
    torch.testing.assert_close(transform.frames(image), image, atol=1e-5, rtol=0)


def test_a_transformed_image_shows_at_z_what_stood_at_the_moved_z():
    transform = RandomTransform(1, generator=torch.Generator().manual_seed(1))
    coordinates = identity_grid(64, 64)[None]
    moved = transform(identity_grid(64, 64).flatten(1).mT[None])
    inside = moved.abs().amax(-1) < 0.9
    shown = sample_at(coordinates, moved.mT.reshape(1, 2, 64, 64)).flatten(2).mT
    torch.testing.assert_close(transform.frames(coordinates).flatten(2).mT[inside], shown[inside], atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_position_that_is_no_number_harms_neither_memory_nor_its_neighbours(wrong):
    features = torch.rand(1, 2, 6, 6, requires_grad=True)
    flow = torch.zeros(1, 2, 6, 6)
    flow[0, :, 2, 3] = wrong
    flow.requires_grad_()
    warped = warp(features, flow)
    warped.sum().backward()
    others = torch.ones(6, 6, dtype=torch.bool)
    others[2, 3] = False
    torch.testing.assert_close(warped[..., others], features[..., others])
    assert features.grad.isfinite().all() and flow.grad[..., others].isfinite().all()


def test_a_flow_without_end_reads_the_border_it_points_to():
    image = torch.arange(5.0).expand(1, 1, 5, 5)
    flow = torch.zeros(1, 2, 5, 5)
    for far, border in [(float("inf"), 4.0), (-float("inf"), 0.0)]:
        flow[:, 0] = far
        torch.testing.assert_close(warp(image, flow), torch.full((1, 1, 5, 5), border))
        torch.testing.assert_close(warp(image.mT, flow.flip(1)), torch.full((1, 1, 5, 5), border))


def test_channels_lie_beside_one_another_where_pixels_do_not():
    maps = torch.zeros(2, 8, 6, 6)
    assert beside(maps.to(memory_format=torch.channels_last))
    for order in (maps, maps.mT, maps[:, :1].to(memory_format=torch.channels_last), maps[..., :1, :1].contiguous()):
        assert not beside(order)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_warp_and_its_gradient_lie_in_memory_as_the_features_do(order, dtype):
    features = torch.rand(2, 8, 6, 6, dtype=dtype).to(memory_format=order).requires_grad_()
    warped = warp(features, 0.1 * torch.randn(2, 2, 6, 6))
    assert (warped.dtype, beside(warped)) == (dtype, order == torch.channels_last)
    (gradient,) = torch.autograd.grad(warped.float().square().sum(), features)
    assert (gradient.dtype, beside(gradient)) == (dtype, order == torch.channels_last)


def test_a_warp_can_be_differentiated_and_mapped_as_a_function():
    features, flow = torch.rand(3, 1, 2, 6, 6), 0.1 * torch.randn(3, 1, 2, 6, 6)
    total = lambda maps, flow: warp(maps, flow).square().sum()  # noqa: E731
    found = torch.func.vmap(torch.func.grad(total, argnums=(0, 1)))(features, flow)
    for i in range(3):
        inputs = features[i].clone().requires_grad_(), flow[i].clone().requires_grad_()
        for ours, expected in zip(found, torch.autograd.grad(total(*inputs), inputs), strict=True):
            torch.testing.assert_close(ours[i], expected)


def test_points_that_all_images_share_move_as_points_of_each_do():
    transform, points = RandomTransform(3), torch.rand(1, 7, 2)
    torch.testing.assert_close(transform(points), transform(points.expand(3, -1, -1)))
