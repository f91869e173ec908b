"""Flow pictures, flow errors, and classical estimators on motion that is known."""

import math

import numpy as np
import pytest
import torch
from skimage.registration import optical_flow_ilk, optical_flow_tvl1

from lfdm_lite.flow import (
    colour_wheel,
    end_point_error,
    flow_to_rgb,
    forward_backward_check,
    horn_schunck,
    in_pixels,
    lucas_kanade,
    normalized,
)
from lfdm_lite.geometry import identity_grid, resize, warp

SIZE = 64


def texture(seed: int = 0, size: int = SIZE, channels: int = 1) -> torch.Tensor:
    """A smooth random picture in [0, 1] with detail at several scales."""
    generator = torch.Generator().manual_seed(seed)
    grids = [torch.rand(1, channels, n, n, generator=generator) for n in (5, 11, 23)]
    total = sum(resize(grid, size) / (k + 1) for k, grid in enumerate(grids))
    return (total - total.amin()) / (total.amax() - total.amin())


def translation(x: float, y: float, size: int = SIZE) -> torch.Tensor:
    """A constant flow of x and y pixels, normalized."""
    return torch.tensor([2 * x / size, 2 * y / size]).view(1, 2, 1, 1).expand(1, 2, size, size).clone()


def affine_motion(angle: float = 0.06, zoom: float = 1.04, size: int = SIZE) -> torch.Tensor:
    """A rotation and zoom about the centre."""
    turn = zoom * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    grid = identity_grid(size, size)
    return (torch.einsum("ij,jhw->ihw", turn, grid) - grid)[None]


def inner(flow: torch.Tensor, margin: int = 6) -> torch.Tensor:
    return flow[..., margin:-margin, margin:-margin]


def error(flow: torch.Tensor, target: torch.Tensor) -> float:
    """Mean end-point error in pixels, away from the border."""
    return inner(in_pixels(flow) - in_pixels(target)).norm(dim=1).mean().item()


MOTIONS = {
    "half a pixel": translation(0.5, -0.5),
    "five pixels": translation(5.0, 2.0),
    "rotation and zoom": affine_motion(),
}


@pytest.mark.parametrize("motion", MOTIONS.values(), ids=MOTIONS.keys())
@pytest.mark.parametrize("estimate", [lucas_kanade, horn_schunck])
def test_known_motion_is_found_to_a_tenth_of_a_pixel(estimate, motion):
    source = texture()
    driving = warp(source, motion)
    assert error(estimate(source, driving), motion) < 0.1


@pytest.mark.parametrize("motion", MOTIONS.values(), ids=MOTIONS.keys())
@pytest.mark.parametrize("estimate", [lucas_kanade, horn_schunck])
def test_no_worse_than_estimators_in_use(estimate, motion):
    source = texture(seed=1)
    driving = warp(source, motion)
    errors = []
    for theirs in (optical_flow_ilk, optical_flow_tvl1):
        rows, columns = theirs(driving[0, 0].numpy(), source[0, 0].numpy())
        flow = torch.from_numpy(np.stack([columns, rows]).astype(np.float32))[None]
        errors.append(error(normalized(flow), motion))
    assert error(estimate(source, driving), motion) <= 1.1 * min(errors) + 0.03


@pytest.mark.parametrize("estimate", [lucas_kanade, horn_schunck])
def test_warping_the_source_by_the_estimate_gives_the_driving_frame(estimate):
    source = texture(seed=2, channels=3)
    driving = warp(source, affine_motion())
    before = inner(source - driving).abs().mean()
    after = inner(warp(source, estimate(source, driving)) - driving).abs().mean()
    assert after < before / 10


@pytest.mark.parametrize("estimate", [lucas_kanade, horn_schunck])
def test_equal_frames_and_flat_frames_do_not_move(estimate):
    picture, flat = texture(), torch.full((1, 3, 16, 16), 0.5)
    assert estimate(picture, picture).abs().max() < 1e-4
    assert estimate(flat, flat).abs().max() == 0


@pytest.mark.parametrize("estimate", [lucas_kanade, horn_schunck])
def test_estimates_on_wide_images_and_in_pixels(estimate):
    source = resize(texture(size=96), (48, 96))
    motion = normalized(torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 48, 96))
    flow = estimate(source, warp(source, motion), pixels=True)
    torch.testing.assert_close(inner(flow).mean(dim=(0, 2, 3)), torch.tensor([2.0, -1.0]), atol=0.1, rtol=0)


@pytest.mark.parametrize("estimate", [lucas_kanade, horn_schunck])
def test_a_batch_is_estimated_clip_by_clip(estimate):
    source = torch.cat([texture(0), texture(1)])
    driving = torch.cat([warp(texture(0), translation(1, 0)), warp(texture(1), translation(0, 1))])
    both = estimate(source, driving)
    torch.testing.assert_close(both[1:], estimate(source[1:], driving[1:]), atol=1e-4, rtol=1e-3)


def test_impossible_requests_are_refused():
    picture = texture()
    with pytest.raises(ValueError, match="expected at least 1"):
        lucas_kanade(picture, picture, levels=0)
    with pytest.raises(ValueError, match="window is 0"):
        lucas_kanade(picture, picture, window=0.0)
    with pytest.raises(ValueError, match="smoothness"):
        horn_schunck(picture, picture, smoothness=0.0)


