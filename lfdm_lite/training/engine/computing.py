"""How a process computes in training: on which cores, the memory it keeps and its order, its batch norms."""

import ctypes
import os
import sys
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # options of the GNU library's mallopt


def keep_freed_memory() -> None:
    """Let this process keep memory that it frees, for what it asks next: on Linux with the GNU library, else nothing.

    By default large tensors are fetched from the system and given back, which zeroes every page of them, step after
    step. The process then holds what it needed at its peak until it ends.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)  # no tensor has a mapping of its own ...
        mallopt(TRIM_THRESHOLD, -1)  # ... and the heap never shrinks


def share_cores(threads_before: str | None = None) -> int | None:
    """Let torch use as many threads as other processes leave cores free now, unless `OMP_NUM_THREADS` says how many.

    Threads that share a core wait for each other within every convolution's backward pass, whatever OpenMP's waiting
    policy: beside work on both of two cores, a step of the preset faces32 took 3.3 times as long with two threads as
    with one. A run that goes on keeps its threads, since sums in another order would change its numbers.

    Args:
        threads_before: of the run that goes on.

    Returns:
        the number of threads if it was changed. To see what others do takes half a second.
    """
    if os.environ.get("OMP_NUM_THREADS"):
        return None
    import psutil

    cores = torch.get_num_threads()
    free = cores * (1 - psutil.cpu_percent(interval=0.5) / 100) if threads_before is None else int(threads_before)
    threads = min(cores, max(1, round(free)))
    if threads == cores:
        return None
    torch.set_num_threads(threads)
    return threads


def set_batch_norms(network: nn.Module, training: bool) -> None:
    """Let batch norms use the statistics of the batch (training), or those they have stored."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train(training)


def to_channels_last(network: nn.Module) -> None:
    """Let the channels of a pixel lie together in the weights of 2-D and of 3-D convolutions; others stay as they are.

    `nn.Module.to` does so with all tensors of four axes, and refuses a network that has some of five.
    """
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    for tensor in chain(network.parameters(), network.buffers()):
        if tensor.ndim in orders:
            tensor.data = tensor.data.to(memory_format=orders[tensor.ndim])


def match_memory_order(optimizer: torch.optim.Optimizer) -> None:
    """Lay what an optimizer has stored of each weight in memory as the weight itself lies.

    Stored in one order and loaded beside weights of the other (`channels_last` may change when a run goes on), a fused
    step on a CPU pairs the wrong numbers in silence: it goes by their place in memory (torch 2.13).
    """
    for weight, stored in optimizer.state.items():
        for name, value in stored.items():
            if isinstance(value, Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                stored[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def limit_gradient(accelerator: Any, parameters: list[nn.Parameter], most: float) -> Float[Tensor, ""]:
    """Limit the norm of the gradient; 0 is no limit, and changes nothing. The norm before that."""
    if most:
        return accelerator.clip_grad_norm_(parameters, most)
    accelerator.unscale_gradients()
    return torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
