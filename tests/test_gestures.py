"""Drawn people signal with arms and hands; where every pixel came from is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lfdm_lite.data import PROCEDURAL, Gestures
from lfdm_lite.data.drawn.acting.gesturing import GESTURES, SIDES, act
from lfdm_lite.data.drawn.engine.scenes import Layer, LayerMotion, affine, colour, ellipse, everywhere, render
from lfdm_lite.data.drawn.engine.sprites import merged
from lfdm_lite.data.drawn.people.hands import Grip, hand
from lfdm_lite.data.drawn.people.signallers import signaller, subject_kit
from lfdm_lite.data.drawn.people.subjects import subject_look

from .exactness import SIZES, a_few, check_flow, check_rest, check_visibility

LABELS = Gestures.labels


def clips(size: int, num_frames: int = 4, **more) -> Gestures:
    return Gestures(size=size, num_frames=num_frames, length=2**31, **more)


def fingertips(label: str, seed: int, num_frames: int = 33) -> dict[int, torch.Tensor]:
    """(t, 2) for the image's left (-1) and right (1) hand: where its four fingers begin."""
    motion = act(label, num_frames, np.random.default_rng(seed))
    layers = signaller(subject_look(3), subject_kit(3), motion, 64)
    return {side: layers[at].motion.to_image[..., 2] for side, at in zip(SIDES, (-7, -2), strict=True)}


# ---------------------------------------------------------------- exactness


@settings(max_examples=4, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 2**31), st.integers(0, 10**6))
def test_frame_0_has_the_colours_of_frame_t_where_the_true_flow_points(size, seed, index):
    check_flow(clips(size, seed=seed), a_few(size, index))


@settings(max_examples=4, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 2**31), st.integers(0, 10**6))
def test_hidden_pixels_are_those_whose_source_is_covered(size, seed, index):
    check_visibility(clips(size, seed=seed), a_few(size, index))


@pytest.mark.parametrize("index", range(len(LABELS)))
def test_frame_0_is_at_rest(index):
    check_rest(clips(32, 3), index)


# ---------------------------------------------------------------- labels and rest


def test_frame_0_does_not_depend_on_the_gesture():
    first = [clips(32, 3).draw(label, 17, np.random.default_rng(4)) for label in LABELS]
    first = [render(layers, 32, 3).video[:, 0] for layers in first]
    for other in first[1:]:
        assert torch.equal(other, first[0])


def test_every_gesture_draws_the_same_numbers():
    after = set()
    for label in LABELS:
        rng = np.random.default_rng(5)
        act(label, 4, rng)
        after.add(rng.integers(2**62).item())
    assert len(after) == 1


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("label", LABELS)
def test_the_keys_of_a_gesture_follow_each_other(label, times):
    at = [key[0] for key in GESTURES[label](times)]
    assert at[0] > 0 and at[-1] == 1 and (np.diff(at) > 0).all()


@pytest.mark.parametrize("label", LABELS)
def test_a_gesture_moves_a_hand_far_and_smoothly(label):
    for seed in range(4):
        tips = fingertips(label, seed, 129)
        assert max((tip - tip[0]).norm(dim=-1).max() for tip in tips.values()) > 0.25
        assert max(tip.diff(dim=0).norm(dim=-1).max() for tip in tips.values()) < 0.16


@pytest.mark.parametrize("seed", range(6))
def test_turns_point_to_the_side_that_they_name_and_beckon_with_the_other_arm(seed):
    for label, side in (("turn left", -1), ("turn right", 1)):
        arms = dict(zip(SIDES, act(label, 65, np.random.default_rng(seed)).arms, strict=True))
        later = {at: torch.stack([arm.upper, arm.fore])[:, 24:56].rad2deg() for at, arm in arms.items()}
        assert (later[side] - 90).abs().max() < 15
        assert later[-side][1].max() - later[-side][1].min() > 50


@pytest.mark.parametrize("seed", range(6))
def test_brakes_go_on_with_fists_and_off_with_open_hands(seed):
    for label, closed in (("brakes on", True), ("brakes off", False)):
        for arm in act(label, 33, np.random.default_rng(seed)).arms:
            middle, last = arm.curl[14:18], arm.curl[-8:]
            assert (last.mean() > middle.mean()) == closed
            assert (last.mean() - middle.mean()).abs() > 0.5


@pytest.mark.parametrize("seed", range(6))
def test_wings_end_wide_or_folded_and_a_stop_ends_with_the_hands_together_overhead(seed):
    apart = lambda label: (lambda tips: tips[1][-6] - tips[-1][-6])(fingertips(label, seed))  # noqa: E731
    assert apart("spread wings")[0] > 1.2
    assert apart("fold wings")[0].abs() < 0.3
    assert apart("stop")[0].abs() < 0.4
    assert all(tip[-6, 1] < -0.6 for tip in fingertips("stop", seed).values())


def test_either_arm_may_lead_where_the_side_means_nothing():
    led = set()
    for seed in range(12):
        tips = fingertips("thumbs up", seed)
        led.add(max(tips, key=lambda side: (tips[side] - tips[side][0]).norm(dim=-1).max().item()))
    assert led == {-1, 1}


