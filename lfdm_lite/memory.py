"""Time for memory: computing again in the backward pass what would otherwise be kept for it; modes of computing.

Fresh memory is not free either: a CPU asks the system for every large tensor, page by page, which can take longer than
the arithmetic that fills it. So large work is cut into pieces that fit the processor's cache. And numbers of half the
length are half as much to move.

Source: Chen et al. 2016, training deep nets with sublinear memory cost.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

PIECE = 2**20  # numbers in the largest tensor of a piece
FRAMES_PIECE = 2**22  # the same of convolutions, whose weights want more work a piece
KEPT_BYTES = 2**26  # work that makes more than this keeps nothing of it for the backward pass


def keeping_all(compute: Callable[..., Tensor], *inputs: object) -> Tensor:
    """compute(*inputs), keeping what the backward pass needs."""
    return compute(*inputs)


def keeping_inputs(compute: Callable[..., Tensor], *inputs: object) -> Tensor:
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


def quantiles(values: Float[Tensor, "b n"], quantile: float) -> Float[Tensor, " b"]:
    """`values.quantile(quantile, dim=1)` to the last bit, without sorting a whole clip at every step on a CPU.

    Of every 16th value two are taken that most probably have the quantile between them: the few values between these
    are all that must be put in order. Where it lies elsewhere, all are.
    """
    if values.device.type != "cpu" or values.requires_grad:
        return values.quantile(quantile, dim=1)
    n = values.shape[1]
    rank = torch.tensor(quantile, dtype=values.dtype) * (n - 1)  # rounded as there
    k = int(rank)
    pairs = []
    for row in values.numpy():
        few = row[::16]
        middle, spread = k * len(few) / n, 1 + 3 * (len(few) * quantile * (1 - quantile)) ** 0.5
        i, j = max(int(middle - spread), 0), min(int(middle + spread), len(few) - 1)
        low, high = np.partition(few, (i, j))[[i, j]]
        between = row.compress((row >= low) & (row <= high))
        at = k - int(np.count_nonzero(row < low))
        if not 0 <= at < len(between) - 1:
            between, at = row, k
        after = min(at + 1, len(between) - 1)
        pairs.append(np.partition(between, (at, after))[[at, after]])
    lower, upper = torch.from_numpy(np.array(pairs)).T
    return lower.lerp(upper, rank - k)


def autocast(precision: str | None, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Arithmetic in bfloat16 for "bf16", as it is for None.

    Raises:
        ValueError: another precision.
    """
    if precision not in (None, "bf16"):
        raise ValueError(f"precision is {precision!r}; expected 'bf16', or None for float32")
    return contextlib.nullcontext() if precision is None else torch.autocast(device.type, torch.bfloat16)


def usable_device(device: str | torch.device) -> torch.device:
    """A device that tensors can be put on here.

    Raises:
        ValueError: there is none of that name, or none that keeps numbers.
    """
    try:
        found = torch.empty(0, device=device).device
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ValueError(f"device {str(device)!r} cannot be used here: {reason}") from None
    if found.type == "meta":
        raise ValueError("device 'meta' keeps no numbers; expected one such as 'cpu' or 'cuda'")
    return found


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Normalization uses its running statistics inside; every module's mode is restored after."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
