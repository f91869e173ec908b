"""Drawn people act; where every pixel came from is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lfdm_lite.data import Faces
from lfdm_lite.data.expressions import LABELS, act
from lfdm_lite.data.portraits import portrait
from lfdm_lite.data.scenes import render
from lfdm_lite.data.subjects import subject_look
from lfdm_lite.geometry import identity_grid, warp

clips = st.tuples(st.sampled_from(["train", "val", "test"]), st.integers(0, 2**31), st.integers(0, 299))


def near_edges(picture: torch.Tensor, contrast: float, width: int = 3) -> torch.Tensor:
    """(c t h w) -> (t h w): the values in a window of `width` pixels differ by more than `contrast`."""
    frames = picture.float().transpose(0, 1)
    return (F.max_pool2d(frames, width, 1, width // 2) + F.max_pool2d(-frames, width, 1, width // 2)).amax(1) > contrast


@settings(max_examples=12, deadline=None)
@given(clips, st.sampled_from([32, 64, 128]))
def test_frame_0_warped_by_the_true_flow_is_frame_t_where_visible(clip, size):
    split, seed, index = clip
    item = Faces(split, size=size, num_frames=5, seed=seed)[index]
    video, flow, visible = item["video"], item["flow"], item["visible"][0] > 0.5
    warped = warp(video[None, :, 0], flow[None])[0]
    flat = visible & ~near_edges(video, 0.15) & ~near_edges(warped, 0.15)
    error = (warped - video).abs().mean(0)
    assert flat.float().mean() > 0.2
    assert error[flat].mean() < 0.005
    assert error[flat].quantile(0.99) < 0.05


@settings(max_examples=6, deadline=None)
@given(clips, st.sampled_from([64, 80]))
def test_visibility_agrees_with_a_frame_0_drawn_seven_times_finer(clip, size):
    split, seed, index = clip
    layers, _, _ = Faces(split, size=size, num_frames=4, seed=seed).scene(index)
    _, flow, visible, owner = render(layers, size, 4)
    many = 7 * size
    fine = render(layers, many, 4).owner[0]
    place = ((identity_grid(size, size)[:, None] + flow + 1) * many - 1) / 2
    column, row = place.round().long().unbind(0)
    inside = (column >= 0) & (column < many) & (row >= 0) & (row < many)
    column, row = column.clamp(0, many - 1), row.clamp(0, many - 1)
    hidden = ~(inside & (fine[row, column] == owner))
    away = ~near_edges(fine[None, None], 0.5, 7)[0][row, column]  # half a pixel from where the owner changes
    said, true = ~visible[0] & away, hidden & away
    assert true.sum() > 20
    assert (said & true).sum() >= 0.95 * said.sum()
    assert (said & true).sum() >= 0.95 * true.sum()


@pytest.mark.parametrize("label", range(6))
def test_frame_0_is_at_rest(label):
    item = Faces("val", size=32, num_frames=4)[label]
    assert (item["flow"][:, 0] == 0).all()
    assert (item["visible"][:, 0] == 1).all()
    assert item["flow"][:, 3].abs().max() > 0.05


def test_frame_0_does_not_depend_on_how_the_face_acts():
    person = subject_look(17)
    first = []
    for label in LABELS:
        rng = np.random.default_rng(len(first))
        first.append(render(portrait(person, act(label, 3, rng)), 32, 3).video[:, 0])
    for other in first[1:]:
        torch.testing.assert_close(other, first[0])


def test_one_index_is_one_clip_whatever_was_drawn_before():
    forward = [Faces("val", size=32, num_frames=3)[i]["video"] for i in (3, 4)]
    faces = Faces("val", size=32, num_frames=3, length=20)
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(faces[4]["video"], forward[1])
    assert torch.equal(faces[3]["video"], forward[0])
    assert torch.equal(faces[-17]["video"], forward[0])
    assert not torch.equal(Faces("val", size=32, num_frames=3, seed=1)[3]["video"], forward[0])


def test_other_sizes_and_frame_rates_show_the_same_clip():
    small, large = Faces(size=32, num_frames=5)[7], Faces(size=128, num_frames=9)[7]
    shrunk = F.avg_pool2d(large["video"][:, ::2].transpose(0, 1), 4).transpose(0, 1)
    assert (shrunk - small["video"]).abs().mean() < 0.03
    flow = F.avg_pool2d(large["flow"][:, ::2].transpose(0, 1), 4).transpose(0, 1)
    assert (flow - small["flow"]).abs().mean() < 0.01


def test_no_subject_is_in_two_splits():
    ranges = []
    for split in ("train", "val", "test"):
        faces = Faces(split)
        seen = {faces.scene(i)[2] for i in range(12)}
        first, number, _ = faces.splits[split]
        assert seen <= set(range(first, first + number))
        ranges.append(set(range(first, first + number)))
    assert not (ranges[0] & ranges[1] or ranges[0] & ranges[2] or ranges[1] & ranges[2])


def test_an_item_has_what_the_library_expects():
    faces = Faces("test", size=40, num_frames=3)
    item = faces[11]
    assert len(faces) == 300 and faces.labels[5] == "surprise" == item["label_name"] and item["label"] == 5
    shapes = {name: tuple(item[name].shape) for name in ("video", "flow", "visible")}
    assert shapes == {"video": (3, 3, 40, 40), "flow": (2, 3, 40, 40), "visible": (1, 3, 40, 40)}
    assert all(item[name].dtype == torch.float32 for name in shapes)
    assert 0 <= item["video"].min() and item["video"].max() <= 1
    assert [Faces(length=12).scene(i)[1] for i in range(12)] == [0, 1, 2, 3, 4, 5] * 2


@pytest.mark.parametrize("size,num_frames", [(32, 1), (33, 2), (256, 1)])
def test_every_size_and_any_number_of_frames(size, num_frames):
    assert Faces(size=size, num_frames=num_frames)[0]["video"].isfinite().all()


def test_expressions_can_be_told_apart_by_their_motion():
    """A linear classifier on the difference of two frames of a few clips does, so a network can."""

    def look(faces):
        items = [faces[i] for i in range(len(faces))]
        change = torch.stack([(i["video"][:, 2] - i["video"][:, 0]).flatten() for i in items])
        return change, torch.tensor([i["label"] for i in items])

    (train, labels), (test, truth) = (
        look(Faces(split, size=32, num_frames=4, length=n)) for split, n in (("train", 120), ("val", 30))
    )
    kernel = train @ train.T
    weights = torch.linalg.solve(kernel + 0.3 * kernel.diagonal().mean() * torch.eye(120), F.one_hot(labels, 6).float())
    assert ((test @ train.T @ weights).argmax(1) == truth).float().mean() > 0.7


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"split": "dev"}, "split 'dev' is not one of: train, val, test"),
        ({"size": 16}, "size is 16; give a whole number of pixels from 32 to 256"),
        ({"size": 64.0}, "size is 64.0"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"length": 0}, "length is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        Faces(**arguments)
    if caught.type is ValueError:
        assert message in str(caught.value)


@pytest.mark.parametrize("index", [300, -301])
def test_a_clip_that_is_not_there_is_an_index_error(index):
    with pytest.raises(IndexError, match="there is no clip"):
        Faces("val")[index]
