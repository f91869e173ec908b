"""Time for memory: computing again in the backward pass what would otherwise be kept for it.

Fresh memory is not free either: a CPU asks the system for every large tensor, page by page, which can take longer than
the arithmetic that fills it. So large work is cut into pieces that fit the processor's cache.

Source: Chen et al. 2016, training deep nets with sublinear memory cost.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

PIECE = 2**20  # numbers in the largest tensor of a piece
FRAMES_PIECE = 2**22  # the same of convolutions, whose weights want more work a piece
KEPT_BYTES = 2**26  # work that makes more than this keeps nothing of it for the backward pass


def keeping_all(compute: Callable[..., Tensor], *inputs) -> Tensor:
    """compute(*inputs), keeping what the backward pass needs."""
    return compute(*inputs)


def keeping_inputs(compute: Callable[..., Tensor], *inputs) -> Tensor:
    """compute(*inputs), keeping the inputs alone: the backward pass computes the rest again."""
    return checkpoint(compute, *inputs, use_reentrant=False, preserve_rng_state=False)


def in_pieces(
    compute: Callable[[Tensor], Tensor], x: Float[Tensor, "*batch c"], dim: int, width: int
) -> Float[Tensor, "*batch c"]:
    """compute(x): on a CPU, piece by piece along an axis; of large work nothing is kept for the backward pass.

    Args:
        compute: treats every slice along `dim` alone.
        x: tokens.
        dim: axis along which `x` is cut.
        width: numbers that `compute` makes of a token.
    """
    if x.device.type != "cpu":  # fused kernels keep little, and many small ones would be slow
        return compute(x)
    numbers = width * x.numel() // x.shape[-1]
    pieces = x.split(max(1, PIECE * x.shape[dim] // numbers), dim)
    made = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    run = keeping_inputs if torch.is_grad_enabled() and numbers * made.itemsize > KEPT_BYTES else keeping_all
    found = [run(compute, piece) for piece in pieces]
    return torch.cat(found, dim) if len(found) > 1 else found[0]


def frames_at_once(widest: Float[Tensor, "b c h w"], count: int, whole: bool) -> int:
    """How many of `count` frames to convolve together: on a CPU without gradients as many as fit its cache.

    Args:
        widest: the largest map that one frame of each clip becomes.
        whole: all at once, whatever the size: batch norms in training need them so.
    """
    if whole or torch.is_grad_enabled() or widest.device.type != "cpu":
        return count
    return min(count, max(1, FRAMES_PIECE // widest.numel()))
