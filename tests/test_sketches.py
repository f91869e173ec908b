"""The same people and the same motion in other looks."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from lfdm_lite.data import PROCEDURAL, Faces, Sketches
from lfdm_lite.data.drawn.engine.looks import LOOKS
from lfdm_lite.data.drawn.engine.scenes import render

from .exactness import SIZES, a_few, check_flow, check_rest, check_visibility

looks = st.sampled_from(list(LOOKS))


def clips(size: int, num_frames: int = 4, **more) -> Sketches:
    return Sketches(size=size, num_frames=num_frames, length=2**31, **more)


# ---------------------------------------------------------------- exactness


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(SIZES), looks, st.integers(0, 2**31), st.integers(0, 10**6))
def test_frame_0_has_the_colours_of_frame_t_where_the_true_flow_points(size, look, seed, index):
    check_flow(clips(size, seed=seed, look=look), a_few(size, index))


@settings(max_examples=2, deadline=None)
@given(st.sampled_from(SIZES), looks, st.integers(0, 2**31), st.integers(0, 10**6))
def test_hidden_pixels_are_those_whose_source_is_covered(size, look, seed, index):
    check_visibility(clips(size, seed=seed, look=look), a_few(size, index), finer=5)


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(SIZES), looks, st.sampled_from(list(Faces.splits)), st.integers(0, 2**31), st.integers(0, 299))
def test_flow_and_visibility_are_those_of_the_same_clip_of_faces(size, look, split, seed, index):
    face, sketch = Faces(split, size, 4, 300, seed)[index], Sketches(split, size, 4, 300, seed, look)[index]
    assert torch.equal(sketch["flow"], face["flow"])
    assert torch.equal(sketch["visible"], face["visible"])
    assert [sketch[name] for name in ("label", "label_name", "subject")] == [
        face[name] for name in ("label", "label_name", "subject")
    ]


@pytest.mark.parametrize("look", LOOKS)
def test_frame_0_is_at_rest(look):
    check_rest(clips(32, 3, look=look), 5)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", ["figures", "gestures"])
def test_a_look_keeps_the_motion_of_any_set(name, look):
    dataset = PROCEDURAL[name](size=48, num_frames=3)
    layers, _, _ = dataset.scene(2)
    plain, other = render(layers, 48, 3), render(LOOKS[look](layers, np.random.default_rng(0)), 48, 3)
    assert torch.equal(other.flow, plain.flow) and torch.equal(other.visible, plain.visible)
    assert (other.video - plain.video).abs().mean() > 0.1


# ---------------------------------------------------------------- looks


def test_looks_differ_from_faces_and_from_each_other():
    pictures = {look: torch.stack([clips(32, 1, look=look)[i]["video"] for i in range(6)]) for look in LOOKS}
    pictures["faces"] = torch.stack([Faces(size=32, num_frames=1)[i]["video"] for i in range(6)])
    for one, other in itertools.combinations(pictures, 2):
        assert (pictures[one] - pictures[other]).abs().mean() > 0.15, (one, other)
    assert pictures["night"].mean() < 0.25 < 0.6 < pictures["ink"].mean()


def test_all_mixes_the_looks_evenly_whatever_the_label():
    counts = {(label, look): 0 for label in range(6) for look in LOOKS}
    sketches = clips(32)
    for index in range(600):
        counts[index % 6, sketches.look_of(index)] += 1
    assert min(counts.values()) > 15


def test_a_clip_of_all_is_the_clip_of_its_look():
    for index in (1, 4):
        item = Sketches("val", 32, 2)[index]
        alone = Sketches("val", 32, 2, look=item["look"])[index]
        assert torch.equal(item["video"], alone["video"]) and alone["look"] == item["look"]
        assert Sketches("val", 32, 2)[index - 300]["look"] == item["look"]


def test_frame_0_does_not_depend_on_the_label():
    rest = {}
    for look in LOOKS:
        for label in ("fear", "happiness", "surprise"):
            layers = Sketches(size=32, num_frames=2).draw(label, 17, np.random.default_rng(4))
            video = render(LOOKS[look](layers, np.random.default_rng(0)), 32, 2).video[:, 0]
            torch.testing.assert_close(video, rest.setdefault(look, video))


def test_the_name_of_the_look_goes_through_a_loader():
    sketches = Sketches("test", 32, 2, length=4)
    (batch,) = DataLoader(sketches, batch_size=4)
    assert batch["look"] == [sketches.look_of(i) for i in range(4)]


def test_a_look_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="look 'oil' is not one of: all, ink, night, photo"):
        Sketches(look="oil")


@pytest.mark.parametrize("index", [300, -301])
def test_a_clip_that_is_not_there_has_no_look(index):
    with pytest.raises(IndexError, match="there is no clip"):
        Sketches("val").look_of(index)
