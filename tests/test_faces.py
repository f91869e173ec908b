"""Drawn people act; where every pixel came from is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lfdm_lite.data import Faces
from lfdm_lite.data.drawn.acting.expressions import LABELS, act
from lfdm_lite.data.drawn.engine.scenes import render
from lfdm_lite.data.drawn.people.portraits import portrait
from lfdm_lite.data.drawn.people.subjects import subject_look

from .exactness import SIZES, a_few, check_flow, check_rest, check_visibility


def clips(size: int, num_frames: int = 4, **more) -> Faces:
    return Faces(size=size, num_frames=num_frames, length=2**31, **more)


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 2**31), st.integers(0, 10**6))
def test_frame_0_has_the_colours_of_frame_t_where_the_true_flow_points(size, seed, index):
    check_flow(clips(size, 5, seed=seed), a_few(size, index))


@settings(max_examples=4, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 2**31), st.integers(0, 10**6))
def test_hidden_pixels_are_those_whose_source_is_covered(size, seed, index):
    check_visibility(clips(size, seed=seed), a_few(size, index))


@pytest.mark.parametrize("label", range(6))
def test_frame_0_is_at_rest(label):
    faces = Faces("val", size=32, num_frames=4)
    check_rest(faces, label)
    assert faces[label]["flow"][:, 3].abs().max() > 0.05


def test_frame_0_does_not_depend_on_how_the_face_acts():
    person = subject_look(17)
    first = []
    for label in LABELS:
        rng = np.random.default_rng(len(first))
        first.append(render(portrait(person, act(label, 3, rng)), 32, 3).video[:, 0])
    for other in first[1:]:
        torch.testing.assert_close(other, first[0])


def test_every_expression_draws_the_same_numbers():
    after = set()
    for label in LABELS:
        rng = np.random.default_rng(5)
        act(label, 4, rng)
        after.add(rng.integers(2**62).item())
    assert len(after) == 1


def test_the_six_expressions_take_turns():
    faces = Faces("test")
    assert len(faces) == 300 and faces.labels == LABELS and faces.labels[5] == "surprise"
    assert [faces.scene(i)[1] for i in range(12)] == [0, 1, 2, 3, 4, 5] * 2


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
