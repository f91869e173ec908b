"""What is true of a stored change: the nearest of its ranks, exact where there is room, and no larger than asked."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lfdm_lite.files.models.changes import Change, leading_change, matrix_sides

ROUNDED = 3e-4  # share of a change that one byte a number may lose
SHAPES = [(6, 4), (5, 3, 2, 2), (7,), (), (1, 9)]


def networks(seed: int = 0, scale: float = 1.0) -> tuple[dict, dict]:
    g = torch.Generator().manual_seed(seed)
    before = {f"part.{i}": torch.randn(shape, generator=g) for i, shape in enumerate(SHAPES)}
    after = {name: value + scale * torch.randn(value.shape, generator=g) for name, value in before.items()}
    return before, after


def far(one: dict, other: dict) -> float:
    """Squared distance of all tensors."""
    return sum((one[name] - other[name]).square().sum().item() for name in one)


def test_with_room_for_all_only_rounding_is_lost():
    before, after = networks()
    change = leading_change(before, after, 10_000)
    assert change.ranks == [4, 5, 1, 1, 1]
    assert far(change(before), after) < ROUNDED * far(before, after)
    assert change.numbers.dtype == torch.int8 and len(change.numbers) == 4 * 10 + 5 * 17 + 8 + 2 + 10


def test_without_room_nothing_changes():
    before, after = networks()
    change = leading_change(before, after, 1)
    assert len(change.numbers) == 0 and not any(change.ranks)
    assert_close(change(before), before)


@settings(max_examples=30, deadline=None)
@given(numbers=st.integers(0, 150), seed=st.integers(0, 99))
def test_it_keeps_to_its_size_and_more_numbers_bring_it_nearer(numbers, seed):
    before, after = networks(seed)
    small, large = (leading_change(before, after, n) for n in (numbers, numbers + 25))
    assert len(small.numbers) <= numbers and len(large.numbers) <= numbers + 25
    all_of_it = far(before, after)
    assert far(large(before), after) <= far(small(before), after) + ROUNDED * all_of_it
    again = leading_change(before, small(before), len(small.numbers))  # what was read is stored anew as it was
    assert again.ranks == small.ranks
    assert far(again(before), small(before)) <= ROUNDED * all_of_it


def test_a_matrix_gets_the_best_of_its_rank_by_an_independent_route():
    before, after = networks()
    name = "part.0"
    difference = (after[name] - before[name]).double()
    change = leading_change({name: before[name]}, {name: after[name]}, 2 * sum(matrix_sides(SHAPES[0])))
    assert change.ranks == [2]
    values, directions = torch.linalg.eigh(difference.T @ difference)  # no singular values: eigenvectors of a product
    expected = difference @ directions[:, -2:] @ directions[:, -2:].T
    got = (change({name: before[name]})[name] - before[name]).double()
    assert (got - expected).square().sum() < ROUNDED * expected.square().sum()
    assert (difference - got).square().sum().item() == pytest.approx(values[:-2].sum().item(), rel=0.01)


def test_what_changed_is_kept_and_what_did_not_costs_nothing():
    before, after = networks()
    after |= {name: before[name] for name in before if name != "part.1"}
    change = leading_change(before, after, 10_000)
    assert change.ranks == [0, 5, 0, 0, 0]


def test_a_tensor_that_changed_little_gets_its_share():
    before, after = networks()
    after["part.0"] = before["part.0"] + 1e-3 * (after["part.0"] - before["part.0"])
    before, after = ({name: state[name] for name in ("part.0", "part.1")} for state in (before, after))
    assert all(leading_change(before, after, 40).ranks)


@pytest.mark.parametrize("ranks", [[1], [5, 0, 0, 0, 0], [0, 0, 2, 0, 0], [0, 0, 0, 0, -1]])
def test_ranks_that_do_not_fit_are_refused(ranks):
    with pytest.raises(ValueError, match="ranks for 5 tensors, or one beyond"):
        Change(SHAPES, ranks)
