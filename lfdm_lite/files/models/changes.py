"""What a network has learned beyond another, in few bytes: of what each matrix changed by, the first directions.

Sources: Eckart & Young 1936, the first r singular vectors make the nearest matrix of rank r; Hu et al. 2022 (LoRA,
arXiv 2106.09685), further training changes a network in few directions.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

MOST = 127  # of a whole number of one byte


class Change(nn.Module):
    """What is added to each tensor of a network: a sum of products of a column and a row, of one byte a number.

    A tensor counts as a matrix of shape[0] rows; so a vector of n numbers is one column, and its only direction takes
    n + 1 numbers.

    Args:
        shapes: of the tensors.
        ranks: how many directions of each are kept, from 0.

    Raises:
        ValueError: the two do not pair up, or a rank is more than the tensor has.
    """

    numbers: Tensor  # of all columns and rows, -127 to 127
    sizes: Tensor  # by which each direction's product is multiplied

    def __init__(self, shapes: Sequence[Sequence[int]], ranks: Sequence[int]) -> None:
        super().__init__()
        sides = [matrix_sides(shape) for shape in shapes]
        if len(ranks) != len(sides) or not all(0 <= r <= min(side) for r, side in zip(ranks, sides, strict=True)):
            raise ValueError(f"{len(ranks)} ranks for {len(sides)} tensors, or one beyond what its tensor has")
        self.shapes, self.ranks = [tuple(shape) for shape in shapes], list(ranks)
        count = sum(r * sum(side) for r, side in zip(ranks, sides, strict=True))
        self.register_buffer("numbers", torch.zeros(count, dtype=torch.int8))
        self.register_buffer("sizes", torch.zeros(sum(ranks)))

    def forward(self, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors with what is added to them, in float32."""
        after = {}
        sides = [matrix_sides(shape) for shape in self.shapes]
        parts = self.numbers.split([r * sum(side) for r, side in zip(self.ranks, sides, strict=True)])
        sizes = self.sizes.split(self.ranks)
        for (name, value), (rows, columns), part, size in zip(before.items(), sides, parts, sizes, strict=True):
            a, b = part.float().split([len(size) * rows, len(size) * columns])
            after[name] = value.float() + ((a.view(rows, -1) * size) @ b.view(-1, columns)).view(value.shape)
        return after


def matrix_sides(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the matrix that a tensor counts as."""
    return (shape[0] if shape else 1), math.prod(shape[1:])


def leading_change(before: Mapping[str, Tensor], after: Mapping[str, Tensor], numbers: int) -> Change:
    """The change from one network's tensors to another's of the same shapes, with at most so many numbers in it.

    Directions come in the order of their share in what their own tensor changed by: q_j^2 / sum q^2, q being the
    singular values of the difference. By q_j^2 for a number the widest matrices get nearly all of them, and clips of
    the shipped fast network are 8 dB further from the whole one's (`assets/runs/few_steps/orders.py`).
    """
    parts, shares = [], []
    for i, (name, value) in enumerate(after.items()):
        sides = matrix_sides(value.shape)
        a, q, b = torch.linalg.svd((value.float() - before[name].float()).reshape(sides), full_matrices=False)
        parts.append((a, q, b))
        total = q.square().sum().item()
        shares += [(share / total, -i, sum(sides)) for share in q.square().tolist() if share]
    ranks = [0] * len(parts)
    for _, minus_i, cost in sorted(shares, reverse=True):
        numbers -= cost
        if numbers < 0:
            break
        ranks[-minus_i] += 1
    change = Change([value.shape for value in after.values()], ranks)
    kept, sizes = [], []
    for (a, q, b), r in zip(parts, ranks, strict=True):
        columns, rows = a[:, :r], b[:r]
        of_columns, of_rows = columns.abs().amax(dim=0), rows.abs().amax(dim=1)
        kept += [(MOST * columns / of_columns).flatten(), (MOST * rows / of_rows[:, None]).flatten()]
        sizes.append(q[:r] * of_columns * of_rows / MOST**2)
    change.numbers.copy_(torch.cat(kept).round())
    change.sizes.copy_(torch.cat(sizes))
    return change

