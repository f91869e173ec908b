"""Faces can act in part, or with a head that says nothing; by default they act as they always did."""

from dataclasses import fields
from functools import cache

import numpy as np
import pytest
import torch

from lfdm_lite.data import Faces, Sketches
from lfdm_lite.data.drawn.acting.expressions import FACE, LABELS, PARTS, Acting, Pose, act, perform

from .exactness import check_rest


def values(pose: Pose, part: str) -> torch.Tensor:
    """All that a part of the face does, over time: (fields, T)."""
    return torch.stack([getattr(pose, name).flatten() for name in PARTS[part]])


@cache
def performed(index: int, acting: Acting, num_frames: int = 16) -> Pose:
    return perform(LABELS[index % 6], num_frames, np.random.default_rng(index), acting)


def test_every_field_of_a_pose_belongs_to_one_part():
    assert sorted(name for part in PARTS.values() for name in part) == sorted(field.name for field in fields(Pose))


def test_without_a_word_on_acting_every_bit_is_as_it_was():
    for index, label in enumerate(LABELS):
        rngs = [np.random.default_rng(index) for _ in range(2)]
        before, now = act(label, 5, rngs[0]), perform(label, 5, rngs[1])
        assert all(torch.equal(values(before, part), values(now, part)) for part in PARTS)
        assert rngs[0].integers(2**62) == rngs[1].integers(2**62)
    plain, spoken = Faces("val", 32, 4, 6, 1), Faces("val", 32, 4, 6, 1, acting=Acting())
    for name in ("video", "flow", "visible"):
        assert torch.equal(plain[3][name], spoken[3][name])
    assert Sketches("val", 32, 4, 6, 1)[3]["subject"] == plain[3]["subject"]


def test_faces_are_drawn_as_before_they_could_act_otherwise():
    train = Faces("train", 32, 4)
    known = {0: (8071.56, 82.39, 3972.0), 3: (6628.12, 40.57, 4006.0)}  # of the first edition
    for i, sums in known.items():
        found = [train[i][name].double().abs().sum().item() for name in ("video", "flow", "visible")]
        assert found == pytest.approx(sums, abs=0.01)


@pytest.mark.parametrize("frozen", [("mouth",), ("head",), FACE])
def test_frozen_parts_stay_at_rest_and_the_others_do_the_same(frozen):
    for index in range(6):
        whole, part_of_it = performed(index, Acting()), performed(index, Acting(frozen=frozen))
        for part in PARTS:
            expected = torch.zeros_like(values(whole, part)) if part in frozen else values(whole, part)
            assert torch.equal(values(part_of_it, part), expected)


def test_a_head_at_rest_leaves_hair_and_ears_where_they_were():
    still = Faces("val", 32, 4, acting=Acting(frozen=("head",)))[0]["flow"]
    assert still[:, :, :4].abs().max() == 0 and still[..., :4].abs().max() == 0  # a frame round the picture
    assert still.abs().max() > 0.05


def test_with_another_head_the_face_does_the_same_and_frame_0_is_at_rest():
    for index in range(6):
        own, other = performed(index, Acting()), performed(index, Acting(heads="shuffled"))
        assert all(torch.equal(values(own, part), values(other, part)) for part in FACE)
        assert not torch.equal(values(own, "head"), values(other, "head"))
        assert all(values(other, part)[:, 0].abs().max() == 0 for part in PARTS)
    check_rest(Faces("val", 32, 4, acting=Acting(heads="shuffled")), 1)


def read_from(part: str, acting: Acting, train: int = 1200, test: int = 600) -> float:
    """How many labels a linear rule reads from one part's motion, of performances that it has not seen."""
    motion = torch.stack([values(performed(i, acting), part).flatten() for i in range(train + test)])
    label = torch.arange(train + test) % 6
    motion = torch.cat([motion, torch.ones(len(motion), 1)], 1).double()
    rule = torch.linalg.lstsq(motion[:train], torch.eye(6, dtype=torch.float64)[label[:train]], driver="gelsd").solution
    return ((motion[train:] @ rule).argmax(1) == label[train:]).double().mean().item()


def test_a_shuffled_head_says_nothing_about_the_label():
    assert read_from("head", Acting()) > 0.5
    assert read_from("head", Acting(heads="shuffled")) < 0.24  # one in six, and three standard deviations
    assert read_from("mouth", Acting(heads="shuffled")) > 0.7


def test_shuffled_heads_move_as_much_as_heads_do():
    spread = []
    for heads in ("own", "shuffled"):
        motion = torch.stack([values(performed(i, Acting(heads=heads)), "head") for i in range(600)])
        spread.append(motion.std((0, 2)))
    torch.testing.assert_close(spread[1], spread[0], rtol=0.1, atol=0)


def test_what_is_not_known_is_refused():
    with pytest.raises(ValueError, match="frozen part 'nose' is not one of: brows, lids, gaze, cheeks, mouth, head"):
        Acting(frozen=("nose",))
    with pytest.raises(ValueError, match="heads 'none' is not one of: own, shuffled"):
        Acting(heads="none")
