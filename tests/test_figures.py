"""Drawn people act with their whole body; where every pixel came from is known."""

import json
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lfdm_lite.data import PROCEDURAL, Figures
from lfdm_lite.data.drawn.acting.actions import ACTIONS, Key
from lfdm_lite.data.drawn.acting.captured import read
from lfdm_lite.data.drawn.acting.performing import act, glide
from lfdm_lite.data.drawn.acting.skeletons import SIDES, Bones, Camera, reach
from lfdm_lite.data.drawn.engine.scenes import render
from lfdm_lite.data.drawn.people.bodies import figure, subject_build
from lfdm_lite.data.drawn.people.subjects import subject_look

from .exactness import SIZES, a_few, check_flow, check_rest, check_visibility

LABELS = Figures.labels


def clips(size: int, num_frames: int = 4, **more) -> Figures:
    return Figures(size=size, num_frames=num_frames, length=2**31, **more)


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


def test_frame_0_does_not_depend_on_the_action():
    look, build, camera = subject_look(17), subject_build(17), Camera(0.4, 0.1)
    first = []
    for seed, label in enumerate(LABELS):
        skeleton = act(label, build.bones, 3, np.random.default_rng(seed))
        first.append(render(figure(look, build, skeleton, camera), 32, 3).video[:, 0])
    for other in first[1:]:
        assert torch.equal(other, first[0])


def test_every_action_draws_the_same_numbers():
    after = set()
    for label in LABELS:
        rng = np.random.default_rng(5)
        act(label, Bones(), 4, rng)
        after.add(rng.integers(2**62).item())
    assert len(after) == 1


@pytest.mark.parametrize("label", LABELS)
def test_an_action_moves_hands_or_feet_far_and_keeps_the_bones(label):
    bones = Bones()
    joints = act(label, bones, 33, np.random.default_rng(1)).joints
    travel = max(np.ptp(joints[f"{end} {side}"], axis=0).max() for end in ("wrist", "ankle") for side in SIDES)
    assert travel > 0.15
    for side in SIDES:
        for first, second, length in (
            ("shoulder", "elbow", bones.upper_arm), ("elbow", "wrist", bones.forearm),
            ("hip", "knee", bones.thigh), ("knee", "ankle", bones.shin), ("ankle", "toe", bones.foot),
        ):  # fmt: skip
            found = np.linalg.norm(joints[f"{second} {side}"] - joints[f"{first} {side}"], axis=-1)
            np.testing.assert_allclose(found, length, rtol=1e-6)


@pytest.mark.parametrize("label", LABELS)
def test_feet_stay_above_the_floor_and_hands_in_the_picture(label):
    for seed in range(6):
        subject = subject_build(seed)
        skeleton = act(label, subject.bones, 17, np.random.default_rng(seed))
        assert min(skeleton.joints[f"ankle {side}"][:, 1].min() for side in SIDES) > 0.03
        tracks = Camera(0.5, 0.1).tracks(skeleton)
        assert max(float(track.abs().max()) for track in tracks.values()) < 1


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("times", [1, 2])
def test_the_keys_of_an_action_follow_each_other(label, times):
    at = [key.at for key in ACTIONS[label](times)]
    assert at[0] > 0 and at[-1] == 1 and (np.diff(at) > 0).all()
    assert all(isinstance(key, Key) for key in ACTIONS[label](times))


def test_actions_can_be_told_apart_by_their_motion():
    """A linear classifier on where the joints are seen to go, in a few clips, does far better than chance."""

    def look(subjects):
        motion = []
        for subject in subjects:
            rng, looks = np.random.default_rng(subject), 1 if subject // len(LABELS) % 2 else -1
            skeleton = act(LABELS[subject % len(LABELS)], subject_build(subject).bones, 5, rng, looks)
            tracks = torch.stack(list(Camera(0.5 * looks, 0.1).tracks(skeleton).values()))
            motion.append((tracks[:, 1:] - tracks[:, :1]).flatten())
        return torch.stack(motion), torch.tensor([subject % len(LABELS) for subject in subjects])

    (train, labels), (test, truth) = look(range(180)), look(range(180, 240))
    kernel = train @ train.T
    weights = torch.linalg.solve(kernel + 0.1 * kernel.diagonal().mean() * torch.eye(180), F.one_hot(labels).float())
    assert ((test @ train.T @ weights).argmax(1) == truth).float().mean() > 0.6


