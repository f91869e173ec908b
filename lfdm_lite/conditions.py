"""What a clip is asked to show: a label, and numbers such as the strength of an expression, each given or not.

A number has a unit of its own and a range that was seen in training. Where it is not given it is NaN, so that one
tensor (b, n) says both; as a label, `null_label` stands for none. A network that was trained with some of them dropped
knows every combination, from all given to none: `guided` leads away from the latter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class NumberRange:
    """A number that a network is told, and between what it was in training.

    Raises:
        ValueError: the range is empty.
    """

    name: str  # as in the clips' items
    low: float  # in the number's own unit
    high: float

    def __post_init__(self) -> None:
        if not (self.name and math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"number {self.name!r} is from {self.low:g} to {self.high:g}: needs a name and a range")


class NumberEmbedding(nn.Module):
    """A vector for a number, or the learned one that says "not given".

    Args:
        known: the range that the network sees as -1 to 1.
        width: numbers of the vector.
    """

    def __init__(self, known: NumberRange, width: int):
        super().__init__()
        self.known = known
        self.layers = nn.Sequential(nn.Linear(1, width), nn.GELU(), nn.Linear(width, width))
        self.not_given = nn.Parameter(torch.zeros(width))

    def forward(self, value: Float[Tensor, " b"]) -> Float[Tensor, "b e"]:
        scaled = 2 * (value - self.known.low) / (self.known.high - self.known.low) - 1
        vector = self.layers(scaled.nan_to_num()[:, None])
        return torch.where(value.isnan()[:, None], self.not_given, vector)


class NumberEmbeddings(nn.ModuleList):
    """One `NumberEmbedding` for each number, or none at all.

    Args of `forward`:
        vector: of the label.
        numbers: each in its own unit, NaN where not given; None: none is given.

    Returns:
        The label's vector, and added to it one for each number.

    Raises:
        ValueError: more or fewer numbers than are known.
    """

    def __init__(self, known: Sequence[NumberRange], width: int):
        super().__init__(NumberEmbedding(number, width) for number in known)
        self.known = known

    def forward(self, vector: Float[Tensor, "b e"], numbers: Float[Tensor, "b n"] | None) -> Float[Tensor, "b e"]:
        if numbers is None:
            numbers = torch.full((len(vector), len(self)), math.nan, device=vector.device)
        if numbers.shape[1] != len(self):
            names = ", ".join(number.name for number in self.known) or "none"
            raise ValueError(f"got {numbers.shape[1]} numbers beside the label; the network knows: {names}")
        return sum((embed(value) for embed, value in zip(self, numbers.unbind(1), strict=True)), start=vector)


def drop(
    label: Int[Tensor, " b"],
    numbers: Float[Tensor, "b n"] | None,
    null_label: int,
    null_probability: float,
    number_null_probability: float,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, ...]:
    """What a network is told of training examples: some of it is dropped, all at once or each by itself.

    Args:
        label: of each example; `null_label` stands for none.
        numbers: of each example, NaN where not given; None if the network knows none.
        null_probability: share of the examples that lose everything, as guidance asks for; and where there are
            numbers, share of the others that lose the label alone.
        number_null_probability: share of the others that lose a number, for each number by itself.
        generator: source of randomness, drawn on its device.

    Returns:
        The label and, if there are any, the numbers.

    Source: Ho & Salimans 2022, classifier-free guidance.
    """
    b = len(label)
    at = generator.device if generator is not None else label.device
    all_lost = torch.rand(b, generator=generator, device=at).to(label.device) < null_probability
    label = torch.where(all_lost, null_label, label)
    if numbers is None:
        return (label,)
    chance = torch.rand(b, 1 + numbers.shape[1], generator=generator, device=at).to(label.device)
    label = torch.where(chance[:, 0] < null_probability, null_label, label)
    lost = all_lost[:, None] | (chance[:, 1:] < number_null_probability)
    return label, torch.where(lost, math.nan, numbers)
