"""What tests of exercises say: not only that an answer is wrong, but which misconception it looks like."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Number = int | float | bool
ORDINALS = ("first", "second", "third", "fourth", "fifth")


def hold(
    answer: Any,
    right: Any,
    mistakes: Mapping[str, Any] | None = None,
    *,
    what: str = "the answer",
    atol: float = 1e-5,
    rtol: float = 1e-4,
) -> None:
    """Nothing, if an answer is right; otherwise an AssertionError for the student, in one or two sentences.

    Args:
        answer: what the student's function returned.
        right: a tensor, a number, a text, or a tuple, list or dictionary of these.
        mistakes: what the answer would be under each misconception, by the sentence that names it and says where to
            read. The first that fits is told; those that equal the right answer in this case are passed over. In
            place of a value may stand a function that gives it; it is called only if the answer is wrong. If
            none fits a tuple as a whole, its first part that is amiss is held to the same part of each: a real
            mistake spoils what is computed after it, too.
        what: the answer, in a few words that can begin a sentence.
        atol, rtol: how near is right, as in `torch.testing.assert_close`; misconceptions are held to the same.

    Raises:
        AssertionError: the answer is wrong.
    """
    amiss = differs(answer, right, what, atol, rtol)
    if amiss is None:
        return
    found = {}
    for sentence, value in (mistakes or {}).items():
        found[sentence] = value = value() if callable(value) else value
        if fits(answer, right, value, atol, rtol):
            raise AssertionError(f"{amiss}. {sentence}")
    while (i := part_amiss(answer, right, atol, rtol)) is not None:
        found = {s: v[i] for s, v in found.items() if isinstance(v, tuple) and len(v) == len(right)}
        answer, right = answer[i], right[i]
        for sentence, value in found.items():
            if fits(answer, right, value, atol, rtol):
                raise AssertionError(f"{amiss}. {sentence}")
    raise AssertionError(amiss)


def fits(answer: Any, right: Any, value: Any, atol: float, rtol: float) -> bool:
    """Whether an answer is what a misconception makes of it, in a case where that is not right."""
    if isinstance(value, Tensor) and isinstance(right, Tensor):
        value = value.to(right.dtype)  # whole numbers, as one writes them
    return differs(value, right, "", atol, rtol) is not None and differs(answer, value, "", atol, rtol) is None


def part_amiss(answer: Any, right: Any, atol: float, rtol: float) -> int | None:
    """The first part of a tuple that is amiss; None of what is no tuple, or has not as many parts."""
    if not isinstance(right, tuple) or not isinstance(answer, tuple | list) or len(answer) != len(right):
        return None
    return next(i for i, pair in enumerate(zip(answer, right, strict=True)) if differs(*pair, "", atol, rtol))


def differs(answer: Any, right: Any, what: str, atol: float, rtol: float) -> str | None:
    """What is amiss, in a few words that do not give the right answer away; None if nothing is."""
    if answer is None:
        return f"{what} is None: nothing is returned"
    if isinstance(right, Mapping):
        if not isinstance(answer, Mapping) or set(answer) != set(right):
            return f"{what} should be a dictionary with the keys {', '.join(map(str, right))}"
        pairs = [(f"{what}[{key!r}]", answer[key], value) for key, value in right.items()]
        return first(differs(a, r, name, atol, rtol) for name, a, r in pairs)
    if isinstance(right, tuple | list):
        if not isinstance(answer, tuple | list) or len(answer) != len(right):
            return f"{what} should be {len(right)} things, in a tuple or list"
        in_order = enumerate(zip(answer, right, strict=True))
        return first(differs(a, r, f"{part(i)} of {what}", atol, rtol) for i, (a, r) in in_order)
    if isinstance(right, str):
        return None if answer == right else f"{what} is {str(answer)[:40]!r}"
    if isinstance(right, Number):
        if isinstance(answer, Tensor) and answer.numel() == 1:
            answer = answer.item()
        if not isinstance(answer, Number):
            return f"{what} should be a number, not {kind(answer)}"
        if isinstance(right, bool):
            return None if answer == right else f"{what} is {bool(answer)}"
        if math.isnan(answer) or math.isnan(right):
            return None if math.isnan(answer) and math.isnan(right) else f"{what} is {answer:.6g}, which is not it"
        near = answer == right or (math.isfinite(right) and abs(answer - right) <= atol + rtol * abs(right))
        return None if near else f"{what} is {answer:.6g}, which is {'too large' if answer > right else 'too small'}"
    return tensors_differ(answer, right, what, atol, rtol)


def tensors_differ(answer: Any, right: Tensor, what: str, atol: float, rtol: float) -> str | None:
    """`differs`, of tensors."""
    if not isinstance(answer, Tensor):
        return f"{what} should be a tensor, not {kind(answer)}"
    if answer.shape != right.shape:
        return f"{what} has the shape {tuple(answer.shape)}, and should have {tuple(right.shape)}"
    if answer.is_floating_point() != right.is_floating_point() or answer.is_complex() != right.is_complex():
        return f"{what} holds numbers of the type {answer.dtype}, and should hold {right.dtype}"
    if right.is_floating_point() and torch.finfo(answer.dtype).bits < torch.finfo(right.dtype).bits:
        return f"{what} is computed in {answer.dtype}, which is too coarse: keep {right.dtype}"
    answer, right = answer.detach().to(right.dtype), right.detach()
    if torch.isnan(answer).any() and not torch.isnan(right).any():
        return f"{what} holds NaN, which is no number"
    far = ~torch.isclose(answer, right, atol=atol, rtol=rtol, equal_nan=True)
    if not far.any():
        return None
    elsewhere = (answer.isinf() ^ right.isinf()) | (answer.isnan() ^ right.isnan())
    if elsewhere.any():
        return f"{what} is infinite, or no number (NaN), in other places than it should be{first_place(elsewhere)}"
    turned = far & right.isinf()
    if turned.any():
        return f"{what} is infinite with the wrong sign{first_place(turned)}"
    share = far.float().mean().item()
    wide = torch.complex128 if right.is_complex() else torch.float64
    most = (answer.to(wide) - right.to(wide)).abs()[far].max().item()
    amount = "wrong" if right.dtype == torch.bool else f"off by up to {most:.3g}"
    return f"{what} is {amount} in {share:.0%} of its places{first_place(far)}{itself(answer)}"


def first_place(amiss: Tensor) -> str:
    """Words for the first place that a mask marks; none for a mask of a single number."""
    place = tuple(amiss.nonzero()[0].tolist())
    return f", first at {place}" if place else ""


def itself(answer: Tensor) -> str:
    """Words for what a small tensor holds; none for a large one, or a complex one."""
    if answer.is_complex() or not 1 < answer.numel() <= (16 if answer.dtype == torch.bool else 8):
        return ""
    if answer.dtype == torch.bool:
        places = ", ".join(str(tuple(place)) for place in answer.nonzero().tolist())
        return f"; yours is True at {places}" if places else "; yours is True nowhere"
    numbers = torch.where(answer.abs() > 1e-6, answer, 0)  # what rounding leaves reads as 0
    return f"; yours holds {', '.join(f'{number:.4g}' for number in numbers.flatten().tolist())}"


def first(found: Any) -> str | None:
    return next((amiss for amiss in found if amiss is not None), None)


def part(i: int) -> str:
    """In words, since `[1]` behind a name reads as a part of the name."""
    return f"the {ORDINALS[i]} part" if i < len(ORDINALS) else f"part {i + 1}"


def kind(thing: Any) -> str:
    name = type(thing).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
