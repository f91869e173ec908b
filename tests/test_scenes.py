"""A layered scene knows where every pixel came from."""

import math

import pytest
import torch

from lfdm_lite.data.drawn.engine.proofs import colours_apart, depth_test, fault
from lfdm_lite.data.drawn.engine.scenes import (
    Clip,
    Layer,
    LayerMotion,
    affine,
    bumps,
    capsule,
    colour,
    ellipse,
    everywhere,
    rectangle,
    render,
)

RED, BLUE, GREEN = colour((1.0, 0.0, 0.0)), colour((0.0, 0.0, 1.0)), colour((0.0, 1.0, 0.0))
STILL = LayerMotion(affine())


def ground() -> Layer:
    return Layer(everywhere, lambda x, y: BLUE, STILL, (-1.0, -1.0, 1.0, 1.0))


def disc(motion: LayerMotion, radius: float = 0.3, **more) -> Layer:
    box = (-radius, -radius, radius, radius)
    return Layer(lambda x, y: ellipse(x, y, radius, radius), lambda x, y: RED, motion, box, **more)


def test_a_disc_that_moves_right_has_the_flow_that_points_back():
    shift = torch.linspace(0, 0.5, 6)
    clip = render([ground(), disc(LayerMotion(affine(x=shift)))], 64, 6)
    for frame in range(6):
        on_disc = clip.owner[frame] == 1
        assert on_disc.any()
        torch.testing.assert_close(
            clip.flow[0, frame][on_disc], torch.full((int(on_disc.sum()),), -shift[frame].item())
        )
        assert clip.flow[1, frame][on_disc].abs().max() < 1e-6
    assert (clip.flow[:, clip.owner == 0] == 0).all()


def test_ground_that_was_under_the_disc_is_hidden_and_all_else_is_visible():
    clip = render([ground(), disc(LayerMotion(affine(x=torch.tensor([0.0, 0.5]))))], 64, 2)
    uncovered = (clip.owner[0] == 1) & (clip.owner[1] == 0)
    assert uncovered.any()
    assert torch.equal(clip.visible[0, 1], ~uncovered)


def test_what_comes_in_from_outside_the_image_is_hidden():
    wall = Layer(everywhere, lambda x, y: RED, LayerMotion(affine(x=torch.tensor([0.0, 0.25]))), (-2.0, -2.0, 2.0, 2.0))
    clip = render([wall], 32, 2)
    assert torch.equal(clip.visible[0, 1], (torch.arange(32) >= 4).expand(32, 32))


def test_a_turn_and_a_zoom_come_back_to_where_they_started():
    angle, scale = torch.tensor([0.3, 0.9]), torch.tensor([1.0, 1.6])
    motion = LayerMotion(affine(scale, angle, torch.tensor([0.1, -0.2]), 0.05))
    x, y = torch.rand(2, 1, 5, 5).mul(2).sub(1).unbind(0)
    for frame in range(2):
        there = LayerMotion(motion.to_image[frame : frame + 1])
        back = there.to_canonical(*there.to_rest(x, y))
        torch.testing.assert_close(torch.stack(back), torch.stack([x, y]), atol=1e-5, rtol=0)


def test_a_clip_shows_a_layer_only_inside_its_opening():
    opening = Clip(lambda x, y: ellipse(x, y, 0.15, 0.15), STILL)
    clip = render([ground(), disc(STILL, clip=opening)], 64, 1)
    area = (clip.owner[0] == 1).float().mean() * 4
    assert area == pytest.approx(math.pi * 0.15**2, rel=0.1)


def test_a_layer_that_is_half_transparent_tints_and_owns_nothing():
    clip = render([ground(), disc(STILL, opacity=0.25)], 32, 1)
    assert (clip.owner == 0).all()
    torch.testing.assert_close(clip.video[:, 0, 16, 16], torch.tensor([0.25, 0.0, 0.75]))


def test_the_box_of_a_layer_only_saves_work():
    motion = LayerMotion(affine(1.0, torch.linspace(0, 1, 4), torch.linspace(0, 0.4, 4), -0.1))
    tight, loose = disc(motion), disc(motion)
    loose = Layer(loose.shape, loose.paint, motion, (-3.0, -3.0, 3.0, 3.0))
    for a, b in zip(render([ground(), tight], 48, 4), render([ground(), loose], 48, 4), strict=True):
        assert torch.equal(a, b)