def test_gestures_can_be_told_apart_by_their_motion():
    """A linear classifier on the flow and the change of colours of a few clips does, so a network can."""

    def look(split, length):
        dataset = Gestures(split, size=32, num_frames=4, length=length)
        items = [dataset[i] for i in range(length)]
        motion = torch.stack([F.avg_pool2d(item["flow"][:, 1:].flatten(0, 1), 2).flatten() for item in items])
        return motion, torch.tensor([item["label"] for item in items])

    (train, labels), (test, truth) = look("train", 84), look("val", 28)
    kernel = train @ train.T
    onehot = F.one_hot(labels, len(LABELS)).float()
    weights = torch.linalg.solve(kernel + 0.1 * kernel.diagonal().mean() * torch.eye(len(train)), onehot)
    assert ((test @ train.T @ weights).argmax(1) == truth).float().mean() > 0.6


# ---------------------------------------------------------------- hands


def area(**changed: float) -> float:
    """What a hand covers, as a share of the image."""
    state = dict(angle=0.0, length=3.0, size=3.0, curl=0.0, thumb=1.0, splay=0.7) | changed
    grip = Grip(**{name: torch.tensor([value]) for name, value in state.items()})
    ground = Layer(everywhere, lambda x, y: colour((0.0, 0.0, 1.0)), LayerMotion(affine()), (-1.0, -1.0, 1.0, 1.0))
    scene = [ground, *hand(torch.tensor([[0.0, -0.3]]), grip, 1.0, (0.9, 0.7, 0.6))]
    return (render(scene, 96, 1).owner > 0).float().mean().item()


def test_a_fist_is_smaller_than_an_open_hand_and_a_thumb_sticks_out_of_it():
    fist = area(curl=1.0, splay=-1.0)
    assert 0.4 < fist / area() < 0.8
    assert area(curl=1.0, splay=1.5) > 1.1 * fist


def test_a_hand_that_comes_nearer_grows_in_both_directions():
    assert area(size=3.6, length=3.6) == pytest.approx(1.44 * area(), rel=0.04)


# ---------------------------------------------------------------- layers drawn once


def test_merged_layers_look_like_the_layers_themselves():
    angle, x = torch.tensor([0.1, 0.5]), torch.tensor([0.0, 0.3])
    motion = LayerMotion(affine(0.8, angle, x))
    red, green, blue = (colour(rgb) for rgb in ((0.8, 0.2, 0.1), (0.1, 0.7, 0.2), (0.2, 0.2, 0.8)))
    ground = Layer(everywhere, lambda x, y: blue, LayerMotion(affine()), (-1.0, -1.0, 1.0, 1.0))
    disc = Layer(lambda x, y: ellipse(x, y, 0.6, 0.4), lambda x, y: red, motion, (-0.6, -0.4, 0.6, 0.4))
    dot = Layer(lambda x, y: ellipse(x - 0.5, y, 0.2, 0.2), lambda x, y: green, motion, (0.3, -0.2, 0.7, 0.2))
    apart, one = render([ground, disc, dot], 64, 2), render([ground, merged([disc, dot], motion, 0.02)], 64, 2)
    assert (apart.video - one.video).abs().mean() < 0.003
    assert ((apart.owner > 0) == (one.owner > 0)).float().mean() > 0.995
    same = (apart.owner > 0) & (one.owner > 0)
    torch.testing.assert_close(apart.flow[:, same], one.flow[:, same])


def test_nothing_to_merge_is_an_error():
    with pytest.raises(ValueError, match="nothing to merge"):
        merged([], LayerMotion(affine()), 0.02)


# ---------------------------------------------------------------- items


def test_an_item_has_what_the_library_expects():
    item = Gestures("test", size=40, num_frames=3)[9]
    assert PROCEDURAL["gestures"] is Gestures and len(Gestures("test")) == 300 and len(LABELS) >= 12
    assert item["label"] == 9 and item["label_name"] == LABELS[9] == "stop" and 2200 <= item["subject"] < 2400
    shapes = {name: tuple(item[name].shape) for name in ("video", "flow", "visible")}
    assert shapes == {"video": (3, 3, 40, 40), "flow": (2, 3, 40, 40), "visible": (1, 3, 40, 40)}
    assert 0 <= item["video"].min() and item["video"].max() <= 1


@pytest.mark.parametrize("size,num_frames", [(32, 1), (33, 2), (256, 1)])
def test_every_size_and_any_number_of_frames(size, num_frames):
    assert Gestures(size=size, num_frames=num_frames)[0]["video"].isfinite().all()


def test_one_index_is_one_clip_whatever_was_drawn_before():
    alone = Gestures("val", size=32, num_frames=3)[3]["video"]
    gestures = Gestures("val", size=32, num_frames=3, length=20)
    gestures[7], torch.manual_seed(1), np.random.seed(1)
    assert torch.equal(gestures[3]["video"], alone)
    assert not torch.equal(Gestures("val", size=32, num_frames=3, seed=1)[3]["video"], alone)


def test_other_sizes_and_frame_rates_show_the_same_clip():
    small, large = Gestures(size=32, num_frames=5)[7], Gestures(size=160, num_frames=9)[7]
    shrunk = F.avg_pool2d(large["video"][:, ::2].transpose(0, 1), 5).transpose(0, 1)
    assert (shrunk - small["video"]).abs().mean() < 0.02
    flow = F.avg_pool2d(large["flow"][:, ::2].transpose(0, 1), 5).transpose(0, 1)
    assert (flow - small["flow"]).abs().mean() < 0.02


def test_a_subject_has_the_colours_of_the_same_subject_in_faces():
    look = subject_look(3)
    video = render(clips(128, 1).draw("stop", 3, np.random.default_rng(0)), 128, 1).video[:, 0].flatten(1).T
    for shade in (look.skin, look.clothes[0]):
        assert (video - torch.tensor(shade)).abs().amax(1).min() < 0.05