# ---------------------------------------------------------------- items


def test_an_item_has_what_the_library_expects():
    item = Figures("test", size=40, num_frames=3)[4]
    assert PROCEDURAL["figures"] is Figures and len(Figures("test")) == 300 and len(LABELS) >= 10
    assert item["label"] == 4 and item["label_name"] == LABELS[4] and 2200 <= item["subject"] < 2400
    shapes = {name: tuple(item[name].shape) for name in ("video", "flow", "visible")}
    assert shapes == {"video": (3, 3, 40, 40), "flow": (2, 3, 40, 40), "visible": (1, 3, 40, 40)}
    assert 0 <= item["video"].min() and item["video"].max() <= 1


def test_one_index_is_one_clip_whatever_was_drawn_before():
    alone = Figures("val", size=32, num_frames=3)[3]["video"]
    figures = Figures("val", size=32, num_frames=3, length=20)
    figures[7], torch.manual_seed(1), np.random.seed(1)
    assert torch.equal(figures[3]["video"], alone)
    assert not torch.equal(Figures("val", size=32, num_frames=3, seed=1)[3]["video"], alone)


def test_other_sizes_and_frame_rates_show_the_same_clip():
    small, large = Figures(size=32, num_frames=5)[7], Figures(size=160, num_frames=9)[7]
    shrunk = F.avg_pool2d(large["video"][:, ::2].transpose(0, 1), 5).transpose(0, 1)
    assert (shrunk - small["video"]).abs().mean() < 0.02


def test_a_subject_has_the_colours_of_the_same_subject_in_faces():
    look, build = subject_look(3), subject_build(3)
    skeleton = act("wave", build.bones, 1, np.random.default_rng(0))
    video = render(figure(look, build, skeleton, Camera(0.3, 0.1)), 128, 1).video[:, 0].flatten(1).T
    for colour in (look.skin, look.clothes[0]):
        assert (video - torch.tensor(colour)).abs().amax(1).min() < 0.05


# ---------------------------------------------------------------- kinematics


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=6), st.integers(0, 2**31))
def test_curves_pass_through_their_keys_and_never_leave_what_two_span(values, seed):
    at = np.cumsum(np.random.default_rng(seed).uniform(0.1, 1, len(values)))
    values = np.array(values)[:, None]
    np.testing.assert_allclose(glide(at, values, at[:, None]), values, atol=1e-9)
    time = np.linspace(at[0] - 1, at[-1] + 1, 200)[:, None]
    curve, k = glide(at, values, time)[:, 0], np.clip(np.searchsorted(at, time[:, 0]) - 1, 0, len(at) - 2)
    low, high = np.minimum(values[k], values[k + 1])[:, 0], np.maximum(values[k], values[k + 1])[:, 0]
    assert (curve >= low - 1e-9).all() and (curve <= high + 1e-9).all()


@given(st.tuples(*[st.floats(-1, 1)] * 3))
def test_a_chain_of_two_bones_reaches_its_goal_or_stretches_towards_it(goal):
    goal = np.array([goal]) + 1e-3
    middle, end = reach(np.zeros((1, 3)), goal, 0.4, 0.3, np.array([[0.3, -1.0, 0.7]]))
    assert np.linalg.norm(middle) == pytest.approx(0.4, abs=1e-6)
    assert np.linalg.norm(end - middle) == pytest.approx(0.3, abs=1e-6)
    if 0.11 < np.linalg.norm(goal) < 0.69:
        np.testing.assert_allclose(end, goal, atol=1e-9)


def test_a_camera_from_the_front_sees_the_left_hand_on_the_right():
    seen = Camera(0.0, 0.0, 0.1, 0.8).tracks(act("wave", Bones(), 1, np.random.default_rng(0)))
    assert seen["wrist 1"][0, 0] > 0.2 > 0.0 > seen["wrist -1"][0, 0]
    assert seen["head"][0, 1] < seen["pelvis"][0, 1] < seen["ankle 1"][0, 1] < 0.8