def test_a_layer_that_leaves_the_image_is_gone():
    gone = disc(LayerMotion(affine(x=torch.tensor([5.0, 5.0]))))
    assert torch.equal(render([ground(), gone], 32, 2).video, render([ground()], 32, 2).video)


@pytest.mark.parametrize(
    "shape",
    [
        lambda x, y: ellipse(x, y, 0.5, 0.5),
        lambda x, y: rectangle(x, y, 0.5, 0.3, 0.1),
        lambda x, y: capsule(x, y, -0.3, 0.0, 0.3, 0.2, 0.1),
    ],
)
def test_shapes_measure_distance(shape):
    x, y = (torch.rand(2, 200, dtype=torch.float64) * 2 - 1).requires_grad_(True).unbind(0)
    (gx, gy) = torch.autograd.grad(shape(x, y).sum(), (x, y))
    assert gx.hypot(gy).median() == pytest.approx(1, abs=1e-3)


def test_many_bumps_at_once_are_the_sum_of_single_ones():
    x, y = torch.rand(2, 3, 4, 5).mul(2).sub(1).unbind(0)
    hills, weights = torch.tensor([[[0.1, -0.2, 0.3, 0.2], [0.0, 0.4, 0.1, 0.5]]]), torch.tensor([[[1.0, -2.0]]])
    one = lambda cx, cy, rx, ry: (-((x - cx) / rx).square() / 2 - ((y - cy) / ry).square() / 2).exp()  # noqa: E731
    expected = one(0.1, -0.2, 0.3, 0.2) - 2 * one(0.0, 0.4, 0.1, 0.5)
    torch.testing.assert_close(bumps(x, y, hills, weights)[0], expected, atol=1e-5, rtol=0)


def test_a_scene_without_layers_and_a_motion_of_another_length_are_refused():
    with pytest.raises(ValueError, match="at least one layer"):
        render([], 32, 1)
    with pytest.raises(ValueError, match="moves for 3 frames, the clip has 2"):
        render([ground(), disc(LayerMotion(affine(x=torch.zeros(3))))], 32, 2)


# ---------------------------------------------------------------- what a scene owes


def rolling() -> list[Layer]:
    """A disc with a gradient as paint rolls behind a bar."""
    shift = torch.linspace(0, 1, 6)
    painted = disc(LayerMotion(affine(1.0, shift / 0.3, shift - 0.5)))
    painted = Layer(painted.shape, lambda x, y: (RED * x + GREEN * y) + 0.5, painted.motion, painted.box)
    bar = Layer(
        lambda x, y: rectangle(x, y, 0.1, 0.8), lambda x, y: GREEN, LayerMotion(affine(x=0.3)), (-0.1, -0.8, 0.1, 0.8)
    )
    return [ground(), painted, bar]


def test_true_flow_finds_the_colours_again_and_flow_of_the_wrong_sign_does_not():
    clip = render(rolling(), 48, 6)
    along, still = colours_apart(rolling(), clip.flow, clip.visible)
    assert along < 0.02 < 0.1 < still
    assert colours_apart(rolling(), -clip.flow, clip.visible)[0] > 0.05


def test_the_depth_test_confirms_visibility_and_not_that_all_is_visible():
    clip = render(rolling(), 48, 6)
    seen = depth_test(rolling(), clip.flow, clip.owner)
    assert (seen == clip.visible).float().mean() > 0.99
    assert 0.9 < seen.float().mean() < 0.99


def test_the_depth_test_looks_through_openings_and_tints():
    opening = Clip(lambda x, y: ellipse(x, y, 0.15, 0.15), STILL)
    tint = disc(LayerMotion(affine(x=torch.linspace(0, 0.3, 3))), opacity=0.3)
    scene = [ground(), disc(STILL, clip=opening), tint]
    clip = render(scene, 48, 3)
    assert depth_test(scene, clip.flow, clip.owner).float().mean() > 0.99


def test_a_mask_a_turned_sign_and_a_motion_of_another_length_are_named():
    good = disc(LayerMotion(affine(x=torch.zeros(6))))
    mask = Layer(lambda x, y: good.shape(x, y) < 0, good.paint, good.motion, good.box)
    turned = Layer(lambda x, y: -good.shape(x, y), good.paint, good.motion, good.box)
    assert fault(good, 6) is None and fault(disc(STILL), 6) is None
    assert "no mask" in fault(mask, 6) and "sign" in fault(turned, 6)
    assert fault(good, 9) == "the layer moves for 6 frames, the scene has 9 (or give 1: at rest)"