def test_what_comes_from_behind_a_square_is_found_hidden():
    size, x = 32, identity_grid(32, 32)
    square = ((x[0].abs() < 0.4) & (x[1].abs() < 0.4)).float()  # at rest in the source
    moved = torch.roll(square, 4, dims=1)  # four pixels to the right in the driving frame
    flow = translation(-4, 0, size) * moved  # backward: look four pixels to the left
    inverse = translation(4, 0, size) * square
    hidden = (square > moved).float()  # uncovered background: the square stood there
    visible = forward_backward_check(flow, inverse)[0, 0]
    assert visible[hidden > 0].max() == 0
    assert visible[hidden == 0].mean() > 0.95


def test_consistent_flows_hide_nothing():
    assert forward_backward_check(translation(3, 1), translation(-3, -1)).min() == 1


# ---------------------------------------------------------------- error


def test_end_point_error_of_a_three_four_five_triangle():
    flow = translation(3, 4)
    assert end_point_error(flow, torch.zeros_like(flow), pixels=True).item() == pytest.approx(5, rel=1e-5)
    assert end_point_error(flow, torch.zeros_like(flow)).item() == pytest.approx(5 * 2 / SIZE, rel=1e-5)
    assert end_point_error(flow, flow).item() == 0


def test_end_point_error_in_pixels_knows_that_a_wide_image_has_wide_units():
    flow = torch.zeros(1, 2, 10, 20)
    flow[:, 0] = 0.1
    assert end_point_error(flow, torch.zeros_like(flow), pixels=True).item() == pytest.approx(1.0, rel=1e-5)


def test_end_point_error_counts_only_what_the_mask_keeps():
    flow = torch.zeros(1, 2, 3, 4, 4)
    flow[:, 0, 1] = 1.0
    mask = torch.zeros(1, 1, 3, 4, 4)
    mask[:, :, 1] = 1.0
    assert end_point_error(flow, torch.zeros_like(flow), mask).item() == 1.0
    assert end_point_error(flow, torch.zeros_like(flow), mask > 0.5).item() == 1.0
    with pytest.raises(ValueError, match="no pixel"):
        end_point_error(flow, flow, 0 * mask)


def test_pixels_and_normalized_units_are_inverse():
    flow = torch.randn(2, 2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normalized(in_pixels(flow)), flow)


# ---------------------------------------------------------------- colours


def rgb_of(x: float, y: float, **options) -> list[float]:
    flow = torch.tensor([float(x), float(y)]).view(2, 1, 1)
    return flow_to_rgb(flow, **options).flatten().tolist()


def test_the_wheel_has_55_pure_hues_and_runs_through_the_six_corners():
    wheel = colour_wheel()
    assert wheel.shape == (55, 3)
    assert (wheel.amax(1) == 1).all() and (wheel.amin(1) == 0).all()
    starts = [0, 15, 21, 25, 36, 49]
    corners = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]]
    assert wheel[starts].tolist() == corners


def test_no_motion_is_white():
    assert flow_to_rgb(torch.zeros(2, 2, 3, 4, 4)).min() == 1


def test_each_direction_has_its_colour():
    assert rgb_of(1, 0) == pytest.approx([1, 0, 0])  # right: red
    red, green, blue = rgb_of(0, 1)  # down: yellow
    assert red == 1 and green > 0.8 and blue == 0
    red, green, blue = rgb_of(-1, 0)  # left: cyan
    assert red == 0 and green > 0.7 and blue == 1
    red, green, blue = rgb_of(0, -1)  # up: violet
    assert 0.2 < red < 0.9 and green == 0 and blue == 1


def test_colours_run_around_the_wheel_without_a_jump():
    angle = torch.linspace(0, 2 * math.pi, 721)
    rgb = flow_to_rgb(torch.stack([angle.cos(), angle.sin()])[:, None])
    assert rgb.diff(dim=-1).abs().max() < 0.05
    assert rgb.min() >= 0 and rgb.max() <= 1


def test_longer_motion_is_deeper_and_beyond_the_limit_darker():
    depth = [rgb_of(x, 0, max_norm=1.0)[1] for x in (0.0, 0.25, 0.5, 1.0)]
    assert depth == pytest.approx([1, 0.75, 0.5, 0])
    assert rgb_of(2, 0, max_norm=1.0) == pytest.approx([0.75, 0, 0])


def test_a_limit_that_is_the_flows_own_length_up_to_rounding_darkens_nothing():
    flow = torch.randn(400, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    longest = [one.double().norm(dim=0).max().item() for one in flow]
    for shift in (1 - 1e-7, 1, 1 + 1e-7):
        for one, norm in zip(flow, longest, strict=True):
            torch.testing.assert_close(flow_to_rgb(one, max_norm=norm * shift), flow_to_rgb(one), atol=1e-5, rtol=0)


def test_the_limit_may_be_in_pixels():
    flow = translation(4, 0)
    torch.testing.assert_close(flow_to_rgb(flow, max_norm=8, pixels=True), flow_to_rgb(flow, max_norm=8 * 2 / SIZE))


@pytest.mark.parametrize("shape", [(2, 5, 6), (4, 2, 5, 6), (2, 2, 5, 6), (4, 2, 3, 5, 6), (2, 7, 5, 6)])
def test_every_layout_of_a_flow_gives_a_picture_of_the_same_layout(shape):
    axis = 0 if shape in ((2, 5, 6), (2, 7, 5, 6)) else 1
    expected = tuple(3 if i == axis else n for i, n in enumerate(shape))
    flow = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert flow_to_rgb(flow).shape == expected


def test_a_flow_of_a_wrong_shape_or_limit_is_refused():
    with pytest.raises(ValueError, match="max_norm is 0"):
        rgb_of(1, 0, max_norm=0.0)