# ---------------------------------------------------------------- captured motion

TURNS = (4, 8, 12, 16, 21, 25, 30, 35, 39)


def motion_file(folder, action: str, loop: str = "wrap", frames: int = 12):
    """Someone who steps sideways, raises the right arm and bends that elbow."""
    table = np.zeros((frames, 44))
    table[:, 0], table[:, 2] = 0.1, 0.88
    table[:, TURNS] = 1.0
    raised = np.linspace(0, 1.2, frames)
    table[:, 25], table[:, 26] = np.cos(raised / 2), -np.sin(raised / 2)
    table[:, 3], table[:, 29] = np.linspace(0, 0.3, frames), raised
    file = folder / f"humanoid3d_{action}.txt"
    file.write_text(json.dumps({"Loop": loop, "Frames": table.tolist()}), encoding="utf-8")
    return file


def test_captured_motion_is_played_from_a_folder(tmp_path):
    motion_file(tmp_path, "walk")
    motion_file(tmp_path, "kick", "none")
    figures = Figures("val", size=32, num_frames=5, motion="captured", motions=tmp_path)
    assert figures.labels == ("kick", "walk")
    assert figures[1]["label_name"] == "walk" and figures[1]["flow"][:, -1].abs().max() > 0.1
    for index in (0, 1):
        check_rest(figures, index)
    check_flow(figures, range(6))


def test_captured_people_begin_at_the_same_rest_whatever_the_action(tmp_path):
    motion_file(tmp_path, "walk")
    motion_file(tmp_path, "kick", "none", frames=30)
    figures = Figures(size=32, num_frames=4, motion="captured", motions=tmp_path)
    first = [render(figures.draw(label, 5, np.random.default_rng(2)), 32, 4).video[:, 0] for label in figures.labels]
    assert torch.equal(first[0], first[1])


def test_a_recording_is_read_in_the_axes_of_the_library(tmp_path):
    motion = read(motion_file(tmp_path, "jump"))
    assert motion.loops and motion.times[-1] == pytest.approx(1.1)
    assert motion.root[-1, 0] == pytest.approx(-0.3) and motion.root[-1, 1] == pytest.approx(0.88)
    later = motion.at(np.array([0.05, 1.1 + 0.05]))
    assert later.root[0, 0] == pytest.approx(-0.3 / 22)
    assert later.root[1, 0] == pytest.approx(-0.3 - 0.3 / 22)
    np.testing.assert_allclose(later.hinges["elbow -1"], 1.2 / 22)


def test_captured_motion_without_the_package_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pybullet_data", None)
    monkeypatch.setattr("lfdm_lite.data.drawn.acting.captured.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install pybullet"):
        Figures(motion="captured")


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "is not a motion file"),
        ("[1, 2]", "is not a motion file"),
        ('{"Loop": "wrap"}', "is not a motion file"),
        ('{"Loop": "wrap", "Frames": [[0.1, 2.0]]}', "at least 2 frames of 44"),
        ('{"Loop": "wrap", "Frames": [[0.1], [0.1, 2.0]]}', "is not a motion file"),
    ],
)
def test_a_broken_motion_file_is_named(tmp_path, text, message):
    (tmp_path / "humanoid3d_walk.txt").write_text(text, encoding="utf-8")
    figures = Figures(size=32, num_frames=2, motion="captured", motions=tmp_path)
    with pytest.raises(ValueError, match=f"humanoid3d_walk.txt.*{message}"):
        figures[0]


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="motion 'mocap' is not one of: procedural, captured"):
        Figures(motion="mocap")
    with pytest.raises(ValueError, match='give motion="captured" too'):
        Figures(motions=tmp_path)
    with pytest.raises(FileNotFoundError, match="has no humanoid3d_<action>.txt"):
        Figures(motion="captured", motions=tmp_path)


def test_the_recordings_of_the_package_can_all_be_played():
    pytest.importorskip("pybullet_data")
    figures = Figures(size=32, num_frames=8, motion="captured")
    assert len(figures.labels) >= 10
    for index in range(len(figures.labels)):
        item = figures[index]
        assert item["video"].isfinite().all() and item["flow"][:, -1].abs().max() > 0.02
