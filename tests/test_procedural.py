"""What every procedural set promises, whatever it shows."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from lfdm_lite.data import PROCEDURAL, Faces, ProceduralSet

from .exactness import check_rest

every_set = pytest.mark.parametrize("kind", PROCEDURAL.values(), ids=list(PROCEDURAL))


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) if isinstance(one[name], torch.Tensor) else one[name] == other[name]
        for name in one
    )


# ---------------------------------------------------------------- items


@every_set
def test_an_item_has_what_the_library_expects(kind):
    clips = kind("test", size=40, num_frames=3, length=20)
    item = clips[-1]
    assert {"video", "label", "label_name", "subject", "flow", "visible"} <= set(item)
    shapes = {name: tuple(item[name].shape) for name in ("video", "flow", "visible")}
    assert shapes == {"video": (3, 3, 40, 40), "flow": (2, 3, 40, 40), "visible": (1, 3, 40, 40)}
    assert all(item[name].dtype == torch.float32 and item[name].isfinite().all() for name in shapes)
    assert 0 <= item["video"].min() and item["video"].max() <= 1
    assert set(item["visible"].unique().tolist()) <= {0.0, 1.0}
    assert item["label"] == 19 % len(kind.labels) and item["label_name"] == kind.labels[item["label"]]


@every_set
def test_labels_take_turns_and_all_have_names_of_their_own(kind):
    n = len(kind.labels)
    assert len(set(kind.labels)) == n >= 2
    clips = kind(num_frames=1)
    assert [clips.scene(i)[1] for i in (0, 1, n - 1, n, 2 * n + 1)] == [0, 1, n - 1, 0, 1]


@every_set
def test_frame_0_is_at_rest_and_all_of_it_is_seen(kind):
    clips = kind("val", size=32, num_frames=3)
    check_rest(clips, 1)
    item = clips[1]
    assert (item["flow"][:, 0] == 0).all() and (item["visible"][:, 0] == 1).all()
    assert item["flow"].norm(dim=0).max() > 2 / 32  # someone moves by more than a pixel
    assert (item["visible"] == 0).any()


@every_set
@pytest.mark.parametrize("size,num_frames", [(33, 1), (256, 2)])
def test_every_size_and_any_number_of_frames(kind, size, num_frames):
    assert kind(size=size, num_frames=num_frames)[0]["video"].isfinite().all()


@every_set
def test_other_sizes_and_frame_rates_show_the_same_clip(kind):
    small, large = kind(size=32, num_frames=3)[7], kind(size=128, num_frames=5)[7]
    for name, tolerance in (("video", 0.04), ("flow", 0.015)):
        shrunk = F.avg_pool2d(large[name][:, ::2].transpose(0, 1), 4).transpose(0, 1)
        assert (shrunk - small[name]).abs().mean() < tolerance


# ---------------------------------------------------------------- what an item depends on


@every_set
def test_one_index_is_one_clip_whatever_was_drawn_before(kind):
    expected = [kind("val", size=32, num_frames=2)[i] for i in (3, 4)]
    clips = kind("val", size=32, num_frames=2, length=20)
    torch.manual_seed(1)
    np.random.seed(1)
    assert same(clips[4], expected[1])
    assert same(clips[3], expected[0])
    assert same(clips[-17], expected[0])


@every_set
def test_another_seed_is_another_clip_and_another_split_has_other_people(kind):
    item, other = (kind("val", size=32, num_frames=2, seed=seed)[3] for seed in (0, 1))
    assert item["label"] == other["label"] and not torch.equal(item["video"], other["video"])
    assert kind("test", size=32, num_frames=2).scene(3)[2] != item["subject"]


@every_set
def test_workers_draw_what_one_process_draws(kind):
    clips = kind("train", size=32, num_frames=2, length=5)
    alone, together = (list(DataLoader(clips, batch_size=2, num_workers=n)) for n in (0, 2))
    assert len(alone) == len(together) == 3
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))


@every_set
def test_no_subject_is_in_two_splits(kind):
    ranges = []
    for split, (first, number, clips) in kind.splits.items():
        dataset = kind(split, num_frames=1)
        assert len(dataset) == clips
        ranges.append(set(range(first, first + number)))
        seen = {dataset.scene(i)[2] for i in range(6)}
        assert len(seen) > 2 and seen <= ranges[-1]
    assert list(kind.splits) == ["train", "val", "test"]
    assert len(set.union(*ranges)) == sum(map(len, ranges))


# ---------------------------------------------------------------- bad input


@every_set
@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"split": "dev"}, "split 'dev' is not one of: train, val, test"),
        ({"size": 16}, "size is 16; give a whole number of pixels from 32 to 256"),
        ({"size": 257}, "size is 257"),
        ({"num_frames": 0}, "num_frames is 0; give a whole number, 1 or more"),
        ({"length": 0}, "length is 0; give a whole number of clips, 1 or more, or None"),
        ({"seed": -1}, "seed is -1; give a whole number, 0 or more"),
    ],
)
def test_wrong_arguments_are_named(kind, arguments, message):
    with pytest.raises(ValueError) as caught:
        kind(**arguments)
    assert message in str(caught.value)


@every_set
@pytest.mark.parametrize("index", [300, -301])
def test_a_clip_that_is_not_there_is_an_index_error(kind, index):
    with pytest.raises(IndexError, match=f"there is no clip {index}: 'val' has 300"):
        kind("val")[index]


def test_an_index_that_is_no_number_is_a_type_error():
    with pytest.raises(TypeError, match="index"):
        Faces("val").scene("one")


def test_a_set_without_a_scene_cannot_be_made():
    class Nothing(ProceduralSet):
        labels, key = ("none",), 0

    with pytest.raises(TypeError, match="draw"):
        Nothing()
