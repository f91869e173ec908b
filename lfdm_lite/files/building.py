"""Networks from configs that were read from disk: built without memory first, to be compared with their weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .reading import CheckpointError, one_line


class WithoutMemory(TorchFunctionMode):
    """Modules built inside have weights of the right shapes, but without memory and numbers.

    Only what allocates weights is sent to the meta device: under `torch.device("meta")` arithmetic such as a noise
    schedule's, and the first draw of weights, would import torch's compiler, which takes seconds (torch 2.13).
    """

    ALLOCATE = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn)
    DRAW = (Tensor.uniform_, Tensor.normal_)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in self.ALLOCATE:
            kwargs["device"] = "meta"
        if function in self.DRAW or getattr(function, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def build(make: Callable[[], nn.Module], where: Any) -> nn.Module:
    """Build a network from a config that was read from disk; what its constructor refuses is a fault of the file."""
    try:
        return make()
    except CheckpointError:
        raise
    except (ArithmeticError, AssertionError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where} does not describe a model: {one_line(error)}") from None
